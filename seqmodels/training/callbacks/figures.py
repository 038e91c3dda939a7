"""Pictures of a run: forecasts against the truth on fixed windows, and the error of each lead."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from matplotlib.figure import Figure
from torch import Tensor

from seqmodels.inference.monte_carlo import monte_carlo
from seqmodels.metrics import MODEL, naive_row
from seqmodels.report.formatting import format_time
from seqmodels.report.plotting import Panel, plot_errors, plot_forecasts, render, save_figure
from seqmodels.training.callbacks.scalars import tensorboards
from seqmodels.training.module import ForecastModule
from seqmodels.window import Window

STAGES = ("validation", "test")
LARGEST_SHARE = 0.01  # of the time of training; where epochs are short, pictures come less often
SHORTEST_PAST = 56  # steps shown before the origin, at least, where the window has them


class ForecastFigures(pl.Callback):
    """Draws the same validation windows at the first, every n-th and the last validation, for TensorBoard.

    ``windows``: how many. ``directory``: where a run without TensorBoard keeps the latest picture as
    ``forecast_validation.png``; with None such a run draws nothing before its end. Drawing takes at most about one per
    cent of the time: a picture that would take more is left out, except for the first and the last.
    ``dropout_passes``: see ``draw_forecasts``.
    """

    def __init__(
        self, windows: int = 6, every_n_epochs: int = 5, directory: str | None = None, dropout_passes: int = 0
    ):
        self.windows, self.every_n_epochs, self.directory = windows, every_n_epochs, directory
        self.dropout_passes = dropout_passes
        self.validations, self.drawn_at = 0, -1
        self.started, self.spent = 0.0, 0.0  # seconds

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validations, self.drawn_at = 0, -1
        self.started, self.spent = time.perf_counter(), 0.0

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validations += 1
        epoch, elapsed = trainer.current_epoch + 1, time.perf_counter() - self.started
        if self.validations == 1 or (epoch % self.every_n_epochs == 0 and self.spent <= LARGEST_SHARE * elapsed):
            self._draw(trainer, module, epoch)

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Which validation is the last one is known only afterwards, where training may stop early.

        Not at the end of training: by now averaged weights, where there are any, have taken their place.
        """
        if self.validations and self.drawn_at != trainer.global_step:
            self._draw(trainer, module, trainer.current_epoch)

    def _draw(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        boards = tensorboards(trainer.loggers)
        data: Any = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or data is None or not (boards or self.directory):
            return
        assert isinstance(module, ForecastModule)
        self.drawn_at, begun = trainer.global_step, time.perf_counter()
        heading = f"Validation forecasts, epoch {epoch}"
        figure = draw_forecasts(module, data, "validation", self.windows, heading, self.dropout_passes)
        if not boards:
            save_figure(figure, Path(str(self.directory)) / "forecast_validation.png")
        else:
            picture = render(figure)
            for logger in boards:  # add_figure would go through pyplot and its state
                logger.experiment.add_image("forecast/validation", picture, trainer.global_step, dataformats="HWC")
        self.spent += time.perf_counter() - begun


def save_final(
    module: ForecastModule, datamodule: Any, directory: str | Path, windows: int = 6, dropout_passes: int = 0
) -> list[Path]:
    """Write ``forecast_validation.png``, ``forecast_test.png`` and ``error_by_step.png`` with the current weights.

    The errors are those in ``module.results``. Returns the files; a stage without windows or results has none.
    """
    directory, files = Path(directory), []
    for stage in STAGES:
        if datamodule.windows.get(stage, 0):
            files.append(directory / f"forecast_{stage}.png")
            heading = f"{stage.capitalize()} forecasts"
            save_figure(draw_forecasts(module, datamodule, stage, windows, heading, dropout_passes), files[-1])
    if any(stage in module.results for stage in STAGES):
        files.append(directory / "error_by_step.png")
        save_figure(draw_errors(module), files[-1])
    return files


def draw_forecasts(
    module: ForecastModule, datamodule: Any, stage: str, windows: int, heading: str, dropout_passes: int = 0
) -> Figure:
    """The first channel of windows spread evenly over a stage.

    With ``dropout_passes`` the forecast is the mean of so many forecasts with dropout left on, and error bars show
    one standard deviation of them.
    """
    window = move_data_to_device(datamodule.examples(stage, windows), module.device)
    reference = naive_row(module.rows)
    forecasts = forecast(module, MODEL, window), forecast(module, reference, window)
    panels = panels_of(window, *forecasts, datamodule)
    if dropout_passes and any(parameter.requires_grad for parameter in module.parameters()):
        spread = monte_carlo(module.forecaster, window.inputs, dropout_passes)
        heading = f"{heading}; bars: one standard deviation of {dropout_passes} passes with dropout"
        mean, deviation = (values[:, -1, :, 0].float().cpu().numpy() for values in spread)
        panels = [p._replace(forecast=m, deviation=d) for p, m, d in zip(panels, mean, deviation, strict=True)]
    unit = datamodule.series.frequency
    step = f"{unit}s from the origin" if unit.isalpha() else "steps from the origin"
    return plot_forecasts(panels, heading, step, module.spec.channels[0], MODEL, reference)


def forecast(module: ForecastModule, row: str, window: Window) -> np.ndarray:
    """What a row of the result table forecasts from the last origin: (B, H, C). Draws no random number."""
    model = module.rows[row]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        values = model.mean(model(window.inputs))[:, -1]
    model.train(was_training)
    return values.float().cpu().numpy()


def panels_of(window: Window, forecasts: np.ndarray, references: np.ndarray, datamodule: Any) -> list[Panel]:
    """The first channel of each window, of its past as much as can be read."""
    spec = datamodule.spec
    shown = min(spec.past_steps, max(3 * spec.horizon, 2 * spec.season, SHORTEST_PAST))
    past = gaps(window.inputs.past_target, window.inputs.past_observed)[:, -shown:, 0]
    truth = gaps(window.targets.target, window.targets.observed)[..., 0]
    places = zip(window.inputs.series.tolist(), window.origin.tolist(), strict=True)
    titles = [title(datamodule.series, series, row) for series, row in places]
    return [Panel(*parts) for parts in zip(titles, past, truth, forecasts[..., 0], references[..., 0], strict=True)]


def gaps(values: Tensor, observed: Tensor) -> np.ndarray:
    """Values with NaN where nothing was observed."""
    return values.masked_fill(~observed, float("nan")).float().cpu().numpy()


def title(series: Any, index: int, row: int) -> str:
    """Which series, and when its last past step was: its time label, or its number where there are none."""
    if series.time is not None:
        when = format_time(series.local_time(slice(row, row + 1))[0])
    else:
        when = f"step {row - int(series.offsets[index]):,}"
    return f"{series.name(index)}, {when}" if len(series) > 1 else when


def draw_errors(module: ForecastModule) -> Figure:
    """Mean absolute error of the first channel by lead, for model and references."""
    curves = {
        stage: {row: table.absolute[:, 0].cpu().numpy() for row, table in module.results[stage].items()}
        for stage in STAGES
        if stage in module.results
    }
    return plot_errors(curves, f"MAE of {module.spec.channels[0]}", MODEL)
