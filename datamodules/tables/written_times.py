"""Times as people write them: texts beyond ISO 8601, and numbers such as 20200131 or seconds since 1970.

Every form of a text is a regular expression whose named groups are parts of a time, see ``_PARTS``; polars and Python
both understand it. The day decides on the form; a time of day, an offset and the end of an interval may follow it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from datamodules.frequency import DAY, SECOND
from datamodules.tables.source import plural


class Reading(NamedTuple):
    """Cells read as times."""

    time: pl.Series  # Datetime[us], in UTC if the cells have offsets; null for a cell that has another form
    remarks: list[str]  # what was assumed
    formats: tuple[str, ...] = ()  # formats that fit equally well if day, month and year cannot be told apart


_YEAR = r"'?(?P<Y>\d{4}|\d{2})"  # two digits are read as POSIX does: 69 to 99 are 1969 to 1999
_WORD = r"(?P<word>[^\W\d_]{3,10})\.?"
_SEP = r"[-/., ]*"
_DAYS = (  # a time of day may follow
    r"(?P<y>\d{4})[-/._ ](?P<m>\d{1,2})[-/._ ](?P<d>\d{1,2})",
    r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
    r"(?P<y>\d{4})-?(?P<ordinal>\d{3})",
    rf"(?P<a>\d{{1,2}})(?:[-/]|\. ?| )(?P<b>\d{{1,2}})(?:[-/]|\. ?| ){_YEAR}",
    rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th|er|º)?(?:{_SEP}| of | de ){_WORD}(?:{_SEP}| de ){_YEAR}",
    rf"{_WORD}{_SEP}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-/, ]+(?P<y>\d{{4}})",
    rf"(?P<y>\d{{4}}){_SEP}{_WORD}{_SEP}(?P<d>\d{{1,2}})",
)
_PERIODS = (
    r"(?P<y>\d{4})[-/._ ](?P<m>\d{1,2})",
    r"(?P<y>\d{4})[- ]?M(?P<m>\d{1,2})",
    r"(?P<m>\d{1,2})[-/. ](?P<y>\d{4})",
    r"(?P<y>\d{4})[-:/. ]?[QT](?P<quarter>[1-4])",
    rf"[QT](?P<quarter>[1-4])[-:/. ]*{_YEAR}",
    rf"(?P<quarter>[1-4])\.? ?(?:Q|quarter|quartal)[-:/. ]*{_YEAR}",
    r"(?P<y>\d{4})[-/ ]?[HS](?P<half>[12])",
    r"(?P<y>\d{4})[-/ ]?(?:W|KW)(?P<week>\d{1,2})(?:-?(?P<weekday>[1-7]))?",
    r"(?:W|KW|week) ?(?P<week>\d{1,2})[-/, ]+(?P<y>\d{4})",
    rf"{_WORD}(?:{_SEP}| de ){_YEAR}",
    rf"(?P<y>\d{{4}}){_SEP}{_WORD}",
)
_CLOCK = (
    r"(?:(?:T|[-_ :]|, ?| at )(?P<ending>HE ?|H(?:our)? ?)?(?P<H>\d{1,2})(?:[:.h]?(?P<M>\d{2})(?:[:.]?(?P<S>\d{2})"
    r"(?:[.,:](?P<f>\d{1,9}))?)?)?(?: ?(?P<half_day>[ap])\.? ?m\.?)?(?: ?(?:uhr|hrs?|h))?"
    r"(?: ?\(?(?:(?:UTC|GMT)?(?P<offset>[+-]\d{2}(?::?\d{2})?)|(?P<zone>[a-z]{1,4}))\)?)?(?: ?[(\[][^)\]]*[)\]])?)?"
)
INTERVAL_MARK = r" ?(?:[-–—/]|to|bis|until)? ?$"
# -13:00 and beyond, -00:15, and minutes that no zone has
NO_OFFSET = r"-(?:(?:1[3-9]|2\d):?\d\d|00:?(?:0[1-9]|[1-9]\d)|\d\d:?(?:0[1-9]|[125]\d|3[1-9]|4[0-46-9]))$"
INTERVAL_END = r"(?: (?:[-–—]|to|bis|until) \d.*|[–-]\d{1,2}:\d{2}(?::\d{2})?)$"
_END = r"(?: (?:[-–—]|to|bis|until) (?P<end>\d.*)|[–/](?P<until>\d.*))?"
_FORMS = [f"(?i)^'?(?:[^\\W\\d_]{{2,10}}\\.?,? )?{day}{_CLOCK}{_END}$" for day in _DAYS]
_FORMS += [f"(?i)^'?{period}{_END}$" for period in _PERIODS]

_MONTHS = (  # beginnings of their names in English, German, French, Spanish, Italian, Dutch and Portuguese
    "jan|jän|gen|ene", "feb|fév|fev", "mar|mär|mrz|mrt|maa", "apr|avr|abr", "may|mai|mei|mag", "jun|juin|giu",
    "jul|juil|lug", "aug|aoû|aou|ago", "sep|set", "oct|okt|ott|out", "nov", "dec|dez|déc|dic",
)  # fmt: skip
_ZONES = {  # of RFC 5322 and of Europe
    "Z": "+0000", "UT": "+0000", "UTC": "+0000", "GMT": "+0000", "EST": "-0500", "EDT": "-0400", "CST": "-0600",
    "CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700", "WET": "+0000", "WEST": "+0100",
    "CET": "+0100", "CEST": "+0200", "MEZ": "+0100", "MESZ": "+0200", "EET": "+0200", "EEST": "+0300",
}  # fmt: skip


def read_spelled(cells: pl.Series, where: Callable[[int], str] = str) -> Reading | None:
    """Read cells that all have the form of the first one; None if that has none of the forms.

    ``where`` tells the place of a row for remarks.
    """
    cells = cells.str.replace_all(r"\s+", " ")  # no-break spaces among them
    form = next((form for form in _FORMS if not _read_day(_order_days(_split(cells[:1], form))[0]).null_count()), None)
    if form is None:
        return None
    parts, orders = _order_days(_split(cells, form))
    if _lack_years(parts):
        return None
    time = _add_clock(_read_day(parts), parts)
    if parts["zone"].null_count() + parts["offset"].null_count() < 2 * len(cells):
        time = _to_utc(time, parts)
    ends = ["end", "until", *(["offset"] if parts["offset"][0] is None else [])]
    formats = tuple(_format(cells[0], form, ends, order) for order in orders)
    return Reading(time.alias(cells.name), _remark_parts(parts, where), formats)


_PARTS = ("y", "Y", "m", "d", "a", "b", "word", "ordinal", "quarter", "half", "week", "weekday",
          "ending", "H", "M", "S", "f", "half_day", "offset", "zone", "end", "until")  # fmt: skip


def _split(cells: pl.Series, form: str) -> pl.DataFrame:
    """The parts of each cell, a column for each; null where the cell has another form or lacks the part."""
    found = cells.str.extract_groups(form).struct.unnest()
    absent = [pl.lit(None, pl.String).alias(name) for name in _PARTS if name not in found.columns]
    return _drop_interval_ends(found.with_columns(absent))


def _lack_years(parts: pl.DataFrame) -> bool:
    """True for days such as Jan-01 and Jan-02, whose numbers are no years: they change more often than the month."""
    if parts["d"].null_count() < len(parts) or not (parts["Y"].str.len_chars() == 2).any():
        return False
    years, words = (int((parts[name] != parts[name].shift()).sum()) for name in ("Y", "word"))
    return years > words


def _drop_interval_ends(parts: pl.DataFrame) -> pl.DataFrame:
    """Treat offsets as ends of intervals, 05:00-06:00, if some of them belong to no zone."""
    if not parts["offset"].str.contains(NO_OFFSET).any():
        return parts
    return parts.with_columns(pl.col("offset").alias("until"), pl.lit(None, pl.String).alias("offset"))


_ORDERS = ("a b Y", "b a Y", "b Y a")  # groups that are month, day and year


def _order_days(parts: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Tell day, month and year apart by the numbers of all cells; also return the orders that cannot be excluded.

    A year of two digits comes first only where nothing else fits, and last where this gives much the shorter period.
    """
    if parts["a"].null_count() == len(parts):
        return parts, []
    short = (parts["Y"].str.len_chars() == 2).all()
    orders = [order for order in _ORDERS if short or order.endswith("Y")]
    ordered = {order: _assign(parts, *order.split()) for order in orders}
    days = {order: _read_day(one) for order, one in ordered.items()}
    least = min(one.null_count() for one in days.values())
    fitting = [order for order, one in days.items() if one.null_count() == least]
    spans = [int(np.ptp(days[order].to_physical().to_numpy())) for order in fitting] if least == 0 else []
    if len(spans) > 1 and fitting[-1].endswith("a") and 3 * min(spans[:-1]) < spans[-1]:
        fitting = fitting[:-1]
    return ordered[fitting[0]], fitting if least == 0 and len(fitting) > 1 else []


def _assign(parts: pl.DataFrame, month: str, day: str, year: str) -> pl.DataFrame:
    return parts.with_columns(pl.col(month).alias("m"), pl.col(day).alias("d"), pl.col(year).alias("Y"))


def _format(cell: str, form: str, ends: list[str], order: str) -> str:
    """Format of the cell whose numbers are in this order, up to an interval's end, one of the groups ``ends``."""
    match = re.search(form, cell)
    assert match is not None
    groups = {name: text for name, text in match.groupdict().items() if text is not None}
    end = next((match.start(name) for name in ends if name in groups), len(cell))
    directives = {"M": "%M", "S": "%S", "half_day": "%p", "H": "%I" if "half_day" in groups else "%H", "offset": "%#z"}
    for name, directive in zip(order.split(), "mdY", strict=True):
        directives[name] = f"%{'y' if directive == 'Y' and len(groups[name]) < 4 else directive}"
    text = cell[:end]
    known = [name for name in groups.keys() & directives if match.start(name) < end]
    for name in sorted(known, key=match.start, reverse=True):
        stop = match.end(name) + (1 if name == "half_day" else 0)
        text = text[: match.start(name)] + directives[name] + text[stop:]
    return re.sub(INTERVAL_MARK, "", text) if end < len(cell) else text


def _read_day(parts: pl.DataFrame) -> pl.Series:
    """Midnight of the first day of each period; null for a day that does not exist."""
    digits = pl.col("Y").str.len_chars()
    years = pl.when((digits == digits.first()) & (digits > 1)).then(pl.col("Y").cast(pl.Int64))
    year = pl.coalesce(
        pl.col("y").cast(pl.Int64), years + pl.when(years < 69).then(2000).when(years < 100).then(1900).otherwise(0)
    )
    months = pl.coalesce(
        pl.col("m").cast(pl.Int64),
        pl.col("quarter").cast(pl.Int64) * 3 - 2,
        pl.col("half").cast(pl.Int64) * 6 - 5,
        pl.lit(_month_numbers(parts["word"])),
    )
    day = pl.col("d").cast(pl.Int64).fill_null(1)
    weekday = pl.col("weekday").fill_null("1")
    texts = parts.select(
        day=pl.format("{}-{}-{}", year, months, day),
        week=pl.format("{}-W{}-{}", year, pl.col("week").str.zfill(2), weekday),
        ordinal=pl.format("{}-{}", year, pl.col("ordinal")),
    )
    read = [texts[name].str.to_datetime(form, strict=False, time_unit="us")
            for name, form in (("day", "%Y-%m-%d"), ("week", "%G-W%V-%u"), ("ordinal", "%Y-%j"))]  # fmt: skip
    days = pl.DataFrame(read).select(pl.coalesce(pl.all())).to_series()
    return days.set(days.dt.year() < 1000, None)


def _month_numbers(words: pl.Series) -> pl.Series:
    """Months of their names, null for a word that is no month."""
    numbers = {word: next((number for number, names in enumerate(_MONTHS, 1) if re.match(names, word.lower())), None)
               for word in words.drop_nulls().unique()}  # fmt: skip
    return words.replace_strict(numbers, return_dtype=pl.Int64) if numbers else words.cast(pl.Int64)


def _add_clock(day: pl.Series, parts: pl.DataFrame) -> pl.Series:
    """Add the time of day, by default midnight; 24:00 ends the day; null for an hour that does not exist."""
    hour, minute, second = (pl.col(name).cast(pl.Int64).fill_null(0) for name in ("H", "M", "S"))
    ended = pl.when(pl.col("ending").is_not_null()).then(hour - 1).otherwise(hour)  # HE01 begins at midnight
    evening = pl.col("half_day").str.to_lowercase() == "p"
    shown = pl.when(pl.col("half_day").is_null()).then(ended).otherwise(hour % 12 + 12 * evening.fill_null(False))
    fraction = pl.col("f").str.pad_end(9, "0").cast(pl.Int64).fill_null(0) // 1000
    valid = (shown <= 24) & (shown >= 0) & (minute < 60) & (second < 60) & ((shown < 24) | (minute + second == 0))
    clock = pl.duration(hours=shown, minutes=minute, seconds=second, microseconds=fraction)
    offsets = parts.select(pl.when(valid).then(clock.cast(pl.Duration("us")))).to_series()
    return day + offsets


def _to_utc(time: pl.Series, parts: pl.DataFrame) -> pl.Series:
    """Subtract the offsets; null where a cell has none or names an unknown zone."""
    zones = parts["zone"].str.to_uppercase().replace_strict(_ZONES, default=None, return_dtype=pl.String)
    offsets = pl.select(pl.coalesce(parts["offset"].str.replace(":", ""), zones)).to_series().str.pad_end(5, "0")
    sign = pl.when(offsets.str.starts_with("-")).then(-1).otherwise(1)
    minutes = offsets.str.slice(1, 2).cast(pl.Int64) * 60 + offsets.str.slice(3, 2).cast(pl.Int64)
    moved = time - pl.select((pl.lit(minutes) * sign * 60_000_000).cast(pl.Duration("us"))).to_series()
    return moved.dt.replace_time_zone("UTC")


def _remark_parts(parts: pl.DataFrame, where: Callable[[int], str]) -> list[str]:
    """Assumptions in words."""
    present = {name for name in _PARTS if parts[name].null_count() < len(parts)}
    ends = (parts["H"].cast(pl.Int64) == 24) & parts["ending"].is_null()
    dates = parts["H"].is_null()
    remarks = ["the start of the interval"] if present & {"end", "until"} else []
    remarks += ["the hour that ends then"] if "ending" in present else []
    remarks += ["the Monday of the ISO week"] if "week" in present and "weekday" not in present else []
    remarks += [f"24:00 is midnight at the end of the day{_first(ends, where)}"] if ends.any() else []
    if 0 < int(dates.sum()) < len(dates):
        remarks.append(f"a date without a time of day is midnight{_first(dates, where)}")
    return remarks


def _first(rows: pl.Series, where: Callable[[int], str]) -> str:
    return f" ({plural(int(rows.sum()), 'row')}, first: {where(int(rows.arg_true()[0]))})"


COMPACT_DATES = (1700_01_01, 2199_12_31)  # integers within this range that are all valid dates are not an index
_COMPACT_YEARS = (1900, 2199)  # of compact dates with a time of day
_CLOCKS = {10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by number of digits
_COMPACT_PERIODS = (  # size of a year, last numbers within it, mark between both, words
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
    for size, lasts, mark, words in _COMPACT_PERIODS:
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
    """Microseconds from numbers in units of 1 / ``size`` seconds."""
    return numbers * (SECOND // size) if size <= SECOND else numbers // (size // SECOND)


def _read_days(numbers: pl.Series) -> Reading | None:
    """Read 43831 as a day of a spreadsheet if the name of the column suggests days: it could be an index."""
    words, (begin, end, epoch) = next(iter(_DAY_NUMBERS.items()))
    if not numbers.is_between(begin, end).all() or not _DATE_NAME.search(numbers.name):
        return None
    return Reading(((numbers - epoch) * DAY).cast(pl.Datetime("us")), [words])
