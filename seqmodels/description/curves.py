"""Curves sampled from the training spans for a closer analysis, and the filters that the analyses share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.series import SeriesSet, Span

ROUNDING = 1e-12  # of the largest value
SAMPLED_VALUES, LEAST_PER_CURVE = 4_000_000, 20_000  # of all curves together; of one, even where that makes more


class Curve(NamedTuple):
    """One channel of one series in its training span."""

    series: int  # index
    channel: int
    first: int  # row of the first value
    values: np.ndarray  # (n,) float64, NaN where not observed

    @property
    def observed(self) -> int:
        """Number of observed values."""
        return int(np.count_nonzero(~np.isnan(self.values)))

    @property
    def varies(self) -> bool:
        """True if at least two observed values differ; a constant curve has no behaviour to describe."""
        return self.observed > 1 and bool(np.nanmin(self.values) < np.nanmax(self.values))


def sample_curves(series: SeriesSet, span: Span, count: int, seed: int) -> list[list[Curve]]:
    """About ``count`` training curves by channel, of the same series for each channel and at least one per channel.

    Only the first ``count`` channels are used, and of very long curves only the newest values.
    """
    channels = min(count, len(series.channels))
    chosen = stratified_sample(np.flatnonzero(span.stop > span.start), max(1, count // channels), seed)
    most = max(LEAST_PER_CURVE, SAMPLED_VALUES // (channels * max(1, len(chosen))))
    bounds = [(int(i), max(int(span.start[i]), int(span.stop[i]) - most), int(span.stop[i])) for i in chosen]
    return [
        [Curve(i, channel, start, channel_values(series, start, stop, channel)) for i, start, stop in bounds]
        for channel in range(channels)
    ]


def stratified_sample(candidates: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` candidates in ascending order, one drawn at random from each of ``count`` equal parts."""
    if len(candidates) <= count:
        return candidates
    bounds = np.linspace(0, len(candidates), count + 1).astype(np.int64)
    return candidates[np.random.default_rng(seed).integers(bounds[:-1], bounds[1:])]


def channel_values(series: SeriesSet, start: int, stop: int, channel: int) -> np.ndarray:
    """Rows ``start:stop`` of one channel as float64, NaN where not observed."""
    values = series.values[start:stop, channel].astype(np.float64)
    if series.observed is not None:
        values[~series.observed[start:stop, channel]] = np.nan
    return values


def interpolate_gaps(values: np.ndarray) -> np.ndarray:
    """Drop missing values at both ends and interpolate those in between linearly."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return values[:0]
    return np.interp(np.arange(known[0], known[-1] + 1), known, values[known])


def detrend(values: np.ndarray) -> np.ndarray:
    """Subtract the least-squares line; 0 where only rounding remains, NaN stays NaN."""
    steps = np.arange(len(values)) - len(values) / 2
    known = ~np.isnan(values)
    if known.sum() < 3:
        return values - np.nanmean(values)
    residuals = values - np.polynomial.Polynomial.fit(steps[known], values[known], 1)(steps)
    return np.where(np.abs(residuals) < ROUNDING * np.abs(values[known]).max(), 0.0, residuals)


def centred_average(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average (n,) over ``width`` steps, cut off at both ends; an even width has half-weight ends."""
    weights = np.ones(width)
    if width % 2 == 0:
        weights = np.concatenate([[0.5], np.ones(width - 1), [0.5]])
    half = len(weights) // 2
    total = np.convolve(values, weights, "full")[half : half + len(values)]
    return total / np.convolve(np.ones(len(values)), weights, "full")[half : half + len(values)]


def mean_by_position(rows: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Mean over rows of different lengths at each position, (width,); NaN where no row has a finite value."""
    total, count = np.zeros(width), np.zeros(width)
    for row in rows:
        part = row[:width]
        finite = np.isfinite(part)
        total[: len(part)][finite] += part[finite]
        count[: len(part)] += finite
    return np.divide(total, count, out=np.full(width, np.nan), where=count > 0)
