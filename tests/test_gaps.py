"""Absent time steps become rows, with chunks of any size; irregular timestamps are located."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import FILE, make_rows

from datamodules import arrays
from datamodules.frequency import FixedFrequency, Frequency
from datamodules.tables.gaps import count_absent, fill_gaps, preview
from datamodules.tables.rows import Rows, sort_rows
from seqmodels.errors import InputError


def sort_and_fill(rows: Rows) -> tuple[Rows, Frequency, list[str]]:
    sort_rows(FILE, rows)
    frequency, notes = fill_gaps(FILE, rows)
    assert frequency is not None
    return rows, frequency, notes


def error_of(rows: Rows) -> str:
    with pytest.raises(InputError) as caught:
        sort_and_fill(rows)
    return str(caught.value)


@settings(max_examples=150, deadline=None)
@given(
    series=st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(1, 4), max_size=12), min_size=1),
    size=st.sampled_from([1, 2, 5, 1 << 20]),
    unit=st.sampled_from(["h", "D", None]),
)
def test_every_time_step_gets_a_row(series: dict[str, list[int]], size: int, unit: str | None) -> None:
    """A series without gaps makes one step the most common difference."""
    steps = {name: [1, *gaps] for name, gaps in series.items()} | {"all": [1] * 40}
    numbers = {name: np.cumsum([5, *gaps]) for name, gaps in steps.items()}
    names = [name for name in numbers for _ in numbers[name]]
    time = np.concatenate(list(numbers.values()))
    labels = time if unit is None else np.datetime64("2020-03-01", "us") + time * np.timedelta64(1, unit)
    values = np.arange(len(time)) + 1.0
    patch = pytest.MonkeyPatch()
    patch.setattr(arrays, "CHUNK", size)
    rows = make_rows(values, labels, names, known=values[:, None].astype(np.float32))
    result, frequency, notes = sort_and_fill(rows)
    patch.undo()
    expected: list[tuple[str, int, float, float]] = []  # series, time, value, covariate
    for name, present in numbers.items():
        last = 0.0
        for step in range(present[0], present[-1] + 1):
            at = names.index(name) + int(np.searchsorted(present, step))
            new = time[at] != step
            last = last if new else values[at]
            expected.append((name, step, 0.0 if new else last, last))
    assert result.time is not None and result.offsets is not None
    found = (
        result.time if unit is None else (result.time - np.datetime64("2020-03-01", "us")) // np.timedelta64(1, unit)
    )
    owners = np.repeat(result.names, np.diff(result.offsets))
    assert list(zip(owners, found.astype(int), result.values[:, 0], result.known[:, 0], strict=True)) == expected
    absent = sum(value == 0 for _, _, value, _ in expected)
    seen = np.ones(len(expected), bool) if result.observed is None else result.observed[:, 0]
    assert seen.tolist() == [value > 0 for _, _, value, _ in expected]
    assert frequency.name == {"h": "hour", "D": "day", None: ""}[unit] and len(notes) == (absent > 0)
    assert absent == 0 or f": {absent} absent " in notes[0]


def test_a_note_names_only_the_first_absent_steps() -> None:
    _, _, notes = sort_and_fill(make_rows([1, 2, 3, 4, 5, 6], np.array([0, 1, 2, 5, 6, 12])))
    assert notes == ["data.csv: 7 absent steps made explicit as missing: 3, 4, 7, 8, 9 and 2 more."]


def hours(*numbers: float) -> np.ndarray:
    return np.datetime64("2020-01-01", "us") + (np.array(numbers) * 3600e6).astype("timedelta64[us]")


@settings(max_examples=100, deadline=None)
@given(
    step=st.sampled_from([1, 5, 60, 90, 420, 1200, 3600, 86400]),
    present=st.lists(st.integers(1, 9), max_size=20).map(lambda gaps: np.cumsum([*gaps, *[1] * 25])),
    seed=st.integers(0, 99),
)
def test_times_a_little_off_are_rounded(step: int, present: np.ndarray, seed: int) -> None:
    """Up to 4 % of the step early or late, two series."""
    random = np.random.default_rng(seed)
    exact = np.datetime64("2020-01-01T12:00", "us") + present * np.timedelta64(step, "s")
    off = (random.uniform(-0.04, 0.04, 2 * len(present)) * step * 1e6).astype("timedelta64[us]")
    names = ["a"] * len(present) + ["b"] * len(present)
    rows, frequency, notes = sort_and_fill(make_rows(np.ones(len(names)), np.tile(exact, 2) + off, names))
    whole = exact[0] + np.arange(present[-1] - present[0] + 1) * np.timedelta64(step, "s")
    assert rows.time is not None and rows.time.tolist() == [*whole.tolist(), *whole.tolist()]
    assert isinstance(frequency, FixedFrequency) and frequency.step == step * 10**6
    assert f"about every {frequency.name}, up to" in notes[0]


def test_dates_are_never_rounded() -> None:
    message = error_of(make_rows(range(7), hours(*(24 * day for day in (0, 14, 28, 43, 56, 70, 84)))))
    assert "2020-02-13" in message and "correct the times" in message


def test_irregular_timestamps_are_counted_and_located() -> None:
    message = error_of(make_rows(range(12), hours(0, 1, 2.5, 3, 4, 5, 6.25, 7, 8, 9, 10, 11)))
    assert message == (
        "data.csv, line 4: time 2020-01-01 02:30 is not a whole number of steps (hour, the most common one) after"
        " 2020-01-01 01:00: rows must be regularly spaced in time; 4 rows are not (also line 5, line 8, line 9);"
        " correct the times, or set data.time=none to take the rows in file order as the steps."
    )
    many = error_of(make_rows(range(60), hours(*range(40), *(np.arange(40, 60) + np.linspace(0.1, 0.9, 20)))))
    assert (
        "line 42" in many and "; 20 rows are not (also line 43, line 44, line 45, line 46, line 47 and 14 more)" in many
    )
    only = error_of(make_rows(range(4), np.array([0, 5, 10, 12])))
    assert "12 is not a whole number of steps (step 5, " in only and "spaced in time; correct the times" in only


@pytest.mark.parametrize("first", ["fine", "coarse"])
def test_series_of_different_frequencies_raise(first: str) -> None:
    """Independent of which is more common, and with single absent steps."""
    hourly, daily = list(range(40)), [24 * day for day in (0, 1, 2, 4, 5, 6, 7)]
    steps, names = (hourly + daily, ["a"] * 40 + ["b"] * 7) if first == "fine" else (
        daily * 9 + hourly[:7], [name for name in "abcdefghi" for _ in daily] + ["z"] * 7)  # fmt: skip
    message = error_of(make_rows(range(len(steps)), hours(*steps), names))
    assert message.startswith(
        "data.csv, line 42: series 'b' has a row every day, but series 'a' and most others every hour: all series need"
        if first == "fine"
        else "data.csv, line 65: series 'z' has a row every hour, but series 'a' and most others every day: all"
    )


def test_monthly_and_daily_series_raise() -> None:
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    months = np.arange("2020-01", "2021-01", dtype="datetime64[M]").astype("datetime64[D]")
    time = np.concatenate([days, months]).astype("datetime64[us]")
    message = error_of(make_rows(range(len(time)), time, ["a"] * len(days) + ["b"] * len(months)))
    assert "series 'b' has a row every month, but series 'a' and most others every day" in message


def test_series_with_many_gaps_have_the_frequency_of_the_others() -> None:
    """Sales on some days only, at times every other day, are not of another frequency."""
    sparse = {"b": [0, 2, 5, 7, 12, 15, 19], "c": [1, 3, 5, 7, 9, 11], "d": [0, 3, 5, 9, 11, 14], "e": [3, 9]}
    time = np.concatenate([np.arange(20), *sparse.values()])
    names = ["a"] * 20 + [name for name, steps in sparse.items() for _ in steps]
    result, frequency, notes = sort_and_fill(make_rows(range(len(time)), hours(*24.0 * time), names))
    assert frequency.name == "day" and result.offsets is not None
    assert np.diff(result.offsets).tolist() == [20, 20, 11, 15, 7]
    assert notes[0].startswith("data.csv: 32 absent days")


def test_too_many_absent_steps_raise() -> None:
    message = error_of(make_rows(range(5), hours(0, 1, 2, 3, 24 * 365)))
    assert "line 6: time 2020-12-31 00:00" in message or "line 6: time 2020-12-31" in message
    assert "8,757 steps after 2020-01-01 03:00" in message and "check the times" in message


def test_wording_of_counts_and_lists() -> None:
    assert count_absent("day", 2) == "2 absent days" and count_absent("month", 1) == "1 absent month"
    assert (
        count_absent("15 minutes", 1200) == "1,200 absent steps of 15 minutes"
        and count_absent("", 1) == "1 absent step"
    )
    assert preview([1, 2, 3], most=2) == "1, 2 and 1 more" and preview([1, 2], most=2) == "1, 2"
    assert preview([1, 2], count=4) == "1, 2 and 2 more" and preview([1, 2, 3], most=2, count=9) == "1, 2 and 7 more"
