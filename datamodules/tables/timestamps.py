"""Timestamps of a table: detect their format, parse them and convert local times to UTC."""

import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.frequency import DAY, HOUR
from datamodules.tables.source import NO_TIME, Source, clean, plural
from datamodules.tables.written_times import (
    COMPACT_DATES,
    INTERVAL_END,
    NO_OFFSET,
    read_fractions,
    read_integers,
    read_spelled,
)
from datamodules.timezones import are_dates, format_time, local_to_utc
from seqmodels.errors import InputError


class Timestamps(NamedTuple):
    """Timestamps of all rows: instants in UTC, dates, or whole numbers."""

    time: np.ndarray  # (rows,) datetime64[us] or int64
    zone: str  # time zone in which to display them, "" if unknown
    notes: list[str]


def read_timestamps(
    table: Source, columns: Sequence[str], time_format: str | None, time_zone: str | None, codes: np.ndarray | None
) -> Timestamps:
    """Read the timestamps in one column, or those whose parts several columns hold, see ``parse_timestamps``.

    Columns with the names in ``PARTS`` hold numbers: either all parts of a time from the year on, or hour, minute
    and second beside a date in another column, which ``time_format`` then describes. Other columns, and a ``day``
    without a year, are texts such as date and time of day, joined by a blank. Beside a date, numbers from 1 to 24, 48
    or 96 count the parts of the day. Raises ``InputError`` for columns that do not form a time.
    """
    if len(columns) == 1:
        return parse_timestamps(table, table.column(columns[0]), time_format, time_zone, codes)
    counted = _read_counted(table, columns, time_format, time_zone, codes) if len(columns) == 2 else None
    return counted or parse_timestamps(table, *_join_parts(table, columns, time_format), time_zone, codes)


def parse_timestamps(
    table: Source,
    cells: pl.Series,
    time_format: str | None = None,
    time_zone: str | None = None,
    codes: np.ndarray | None = None,
) -> Timestamps:
    """Parse the cells of a time column in file order; the format is detected unless it is given.

    Timestamps without an offset are local times of ``time_zone``, but dates without a time of day stay dates.
    Timestamps with an offset or zone are converted to UTC and displayed in ``time_zone`` or else in their own zone.
    ``codes`` (rows,) are the series codes. Raises ``InputError`` for a missing timestamp, one that does not match the
    format, an ambiguous format, and a local time that does not exist in the zone.
    """
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    if cells.dtype == pl.String:
        cells = clean(cells)
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
    if cells.null_count():
        row = int(cells.is_null().arg_true()[0])
        raise InputError(
            f"{table.place(row)}: time column {cells.name!r} has no value here; every row must have a time."
        )
    parsed, notes = _parse(table, cells, time_format)
    if not isinstance(parsed.dtype, pl.Datetime):
        if time_zone is not None:
            raise InputError(
                f"data.time_zone={time_zone}: time column {cells.name!r} of {table.name} holds whole numbers,"
                " which have no time zone; leave out data.time_zone."
            )
        return Timestamps(parsed.to_numpy(), "", notes)
    if parsed.dtype.time_zone is not None:
        return _convert_to_utc(table, cells, parsed, time_zone, notes)
    naive = parsed.to_numpy()
    if time_zone is None:
        return Timestamps(naive, "", notes)
    if are_dates(naive):
        unused = f"data.time_zone={time_zone} has no effect"
        return Timestamps(naive, "", [*notes, f"{table.name}: times are dates without a time of day, so {unused}."])
    time, more = _localize(table, cells.name, naive, time_zone, codes)
    return Timestamps(time, time_zone, notes + more)


_TIME_NAME = re.compile("time|date|unix|epoch|stamp|^ts$|^t$", re.IGNORECASE)


def holds_times(cells: pl.Series, spelled_only: bool = False) -> bool:
    """True if all cells read as times with a calendar; numbers do only if not ``spelled_only``."""
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return True
    if not (cells.dtype.is_integer() or cells.dtype in (pl.String, pl.Categorical, pl.Enum)):
        return False
    text = clean(cells.cast(pl.String)).drop_nulls()
    if text.is_empty():
        return False
    numbers = text.cast(pl.Int64, strict=False)
    if not numbers.null_count():
        named = numbers.is_between(*COMPACT_DATES).all() or bool(_TIME_NAME.search(cells.name))
        return not spelled_only and named and read_integers(numbers, str) is not None
    reading = None if _NUMBER.fullmatch(text[0]) else read_spelled(text)
    return reading is not None and reading.time.dt.year().is_between(1700, 2199).fill_null(False).all()


def _convert_to_utc(
    table: Source, cells: pl.Series, parsed: pl.Series, time_zone: str | None, notes: list[str]
) -> Timestamps:
    """Timestamps with an offset or zone."""
    zone = parsed.dtype.time_zone if isinstance(parsed.dtype, pl.Datetime) else None
    if zone not in (None, "UTC"):
        notes = [*notes, f"{table.name}: time converted from {zone} to UTC."]
    instants = parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if cells.dtype == pl.String:
        offsets = cells.str.extract(r"([+-]\d{2}:?\d{2})$", 1)
        different = offsets.unique(maintain_order=True)
        if len(different) > 1 and time_zone is None:
            return _read_changing_offsets(table, instants, offsets, notes)
        zone = _offset_zone(different[0])
    return Timestamps(instants.to_numpy(), time_zone or zone or "UTC", notes)


def _offset_zone(offset: str | None) -> str | None:
    """Zone of an offset in whole hours: Etc/GMT-2 for +02:00."""
    hours = 0 if offset is None or not offset.endswith("00") else int(offset[:3])
    return f"Etc/GMT{-hours:+d}" if hours else None


def _read_changing_offsets(table: Source, instants: pl.Series, offsets: pl.Series, notes: list[str]) -> Timestamps:
    """Times as the cells show them, if the clock on the wall sets the steps, otherwise instants.

    It does where times of day on the wall, two hours or more apart, are fewer than those in UTC: in days, for example.
    """
    sign = pl.when(offsets.str.starts_with("-")).then(-1).otherwise(1)
    minutes = offsets.str.slice(1, 2).cast(pl.Int64) * 60 + offsets.str.slice(-2).cast(pl.Int64)
    shift = pl.select((pl.lit(minutes.fill_null(0)) * sign * 60_000_000).cast(pl.Duration("us"))).to_series()
    wall = (instants + shift).to_numpy()
    on_wall, in_utc = (np.unique(_time_of_day(times)) for times in (wall, instants.to_numpy()))
    apart = np.diff(np.append(on_wall, on_wall[0] + DAY)).min()
    by_wall = len(on_wall) < len(in_utc) and apart >= 2 * HOUR
    row = int(offsets.eq_missing(offsets[0]).not_().arg_true()[0])
    if by_wall and table.is_shard:  # another shard may have a single offset
        raise InputError(
            f"{table.place(row)}: offsets change from {offsets[0]} to {offsets[row]}, but the times of day do not: set"
            " data.time_zone, such as Europe/Berlin, to read them as times of a zone."
        )
    changed = f"{table.name}: offsets change from {offsets[0]} to {offsets[row]} (first: {table.where(row)})"
    what = "dates" if are_dates(wall) else "local times"
    told = f"the times of day do not, so they are read as {what}" if by_wall else "times are shown in UTC"
    note = f"{changed}; {told} (data.time_zone)."
    return Timestamps(wall if by_wall else instants.to_numpy(), "" if by_wall else "UTC", [*notes, note])


def _time_of_day(times: np.ndarray) -> np.ndarray:
    """Microseconds since midnight, (n,) int64."""
    return times.astype(np.int64) % DAY


# Formats

_TIME = r"(?:([ T])\d{1,2}:\d{2}(:\d{2}(?:[.]\d+)?)?( ?[APap][Mm])?( ?(?:Z|[+-]\d{2}:?\d{2}))?)?"
_ISO = re.compile(r"\d{4}([-/])\d{1,2}(?:\1\d{1,2}" + _TIME + ")?")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}" + _TIME)
_MONTH_AND_YEAR = re.compile(r"\d{1,2}[.]\d{4}")
_NUMBER = re.compile(r"[+-]?\d+(?:[.]\d*)?(?:[eE][+-]?\d+)?")


def _parse(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    """Datetime[us], with a zone if the cells have one, or Int64; and a note on a detected format."""
    if cells.dtype.is_integer():
        return _parse_numbers(table, cells, time_format)
    if cells.dtype == pl.String:
        return _parse_text(table, cells, time_format)
    if cells.dtype == pl.Date:
        return cells.cast(pl.Datetime("us")), []
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.cast_time_unit("us"), []
    if cells.dtype.is_float():
        return _parse_numbers(table, cells, time_format)
    raise InputError(
        f"{table.name}: time column {cells.name!r} holds {cells.dtype}, but dates, numbers or text are needed;"
        f" or set {NO_TIME}."
    )


def _parse_numbers(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    """Numbers as times, or as an index if they are whole."""
    numbers = cells.cast(pl.Int64, strict=False)  # a shorter type cannot be compared with bounds
    whole = cells.dtype.is_integer() or bool((numbers == cells).all())
    if time_format is not None:
        return _parse_format(table, (numbers if whole else cells).cast(pl.String), time_format)
    if not whole:
        reading = read_fractions(cells.cast(pl.Float64))
        if reading is None:
            row = int((numbers != cells).fill_null(True).arg_true()[0])
            raise InputError(
                f"{table.place(row)}: {cells[row]} in column {cells.name!r} is neither a whole number nor a time in a"
                f" known form; name another column in data.time, or set {NO_TIME}."
            )
    else:
        _refuse_null(table, cells, numbers, "within the range of 64-bit integers")
        reading = read_integers(numbers, table.where)
        if reading is not None:
            _refuse_null(table, cells, reading.time, f"a time like the others ({'; '.join(reading.remarks)})")
    return (numbers, []) if reading is None else (reading.time, [_detected(table, *reading.remarks)])


def _detected(table: Source, *remarks: str) -> str:
    return f"{table.name}: time format detected: {'; '.join(remarks)}."


def _parse_text(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    if time_format is not None:
        return _parse_format(table, cells, time_format)
    if _NUMBER.fullmatch(cells[0]) and not _MONTH_AND_YEAR.fullmatch(cells[0]):
        numbers = cells.cast(pl.Int64, strict=False)
        numbers = cells.cast(pl.Float64, strict=False) if numbers.null_count() else numbers
        _refuse_null(table, cells, numbers, "a number like the first time")
        return _parse_numbers(table, numbers, None)
    _refuse_double_years(table, cells)
    found, notes = _usual_format(table, cells)
    if found is not None and "-" in cells[0][-6:] and "%#z" in found and cells.str.contains(NO_OFFSET).any():
        found = None  # the end of an interval, 05:00-06:00
    parsed = None if found is None else _try_format(cells, found)
    if parsed is not None and not parsed.null_count():
        return parsed, notes
    reading = read_spelled(cells, table.where)
    if reading is None and found is None:
        raise InputError(f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} is not a date in a known format;"
                         f" give its format in data.time_format, for example %m/%d/%Y, or set {NO_TIME}.")  # fmt: skip
    if reading is None or (found is not None and reading.time.null_count()):
        assert parsed is not None
        _refuse_null(table, cells, parsed, f"a date of the format {found}, which others have")
        return parsed, notes
    _refuse_null(table, cells, reading.time, f"a time of the same form as {cells[0]!r}, the first one")
    if reading.formats:
        raise _either_order(table, cells, reading.formats)
    first = format_time(reading.time.dt.replace_time_zone(None).to_numpy()[0])
    example = [] if first == cells[0] else [f"{cells[0]!r} is {first}"]
    return reading.time, [_detected(table, *example, *reading.remarks)]


def _refuse_double_years(table: Source, cells: pl.Series) -> None:
    """Raise for years such as 2000/01 and 2001/02, which are no months."""
    if len(cells) < 3 or not re.fullmatch(r"\d{4}[-/]\d{2}", cells[0]):
        return
    years = cells.str.extract_groups(r"^\d\d(\d\d)[-/](\d\d)$").struct.unnest().cast(pl.Int64)
    if ((years["1"] + 1) % 100 == years["2"]).fill_null(False).all():
        raise InputError(
            f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} is a year that ends in the next one, like every"
            f" other row: name a column of single years in data.time, or set {NO_TIME}."
        )


def _usual_format(table: Source, cells: pl.Series) -> tuple[str | None, list[str]]:
    """Format of most files, and a note on it; None if the first cell is written in another way."""
    if match := _ISO.fullmatch(cells[0]):
        day = f"%Y{match[1]}%m" + (f"{match[1]}%d" if re.match(r"\d{4}.\d{1,2}.\d", cells[0]) else "")
        return day + _time_format(match), []
    if match := _DAY_OR_MONTH_FIRST.fullmatch(cells[0]):
        found = _month_or_day_first(table, cells, match[1], _time_format(match))
        return found, [_detected(table, found)]
    return None, []


def _time_format(match: re.Match[str]) -> str:
    """Format of the part after the day; ``%.f`` also accepts seconds without a fraction."""
    between, seconds, half, zone = match.groups()[1:]
    if between is None:
        return ""
    time = ("%I" if half else "%H") + ":%M" + (":%S%.f" if seconds else "")
    half_format = "" if half is None else half.replace(half.strip(), "%p")
    zone_format = "" if zone is None else zone.replace(zone.strip(), "%#z")
    return between + time + half_format + zone_format


def _month_or_day_first(table: Source, cells: pl.Series, separator: str, time: str) -> str:
    """The one of the two orders that fits every cell; raises ``InputError`` if both do."""
    formats = [separator.join(order) + time for order in (("%m", "%d", "%Y"), ("%d", "%m", "%Y"))]
    unread = [_try_format(cells, candidate).null_count() for candidate in formats]
    if unread == [0, 0]:
        raise _either_order(table, cells, formats)
    return formats[0] if unread[0] <= unread[1] else formats[1]


def _either_order(table: Source, cells: pl.Series, formats: Sequence[str]) -> InputError:
    names = [{"m": "month", "d": "day"}.get(one[1], "year") for one in formats]
    return InputError(
        f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} may be {' first or '.join(names)} first, "
        f"like every other row: set data.time_format to {' or '.join(formats)}."
    )


def _parse_format(table: Source, cells: pl.Series, time_format: str) -> tuple[pl.Series, list[str]]:
    """Read the cells in the given format, and forms that no format describes: intervals, 24:00, a missing midnight."""
    parsed, notes = _try_format(cells, time_format), []
    for words, change in _REPAIRS.items():
        rows = parsed.is_null().arg_true()
        if len(rows) == 0:
            break
        mended = change(cells[rows], time_format)
        if mended is not None and mended.dtype == parsed.dtype and mended.null_count() < len(rows):
            first = table.where(int(rows[mended.is_not_null().arg_true()[0]]))
            notes.append(f"{table.name}: {plural(len(rows) - mended.null_count(), 'time')} (first: {first}) {words}.")
            parsed = parsed.scatter(rows, mended)
    _refuse_null(table, cells, parsed, f"a date of the format {time_format} (data.time_format)")
    return parsed, notes


def _start_of_interval(cells: pl.Series, time_format: str) -> pl.Series:
    return _try_format(cells.str.replace(INTERVAL_END, ""), time_format)


def _end_of_day(cells: pl.Series, time_format: str) -> pl.Series:
    midnight = _try_format(cells.str.replace(r"\b24(:00)", "00$1"), time_format)
    return midnight.dt.offset_by("1d") if "%H:%M" in time_format else midnight.clear().extend_constant(None, len(cells))


def _missing_midnight(cells: pl.Series, time_format: str) -> pl.Series | None:
    day = re.split("[ T,:]*%[HIklTR]", time_format)[0]
    return None if day in ("", time_format) else _try_format(cells, day)


_REPAIRS: dict[str, Callable[[pl.Series, str], pl.Series | None]] = {
    "without a time of day read as midnight": _missing_midnight,
    "of 24:00 read as midnight at the end of the day": _end_of_day,
    "are intervals, read as their start": _start_of_interval,
}


def _refuse_null(table: Source, cells: pl.Series, parsed: pl.Series, wanted: str) -> None:
    if parsed.null_count():
        row = int(parsed.is_null().arg_true()[0])
        raise InputError(f"{table.place(row)}: {cells[row]!r} in column {cells.name!r} is not {wanted}.")


def _try_format(cells: pl.Series, time_format: str) -> pl.Series:
    """Datetime, in UTC if the cells have offsets; null if the format does not match or the year has fewer digits."""
    if re.search("%[HkIl]", time_format) and not re.search("%[MTRrXcs]", time_format):
        cells, time_format = cells + " 00", time_format + " %M"  # polars needs minutes with the hour
    if re.search("%[mbBh]", time_format) and not re.search("%[dejDFxcs]", time_format):
        cells, time_format = cells + " 01", time_format + " %d"
    try:
        parsed = cells.str.to_datetime(time_format, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"data.time_format={time_format} cannot be used: {reason}.") from error
    if "%s" in time_format:
        parsed = parsed.dt.replace_time_zone("UTC")
    return parsed.set(parsed.dt.year() < 1000, None)


# Times in several columns

PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mnth", "mon"),
    "day": ("day", "mday", "day_of_month"),
    "hour": ("hour", "hr", "hours"),
    "minute": ("minute", "min", "minutes"),
    "second": ("second", "sec", "seconds"),
}  # names of columns
_DATE_PARTS, _TIME_PARTS = tuple(PARTS)[:3], tuple(PARTS)[3:]


_COUNTS = {24: 60, 25: 60, 48: 30, 50: 30, 96: 15, 100: 15}  # minutes by the largest number
_COUNTED = {60: "hours", 30: "half hours", 15: "quarters of an hour"}


def _read_counted(
    table: Source, columns: Sequence[str], time_format: str | None, time_zone: str | None, codes: np.ndarray | None
) -> Timestamps | None:
    """Read a date and the number of an hour, a half or a quarter of an hour, from 1 on; None for other columns."""
    found = [(name, numbers) for name in columns if (numbers := _count_parts(table, name)) is not None]
    if len(found) != 1:
        return None
    (name, numbers), most = found[0], int(found[0][1].max())
    other = next(column for column in columns if column != name)
    dates = parse_timestamps(table, table.column(other), time_format)
    if dates.time.dtype.kind != "M" or dates.zone or not are_dates(dates.time):
        return None
    minutes = _COUNTS[most]
    if most * minutes > DAY // 60_000_000 and time_zone is None:
        row = int(numbers.argmax())
        raise InputError(
            f"{table.place(row)}: {most} in column {name!r} (data.time) is beyond 24 hours, as on the day when clocks"
            " are set back; set data.time_zone to the zone of these days, such as Europe/Berlin."
        )
    since = ((numbers - 1) * minutes * 60_000_000).astype("timedelta64[us]")
    note = f"{table.name}: column {name!r} numbers the {_COUNTED[minutes]} of the day, 1 begins at midnight."
    return _add_counted(table, name, dates, since, time_zone, codes, most, note)


def _add_counted(
    table: Source, column: str, dates: Timestamps, since: np.ndarray, zone: str | None, codes: np.ndarray | None,
    most: int, note: str,
) -> Timestamps:  # fmt: skip
    """Times since midnight: clock times if there are 24 that all exist in the zone, else durations."""
    local, notes = dates.time + since, [*dates.notes, note]
    if zone is None:
        return Timestamps(local, "", notes)
    if most == 24 and not np.isnat(local_to_utc(local, zone)).any():
        time, more = _localize(table, column, local, zone, codes)
        return Timestamps(time, zone, notes + more)
    midnight, one = (local_to_utc(dates.time + hour, zone) for hour in (np.timedelta64(0, "h"), np.timedelta64(1, "h")))
    return Timestamps(np.where(np.isnat(midnight), one, midnight) + since, zone, notes)  # clocks may skip midnight


def _count_parts(table: Source, column: str) -> np.ndarray | None:
    """Whole numbers from 1 to one of ``_COUNTS``, such as 24 or HE24, (rows,) int64; None if there are others."""
    if column.lower() in (name for part, names in PARTS.items() if part != "hour" for name in names):
        return None
    texts = table.column(column).cast(pl.String).str.strip_chars()
    numbers = texts.str.extract(r"^(?i:HE|H|hour)? ?0*(\d{1,3})(?:\.0+)?$", 1).cast(pl.Int64, strict=False)
    if numbers.null_count() or numbers.min() != 1 or numbers.max() not in _COUNTS:
        return None
    return numbers.to_numpy()


def _join_parts(table: Source, columns: Sequence[str], time_format: str | None) -> tuple[pl.Series, str | None]:
    """Join the columns to texts; also return their format, None to detect it."""
    parts = {column: part for column in columns for part, names in PARTS.items() if column.lower() in names}
    if "year" not in parts.values():
        parts = {column: part for column, part in parts.items() if part in _TIME_PARTS}
    texts = [column for column in columns if column not in parts]
    _check_parts(columns, texts, list(parts.values()), time_format)
    by_part = {part: column for column, part in parts.items()}
    date = [_digits(table, by_part[part], 4 if part == "year" else 2) for part in _DATE_PARTS if part in by_part]
    time = [_digits(table, by_part[part], 2) for part in _TIME_PARTS if part in by_part]
    time = [time[0] + ":00"] if len(time) == 1 else time
    joined = [*(_text(table, column) for column in texts), _join(date, "-"), _join(time, ":")]
    if time_format is not None and time:
        time_format += " %H:%M:%S" if "second" in by_part else " %H:%M"
    return _join([cells for cells in joined if len(cells)], " ").alias(" + ".join(columns)), time_format


def _check_parts(columns: Sequence[str], texts: list[str], parts: list[str], time_format: str | None) -> None:
    """Raise unless each part appears once and none is left out before a smaller one; dates in texts need no parts."""
    order = _TIME_PARTS if texts else tuple(PARTS)
    if sorted(parts) != sorted(order[: len(parts)]):
        raise InputError(
            f"data.time={','.join(columns)} does not form a time; it must name columns {', '.join(PARTS)}, or a date"
            f" and {', '.join(_TIME_PARTS)}, leaving out only the last ones."
        )
    if not texts and time_format is not None:
        raise InputError(
            f"data.time_format={time_format} does not apply to data.time={','.join(columns)}: all are numbers."
        )


def _join(cells: list[pl.Series], separator: str) -> pl.Series:
    return reduce(lambda one, other: one + separator + other, cells) if cells else pl.Series(dtype=pl.String)


def _text(table: Source, column: str) -> pl.Series:
    """Dates and times of day as texts, null if missing."""
    cells = table.column(column)
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return cells.dt.strftime("%Y-%m-%d")
    return clean(cells.cast(pl.String))


def _digits(table: Source, column: str, digits: int) -> pl.Series:
    """Whole numbers as texts of this many digits, null if missing."""
    text = clean(table.column(column).cast(pl.String))
    numbers = text.cast(pl.Float64, strict=False)
    whole = numbers.cast(pl.Int64, strict=False)
    wrong = (text.is_not_null() & ((whole.cast(pl.Float64) != numbers) | whole.is_null())).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{table.place(row)}: {text[row]!r} in column {column!r} (data.time) is not a whole number.")
    return whole.cast(pl.String).str.zfill(digits)


# Local times


def _localize(
    table: Source, column: str, local: np.ndarray, zone: str, codes: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Convert local times (rows,) of ``zone``, in file order, to UTC; also return notes.

    When clocks are set back, a series has an hour twice: the first one is summer time, but the last one in a file
    whose times descend. Raises ``InputError`` for a time that clocks skip, for a third equal time, and for two equal
    times in an unsorted file.
    """
    time, found = np.empty_like(local), []
    for part in chunks(len(local)):
        time[part] = local_to_utc(local[part], zone)
        skipped = part.start + np.flatnonzero(np.isnat(time[part]))
        _refuse(table, column, local, skipped, f"does not exist in {zone}, where clocks skip it; if this clock is never"
                " changed, set data.time_zone to a fixed offset such as Etc/GMT-1")  # fmt: skip
        found.append(part.start + np.flatnonzero(local_to_utc(local[part], zone, "latest") != time[part]))
    ambiguous = np.concatenate(found)
    if len(ambiguous) == 0:
        return time, []
    equal = pl.DataFrame({"local": local[ambiguous], "series": 0 if codes is None else codes[ambiguous]}).select(
        count=pl.len().over("local", "series"), number=pl.int_range(pl.len()).over("local", "series")
    )
    count, number = (numbers.to_numpy() for numbers in equal)
    _refuse(table, column, local, ambiguous[number > 1], f"appears for the third time; when clocks in {zone} are set"
            " back, an hour appears only twice (data.time_zone)")  # fmt: skip
    descending = _is_descending(local)
    if descending is None:
        _refuse(table, column, local, ambiguous[count > 1], f"appears twice because clocks in {zone} are set back"
                " (data.time_zone), but the rows are not sorted by time, which would tell the two apart")  # fmt: skip
    winter = ambiguous[(count > 1) & (number == (0 if descending else 1))]
    time[winter] = local_to_utc(local[winter], zone, "latest")
    return time, [_note(table, local, zone, ambiguous, count > 1)]


def _refuse(table: Source, column: str, local: np.ndarray, rows: np.ndarray, reason: str) -> None:
    """Raise for the first of ``rows``, if there are any."""
    if len(rows):
        row = int(rows[0])
        raise InputError(f"{table.place(row)}: {format_time(local[row])} in column {column!r} {reason}.")


def _is_descending(local: np.ndarray) -> bool | None:
    """True if times mostly descend from row to row, False if they mostly ascend, None if neither."""
    balance = changes = 0
    for part in chunks(len(local) - 1):
        sign = np.sign((local[part.start + 1 : part.stop + 1] - local[part]).astype(np.int64))
        balance, changes = balance + int(sign.sum()), changes + int(np.count_nonzero(sign))
    return None if 2 * abs(balance) < changes else balance < 0


def _note(table: Source, local: np.ndarray, zone: str, ambiguous: np.ndarray, paired: np.ndarray) -> str:
    first = f"(first: {table.where(int(ambiguous[0]))}, {format_time(local[ambiguous[0]])})"
    pairs, alone = int(paired.sum()), int((~paired).sum())
    parts = [f"{pairs:,} are distinguished by their order, summer time first"] if pairs else []
    parts += [f"{alone:,} without a counterpart {'is' if alone == 1 else 'are'} read as summer time"] if alone else []
    rows = "1 row lies" if len(ambiguous) == 1 else f"{len(ambiguous):,} rows lie"
    return f"{table.name}: {rows} in an hour that clocks in {zone} show twice {first}: {', '.join(parts)}."
