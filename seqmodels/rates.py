"""What a learning-rate sweep has measured: its curve, the rate it suggests, its files; it knows numbers, no model."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars

from seqmodels.report.output import plain, write_file


class Curve(NamedTuple):
    """Training loss of a batch right after an optimizer step of each rate, the rates ascending."""

    rates: np.ndarray  # (N,)
    losses: np.ndarray  # (N,) finite
    smooth: np.ndarray  # (N,)


class Suggestion(NamedTuple):
    """What was read from a curve, as learning rates; the loss is the smooth one."""

    rate: float
    lowest: float
    steepest: float
    loss: float


def smooth(losses: np.ndarray, half: int) -> np.ndarray:
    """Mean of each loss with up to ``half`` neighbours on either side: (N,) -> (N,), not shifted as a running one."""
    kernel = np.ones(2 * half + 1)
    padded, ones = np.pad(losses, half), np.pad(np.ones(len(losses)), half)
    return np.convolve(padded, kernel, "valid") / np.convolve(ones, kernel, "valid")


def suggest(curve: Curve) -> Suggestion | None:
    """The geometric mean of two rates: where the loss falls fastest, and where it is lowest.

    Beside the lowest loss training is hardly stable any more, and at the steepest fall it is slower than need be.
    LSTM and WaveNet on the waves, three epochs of one cycle, ended 16 and 11 % lower with this rate than with a tenth
    of that of the lowest loss; on trend and season both did equally well, to 1.5 %.

    None where the loss never fell by more than the deviation of its first tenth.
    """
    lowest = int(np.argmin(curve.smooth))
    noise = np.std(curve.losses[: max(2, len(curve.losses) // 10)])
    if lowest == 0 or curve.smooth[0] - curve.smooth[lowest] <= noise:
        return None
    slope = np.gradient(curve.smooth[: lowest + 1], np.log(curve.rates[: lowest + 1]))
    steepest, best = float(curve.rates[int(np.argmin(slope))]), float(curve.rates[lowest])
    rate = float(f"{math.sqrt(steepest * best):.2g}")  # more digits would promise too much
    return Suggestion(rate, best, steepest, float(curve.smooth[lowest]))


def nothing_found(curve: Curve) -> str:
    """What to do where no rate lowers the loss, as one sentence."""
    return (
        f"rates: the training loss fell at no learning rate from {curve.rates[0]:.2g} to {curve.rates[-1]:.2g}; change"
        " rates.lowest or rates.highest, or choose another optimizer or model.scaler."
    )


def reason(curve: Curve, found: Suggestion) -> str:
    """Where the suggestion comes from, in one sentence or two."""
    told = f"The loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}."
    if found.lowest >= curve.rates[-1]:
        told += " That is the end of the sweep: with a higher rates.highest it may fall further."
    return told


def write(curve: Curve, found: Suggestion | None, directory: Path, run: Mapping[str, Any]) -> None:
    """Write ``learning_rate.csv``, one row for each step, and ``metrics.json``: what ``run`` holds and was found."""
    table = io.BytesIO()
    names = ("learning_rate", "loss", "smooth_loss")
    polars.DataFrame(dict(zip(names, curve, strict=True))).write_csv(table)
    write_file(directory / "learning_rate.csv", table.getvalue())
    summary = {**run, "steps": len(curve.rates)}
    if found is not None:
        summary |= {"monitor": {"name": "optimizer.lr", "value": found.rate}, **found._asdict()}
    content = json.dumps(plain(summary), indent=2, allow_nan=False) + "\n"
    write_file(directory / "metrics.json", content.encode())
