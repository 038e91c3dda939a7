"""Timestamps in every format: instants are converted to UTC and keep their zone, dates and numbers stay."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import FILE, column, contains_all, error_of, make_rows, times, write

from datamodules import arrays
from datamodules.tables.reader import read_table
from datamodules.tables.timestamps import parse_timestamps
from datamodules.timezones import check_zone, utc_to_local
from seqmodels.errors import InputError

BERLIN = "Europe/Berlin"


def parse(texts: list[Any], zone: str | None = None, codes: list[int] | None = None, form: str | None = None) -> list:
    found = parse_timestamps(FILE, column(texts), form, zone, None if codes is None else np.array(codes, np.int32))
    return [found.time.astype("datetime64[m]").astype(str).tolist(), found.zone, found.notes]


def parse_error(texts: list[Any], zone: str | None = None, codes: list[int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        parse(texts, zone, codes)
    return str(caught.value)


def local_hours(first: str, hours: int, zone: str = BERLIN) -> list[str]:
    """Local times of each hour from an instant in UTC, by Python's zoneinfo."""
    start = datetime.fromisoformat(first + "+00:00")
    shown = [(start + timedelta(hours=hour)).astimezone(ZoneInfo(zone)) for hour in range(hours)]
    return [moment.strftime("%Y-%m-%d %H:%M") for moment in shown]


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]),
    first=st.datetimes(datetime(2005, 1, 1), datetime(2024, 1, 1)),
    minutes=st.sampled_from([15, 30]),
    turned=st.booleans(),
    size=st.sampled_from([7, 1 << 20]),
)
def test_local_times_are_converted_to_the_right_instants(
    zone: str, first: datetime, minutes: int, turned: bool, size: int
) -> None:
    """Steps around all clock changes of 550 days, ascending and descending, for two series at once."""
    start = np.datetime64(first.replace(minute=0, second=0, microsecond=0), "us")
    instants = start + np.arange(0, 550 * 24 * 60, minutes) * np.timedelta64(1, "m")
    changes = np.flatnonzero(np.diff(utc_to_local(instants, zone)) != np.timedelta64(minutes, "m"))
    whole = changes[(changes > 9) & (changes < len(instants) - 9)]
    kept = (whole[:, None] + np.arange(-6, 9)).ravel() if len(whole) else np.arange(20, 29)
    instants = np.repeat(instants[kept], 2)[:: -1 if turned else 1]
    patch = pytest.MonkeyPatch()
    patch.setattr(arrays, "CHUNK", size)
    found = parse_timestamps(
        FILE, pl.Series("t", utc_to_local(instants, zone)), None, zone, np.arange(len(instants)) % 2
    )
    patch.undo()
    assert found.zone == zone and (found.time == instants).all()


def test_clock_changes_neither_lose_nor_repeat_an_hour() -> None:
    winter = local_hours("2020-10-24 22:00", 6)
    assert winter[2:5] == ["2020-10-25 02:00", "2020-10-25 02:00", "2020-10-25 03:00"]
    found, zone, notes = parse(winter, BERLIN)
    assert found == [f"2020-10-2{4 if hour > 21 else 5}T{hour:02}:00" for hour in (22, 23, 0, 1, 2, 3)]
    assert zone == BERLIN and notes == [
        "data.csv: 2 rows lie in an hour that clocks in Europe/Berlin show twice (first: line 4, 2020-10-25 02:00):"
        " 2 are distinguished by their order, summer time first."
    ]
    summer = local_hours("2020-03-29 00:00", 3)
    assert summer == ["2020-03-29 01:00", "2020-03-29 03:00", "2020-03-29 04:00"]
    assert parse(summer, BERLIN) == [["2020-03-29T00:00", "2020-03-29T01:00", "2020-03-29T02:00"], BERLIN, []]


def test_each_series_has_its_own_pair_of_ambiguous_hours() -> None:
    together = [label for label in local_hours("2020-10-24 23:00", 4) for _ in "ab"]
    assert parse(together, BERLIN, [0, 1] * 4)[0] == [f"2020-10-2{day}" for day in
        ("4T23:00", "4T23:00", "5T00:00", "5T00:00", "5T01:00", "5T01:00", "5T02:00", "5T02:00")]  # fmt: skip
    backwards = local_hours("2020-10-24 23:00", 4)[::-1]
    assert parse(backwards, BERLIN)[0] == ["2020-10-25T02:00", "2020-10-25T01:00", "2020-10-25T00:00",
                                            "2020-10-24T23:00"]  # fmt: skip


def test_an_ambiguous_hour_without_counterpart_is_summer_time() -> None:
    found, _, notes = parse(["2020-10-24 02:00", "2020-10-25 02:00", "2020-10-26 02:00"], BERLIN)
    assert found == ["2020-10-24T00:00", "2020-10-25T00:00", "2020-10-26T01:00"]
    assert notes[0].endswith("1 without a counterpart is read as summer time.") and "1 row lies" in notes[0]


def test_impossible_local_times_raise() -> None:
    assert parse_error(["2020-03-29 01:30", "2020-03-29 02:30"], BERLIN) == (
        "data.csv, line 3: 2020-03-29 02:30 in column 't' does not exist in Europe/Berlin, where clocks skip it;"
        " if this clock is never changed, set data.time_zone to a fixed offset such as Etc/GMT-1."
    )
    third = parse_error(["2020-10-25 02:00"] * 3 + ["2020-10-25 03:00"], BERLIN)
    assert "line 4: 2020-10-25 02:00 in column 't' appears for the third time" in third
    shuffled = [f"2020-10-{day} 02:00" for day in (25, 24, 26, 25, 27, 23)]
    assert "line 2" in (message := parse_error(shuffled, BERLIN)) and "not sorted by time" in message


@pytest.mark.parametrize(
    ("texts", "zone", "found", "kept"),
    [
        (["2020-01-31 05:30+02:00", "2020-02-01 05:30+02:00"], None, "2020-01-31T03:30", "Etc/GMT-2"),
        (["2020-01-31 05:30-0300"], None, "2020-01-31T08:30", "Etc/GMT+3"),
        (["2020-01-31 05:30+05:30"], None, "2020-01-31T00:00", "UTC"),
        (["2020-01-31T05:30:00Z"], None, "2020-01-31T05:30", "UTC"),
        (["2020-03-28 12:00+01:00", "2020-03-29 12:00+02:00"], BERLIN, "2020-03-28T11:00", BERLIN),
        (["2020-01-31 05:30"], None, "2020-01-31T05:30", ""),
        (["2020-01-31 05:30"], "UTC", "2020-01-31T05:30", "UTC"),
    ],
)
def test_offsets_and_zones(texts: list[str], zone: str | None, found: str, kept: str) -> None:
    first, said, notes = parse(texts, zone)
    assert (first[0], said, notes) == (found, kept, [])


def test_the_zone_of_a_column_is_kept() -> None:
    times = column([datetime(2020, 7, 1, 12), datetime(2020, 7, 1, 13)])
    found = parse_timestamps(FILE, times.dt.replace_time_zone("Asia/Tokyo"), None)
    assert found.time[0] == np.datetime64("2020-07-01T03:00") and found.zone == "Asia/Tokyo"
    assert found.notes == ["data.csv: time converted from Asia/Tokyo to UTC."]
    assert parse_timestamps(FILE, times.dt.replace_time_zone("Asia/Tokyo"), None, BERLIN).zone == BERLIN
    naive = parse_timestamps(FILE, times.cast(pl.Datetime("ns")), None, BERLIN)
    assert naive.time[0] == np.datetime64("2020-07-01T10:00") and naive.zone == BERLIN


def test_dates_have_no_zone() -> None:
    for texts in (["2020-03-28", "2020-03-29"], column(["2020-03-28", "2020-03-29"]).str.to_date()):
        found = parse_timestamps(FILE, column(texts), None, "America/New_York")
        assert found.time[0] == np.datetime64("2020-03-28") and found.zone == ""
        why = "data.time_zone=America/New_York has no effect"
        assert found.notes == [f"data.csv: times are dates without a time of day, so {why}."]
    assert "whole numbers" in parse_error([1, 2, 3], BERLIN)


@pytest.mark.parametrize(
    ("first", "unit"), [(10**9, "seconds"), (10**12, "milliseconds"), (10**15, "microseconds"), (10**18, "nanoseconds")]
)
@pytest.mark.parametrize("text", [True, False])
def test_seconds_since_1970_and_their_fractions(first: int, unit: str, text: bool) -> None:
    step = 3600 * first // 10**9
    cells = [first, first + step]
    assert parse([str(cell) for cell in cells] if text else cells) == [
        ["2001-09-09T01:46", "2001-09-09T02:46"], "UTC", [f"data.csv: time format detected: {unit} since 1970 (UTC)."]
    ]  # fmt: skip


def test_formats_of_seconds_and_plain_numbers() -> None:
    assert parse(["1000000000"], "Asia/Tokyo", form="%s")[:2] == [["2001-09-09T01:46"], "Asia/Tokyo"]
    mixed = parse_timestamps(FILE, column([5, 10**9]), None)
    assert mixed.time.tolist() == [5, 10**9] and mixed.notes == []


@pytest.mark.parametrize("kind", [pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.UInt64])
def test_integers_of_any_width_are_an_index(kind: Any) -> None:
    found = parse_timestamps(FILE, column([1, 2, 100]).cast(kind), None)
    assert found.time.dtype == np.int64 and found.time.tolist() == [1, 2, 100] and found.notes == []


@pytest.mark.parametrize("text", [True, False])
def test_months_as_integers_are_not_an_index(text: bool) -> None:
    cells = [202001, 202002, 201911, 201912]  # in any order
    dates = ["2020-01-01", "2020-02-01", "2019-11-01", "2019-12-01"]
    found = parse([str(cell) for cell in cells] if text else cells)
    assert found == [[f"{date}T00:00" for date in dates], "", ["data.csv: time format detected: %Y%m."]]


@pytest.mark.parametrize("cells", [[201912, 201913, 202001], [201901, 201912], [201912, 202012], [12, 101]])
def test_an_index_that_resembles_months(cells: list[int]) -> None:
    found = parse_timestamps(FILE, column(cells), None)
    assert found.time.tolist() == cells and found.notes == []


def test_an_unknown_zone_raises_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"data.time_zone=Europe/Berln is not a time zone; .* Nearest: Europe/Berlin"):
        check_zone("Europe/Berln")
    check_zone(BERLIN)


def test_messages_show_local_time() -> None:
    instants = np.array(["2020-07-01T10:00"], "datetime64[us]")
    rows = make_rows([1.0], instants)
    rows.zone = BERLIN
    assert rows.label(0) == "2020-07-01 12:00"


# Forms of texts and numbers


FORMS = {
    "%d.%m.%Y %H:%M": "min", "%Y%m%dT%H%M%S": "s", "%d %b %Y %H:%M:%S": "s", "%A, %B %d, %Y %I:%M:%S %p": "s",
    "%d%b%Y:%H:%M:%S.%f": "us", "%m/%d/%Y, %I:%M %p": "min", "%Y-%m-%d %H:%M:%S,%f": "us", "%d-%b-%y": "D",
    "%b %Y": "M", "%YM%m": "M", "%m/%Y": "M", "%Y-%j": "D", "%G-W%V-%u": "D", "%Y%m%d%H%M": "min", "%Y%m%d%H": "h",
    "%a %b %d %Y %H:%M:%S GMT+0000 (UTC)": "s", "%d/%m/%Y %H:%M - %d/%m/%Y %H:%M": "min", "%d.%m.%y": "D",
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    first=st.datetimes(datetime(1990, 1, 1), datetime(2049, 1, 1)),
    hours=st.lists(st.integers(0, 20_000), max_size=6),
)
def test_what_strftime_writes_is_read(form: str, first: datetime, hours: list[int]) -> None:
    """Day 31 tells day, month and year apart; what a format leaves out is cut off."""
    unit = {"min": "m"}.get(FORMS[form], FORMS[form])
    moments = [
        datetime(2041, 1, 31, 13),
        datetime(1998, 12, 31, 1),
        first,
        *(first + timedelta(hours=h) for h in hours),
    ]
    found = parse_timestamps(FILE, column([moment.strftime(form) for moment in moments]))
    assert found.time.tolist() == np.array(moments, f"datetime64[{unit}]").astype("datetime64[us]").tolist()


@settings(max_examples=60, deadline=None)
@given(
    first=st.datetimes(datetime(1995, 1, 1), datetime(2045, 1, 1)),
    sizes=st.lists(st.sampled_from([1, 1000, 10**6, 10**9]), min_size=2, max_size=9),
)
def test_each_number_since_1970_has_the_unit_of_its_size(first: datetime, sizes: list[int]) -> None:
    seconds = int(first.replace(tzinfo=ZoneInfo("UTC")).timestamp())
    found = parse_timestamps(FILE, column([(seconds + 60 * row) * size for row, size in enumerate(sizes)]))
    assert (found.time == np.datetime64(seconds, "s") + np.arange(len(sizes)) * np.timedelta64(60, "s")).all()
    assert found.zone == "UTC" and ("told apart by size" in found.notes[0]) == (len(set(sizes)) > 1)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Sydney"])
@pytest.mark.parametrize(("step", "by_wall"), [("1d", True), ("1w", True), ("1mo", True), ("6h", True), ("1h", False)])
def test_steps_of_two_hours_or_more_are_read_by_the_clock(zone: str, step: str, by_wall: bool) -> None:
    local = pl.datetime_range(datetime(2020, 9, 1), datetime(2021, 6, 1), step, eager=True)
    moments = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").drop_nulls()
    found = parse_timestamps(FILE, moments.dt.strftime("%Y-%m-%d %H:%M:%S%:z").alias("t"))
    expected = moments.dt.replace_time_zone(None) if by_wall else moments.dt.convert_time_zone("UTC")
    assert (found.time == expected.dt.replace_time_zone(None).to_numpy()).all() and len(found.notes) == 1
    assert (found.zone == "") == by_wall


# Times in several columns


@pytest.mark.parametrize(
    ("header", "cells", "settings", "expected"),
    [
        ("year,month,day,hour", "2010,1,2,3", {}, "2010-01-02T03:00"),
        ("hour,Day,Month,YEAR", "3,2,1,2010", {}, "2010-01-02T03:00"),
        ("year,month", "2010,07", {}, "2010-07-01T00:00"),
        ("yr,mnth,day,hr,min", "2010,1,2,3,4", {}, "2010-01-02T03:04"),
        ("year,month,day,hour,minute,second", "2010,1,2,3.0,4,0", {}, "2010-01-02T03:04"),
        ("date,hr", "2010-01-31,9", {}, "2010-01-31T09:00"),
        ("hour,Day", "9,31.01.2010", {}, "2010-01-31T09:00"),
        ("date,hour,minute", "31.01.2010,9,30", {}, "2010-01-31T09:30"),
        ("date,hour", "02/01/2010,9", {"time_format": "%d/%m/%Y"}, "2010-01-02T09:00"),
        ("date,clock", "2010-01-02,17:05", {}, "2010-01-02T17:05"),
        ("Date,Time", "02/01/2010,17.05.00", {"time_format": "%d/%m/%Y %H.%M.%S"}, "2010-01-02T17:05"),
    ],
)
def test_time_in_several_columns(tmp_path: Path, header: str, cells: str, settings: dict, expected: str) -> None:
    write(tmp_path, data=f"{header},y\n{cells},1\n")
    series = read_table(tmp_path / "data.csv", target="y", time=header.split(","), **settings)
    assert times(series) == [expected]


def test_time_in_several_columns_of_a_data_frame() -> None:
    days = pl.Series([date(2020, 1, day) for day in (1, 2, 3)])
    frame = pl.DataFrame({"day": days, "hour": pl.Series([1, 1, 1], dtype=pl.Int8), "y": [1, 2, 3]})
    series = read_table(frame, target="y", time=["day", "hour"], layout="long")
    assert series.frequency == "day" and times(series, "h") == [f"2020-01-0{day}T01" for day in (1, 2, 3)]


PART_ERRORS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "no year": ("month,day\n1,2", {}, ["data.csv, line 2", "'1 2'", "'month + day'", "not a date"]),
    "not a date": ("hour,minute\n1,2", {}, ["data.time=hour,minute", "year"]),
    "no day": ("year,hour\n2010,2", {}, ["data.time=year,hour", "leaving out only the last"]),
    "no hour": ("date,minute\n2010-01-01,2", {}, ["data.time=date,minute", "leaving out only the last"]),
    "two hours": ("date,hour,hr\n2010-01-01,2,3", {}, ["data.time=date,hour,hr"]),
    "half": ("year,month\n2010,1.5", {}, ["data.csv, line 2", "'1.5'", "'month'", "whole number"]),
    "text": ("date,hour\n2010-01-01,noon", {}, ["data.csv, line 2", "'noon'", "'hour'", "whole number"]),
    "month 13": ("year,month\n2010,13", {}, ["data.csv, line 2", "'2010-13'", "'year + month'"]),
    "hour 25": ("date,hour\n2010-01-01,25", {}, ["data.csv, line 2", "'2010-01-01 25:00'", "'date + hour'"]),
    "year 0": ("yr,month\n0,1", {}, ["data.csv, line 2", "'0000-01'"]),
    "missing": ("date,hour\n2010-01-01,NA", {}, ["data.csv, line 2", "'date + hour'", "no value"]),
    "format": ("year,month\n2010,1", {"time_format": "%Y"}, ["data.time_format=%Y", "numbers"]),
}


@pytest.mark.parametrize("name", PART_ERRORS)
def test_errors_in_several_time_columns(tmp_path: Path, name: str) -> None:
    text, settings, parts = PART_ERRORS[name]
    header, _, cells = text.partition("\n")
    write(tmp_path, data=f"{header},y\n{cells},1\n")
    message = error_of(tmp_path / "data.csv", target="y", time=header.split(","), **settings)
    assert contains_all(message, parts)
