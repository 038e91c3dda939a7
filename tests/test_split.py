"""Splits by fraction, count, date and series, as row spans."""

import dataclasses

import numpy as np
import pytest
from data import integers, made, real

from datamodules.split import split_spans
from datamodules.tabular import Table
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
    assert made(10, 10, 10, split=[1, 1, 1], split_by="series").windows == {"train": 4, "validation": 4, "test": 4}
