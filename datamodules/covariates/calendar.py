"""Known covariates from the calendar in local time: hour, weekday, month and other parts of a date, and holidays."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.covariates.column import CovariateColumn
from datamodules.series import SeriesSet
from datamodules.timezones import utc_to_local
from seqmodels.window import InputError

CATEGORY = ":category"
TIME = pl.col("time")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip


class DatePart(NamedTuple):
    """A whole number computed from a date, such as its hour; ``period`` and ``values`` are those of a cyclic one."""

    number: pl.Expr
    period: pl.Expr | None = None  # length of the cycle, which may depend on the month or year of the date
    first: int = 0  # smallest number
    values: tuple[str, ...] = ()  # names of the numbers from ``first`` on, as categories


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(map(str, range(first, last + 1)))


# Days of a month, and days and ISO weeks of a year, count as a share of that month or year, so that the last and the
# first one are neighbours whatever its length. 28 December is always in the last ISO week of its year.
DATE_PARTS = {
    "minute": DatePart(TIME.dt.minute(), pl.lit(60), 0, _numbers(0, 59)),
    "hour": DatePart(TIME.dt.hour(), pl.lit(24), 0, _numbers(0, 23)),
    "weekday": DatePart(TIME.dt.weekday(), pl.lit(7), 1, WEEKDAYS),
    "day": DatePart(TIME.dt.day(), TIME.dt.days_in_month(), 1, _numbers(1, 31)),
    "day_of_year": DatePart(TIME.dt.ordinal_day(), 365 + TIME.dt.is_leap_year().cast(pl.Int16), 1, _numbers(1, 366)),
    "week": DatePart(TIME.dt.week(), pl.date(TIME.dt.iso_year(), 12, 28).dt.week(), 1, _numbers(1, 53)),
    "month": DatePart(TIME.dt.month(), pl.lit(12), 1, MONTHS),
    "quarter": DatePart(TIME.dt.quarter(), pl.lit(4), 1, _numbers(1, 4)),
    "year": DatePart(TIME.dt.year()),
    "weekend": DatePart((TIME.dt.weekday() > 5).cast(pl.Int8)),
}


class Calendar:
    """Transform that adds the named parts of the date, in the time zone of the series; weeks are those of ISO 8601.

    A cyclic part becomes two columns ``hour (sin)`` and ``hour (cos)`` or, written ``hour:category``, one categorical
    column ``hour``. The year stays a number, and the weekend is 0 or 1.
    """

    def __init__(self, calendar: Sequence[str]):
        for name in calendar:
            part = str(name).removesuffix(CATEGORY)
            if part not in DATE_PARTS:
                near = get_close_matches(part, DATE_PARTS, n=3, cutoff=0.5) or list(DATE_PARTS)
                raise InputError(f"data.calendar holds {name!r}, which is unknown; nearest: {', '.join(near)}.")
            if name != part and not DATE_PARTS[part].values:
                raise InputError(f"data.calendar holds {name!r}; {part} is a number, not a category: write {part}.")
        self.names = calendar

    def __call__(self, series: SeriesSet, horizon: int, fitting: bool = True) -> Iterator[CovariateColumn]:
        time = _local_time(series, "calendar").to_frame()
        for name in self.names:
            part = DATE_PARTS[name.removesuffix(CATEGORY)]
            numbers = time.select(part.number).to_series()
            if fitting:
                _check_varies(series, name, numbers)
            position = numbers.cast(pl.Float32).to_numpy() - np.float32(part.first)
            for suffix, values in _encode(name, position, time, part):
                categories = part.values if name.endswith(CATEGORY) else ()
                yield CovariateColumn(name.removesuffix(CATEGORY) + suffix, values, categories, "calendar", known=True)


def _encode(name: str, position: np.ndarray, time: pl.DataFrame, part: DatePart) -> Iterator[tuple[str, np.ndarray]]:
    """Suffix of the name and values (rows,) of each column; ``position`` (rows,) counts from 0."""
    if name.endswith(CATEGORY):
        yield "", position + 1
    elif part.period is None:
        yield "", position
    else:
        period = time.select(part.period.cast(pl.Float32)).to_series().to_numpy()
        angle = position * np.float32(2 * np.pi) / period
        yield " (sin)", np.sin(angle)
        yield " (cos)", np.cos(angle)


def _local_time(series: SeriesSet, key: str) -> pl.Series:
    """Timestamps in the time zone of the series, (rows,). Raises InputError if the series have no dates."""
    if series.time is None or series.time.dtype.kind != "M":
        why = "has no time column (set data.time)" if series.time is None else "counts time in whole numbers"
        raise InputError(f"data.{key} needs dates, but {series.source} {why}.")
    return pl.Series("time", utc_to_local(series.time, series.zone))


def _check_varies(series: SeriesSet, name: str, numbers: pl.Series) -> None:
    if numbers.min() == numbers.max():
        step = f", whose step is one {series.frequency}," if series.frequency else ""
        raise InputError(
            f"data.calendar: {name} is {numbers[0]} in every row of {series.source}{step} and carries no"
            " information; leave it out."
        )


DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Holidays:
    """Transform that adds indicators of 0 and 1: ``holiday US`` for a country or region, ``holiday`` for given dates.

    ``holidays``: codes of the package ``holidays``, such as ``US`` or ``US-CA``, and dates like 2011-12-24. A holiday
    lasts from midnight to midnight in the time zone of the series.
    """

    def __init__(self, holidays: str | Sequence[str]):
        given = [holidays] if isinstance(holidays, str) else [str(one) for one in holidays]
        self.dates = [_parse_date(one) for one in given if DATE.fullmatch(one)]
        self.codes = [one for one in given if not DATE.fullmatch(one)]
        for code in self.codes:
            _country_holidays(code, ())

    def __call__(self, series: SeriesSet, horizon: int, fitting: bool = True) -> Iterator[CovariateColumn]:
        time = _local_time(series, "holidays")
        _check_daily(series)
        year = time.dt.year().to_numpy()
        years = range(int(year.min()), int(year.max()) + 2)  # New Year may be observed on a day of the year before
        days = time.dt.date().cast(pl.Int32).to_numpy()  # since 1970-01-01
        holidays = {f"holiday {code}": _country_holidays(code, years) for code in self.codes}
        if self.dates:
            holidays["holiday"] = self.dates
        for name, dates in holidays.items():
            values = np.isin(days, np.array(dates, dtype="datetime64[D]").astype(np.int64)).astype(np.float32)
            if fitting and not values.any():
                raise InputError(f"data.holidays: no row of {series.source} falls on a day of {name!r}; leave it out.")
            yield CovariateColumn(name, values, key="holidays", known=True)


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"data.holidays holds {text!r}, which is not a calendar date.") from None


def _country_holidays(code: str, years: Iterable[int]) -> list[date]:
    """Holidays of a country or region in these years, with the days on which they are observed."""
    import holidays  # slow to import, and needed for few data sets

    country, _, region = code.partition("-")
    try:
        return list(holidays.country_holidays(country, subdiv=region or None, years=years))
    except NotImplementedError:
        supported = holidays.list_supported_countries()
        kind, known = "country", list(supported)
        if country in supported:
            kind, known = f"region of {country}", [f"{country}-{name}" for name in supported[country]]
        near = get_close_matches(code.upper(), known, n=3, cutoff=0.5) or known[:10]
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise InputError(f"data.holidays holds {code!r}, not a {kind} in the package holidays{hint}.") from None


def _check_daily(series: SeriesSet) -> None:
    """Raise InputError if a step is longer than a day, such as a week or a month."""
    assert series.time is not None
    longest = int(series.lengths.argmax())
    steps = np.diff(series.time[series.offsets[longest] : series.offsets[longest + 1]])
    if len(steps) and steps.min() > np.timedelta64(1, "D"):
        raise InputError(
            f"data.holidays needs steps of a day or less, but the frequency of {series.source} is"
            f" '{series.frequency or steps.min()}'; leave it out."
        )
