"""Frequencies of time series: regular grids of timestamps, and how to infer one from data."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from datamodules.arrays import chunks
from datamodules.timezones import instant, local

MICROSECOND = np.timedelta64(1, "us")
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
_UNITS = (("week", 7 * DAY), ("day", DAY), ("hour", HOUR), ("minute", 60 * SECOND), ("second", SECOND),
          ("millisecond", 1000), ("microsecond", 1))  # fmt: skip
_MONTHS = {1: "month", 3: "quarter", 12: "year"}


class Grid(Protocol):
    """What is known of a regular spacing; times are (n,) datetime64[us] or int64."""

    @property
    def name(self) -> str: ...  # for people: "hour", "15 minutes", "month"; empty for an integer index
    @property
    def season(self) -> int: ...  # usual seasonal period in steps, 1 = none

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Steps from each ``before`` to its ``after``, (n,) int64; 0 where ``after`` lies on no grid point."""

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The labels ``steps`` later than ``times``."""


@dataclass(frozen=True)
class IntegerGrid:
    """Whole numbers ``step`` apart."""

    step: int
    name: str = ""
    season: int = 1

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return _whole(after - before, self.step)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return times + steps * self.step


@dataclass(frozen=True)
class FixedGrid:
    """Stamps a fixed number of microseconds apart: seconds up to weeks."""

    step: int

    @property
    def name(self) -> str:
        unit, size = next((unit, size) for unit, size in _UNITS if self.step % size == 0)
        return unit if self.step == size else f"{self.step // size} {unit}s"

    @property
    def season(self) -> int:
        """A day for steps below a day, a week for days, a year for weeks."""
        if SECOND <= self.step < DAY:
            return DAY // self.step if DAY % self.step == 0 else 1
        return {DAY: 7, 7 * DAY: 52}.get(self.step, 1)

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return _whole((after - before).astype(np.int64), self.step)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return times + steps * self.step * MICROSECOND


@dataclass(frozen=True)
class BusinessGrid:
    """Monday to Friday at one time of day."""

    name: str = "business day"
    season: int = 5

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        same = _time_of_day(before) == _time_of_day(after)
        return np.where(same, np.busday_count(days_of(before), days_of(after)), 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return np.busday_offset(days_of(times), steps).astype("datetime64[us]") + _time_of_day(times)


@dataclass(frozen=True)
class MonthGrid:
    """One day of the month (the last one where a month is shorter), every ``months`` months."""

    months: int
    day: int

    @property
    def name(self) -> str:
        years = f"{self.months // 12} years" if self.months % 12 == 0 else f"{self.months} months"
        return _MONTHS.get(self.months, years)

    @property
    def season(self) -> int:
        return 12 // self.months if 12 % self.months == 0 else 1

    def fits(self, times: np.ndarray) -> np.ndarray:
        """Whether each stamp stands on the day that its month gives, (n,) bool."""
        return days_of(times) == self._stamp(months_of(times))

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        steps, rest = np.divmod((months_of(after) - months_of(before)).astype(np.int64), self.months)
        same = _time_of_day(before) == _time_of_day(after)
        return np.where((rest == 0) & same & self.fits(before) & self.fits(after), steps, 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self._stamp(months_of(times) + steps * self.months).astype("datetime64[us]") + _time_of_day(times)

    def _stamp(self, months: np.ndarray) -> np.ndarray:
        first = months.astype("datetime64[D]")
        length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
        return first + (np.minimum(self.day, length) - 1)


@dataclass(frozen=True)
class LocalGrid:
    """Days and more of a time zone: the clock on the wall repeats, the distance in hours does not."""

    grid: Grid
    zone: str

    @property
    def name(self) -> str:
        return self.grid.name

    @property
    def season(self) -> int:
        return self.grid.season

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return self.grid.count(local(before, self.zone), local(after, self.zone))

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        wall = self.grid.advance(local(times, self.zone), steps)
        skipped = np.isnat(instant(wall, self.zone))
        return instant(wall + skipped * HOUR * MICROSECOND, self.zone)  # clocks jump by an hour


def _whole(gaps: np.ndarray, step: int) -> np.ndarray:
    """Steps in each gap, 0 where it is no whole number; a division is slow and most gaps are one step."""
    steps = np.ones(len(gaps), np.int64)
    others = np.flatnonzero(gaps != step)
    quotient, rest = np.divmod(gaps[others], step)
    steps[others] = np.where(rest == 0, quotient, 0)
    return steps


def days_of(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[D]")


def months_of(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]")


def _time_of_day(times: np.ndarray) -> np.ndarray:
    return times - days_of(times)


def every(grid: Grid) -> str:
    """How far a step is from the next, for messages: "hour", "15 minutes", "5" in an integer index."""
    return str(grid.step) if isinstance(grid, IntegerGrid) else grid.name


def plural(name: str, steps: int) -> str:
    """'2 absent days', '1 absent month', '3 absent steps of 15 minutes'; the name may be empty."""
    number = f"{steps:,} absent"
    ending = "" if steps == 1 else "s"
    if not name or name[0].isdigit():
        return f"{number} step{ending}" + (f" of {name}" if name else "")
    return f"{number} {name}{ending}"


def listed(labels: Sequence[object], most: int = 5, count: int | None = None) -> str:
    """The first few labels, and how many more there are; ``count`` of them where ``labels`` are only the first."""
    more = (len(labels) if count is None else count) - min(most, len(labels))
    return ", ".join(str(label) for label in labels[:most]) + (f" and {more:,} more" if more > 0 else "")


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
