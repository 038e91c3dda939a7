"""The step by which series go: knows how to find the most common one among very many, and which grid it makes."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from datamodules.chunks import chunks
from datamodules.grid import (
    DAY,
    HOUR,
    BusinessGrid,
    FixedGrid,
    Grid,
    IntegerGrid,
    LocalGrid,
    MonthGrid,
    days_of,
    months_of,
)
from datamodules.zones import local

MOST_NUMBERS = 1_000_000  # different gaps that are counted; more have no common step anyway


def find_grid(time: np.ndarray, starts: np.ndarray, zone: str = "") -> Grid | None:
    """The grid with the most common step of all series, or None where no series has two stamps.

    ``time`` (rows,) ascends within each series, in UTC; ``starts`` holds the first row of each series; ``zone`` is
    the time zone whose days and months are meant.
    """
    gaps = _counted(_gaps(time, starts))
    if not gaps:
        return None
    step = _most_common(gaps)
    if time.dtype.kind != "M":
        return IntegerGrid(step)
    if zone not in ("", "UTC") and step > DAY - 3 * HOUR:
        days = find_grid(local(time, zone), starts)
        return None if days is None else LocalGrid(days, zone)
    if step == DAY and max(gaps) > DAY and _weekdays_only(time):
        return BusinessGrid()
    return (_month_grid(time, starts) if step >= 28 * DAY else None) or FixedGrid(step)


def _gaps(time: np.ndarray, starts: np.ndarray) -> Iterator[np.ndarray]:
    """Differences between neighbours of the same series, int64, in pieces; months where ``time`` is datetime64[M]."""
    for part in chunks(len(time) - 1):
        gaps = (time[part.start + 1 : part.stop + 1] - time[part]).astype(np.int64)
        first, last = np.searchsorted(starts, (part.start + 1, part.stop + 1))
        yield gaps if first == last else np.delete(gaps, starts[first:last] - part.start - 1)


def _counted(parts: Iterable[np.ndarray]) -> Counter[int]:
    """How often each number occurs; quick where one of them is much more common than all others."""
    counts: Counter[int] = Counter()
    for part in parts:
        if len(part) == 0:
            continue
        likely = counts.most_common(1)[0][0] if counts else int(part[0])
        others = part[part != likely]
        counts[likely] += len(part) - len(others)
        values, numbers = np.unique(others, return_counts=True)
        counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        if len(counts) > MOST_NUMBERS:
            counts = Counter(dict(counts.most_common(MOST_NUMBERS // 2)))
    return counts


def _most_common(counts: Counter[int]) -> int:
    """The smallest of the most frequent numbers."""
    most = max(counts.values())
    return min(number for number, count in counts.items() if count == most)


def _month_grid(time: np.ndarray, starts: np.ndarray) -> MonthGrid | None:
    """The grid of months if at least half of the stamps stand on it: the others are mistakes to be reported."""
    months = max(1, _most_common(_counted(_gaps(months_of(time), starts))))
    days = (days_of(time) - months_of(time).astype("datetime64[D]")).astype(np.int64) + 1
    grids = [MonthGrid(months, day) for day in (31, _most_common(_counted([days])))]  # month ends win a tie
    best = max(grids, key=lambda grid: np.count_nonzero(grid.fits(time)))
    return best if 2 * np.count_nonzero(best.fits(time)) >= len(time) else None


def _weekdays_only(time: np.ndarray) -> bool:
    """Whether no stamp falls on a weekend, as with prices and office data."""
    return all(np.is_busday(days_of(time[part])).all() for part in chunks(len(time)))
