"""The clock: one number for the same time, in every series, window, block and later table."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from data import SeriesData, integers, prepare

from datamodules.frequency import BusinessDays, FixedFrequency, IntegerFrequency, LocalDays, Months
from datamodules.series import training_frequency
from datamodules.table import Table
from datamodules.windows.loader import number_rows
from seqmodels.training.stateful import as_windows, cut

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("frequency", "start", "step"),
    [
        (FixedFrequency(HOUR), "2024-02-28T23", np.timedelta64(1, "h")),
        (FixedFrequency(15 * HOUR // 60), "1969-12-31T23:45", np.timedelta64(15, "m")),
        (FixedFrequency(7 * 24 * HOUR), "2024-01-03", np.timedelta64(7, "D")),
        (LocalDays(FixedFrequency(24 * HOUR), "Europe/Berlin"), "2024-03-29T23", None),  # midnight in winter
        (BusinessDays(), "2024-03-01", None),  # a Friday
        (Months(3, 31), "2023-12-31", None),
        (IntegerFrequency(5), 15, 5),
    ],
)
def test_numbers_rise_by_one_with_every_step_of_the_frequency(frequency, start, step):
    first = np.array([start], np.int64) if isinstance(start, int) else np.array([start], "datetime64[us]")
    times = frequency.advance(np.repeat(first, 40), np.arange(40))
    if step is not None:
        assert (np.diff(times) == step).all()
    assert np.diff(frequency.number(times)).tolist() == [1] * 39


def hourly(*starts: str, steps: int = 60):
    """Series whose value is the number of the hour since 1970."""
    begin = [np.datetime64(start, "h").astype(np.int64) for start in starts]
    hours = np.concatenate([np.arange(one, one + steps) for one in begin])
    series = integers(*[steps] * len(starts))
    return replace(
        series,
        values=(hours[:, None] % 10_000).astype(np.float32),
        time=hours.astype("datetime64[h]").astype("datetime64[us]"),
    )


def test_series_that_begin_at_different_times_share_a_clock():
    data = prepare(hourly("2024-01-01T05", "2024-01-01T00", "2023-12-30T12"))
    assert data.spec.clock
    for stage in ("train", "validation", "test"):
        inputs = data.examples(stage, 100).inputs
        assert (inputs.clock % 10_000 == inputs.past_target[:, -1, 0].long()).all()
        assert (inputs.identity == inputs.series).all()


def test_without_times_steps_are_counted_from_the_first_row_of_each_series():
    data = prepare(integers(30, 40))
    inputs = data.examples("train", 100).inputs
    assert not data.spec.clock and (inputs.clock == inputs.past_target[:, -1, 0].long() % 1000).all()
    assert number_rows(data.series, training_frequency(data.series)).tolist() == [0, -30]


def test_blocks_of_consecutive_windows_keep_it():
    data = SeriesData(hourly("2024-01-01T05", "2024-01-01T00"), past_steps=5, horizon=2, lanes=2)
    data.setup()
    seen = 0
    for block in data.test_dataloader():
        steps, origins = block.inputs.past_target.shape[1], block.counted.shape[1]
        for place in range(origins):
            stop, counts = steps - origins + place + 1, block.counted[:, place]
            part = cut(block, slice(max(0, stop - 3), stop))[0]
            assert (part.clock % 10_000 == part.past_target[:, -1, 0].long())[counts].all()
        inputs = as_windows(block, 5).inputs
        assert (inputs.clock % 10_000 == inputs.past_target[:, -1, 0].long()).all()
        seen += len(inputs.clock)
    assert seen == data.windows["test"]


def test_a_later_table_has_the_same_clock_and_knows_the_series_of_the_training():
    first = np.datetime64("2024-01-01T00", "us")
    time = first + np.arange(80) * np.timedelta64(1, "h")
    table = pl.concat(
        [
            pl.DataFrame({"time": time, "shop": [name] * 80, "y": np.arange(80.0) + 10 * i})
            for i, name in enumerate("abc")
        ]
    )
    data = Table(path=table, target=["y"], time="time", id="shop", past_steps=5, horizon=2)
    data.setup()
    encoder = data.encoder()
    late = table.filter(pl.col("time") >= time[50], pl.col("shop") != "a").with_columns(
        shop=pl.col("shop").replace("b", "new")
    )
    series, stop = encoder.extend(encoder.read(late), 2)
    window = next(encoder.encode(series, stop).last_windows())
    hours = (time[-1] - np.datetime64("1970-01-01T00", "us")) // np.timedelta64(1, "h")
    assert window.inputs.clock.tolist() == [hours, hours]
    by_name = dict(
        zip([series.name(i) for i in window.inputs.series.tolist()], window.inputs.identity.tolist(), strict=True)
    )
    assert by_name == {"c": 2, "new": -1}
