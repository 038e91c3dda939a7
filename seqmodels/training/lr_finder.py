"""Learning-rate range test: train while the learning rate rises, and suggest a rate from the curve of losses.

Source: Smith 2017, with another rule for the suggestion, see ``suggest``.
"""

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
from seqmodels.training.module import ForecastModule, IntervalSums, mean


class LossCurve(NamedTuple):
    """Training loss of a batch right after an optimizer step at each learning rate, in ascending order of the rates."""

    rates: np.ndarray  # (N,)
    losses: np.ndarray  # (N,) finite
    smooth_losses: np.ndarray  # (N,)


class SuggestedRate(NamedTuple):
    """Suggested learning rate, and the points of the curve it follows from; metrics.json has the same names."""

    rate: float
    lowest: float  # rate with the lowest smooth loss
    steepest: float  # rate at which the smooth loss falls fastest
    loss: float  # the lowest smooth loss


def moving_average(losses: np.ndarray, half: int) -> np.ndarray:
    """Centred moving average over up to ``half`` neighbours on either side: (N,) -> (N,)."""
    kernel = np.ones(2 * half + 1)
    padded, ones = np.pad(losses, half), np.pad(np.ones(len(losses)), half)
    return np.convolve(padded, kernel, "valid") / np.convolve(ones, kernel, "valid")


def suggest(curve: LossCurve) -> SuggestedRate | None:
    """Geometric mean of the rate at which the loss falls fastest and the rate at which it is lowest.

    Training is barely stable close to the lowest loss, and slower than necessary at the steepest descent. On the
    waves, three epochs of one cycle ended with a loss 16 % (LSTM) and 11 % (WaveNet) lower than with a tenth of the
    rate of the lowest loss; on trend and season the two rules differed by 1.5 % at most.

    None if the loss never falls by more than the standard deviation of its first tenth.
    """
    lowest = int(np.argmin(curve.smooth_losses))
    noise = np.std(curve.losses[: max(2, len(curve.losses) // 10)])
    if lowest == 0 or curve.smooth_losses[0] - curve.smooth_losses[lowest] <= noise:
        return None
    slope = np.gradient(curve.smooth_losses[: lowest + 1], np.log(curve.rates[: lowest + 1]))
    steepest, best = float(curve.rates[int(np.argmin(slope))]), float(curve.rates[lowest])
    rate = float(f"{math.sqrt(steepest * best):.2g}")  # the curve does not support more digits
    return SuggestedRate(rate, best, steepest, float(curve.smooth_losses[lowest]))


def no_suggestion(curve: LossCurve) -> str:
    """Error message for a curve on which no rate lowers the loss."""
    return (
        f"rates: the training loss fell at no learning rate from {curve.rates[0]:.2g} to {curve.rates[-1]:.2g}; change"
        " rates.lowest or rates.highest, or choose another optimizer or model.scaler."
    )


def explain(curve: LossCurve, found: SuggestedRate) -> str:
    """One or two sentences with the reasons for the suggestion."""
    text = f"The loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}."
    if found.lowest >= curve.rates[-1]:
        text += " That is the end of the sweep: with a higher rates.highest it may fall further."
    return text


def write_curve(curve: LossCurve, found: SuggestedRate | None, directory: Path, run: Mapping[str, Any]) -> None:
    """Write ``learning_rate.csv``, one row for each step, and ``metrics.json`` with ``run`` and the suggestion."""
    names = ("learning_rate", "loss", "smooth_loss")
    table = polars.DataFrame(dict(zip(names, curve, strict=True)))
    write_file(directory / "learning_rate.csv", table.write_csv().encode())
    summary = {**run, "steps": len(curve.rates)}
    if found is not None:
        summary |= {"monitor": {"name": "optimizer.lr", "value": found.rate}, **found._asdict()}
    write_json(directory / "metrics.json", summary)


MIN_STEPS = 20
STOP_FACTOR = 4.0  # times the best loss: training stops there


class LearningRateFinder(pl.Callback):
    """Raises the learning rate exponentially from ``lowest`` to ``highest`` in ``steps`` optimizer steps.

    The loss after step k is that of the next batch, so training takes one more step than there are rates. It stops
    early if the loss is not finite, or if its mean over a few steps exceeds both the first mean and 4 times the best.

    With momentum, torch multiplies the whole velocity by the current rate, as in training at that constant rate. In
    Keras, a gradient enters the velocity with the rate of its own step, so the same curve is shifted to higher rates.

    Raises InputError unless 0 < lowest < highest and there are at least 20 steps.
    """

    def __init__(self, lowest: float = 1e-6, highest: float = 1.0, steps: int = 200):
        if not 0 < lowest < highest:
            raise InputError(
                f"rates.lowest is {lowest} and rates.highest is {highest}; it must be 0 < lowest < highest."
            )
        if steps < MIN_STEPS:
            raise InputError(f"rates.steps is {steps}; it must be at least {MIN_STEPS}.")
        self.steps = steps
        self.rates = np.geomspace(lowest, highest, steps)
        self.half = max(1, steps // 40)  # neighbours on either side in the moving average
        self.losses: list[float] = []  # before step 0, before step 1, ...

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, ForecastModule)
        module.progresses = False  # scheduled sampling stays as at the start of training

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        rate = float(self.rates[min(trainer.global_step, self.steps - 1)])
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        assert isinstance(module, ForecastModule)
        if trainer.global_step > len(self.losses):  # with accumulated gradients, a step takes several batches
            self.losses.append(mean(module.gathered.losses))
            module.gathered = IntervalSums()
            trainer.should_stop = self._is_unstable()

    def _is_unstable(self) -> bool:
        if not np.isfinite(self.losses[-1]) or len(self.losses) <= self.half:
            return not np.isfinite(self.losses[-1])
        means = np.lib.stride_tricks.sliding_window_view(self.losses, self.half).mean(axis=1)
        return bool(means[-1] > max(STOP_FACTOR * means.min(), means[0]))

    def curve(self) -> LossCurve:
        """The losses that are finite; raises InputError if there are too few for a suggestion."""
        losses = np.array([loss for loss in self.losses if np.isfinite(loss)])
        if len(losses) < MIN_STEPS // 2:
            raise InputError(f"rates.lowest is {self.rates[0]:.2g}, at which training is already unstable; lower it.")
        losses = losses[1:]  # the first is the loss before the first step
        return LossCurve(self.rates[: len(losses)], losses, moving_average(losses, self.half))


def plot_curve(curve: LossCurve, suggestion: SuggestedRate | None, heading: str) -> Figure:
    """Plot the loss over a logarithmic axis of rates, and mark the suggestion, if any."""
    figure = Figure(figsize=(plotting.WIDTH, plotting.HEIGHT * 0.7), dpi=plotting.DOTS_PER_INCH)
    figure.subplots_adjust(0.07, 0.12, 0.98, 0.86)
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color=plotting.PAST, linewidth=0.8, alpha=0.6, label="loss of a batch")
    axes.plot(curve.rates, curve.smooth_losses, color=plotting.TRUTH, linewidth=2, label="smooth")
    low, start = float(curve.smooth_losses.min()), float(curve.smooth_losses[0])
    height = max(start - low, 1e-12)
    plotting.style_axes(axes)
    axes.set_xscale("log")  # after style_axes, which sets the ticks of a linear axis
    axes.set_ylim(low - 0.1 * height, start + 0.4 * height)
    if suggestion is not None:
        axes.axvline(suggestion.rate, color=plotting.FORECAST, linewidth=2, label=f"suggested: {suggestion.rate:g}")
        axes.axvline(suggestion.lowest, color=plotting.REFERENCE, linewidth=1.2, linestyle="--", label="lowest loss")
    axes.set_xlabel("learning rate", fontsize=plotting.FONT_SIZE)
    axes.set_ylabel("training loss", fontsize=plotting.FONT_SIZE)
    plotting.add_title_and_legend(figure, heading, axes)
    return figure
