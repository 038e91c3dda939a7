"""The curves that are looked at closely: training spans of a few series, spread evenly over all there are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

ROUNDING = 1e-9  # of the largest value
MOST, FEWEST = 4_000_000, 20_000  # values that are held, of all curves together, and of one where they are many


class Curve(NamedTuple):
    """One channel of one series within its training span."""

    series: int  # its index
    channel: int
    first: int  # row of the first value
    values: np.ndarray  # (n,) float64, NaN where nothing was observed

    @property
    def observed(self) -> int:
        """Number of values that were measured."""
        return int(np.count_nonzero(~np.isnan(self.values)))

    @property
    def varies(self) -> bool:
        """Whether there are two different values: nothing can be said of how a constant behaves."""
        return self.observed > 1 and bool(np.nanmin(self.values) < np.nanmax(self.values))


def spread(candidates: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of the candidates, ascending: one drawn at random from each of as many equal stretches."""
    if len(candidates) <= count:
        return candidates
    borders = np.linspace(0, len(candidates), count + 1).astype(np.int64)
    return candidates[np.random.default_rng(seed).integers(borders[:-1], borders[1:])]


def values_of(series: Any, start: int, stop: int, channel: int) -> np.ndarray:
    """Rows ``start:stop`` of one channel, float64 with NaN where nothing was observed."""
    values = series.values[start:stop, channel].astype(np.float64)
    if series.observed is not None:
        values[~series.observed[start:stop, channel]] = np.nan
    return values


def training_curves(series: Any, span: Any, count: int, seed: int) -> list[list[Curve]]:
    """For each channel, the curves of the same series: about ``count`` in all, at least one for each channel.

    Of more channels than ``count``, the first ``count`` are taken; of very long curves, the newest values.
    ``span``: the rows of the training part.
    """
    channels = min(count, len(series.channels))
    chosen = spread(np.flatnonzero(span.stop > span.start), max(1, count // channels), seed)
    most = max(FEWEST, MOST // (channels * max(1, len(chosen))))
    found = []
    for channel in range(channels):
        borders = [(int(i), max(int(span.start[i]), int(span.stop[i]) - most), int(span.stop[i])) for i in chosen]
        found.append([Curve(i, channel, low, values_of(series, low, high, channel)) for i, low, high in borders])
    return found


def filled(values: np.ndarray) -> np.ndarray:
    """Values without the missing ones at both ends, and straight lines over those between."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return values[:0]
    steps = np.arange(known[0], known[-1] + 1)
    return np.interp(steps, known, values[known])


def detrended(values: np.ndarray) -> np.ndarray:
    """Values less the straight line that fits them best, 0 where only rounding remains; NaN stays NaN."""
    steps = np.arange(len(values)) - len(values) / 2
    known = ~np.isnan(values)
    if known.sum() < 3:
        return values - np.nanmean(values)
    apart = values - np.polynomial.Polynomial.fit(steps[known], values[known], 1)(steps)
    return np.where(np.abs(apart) < ROUNDING * np.abs(values[known]).max(), 0.0, apart)


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean over ``width`` steps, (n,), of a window that is cut at both ends; even widths share their ends."""
    weights = np.full(width, 1.0)
    if width % 2 == 0:
        weights = np.concatenate([[0.5], np.ones(width - 1), [0.5]])
    half = len(weights) // 2
    total = np.convolve(values, weights, "full")[half : half + len(values)]
    return total / np.convolve(np.ones(len(values)), weights, "full")[half : half + len(values)]


def pooled(rows: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Mean at each place over rows of different lengths, (width,); NaN where no row reaches or has a number."""
    total, count = np.zeros(width), np.zeros(width)
    for row in rows:
        part = row[:width]
        known = np.isfinite(part)
        total[: len(part)][known] += part[known]
        count[: len(part)] += known
    return np.divide(total, count, out=np.full(width, np.nan), where=count > 0)
