"""Series shorter than a window are padded on the left, excluded or refused; all others keep their windows."""

import itertools

import numpy as np
import pytest
import torch
from data import build_data, build_random_data, integers, prepare
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.series import STAGES, SeriesSet
from seqmodels.errors import InputError
from seqmodels.window import check


def reference_targets(data, stage, number):
    """Reference rule: first target row and number of past rows of each window of one series."""
    start, stop = (int(side[number]) for side in data.spans[stage])
    inside = stage == "train" or data.context == "inside"
    earliest = start if inside else int(data.series.offsets[number])
    found = [(row, row - earliest) for row in range(start, stop - data.horizon + 1)]
    whole = [(row, past) for row, past in found if past >= data.past_steps]
    first_part = next((rows for part in STAGES if (rows := data.spans[part].lengths[number])), 0)
    short = 0 < first_part < data.past_steps + data.horizon
    if data.short_series != "pad" or not short or (start == earliest and whole):
        return whole
    return [(row, past) for row, past in found if past >= 1]


def reference_windows(data, stage):
    """Reference implementation: all windows of a stage, one by one, padded on the left."""
    series, spec, windows = data.series, data.spec, []
    for number in range(len(series)):
        for target, past in reference_targets(data, stage, number):
            there = slice(target - min(past, spec.past_steps), target + spec.horizon)
            lacking = max(0, spec.past_steps - past)
            mask = np.ones_like(series.values, dtype=bool) if series.observed is None else series.observed
            parts = [(series.values, (0, 0)), (mask, (False, False))]
            parts += [(series.past_covariates, spec.past_statistics.mean)]
            parts += [(series.known_covariates, spec.known_statistics.mean)]
            windows.append(
                [np.concatenate([np.full((lacking, len(pad)), pad, rows.dtype), rows[there]]) for rows, pad in parts]
                + [number, target - 1]
            )
    return windows


def check_against_reference(data, stage):
    wanted, loaded = reference_windows(data, stage), list(data.loaders[stage])
    assert sum(len(window.origin) for window in loaded) == len(wanted) == data.windows[stage]
    by_place = {(number, origin): rest for *rest, number, origin in wanted}
    for window in loaded:
        check(window, data.spec)
        for row, place in enumerate(zip(window.inputs.series.tolist(), window.origin.tolist(), strict=True)):
            values, observed, past_covariates, known_covariates = by_place.pop(place)  # and each exactly once
            steps = data.past_steps
            inputs, targets = window.inputs, window.targets
            for mine, rows in [
                (inputs.past_target, values[:steps]),
                (inputs.past_observed, observed[:steps]),
                (inputs.past_covariates, past_covariates[:steps]),
                (inputs.known_covariates, known_covariates),
                (targets.target, values[steps:]),
                (targets.observed, observed[steps:]),
            ]:
                assert np.array_equal(mine[row].numpy(), rows)
    assert by_place == {}


SPLITS = st.sampled_from([(0.6, 0.2, 0.2), (0.5, 0.5), (0.5, 0.3, 0.1), (-9, -4), (-5,), (-30, -3)])


@given(
    lengths=st.lists(st.integers(1, 45), min_size=1, max_size=6).map(lambda lengths: [*lengths, 70]),
    past=st.integers(1, 12),
    horizon=st.integers(1, 4),
    context=st.sampled_from(["inside", "across"]),
    split=SPLITS,
    split_by=st.sampled_from(["time", "series"]),
    fold=st.integers(0, 2),
    short_series=st.sampled_from(["pad", "pad", "exclude", "refuse"]),
    missing=st.booleans(),
)
@example([20, 23], 2, 3, "inside", (0.6, 0.2, 0.2), "time", 0, "pad", False)  # long, but not in validation
@example([45, 35], 5, 2, "inside", (-30, -3), "time", 0, "pad", False)  # short, but not in validation
@settings(max_examples=150, deadline=None)
def test_batches_match_the_reference_implementation(
    lengths, past, horizon, context, split, split_by, fold, short_series, missing
):
    try:
        data = build_random_data(lengths, missing, past_steps=past, horizon=horizon, context=context, split=split,
                                 split_by=split_by, fold=fold, short_series=short_series, batch_size=7,
                                 evaluation_batch_size=5)  # fmt: skip
    except InputError as error:
        assert "\n" not in str(error) and "data." in str(error)
        return
    for stage in STAGES:
        check_against_reference(data, stage)
    padded = [
        past > there for stage in STAGES for i in range(len(lengths)) for _, there in reference_targets(data, stage, i)
    ]
    assert data.spec.missing == (data.series.missing > 0 or any(padded))
    assert any("padded on the left" in note for note in data.series.notes) == any(padded)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    split=SPLITS,
    context=st.sampled_from(["inside", "across"]),
    fold=st.integers(0, 2),
    short_series=st.sampled_from(["pad", "exclude"]),
)
@settings(max_examples=60, deadline=None)
def test_law_6_statistics_use_the_training_span_only_and_no_target_is_in_two_parts(
    lengths, split, context, fold, short_series
):
    choice = {"split": split, "context": context, "fold": fold, "short_series": short_series, "season": 3}
    try:
        data = build_data(*lengths, **choice)
    except InputError:
        return
    targets = {
        stage: set(itertools.chain(*(window.targets.target.flatten().tolist() for window in data.loaders[stage])))
        for stage in STAGES
    }
    assert not (targets["train"] & targets["validation"] or targets["train"] & targets["test"])
    assert not targets["validation"] & targets["test"]
    series, train = integers(*lengths), data.spans["train"]
    outside = np.ones(len(series.values), dtype=bool)
    for start, stop in zip(train.start, train.stop, strict=True):
        outside[start:stop] = False
    # The seasonal error of a series without training rows comes from the rows before its first target.
    trained = np.repeat(train.lengths > 0, lengths)
    series.values[outside & trained] *= -17
    changed = prepare(series, **choice)
    assert changed.spec == data.spec
    before, after = (d.loaders["train"].tensors.seasonal_error for d in (data, changed))
    assert torch.equal(before, after)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    context=st.sampled_from(["inside", "across"]),
    split=SPLITS,
)
@settings(max_examples=60, deadline=None)
def test_law_7_targets_follow_the_past_and_padding_is_on_the_left(lengths, context, split):
    try:
        data = build_data(*lengths, context=context, split=split)
    except InputError:
        return
    for window in itertools.chain(*(data.loaders[stage] for stage in STAGES)):
        past, observed = window.inputs.past_target[..., 0], window.inputs.past_observed[..., 0]
        torch.testing.assert_close(past[:, -1:] + 1, window.targets.target[:, :1, 0])
        assert observed[:, -1].all(), "at least one past step exists"
        assert (observed[:, 1:] >= observed[:, :-1]).all() and not past[~observed].any()
        steps = past.diff(dim=1)[observed[:, :-1]]
        assert (steps == 1).all()
        assert window.targets.observed.all() and window.inputs.reset.all()


def test_windows_of_long_series_do_not_depend_on_short_ones():
    alone = build_data(60, 80, split=[-20, -10], batch_size=16)
    beside = build_data(60, 80, 9, 25, split=[-20, -10], batch_size=16)
    assert not alone.spec.missing and beside.spec.missing and alone.series.notes == ()
    for stage in STAGES:
        mine, theirs = (torch.cat([w.inputs.past_target for w in d.loaders[stage]]) for d in (alone, beside))
        long = torch.cat([w.inputs.series for w in beside.loaders[stage]]) < 2
        key = [values[:, -1, 0].argsort() for values in (mine, theirs[long])]
        assert torch.equal(mine[key[0]], theirs[long][key[1]])


def test_notes_count_padded_and_excluded_series():
    def notes(rule, *lengths, **more):
        return build_data(*lengths, short_series=rule, **{"split": [-8, -4], **more}).series.notes

    assert notes("pad", 40, 30) == notes("exclude", 40, 30) == notes("refuse", 40, 30) == ()
    assert notes("pad", 40, 12, 2) == (
        "2 of 3 series have too few rows in the training part for a window of 7 steps: the past of 2 train, 1"
        " validation windows is padded on the left; 1 without any window",
    )
    left_out = "2 of 3 series have too few rows in the training part for a window of 7 steps and are left out"
    assert notes("exclude", 40, 12, 2) == (left_out,)
    (by_series,) = notes("exclude", 40, 40, 5, split=[1, 2], split_by="series")
    assert by_series == "1 of 3 series have too few rows for a window of 7 steps and are left out"
    assert notes("pad", 40, 12, 2, lanes=1)[0] == notes("exclude", 40, 12, 2)[0]


@pytest.mark.parametrize("rule", ["pad", "exclude", "refuse"])
def test_a_series_in_no_part_of_the_split_is_not_short(rule):
    assert build_data(40, 40, 40, split=[1, 1], split_by="series", short_series=rule).series.notes == ()


def test_the_error_suggests_padding_if_it_gives_the_missing_windows():
    choice = {"split": [1, 1], "split_by": "series"}
    with pytest.raises(InputError, match="the validation part .* no window.*, or data.short_series=pad"):
        build_data(40, 5, short_series="exclude", **choice)
    assert build_data(40, 5, short_series="pad", **choice).windows["validation"] == 3


def test_excluded_series_affect_neither_windows_nor_statistics():
    data = build_data(40, 12, 2, short_series="exclude", split=[-8, -4])
    assert data.windows == build_data(40, split=[-8, -4]).windows
    assert (
        data.spec.target_statistics == build_data(40, split=[-8, -4]).spec.target_statistics and not data.spec.missing
    )
    lanes = build_data(40, 12, 2, split=[-8, -4], lanes=2)
    assert lanes.windows == build_data(40, split=[-8, -4], lanes=2).windows and not lanes.spec.missing


def test_seasonal_error_of_a_short_series_without_training_rows_is_the_size_of_its_first_row():
    data = build_data(30, 30, 4, 30, split=[2, 1, 1], split_by="series", season=1)
    data.input_series.values[:60] *= 2
    data.input_series.values[60:] *= 1000
    data.reload()
    error = data.loaders["validation"].tensors.seasonal_error[:, 0]
    assert error[2].item() == 2_000_000, "its one past row has a size, but no difference"
    assert error[:2].tolist() == [2, 2] and error[3].item() == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    ("lengths", "change", "words"),
    [
        ((5,), {}, r"series 0 has 5 steps, but one window needs 7 \(data.past_steps=5 \+ data.horizon=2\)"),
        ((5, 6), {}, "the longest series, series 1, has 6 steps, but one window needs 7"),
        ((5, 40), {"short_series": "refuse"}, "integers: series 0 has 5 .* data.short_series=pad or exclude accepts"),
        ((5, 6), {"short_series": "refuse"}, r"data.horizon=2\)\.$"),
        ((40, 9), {"short_series": "refuse"}, r"series 1 has 6 rows in the train part .* needs 7 there"),
        (
            (9, 8),
            {},
            "has 11 rows and no window; a series needs at least 7 of them there, and the longest, series 0, has 6",
        ),
        ((9, 9), {"short_series": "exclude"}, "the train part .* has 12 rows and no window; a series needs at least 7"),
        ((40,), {"short_series": "drop"}, "data.short_series is 'drop'; it must be one of pad, exclude, refuse"),
        ((), {}, "there are no rows"),
    ],
)
def test_series_too_short_for_the_rule_raise_an_error_of_one_sentence(lengths, change, words):
    with pytest.raises(InputError, match=words) as error:
        empty = SeriesSet(np.zeros((0, 1), np.float32), np.zeros(1, np.int64), ("a",))
        prepare(integers(*lengths) if lengths else empty, **{"split": [0.7, 0.15, 0.15], **change})
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
