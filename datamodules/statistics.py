"""What is measured on the training span: means, deviations, and the error of repeating the last season."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.series import SeriesSet
from seqmodels.window import Statistics


def joined(starts: np.ndarray, stops: np.ndarray) -> list[slice]:
    """Row ranges ``starts[i]:stops[i]``, neighbouring ones joined: 10,000 short series are one range."""
    slices: list[slice] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if start == stop:
            continue
        if slices and slices[-1].stop == start:
            slices[-1] = slice(slices[-1].start, stop)
        else:
            slices.append(slice(start, stop))
    return slices


def statistics(values: np.ndarray | None, rows: list[slice], observed: np.ndarray | None = None) -> Statistics:
    """Mean and deviation per channel over these rows of ``values`` (rows, channels); 1 for a constant channel."""
    if values is None:
        return Statistics()
    columns: list[tuple[float, float]] = []
    for channel in range(values.shape[1]):
        parts = [_present(values, observed, part, channel) for part in rows]
        count = max(1, sum(len(part) for part in parts))
        mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / count
        # Second pass around the mean: a sum of squares would cancel for large, nearly constant values.
        square = sum(float(np.square(part - np.float32(mean)).sum(dtype=np.float64)) for part in parts) / count
        deviation = square**0.5
        columns.append((mean, deviation if deviation > 1e-6 * max(1e-30, abs(mean)) else 1.0))
    return Statistics(*(tuple(column) for column in zip(*columns, strict=True)))


def _present(values: np.ndarray, observed: np.ndarray | None, rows: slice, channel: int) -> np.ndarray:
    part = values[rows, channel]
    return part if observed is None else part[observed[rows, channel]]


def seasonal_errors(
    series: SeriesSet, start: np.ndarray, stop: np.ndarray, season: int, otherwise: tuple[float, ...]
) -> Tensor:
    """(series, C) float32 mean |y(t) - y(t - season)| over rows ``start[i]:stop[i]``, ``otherwise`` where it is 0."""
    errors = np.empty((len(series), len(series.channels)), dtype=np.float32)
    for i, (low, high) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        late, early = slice(low + season, high), slice(low, max(low, high - season))
        difference = (
            np.abs(series.values[late] - series.values[early])
            if high - low > season
            else np.zeros((0, errors.shape[1]))
        )
        valid: Any = np.ones_like(difference, dtype=bool)
        if series.observed is not None and len(difference):
            valid = series.observed[late] & series.observed[early]
        count = valid.sum(axis=0)
        mean = (difference * valid).sum(axis=0, dtype=np.float64) / np.maximum(1, count)
        errors[i] = np.where(mean > 1e-6 * np.asarray(otherwise), mean, otherwise)  # rounding noise is no unit
    return torch.from_numpy(errors)
