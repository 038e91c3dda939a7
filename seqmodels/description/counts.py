"""Counts of a description: values of each channel, and of covariate and static columns."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

AT_ONCE = 2**22  # numbers that are read at a time
MOST = 1_000_000  # so many values, drawn at random, stand for all of them in medians and histograms; and for one
FEWEST = 20_000  # of many channels so many


class Gap(NamedTuple):
    """A run of values that were not observed."""

    row: int  # of its first value
    steps: int


class Range(NamedTuple):
    """Values of one channel in the training span, NaN where there are none, and what is missing of it in all rows."""

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
    constant: int  # series of which at least two values were observed in the training span, all of them the same
    drawn: np.ndarray  # the values, or where they are many, some drawn at random


def pieces(rows: int, width: int) -> Iterator[slice]:
    """Consecutive slices of ``rows`` rows, each of about AT_ONCE numbers where a row has ``width``."""
    size = max(1, AT_ONCE // max(1, width))
    return (slice(begin, min(begin + size, rows)) for begin in range(0, rows, size))


class Tally:
    """Sums over pieces of the training span, for each channel; least and greatest values for each series too."""

    def __init__(self, series: int, channels: int, share: float, seed: int):
        self.least = np.full((series, channels), np.inf, np.float32)
        self.greatest = np.full((series, channels), -np.inf, np.float32)
        self.counts = np.zeros((series, channels), np.int64)
        self.mean, self.squares = np.zeros(channels), np.zeros(channels)
        self.zeros, self.negative = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        self.drawn: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self.share, self.random = share, np.random.default_rng(seed)

    def add(self, values: np.ndarray, kept: np.ndarray, owners: np.ndarray, starts: np.ndarray) -> None:
        """One piece: values and which of them count, (rows, C); the series in it, and at which row each one starts."""
        self._add_moments(np.where(kept, values, 0).astype(np.float64), kept)
        self.zeros += (kept & (values == 0)).sum(axis=0)
        self.negative += (kept & (values < 0)).sum(axis=0)
        self.counts[owners] += np.add.reduceat(kept, starts, axis=0, dtype=np.int64)
        least = np.minimum.reduceat(np.where(kept, values, np.inf), starts, axis=0)
        greatest = np.maximum.reduceat(np.where(kept, values, -np.inf), starts, axis=0)
        self.least[owners] = np.minimum(self.least[owners], least)
        self.greatest[owners] = np.maximum(self.greatest[owners], greatest)
        for channel, drawn in enumerate(self.drawn):
            present = values[kept[:, channel], channel]
            some = self.share < 1 and len(present)
            drawn.append(self.random.choice(present, round(self.share * len(present))) if some else present)

    def _add_moments(self, values: np.ndarray, kept: np.ndarray) -> None:
        """Join mean and sum of squares around it with those so far (Chan and others, 1979); 0 where not kept."""
        before, new = self.counts.sum(axis=0), kept.sum(axis=0)
        total = np.maximum(1, before + new)
        mean = values.sum(axis=0) / np.maximum(1, new)
        apart = mean - self.mean
        self.squares += np.square(np.where(kept, values - mean, 0)).sum(axis=0) + apart**2 * before * new / total
        self.mean += apart * new / total

    def of(self, channel: int) -> dict[str, Any]:
        """The fields of ``Range`` that the training span gives."""
        counts, drawn = self.counts[:, channel], np.concatenate(self.drawn[channel] or [np.zeros(0, np.float32)])
        values, nan = int(counts.sum()), float("nan")
        return {
            "values": values,
            "mean": float(self.mean[channel]) if values else nan,
            "deviation": float(np.sqrt(self.squares[channel] / values)) if values else nan,
            "least": float(self.least[:, channel].min()) if values else nan,
            "median": float(np.median(drawn)) if len(drawn) else nan,
            "greatest": float(self.greatest[:, channel].max()) if values else nan,
            "zeros": int(self.zeros[channel]),
            "negative": int(self.negative[channel]),
            "constant": int(np.sum((counts > 1) & (self.least[:, channel] == self.greatest[:, channel]))),
            "drawn": drawn,
        }


def ranges(series: Any, span: Any, seed: int) -> list[Range]:
    """One for each channel; ``span``: the rows of the training part."""
    rows, channels = series.values.shape
    share = max(MOST / channels, FEWEST) / max(1, int((span.stop - span.start).sum()))
    tally = Tally(len(series), channels, share, seed)
    for part in pieces(rows, channels):
        kept = in_span(span, part)[:, None] & np.ones(channels, bool)
        if series.observed is not None:
            kept &= series.observed[part]
        if kept.any():
            tally.add(series.values[part], kept, *owners_of(series.offsets, part))
    return [
        Range(channel=name, **tally.of(channel), **gaps_of(series, channel))
        for channel, name in enumerate(series.channels)
    ]


def in_span(span: Any, part: slice) -> np.ndarray:
    """Which of these rows belong to the span of their series, (rows,) bool."""
    taking_part = span.stop > span.start
    rows = np.arange(part.start, part.stop)
    begun, ended = (np.searchsorted(border[taking_part], rows, side="right") for border in (span.start, span.stop))
    return begun > ended


def owners_of(offsets: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """The series with rows in this part, ascending, and where in it each one starts."""
    first = int(np.searchsorted(offsets, part.start, side="right")) - 1
    last = int(np.searchsorted(offsets, part.stop, side="left"))
    owners = np.arange(first, last)
    owners = owners[offsets[owners + 1] > offsets[owners]]
    return owners, np.maximum(0, offsets[owners] - part.start)


def gaps_of(series: Any, channel: int) -> dict[str, Any]:
    """The fields of ``Range`` about missing values."""
    starts, steps = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if series.observed is not None:
        starts, steps = gaps(series.observed[:, channel], series.offsets)
    longest = Gap(int(starts[steps.argmax()]), int(steps.max())) if len(steps) else None
    return {"missing": int(steps.sum()), "gaps": len(steps), "longest": longest}


def gaps(observed: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First rows and steps of all runs of missing values, none of which crosses into the next series.

    ``observed``: (rows,) bool.
    """
    rows = len(observed)
    starts, lasts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in pieces(rows, 1):
        # One row more on either side, where beyond the data nothing is missing.
        around = slice(max(0, part.start - 1), min(rows, part.stop + 1))
        missing = np.pad(~observed[around], (int(part.start == 0), int(part.stop == rows)))
        border = np.zeros(part.stop - part.start + 1, bool)
        border[offsets[(offsets >= part.start) & (offsets <= part.stop)] - part.start] = True
        before, here, after = missing[:-2], missing[1:-1], missing[2:]
        starts.append(part.start + np.flatnonzero(here & (~before | border[:-1])))
        lasts.append(part.start + np.flatnonzero(here & (~after | border[1:])))
    first = np.concatenate(starts)
    return first, np.concatenate(lasts) - first + 1


MOST_NAMED = 5  # categories that are named


class Column(NamedTuple):
    """A covariate or static column over all rows, or all series; NaN where a figure does not apply."""

    name: str
    role: str
    missing: int
    least: float
    mean: float
    greatest: float
    categories: int  # 0 for a column of numbers
    most: tuple[tuple[str, float], ...]  # the most frequent categories and their shares


def columns(series: Any) -> list[Column]:
    """All of them, in the order of the data."""
    parts = (
        ("known up to now", series.past_covariate_names, series.past_covariates),
        ("known ahead", series.known_covariate_names, series.known_covariates),
        ("static", series.static_names, series.static),
    )
    found = []
    for role, names, cells in parts:
        for index, name in enumerate(names if cells is not None else ()):
            values = series.categories.get(name)
            found.append(
                of_numbers(name, role, cells[:, index])
                if values is None
                else of_categories(name, role, cells[:, index], values)
            )
    return found


def of_numbers(name: str, role: str, cells: np.ndarray) -> Column:
    """``cells``: NaN where there is no number."""
    total, count, least, greatest = 0.0, 0, np.inf, -np.inf
    for part in pieces(len(cells), 1):
        known = cells[part][~np.isnan(cells[part])]
        if len(known):
            total, count = total + float(known.sum(dtype=np.float64)), count + len(known)
            least, greatest = min(least, float(known.min())), max(greatest, float(known.max()))
    if not count:
        least = greatest = float("nan")
    mean = total / count if count else float("nan")
    return Column(name, role, len(cells) - count, least, mean, greatest, 0, ())


def of_categories(name: str, role: str, cells: np.ndarray, values: tuple[str, ...]) -> Column:
    """``cells``: numbers of the values from 1 on, 0 where there is none."""
    counts = np.zeros(len(values) + 1, np.int64)
    for part in pieces(len(cells), 1):
        counts += np.bincount(cells[part].astype(np.int64), minlength=len(counts))
    frequent = [i for i in np.argsort(-counts[1:], kind="stable")[:MOST_NAMED].tolist() if counts[i + 1]]
    shares = tuple((values[i], float(counts[i + 1] / len(cells))) for i in frequent)
    nan = float("nan")
    return Column(name, role, int(counts[0]), nan, nan, nan, len(values), shares)
