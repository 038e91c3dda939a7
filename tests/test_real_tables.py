"""Public data sets are read as published, with their known properties; tests of absent ones are skipped."""

import time

import numpy as np
import polars as pl
import pytest
from tables import real_table, times

from datamodules.series import SeriesSet
from datamodules.tables.reader import read_table


def span(series: SeriesSet) -> tuple[str, str]:
    assert series.time is not None
    first, last = series.time[[0, -1]].astype("datetime64[h]").astype(str)
    return str(first), str(last)


def test_m4_hourly_continues_in_the_test_file() -> None:
    """414 series of 700 to 960 steps, and 48 more in the second file, which are the test of the competition."""
    train, test = real_table("m4_hourly/Hourly-train.csv"), real_table("m4_hourly/Hourly-test.csv")
    short = read_table(train, target="*", series_id="V1")
    assert len(short) == 414 and short.names[:2] == ("H1", "H2") and short.names[-1] == "H414"
    assert (short.lengths.min(), short.lengths.max(), short.missing, short.time) == (700, 960, 0, None)
    assert short.notes == (
        "Hourly-train.csv: taken as rows: one row per series, its steps side by side (data.layout).",
        "Hourly-train.csv: 960 steps, 'V2' ... 'V961'.",
    )
    whole = read_table([train, test], target="*", series_id="V1")
    assert whole.names == short.names and (whole.lengths - short.lengths == 48).all() and whole.missing == 0
    assert whole.values[700:748, 0].tolist()[:3] == [619, 565, 532], "H1 of the test file follows its 700 steps"
    published = pl.read_csv(test, infer_schema_length=None).drop("V1").to_numpy()
    assert pl.read_csv(test, columns=["V1"])["V1"].to_list() == list(whole.names)
    ends = np.stack([whole.values[end - 48 : end, 0] for end in whole.offsets[1:]])
    assert (ends == published).all()
    # sMAPE 13.912 of the seasonal naive forecast is published with the competition's results.
    naive = np.stack([np.tile(short.values[end - 24 : end, 0], 2) for end in short.offsets[1:]]).astype(float)
    errors = 200 * np.abs(naive - published) / (np.abs(naive) + np.abs(published))
    assert errors.mean() == pytest.approx(13.912, abs=5e-4)


def test_bike_sharing_has_date_and_hour_in_two_columns() -> None:
    series = read_table(
        real_table("bike_sharing/hour.csv"),
        target="cnt",
        time=["dteday", "hr"],
        past_covariates=["temp", "hum"],
        known_covariates=["holiday", "weathersit"],
    )
    assert span(series) == ("2011-01-01T00", "2012-12-31T23") and (series.frequency, series.season) == ("hour", 24)
    assert (
        len(series.values) == 17_379 + 165 and series.missing == 165 and series.values[:3, 0].tolist() == [16, 40, 32]
    )
    assert series.past_covariate_names == ("temp", "hum") and series.categories == {}
    assert [note.partition(": ")[2][:26] for note in series.notes] == [
        "taken as long: one row per", "165 absent hours made expl"
    ]  # fmt: skip


def test_air_quality_has_the_time_in_four_columns() -> None:
    series = read_table(
        real_table("air_quality/beijing_pm25.csv"),
        target="pm2.5",
        time=["year", "month", "day", "hour"],
        past_covariates=["cbwd", "TEMP"],
    )
    assert span(series) == ("2010-01-01T00", "2014-12-31T23") and len(series.values) == 43_824
    assert series.missing == 2067 and series.observed is not None and not series.observed[:24].any()
    assert series.categories == {"cbwd": ("NE", "NW", "SE", "cv")} and series.past_covariates is not None
    assert series.past_covariates[0].tolist() == [2, -11]
    assert series.notes[1:] == ("beijing_pm25.csv: 2,067 missing values in column 'pm2.5' (first: line 2).",)


def test_stallion_has_two_ids_statics_and_categories() -> None:
    path = real_table("panel/stallion.parquet")
    statics = ["avg_population_2017", "avg_yearly_household_income_2017", "agency"]
    settings = {"target": "volume", "time": "date", "past_covariates": ["industry_volume", "avg_max_temp"]}
    frame = pl.read_parquet(path).with_columns(agency_name="agency")
    series = read_table(
        frame.with_columns(agency_name=pl.col("agency")),
        series_id=["agency_name", "sku"],
        statics=statics,
        known_covariates=["easter_day", "price_regular"],
        **settings,
    )
    assert len(series) == 350 and series.names[0] == "Agency_22/SKU_01" and set(series.lengths) == {60}
    assert span(series) == ("2013-01-01T00", "2017-12-01T00") and (series.frequency, series.season) == ("month", 12)
    assert series.static is not None and series.static.shape == (350, 3) and series.missing == 0
    assert series.static[0, :2].tolist() == [48151, 132110] and len(series.categories["agency"]) == 58
    assert series.static[:, 2].min() == 1 and series.static[:, 2].max() == 58
    assert series.values[0, 0] == 52.272 and not np.isnan(series.past_covariates).any()
    again = read_table(path, series_id=["agency", "sku"], **settings)
    assert again.names == series.names and (again.values == series.values).all()


def test_etth1_as_seven_series_or_seven_channels() -> None:
    path = real_table("etth1/ETTh1.csv")
    wide = read_table(path, target="*", time="date")
    assert wide.names == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT") and set(wide.lengths) == {17_420}
    assert wide.channels == ("value",) and (wide.frequency, wide.season) == ("hour", 24)
    assert wide.notes == ("ETTh1.csv: taken as wide: one column per series (data.layout).",)
    long = read_table(path, target=list(wide.names), time="date")
    assert len(long) == 1 and (long.values.T.reshape(-1, 1) == wide.values).all()
    assert long.notes == ("ETTh1.csv: taken as long: one row per step (data.layout).",)


def test_ridership_has_types_of_days() -> None:
    path = real_table("ridership/ridership.csv")
    series = read_table(path, target=["bus", "rail_boardings"], time="service_date", known_covariates=["day_type"])
    assert series.values.shape == (7639, 2) and series.categories == {"day_type": ("A", "U", "W")}
    assert series.known_covariates is not None and series.time is not None
    weekday = (series.time.astype("datetime64[D]").astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    kinds = series.known_covariates[:, 0]
    assert (kinds[weekday == 6] == 2).all(), "U: Sundays and holidays"
    assert set(kinds[weekday == 5]) <= {1, 2} and set(kinds[weekday < 5]) <= {2, 3}
    frame = read_table(pl.read_csv(path), target="bus", time="service_date", layout="long")
    assert (frame.values[:, 0] == series.values[:, 0]).all()


def test_gaps_in_ammonium() -> None:
    holes = read_table(real_table("imputation/tsNH4.csv.gz"), target="value", time="t")
    complete = read_table(real_table("imputation/tsNH4Complete.csv.gz"), target="value", time="t")
    assert len(holes.values) == len(complete.values) == 4552 and complete.missing == 0 and holes.missing == 883
    assert holes.observed is not None and (holes.values == complete.values)[holes.observed].all()


def test_ridership_is_sorted_without_duplicates() -> None:
    path = real_table("ridership/ridership.csv")
    series = read_table(path, target=["bus", "rail_boardings"], time="service_date", known_covariates=["day_type"])
    assert series.values.shape == (7639, 2) and series.values[0].tolist() == [297192, 126455]
    assert series.known_covariate_names == ("day_type",) and series.categories == {"day_type": ("A", "U", "W")}
    assert (times(series)[0], times(series)[-1]) == ("2001-01-01T00:00", "2021-11-30T00:00")
    assert series.notes == (
        "ridership.csv: taken as long: one row per step (data.layout).",
        "ridership.csv: time format detected: %m/%d/%Y.",
        "ridership.csv: 642 rows were earlier than the row before: sorted by time.",
        "ridership.csv: 62 exact duplicate rows dropped (first: line 3959, 2011-10-01).",
    )


def test_ridership_is_read_in_a_fraction_of_a_second() -> None:
    path, seconds = real_table("ridership/ridership.csv"), []
    for _ in range(3):  # a busy machine may be slow once
        start = time.perf_counter()
        read_table(path, target="bus", time="service_date")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def test_sunspots_are_monthly() -> None:
    path = real_table("sunspots/sunspots.csv")
    series = read_table(path, target="Monthly Mean Total Sunspot Number", time="Date", layout="long")
    assert series.values.shape == (3235, 1) and (series.frequency, series.season) == ("month", 12)
    assert [note for note in series.notes if "without a name: called 'column_1'" not in note] == []
    assert series.values[0, 0] == pytest.approx(96.7)


def test_temperatures_have_two_absent_days() -> None:
    series = read_table(real_table("temperatures/daily-min-temperatures.csv"), target="Temp", time="Date")
    assert len(series.values) == 3652 and series.missing == 2
    absent = "2 absent days made explicit as missing: 1984-12-31, 1988-12-31."
    assert series.notes[1:] == (f"daily-min-temperatures.csv: {absent}",)


def test_etth1_is_hourly() -> None:
    series = read_table(real_table("etth1/ETTh1.csv"), target="OT", time="date", past_covariates=["HUFL"])
    assert series.values.shape == (17420, 1) and (series.frequency, series.season) == ("hour", 24)


def test_stallion_is_a_panel() -> None:
    path = real_table("panel/stallion.parquet")
    series = read_table(path, target="volume", time="date", series_id="timeseries", past_covariates=["easter_day"])
    assert len(series) == 350 and set(series.lengths) == {60} and series.frequency == "month"
