"""Inferred frequencies have the right name, season and steps."""

import numpy as np
import pytest

from datamodules import arrays
from datamodules.frequency import BusinessDays, FixedFrequency, infer_frequency
from datamodules.timezones import local_to_utc

ONE = np.zeros(1, np.int64)


def timestamps(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


def make_range(first: str, number: int, step: int, unit: str) -> np.ndarray:
    return np.datetime64(first, "us") + np.arange(number) * np.timedelta64(step, unit)


@pytest.mark.parametrize(
    ("step", "unit", "name", "season"),
    [
        (1, "s", "second", 86400), (10, "s", "10 seconds", 8640), (1, "m", "minute", 1440), (15, "m", "15 minutes", 96),
        (1, "h", "hour", 24), (2, "h", "2 hours", 12), (5, "h", "5 hours", 1), (1, "D", "day", 7),
        (2, "D", "2 days", 1), (1, "W", "week", 52), (4, "W", "4 weeks", 1),
        (5, "ms", "5 milliseconds", 1), (45, "D", "45 days", 1),
    ],
)  # fmt: skip
def test_fixed_frequencies(step: int, unit: str, name: str, season: int) -> None:
    frequency = infer_frequency(make_range("2020-01-05T03:00", 9, step, unit), ONE)
    assert frequency is not None and (frequency.name, frequency.season) == (name, season)


@pytest.mark.parametrize(
    ("months", "name", "season"),
    [(1, "month", 12), (2, "2 months", 6), (3, "quarter", 4), (6, "6 months", 2), (12, "year", 1), (24, "2 years", 1)],
)
@pytest.mark.parametrize("day", [0, 14, "last"])
def test_months_quarters_and_years(months: int, name: str, season: int, day: int | str) -> None:
    first = np.datetime64("2019-01", "M") + np.arange(0, 9 * months, months)
    days = (first + 1).astype("datetime64[D]") - 1 if day == "last" else first.astype("datetime64[D]") + day
    time = days.astype("datetime64[us]") + np.timedelta64(6, "h")
    frequency = infer_frequency(time, ONE)
    assert frequency is not None and (frequency.name, frequency.season) == (name, season)
    assert frequency.steps_between(time[:-1], time[1:]).tolist() == [1] * 8
    assert (frequency.advance(time[:1].repeat(9), np.arange(9)) == time).all()


def test_two_months_of_31_days_are_months() -> None:
    frequency = infer_frequency(timestamps("2020-07-01", "2020-08-01", "2020-09-01"), ONE)
    assert frequency is not None and frequency.name == "month"


def test_days_without_weekends_are_business_days() -> None:
    days = make_range("2020-01-01", 40, 1, "D")
    working = days[np.is_busday(days.astype("datetime64[D]"))]
    kept = np.delete(working, 10)
    frequency = infer_frequency(kept, ONE)
    assert frequency == BusinessDays() and frequency.season == 5
    assert np.flatnonzero(frequency.steps_between(kept[:-1], kept[1:]) == 2).tolist() == [9]
    assert frequency.advance(kept[9:10], np.ones(1, np.int64)) == working[10]
    daily = infer_frequency(np.delete(days, 10), ONE)
    assert daily is not None and daily.name == "day"
    within_a_week = infer_frequency(timestamps("2020-01-06", "2020-01-07", "2020-01-08"), ONE)
    assert within_a_week is not None and within_a_week.name == "day"


def test_differences_between_series_do_not_count() -> None:
    time = np.concatenate([np.arange(0, 12, 4), np.arange(1000, 1012, 4)])
    frequency = infer_frequency(time, np.array([0, 3]))
    assert frequency is not None and frequency.name == "" and frequency.season == 1
    assert frequency.steps_between(time[:2], time[1:3]).tolist() == [1, 1]
    assert frequency.steps_between(np.array([0, 0]), np.array([8, 6])).tolist() == [2, 0]
    assert infer_frequency(np.array([1, 5]), np.array([0, 1])) is None


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    ("step", "name", "season"), [("D", "day", 7), ("W", "week", 52), ("M", "month", 12), ("B", "business day", 5)]
)
def test_local_days_have_23_to_25_hours(zone: str, step: str, name: str, season: int) -> None:
    """Six in the morning local time, across both clock changes."""
    days = np.arange("2020-01", "2021-04", dtype=f"datetime64[{'D' if step == 'B' else step}]").astype("datetime64[D]")
    days = days[np.is_busday(days)] if step == "B" else days
    time = local_to_utc(days.astype("datetime64[us]") + np.timedelta64(6, "h"), zone)
    assert len(np.unique(np.diff(time))) > 1
    frequency = infer_frequency(time, ONE, zone)
    assert frequency is not None and (frequency.name, frequency.season) == (name, season)
    assert (frequency.steps_between(time[:-1], time[1:]) == 1).all() and (
        frequency.steps_between(time[:-2], time[2:]) == 2
    ).all()
    assert (frequency.advance(time[:1].repeat(len(time)), np.arange(len(time))) == time).all()
    hours = infer_frequency(make_range("2020-03-20", 999, 1, "h"), ONE, zone)
    assert hours == FixedFrequency(3_600_000_000)


def test_a_skipped_local_time_becomes_the_next_hour() -> None:
    frequency = infer_frequency(
        local_to_utc(timestamps("2020-03-27T02:30", "2020-03-28T02:30"), "Europe/Berlin"), ONE, "Europe/Berlin"
    )
    assert frequency is not None
    found = frequency.advance(timestamps("2020-03-28T01:30").repeat(2), np.array([1, 2]))
    assert found.astype("datetime64[m]").astype(str).tolist() == ["2020-03-29T01:30", "2020-03-30T00:30"]


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_the_most_common_step_with_chunks_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK", size)
    gaps = np.random.default_rng(0).choice([2, 3, 4, 9], 200, p=[0.3, 0.4, 0.2, 0.1])
    time = np.concatenate([[0], np.cumsum(gaps)])
    frequency = infer_frequency(time, np.array([0, 60, 61, 130]))
    kept = np.delete(gaps, [59, 60, 129])
    values, counts = np.unique(kept, return_counts=True)
    assert frequency is not None and frequency.steps_between(
        np.zeros(1), np.array([values[counts.argmax()]])
    ).tolist() == [1]


def test_very_many_distinct_differences_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.frequency.MOST_DIFFERENCES", 10)
    monkeypatch.setattr(arrays, "CHUNK", 50)
    time = np.cumsum(np.where(np.arange(1000) % 3 == 0, np.arange(1000) + 100, 5))
    frequency = infer_frequency(time, ONE)
    assert frequency is not None and frequency.steps_between(np.zeros(1), np.array([5])).tolist() == [1]
