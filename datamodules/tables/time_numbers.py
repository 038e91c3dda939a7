"""Times written as numbers: 20200131, 202001, seconds since 1970, days of a spreadsheet."""

import re
from collections.abc import Callable

import numpy as np
import polars as pl

from datamodules.tables.time_texts import Reading, read_spelled

DAY, SECOND = 86_400_000_000, 1_000_000  # in microseconds
COMPACT_DATES = (1700_01_01, 2199_12_31)  # integers within this range that are all valid dates are not an index
_COMPACT_YEARS = (1900, 2199)  # of compact dates with a time of day
_CLOCKS = {10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by number of digits
_PERIODS = (  # size of a year, last numbers within it, mark between both, words
    (100, (12,), "M", "%Y%m"),
    (1000, (365, 366), "-", "%Y%j"),
    (100, (52, 53), "W", "year and ISO week, its Monday"),
    (10, (4,), "Q", "year and quarter"),
)
_EPOCH_YEARS = (315_532_800, 4_102_444_800)  # 1980 and 2100 in seconds since 1970
_EPOCH_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_DAY_NUMBERS = {  # of 1990 to 2050, and that of 1970
    "days of a spreadsheet since 1899-12-30": (32_874, 54_789, 25_569),
    "days of MATLAB since year 0": (726_834, 748_749, 719_529),
    "Julian days": (2_447_892, 2_469_808, 2_440_587.5),
}
_DATE_NAME = re.compile("time|date|day|stamp|datum|data|fecha|tag|jour|zeit", re.IGNORECASE)


def read_integers(numbers: pl.Series, where: Callable[[int], str]) -> Reading | None:
    """Read whole numbers as times; None for an index, which has no calendar. ``where`` tells the place of a row."""
    if numbers.is_between(*COMPACT_DATES).all():
        dates = numbers.cast(pl.String).str.to_datetime("%Y%m%d", strict=False, time_unit="us")
        if 2 * dates.null_count() < len(dates):  # few numbers of an index are dates
            return Reading(dates, ["%Y%m%d"])
    return (
        _read_periods(numbers)
        or _read_short_dates(numbers)
        or _read_clocks(numbers, where)
        or _read_epoch(numbers, where)
        or _read_days(numbers)
    )


def read_fractions(numbers: pl.Series) -> Reading | None:
    """Read numbers with a fraction as times: seconds since 1970, or numbers of days; None if they are neither."""
    first, last = _EPOCH_YEARS
    for unit, size in list(_EPOCH_UNITS.items())[:2]:
        if numbers.is_between(size * first, size * last).all():
            micros = (numbers * (SECOND // size)).round().cast(pl.Int64)
            return Reading(micros.cast(pl.Datetime("us", "UTC")), [f"{unit} since 1970 (UTC)"])
    for words, (begin, end, epoch) in _DAY_NUMBERS.items():
        if numbers.is_between(begin, end).all():
            micros = ((numbers - epoch) * (DAY // SECOND)).round().cast(pl.Int64) * SECOND
            return Reading(micros.cast(pl.Datetime("us")), [f"{words}, to the second"])
    return None


def _read_periods(numbers: pl.Series) -> Reading | None:
    """Read months, days, weeks or quarters behind the year, if some are the last and first ones of two years.

    An index would continue with 201913 after 201912.
    """
    for size, lasts, mark, words in _PERIODS:
        year, rest = numbers // size, numbers % size
        if not (year.is_between(1700, 2199).all() and rest.is_between(1, max(lasts)).all()):
            continue
        steps = numbers.unique().sort().diff()
        if steps.is_in([size + 1 - last for last in lasts]).any():
            texts = year.cast(pl.String) + mark + rest.cast(pl.String).str.zfill(len(str(size)) - 1)
            reading = read_spelled(texts)
            if reading is not None and not reading.time.null_count():
                return Reading(reading.time, [words])
    return None


def _read_short_dates(numbers: pl.Series) -> Reading | None:
    """Read 200131 and 200201 as days, if they follow one another as the days of months do."""
    if not numbers.is_between(10_101, 991_231).all() or not ((numbers % 100).is_between(1, 31)).all():
        return None
    dates = numbers.cast(pl.String).str.zfill(6).str.to_datetime("%y%m%d", strict=False, time_unit="us")
    if dates.null_count():
        return None
    days, steps = (np.diff(np.unique(cells.to_physical().to_numpy())) for cells in (dates, numbers))
    by_day = len(days) > 0 and np.mean(days == days.min()) > np.mean(steps == steps.min())
    return Reading(dates, ["%y%m%d"]) if by_day else None


def _read_clocks(numbers: pl.Series, where: Callable[[int], str]) -> Reading | None:
    """Read 2020013105 and the like."""
    smallest = numbers.min()
    digits = len(str(smallest))
    first, last = (year * 10 ** (digits - 4) for year in (_COMPACT_YEARS[0], _COMPACT_YEARS[1] + 1))
    if digits not in _CLOCKS or not numbers.is_between(first, last).all():
        return None
    texts = numbers.cast(pl.String)
    reading = read_spelled(texts.str.slice(0, 8) + "T" + texts.str.slice(8), where)
    if reading is None or reading.time.null_count():
        return None
    return Reading(reading.time, [_CLOCKS[digits], *reading.remarks])


def _read_epoch(numbers: pl.Series, where: Callable[[int], str]) -> Reading | None:
    """Read seconds since 1970 or fractions of them; the size of each number tells its unit."""
    first, last = _EPOCH_YEARS
    fits = {unit: numbers.is_between(size * first, size * last) for unit, size in _EPOCH_UNITS.items()}
    found = {unit: rows for unit, rows in fits.items() if rows.any()}
    if not found or sum(int(rows.sum()) for rows in found.values()) < len(numbers):
        return None
    micros = pl.select(pl.coalesce(pl.when(rows).then(_to_micros(numbers, _EPOCH_UNITS[unit]))
                                   for unit, rows in found.items())).to_series()  # fmt: skip
    instants = micros.cast(pl.Datetime("us", "UTC"))
    if len(found) == 1:
        return Reading(instants, [f"{next(iter(found))} since 1970 (UTC)"])
    begins = sorted((int(rows.arg_true()[0]), unit) for unit, rows in found.items())
    places = ", ".join(f"{unit} from {where(row)} on" for row, unit in begins)
    return Reading(instants, [f"several units since 1970 (UTC), told apart by size: {places}"])


def _to_micros(numbers: pl.Series, size: int) -> pl.Series:
    """Microseconds from numbers of which ``size`` are a second."""
    return numbers * (SECOND // size) if size <= SECOND else numbers // (size // SECOND)


def _read_days(numbers: pl.Series) -> Reading | None:
    """Read 43831 as a day of a spreadsheet if the name of the column suggests days: it could be an index."""
    words, (begin, end, epoch) = next(iter(_DAY_NUMBERS.items()))
    if not numbers.is_between(begin, end).all() or not _DATE_NAME.search(numbers.name):
        return None
    return Reading(((numbers - epoch) * DAY).cast(pl.Datetime("us")), [words])
