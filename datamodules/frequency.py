"""Frequencies of time series, such as hourly or monthly, and how to infer one from timestamps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.timezones import local_to_utc, utc_to_local

MICROSECOND = np.timedelta64(1, "us")
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
_UNITS = (("week", 7 * DAY), ("day", DAY), ("hour", HOUR), ("minute", 60 * SECOND), ("second", SECOND),
          ("millisecond", 1000), ("microsecond", 1))  # fmt: skip
_MONTHS = {1: "month", 3: "quarter", 12: "year"}


class Frequency(Protocol):
    """Regular spacing of timestamps; times are (n,) datetime64[us] or int64."""

    @property
    def name(self) -> str: ...  # readable: "hour", "15 minutes", "month"; empty for an integer index
    @property
    def season(self) -> int: ...  # usual seasonal period in steps, 1 = none

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Number of steps from ``before`` to ``after``, (n,) int64; 0 if it is not a whole number."""

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Timestamps that lie ``steps`` after ``times``."""

    def number(self, times: np.ndarray) -> np.ndarray:
        """Number of whole steps since a moment that is the same for all data, (n,) int64."""


@dataclass(frozen=True)
class IntegerFrequency:
    """Integer index with a constant step."""

    step: int
    name: str = ""
    season: int = 1

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return _divide(after - before, self.step)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return times + steps * self.step

    def number(self, times: np.ndarray) -> np.ndarray:
        return times // self.step


@dataclass(frozen=True)
class FixedFrequency:
    """Timestamps a fixed number of microseconds apart: microseconds up to weeks."""

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

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return _divide((after - before).astype(np.int64), self.step)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return times + steps * self.step * MICROSECOND

    def number(self, times: np.ndarray) -> np.ndarray:
        return times.astype("datetime64[us]").astype(np.int64) // self.step


@dataclass(frozen=True)
class BusinessDays:
    """Monday to Friday at a fixed time of day."""

    name: str = "business day"
    season: int = 5

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        same = _time_of_day(before) == _time_of_day(after)
        return np.where(same, np.busday_count(_days(before), _days(after)), 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return np.busday_offset(_days(times), steps).astype("datetime64[us]") + _time_of_day(times)

    def number(self, times: np.ndarray) -> np.ndarray:
        return np.busday_count(np.datetime64(0, "D"), _days(times))


@dataclass(frozen=True)
class Months:
    """Every ``months`` months on a fixed day of the month, or on its last day if the month is shorter."""

    months: int
    day: int

    @property
    def name(self) -> str:
        years = f"{self.months // 12} years" if self.months % 12 == 0 else f"{self.months} months"
        return _MONTHS.get(self.months, years)

    @property
    def season(self) -> int:
        return 12 // self.months if 12 % self.months == 0 else 1

    def matches(self, times: np.ndarray) -> np.ndarray:
        """True for each timestamp that falls on the expected day of its month, (n,) bool."""
        return _days(times) == self._dates(_months(times))

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        steps, rest = np.divmod((_months(after) - _months(before)).astype(np.int64), self.months)
        same = _time_of_day(before) == _time_of_day(after)
        return np.where((rest == 0) & same & self.matches(before) & self.matches(after), steps, 0)

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self._dates(_months(times) + steps * self.months).astype("datetime64[us]") + _time_of_day(times)

    def number(self, times: np.ndarray) -> np.ndarray:
        return _months(times).astype(np.int64) // self.months

    def _dates(self, months: np.ndarray) -> np.ndarray:
        first = months.astype("datetime64[D]")
        length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
        return first + (np.minimum(self.day, length) - 1)


@dataclass(frozen=True)
class LocalDays:
    """Steps of a day or longer at a fixed local time; across a change of the clocks a day has 23 or 25 hours."""

    frequency: Frequency  # of the local times
    zone: str

    @property
    def name(self) -> str:
        return self.frequency.name

    @property
    def season(self) -> int:
        return self.frequency.season

    def steps_between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return self.frequency.steps_between(utc_to_local(before, self.zone), utc_to_local(after, self.zone))

    def advance(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        local = self.frequency.advance(utc_to_local(times, self.zone), steps)
        skipped = np.isnat(local_to_utc(local, self.zone))  # by the clock change in spring: take the next hour
        return local_to_utc(local + skipped * HOUR * MICROSECOND, self.zone)

    def number(self, times: np.ndarray) -> np.ndarray:
        return self.frequency.number(utc_to_local(times, self.zone))


KINDS: dict[str, Callable[..., Frequency]] = {
    kind.__name__: kind for kind in (IntegerFrequency, FixedFrequency, BusinessDays, Months, LocalDays)
}


def to_dict(frequency: Any) -> dict[str, Any]:
    """The frequency as primitives, for a checkpoint."""
    values = {one.name: getattr(frequency, one.name) for one in fields(frequency)}
    return {
        "kind": type(frequency).__name__,
        **{name: to_dict(value) if name == "frequency" else value for name, value in values.items()},
    }


def from_dict(plain: dict[str, Any]) -> Frequency:
    """Inverse of ``to_dict``."""
    values = {name: from_dict(value) if name == "frequency" else value for name, value in plain.items()}
    return KINDS[plain["kind"]](**{name: value for name, value in values.items() if name != "kind"})


def _divide(differences: np.ndarray, step: int) -> np.ndarray:
    """Quotients, 0 if there is a remainder."""
    quotients = differences // step
    return np.where(quotients * step == differences, quotients, 0)


def _days(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[D]")


def _months(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]")


def _time_of_day(times: np.ndarray) -> np.ndarray:
    return times - _days(times)


MOST_DIFFERENCES = 1_000_000  # distinct differences that are counted; data with more have no common step anyway


def infer_frequency(time: np.ndarray, starts: np.ndarray, zone: str = "") -> Frequency | None:
    """Infer the frequency from the most common difference between timestamps; None if no series has two of them.

    ``time`` (rows,) is in UTC and ascends within each series; ``starts`` holds the first row of each series; ``zone``
    is the time zone that defines days and months.
    """
    differences = _count(_differences(time, starts))
    if not differences:
        return None
    step = _most_common(differences)
    if time.dtype.kind != "M":
        return IntegerFrequency(step)
    if zone not in ("", "UTC") and step > DAY - 3 * HOUR:
        days = infer_frequency(utc_to_local(time, zone), starts)
        return None if days is None else LocalDays(days, zone)
    if step == DAY and max(differences) > DAY and _weekdays_only(time):
        return BusinessDays()
    return (_infer_months(time, starts) if step >= 28 * DAY else None) or FixedFrequency(step)


def _differences(time: np.ndarray, starts: np.ndarray) -> Iterator[np.ndarray]:
    """Differences between consecutive timestamps of the same series in the unit of ``time``, int64, in chunks."""
    for part in chunks(len(time) - 1):
        differences = (time[part.start + 1 : part.stop + 1] - time[part]).astype(np.int64)
        first, last = np.searchsorted(starts, (part.start + 1, part.stop + 1))
        yield differences if first == last else np.delete(differences, starts[first:last] - part.start - 1)


def _count(parts: Iterable[np.ndarray]) -> Counter[int]:
    """Count each distinct number."""
    counts: Counter[int] = Counter()
    for part in parts:
        counts.update(dict(pl.Series(part).value_counts(sort=True).iter_rows()))
        if len(counts) > MOST_DIFFERENCES:
            counts = Counter(dict(counts.most_common(MOST_DIFFERENCES // 2)))
    return counts


def _most_common(counts: Counter[int]) -> int:
    """The most frequent number, the smallest one in case of a tie."""
    most = max(counts.values())
    return min(number for number, count in counts.items() if count == most)


def _infer_months(time: np.ndarray, starts: np.ndarray) -> Months | None:
    """Months if they match at least half of the timestamps; the others are errors that the reader reports."""
    months = max(1, _most_common(_count(_differences(_months(time), starts))))
    days = (_days(time) - _months(time).astype("datetime64[D]")).astype(np.int64) + 1
    candidates = [Months(months, day) for day in (31, _most_common(_count([days])))]  # month ends win a tie
    best = max(candidates, key=lambda candidate: np.count_nonzero(candidate.matches(time)))
    return best if 2 * np.count_nonzero(best.matches(time)) >= len(time) else None


def _weekdays_only(time: np.ndarray) -> bool:
    """True if no timestamp falls on a weekend, as with stock prices and office data."""
    return all(np.is_busday(_days(time[part])).all() for part in chunks(len(time)))
