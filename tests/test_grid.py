"""Spacings of time stamps get the name, the season and the absent stamps that the calendar gives them."""

import numpy as np
import pytest

from datamodules.grid import BusinessGrid, find_grid, listed, plural

ONE = np.zeros(1, np.int64)


def stamps(*labels: str) -> np.ndarray:
    return np.array(labels, "datetime64[us]")


def steps_of(first: str, number: int, step: int, unit: str) -> np.ndarray:
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
def test_fixed_steps(step: int, unit: str, name: str, season: int) -> None:
    grid = find_grid(steps_of("2020-01-05T03:00", 9, step, unit), ONE)
    assert grid is not None and (grid.name, grid.season) == (name, season)


@pytest.mark.parametrize(
    ("months", "name", "season"),
    [(1, "month", 12), (2, "2 months", 6), (3, "quarter", 4), (6, "6 months", 2), (12, "year", 1), (24, "2 years", 1)],
)
@pytest.mark.parametrize("day", [0, 14, "last"])
def test_calendar_steps(months: int, name: str, season: int, day: int | str) -> None:
    first = np.datetime64("2019-01", "M") + np.arange(0, 9 * months, months)
    days = (first + 1).astype("datetime64[D]") - 1 if day == "last" else first.astype("datetime64[D]") + day
    time = days.astype("datetime64[us]") + np.timedelta64(6, "h")
    grid = find_grid(time, ONE)
    assert grid is not None and (grid.name, grid.season) == (name, season)
    assert grid.count(time[:-1], time[1:]).tolist() == [1] * 8
    assert (grid.advance(time[:1].repeat(9), np.arange(9)) == time).all()


def test_two_months_of_31_days_are_months() -> None:
    grid = find_grid(stamps("2020-07-01", "2020-08-01", "2020-09-01"), ONE)
    assert grid is not None and grid.name == "month"


def test_absent_weekends_are_business_days() -> None:
    days = steps_of("2020-01-01", 40, 1, "D")
    working = days[np.is_busday(days.astype("datetime64[D]"))]
    kept = np.delete(working, 10)
    grid = find_grid(kept, ONE)
    assert grid == BusinessGrid() and grid.season == 5
    assert np.flatnonzero(grid.count(kept[:-1], kept[1:]) == 2).tolist() == [9]
    assert grid.advance(kept[9:10], np.ones(1, np.int64)) == working[10]
    every = find_grid(np.delete(days, 10), ONE)
    assert every is not None and every.name == "day"
    within_a_week = find_grid(stamps("2020-01-06", "2020-01-07", "2020-01-08"), ONE)
    assert within_a_week is not None and within_a_week.name == "day"


def test_jumps_between_series_are_no_steps() -> None:
    time = np.concatenate([np.arange(0, 12, 4), np.arange(1000, 1012, 4)])
    grid = find_grid(time, np.array([0, 3]))
    assert grid is not None and grid.name == "" and grid.season == 1
    assert grid.count(time[:2], time[1:3]).tolist() == [1, 1]
    assert grid.count(np.array([0, 0]), np.array([8, 6])).tolist() == [2, 0]
    assert find_grid(np.array([1, 5]), np.array([0, 1])) is None


def test_words() -> None:
    assert plural("day", 2) == "2 absent days" and plural("month", 1) == "1 absent month"
    assert plural("15 minutes", 1200) == "1,200 absent steps of 15 minutes" and plural("", 1) == "1 absent step"
    assert listed([1, 2, 3], most=2) == "1, 2 and 1 more" and listed([1, 2], most=2) == "1, 2"
