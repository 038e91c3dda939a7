"""Figures of a run: forecasts against the truth on a fixed set of windows, and the error at each lead."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure
from torch import Tensor

from datamodules.base import WindowDataModule
from datamodules.series import STAGES, SeriesSet
from seqmodels.class_metrics import ClassTable, StepTable
from seqmodels.inference.monte_carlo import monte_carlo
from seqmodels.metrics import MODEL, ErrorTable, naive_row
from seqmodels.report.gap_plots import Gap, plot_gaps
from seqmodels.report.label_plots import Case, Confusion, plot_cases, plot_confusion, plot_numbers
from seqmodels.report.output import format_number, format_time, shorten
from seqmodels.report.plotting import Panel, plot_errors, plot_forecasts, render, save_figure
from seqmodels.training.callbacks.scalars import tensorboard_loggers
from seqmodels.training.module import ForecastModule
from seqmodels.window import Window, measured

MAX_TIME_SHARE = 0.01  # of the time of training; with short epochs, figures are drawn less often
MIN_PAST_STEPS = 56  # steps shown before the origin, if the window has as many
MAX_CHANNELS, MAX_COLUMNS = 8, 3  # rows and columns of a figure of several channels
MAX_NAME = 26  # characters of a series' name in the title of a panel
FINAL_TAGS = {"forecast_test": "forecast/test", "error_by_step": "forecast/error_by_step",
              "labels_test": "labels/test", "gaps_test": "gaps/test",
              "mistakes_validation": "labels/mistakes_validation",
              "mistakes_test": "labels/mistakes_test"}  # fmt: skip
MOST_MISTAKES = 9  # drawn
MOST_EXAMPLES = 64  # windows from which those with the most hidden values are drawn


class ForecastFigures(pl.Callback):
    """Draws the same validation windows at the first, every n-th and the last validation.

    ``windows`` is their number. The figures go to TensorBoard; a run without it keeps the latest one as
    ``forecast_validation.png`` in ``directory``, or draws none if that is None. ``dropout_passes``: see
    ``draw_forecasts``. Drawing takes about one per cent of the time at most: a figure that would take more is skipped,
    except for the first and the last.
    """

    def __init__(
        self, windows: int = 6, every_n_epochs: int = 5, directory: str | None = None, dropout_passes: int = 0
    ):
        self.windows, self.every_n_epochs, self.directory = windows, every_n_epochs, directory
        self.dropout_passes = dropout_passes

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validations, self.last_step = 0, -1
        self.started, self.seconds = time.perf_counter(), 0.0

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validations += 1
        epoch, elapsed = trainer.current_epoch + 1, time.perf_counter() - self.started
        if self.validations == 1 or (epoch % self.every_n_epochs == 0 and self.seconds <= MAX_TIME_SHARE * elapsed):
            self._draw(trainer, module, epoch)

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Draw the last validation, which is known only now because training may stop early.

        Not at the end of training: averaged weights replace the trained ones only after that.
        """
        if self.validations and self.last_step != trainer.global_step:
            self._draw(trainer, module, trainer.current_epoch)

    def _draw(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        loggers = tensorboard_loggers(trainer.loggers)
        data = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or data is None or not (loggers or self.directory):
            return
        assert isinstance(module, ForecastModule) and isinstance(data, WindowDataModule)
        started = time.perf_counter()
        name, draw = FIRST[module.spec.kind]
        heading = f"Validation {name}{'s' * (name == 'forecast')}, epoch {epoch}"
        figure = draw(module, data, "validation", self.windows, heading, self.dropout_passes)
        if self.directory and not loggers:
            save_figure(figure, Path(self.directory) / f"{name}_validation.png")
        if loggers:
            log_figure(loggers, f"{name}/validation", render(figure), trainer.global_step)
        self.last_step = trainer.global_step
        self.seconds += time.perf_counter() - started


def save_final_figures(
    module: ForecastModule,
    data: WindowDataModule,
    directory: Path,
    windows: int = 6,
    dropout_passes: int = 0,
    loggers: Iterable[Logger] = (),
) -> list[Path]:
    """Write ``forecast_validation.png``, ``forecast_test.png`` and ``error_by_step.png`` with the current weights.

    The errors are those in ``module.results``. Returns the files; a stage without windows or results has none.
    TensorBoard gets those that it does not have yet: the forecasts of the test windows, and the errors.
    """
    stages = [stage for stage in STAGES[1:] if data.windows[stage]]
    figures = FINAL[module.spec.kind](module, data, stages, windows, dropout_passes)
    pixels = {name: save_figure(figure, directory / f"{name}.png") for name, figure in figures.items()}
    for name in figures.keys() & FINAL_TAGS.keys():
        log_figure(loggers, FINAL_TAGS[name], pixels[name], module.global_step)
    return [directory / f"{name}.png" for name in figures]


def log_figure(loggers: Iterable[Logger], tag: str, pixels: np.ndarray, step: int) -> None:
    """Add a picture to TensorBoard; not with ``add_figure``, which needs pyplot and its global state."""
    for logger in tensorboard_loggers(loggers):
        logger.experiment.add_image(tag, pixels[..., :3], step, dataformats="HWC")


def draw_forecasts(
    module: ForecastModule, data: WindowDataModule, stage: str, windows: int, heading: str, dropout_passes: int = 0
) -> Figure:
    """Draw windows spread evenly over a stage; with several channels, a row for each channel of three windows at most.

    With ``dropout_passes``, the forecast is the mean of that many forecasts with dropout left on, and error bars show
    one standard deviation.
    """
    channels = drawn_channels(module.spec.channels)
    single = len(module.spec.channels) == 1
    window = move_data_to_device(data.examples(stage, windows if single else min(windows, MAX_COLUMNS)), module.device)
    if any(parameter.dtype == torch.float64 for parameter in module.parameters()):  # trainer.precision=64-true
        window = module.trainer.precision_plugin.convert_input(window)
    naive = naive_row(module.rows)
    forecasts, deviations = predict(module, MODEL, window), None
    if dropout_passes and any(parameter.requires_grad for parameter in module.parameters()):
        spread = monte_carlo(module.forecaster, window.inputs, dropout_passes)
        heading = f"{heading}; bars: one standard deviation of {dropout_passes} passes with dropout"
        forecasts, deviations = (values[:, -1].double().cpu().numpy() for values in spread)
    if len(channels) < len(module.spec.channels):
        heading = f"{heading}; {len(channels)} of {len(module.spec.channels):,} channels"
    panels = build_panels(window, forecasts, predict(module, naive, window), deviations, data, channels)
    unit = data.series.frequency
    step = f"{unit}s from the origin" if unit.isalpha() else "steps from the origin"
    return plot_forecasts(panels, heading, step, MODEL, naive, None if single else len(window.origin))


def drawn_channels(channels: Sequence[str]) -> list[int]:
    """Indices of the channels that figures show: all, or some taken evenly, with the first and the last."""
    return np.linspace(0, len(channels) - 1, min(len(channels), MAX_CHANNELS)).round().astype(int).tolist()


def predict(module: ForecastModule, row: str, window: Window) -> np.ndarray:
    """Forecasts of a row of the result table that are measured, (B, H, C); draws no random number."""
    model = module.rows[row]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        values, _, _ = measured(model.head.mean(model.forecast_windows(window).forecast), window, module.spec)
    model.train(was_training)
    return values.float().cpu().numpy()


def build_panels(
    window: Window,
    forecasts: np.ndarray,
    naive: np.ndarray,
    deviations: np.ndarray | None,
    data: WindowDataModule,
    channels: Sequence[int],
) -> list[Panel]:
    """Channel by channel, each window with no more of its past than can be read."""
    spec = data.spec
    shown = min(spec.past_steps, max(3 * spec.horizon, 2 * spec.season, MIN_PAST_STEPS))
    past = to_numpy(window.inputs.past_target, window.inputs.past_observed)[:, -shown:]
    truth = to_numpy(window.targets.target, window.targets.observed)
    level = window.inputs.level.double().cpu().numpy()[:, None]  # (B, 1, C)
    past, truth, forecasts, naive = (values + level for values in (past, truth, forecasts, naive))
    places = list(zip(window.inputs.series.tolist(), window.origin.tolist(), strict=True))
    return [
        Panel(
            panel_title(data.series, series, row),
            spec.channels[channel],
            past[index, :, channel],
            truth[index, :, channel],
            forecasts[index, :, channel],
            naive[index, :, channel],
            None if deviations is None else deviations[index, :, channel],
        )
        for channel in channels
        for index, (series, row) in enumerate(places)
    ]


def to_numpy(values: Tensor, observed: Tensor) -> np.ndarray:
    """The values, NaN if not observed."""
    return values.masked_fill(~observed, float("nan")).float().cpu().numpy()


def panel_title(series: SeriesSet, index: int, row: int) -> str:
    """Name of the series, and timestamp of the origin, or its step if the data have no time column."""
    if series.time is not None:
        when = format_time(series.local_time(slice(row, row + 1))[0])
    else:
        when = f"step {row - int(series.offsets[index]):,}"
    return f"{shorten(series.name(index), MAX_NAME)}, {when}" if len(series) > 1 else when


def draw_errors(module: ForecastModule) -> Figure:
    """Draw the mean absolute error of each channel by lead, for the model and the naive forecasts."""
    names, results = module.spec.channels, module.results
    return plot_errors(
        {
            names[channel]: {
                stage: {
                    row: table.absolute[:, channel].cpu().numpy()
                    for row, table in results[stage].items()
                    if isinstance(table, ErrorTable)
                }
                for stage in STAGES[1:]
                if stage in results
            }
            for channel in drawn_channels(names)
        },
        MODEL,
    )


def draw_final_forecasts(
    module: ForecastModule, data: WindowDataModule, stages: Sequence[str], windows: int, dropout_passes: int
) -> dict[str, Figure]:
    """Forecasts of each stage, and the errors by lead, by the names of their files."""
    figures = {
        f"forecast_{stage}": draw_forecasts(
            module, data, stage, windows, f"{stage.capitalize()} forecasts", dropout_passes
        )
        for stage in stages
    }
    return {**figures, "error_by_step": draw_errors(module)} if module.results else figures


def draw_labels(
    module: ForecastModule, data: WindowDataModule, stage: str, windows: int, heading: str, dropout_passes: int = 0
) -> Figure:
    """The confusion matrix of the last evaluation of a stage, or predicted against true numbers."""
    table, spec = module.results[stage][MODEL], module.spec
    if isinstance(table, (ClassTable, StepTable)):
        labels: Sequence[Any] = table.labels()
        parts = zip(spec.labels, spec.classes, labels, strict=True)
        matrices = [Confusion(label, classes, one.confusion().numpy()) for label, classes, one in parts]
        return plot_confusion(matrices, heading)
    window = move_data_to_device(next(iter(data.loaders[stage])), module.device)
    given = predict(module, MODEL, window)[:, 0]
    targets = measured(window.targets.target.unsqueeze(2), window, spec)[2]
    truth = to_numpy(targets.target, targets.observed)[:, 0]
    return plot_numbers(truth, given, spec.labels, heading)


def draw_mistakes(module: ForecastModule, data: WindowDataModule, stage: str) -> Figure:
    """The wrong predictions of a stage with the highest probability, or the numbers furthest from the truth."""
    table, spec = module.results[stage][MODEL], module.spec
    if isinstance(table, ClassTable):
        chosen = table.probabilities[:, 0].argmax(dim=-1) + 1
        wrong = (chosen != table.truth[:, 0]) & (table.truth[:, 0] > 0)
        sure = table.probabilities[:, 0].amax(dim=-1).masked_fill(~wrong, -1)
        worst = sure.argsort(descending=True, stable=True)[: min(MOST_MISTAKES, int(wrong.sum()))]
        names = ("?", *spec.classes[0])
        titles = [f"{names[table.truth[i, 0]]} taken for {names[chosen[i]]}, {float(sure[i]):.0%}" for i in worst]
        heading = f"{stage.capitalize()}: the most certain of {int(wrong.sum()):,} mistakes of {len(wrong):,}"
    else:
        window = move_data_to_device(next(iter(data.loaders[stage])), module.device)
        truth = to_numpy(window.targets.target, window.targets.observed)[:, 0, 0]
        given = predict(module, MODEL, window)[:, 0, 0]
        worst = torch.from_numpy(np.argsort(-np.nan_to_num(np.abs(truth - given)))[:MOST_MISTAKES].copy())
        titles = [f"{format_number(truth[i])}, predicted {format_number(given[i])}" for i in worst.tolist()]
        heading = f"{stage.capitalize()}: the largest errors of {spec.labels[0]}"
    cases = []
    for index, title in zip(worst.tolist(), titles, strict=True):
        window = data.loaders[stage].examples(torch.tensor([index]))
        values = to_numpy(window.inputs.past_target, window.inputs.past_observed)[0]
        name = data.series.name(int(window.inputs.series[0]))
        level = window.inputs.level.cpu().numpy()
        cases.append(Case(f"{shorten(name, MAX_NAME)}: {title}", values + level, True))
    return plot_cases(cases, spec.channels, heading)


def draw_final_labels(
    module: ForecastModule, data: WindowDataModule, stages: Sequence[str], windows: int, dropout_passes: int
) -> dict[str, Figure]:
    """Confusion matrix and most certain mistakes of each stage, by the names of their files."""
    measured = [stage for stage in stages if stage in module.results]
    first = {
        f"labels_{one}": draw_labels(module, data, one, windows, f"{one.capitalize()} sequences") for one in measured
    }
    return {**first, **{f"mistakes_{one}": draw_mistakes(module, data, one) for one in measured}}


def draw_final_steps(
    module: ForecastModule, data: WindowDataModule, stages: Sequence[str], windows: int, dropout_passes: int
) -> dict[str, Figure]:
    """Confusion matrix of each stage, by the names of their files."""
    return {
        f"labels_{one}": draw_labels(module, data, one, windows, f"{one.capitalize()} steps")
        for one in stages
        if one in module.results
    }


def draw_gaps(
    module: ForecastModule, data: WindowDataModule, stage: str, windows: int, heading: str, dropout_passes: int = 0
) -> Figure:
    """Draw hidden values of a stage and their estimates, in the windows with the most of them."""
    window = move_data_to_device(data.examples(stage, MOST_EXAMPLES), module.device)
    given, panels = predict(module, MODEL, window), []
    hidden = window.targets.observed
    for place in hidden.sum(dim=1).flatten().argsort(descending=True, stable=True)[:windows].tolist():
        index, channel = divmod(place, len(module.spec.channels))
        mask, level = hidden[index, :, channel].cpu().numpy(), float(window.inputs.level[index, channel])
        seen = to_numpy(window.inputs.past_target, window.inputs.past_observed)[index, :, channel]
        truth = to_numpy(window.targets.target, hidden)[index, :, channel]
        title = panel_title(data.series, int(window.inputs.series[index]), int(window.origin[index]))
        curves = (seen, np.where(mask, given[index, :, channel], np.nan), truth)
        panels.append(Gap(f"{module.spec.channels[channel]}, until {title}", *(curve + level for curve in curves)))
    return plot_gaps(panels, heading)


def draw_final_gaps(
    module: ForecastModule, data: WindowDataModule, stages: Sequence[str], windows: int, dropout_passes: int
) -> dict[str, Figure]:
    """Hidden values of each stage, by the names of their files."""
    return {
        f"gaps_{one}": draw_gaps(module, data, one, windows, f"{one.capitalize()}: hidden values") for one in stages
    }


# By ``WindowSpec.kind``: the figure of a validation with its name, and those of a finished run
FIRST = {
    "ahead": ("forecast", draw_forecasts),
    "past": ("gaps", draw_gaps),
    **dict.fromkeys(("sequence", "step", "next"), ("labels", draw_labels)),
}
FINAL = {
    "ahead": draw_final_forecasts,
    "past": draw_final_gaps,
    "sequence": draw_final_labels,
    "step": draw_final_steps,
    "next": draw_final_steps,
}
