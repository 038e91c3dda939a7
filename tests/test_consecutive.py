"""Consecutive windows: lanes for stateful training, and evaluation blocks with every origin exactly once."""

import numpy as np
import pytest
import torch
from data import build_data, build_random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.series import Span
from datamodules.windows.consecutive import LaneIndex
from seqmodels.errors import InputError
from seqmodels.training.stateful import as_windows
from seqmodels.window import Targets, Window, check


def batches(data):
    return list(data.train_dataloader())


def test_lanes_reproduce_the_example_of_the_textbook():
    data = build_data(30, split=[20, 10], past_steps=3, horizon=1, lanes=2)
    past = [window.inputs.past_target[..., 0].tolist() for window in batches(data)]
    assert past == [[[0, 1, 2], [10, 11, 12]], [[3, 4, 5], [13, 14, 15]], [[6, 7, 8], [16, 17, 18]]]
    assert [window.inputs.reset.tolist() for window in batches(data)] == [[True, True], [False] * 2, [False] * 2]
    assert data.spec.stateful and not build_data(30, split=[20, 10]).spec.stateful
    assert data.series.notes == (), "every row is in a window"


def test_one_lane_reads_a_series_from_its_first_row():
    data = build_data(1461, split=[1000, 461], past_steps=30, horizon=1, lanes=1)
    assert data.windows == {"train": 33, "validation": 461, "test": 0}
    assert [int(window.origin) for window in batches(data)] == list(range(29, 990, 30))
    assert data.series.notes == ("9 of 1,000 training rows fill no window of a lane and are left out",)


def test_lanes_read_whole_series_if_there_are_enough():
    data = build_data(20, 20, 20, 20, split=[13, 7], past_steps=3, horizon=1, lanes=2)
    batch_rows = [(window.inputs.series.tolist(), window.inputs.reset.tolist()) for window in batches(data)]
    assert batch_rows[:4] == [([0, 2], [True, True])] + [([0, 2], [False, False])] * 3
    assert batch_rows[4:] == [([1, 3], [True, True])] + [([1, 3], [False, False])] * 3


@given(
    lengths=st.lists(st.integers(12, 70), min_size=1, max_size=5),
    past=st.integers(1, 6),
    horizon=st.integers(1, 4),
    lanes=st.integers(1, 7),
)
@settings(max_examples=40, deadline=None)
def test_each_lane_continues_its_window_of_the_batch_before(lengths, past, horizon, lanes):
    try:
        data = build_data(*lengths, past_steps=past, horizon=horizon, split=[0.8, 0.2], lanes=lanes)
    except InputError as error:
        assert "window" in str(error)
        return
    windows = batches(data)
    assert all(len(window.origin) == lanes for window in windows)
    assert windows[0].inputs.reset.all()
    read, touched = [], set()
    for before, window in zip([None, *windows], windows, strict=False):
        check(window, data.spec)
        first = window.origin - past + 1
        if before is not None:
            continued = ~window.inputs.reset
            assert (window.origin[continued] == before.origin[continued] + past).all()
            assert (window.inputs.series == before.inputs.series)[continued].all()
        stop = torch.from_numpy(data.spans["train"].stop)[window.inputs.series]
        assert (window.origin + horizon < stop).all(), "targets are training rows"
        read += [row + step for row in first.tolist() for step in range(past)]
        touched |= {row + step for row in first.tolist() for step in range(past + horizon)}
    assert len(read) == len(set(read)), "no row is read twice"
    assert data.train_dataloader().index.unused_rows == data.spans["train"].rows - len(touched)


@given(
    rows=st.lists(st.integers(0, 90), min_size=1, max_size=6),
    past=st.integers(1, 6),
    lanes=st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_few_rows_are_unused(rows, past, lanes):
    """Less than one window per part of a series, and less than one window per lane at the end."""
    stop = np.cumsum(rows)
    index = LaneIndex(Span(stop - rows, stop), past, 1, lanes)
    nonempty = int(np.count_nonzero(rows))
    parts = nonempty * -(-lanes // max(1, nonempty))
    # A part loses its incomplete window and the remainder of dividing its series into parts.
    assert len(index) * past > sum(rows) - parts * (2 * past + parts) - lanes * past
    assert len(index) % lanes == 0


def test_epochs_of_lanes_are_identical_and_resume_with_the_next_batch():
    settings = {"split": [60, 20, 20], "lanes": 3, "shuffle": True, "batch_size": 16}
    data, resumed = build_data(100, **settings), build_data(100, **settings)
    whole = [window.origin.tolist() for window in batches(data)]
    data.train_dataloader().sampler.set_epoch(3)
    assert [window.origin.tolist() for window in batches(data)] == whole and len(whole) == len(data.train_dataloader())
    started = iter(data.train_dataloader())
    next(started), next(started)
    resumed.load_state_dict(data.state_dict())
    assert [window.origin.tolist() for window in batches(resumed)] == whole[2:]


def fields_by_origin(windows: list[Window]) -> list[torch.Tensor]:
    """All fields of all windows, sorted by origin."""
    order = torch.cat([window.origin for window in windows]).argsort()
    fields = zip(*([*inputs, *targets, origin] for inputs, targets, origin in windows), strict=True)
    return [torch.cat(parts)[order] for parts in fields]


@pytest.mark.parametrize("context", ["inside", "across"])
@pytest.mark.parametrize("split_by", ["time", "series"])
@pytest.mark.parametrize("evaluation_batch_size", [1, 5, 1024])
@pytest.mark.parametrize("rich", [True, False])
def test_blocks_hold_exactly_the_windows_of_an_evaluation_without_lanes(context, split_by, evaluation_batch_size, rich):
    settings = {"past_steps": 4, "horizon": 3, "context": context, "split_by": split_by, "split": [0.5, 0.3, 0.2]}
    settings |= {"evaluation_batch_size": evaluation_batch_size}
    lengths = [40, 61, 45, 80, 45, 40] if split_by == "time" else [30, 41, 25, 32, 14, 8]
    plain = build_random_data(lengths, rich, rich, **settings)
    lanes = build_random_data(lengths, rich, rich, **settings, lanes=2)
    for stage in ("validation", "test"):
        blocks = list(lanes.loaders[stage])
        assert len(blocks) == len(lanes.loaders[stage])
        assert lanes.windows[stage] == plain.windows[stage] == sum(int(block.counted.sum()) for block in blocks)
        windows = [as_windows(block, 4) for block in blocks]
        for window in windows:
            check(window, lanes.spec)
        for mine, wanted in zip(fields_by_origin(windows), fields_by_origin(list(plain.loaders[stage])), strict=True):
            assert torch.equal(mine, wanted)


@pytest.mark.parametrize("context", ["inside", "across"])
def test_a_state_reads_every_row_from_the_start_of_a_series_or_32_windows_before_the_first_origin(context):
    data = build_data(50, 400, 51, split=[0.5, 0.5], past_steps=4, horizon=2, lanes=1, context=context,
                evaluation_batch_size=9)  # fmt: skip
    read: dict[int, list[int]] = {}
    for block in data.val_dataloader():
        begins = block.new == block.inputs.past_target.shape[1]
        assert block.inputs.reset.tolist() == [begins] * len(block.counted)
        for row, series in enumerate(block.inputs.series.tolist()):
            assert (series not in read) == begins
            count = int(block.counted[row].sum())
            steps = block.inputs.past_target[row, :, 0].int().tolist()[-block.new :]
            ended = block.counted.shape[1] - count
            read.setdefault(series, []).extend(step - 1000 * series for step in steps[: len(steps) - ended])
    first = {"across": {0: 1, 1: 200 - 32 * 4, 2: 1}, "inside": {0: 25, 1: 200, 2: 25}}[context]
    last = {0: 47, 1: 397, 2: 48}
    assert read == {series: list(range(first[series], last[series] + 1)) for series in last}


def test_examples_have_the_longest_past_that_fits_all_of_them():
    data = build_data(60, 90, split=[0.5, 0.5], past_steps=5, horizon=2, lanes=2)
    window = data.examples("validation", 6)
    assert window.inputs.past_target.shape == (6, 30, 1) and window.targets.target.shape == (6, 2, 1)
    values = torch.cat([window.inputs.past_target, window.targets.target], dim=1)
    assert (values.diff(dim=1) == 1).all()
    assert torch.equal(window.inputs.past_target[:, -1, 0], window.origin + 940.0 * window.inputs.series)
    assert isinstance(window.targets, Targets)


@pytest.mark.parametrize(
    ("lanes", "words"),
    [
        (0, r"data.lanes is 0; it must be null or at least 1"),
        (-3, r"data.lanes is -3; it must be null or at least 1"),
        (12, r"data.lanes is 12, and the 60 rows of the train part .* do not hold a window for each lane"),
    ],
)
def test_impossible_lanes_raise_an_error(lanes, words):
    with pytest.raises(InputError, match=words) as error:
        build_data(100, split=[60, 20, 20], lanes=lanes)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
