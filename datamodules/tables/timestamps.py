"""Timestamps of a table: detect their format, parse them and convert local times to UTC."""

import re
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.tables.source import Source, clean
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

    Columns with the names in ``_PARTS`` hold numbers: either all parts of a time from the year on, or hour, minute
    and second beside a date in another column, which ``time_format`` then describes. Other columns, and a ``day``
    without a year, are texts such as date and time of day, joined by a blank. Raises ``InputError`` for columns that
    do not form a time.
    """
    if len(columns) == 1:
        return parse_timestamps(table, table.column(columns[0]), time_format, time_zone, codes)
    return parse_timestamps(table, *_join_parts(table, columns, time_format), time_zone, codes)


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


def _convert_to_utc(
    table: Source, cells: pl.Series, parsed: pl.Series, time_zone: str | None, notes: list[str]
) -> Timestamps:
    """Timestamps with an offset or zone."""
    own = parsed.dtype.time_zone if isinstance(parsed.dtype, pl.Datetime) else None
    zone = time_zone or (_offset_zone(cells) if cells.dtype == pl.String else own) or "UTC"
    if own not in (None, "UTC"):
        notes = [*notes, f"{table.name}: time converted from {own} to UTC."]
    return Timestamps(parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy(), zone, notes)


def _offset_zone(cells: pl.Series) -> str | None:
    """Zone of the offset that all timestamps share, if it is in whole hours: Etc/GMT-2 for +02:00."""
    hours = cells.str.extract(r"([+-]\d{2}):?00$", 1).unique()
    if len(hours) != 1 or hours[0] is None or int(hours[0]) == 0:
        return None
    return f"Etc/GMT{-int(hours[0]):+d}"


# Formats

_TIME = r"(?:([ T])\d{1,2}:\d{2}(:\d{2}(?:[.]\d+)?)?( ?[APap][Mm])?( ?(?:Z|[+-]\d{2}:?\d{2}))?)?"
_ISO = re.compile(r"\d{4}([-/])\d{1,2}(?:\1\d{1,2}" + _TIME + ")?")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}" + _TIME)
_INTEGER = re.compile(r"[+-]?\d+")
_COMPACT_DATES = (1700_01_01, 2199_12_31)  # integers within this range that are all valid dates are not an index
_COMPACT_MONTHS = (1700_01, 2199_12)
_EPOCH_YEARS = (315_532_800, 4_102_444_800)  # 1980 and 2100 in seconds since 1970
_EPOCH_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}


def _parse(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    """Datetime[us], with a zone if the cells have one, or Int64; and a note on a detected format."""
    if cells.dtype.is_integer():
        return _parse_integers(table, cells, time_format)
    if cells.dtype == pl.String:
        return _parse_text(table, cells, time_format)
    if cells.dtype == pl.Date:
        return cells.cast(pl.Datetime("us")), []
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.cast_time_unit("us"), []
    raise InputError(
        f"{table.name}: time column {cells.name!r} holds {cells.dtype}, but dates, whole numbers or text are needed."
    )


def _parse_integers(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    if time_format is not None:
        return _parse_format(table, cells.cast(pl.String), time_format), []
    numbers = cells.cast(pl.Int64, strict=False)  # a shorter type cannot be compared with the bounds
    _refuse_null(table, cells, numbers, "within the range of 64-bit integers")
    if numbers.is_between(*_COMPACT_DATES).all():
        dates = _try_format(numbers.cast(pl.String), "%Y%m%d")
        if not dates.null_count():
            return dates, [f"{table.name}: time format detected: %Y%m%d."]
    if _are_months(numbers):
        return _try_format(numbers.cast(pl.String), "%Y%m"), [f"{table.name}: time format detected: %Y%m."]
    first, last = _EPOCH_YEARS
    for unit, size in _EPOCH_UNITS.items():
        if numbers.is_between(size * first, size * last).all():
            return _from_epoch(numbers, size), [f"{table.name}: time format detected: {unit} since 1970 (UTC)."]
    return numbers, []


def _are_months(numbers: pl.Series) -> bool:
    """True if all are like 201912 and 202001 follows it somewhere: an index would continue with 201913."""
    if not numbers.is_between(*_COMPACT_MONTHS).all() or not (numbers % 100).is_between(1, 12).all():
        return False
    return bool((numbers.unique().sort().diff() == 1_01 - 12).any())


def _from_epoch(numbers: pl.Series, size: int) -> pl.Series:
    """Instants from numbers of which ``size`` are a second."""
    second = _EPOCH_UNITS["microseconds"]
    instants = numbers * (second // size) if size <= second else numbers // (size // second)
    return instants.cast(pl.Datetime("us", "UTC"))


def _parse_text(table: Source, cells: pl.Series, time_format: str | None) -> tuple[pl.Series, list[str]]:
    first = cells[0]
    if time_format is not None:
        return _parse_format(table, cells, time_format), []
    if _INTEGER.fullmatch(first):
        numbers = cells.cast(pl.Int64, strict=False)
        _refuse_null(table, cells, numbers, "a whole number like the first time")
        return _parse_integers(table, numbers, None)
    if match := _ISO.fullmatch(first):
        day = f"%Y{match[1]}%m" + (f"{match[1]}%d" if re.match(r"\d{4}.\d{1,2}.\d", first) else "")
        return _parse_format(table, cells, day + _time_format(match)), []
    if match := _DAY_OR_MONTH_FIRST.fullmatch(first):
        found = _month_or_day_first(table, cells, match[1], _time_format(match))
        return _parse_format(table, cells, found), [f"{table.name}: time format detected: {found}."]
    raise InputError(
        f"{table.place(0)}: {first!r} in column {cells.name!r} is not a date in a known format; "
        "give its format in data.time_format, for example %m/%d/%Y."
    )


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
        raise InputError(
            f"{table.place(0)}: {cells[0]!r} in column {cells.name!r} may be month first or day first, "
            f"like every other row: set data.time_format to {formats[0]} or {formats[1]}."
        )
    return formats[0] if unread[0] <= unread[1] else formats[1]


def _parse_format(table: Source, cells: pl.Series, time_format: str) -> pl.Series:
    parsed = _try_format(cells, time_format)
    _refuse_null(table, cells, parsed, f"a date of the format {time_format} (data.time_format)")
    return parsed


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

_PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mnth", "mon"),
    "day": ("day", "mday", "day_of_month"),
    "hour": ("hour", "hr", "hours"),
    "minute": ("minute", "min", "minutes"),
    "second": ("second", "sec", "seconds"),
}  # names of columns
_DATE_PARTS, _TIME_PARTS = tuple(_PARTS)[:3], tuple(_PARTS)[3:]


def _join_parts(table: Source, columns: Sequence[str], time_format: str | None) -> tuple[pl.Series, str | None]:
    """Join the columns to texts; also return their format, None if it is to be detected."""
    parts = {column: part for column in columns for part, names in _PARTS.items() if column.lower() in names}
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
    order = _TIME_PARTS if texts else tuple(_PARTS)
    if sorted(parts) != sorted(order[: len(parts)]):
        raise InputError(
            f"data.time={','.join(columns)} does not form a time; it must name columns {', '.join(_PARTS)}, or a date"
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
