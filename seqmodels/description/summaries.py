"""Summary statistics of channels, covariates and static columns, computed in blocks of rows."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from datamodules.series import SeriesSet, Span

BLOCK_VALUES = 2**22  # numbers that are read at a time
SAMPLE_SIZE = 1_000_000  # values drawn at random for medians and histograms, of all channels together
LEAST_SAMPLE = 20_000  # of each channel, even where that makes more
LISTED_CATEGORIES = 5


class Gap(NamedTuple):
    """A run of values that were not observed."""

    row: int  # of the first one
    steps: int


class ChannelSummary(NamedTuple):
    """Observed values of a channel in the training span, NaN without any, and its missing values in all rows."""

    channel: str
    values: int
    mean: float
    deviation: float
    least: float
    median: float
    greatest: float
    zeros: int
    negative: int
    missing: int
    gaps: int
    longest: Gap | None
    constant: int  # number of series with at least two training values, all of them equal
    sample: np.ndarray  # the values, or a random sample if there are many


class ColumnSummary(NamedTuple):
    """A covariate over all rows or a static column over all series; NaN where a figure does not apply."""

    name: str
    role: str
    missing: int
    least: float
    mean: float
    greatest: float
    categories: int  # 0 for a column of numbers
    most: tuple[tuple[str, float], ...]  # the most frequent categories and their shares


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Consecutive slices of ``rows`` rows, each of about BLOCK_VALUES numbers at ``width`` numbers per row."""
    size = max(1, BLOCK_VALUES // max(1, width))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def summarise_channels(series: SeriesSet, span: Span, seed: int) -> list[ChannelSummary]:
    """Summary of each channel; ``seed`` draws the samples of values."""
    rows, channels = series.values.shape
    share = max(SAMPLE_SIZE / channels, LEAST_SAMPLE) / max(1, span.rows)
    running = RunningSummary(len(series), channels, share, seed)
    for block in blocks(rows, channels):
        used = rows_in_span(span, block)[:, None] & np.ones(channels, bool)
        if series.observed is not None:
            used &= series.observed[block]
        if used.any():
            running.update(series.values[block], used, *series_in_block(series.offsets, block))
    return [
        ChannelSummary(channel=name, **running.fields(channel), **summarise_gaps(series, channel))
        for channel, name in enumerate(series.channels)
    ]


class RunningSummary:
    """Statistics by channel, updated block by block; counts, minima and maxima also by series."""

    def __init__(self, series: int, channels: int, share: float, seed: int):
        self.least, self.greatest = np.full((2, series, channels), [[[np.inf]], [[-np.inf]]])
        self.counts = np.zeros((series, channels), np.int64)
        self.mean, self.squares = np.zeros(channels), np.zeros(channels)
        self.zeros, self.negative = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        self.samples: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self.share, self.random = share, np.random.default_rng(seed)

    def update(self, values: np.ndarray, used: np.ndarray, indices: np.ndarray, starts: np.ndarray) -> None:
        """Add a block: values and a mask of those that count, (rows, C), the series in it and their first rows."""
        self._update_moments(np.where(used, values, 0).astype(np.float64), used)
        self.zeros += (used & (values == 0)).sum(axis=0)
        self.negative += (used & (values < 0)).sum(axis=0)
        self.counts[indices] += np.add.reduceat(used, starts, axis=0, dtype=np.int64)
        least = np.minimum.reduceat(np.where(used, values, np.inf), starts, axis=0)
        greatest = np.maximum.reduceat(np.where(used, values, -np.inf), starts, axis=0)
        self.least[indices] = np.minimum(self.least[indices], least)
        self.greatest[indices] = np.maximum(self.greatest[indices], greatest)
        for channel, sample in enumerate(self.samples):
            present = values[used[:, channel], channel]
            thin = self.share < 1 and len(present)
            sample.append(self.random.choice(present, round(self.share * len(present))) if thin else present)

    def _update_moments(self, values: np.ndarray, used: np.ndarray) -> None:
        """Merge mean and sum of squared deviations with those so far (Chan and others, 1979); unused values are 0."""
        before, new = self.counts.sum(axis=0), used.sum(axis=0)
        total = np.maximum(1, before + new)
        mean = values.sum(axis=0) / np.maximum(1, new)
        delta = mean - self.mean
        self.squares += np.square(np.where(used, values - mean, 0)).sum(axis=0) + delta**2 * before * new / total
        self.mean += delta * new / total

    def fields(self, channel: int) -> dict[str, Any]:
        """Fields of ``ChannelSummary`` about the training span."""
        counts, sample = self.counts[:, channel], np.concatenate(self.samples[channel] or [np.zeros(0)])
        values, nan = int(counts.sum()), float("nan")
        return {
            "values": values,
            "mean": float(self.mean[channel]) if values else nan,
            "deviation": float(np.sqrt(self.squares[channel] / values)) if values else nan,
            "least": float(self.least[:, channel].min()) if values else nan,
            "median": float(np.median(sample)) if len(sample) else nan,
            "greatest": float(self.greatest[:, channel].max()) if values else nan,
            "zeros": int(self.zeros[channel]),
            "negative": int(self.negative[channel]),
            "constant": int(np.sum((counts > 1) & (self.least[:, channel] == self.greatest[:, channel]))),
            "sample": sample,
        }


def rows_in_span(span: Span, block: slice) -> np.ndarray:
    """True for the rows of a block that belong to the span of their series, (rows,)."""
    used = span.stop > span.start
    rows = np.arange(block.start, block.stop)
    started, stopped = (np.searchsorted(border[used], rows, side="right") for border in span)
    return started > stopped


def series_in_block(offsets: np.ndarray, block: slice) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the series with rows in a block, ascending, and the position in the block where each one starts."""
    first = int(np.searchsorted(offsets, block.start, side="right")) - 1
    last = int(np.searchsorted(offsets, block.stop, side="left"))
    indices = np.arange(first, last)
    indices = indices[offsets[indices + 1] > offsets[indices]]
    return indices, np.maximum(0, offsets[indices] - block.start)


def summarise_gaps(series: SeriesSet, channel: int) -> dict[str, Any]:
    """Fields of ``ChannelSummary`` about missing values."""
    if series.observed is None:
        return {"missing": 0, "gaps": 0, "longest": None}
    starts, steps = find_gaps(series.observed[:, channel], series.offsets)
    longest = Gap(int(starts[steps.argmax()]), int(steps.max())) if len(steps) else None
    return {"missing": int(steps.sum()), "gaps": len(steps), "longest": longest}


def find_gaps(observed: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First rows and lengths of all runs of missing values; a run ends where its series ends.

    ``observed``: (rows,) bool.
    """
    rows = len(observed)
    starts, stops = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for block in blocks(rows, 1):
        # One more row on either side; before the first and after the last row nothing is missing.
        around = slice(max(0, block.start - 1), min(rows, block.stop + 1))
        missing = np.pad(~observed[around], (int(block.start == 0), int(block.stop == rows)))
        border = np.zeros(block.stop - block.start + 1, bool)
        border[offsets[(offsets >= block.start) & (offsets <= block.stop)] - block.start] = True
        before, here, after = missing[:-2], missing[1:-1], missing[2:]
        starts.append(block.start + np.flatnonzero(here & (~before | border[:-1])))
        stops.append(block.start + np.flatnonzero(here & (~after | border[1:])) + 1)
    first = np.concatenate(starts)
    return first, np.concatenate(stops) - first


def summarise_columns(series: SeriesSet, shifts: Mapping[str, float]) -> list[ColumnSummary]:
    """Summary of each covariate and static column, in the order of the data; ``shifts`` as in ``WindowSpec``."""
    parts = (
        ("known up to now", series.past_covariate_names, series.past_covariates),
        ("known ahead", series.known_covariate_names, series.known_covariates),
        ("static", series.static_names, series.static),
    )
    found = []
    for role, names, cells in parts:
        if cells is None:
            continue
        for name, column in zip(names, cells.T, strict=True):
            categories = series.categories.get(name)
            found.append(
                _summarise_numbers(name, role, column, shifts.get(name, 0.0))
                if categories is None
                else _summarise_categories(name, role, column, categories)
            )
    return found


def _summarise_numbers(name: str, role: str, cells: np.ndarray, shift: float) -> ColumnSummary:
    """Summary of numbers less ``shift``, NaN where missing."""
    total, count, least, greatest = 0.0, 0, np.inf, -np.inf
    for block in blocks(len(cells), 1):
        known = cells[block][~np.isnan(cells[block])]
        if len(known):
            total, count = total + float(known.sum(dtype=np.float64)), count + len(known)
            least, greatest = min(least, float(known.min())), max(greatest, float(known.max()))
    if not count:
        total = least = greatest = float("nan")
    least, mean, greatest = (value + shift for value in (least, total / max(1, count), greatest))
    return ColumnSummary(name, role, len(cells) - count, least, mean, greatest, 0, ())


def _summarise_categories(name: str, role: str, cells: np.ndarray, categories: tuple[str, ...]) -> ColumnSummary:
    """Summary of category numbers, which count from 1, 0 where missing."""
    counts = np.zeros(len(categories) + 1, np.int64)
    for block in blocks(len(cells), 1):
        counts += np.bincount(cells[block].astype(np.int64), minlength=len(counts))
    frequent = [i for i in np.argsort(-counts[1:], kind="stable")[:LISTED_CATEGORIES].tolist() if counts[i + 1]]
    shares = tuple((categories[i], float(counts[i + 1] / len(cells))) for i in frequent)
    nan = float("nan")
    return ColumnSummary(name, role, int(counts[0]), nan, nan, nan, len(categories), shares)
