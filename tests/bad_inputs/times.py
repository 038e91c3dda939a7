"""Bad times: their format, time zone, order and steps."""

from datetime import datetime, timedelta

import polars as pl

from bad_inputs import TIMED, Case, Refused, Repaired
from bad_inputs.build import ROWS, daily, frame, hourly, lines, numbered, panel, parquet, value, with_times

ZONE = (*TIMED, "data.time_zone=Europe/Berlin")
IDS = (*TIMED, "data.id=s")
PARQUET = ("data.path=data.parquet", "data.time=z")
HOUR = timedelta(hours=1)


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


CASES: dict[str, Case] = {
    "missing time": Refused(daily({9: ",1"}), TIMED, r"data.csv, line 9: time column 't' has no value here"),
    "month 13": unparsed(daily({9: "2020-13-08,1"}), 9, "2020-13-08", "%Y-%m-%d"),
    "30th of February": unparsed(daily({9: "2020-02-30,1"}), 9, "2020-02-30", "%Y-%m-%d"),
    "24 o'clock": unparsed(hourly({9: "2020-01-01 24:00,1"}), 9, "2020-01-01 24:00"),
    "two digits of a year": unparsed(days("%d/%m/%y"), 2, "01/01/20", "data.time_format"),
    "five digits of a year": unparsed(daily({2: "99999-01-01,1"}), 2, "99999-01-01", "data.time_format"),
    "format changes within the column": unparsed(daily({9: "8 Jan 2020,1"}), 9, "8 Jan 2020", "%Y-%m-%d"),
    "date among numbers": unparsed(numbered(lambda row: row, {9: "2020-01-08,1"}), 9, "2020-01-08", "whole number"),
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
        r"data.parquet: time column 'z' holds Float64, but dates, whole numbers or text",
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
        "",
        rows=33,
    ),
    "offset in some rows only": unparsed(
        numbered(lambda row: f"2020-01-{row % 28 + 1:02} 00:00+01:00", {9: "2020-01-08 00:00,1"}), 9, "2020-01-08 00:00"
    ),
    "descending times": Repaired(
        "t,y\n" + "".join(line + "\n" for line in daily().split()[:0:-1]),
        TIMED,
        r"data.csv: 40 rows were not in time order: sorted",
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
        r"line 43 and line 3 have the same time 2020-01-02 .*data.id may be missing",
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
