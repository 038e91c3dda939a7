"""Splits by fraction, count, date and series, as row spans."""

import dataclasses
import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from data import build_data, integers, real
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.split import split_spans
from datamodules.table import Table
from seqmodels.errors import InputError


def dated(*starts: str, days: int = 10):
    """One daily series of ``days`` steps from each of these dates."""
    time = np.concatenate([np.datetime64(start, "us") + np.arange(days) * np.timedelta64(1, "D") for start in starts])
    return dataclasses.replace(integers(*[days] * len(starts)), time=time)


def ranges(spans):
    return {stage: list(zip(span.start.tolist(), span.stop.tolist(), strict=True)) for stage, span in spans.items()}


def test_fractions_cut_each_series_by_its_own_length():
    spans = ranges(split_spans(integers(10, 20), [0.7, 0.2, 0.1], "time"))
    assert spans == {"train": [(0, 7), (10, 24)], "validation": [(7, 9), (24, 28)], "test": [(9, 10), (28, 30)]}


def test_counts_and_two_parts():
    spans = ranges(split_spans(integers(10), [6, 4], "time"))
    assert spans == {"train": [(0, 6)], "validation": [(6, 10)], "test": [(10, 10)]}


def test_two_dates_cut_series_that_start_on_different_days():
    series = dated("2020-01-01", "2020-01-04")
    spans = ranges(split_spans(series, ["2020-01-06", "2020-01-08"], "time"))
    assert spans == {"train": [(0, 5), (10, 12)], "validation": [(5, 7), (12, 14)], "test": [(7, 10), (14, 20)]}


def test_four_dates_leave_out_what_lies_before_and_after():
    dates = ["2020-01-02", "2020-01-05", "2020-01-07", "2020-01-09"]
    spans = ranges(split_spans(dated("2020-01-01"), dates, "time"))
    assert spans == {"train": [(1, 4)], "validation": [(4, 6)], "test": [(6, 8)]}


def test_series_go_to_one_part_each():
    spans = ranges(split_spans(integers(5, 5, 5), [1, 1, 1], "series"))
    assert spans["validation"] == [(0, 0), (5, 10), (10, 10)]


def test_counts_from_the_end_and_series_too_short_for_them():
    spans = ranges(split_spans(integers(20, 6, 3), [-8, -4], "time"))
    assert spans == {
        "train": [(0, 12), (20, 20), (26, 26)],
        "validation": [(12, 16), (20, 22), (26, 26)],
        "test": [(16, 20), (22, 26), (26, 29)],
    }
    assert ranges(split_spans(integers(20), [-8], "time"))["validation"] == [(12, 20)]
    assert ranges(split_spans(integers(5, 5, 5), [-2, -1], "series"))["train"] == [(0, 5), (5, 5), (10, 10)]


@given(
    gaps=st.lists(st.lists(st.integers(1, 9), min_size=0, max_size=30), min_size=1, max_size=5),
    labels=st.lists(st.integers(-5, 150), min_size=2, max_size=2, unique=True).map(sorted),
)
@settings(max_examples=100, deadline=None)
def test_times_cut_every_series_where_its_own_times_say(gaps, labels):
    """Integer times with gaps of any size: each row belongs to the part that its time lies in."""
    time = np.concatenate([np.cumsum(steps) for steps in gaps]).astype(np.int64)
    series = dataclasses.replace(integers(*map(len, gaps)), time=time)
    spans = split_spans(series, [str(label) for label in labels], "time")
    for stage, part in zip(spans, (time < labels[0], (time >= labels[0]) & (time < labels[1]), time >= labels[1]),
                           strict=True):  # fmt: skip
        rows = [np.arange(*span) for span in zip(spans[stage].start, spans[stage].stop, strict=True)]
        assert np.array_equal(np.concatenate(rows), np.flatnonzero(part))


def test_dates_are_those_of_the_clock_in_the_time_zone_of_the_series():
    utc = np.datetime64("2020-03-27T00", "us") + np.arange(96) * np.timedelta64(1, "h")
    berlin = dataclasses.replace(integers(96), time=utc, zone="Europe/Berlin")
    spans = split_spans(berlin, ["2020-03-28", "2020-03-30T12:00"], "time")
    wall = [datetime.datetime(*when, tzinfo=ZoneInfo("Europe/Berlin")) for when in ((2020, 3, 28), (2020, 3, 30, 12))]
    starts = [np.datetime64(time.astimezone(datetime.UTC).replace(tzinfo=None)) for time in wall]
    assert [spans["validation"].start[0], spans["test"].start[0]] == [
        int(np.flatnonzero(utc == one)[0]) for one in starts
    ]
    with pytest.raises(InputError, match="'2020-03-29T02:30', a time that clocks in Europe/Berlin jump over"):
        split_spans(berlin, ["2020-03-29T02:30", "2020-03-30"], "time")


@pytest.mark.parametrize("split", [[-4, -8], [-8, 4], [-8, -8], [-9, -6, -3], [-0.5], [-0.5, -0.2], [], [True, 3]])
def test_other_numbers_are_refused(split):
    with pytest.raises(InputError, match="it must be 2 or 3 fractions.*negative counts from the end") as refusal:
        split_spans(integers(20), split, "time")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("split", "by", "words"),
    [
        (["2020-01-05"], "time", "dates must be"),
        (["2020-01-05", "2020-01-03"], "time", "must ascend"),
        (["soon", "2020-01-03"], "time", "'soon'.*dates like 2019-01-31"),
        (["2020-01-05", "2020-01-07"], "series", "split_by is 'series'"),
    ],
)
def test_bad_dates_are_refused(split, by, words):
    with pytest.raises(InputError, match=words):
        split_spans(dated("2020-01-01"), split, by)


def test_ridership_has_the_published_numbers_of_windows():
    path = real("ridership/ridership.csv")
    for horizon, windows in ((1, (1040, 95, 858)), (14, (1027, 82, 845))):
        data = Table(
            path=str(path), time="service_date", target="rail_boardings", past_steps=56, horizon=horizon,
            context="inside", split=["2016-01-01", "2019-01-01", "2019-06-01", "2021-12-01"],
        )  # fmt: skip
        data.setup()
        assert tuple(data.windows.values()) == windows
        assert data.spec.season == 7


def test_waves_are_split_by_series():
    assert build_data(10, 10, 10, split=[1, 1, 1], split_by="series").windows == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }
