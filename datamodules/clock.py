"""Time labels of a table: knows how dates are written and turns a column of them into datetime64 or integers."""

import re

import numpy as np
import polars as pl

from datamodules.cells import TableFile
from datamodules.encode import clean
from seqmodels.window import InputError

_CLOCK = r"(?:([ T])\d{1,2}:\d{2}(:\d{2}(?:[.]\d+)?)?( ?[APap][Mm])?( ?(?:Z|[+-]\d{2}:?\d{2}))?)?"
_ISO = re.compile(r"\d{4}([-/])\d{1,2}(?:\1\d{1,2}" + _CLOCK + ")?")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}" + _CLOCK)
_INTEGER = re.compile(r"[+-]?\d+")
_COMPACT_YEARS = (1700_01_01, 2199_12_31)  # integers within this range that are all dates are not an index


def read_clock(table: TableFile, cells: pl.Series, time_format: str | None) -> tuple[np.ndarray, list[str]]:
    """Labels (rows,) as datetime64[us] (UTC where the source names a zone) or int64, and notes for people.

    Raises ``InputError`` for a missing label, one that does not fit the format, and an ambiguous format.
    """
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    if cells.dtype == pl.String:
        cells = clean(cells)
    if cells.null_count():
        row = int(cells.is_null().arg_true()[0])
        raise InputError(f"{table.place(row)}: time column {cells.name!r} has no value here; every row needs its time.")
    if cells.dtype.is_integer():
        return _from_integers(table, cells, time_format)
    if cells.dtype == pl.String:
        return _from_text(table, cells, time_format)
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return _from_dates(table, cells)
    raise InputError(
        f"{table.name}: time column {cells.name!r} holds {cells.dtype}, but dates, whole numbers or text are needed."
    )


def _from_dates(table: TableFile, cells: pl.Series) -> tuple[np.ndarray, list[str]]:
    zone = getattr(cells.dtype, "time_zone", None)
    notes = [] if zone in (None, "UTC") else [f"{table.name}: time converted from {zone} to UTC."]
    if zone is not None:
        cells = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return cells.cast(pl.Datetime("us")).to_numpy(), notes


def _from_integers(table: TableFile, cells: pl.Series, time_format: str | None) -> tuple[np.ndarray, list[str]]:
    lowest, highest = _COMPACT_YEARS
    if time_format is not None:
        return _parse(table, cells.cast(pl.String), time_format), []
    if cells.is_between(lowest, highest).all():
        dates = _try(cells.cast(pl.String), "%Y%m%d")
        if not dates.null_count():
            return dates.to_numpy(), [f"{table.name}: time format detected: %Y%m%d."]
    numbers = cells.cast(pl.Int64, strict=False)
    _refuse_unread(table, cells, numbers, "within the range of 64-bit integers")
    return numbers.to_numpy(), []


def _from_text(table: TableFile, cells: pl.Series, time_format: str | None) -> tuple[np.ndarray, list[str]]:
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


def _month_or_day_first(table: TableFile, cells: pl.Series, separator: str, clock: str) -> str:
    """The one of the two orders that fits every label; where both do, the user must say which."""
    formats = [separator.join(order) + clock for order in (("%m", "%d", "%Y"), ("%d", "%m", "%Y"))]
    unread = [_try(cells, candidate).null_count() for candidate in formats]
    if unread == [0, 0]:
        raise InputError(
            f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} may be month first or day first, "
            f"and so may every other row: set data.time_format to {formats[0]} or {formats[1]}."
        )
    return formats[0] if unread[0] <= unread[1] else formats[1]


def _parse(table: TableFile, cells: pl.Series, time_format: str) -> np.ndarray:
    labels = _try(cells, time_format)
    _refuse_unread(table, cells, labels, f"a date of the format {time_format} (data.time_format)")
    return labels.to_numpy()


def _refuse_unread(table: TableFile, cells: pl.Series, labels: pl.Series, wanted: str) -> None:
    if labels.null_count():
        row = int(labels.is_null().arg_true()[0])
        raise InputError(f"{table.place(row)}: {cells[row]!r} in column {cells.name!r} is not {wanted}.")


def _try(cells: pl.Series, time_format: str) -> pl.Series:
    """Parsed labels in UTC without zone, null where the format does not fit; a year needs four digits."""
    if re.search("%[HkIl]", time_format) and not re.search("%[MTRrXcs]", time_format):
        cells, time_format = cells + " 00", time_format + " %M"  # polars wants minutes with the hour
    if re.search("%[mbBh]", time_format) and not re.search("%[dejDFxcs]", time_format):
        cells, time_format = cells + " 01", time_format + " %d"
    try:
        labels = cells.str.to_datetime(time_format, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"data.time_format={time_format} cannot be used: {reason}.") from error
    labels = labels.dt.replace_time_zone(None)
    return labels.set(labels.dt.year() < 1000, None)
