"""What the clock on the wall says of each row: hours, weekdays, months and the like as covariates known ahead."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.series import Column, SeriesSet
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

    def columns(self, series: SeriesSet, horizon: int) -> Iterator[Column]:
        time = local_time(series, "calendar").to_frame()
        for name in self.names:
            part = PARTS[name.removesuffix(CATEGORY)]
            numbers = time.select(part.number).to_series()
            _refuse_constant(series, name, numbers)
            position = numbers.cast(pl.Float32).to_numpy() - np.float32(part.first)
            for ending, values in _encoded(name, position, time, part):
                names = part.values if name.endswith(CATEGORY) else ()
                yield Column(name.removesuffix(CATEGORY) + ending, values, names, "calendar", known=True)


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
