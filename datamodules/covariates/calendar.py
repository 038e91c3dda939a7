"""Covariates known ahead from the calendar of the local time: hours, weekdays, months and public holidays."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.covariates.column import CovariateColumn
from datamodules.series import SeriesSet
from datamodules.timezones import local
from seqmodels.window import InputError

CATEGORY = ":category"
TIME = pl.col("time")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip


class Part(NamedTuple):
    """A whole number that a date has; where it goes in circles, ``values`` names the numbers from ``first`` on."""

    number: pl.Expr
    period: pl.Expr | None = None  # after so many it begins again, in the month or year of that date
    first: int = 0
    values: tuple[str, ...] = ()


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(map(str, range(first, last + 1)))


# A day of the month stands for the share of its month that has passed, so that every last day neighbours a first one;
# so do days and ISO weeks in years of different length. The 28th of December lies in the last ISO week of its year.
PARTS = {
    "minute": Part(TIME.dt.minute(), pl.lit(60), 0, _numbers(0, 59)),
    "hour": Part(TIME.dt.hour(), pl.lit(24), 0, _numbers(0, 23)),
    "weekday": Part(TIME.dt.weekday(), pl.lit(7), 1, WEEKDAYS),
    "day": Part(TIME.dt.day(), TIME.dt.days_in_month(), 1, _numbers(1, 31)),
    "day_of_year": Part(TIME.dt.ordinal_day(), 365 + TIME.dt.is_leap_year().cast(pl.Int16), 1, _numbers(1, 366)),
    "week": Part(TIME.dt.week(), pl.date(TIME.dt.iso_year(), 12, 28).dt.week(), 1, _numbers(1, 53)),
    "month": Part(TIME.dt.month(), pl.lit(12), 1, MONTHS),
    "quarter": Part(TIME.dt.quarter(), pl.lit(4), 1, _numbers(1, 4)),
    "year": Part(TIME.dt.year()),
    "weekend": Part((TIME.dt.weekday() > 5).cast(pl.Int8)),
}


class Calendar:
    """Columns for these names, in the time zone of the series; a week is that of ISO 8601 and begins on Monday.

    What goes in circles becomes ``hour (sin)`` and ``hour (cos)``, or, written ``hour:category``, one column ``hour``
    of categories; the year stays a number, and the weekend is 0 or 1.
    """

    def __init__(self, calendar: Sequence[str]):
        for name in calendar:
            part = str(name).removesuffix(CATEGORY)
            if part not in PARTS:
                near = get_close_matches(part, PARTS, n=3, cutoff=0.5) or list(PARTS)
                raise InputError(f"data.calendar holds {name!r}, which is unknown; nearest: {', '.join(near)}.")
            if name != part and not PARTS[part].values:
                raise InputError(f"data.calendar holds {name!r}; {part} is a number and no category: write {part}.")
        self.names = calendar

    def __call__(self, series: SeriesSet, horizon: int) -> Iterator[CovariateColumn]:
        time = local_time(series, "calendar").to_frame()
        for name in self.names:
            part = PARTS[name.removesuffix(CATEGORY)]
            numbers = time.select(part.number).to_series()
            _refuse_constant(series, name, numbers)
            position = numbers.cast(pl.Float32).to_numpy() - np.float32(part.first)
            for ending, values in _encoded(name, position, time, part):
                names = part.values if name.endswith(CATEGORY) else ()
                yield CovariateColumn(name.removesuffix(CATEGORY) + ending, values, names, "calendar", known=True)


def _encoded(name: str, position: np.ndarray, time: pl.DataFrame, part: Part) -> Iterator[tuple[str, np.ndarray]]:
    """What is added to the name, and the values: positions (rows,) count from 0."""
    if name.endswith(CATEGORY):
        yield "", position + 1
    elif part.period is None:
        yield "", position
    else:
        period = time.select(part.period.cast(pl.Float32)).to_series().to_numpy()
        angle = position * np.float32(2 * np.pi) / period
        yield " (sin)", np.sin(angle)
        yield " (cos)", np.cos(angle)


def local_time(series: SeriesSet, key: str) -> pl.Series:
    """What the clock shows in the time zone of the series, (rows,); raises ``InputError`` where they are no dates."""
    if series.time is None or series.time.dtype.kind != "M":
        why = "has no time column (set data.time)" if series.time is None else "counts time in whole numbers"
        raise InputError(f"data.{key} needs dates, but {series.source} {why}.")
    return pl.Series("time", local(series.time, series.zone))


def _refuse_constant(series: SeriesSet, name: str, numbers: pl.Series) -> None:
    if numbers.min() == numbers.max():
        step = f", whose step is one {series.frequency}," if series.frequency else ""
        raise InputError(
            f"data.calendar: {name} is {numbers[0]} in every row of {series.source}{step} and tells nothing;"
            " leave it out."
        )


DAY = np.timedelta64(1, "D")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Holidays:
    """0 or 1 by the date in the time zone of the series: ``holiday US`` for a code, ``holiday`` for all given dates.

    ``holidays``: codes such as ``US`` or ``US-CA`` that the package ``holidays`` knows, and dates like 2011-12-24.
    """

    def __init__(self, holidays: str | Sequence[str]):
        given = [holidays] if isinstance(holidays, str) else [str(one) for one in holidays]
        self.dates = [_date(one) for one in given if DATE.fullmatch(one)]
        self.codes = [one for one in given if not DATE.fullmatch(one)]
        for code in self.codes:
            _of_country(code, ())

    def __call__(self, series: SeriesSet, horizon: int) -> Iterator[CovariateColumn]:
        labels = local_time(series, "holidays")
        _refuse_long_steps(series)
        year = labels.dt.year().to_numpy()
        years = range(int(year.min()), int(year.max()) + 2)  # the day off for New Year may lie in the year before
        days = labels.dt.date().cast(pl.Int32).to_numpy()  # since 1970-01-01
        found = {f"holiday {code}": _of_country(code, years) for code in self.codes}
        if self.dates:
            found["holiday"] = self.dates
        for name, dates in found.items():
            yield CovariateColumn(name, _marked(series, name, days, dates), key="holidays", known=True)


def _marked(series: SeriesSet, name: str, days: np.ndarray, dates: Sequence[date]) -> np.ndarray:
    """1 where the day (rows,) is among the dates, else 0."""
    first, last = int(days.min()), int(days.max())
    free = np.zeros(last - first + 1, np.float32)
    numbers = np.array(dates, dtype="datetime64[D]").astype(np.int64) - first
    free[numbers[(numbers >= 0) & (numbers <= last - first)]] = 1
    values = free[days - first]
    if not values.any():
        raise InputError(f"data.holidays: no row of {series.source} falls on a day of {name!r}; leave it out.")
    return values


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"data.holidays holds {text!r}, which is no date of the calendar.") from None


def _of_country(code: str, years: Iterable[int]) -> list[date]:
    """All holidays of a country or region in these years, with the days on which they are observed."""
    import holidays  # only who asks for holidays waits for their rules

    country, _, region = code.partition("-")
    try:
        return list(holidays.country_holidays(country, subdiv=region or None, years=years))
    except NotImplementedError:
        supported = holidays.list_supported_countries()
        if country in supported:
            kind, known = f"region of {country}", [f"{country}-{name}" for name in supported[country]]
        else:
            kind, known = "country", list(supported)
        near = get_close_matches(code.upper(), known, n=3, cutoff=0.5) or known[:10]
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise InputError(f"data.holidays holds {code!r}, which is no {kind} of the package holidays{hint}.") from None


def _refuse_long_steps(series: SeriesSet) -> None:
    """A step of a week or a month is no day that could be a holiday."""
    assert series.time is not None
    longest = int(series.lengths.argmax())
    steps = np.diff(series.time[series.offsets[longest] : series.offsets[longest + 1]])
    if len(steps) and steps.min() > DAY:
        raise InputError(
            f"data.holidays needs steps of a day or less, but one step of {series.source} is"
            f" {series.frequency or steps.min()}; leave it out."
        )
