"""Windows of a DataModule: alignment, splits, masks, statistics, batches and error messages."""

import itertools

import numpy as np
import pytest
import torch
from data import build_data
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.windows.loader import SlidingIndex
from seqmodels.window import WindowSpec, check


def batches(data, stage):
    return list(data.loaders[stage])


@pytest.mark.parametrize("stage", ["train", "validation", "test"])
@pytest.mark.parametrize("context", ["inside", "across"])
def test_law_7_the_first_target_follows_the_last_past_step(stage, context):
    data = build_data(40, 55, channels=2, split=[0.5, 0.25, 0.25], context=context)
    for window in batches(data, stage):
        check(window, data.spec)
        torch.testing.assert_close(window.inputs.past_target[:, -1] + 1, window.targets.target[:, 0])
        torch.testing.assert_close(
            window.inputs.past_target[:, 1:] - window.inputs.past_target[:, :-1],
            torch.ones_like(window.inputs.past_target[:, 1:]),
        )
        local = torch.from_numpy(data.series.offsets)[window.inputs.series]
        assert (window.origin - local == window.inputs.past_target[:, -1, 0] - 1000 * window.inputs.series).all()


@given(
    lengths=st.lists(st.integers(20, 60), min_size=1, max_size=4),
    past=st.integers(1, 6),
    horizon=st.integers(1, 4),
    context=st.sampled_from(["inside", "across"]),
    parts=st.sampled_from([(0.6, 0.2, 0.2), (0.5, 0.5), (12, 5, 3), (0.5, 0.3, 0.1)]),
)
@settings(max_examples=60, deadline=None)
def test_law_6_each_target_lies_in_one_split_and_one_series(lengths, past, horizon, context, parts):
    try:
        data = build_data(*lengths, past_steps=past, horizon=horizon, split=parts, context=context)
    except ValueError as error:
        assert "window" in str(error)
        return
    seen: dict[str, set[float]] = {}
    for stage in ("train", "validation", "test"):
        values = [w.targets.target.flatten().tolist() for w in batches(data, stage)]
        seen[stage] = set(itertools.chain(*values))
        for window in batches(data, stage):
            every = torch.cat([window.inputs.past_target, window.targets.target], dim=1)
            assert (torch.div(every, 1000, rounding_mode="floor") == window.inputs.series[:, None, None]).all()
            if stage == "train" or context == "inside":
                span = data.spans[stage]
                first = window.origin - past + 1
                assert (first >= torch.from_numpy(span.start)[window.inputs.series]).all()
    assert not (seen["train"] & seen["validation"] or seen["train"] & seen["test"] or seen["validation"] & seen["test"])


def test_window_counts_match_counts_by_hand():
    inside = build_data(100, split=[60, 20, 20], context="inside")
    across = build_data(100, split=[60, 20, 20], context="across")
    assert inside.windows == {"train": 54, "validation": 14, "test": 14}
    assert across.windows == {"train": 54, "validation": 19, "test": 19}


def test_statistics_use_the_training_span_only():
    data = build_data(100, split=[60, 20, 20])
    assert data.spec.target_statistics.mean[0] == pytest.approx(np.arange(60).mean())
    assert data.spec.target_statistics.deviation[0] == pytest.approx(np.arange(60).std())
    changed = build_data(100, split=[60, 20, 20])
    changed.input_series.values[60:] *= -17
    changed.reload()
    assert changed.spec == data.spec
    assert torch.equal(changed.loaders["train"].tensors.seasonal_error, data.loaders["train"].tensors.seasonal_error)


def test_unobserved_values_are_masked_and_enter_no_statistic():
    observed = np.ones((60, 1), dtype=bool)
    observed[[7, 8, 30]] = False
    data = build_data(60, observed=observed, split=[40, 10, 10])
    data.input_series.values[~observed] = 0
    assert data.spec.missing
    present = np.delete(np.arange(40), [7, 8, 30])
    assert data.spec.target_statistics.mean[0] == pytest.approx(present.mean())
    for window in batches(data, "train"):
        check(window, data.spec)
        assert not window.inputs.past_target[~window.inputs.past_observed].any()
        assert (window.inputs.past_target[window.inputs.past_observed] > 0).any()


def test_winsorise_changes_training_values_only():
    data = build_data(60, 60, split=[40, 10, 10], winsorise=0.05)
    data.input_series.values[[3, 7, 55, 70]] = [[-1e6], [1e6], [1e6], [1e6]]
    data.reload()
    train = np.r_[0:40, 60:100]
    measured, kept = data.input_series.values[:, 0], data.series.values[:, 0]
    sorted_rows = np.sort(measured[train])
    assert (kept[train] == measured[train].clip(sorted_rows[4], sorted_rows[-5])).all()
    assert np.array_equal(np.delete(kept, train), np.delete(measured, train)) and kept[55] == 1e6
    assert data.spec.target_statistics.mean[0] == pytest.approx(kept[train].mean(), rel=1e-6)
    low, high = sorted_rows[4], sorted_rows[-5]
    note = f"training values clipped (data.winsorise=0.05): 8 of a to {low:.6g} ... {high:.6g}"
    assert data.series.notes == (note,) and data.input_series.notes == ()
    wide = build_data(60, channels=3, split=[40, 10, 10], winsorise=0.05)
    parts = wide.series.notes[0].split(": ")[1].split(", ")
    assert [part.split(" to ")[0] for part in parts] == ["4 of a", "4 of b", "4 of c"]


def test_seasonal_error_is_the_mean_seasonal_difference_and_never_zero():
    data = build_data(60, 80, split=[0.5, 0.25, 0.25], season=7)
    assert data.loaders["train"].tensors.seasonal_error.tolist() == [[7.0], [7.0]]
    constant = build_data(60, split=[0.5, 0.25, 0.25])
    constant.input_series.values[:] = 5.0
    constant.reload()
    assert constant.loaders["train"].tensors.seasonal_error.tolist() == [[5.0]], "the mean size of the values"


def test_seasonal_error_ignores_rounding_noise():
    data = build_data(70, split=[42, 14, 14], season=7)
    data.input_series.values[:, 0] = np.sin(2 * np.pi * np.arange(70) / 7)
    data.reload()
    changes = np.abs(np.diff(data.input_series.values[:42, 0].astype(np.float64))).mean()
    assert data.loaders["train"].tensors.seasonal_error.item() == pytest.approx(changes), "the mean change per step"


def test_seasonal_error_of_a_series_without_training_rows_uses_the_rows_before_its_first_target():
    data = build_data(10, 10, 10, split=[1, 1, 1], split_by="series", past_steps=8)
    values = data.input_series.values.reshape(3, 10)
    values[1, 8:] = 1e6  # targets of the validation series must not affect its seasonal error
    data.reload()
    assert data.loaders["validation"].tensors.seasonal_error[1].item() == pytest.approx(1.0)


def test_an_epoch_has_every_window_once_and_keeps_the_last_partial_batch():
    data = build_data(100, split=[60, 20, 20], batch_size=16)
    loader = data.loaders["train"]
    sizes = [len(window.origin) for window in loader]
    assert sizes == [16, 16, 16, 6] and len(loader) == 4
    origins = torch.cat([window.origin for window in loader])
    assert sorted(origins.tolist()) == list(range(4, 58))
    assert origins.tolist() != sorted(origins.tolist()), "training windows are shuffled"
    evaluated = torch.cat([window.origin for window in data.loaders["validation"]])
    assert evaluated.tolist() == sorted(evaluated.tolist())


def test_locate_agrees_with_a_list_of_all_windows():
    data = build_data(30, 12, 45, split=[0.8, 0.1, 0.1], past_steps=3, horizon=1)
    span = data.spans["train"]
    index = SlidingIndex.from_span(data.series, *span, 3, 1, "inside")
    expected = [
        (series, row)
        for series, (start, stop) in enumerate(zip(span.start, span.stop, strict=True))
        for row in range(start, stop - 3)
    ]
    series, rows = index.locate(torch.arange(index.offsets[-1]))
    assert list(zip(series.tolist(), rows.tolist(), strict=True)) == expected


def test_examples_are_always_the_same_windows():
    data = build_data(100, split=[60, 20, 20])
    first, second = data.examples("validation", 4), data.examples("validation", 4)
    assert torch.equal(first.origin, second.origin) and len(set(first.origin.tolist())) == 4


def test_spec_survives_a_round_trip_through_a_dictionary():
    spec = build_data(100, channels=2, split=[60, 20, 20]).spec
    assert WindowSpec.from_dict(spec.to_dict()) == spec
    assert isinstance(hash(WindowSpec.from_dict(spec.to_dict())), int)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"past_steps": 0}, "data.past_steps is 0"),
        ({"horizon": -1}, "data.horizon is -1"),
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"context": "both"}, "data.context is 'both'"),
        ({"season": 0}, "data.season is 0"),
        ({"split_by": "row"}, "data.split_by is 'row'"),
        ({"split_by": "series"}, "holds only one series, but data.split_by=series .* set data.split_by=time"),
        ({"winsorise": 0.5}, "data.winsorise is 0.5; it must be null or a share"),
        ({"split": [0.5, 0.6, 0.1]}, "fractions must sum to at most 1"),
        ({"split": [90, 20]}, "counts must sum to at most 100"),
        ({"split": [0, 20, 20]}, "training part, must be greater than 0"),
        ({"split": [50]}, "it must be 2 or 3 fractions"),
        ({"split": [50, -5, 5]}, "it must be 2 or 3 fractions"),
        ({"split": ["2020-01-01", "2021-01-01"]}, "there is no time column"),
        ({"past_steps": 99}, "has 100 steps, but one window needs 101"),
        ({"split": [90, 6, 4], "context": "inside"}, "validation part .* 6 rows and no window.*data.context=across"),
        ({"split": [4, 50, 46]}, "the train part .* has 4 rows and no window; a series needs at least 7"),
        ({"split": [98, 1, 1]}, "the validation part .* has 1 rows and no window; a series needs at least 2"),
    ],
)
def test_data_without_windows_raise_an_error_of_one_sentence(change, words):
    with pytest.raises(ValueError, match=words) as error:
        build_data(100, **{"split": [60, 20, 20], **change})
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
