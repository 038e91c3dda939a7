"""Calendar and holidays against Python's datetime, over days of 23 and 25 hours, and against published columns."""

import calendar
from datetime import UTC, date, datetime, timedelta
from math import cos, pi, sin
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from data import SeriesData, real

from datamodules.covariates.calendar import DATE_PARTS, Calendar, Holidays
from datamodules.series import SeriesSet
from seqmodels.errors import InputError

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
CYCLIC = [name for name in DATE_PARTS if name not in ("year", "weekend")]


def at(time: np.ndarray | None, zone: str = "", frequency: str = "") -> SeriesSet:
    """One series with these timestamps."""
    rows = 60 if time is None else len(time)
    return SeriesSet(
        np.arange(rows, dtype=np.float32)[:, None],
        np.array([0, rows]),
        ("y",),
        time=time,
        zone=zone,
        frequency=frequency,
        source="a.csv",
    )


def hours(start: str, count: int, step: np.timedelta64 = HOUR) -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(count) * step


def columns(transform: Calendar | Holidays, series: SeriesSet) -> dict[str, np.ndarray]:
    made = list(transform(series, horizon=1))
    assert all(column.known and column.values.dtype == np.float32 for column in made)
    return {column.name: column.values for column in made}


def number_and_period(name: str, when: datetime) -> tuple[int, int]:
    """Number of a cyclic part of the date, from 0 on, and the length of its cycle, from the standard library."""
    return {
        "minute": (when.minute, 60),
        "hour": (when.hour, 24),
        "weekday": (when.weekday(), 7),
        "day": (when.day - 1, calendar.monthrange(when.year, when.month)[1]),
        "day_of_year": (when.timetuple().tm_yday - 1, 366 if calendar.isleap(when.year) else 365),
        "week": (when.isocalendar().week - 1, date(when.isocalendar().year, 12, 28).isocalendar().week),
        "month": (when.month - 1, 12),
        "quarter": ((when.month - 1) // 3, 4),
    }[name]


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_date_parts_equal_those_of_datetime(zone):
    random = np.random.default_rng(3)
    minutes = np.sort(random.integers(-40 * 525_600, 60 * 525_600, 400))  # of 1930 to 2030
    time = np.datetime64("1970-01-01", "us") + minutes * np.timedelta64(1, "m")
    place = ZoneInfo(zone or "UTC")
    local = [when.replace(tzinfo=UTC).astimezone(place) for when in time.tolist()]
    found = columns(Calendar(list(DATE_PARTS)), at(time, zone))
    for name in CYCLIC:
        positions = [number_and_period(name, when) for when in local]
        angles = [2 * pi * number / period for number, period in positions]
        np.testing.assert_allclose(found[f"{name} (sin)"], [sin(angle) for angle in angles], atol=2e-6)
        np.testing.assert_allclose(found[f"{name} (cos)"], [cos(angle) for angle in angles], atol=2e-6)
    assert found["year"].tolist() == [when.year for when in local]
    assert found["weekend"].tolist() == [when.weekday() >= 5 for when in local]
    assert len(found) == 2 * len(CYCLIC) + 2


@pytest.mark.parametrize("name", CYCLIC)
def test_categories_have_the_codes_and_names_of_datetime(name):
    time = hours("2019-12-28T00:07", 500, np.timedelta64(1777, "m"))
    (column,) = Calendar([f"{name}:category"])(at(time), horizon=1)
    numbers = [number_and_period(name, when)[0] for when in time.tolist()]
    assert column.name == name and column.values.tolist() == [number + 1 for number in numbers]
    named = [column.categories[int(value) - 1] for value in column.values]
    spelt = {"weekday": "%A", "month": "%B"}.get(name)
    if spelt is not None:
        assert named == [when.strftime(spelt) for when in time.tolist()]
    else:
        first = 0 if name in ("minute", "hour") else 1
        assert [int(value) for value in named] == [number + first for number in numbers]


def test_days_of_23_and_25_hours_have_local_hours():
    spring = at(hours("2020-03-28T23:00", 23), "Europe/Berlin")  # the 29th in Berlin
    autumn = at(hours("2020-10-24T22:00", 25), "Europe/Berlin")  # the 25th
    asked = Calendar(["hour:category"])
    assert (columns(asked, spring)["hour"] - 1).tolist() == [0, 1, *range(3, 24)]
    assert (columns(asked, autumn)["hour"] - 1).tolist() == [0, 1, 2, 2, *range(3, 24)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["wekday"], "'wekday', which is unknown; nearest: weekday"),
        (["hour:categories"], "'hour:categories', which is unknown; nearest: "),
        (["year:category"], "year is a number, not a category: write year"),
        (["hour", "month", "hour"], "'hour' twice"),
    ],
)
def test_invalid_names_are_refused_before_reading(given, message):
    with pytest.raises(InputError, match=message):
        SeriesData(at(None), past_steps=5, horizon=2, calendar=given)


@pytest.mark.parametrize(
    ("series", "asked", "message"),
    [
        (at(None), "hour", r"data\.calendar needs dates, but a\.csv has no time column \(set data\.time\)\."),
        (at(np.arange(60)), "hour", r"data\.calendar needs dates, but a\.csv counts time in whole numbers\."),
        (
            at(hours("2020-01-01", 60, DAY), frequency="day"),
            "hour",
            r"hour is 0 in every row of a\.csv, whose step is one day, and carries no information; leave it out\.",
        ),
        (at(hours("2020-01-06", 60, 7 * DAY)), "weekday:category", r"is 1 in every row of a\.csv and carries no"),
        (at(hours("2020-01-01", 60)), "year", r"year is 2020 in every row"),
    ],
)
def test_constant_date_parts_and_series_without_dates_are_refused(series, asked, message):
    with pytest.raises(InputError, match=message):
        SeriesData(series, past_steps=5, horizon=2, calendar=[asked]).setup()


def test_public_holidays_of_germany():
    found = columns(Holidays(["DE", "DE-BY", "2020-02-29"]), at(hours("2020-01-01", 366, DAY)))
    days = {name: [str(day)[5:] for day in hours("2020-01-01", 366, DAY)[values > 0].astype("M8[D]")]
            for name, values in found.items()}  # fmt: skip
    everywhere = ["01-01", "04-10", "04-13", "05-01", "05-21", "06-01", "10-03", "12-25", "12-26"]
    assert days["holiday DE"] == everywhere
    assert set(days["holiday DE-BY"]) - set(everywhere) == {"01-06", "06-11", "11-01"}  # catholic ones
    assert days["holiday"] == ["02-29"]
    assert all(set(values) == {0, 1} for values in found.values())


def test_a_holiday_lasts_from_midnight_to_midnight_local_time():
    found = columns(Holidays("DE"), at(hours("2020-09-30T00:00", 24 * 6), "Europe/Berlin"))["holiday DE"]
    assert np.flatnonzero(found).tolist() == list(range(70, 94))  # from 2 October, 22:00 UTC


def test_a_new_year_observed_in_december_counts():
    found = columns(Holidays("US"), at(hours("2010-12-27", 5, DAY)))["holiday US"]
    assert found.tolist() == [0, 0, 0, 0, 1]  # New Year 2011 was a Saturday


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("GR-99", "not a region of GR in the package holidays"),
        ("USS", "not a country in the package holidays; nearest: US"),
        (["DE-BX"], "not a region of DE in the package holidays; nearest: DE-"),
        (["2020-02-30"], "'2020-02-30', which is not a calendar date"),
        (["US", "US"], "'US' twice"),
    ],
)
def test_unknown_countries_and_dates_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        SeriesData(at(None), past_steps=5, horizon=2, holidays=given)


def test_holidays_need_steps_of_a_day_and_rows_on_a_holiday():
    with pytest.raises(InputError, match=r"steps of a day or less, but the frequency of a\.csv is 'week'"):
        columns(Holidays("US"), at(hours("2020-01-01", 60, 7 * DAY), frequency="week"))
    with pytest.raises(InputError, match=r"no row of a\.csv falls on a day of 'holiday US'"):
        columns(Holidays("US"), at(hours("2020-03-01", 50)))
    with pytest.raises(InputError, match="needs dates"):
        columns(Holidays("US"), at(None))


def test_calendar_equals_the_columns_of_the_bike_sharing_data():
    table = pl.read_csv(real("bike_sharing/hour.csv"), try_parse_dates=True)
    time = (table["dteday"].cast(pl.Datetime("us")) + table["hr"] * timedelta(hours=1)).to_numpy()
    found = columns(Calendar(["hour:category", "weekday:category", "month:category", "year", "weekend"]), at(time))
    assert (found["hour"] - 1).tolist() == table["hr"].to_list()
    assert (found["weekday"] % 7).tolist() == table["weekday"].to_list()  # 0 is Sunday there
    assert found["month"].tolist() == table["mnth"].to_list()
    assert (found["year"] - 2011).tolist() == table["yr"].to_list()
    # All 21 holidays in two years agree, except that the package also has those that fall on a weekend.
    holiday = columns(Holidays("US-DC"), at(time))["holiday US-DC"]
    assert (holiday * (1 - found["weekend"])).tolist() == table["holiday"].to_list()


def test_calendar_agrees_with_the_day_types_of_the_ridership_data():
    table = pl.read_csv(real("ridership/ridership.csv")).unique().sort(pl.col("service_date").str.to_date("%m/%d/%Y"))
    time = table["service_date"].str.to_datetime("%m/%d/%Y", time_unit="us").to_numpy()
    weekday = columns(Calendar(["weekday:category"]), at(time))["weekday"]
    kind = table["day_type"].to_numpy()
    assert (weekday[kind == "W"] <= 5).all()
    assert (weekday[kind == "A"] == 6).all()
    assert (kind[weekday == 7] == "U").all()
    free = columns(Holidays("US-IL"), at(time))["holiday US-IL"]
    assert free[(kind == "U") & (weekday < 7)].all()  # Sunday service on another day means a holiday
