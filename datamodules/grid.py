"""The regular grid under the time stamps of a data set: knows steps, calendar months, business days and their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

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
        steps, rest = np.divmod(after - before, self.step)
        return np.where(rest == 0, steps, 0)

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
        steps, rest = np.divmod((after - before).astype(np.int64), self.step)
        return np.where(rest == 0, steps, 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return times + steps * self.step * MICROSECOND


@dataclass(frozen=True)
class BusinessGrid:
    """Monday to Friday at one time of day."""

    name: str = "business day"
    season: int = 5

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        same = _time_of_day(before) == _time_of_day(after)
        return np.where(same, np.busday_count(_days(before), _days(after)), 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return np.busday_offset(_days(times), steps).astype("datetime64[us]") + _time_of_day(times)


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
        return _days(times) == self._stamp(_months(times))

    def count(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        steps, rest = np.divmod((_months(after) - _months(before)).astype(np.int64), self.months)
        same = _time_of_day(before) == _time_of_day(after)
        return np.where((rest == 0) & same & self.fits(before) & self.fits(after), steps, 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self._stamp(_months(times) + steps * self.months).astype("datetime64[us]") + _time_of_day(times)

    def _stamp(self, months: np.ndarray) -> np.ndarray:
        first = months.astype("datetime64[D]")
        length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
        return first + (np.minimum(self.day, length) - 1)


def find_grid(time: np.ndarray, starts: np.ndarray) -> Grid | None:
    """The grid with the most common step of all series, or None where no series has two stamps.

    ``time`` (rows,) ascends within each series; ``starts`` holds the first row of each series.
    """
    gaps = np.diff(time).astype(np.int64, copy=False)
    if len(starts) > 1:
        gaps = np.delete(gaps, starts[1:] - 1)
    if len(gaps) == 0:
        return None
    step = int(gaps[0]) if gaps.min() == gaps.max() else _most_common(gaps)
    if time.dtype.kind != "M":
        return IntegerGrid(step)
    if step == DAY and _weekdays_only(time, gaps):
        return BusinessGrid()
    return (_month_grid(time, starts) if step >= 28 * DAY else None) or FixedGrid(step)


def _month_grid(time: np.ndarray, starts: np.ndarray) -> MonthGrid | None:
    """The grid of months if at least half of the stamps stand on it: the others are mistakes to be reported."""
    apart = np.diff(_months(time)).astype(np.int64)
    months = max(1, _most_common(np.delete(apart, starts[1:] - 1)))
    days = (_days(time) - _months(time).astype("datetime64[D]")).astype(np.int64) + 1
    grids = [MonthGrid(months, day) for day in (31, _most_common(days))]  # month ends win a tie
    best = max(grids, key=lambda grid: np.count_nonzero(grid.fits(time)))
    return best if 2 * np.count_nonzero(best.fits(time)) >= len(time) else None


def _weekdays_only(time: np.ndarray, gaps: np.ndarray) -> bool:
    """Whether days are absent and no stamp falls on a weekend, as with prices and office data."""
    return bool(gaps.max() > DAY and np.is_busday(_days(time)).all())


def _most_common(numbers: np.ndarray) -> int:
    """The smallest of the most frequent numbers."""
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[counts.argmax()])


def _days(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[D]")


def _months(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]")


def _time_of_day(times: np.ndarray) -> np.ndarray:
    return times - _days(times)


def spacing(grid: Grid) -> str:
    """The distance between two steps, for messages."""
    return f"step {grid.step}" if isinstance(grid, IntegerGrid) else grid.name


def plural(name: str, steps: int) -> str:
    """'2 absent days', '1 absent month', '3 absent steps of 15 minutes'; the name may be empty."""
    number = f"{steps:,} absent"
    ending = "" if steps == 1 else "s"
    if not name or name[0].isdigit():
        return f"{number} step{ending}" + (f" of {name}" if name else "")
    return f"{number} {name}{ending}"


def listed(labels: Sequence[object], most: int = 5) -> str:
    """The first few labels, and how many more there are."""
    more = len(labels) - most
    return ", ".join(str(label) for label in labels[:most]) + (f" and {more:,} more" if more > 0 else "")
