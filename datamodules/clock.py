"""Time labels of a table: knows how dates are written and turns a column of them into datetime64 or integers."""

import re
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.cells import Source
from datamodules.encode import clean
from datamodules.local_time import localised
from datamodules.timezones import whole_days
from seqmodels.window import InputError

_CLOCK = r"(?:([ T])\d{1,2}:\d{2}(:\d{2}(?:[.]\d+)?)?( ?[APap][Mm])?( ?(?:Z|[+-]\d{2}:?\d{2}))?)?"
_ISO = re.compile(r"\d{4}([-/])\d{1,2}(?:\1\d{1,2}" + _CLOCK + ")?")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}" + _CLOCK)
_INTEGER = re.compile(r"[+-]?\d+")
_COMPACT_YEARS = (1700_01_01, 2199_12_31)  # integers within this range that are all dates are not an index
_COMPACT_MONTHS = (1700_01, 2199_12)
_EPOCH_YEARS = (315_532_800, 4_102_444_800)  # seconds since 1970 of 1980 and 2100; times 1,000 they are milliseconds
_EPOCH_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}


class Clock(NamedTuple):
    """The times of all rows: instants in UTC, dates, or whole numbers."""

    labels: np.ndarray  # (rows,) datetime64[us] or int64
    zone: str  # time zone in which people read them, "" where none is known
    notes: list[str]


def read_clock(
    table: Source,
    cells: pl.Series,
    time_format: str | None,
    time_zone: str | None = None,
    codes: np.ndarray | None = None,
) -> Clock:
    """Labels of a column, in the order of the file.

    ``time_zone`` says of which zone labels without an offset are clock times; dates without a clock time stay dates.
    Labels that name their offset or zone are converted to UTC; people then read them in ``time_zone``, or else in the
    zone they name. ``codes`` (rows,) tells the series apart.

    Raises ``InputError`` for a missing label, one that does not fit the format, an ambiguous format, and a clock time
    that does not exist in the zone.
    """
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    if cells.dtype == pl.String:
        cells = clean(cells)
    if cells.null_count():
        row = int(cells.is_null().arg_true()[0])
        raise InputError(f"{table.place(row)}: time column {cells.name!r} has no value here; every row needs its time.")
    labels, notes = _labels(table, cells, time_format)
    if not isinstance(labels.dtype, pl.Datetime):
        _refuse_zone_of_integers(table, cells.name, time_zone)
        return Clock(labels.to_numpy(), "", notes)
    if labels.dtype.time_zone is not None:
        return _instants(table, cells, labels, time_zone, notes)
    naive = labels.to_numpy()
    if time_zone is None:
        return Clock(naive, "", notes)
    if whole_days(naive):
        unused = f"data.time_zone={time_zone} changes nothing"
        return Clock(naive, "", [*notes, f"{table.name}: times are dates without a clock time, so {unused}."])
    time, more = localised(table, cells.name, naive, time_zone, codes)
    return Clock(time, time_zone, notes + more)


def _labels(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    """Datetime[us], with a zone where the labels name theirs, or Int64."""
    if cells.dtype.is_integer():
        return _from_integers(table, cells, time_format)
    if cells.dtype == pl.String:
        return _from_text(table, cells, time_format)
    if cells.dtype == pl.Date:
        return cells.cast(pl.Datetime("us")), []
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.cast_time_unit("us"), []
    raise InputError(
        f"{table.name}: time column {cells.name!r} holds {cells.dtype}, but dates, whole numbers or text are needed."
    )


def _refuse_zone_of_integers(table: Source, column: str, time_zone: str | None) -> None:
    if time_zone is not None:
        raise InputError(
            f"data.time_zone={time_zone}: time column {column!r} of {table.name} holds whole numbers,"
            " which are no times of a day; leave out data.time_zone."
        )


def _instants(table: Source, cells: pl.Series, labels: pl.Series, time_zone: str | None, notes: list[str]) -> Clock:
    """Labels that name their offset or zone."""
    named = labels.dtype.time_zone if isinstance(labels.dtype, pl.Datetime) else None
    zone = time_zone or (_offset_zone(cells) if cells.dtype == pl.String else named) or "UTC"
    if named not in (None, "UTC"):
        notes = [*notes, f"{table.name}: time converted from {named} to UTC."]
    return Clock(labels.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy(), zone, notes)


def _offset_zone(cells: pl.Series) -> str | None:
    """The zone of an offset that all labels share, where it is a number of hours: Etc/GMT-2 for +02:00."""
    hours = cells.str.extract(r"([+-]\d{2}):?00$", 1).unique()
    if len(hours) != 1 or hours[0] is None or int(hours[0]) == 0:
        return None
    return f"Etc/GMT{-int(hours[0]):+d}"


def _from_integers(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    if time_format is not None:
        return _parse(table, cells.cast(pl.String), time_format), []
    numbers = cells.cast(pl.Int64, strict=False)  # a shorter type cannot be compared with the bounds
    _refuse_unread(table, cells, numbers, "within the range of 64-bit integers")
    if numbers.is_between(*_COMPACT_YEARS).all():
        dates = _try(numbers.cast(pl.String), "%Y%m%d")
        if not dates.null_count():
            return dates, [f"{table.name}: time format detected: %Y%m%d."]
    if _are_months(numbers):
        return _try(numbers.cast(pl.String), "%Y%m"), [f"{table.name}: time format detected: %Y%m."]
    first, last = _EPOCH_YEARS
    for unit, size in _EPOCH_UNITS.items():
        if numbers.is_between(size * first, size * last).all():
            return _since_1970(numbers, size), [f"{table.name}: time format detected: {unit} since 1970 (UTC)."]
    return numbers, []


def _are_months(numbers: pl.Series) -> bool:
    """Whether all are like 201912 and 202001 follows it somewhere: an index would go on with 201913."""
    if not numbers.is_between(*_COMPACT_MONTHS).all() or not (numbers % 100).is_between(1, 12).all():
        return False
    return bool((numbers.unique().sort().diff() == 1_01 - 12).any())


def _since_1970(numbers: pl.Series, size: int) -> pl.Series:
    """Instants of whole numbers of which ``size`` are a second."""
    second = _EPOCH_UNITS["microseconds"]
    instants = numbers * (second // size) if size <= second else numbers // (size // second)
    return instants.cast(pl.Datetime("us", "UTC"))


def _from_text(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    first = cells[0]
    if time_format is not None:
        return _parse(table, cells, time_format), []
    if _INTEGER.fullmatch(first):
        numbers = cells.cast(pl.Int64, strict=False)
        _refuse_unread(table, cells, numbers, "a whole number like the first time")
        return _from_integers(table, numbers, None)
    if match := _ISO.fullmatch(first):
        day = f"%Y{match[1]}%m" + (f"{match[1]}%d" if re.match(r"\d{4}.\d{1,2}.\d", first) else "")
        return _parse(table, cells, day + _clock_format(match)), []
    if match := _DAY_OR_MONTH_FIRST.fullmatch(first):
        found = _month_or_day_first(table, cells, match[1], _clock_format(match))
        return _parse(table, cells, found), [f"{table.name}: time format detected: {found}."]
    raise InputError(
        f"{table.place(0)}: {first!r} in column {cells.name!r} is no date of a known form; "
        "describe it with data.time_format, for example %m/%d/%Y."
    )


def _clock_format(match: re.Match[str]) -> str:
    """The format of the part after the day; ``%.f`` also accepts seconds without a fraction."""
    between, seconds, half, zone = match.groups()[1:]
    if between is None:
        return ""
    clock = ("%I" if half else "%H") + ":%M" + (":%S%.f" if seconds else "")
    half_format = "" if half is None else half.replace(half.strip(), "%p")
    zone_format = "" if zone is None else zone.replace(zone.strip(), "%#z")
    return between + clock + half_format + zone_format


def _month_or_day_first(table: Source, cells: pl.Series, separator: str, clock: str) -> str:
    """The one of the two orders that fits every label; where both do, the user must say which."""
    formats = [separator.join(order) + clock for order in (("%m", "%d", "%Y"), ("%d", "%m", "%Y"))]
    unread = [_try(cells, candidate).null_count() for candidate in formats]
    if unread == [0, 0]:
        raise InputError(
            f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} may be month first or day first, "
            f"and so may every other row: set data.time_format to {formats[0]} or {formats[1]}."
        )
    return formats[0] if unread[0] <= unread[1] else formats[1]


def _parse(table: Source, cells: pl.Series, time_format: str) -> pl.Series:
    labels = _try(cells, time_format)
    _refuse_unread(table, cells, labels, f"a date of the format {time_format} (data.time_format)")
    return labels


def _refuse_unread(table: Source, cells: pl.Series, labels: pl.Series, wanted: str) -> None:
    if labels.null_count():
        row = int(labels.is_null().arg_true()[0])
        raise InputError(f"{table.place(row)}: {cells[row]!r} in column {cells.name!r} is not {wanted}.")


def _try(cells: pl.Series, time_format: str) -> pl.Series:
    """Parsed labels, in UTC where they name an offset, null where the format does not fit; a year needs four digits."""
    if re.search("%[HkIl]", time_format) and not re.search("%[MTRrXcs]", time_format):
        cells, time_format = cells + " 00", time_format + " %M"  # polars wants minutes with the hour
    if re.search("%[mbBh]", time_format) and not re.search("%[dejDFxcs]", time_format):
        cells, time_format = cells + " 01", time_format + " %d"
    try:
        labels = cells.str.to_datetime(time_format, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"data.time_format={time_format} cannot be used: {reason}.") from error
    if "%s" in time_format:
        labels = labels.dt.replace_time_zone("UTC")
    return labels.set(labels.dt.year() < 1000, None)
