"""Learning-rate finder: train with rising rates, and read a suggestion from the curve of losses."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import polars
from matplotlib.figure import Figure

from seqmodels.errors import InputError
from seqmodels.report import plotting
from seqmodels.report.output import write_file, write_json
from seqmodels.training.module import ForecastModule, Gathered, mean


class LossCurve(NamedTuple):
    """Training loss of a batch right after an optimizer step of each rate, the rates ascending."""

    rates: np.ndarray  # (N,)
    losses: np.ndarray  # (N,) finite
    smooth_losses: np.ndarray  # (N,)


class Suggestion(NamedTuple):
    """What was read from a curve, as learning rates; the loss is the smooth one."""

    rate: float
    lowest: float
    steepest: float
    loss: float


def moving_average(losses: np.ndarray, half: int) -> np.ndarray:
    """Mean of each loss with up to ``half`` neighbours on either side: (N,) -> (N,), not shifted as a running one."""
    kernel = np.ones(2 * half + 1)
    padded, ones = np.pad(losses, half), np.pad(np.ones(len(losses)), half)
    return np.convolve(padded, kernel, "valid") / np.convolve(ones, kernel, "valid")


def suggest(curve: LossCurve) -> Suggestion | None:
    """The geometric mean of two rates: where the loss falls fastest, and where it is lowest.

    Beside the lowest loss training is hardly stable any more, and at the steepest fall it is slower than need be.
    LSTM and WaveNet on the waves, three epochs of one cycle, ended 16 and 11 % lower with this rate than with a tenth
    of that of the lowest loss; on trend and season both did equally well, to 1.5 %.

    None where the loss never fell by more than the deviation of its first tenth.
    """
    lowest = int(np.argmin(curve.smooth_losses))
    noise = np.std(curve.losses[: max(2, len(curve.losses) // 10)])
    if lowest == 0 or curve.smooth_losses[0] - curve.smooth_losses[lowest] <= noise:
        return None
    slope = np.gradient(curve.smooth_losses[: lowest + 1], np.log(curve.rates[: lowest + 1]))
    steepest, best = float(curve.rates[int(np.argmin(slope))]), float(curve.rates[lowest])
    rate = float(f"{math.sqrt(steepest * best):.2g}")  # more digits would promise too much
    return Suggestion(rate, best, steepest, float(curve.smooth_losses[lowest]))


def no_suggestion(curve: LossCurve) -> str:
    """What to do where no rate lowers the loss, as one sentence."""
    return (
        f"rates: the training loss fell at no learning rate from {curve.rates[0]:.2g} to {curve.rates[-1]:.2g}; change"
        " rates.lowest or rates.highest, or choose another optimizer or model.scaler."
    )


def explain(curve: LossCurve, found: Suggestion) -> str:
    """Where the suggestion comes from, in one sentence or two."""
    told = f"The loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}."
    if found.lowest >= curve.rates[-1]:
        told += " That is the end of the sweep: with a higher rates.highest it may fall further."
    return told


def write_curve(curve: LossCurve, found: Suggestion | None, directory: Path, run: Mapping[str, Any]) -> None:
    """Write ``learning_rate.csv``, one row for each step, and ``metrics.json``: what ``run`` holds and was found."""
    table = io.BytesIO()
    names = ("learning_rate", "loss", "smooth_loss")
    polars.DataFrame(dict(zip(names, curve, strict=True))).write_csv(table)
    write_file(directory / "learning_rate.csv", table.getvalue())
    summary = {**run, "steps": len(curve.rates)}
    if found is not None:
        summary |= {"monitor": {"name": "optimizer.lr", "value": found.rate}, **found._asdict()}
    write_json(directory / "metrics.json", summary)


FEWEST_STEPS = 20
WORSE = 4.0  # times the best loss: there the sweep ends


class LearningRateFinder(pl.Callback):
    """Raises the rate from ``lowest`` to ``highest`` in ``steps`` optimizer steps, by the same factor each time.

    The loss after step k is that of the next batch, so one more step is taken than there are rates. Training ends
    early where the loss is not finite, or its mean over a few steps lies beyond 4 times the best and above the first.

    With momentum, torch multiplies the whole velocity by the present rate, as constant training at that rate would;
    where a rate enters the velocity when its gradient does (Keras), the same sweep looks shifted to higher rates.

    Raises InputError unless 0 < lowest < highest and there are at least 20 steps.
    """

    def __init__(self, lowest: float = 1e-6, highest: float = 1.0, steps: int = 200):
        if not 0 < lowest < highest:
            raise InputError(
                f"rates.lowest is {lowest} and rates.highest is {highest}; it must be 0 < lowest < highest."
            )
        if steps < FEWEST_STEPS:
            raise InputError(f"rates.steps is {steps}; it must be at least {FEWEST_STEPS}.")
        self.steps = steps
        self.rates = np.geomspace(lowest, highest, steps)
        self.half = max(1, steps // 40)  # neighbours on either side in a smooth loss
        self.losses: list[float] = []  # before step 0, before step 1, ...
        self.first = self.best = float("inf")

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, ForecastModule)
        module.progresses = False  # a sweep is no training: scheduled sampling, for one, stays where training begins

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        rate = float(self.rates[min(trainer.global_step, self.steps - 1)])
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        assert isinstance(module, ForecastModule)
        if trainer.global_step > len(self.losses):  # several batches make one step where gradients are accumulated
            loss = mean(module.gathered.losses)
            module.gathered = Gathered()
            self.losses.append(loss)
            trainer.should_stop = self._is_over(loss)

    def _is_over(self, loss: float) -> bool:
        recent = float(np.mean(self.losses[-self.half :]))
        if not np.isfinite(loss):
            return True
        if len(self.losses) == self.half:
            self.first = recent
        if len(self.losses) >= self.half:
            self.best = min(self.best, recent)
        return len(self.losses) > self.half and recent > max(WORSE * self.best, self.first)

    def curve(self) -> LossCurve:
        """What was measured; a last loss that is not finite is left out.

        Raises InputError where too little remains to read anything from it.
        """
        losses = np.array([loss for loss in self.losses if np.isfinite(loss)])
        if len(losses) < FEWEST_STEPS // 2:
            raise InputError(f"rates.lowest is {self.rates[0]:.2g}; already there training is not stable, so lower it.")
        after = losses[1:]
        return LossCurve(self.rates[: len(after)], after, moving_average(after, self.half))


def plot_curve(curve: LossCurve, suggestion: Suggestion | None, heading: str) -> Figure:
    """Loss against the rate on a logarithmic axis, with the suggestion, if any, marked."""
    figure = Figure(figsize=(plotting.WIDTH, plotting.HEIGHT * 0.7), dpi=plotting.DOTS_PER_INCH)
    figure.subplots_adjust(0.07, 0.12, 0.98, 0.86)
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color=plotting.PAST, linewidth=0.8, alpha=0.6, label="loss of a batch")
    axes.plot(curve.rates, curve.smooth_losses, color=plotting.TRUTH, linewidth=2, label="smooth")
    low, start = float(curve.smooth_losses.min()), float(curve.smooth_losses[0])
    height = max(start - low, 1e-12)
    plotting.style_axes(axes)
    axes.set_xscale("log")  # after the decoration, whose ticks are those of a linear axis
    axes.set_ylim(low - 0.1 * height, start + 0.4 * height)
    if suggestion is not None:
        axes.axvline(suggestion.rate, color=plotting.FORECAST, linewidth=2, label=f"suggested: {suggestion.rate:g}")
        axes.axvline(suggestion.lowest, color=plotting.REFERENCE, linewidth=1.2, linestyle="--", label="lowest loss")
    axes.set_xlabel("learning rate", fontsize=plotting.FONT_SIZE)
    axes.set_ylabel("training loss", fontsize=plotting.FONT_SIZE)
    plotting.add_title_and_legend(figure, heading, axes)
    return figure
