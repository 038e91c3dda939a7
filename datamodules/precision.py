"""Values that float32 does not hold: which series need a level or float64, and what a note says of them."""

from dataclasses import replace

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.series import SeriesSet

# A float32 is a multiple of its spacing, 64 at 1e9. Forecasts and values are rounded by half of it.
FEWEST_SPACINGS = 500  # in a typical change from step to step; fewer, and rounding takes more than a thousandth of it
LOST_SHARE = 0.1  # a change is lost if rounding takes so much of it
MOST_LOST, MOST_LOST_SHARE = 2, 0.01  # changes of a series that may be lost
NOISE = 16  # spacings of float64 that a change must exceed
FEWEST_IN_DEVIATION = 1000  # spacings in the standard deviation of a covariate
CHANNELS_NAMED = 5  # in notes


class Changes:
    """Changes from one observed value to the next, counted by series for one channel.

    ``moved``: changes; ``small``: those of fewer than 500 spacings of float32; ``lost``: those that lose a tenth in
    float32; ``sizes`` and ``steps``: sums of |y(t)| and of |y(t) - y(t - 1)| over the changes.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray, observed: np.ndarray | None):
        series = len(offsets) - 1
        self.moved, self.small, self.lost, self.sizes, self.steps = np.zeros((5, series))
        before = np.zeros(0, np.int64)  # the last observed row of the chunk before
        for part in chunks(len(values)):
            seen = np.arange(part.stop - part.start) if observed is None else np.flatnonzero(observed[part])
            rows = np.concatenate([before, part.start + seen])
            before = rows[-1:]
            self._count(values[rows].astype(np.float64), np.searchsorted(offsets, rows, side="right") - 1)
            release(values)
            release(observed)

    def _count(self, values: np.ndarray, owner: np.ndarray) -> None:
        size, change = np.maximum(np.abs(values[1:]), np.abs(values[:-1])), np.abs(np.diff(values))
        rounded = np.abs(np.diff(values.astype(np.float32).astype(np.float64)))
        real = (owner[1:] == owner[:-1]) & (change > NOISE * np.spacing(size))
        spacing = np.spacing(size.astype(np.float32)).astype(np.float64)
        small = change < FEWEST_SPACINGS * spacing
        lost = (np.abs(rounded - change) > LOST_SHARE * change) & (
            change > spacing / 1000
        )  # else noise of a computation
        measures = (real, small & real, lost & real, np.where(real, size, 0), np.where(real, change, 0))
        for total, measure in zip((self.moved, self.small, self.lost, self.sizes, self.steps), measures, strict=True):
            total += np.bincount(owner[1:], weights=measure, minlength=len(total))

    @property
    def large(self) -> np.ndarray:
        """True for each series whose values are too large for their changes: (series,)."""
        return (2 * self.small > self.moved) | (self.lost > np.maximum(MOST_LOST, MOST_LOST_SHARE * self.moved))


def count_changes(series: SeriesSet) -> list[Changes]:
    """Changes of each channel."""
    observed = series.observed
    return [
        Changes(series.values[:, index], series.offsets, None if observed is None else observed[:, index])
        for index in range(len(series.channels))
    ]


def need_level(series: SeriesSet) -> np.ndarray:
    """True for each channel of a series from which a level is subtracted: (series, C) bool.

    So it is for a series that never changes, since other rows of it may.
    """
    return np.stack([one.large | (one.moved == 0) for one in count_changes(series)], axis=1)


def choose_precision(series: SeriesSet) -> SeriesSet:
    """Targets as float32, or as float64 with a note if they are too large for their changes from step to step."""
    if series.values.dtype == np.float32:
        return series
    found = [(name, one) for name, one in zip(series.channels, count_changes(series), strict=True) if one.large.any()]
    if not found:
        return replace(series, values=series.values.astype(np.float32))
    notes = [_note(series, name, one) for name, one in found[:CHANNELS_NAMED]]
    if len(found) > CHANNELS_NAMED:
        notes.append(f"{series.source}: likewise {len(found) - CHANNELS_NAMED:,} more channels.")
    return replace(series, values=series.values.astype(np.float64, copy=False), notes=(*series.notes, *notes))


def _note(series: SeriesSet, name: str, changes: Changes) -> str:
    large = changes.large
    moved = changes.moved[large].sum()
    size, step = changes.sizes[large].sum() / moved, changes.steps[large].sum() / moved
    spacing = float(np.spacing(np.float32(size)))
    where = f" of {large.sum():,} of {len(series):,} series" if len(series) > 1 else ""
    return (
        f"{series.source}: values of {name!r} around {size:,.10g}{where} change by about {step:.3g} per step, where"
        f" float32 holds only multiples of {spacing:.3g}: they are kept in float64, and models see them less a level,"
        " the last value of each window."
    )


def newest_observed(series: SeriesSet, otherwise: tuple[float, ...]) -> np.ndarray:
    """The newest observed value of the series at each row, (rows, C) float64; ``otherwise`` (C,) before the first."""
    if series.observed is None:
        return series.values
    rows = np.arange(len(series.values))[:, None]
    newest = np.maximum.accumulate(np.where(series.observed, rows, -1), axis=0)
    begun = newest >= np.repeat(series.offsets[:-1], series.lengths)[:, None]
    values = np.take_along_axis(series.values, np.maximum(newest, 0), axis=0)
    return np.where(begun, values, np.array(otherwise))


def float32_swallows(column: np.ndarray) -> bool:
    """True if the numbers (rows,) of a covariate are too large for their standard deviation; NaN is left out."""
    deviation, largest = _spread(column)
    return NOISE * float(np.spacing(largest)) < deviation < FEWEST_IN_DEVIATION * float(np.spacing(np.float32(largest)))


def float32_may_lose(column: np.ndarray) -> bool:
    """True if float32 swallows the numbers of a covariate, or rounds the only one there is."""
    deviation, largest = _spread(column)
    return float32_swallows(column) or (deviation == 0 and float(np.float32(largest)) != largest)


def _spread(column: np.ndarray) -> tuple[float, float]:
    """Standard deviation and largest size of the numbers."""
    known = column[np.isfinite(column)].astype(np.float64)
    return (float(known.std()), float(np.abs(known).max())) if len(known) else (0.0, 0.0)
