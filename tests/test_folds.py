"""Folds: rolling-origin cross-validation by moving the borders of a split back."""

import dataclasses

import numpy as np
import pytest
from data import SeriesData, build_data, integers
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import dated, ranges

from datamodules.series import STAGES
from datamodules.split import split_spans
from seqmodels.errors import InputError


def test_a_fold_moves_the_borders_back_by_the_test_part_and_leaves_the_rest():
    counts = [ranges(split_spans(integers(100), [-20, -10], "time", fold)) for fold in (0, 1, 2)]
    assert [fold["train"] for fold in counts] == [[(0, 80)], [(0, 70)], [(0, 60)]]
    assert [fold["validation"] for fold in counts] == [[(80, 90)], [(70, 80)], [(60, 70)]]
    assert [fold["test"] for fold in counts] == [[(90, 100)], [(80, 90)], [(70, 80)]]


def test_without_a_test_part_by_the_validation_part():
    assert ranges(split_spans(integers(100), [70, 30], "time", 2)) == {
        "train": [(0, 10)], "validation": [(10, 40)], "test": [(40, 40)]
    }  # fmt: skip


def test_dates_move_by_the_same_time_in_every_series():
    dates = ["2020-01-02", "2020-01-05", "2020-01-07", "2020-01-09"]
    series = dated("2020-01-01", "2019-12-29", days=10)
    assert ranges(split_spans(series, dates, "time", 0))["test"] == [(6, 8), (19, 20)]
    assert ranges(split_spans(series, dates, "time", 1)) == {
        "train": [(1, 2), (14, 15)], "validation": [(2, 4), (15, 17)], "test": [(4, 6), (17, 19)]
    }  # fmt: skip


def panel(time, *pieces: slice):
    """Series that each have a part of these times."""
    series = integers(*[len(time[piece]) for piece in pieces])
    return dataclasses.replace(series, time=np.concatenate([time[piece] for piece in pieces]))


@pytest.mark.parametrize("dates", [True, False])
def test_no_series_trains_on_times_that_another_is_evaluated_on(dates):
    days = np.arange(100)
    time = days.astype("datetime64[D]").astype("datetime64[us]") if dates else days
    series = panel(time, slice(0, 100), slice(0, 80), slice(60, 100), slice(0, 40))
    split = [str(time[70]), str(time[85])]
    assert ranges(split_spans(series, split, "time", 1, least=5)) == {
        "train": [(0, 55), (100, 155), (180, 180), (220, 260)],
        "validation": [(55, 70), (155, 170), (180, 190), (260, 260)],
        "test": [(70, 85), (170, 180), (190, 205), (260, 260)],
    }
    assert split_spans(series, split, "time", 4, least=10)["train"].lengths.tolist() == [10, 10, 0, 10]
    with pytest.raises(InputError, match="data.fold is 5, but only folds 0 to 4 of .* the 10 training rows"):
        split_spans(series, split, "time", 5, least=10)


MONTHS = np.arange("2015-01", "2021-01", dtype="datetime64[M]").astype("datetime64[us]")
WEEKDAYS = np.busday_offset("2020-01-01", np.arange(72)).astype("datetime64[us]")


@pytest.mark.parametrize("time", [MONTHS, MONTHS + np.timedelta64(14, "D"), WEEKDAYS])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_folds_of_months_and_weekdays_are_whole_test_parts(time, fold):
    """Borders between two stamps, a leap year behind: 12 steps a fold, as often as wanted."""
    split = [str(time[rows] - np.timedelta64(1, "h")) for rows in (48, 60)]
    spans = ranges(split_spans(panel(time, slice(0, 72), slice(0, 66)), split, "time", fold))
    border = 48 - 12 * fold
    wanted = [(0, border), (border, border + 12), (border + 12, border + 24)]
    assert [spans[stage] for stage in STAGES] == [[(low, high), (low + 72, high + 72)] for low, high in wanted]


@given(
    lengths=st.lists(st.integers(5, 80), min_size=1, max_size=4),
    split=st.sampled_from([(0.5, 0.2, 0.2), (0.6, 0.4), (-6, -3), (-4,), (3, 1, 1)]),
    fold=st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_later_folds_see_a_part_of_what_earlier_ones_see(lengths, split, fold):
    """Each fold trains from the same first row on, and its test rows end where those of the fold before begin."""
    series = integers(*lengths)
    try:
        before, now = (split_spans(series, split, "time", number, least=2) for number in (fold - 1, fold))
    except InputError as error:
        assert f"data.fold is {fold}, but only fold" in str(error) or f"data.fold is {fold - 1}, but" in str(error)
        return
    moved = "test" if len(split) - any(part > 0 for part in split) == 2 else "validation"
    assert (now["train"].start == before["train"].start).all()
    assert (now[moved].stop <= before[moved].start).all()
    whole = now["train"].lengths > 0
    assert (now[moved].stop == before[moved].start)[whole].all(), "nothing is skipped in a series that trains"
    for stage in STAGES:
        start, stop = now[stage]
        assert (series.offsets[:-1] <= start).all() and (start <= stop).all() and (stop <= series.offsets[1:]).all()
    for stage in STAGES[1:]:
        assert (now[stage].lengths == before[stage].lengths)[whole].all()


@pytest.mark.parametrize(("least", "last"), [(7, 7), (10, 7), (11, 6), (80, 0)])
def test_as_many_folds_as_it_says_fit(least, last):
    series = integers(64, 100)
    for fold in range(last + 1):
        training = split_spans(series, [-20, -10], "time", fold, least)["train"].lengths
        assert training.max() == 80 - 10 * fold >= least
    fits = f"only folds? 0{f' to {last}' if last else ''} of .* leave a series the {least} training rows that one"
    with pytest.raises(InputError, match=f"data.fold is {last + 1}, but {fits}"):
        split_spans(series, [-20, -10], "time", last + 1, least)


def test_a_fold_of_a_data_module_needs_a_training_window():
    with pytest.raises(InputError, match="only fold 0 of data.split"):
        build_data(20, split=[0.5, 0.5], fold=1)


def test_no_fold_sees_the_rows_behind_its_test_part():
    given, changed = integers(100), integers(100)
    changed.values[80:] = 1e6
    first, second = (SeriesData(s, past_steps=5, horizon=2, split=[-20, -10], fold=2) for s in (given, changed))
    first.setup(), second.setup()
    assert first.spec == second.spec
    for stage in STAGES:
        for one, other in zip(first.loaders[stage], second.loaders[stage], strict=True):
            assert np.array_equal(one.targets.target, other.targets.target)
            assert np.array_equal(one.inputs.past_target, other.inputs.past_target)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fold": -1}, "data.fold is -1; it must be at least 0"),
        ({"fold": 1, "split_by": "series", "split": [1, 1]}, "data.fold is 1, but data.split_by is 'series'"),
    ],
)
def test_folds_that_cannot_be_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        build_data(50, 50, **change)
