"""Bad times: their format, time zone, order and steps."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from bad_inputs import TIMED, Case, Refused, Repaired
from bad_inputs.build import ROWS, daily, frame, hourly, lines, numbered, panel, parquet, value, with_column, with_times

ZONE = (*TIMED, "data.time_zone=Europe/Berlin")
IDS = (*TIMED, "data.id=s")
PARQUET = ("data.path=data.parquet", "data.time=z")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def local_hours(first: str, zone: str, count: int = ROWS) -> str:
    """Consecutive hours in the local time of a zone."""
    hours = pl.Series([datetime.fromisoformat(first) + row * HOUR for row in range(count)])
    texts = hours.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.strftime("%Y-%m-%d %H:%M")
    return lines([f"{label},{value(row)}" for row, label in enumerate(texts)])


def days(form: str, changed: dict[int, str] | None = None, first: str = "2020-01-01") -> str:
    return with_times((datetime.fromisoformat(first) + timedelta(days=row) for row in range(ROWS)), form, changed)


def unparsed(content: str, line: int, cell: str, rule: str = "") -> Refused:
    return Refused(content, TIMED, rf"data.csv, line {line}: '{cell}' in column 't' is .*{rule}")


def epoch(size: int, unit: str) -> Repaired:
    return Repaired(numbered(lambda row: (1_600_000_000 + 3600 * row) * size), TIMED, f"detected: {unit} since 1970")


def duplicated(rule: str, words: str) -> Repaired:
    """Two additional rows with other values for an existing day."""
    table = daily() + "2020-01-05,9\n2020-01-05,11\n"
    return Repaired(table, [*TIMED, f"data.duplicates={rule}"],
                    rf"2 rows have the same time as another \(first: line 42, 2020-01-05\): {words}")  # fmt: skip


def moments(form: str, step: timedelta = HOUR, first: str = "2020-01-01") -> str:
    """Rows a step apart, written in a format of ``strftime``."""
    return with_times((datetime.fromisoformat(first) + row * step for row in range(ROWS)), form)


def read(text: Callable[[int], object], note: str = "time format detected", **counts: int) -> Repaired:
    """Times that are read, with a note of what was taken for what."""
    return Repaired(numbered(text), TIMED, note, **counts)


def intervals(row: int, form: str = "%d.%m.%Y %H:%M") -> str:
    start = datetime(2020, 1, 31, 12) + row * HOUR
    return f"{start:{form}} - {start + HOUR:{form}}"


def hour_of_day(row: int) -> str:
    """24:00 ends a day, so that the hours of a day are 1 to 24."""
    return f"2020-01-{1 + row // 24:02} {row % 24 + 1:02}:00"


def month(row: int, form: str) -> str:
    return f"{datetime(2020 + row // 12, row % 12 + 1, 1):{form}}"


def local_days(form: str, zone: str, count: int = ROWS, step: str = "1d", first: str = "2021-03-08") -> list[str]:
    """Days or longer steps of a zone, with its offsets, before and after the clocks change."""
    start = datetime.fromisoformat(first)
    moments = pl.datetime_range(start, start + timedelta(days=1000), step, time_zone=zone, eager=True).head(count)
    return moments.dt.strftime(form).to_list()


def jittered(seconds: float, step: float = 1200, share: float = 0.37) -> str:
    """Rows about a step apart, up to some seconds early or late."""
    off = [seconds * (2 * (share * row % 1) - 1) for row in range(ROWS)]
    return lines([f"{datetime(2021, 1, 1, 0, 5) + timedelta(seconds=step * row + off[row])},{value(row)}"
                  for row in range(ROWS)])  # fmt: skip


CASES: dict[str, Case] = {
    "missing time": Refused(daily({9: ",1"}), TIMED, r"data.csv, line 9: time column 't' has no value here"),
    "month 13": unparsed(daily({9: "2020-13-08,1"}), 9, "2020-13-08", "%Y-%m-%d"),
    "30th of February": unparsed(daily({9: "2020-02-30,1"}), 9, "2020-02-30", "%Y-%m-%d"),
    "five digits of a year": unparsed(daily({2: "99999-01-01,1"}), 2, "99999-01-01", "data.time_format"),
    "format changes within the column": unparsed(daily({9: "8 Jan 2020,1"}), 9, "8 Jan 2020", "%Y-%m-%d"),
    "date among numbers": unparsed(
        numbered(lambda row: row, {9: "2020-01-08,1"}), 9, "2020-01-08", "number like the first"
    ),
    "text instead of times": unparsed(numbered(lambda row: f"step {row}"), 2, "step 0", "data.time_format"),
    "day or month first": Refused(
        numbered(lambda row: f"{row % 12 + 1:02}/{row // 12 + 1:02}/2020"),
        TIMED,
        r"'01/01/2020' in column 't' may be month first or day first.*data.time_format to %m/%d/%Y or %d/%m/%Y",
    ),
    "both orders at once": unparsed(days("%m/%d/%Y", {9: "31/12/2019,1"}), 9, "31/12/2019", "%m/%d/%Y"),
    "month first": Repaired(days("%m/%d/%Y"), TIMED, r"data.csv: time format detected: %m/%d/%Y"),
    "compact dates": Repaired(days("%Y%m%d"), TIMED, r"data.csv: time format detected: %Y%m%d"),
    "wrong format given": Refused(
        daily(),
        [*TIMED, "data.time_format='%d.%m.%Y'"],
        r"line 2: '2020-01-01' in column 't' is not a date of the format %d.%m.%Y \(data.time_f",
    ),
    "format of nonsense": Refused(
        daily(), [*TIMED, "data.time_format='%Q'"], r"line 2: '2020-01-01' in column 't' is not a date of the format %Q"
    ),
    "format without a column": Refused(daily(), ["data.time_format='%Y'"], r"data.time_format=%Y needs data.time"),
    "numbers with a fraction": Refused(
        {"data.parquet": parquet(frame(z=[row + 0.5 for row in range(ROWS)]))},
        PARQUET,
        r"data.parquet, row 1: 0.5 in column 'z' is neither a whole number nor a time .*data.time=none",
    ),
    "seconds since 1970": epoch(1, "seconds"),
    "milliseconds since 1970": epoch(1000, "milliseconds"),
    "microseconds since 1970": epoch(10**6, "microseconds"),
    "nanoseconds since 1970": epoch(10**9, "nanoseconds"),
    "year 1677": Repaired(daily(first="1677-09-01"), TIMED, ""),
    "year 2262": Repaired(daily(first="2262-04-01"), TIMED, ""),
    "unknown zone": Refused(
        hourly(),
        [*TIMED, "data.time_zone=Europe/Berln"],
        r"data.time_zone=Europe/Berln is not a time zone.*Nearest: Europe/Berlin",
    ),
    "zone without a column": Refused(hourly(), ["data.time_zone=UTC"], r"data.time_zone=UTC needs data.time"),
    "zone of whole numbers": Refused(numbered(lambda row: row), ZONE, r"'t' of data.csv holds whole numbers"),
    "zone of dates": Repaired(daily(), ZONE, r"dates without a time of day, so data.time_zone=.* has no effect"),
    "skipped hour": Refused(
        hourly(first="2020-03-28 12:00"),
        ZONE,
        r"data.csv, line 16: 2020-03-29 02:00 in column 't' does not exist in Europe/B",
    ),
    "clocks set forward": Repaired(local_hours("2020-03-28 12:00", "Europe/Berlin"), ZONE, ""),
    "ambiguous hour": Repaired(
        local_hours("2020-10-24 12:00", "Europe/Berlin"),
        ZONE,
        r"2 rows lie in an hour that clocks in Europe/Berlin show twice \(first: line 14",
    ),
    "ambiguous hour without a zone": Refused(
        local_hours("2020-10-24 12:00", "Europe/Berlin"),
        TIMED,
        r"line 15 and line 14 have the same time 2020-10-25 02:00 .*data.time_zone may be",
    ),
    "hour three times": Refused(
        local_hours("2020-10-24 12:00", "Europe/Berlin") + "2020-10-25 02:00,1\n",
        ZONE,
        r"data.csv, line 42: 2020-10-25 02:00 in column 't' appears for the third time",
    ),
    "days of 23 and 25 hours": Repaired(
        {
            "data.parquet": parquet(
                frame(
                    z=pl.datetime_range(
                        datetime(2020, 3, 1), datetime(2020, 4, 9), "1d", time_zone="Europe/Berlin", eager=True
                    )
                )
            )
        },
        PARQUET,
        r"data.parquet: time converted from Europe/Berlin to UTC",
    ),
    "offsets that change": Repaired(
        lines(
            [f"2020-03-28T{12 + row}:00+01:00,{value(row)}" for row in range(12)]
            + [f"2020-03-29T{2 + row:02}:00+02:00,{value(row)}" for row in range(-1, 20)]
        ),
        TIMED,
        r"offsets change from \+01:00 to \+02:00 \(first: line 14\); times are shown in UTC \(data.time_zone",
        rows=33,
    ),
    "offset in some rows only": unparsed(
        numbered(lambda row: f"2020-01-{row % 28 + 1:02} 00:00+01:00", {9: "2020-01-08 00:00,1"}), 9, "2020-01-08 00:00"
    ),
    "descending times": Repaired(
        "t,y\n" + "".join(line + "\n" for line in daily().split()[:0:-1]),
        TIMED,
        r"data.csv: 39 rows were earlier than the row before: sorted by time",
    ),
    "same row twice": Repaired(
        daily() + "2020-01-05,5\n", TIMED, r"1 exact duplicate row dropped \(first: line 42, 2020-01-05\)"
    ),
    "same time, other value": Refused(
        daily() + "2020-01-05,9\n",
        TIMED,
        r"data.csv, line 42 and line 6 have the same time 2020-01-05 .*\('y' is '5' and '9'\).*data.duplicates",
    ),
    "two series without an id": Refused(
        panel(("a", daily()), ("b", daily({3: "2020-01-02,9"}))),
        TIMED,
        r"line 43 and line 3 have the same time 2020-01-02 .*set data.id=s, which tells such rows apart",
    ),
    "first of equal times": duplicated("first", "the first in the file is kept"),
    "last of equal times": duplicated("last", "the last in the file is kept"),
    "mean of equal times": duplicated("mean", "their means are taken"),
    "sum of equal times": duplicated("sum", "they are added up"),
    "unknown rule for equal times": Refused(
        daily(),
        [*TIMED, "data.duplicates=median"],
        r"data.duplicates=median is unknown; it must be one of refuse, first",
    ),
    "one day absent": Repaired(daily({9: ""}), TIMED, r"1 absent day made explicit as missing: 2020-01-08", missing=1),
    "many days absent": Repaired(
        daily({line: "" for line in range(9, 40, 4)}), TIMED, r"8 absent days .* and 3 more", missing=8
    ),
    "wrong year": Refused(
        daily({41: "3020-02-09,1"}),
        TIMED,
        r"line 41: time 3020-02-09 lies 365,\d+ steps after 2020-02-08.*check the times",
    ),
    "irregular hour": Refused(
        hourly({9: "2020-01-01 07:20,1"}),
        TIMED,
        r"line 9: time 2020-01-01 07:20 is not a whole number of steps \(hour, .* 2 rows are not \(also line 10",
    ),
    "no common step": Refused(
        numbered(lambda row: row**3),
        TIMED,
        r"line 41: time 59319 lies 4,447 steps after 54872, .* 59,280 steps are absent in total, but only 40",
    ),
    "step that changes": Refused(
        numbered(lambda row: 2 * row if row < 30 else 31 + row),
        TIMED,
        r"line 32: time 61 is not a whole number of steps \(step 2, the most common one\) after 58",
    ),
    "series of two frequencies": Refused(
        panel(("a", hourly()), ("b", days("%Y-%m-%d %H:%M"))),
        IDS,
        r"line 42: series 'b' has a row every day, but series 'a' .* every hour: all series",
    ),
    "prices on business days": Repaired(
        lines(
            [
                f"{day},1"
                for day in pl.date_range(datetime(2020, 1, 1), datetime(2020, 2, 25), eager=True)
                if day.weekday() < 5
            ]
        ),
        TIMED,
        "",
    ),
    "month ends": Repaired(
        lines(
            [
                f"{day},1"
                for day in pl.date_range(datetime(2017, 1, 31), datetime(2020, 4, 30), "1mo", eager=True).dt.month_end()
            ]
        ),
        TIMED,
        "",
    ),
}


def counted(most: int, first: str = "2020-01-01", last: int = 0, cell: str = "{}") -> str:
    """Numbered parts of three days, of which the second has ``last`` parts if that is given."""
    numbers = [(day, part) for day in range(3) for part in range(1, (last if last and day == 1 else most) + 1)]
    start = datetime.fromisoformat(first)
    rows = [f"{start + day * DAY:%Y-%m-%d},{cell.format(part)},{(day + part) % 5}" for day, part in numbers]
    return lines(rows, header="d,p,y")


PARTS = ("data.time=[d,p]",)
CITIES = panel(("Paris", daily()), ("Oslo", daily({3: "2020-01-02,9"}))).replace("t,y,s", "day,y,city")
TWO_KEYS = lines(
    [f"{datetime(2020, 1, 1) + row * DAY:%Y-%m-%d},{shop},{item},{row * shop + len(item)}"
     for row in range(20) for shop in (1, 2) for item in ("tea", "bread")], header="t,shop,item,y",
)  # fmt: skip
WITHOUT = r"data.csv: column '\w+' holds times \('.*' in the first row\), but data.time names none: set "

CASES |= {
    "hours 1 to 24 beside a date": Repaired(counted(24), PARTS, "'p' numbers the hours of the day", rows=72),
    "hour ending beside a date": Repaired(counted(24, cell="HE{:02}"), PARTS, "numbers the hours", rows=72),
    "half hours 1 to 48": Repaired(counted(48), PARTS, "numbers the half hours of the day", rows=144),
    "quarters of an hour 1 to 96": Repaired(counted(96), PARTS, "numbers the quarters of an hour", rows=288),
    "50 half hours": Refused(
        counted(48, "2020-10-24", 50), PARTS, r"line 99: 50 in column 'p' .* set data.time_zone to the zone of"
    ),
    "50 half hours in a zone": Repaired(
        counted(48, "2020-10-24", 50), [*PARTS, "data.time_zone=Europe/London"], "half hours of the day", rows=146
    ),
    "23 hours in a zone": Repaired(
        counted(24, "2020-03-28", 23), [*PARTS, "data.time_zone=Europe/Berlin"], "hours of the day", rows=71
    ),
    "forgotten time": Refused(daily(), [], WITHOUT + r"data.time=t, or data.time=none to take the rows in file order"),
    "forgotten time in American order": Refused(days("%m/%d/%Y"), [], WITHOUT + "data.time=t, or data.time=none"),
    "forgotten time in quarters": Refused(numbered(lambda row: f"{2001 + row // 4}Q{row % 4 + 1}"), [], WITHOUT),
    "forgotten time since 1970": Refused(
        numbered(lambda row: 1_600_000_000 + 3600 * row).replace("t,y", "unix,y"), [], WITHOUT + "data.time=unix"
    ),
    "forgotten times in parts": Refused(
        lines([f"{2000 + row // 12},{row % 12 + 1},1" for row in range(ROWS)], header="year,month,y"), [],
        r"columns 'year', 'month' hold times \('2000 1' in the first row\).* set data.time=\[year,month\], or",
    ),
    "forgotten time among all columns": Refused(
        daily(), ["data.target='*'"], WITHOUT + "data.time=t, or name the other columns in data.target"
    ),
    "forgotten time and series": Refused(CITIES, [], WITHOUT + r"data.time=day and data.id=city, or data.time=none"),
    "forgotten hour": Refused(
        lines([f"2020-01-0{1 + row // 24},{row % 24},{row}" for row in range(ROWS)], header="day,hour,y"),
        ["data.time=day"], r"same time 2020-01-01 .* set data.time=\[day,hour\], which tells such rows apart",
    ),
    "hour twice beside a flag": Refused(
        with_column("dst", lambda row: int(row < 14), local_hours("2020-10-24 12:00", "Europe/Berlin")), TIMED,
        r"have the same time 2020-10-25 02:00 .*data.id or data.time_zone may be missing",
    ),
    "no time on purpose": Repaired(daily(), ["data.time=none"], ""),
    "no time on purpose, null": Repaired(daily(), ["data.time=null"], ""),
    "dates as a static": Repaired(
        lines([f"2019-05-01,{value(row)}" for row in range(ROWS)], header="opened,y"), ["data.statics=[opened]"], ""
    ),
    "numbers that are no times": Repaired(numbered(lambda row: 5 * row), [], ""),
    "codes that are no times": Repaired(numbered(lambda row: f"A-{row % 3}-2020"), [], ""),
    "forgotten series": Refused(CITIES, ["data.time=day"], "set data.id=city, which tells such rows apart"),
    "forgotten series of two columns": Refused(TWO_KEYS, TIMED, r"set data.id=\[shop,item\], which tells such rows"),
    "forgotten second column of a series": Refused(TWO_KEYS, [*TIMED, "data.id=shop"], r"data.id=\[shop,item\], which"),
}  # fmt: skip
MIDNIGHT = r"a date without a time of day is midnight"


def without_midnight(form: str, clock: str, first: str = "2021-01-13") -> str:
    """Hours whose midnight is written as a date."""
    return moments(form, first=first).replace(clock, "")


def units(*sizes: int) -> Callable[[int], int]:
    """Hours since 1970 in units that change from one part of the file to the next."""
    return lambda row: (1_577_836_800 + 3600 * row) * sizes[row * len(sizes) // ROWS]


def utc_days(row: int) -> str:
    """Midnight in Berlin as an instant in UTC."""
    return f"{datetime(2021, 3, 8, 23 - (row > 19)) + row * DAY}Z"


def berlin(form: str, **settings: str) -> str:
    return lines([f"{cell},1" for cell in local_days(form, "Europe/Berlin", **settings)])


CASES |= {
    "missing midnight of R": Repaired(
        without_midnight("%Y-%m-%d %H:%M:%S", " 00:00:00"), TIMED, MIDNIGHT + r" \(2 rows, first: line 2\)"
    ),
    "missing midnight in the middle": Repaired(
        without_midnight("%Y-%m-%d %H:%M:%S", " 00:00:00", "2021-01-13T05"), TIMED, MIDNIGHT + r" \(1 row, .* line 21"
    ),
    "missing midnight of a spreadsheet": Repaired(
        without_midnight("%m/%d/%Y %I:%M %p", " 12:00 AM"), TIMED, MIDNIGHT + r" \(2 rows, first: line 2\)"
    ),
    "missing midnight in a given format": Repaired(
        without_midnight("%d/%m/%Y %H:%M", " 00:00"),
        [*TIMED, "data.time_format='%d/%m/%Y %H:%M'"],
        r"2 times \(first: line 2\) without a time of day read as midnight",
    ),
    "seconds, then milliseconds": read(units(1, 1000), r"size: seconds from line 2 on, milliseconds from line 22 on"),
    "microseconds, then seconds": read(units(10**6, 1), r"size: microseconds from line 2 on, seconds from line 22 on"),
    "three units": read(units(1, 1000, 10**9), r"seconds from .*, milliseconds from .*, nanoseconds from line 29 on"),
    "seconds since 1970 with a fraction": read(lambda row: 1_577_836_800.25 + row / 4, "seconds since 1970"),
    "days of a spreadsheet": Repaired(
        numbered(lambda row: 43_831 + row).replace("t,y", "date,y"), ["data.time=date"], "days of a spreadsheet"
    ),
    "hours of a spreadsheet": read(lambda row: round(43_831 + row / 24, 5), "days of a spreadsheet"),
    "hours of a spreadsheet, in full": read(lambda row: 43_831 + row / 24, "days of a spreadsheet"),
    "decimal years": Refused(
        numbered(lambda row: f"{2000.042 + row / 12:.3f}"), TIMED, r"2000.042 in column 't' is neither .*data.time=none"
    ),
    "intervals of a grid operator": read(intervals, r"'31.01.2020 12:00 - 31.01.2020 13:00' is .* 12:00; the start of"),
    "intervals whose day may be a month": Refused(
        lines([f"{intervals(row - 719)},1" for row in range(9)]), TIMED, r"to %m.%d.%Y %H:%M or %d.%m.%Y %H:%M\."
    ),
    "intervals in a given format": Repaired(
        numbered(intervals), [*TIMED, "data.time_format='%d.%m.%Y %H:%M'"], "40 times .* are intervals"
    ),
    "intervals of ISO 8601": read(lambda row: f"2020-01-01T00:{row:02}Z/2020-01-01T00:{row + 1:02}Z", "start"),
    "intervals of a day": read(lambda row: f"31.12.2020 00:{row:02} - 00:{row + 1:02}", "the start of the interval"),
    "intervals without blanks": read(lambda row: f"31.12.2020 00:{row:02}-00:{row + 1:02}", "the start"),
    "24 o'clock": read(hour_of_day, r"24:00 is midnight at the end of the day \(1 row, first: line 25\)"),
    "hour ending": read(lambda row: f"2020-01-0{1 + row // 24} HE{row % 24 + 1:02}", "the hour that ends then"),
    "hours in a number": read(lambda row: 2020010100 + 100 * (row // 24) + row % 24, "%Y%m%d%H"),
    "hours 1 to 24 in a number": read(lambda row: 2020010101 + 100 * (row // 24) + row % 24, "24:00 is midnight"),
    "minutes in a number": read(lambda row: 202001010000 + row, "%Y%m%d%H%M"),
    "compact time of day": Repaired(moments("%Y%m%dT%H%M"), TIMED, "'20200101T0000' is 2020-01-01"),
    "compact date, clock apart": Repaired(moments("%Y%m%d %H:%M:%S"), TIMED, "'20200101 00:00:00' is 2020-01-01"),
    "quarters": read(lambda row: f"{2001 + row // 4}Q{row % 4 + 1}", "'2001Q1' is 2001-01-01"),
    "quarters of Eurostat": read(lambda row: f"{2001 + row // 4}-Q{row % 4 + 1}"),
    "quarter before the year": read(lambda row: f"Q{row % 4 + 1} {2001 + row // 4}"),
    "quarters in a number": read(lambda row: (2001 + row // 4) * 10 + row % 4 + 1, "year and quarter"),
    "fifth quarter": unparsed(
        numbered(lambda row: f"{2001 + row // 5}Q{row % 5 + 1}"), 6, "2001Q5", "same form as '2001Q1'"
    ),
    "two digits of a year, in a number": Repaired(days("%y%m%d"), TIMED, "%y%m%d"),
    "no day, in a number": Refused(
        days("%Y%m%d", {9: "20200132,1"}), TIMED, r"line 9: 20200132 in column 't' is not a time like the others"
    ),
    "years from one to the next": Refused(
        numbered(lambda row: f"{1990 + row}/{(91 + row) % 100:02}"), TIMED, "'1990/91' .* is a year that ends"
    ),
    "month, point, year": read(lambda row: month(row, "%m.%Y"), "'01.2020' is 2020-01-01"),
    "months of Eurostat": read(lambda row: month(row, "%YM%m"), "'2020M01' is 2020-01-01"),
    "months with a short year": read(lambda row: month(row, "%b-%y"), "'Jan-20' is 2020-01-01"),
    "months in words": read(lambda row: month(row, "%B %Y"), "'January 2020' is"),
    "month and year": read(lambda row: month(row, "%m/%Y"), "'01/2020' is 2020-01-01"),
    "days without a year": unparsed(lines([f"Jan-{row:02},1" for row in range(1, 29)]), 2, "Jan-01", "data.time=none"),
    "ISO weeks": read(lambda row: f"2020-W{row + 1:02}", "the Monday of the ISO week"),
    "ISO weeks without a hyphen": read(lambda row: f"2020W{row + 1:02}", "'2020W01' is 2019-12-30"),
    "weeks in a number": read(lambda row: 202030 + row if row < 24 else 202077 + row, "ISO week"),
    "days of the year": read(lambda row: 2019350 + row if row < 16 else 2019985 + row, "%Y%j"),
    "dates of SAS": Repaired(days("%d%b%Y"), TIMED, "'01Jan2020' is 2020-01-01"),
    "times of SAS": Repaired(moments("%d%b%Y:%H:%M:%S"), TIMED, "is 2020-01-01"),
    "times of a database": Repaired(moments("%d-%b-%y %I.%M.%S.000000 %p"), TIMED, "is 2020-01-01"),
    "times of a mail": Repaired(moments('"%a, %d %b %Y %H:%M:%S GMT"'), TIMED, "is 2020-01-01"),
    "times of a browser": Repaired(moments("%a %b %d %Y %H:%M:%S GMT+0100 (CET)"), TIMED, "is 2019-12-31 23:00"),
    "12-hour clock with a no-break space": Repaired(
        moments('"%m/%d/%Y, %I:%M:%S\u202f%p"', first="2020-01-31"), TIMED, "is 2020-01-31"
    ),
    "12-hour clock of hours": Repaired(moments("%m/%d/%Y %I %p", first="2020-01-31"), TIMED, "is 2020-01-31"),
    "decimal comma of seconds": Repaired(moments('"%Y-%m-%d %H:%M:%S,500"'), TIMED, "is 2020-01-01 00:00:00.500"),
    "blanks in the cells": Repaired(moments(" %Y-%m-%d\u00a0%H:%M \u00a0"), TIMED, "is 2020-01-01"),
    "abbreviated zone": Repaired(moments("%Y-%m-%d %H:%M CET"), TIMED, "is 2019-12-31 23:00"),
    "unknown zone in the cells": unparsed(moments("%Y-%m-%d %H:%M XYZ"), 2, "2020-01-01 00:00 XYZ"),
    "two digits of a year": Repaired(days("%d/%m/%y"), TIMED, "'01/01/20' is 2020-01-01"),
    "two digits of a year, with points": Repaired(days("%d.%m.%y"), TIMED, "'01.01.20' is 2020-01-01"),
    "two digits of a year may be a day": Refused(days("%y-%m-%d"), TIMED, r"day first or year first.* %d-%m-%y or %y-"),
    "two digits, month or day first": Refused(
        numbered(lambda row: f"{row % 12 + 1:02}/{row // 12 + 1:02}/20"), TIMED, r"to %m/%d/%y or %d/%m/%y"
    ),
    "German months": read(
        lambda row: f"{row % 28 + 1}. {('Februar', 'März')[row // 28]} 2021", "'1. Februar 2021' is 2021-02-01"
    ),
    "French months": Repaired(
        lines([f"{name} 20{year},1" for year in range(20, 30) for name in ("janv.", "avr.", "juil.", "oct.")]),
        TIMED, "'janv. 2020' is 2020-01-01",
    ),
    "business days with summer and winter offsets": Repaired(
        lines([f"{cell},1" for cell in local_days("%Y-%m-%d %H:%M:%S%:z", "America/New_York")]),
        TIMED, r"from -05:00 to -04:00 \(first: line 9\); the times of day do not, so they are read as dates",
    ),
    "months with summer and winter offsets": Repaired(
        berlin("%Y-%m-%dT%H:%M:%S%:z", step="1mo", first="2021-01-01"), TIMED, r"to \+02:00 \(first: line 5",
        rows=33,
    ),
    "weeks at four, with offsets": Repaired(
        berlin("%Y-%m-%dT%H:%M%z", step="1w", first="2021-01-04T16:00"), TIMED, "read as local times"
    ),
    "days with offsets in a zone": Repaired(berlin("%Y-%m-%dT%H:%M%z"), ZONE, ""),
    "days in UTC of an unknown zone": Refused(
        numbered(utc_days), TIMED, "correct the times, set data.time_zone to the zone of these days, or set data.time="
    ),
    "days in UTC of a zone": Repaired(numbered(utc_days), ZONE, ""),
    "sensor early or late": Repaired(
        jittered(0.9), TIMED, r"times are about every 20 minutes, up to 0.\d+ s off: \d+ rows rounded to the step"
    ),
    "sensor of milliseconds": Repaired(jittered(0.004, 0.1), TIMED, r"every 100 milliseconds, up to 0.00\d s off"),
    "sensor of 90 seconds": Repaired(jittered(5, 90), TIMED, r"about every 90 seconds, up to \d s off"),
    "readings at about the same time of day": Repaired(jittered(900, 86400), TIMED, r"every day, up to \d+ s off"),
    "sensor with a gap": Repaired(
        "".join(line + "\n" for number, line in enumerate(jittered(0.9).splitlines()) if number not in (9, 10)),
        TIMED, "2 absent steps of 20 minutes", missing=2,
    ),
    "sensor far too early": Refused(jittered(400), TIMED, r"steps .*correct the times, or set data.time=none"),
}  # fmt: skip
