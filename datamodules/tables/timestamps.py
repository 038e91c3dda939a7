"""Timestamps of a table: detect how dates are written, convert them, and localise clock times."""

import re
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.tables.source import Source
from datamodules.tables.values import clean
from datamodules.timezones import instant, show, whole_days
from seqmodels.window import InputError


def localised(
    table: Source, column: str, wall: np.ndarray, zone: str, codes: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """UTC of naive labels (rows,) that are clock times of ``zone``, in file order, and notes.

    Of two equal hours of a series, when clocks are set back, the one of summer time comes first; in a file whose times
    descend it comes last. Raises ``InputError`` for a time that the clock jumps over, for three equal ones, and for two
    in a file without order.
    """
    time, doubtful = np.empty_like(wall), []
    for part in chunks(len(wall)):
        time[part] = instant(wall[part], zone)
        _refuse_skipped(table, column, wall, time, part, zone)
        doubtful.append(part.start + np.flatnonzero(instant(wall[part], zone, "latest") != time[part]))
    twice = np.concatenate(doubtful)
    if len(twice) == 0:
        return time, []
    series = np.zeros(len(twice), np.int64) if codes is None else codes[twice]
    place = _places(wall[twice], series)
    _refuse_third(table, column, wall, zone, twice[place > 1])
    paired = _paired(place, wall[twice], series)
    winter = paired & (place == (0 if _backwards(table, column, wall, zone, twice[paired]) else 1))
    time[twice[winter]] = instant(wall[twice[winter]], zone, "latest")
    return time, [_note(table, wall, zone, twice, paired)]


def _refuse_skipped(table: Source, column: str, wall: np.ndarray, time: np.ndarray, part: slice, zone: str) -> None:
    skipped = np.isnat(time[part])
    if skipped.any():
        row = part.start + int(skipped.argmax())
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} does not exist in {zone}, where clocks jump"
            " over it; for a clock that is never changed give data.time_zone a fixed offset such as Etc/GMT-1."
        )


def _refuse_third(table: Source, column: str, wall: np.ndarray, zone: str, third: np.ndarray) -> None:
    if len(third):
        row = int(third[0])
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} stands here for the third time; when clocks in"
            f" {zone} are set back an hour comes twice (data.time_zone)."
        )


def _places(wall: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Of each label, how many equal ones of its series stand before it, (n,) int64."""
    order = np.lexsort((wall, series))
    again = np.zeros(len(wall), bool)
    again[1:] = (np.diff(wall[order]) == np.timedelta64(0)) & (np.diff(series[order]) == 0)
    numbers = np.arange(len(wall))
    places = np.empty(len(wall), np.int64)
    places[order] = numbers - np.maximum.accumulate(np.where(again, 0, numbers))
    return places


def _paired(place: np.ndarray, wall: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Whether each label is one of two equal ones of its series, (n,) bool."""
    return (place + _places(wall[::-1], series[::-1])[::-1]) > 0


def _backwards(table: Source, column: str, wall: np.ndarray, zone: str, paired: np.ndarray) -> bool:
    """Whether the later one of two equal clock times comes first in the file."""
    backwards = _descends(wall)
    if backwards is None and len(paired):
        row = int(paired[0])
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} comes twice because clocks in {zone} are set"
            " back (data.time_zone), and the rows are in no order of time that would tell which is which."
        )
    return bool(backwards)


def _descends(wall: np.ndarray) -> bool | None:
    """Whether times mostly go back from row to row; None where they mostly do neither that nor go on."""
    balance = changes = 0
    for part in chunks(len(wall) - 1):
        sign = np.sign((wall[part.start + 1 : part.stop + 1] - wall[part]).astype(np.int64))
        balance, changes = balance + int(sign.sum()), changes + int(np.count_nonzero(sign))
    return None if 2 * abs(balance) < changes else balance < 0


def _note(table: Source, wall: np.ndarray, zone: str, twice: np.ndarray, paired: np.ndarray) -> str:
    first = f"(first: {table.where(int(twice[0]))}, {show(wall[twice[0]])})"
    pairs, alone = int(paired.sum()), int((~paired).sum())
    parts = [f"{pairs:,} are told apart by their order, summer time first"] if pairs else []
    parts += [f"{alone:,} stand alone and are taken as summer time"] if alone else []
    rows = "1 row lies" if len(twice) == 1 else f"{len(twice):,} rows lie"
    return f"{table.name}: {rows} in an hour that clocks in {zone} show twice {first}: {', '.join(parts)}."


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


# How the columns of parts of a time are called, in the order in which parts are written
_PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mnth", "mon"),
    "day": ("day", "mday", "day_of_month"),
    "hour": ("hour", "hr", "hours"),
    "minute": ("minute", "min", "minutes"),
    "second": ("second", "sec", "seconds"),
}


_DATE_PARTS, _OF_DAY = tuple(_PARTS)[:3], tuple(_PARTS)[3:]


def read_stamps(table: Source, columns: Sequence[str], time_format: str | None) -> tuple[pl.Series, str | None]:
    """The column of times and the format of its texts (None: to be detected), also where several columns hold them.

    Columns with the names of ``_PARTS`` are numbers: either all that make the time, from the year on, or the hour,
    minute and second of a date in another column, which alone ``time_format`` then describes. Other columns, which
    without a year a ``day`` is too, are texts such as date and clock time, joined by a blank.
    Raises ``InputError`` for parts that make no time.
    """
    if len(columns) == 1:
        return table.column(columns[0]), time_format
    meant = {column: part for column in columns for part, known in _PARTS.items() if column.lower() in known}
    if "year" not in meant.values():
        meant = {column: part for column, part in meant.items() if part in _OF_DAY}
    texts = [column for column in columns if column not in meant]
    _check_parts(columns, texts, list(meant.values()), time_format)
    parts = {part: column for column, part in meant.items()}
    date = [_whole(table, parts[part], digits=4 if part == "year" else 2) for part in _DATE_PARTS if part in parts]
    clock = [_whole(table, parts[part], digits=2) for part in _OF_DAY if part in parts]
    clock = [clock[0] + ":00"] if len(clock) == 1 else clock
    pieces = [*(_text(table, column) for column in texts), _joined(date, "-"), _joined(clock, ":")]
    if time_format is not None and clock:
        time_format += " %H:%M:%S" if "second" in parts else " %H:%M"
    return _joined([piece for piece in pieces if len(piece)], " ").alias(" + ".join(columns)), time_format


def _check_parts(columns: Sequence[str], texts: list[str], parts: list[str], time_format: str | None) -> None:
    """Each part once and none left out before another; dates in texts want no parts but those of the clock."""
    order = _OF_DAY if texts else tuple(_PARTS)
    if sorted(parts) != sorted(order[: len(parts)]):
        wanted = f"year, month, day, hour, minute, second, or a date and {', '.join(_OF_DAY)}"
        raise InputError(f"data.time={','.join(columns)} makes no time; it must name columns of {wanted}, in full.")
    if not texts and time_format is not None:
        raise InputError(f"data.time_format={time_format} does not go with data.time={','.join(columns)}: all numbers.")


def _joined(pieces: list[pl.Series], separator: str) -> pl.Series:
    return reduce(lambda one, other: one + separator + other, pieces) if pieces else pl.Series(dtype=pl.String)


def _text(table: Source, column: str) -> pl.Series:
    """Dates and clock times as texts, null where there is none."""
    cells = table.column(column)
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return cells.dt.strftime("%Y-%m-%d")
    return clean(cells.cast(pl.String))


def _whole(table: Source, column: str, digits: int) -> pl.Series:
    """Whole numbers as texts of so many digits, null where there is none."""
    text = clean(table.column(column).cast(pl.String))
    numbers = text.cast(pl.Float64, strict=False)
    whole = numbers.cast(pl.Int64, strict=False)
    wrong = (text.is_not_null() & ((whole.cast(pl.Float64) != numbers) | whole.is_null())).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{table.place(row)}: {text[row]!r} in column {column!r} (data.time) is not a whole number.")
    return whole.cast(pl.String).str.zfill(digits)
