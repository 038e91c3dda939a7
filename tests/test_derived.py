"""Covariates from the series themselves: lags and rolling statistics by brute force, what fills gaps, no look-ahead."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from data import SeriesData, integers
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.covariates import lags
from datamodules.covariates.lags import Lags, Rolling
from datamodules.covariates.prepare import build_transforms, prepare_covariates
from datamodules.series import SeriesSet, Span
from seqmodels.errors import InputError
from seqmodels.window import check

NAN = float("nan")
ROLLING = ["mean_3", "deviation_4", "min_2", "max_5", "sum_3"]
FORMULAS = {
    "mean": lambda seen: math.fsum(seen) / len(seen),
    "deviation": lambda seen: math.sqrt(
        math.fsum((one - math.fsum(seen) / len(seen)) ** 2 for one in seen) / len(seen)
    ),
    "min": min,
    "max": max,
    "sum": math.fsum,
}


def random_series(lengths: list[int], seed: int, channels: int = 2) -> SeriesSet:
    """Series of noise in which every fourth value is missing."""
    random = np.random.default_rng(seed)
    values = random.normal(5, 3, (sum(lengths), channels)).astype(np.float32)
    observed = random.random(values.shape) > 0.25
    values[~observed] = 0
    return replace(integers(*lengths, channels=channels, observed=observed), values=values)


def past_of(series: SeriesSet, row: int) -> int:
    """The first row of the series of this row."""
    return int(series.offsets[np.searchsorted(series.offsets, row, side="right") - 1])


def seen(series: SeriesSet, first: int, last: int, channel: int) -> list[float]:
    """The observed values of these rows that belong to the series of the last one."""
    rows = range(max(first, past_of(series, last)), last + 1)
    return [float(series.values[row, channel]) for row in rows if series.observed[row, channel]]


lengths_of_series = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(lengths=lengths_of_series, seed=st.integers(0, 99), rows_at_once=st.sampled_from([1, 9, 2**22]))
@settings(max_examples=25, deadline=None)
def test_lags_and_statistics_are_what_counting_by_hand_gives(lengths, seed, rows_at_once):
    series = random_series(lengths, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lags, "ROWS_AT_ONCE", rows_at_once)
        lagged = {column.name: column for column in Lags([1, 3])(series, horizon=2)}
        rolled = {column.name: column for column in Rolling(ROLLING)(series, horizon=2)}
    assert [(name, column.known) for name, column in lagged.items()] == [
        ("a lag 1", False), ("b lag 1", False), ("a lag 3", True), ("b lag 3", True)
    ]  # fmt: skip
    assert not any(column.known for column in rolled.values()) and len(rolled) == 2 * len(ROLLING)
    for row in range(len(series.values)):
        for channel, name in enumerate("ab"):
            for lag in (1, 3):
                before = seen(series, row - lag, row, channel) if row - lag >= past_of(series, row) else []
                there = bool(before) and series.observed[row - lag, channel]
                assert lagged[f"{name} lag {lag}"].values[row] == pytest.approx(
                    before[0] if there else NAN, nan_ok=True
                )
            for asked in ROLLING:
                statistic, steps = asked.split("_")
                values = seen(series, row - int(steps) + 1, row, channel)
                wanted = FORMULAS[statistic](values) if values else NAN
                found = rolled[f"{name} {statistic} {steps}"].values[row]
                assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5, nan_ok=True)


@given(lengths=lengths_of_series, seed=st.integers(0, 99), share=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_nothing_looks_ahead(lengths, seed, share):
    """Changing the target after row t of a series changes no column at or before t, a lag L not before t + L + 1."""
    lengths = [20, *lengths]
    series = random_series(lengths, seed)
    series.observed[:10] = True  # so that every column has a value in training
    train = Span(np.array([0, *series.offsets[1:-1]]), np.array([10, *series.offsets[1:-1]]))
    made = build_transforms([], None, [1, 2, 6], ROLLING)
    index = seed % len(lengths)
    first = int(series.offsets[index]) + (10 if index == 0 else 0)  # what the training rows say fills gaps: they stay
    last = min(first + int(share * (series.offsets[index + 1] - first)), series.offsets[index + 1] - 1)
    after = slice(last + 1, series.offsets[index + 1])
    values, observed = series.values.copy(), series.observed.copy()
    values[after], observed[after] = 1e4, True
    one, two = (prepare_covariates(given, train, 2, made).series
                for given in (series, replace(series, values=values, observed=observed)))  # fmt: skip
    changed = (one.past_covariates != two.past_covariates).any(axis=1)
    assert not changed[: last + 1].any() and not changed[after.stop :].any()
    for name, before, later in zip(
        one.known_covariate_names, one.known_covariates.T, two.known_covariates.T, strict=True
    ):
        lag = int(name.removesuffix(" missing").rpartition(" ")[2])
        changed = before != later
        assert lag >= 2 and not changed[: last + lag + 1].any() and not changed[after.stop :].any()
    assert {"a lag 2", "a lag 6"} <= set(one.known_covariate_names)
    assert {"a lag 1", "a mean 3"} <= set(one.past_covariate_names)


def test_a_known_lag_of_the_step_h_ahead_is_the_value_that_many_steps_before_it():
    data = SeriesData(integers(80, 90), past_steps=5, horizon=3, lags=[3, 10, 2], split=[0.6, 0.2, 0.2])
    data.setup()
    assert data.spec.known_covariates[::2] == ("a lag 3", "a lag 10") and data.spec.past_covariates[0] == "a lag 2"
    for window in data.loaders["validation"]:
        check(window, data.spec)
        steps = torch.cat([window.inputs.past_target, window.targets.target], dim=1)[..., 0]
        torch.testing.assert_close(window.inputs.known_covariates[..., 0], steps - 3)
        torch.testing.assert_close(window.inputs.known_covariates[..., 2], steps - 10)
        torch.testing.assert_close(window.inputs.past_covariates[..., 0], steps[:, :5] - 2)
        assert (window.inputs.known_covariates[:, -1, 0] == window.inputs.past_target[:, -1, 0]).all()


def with_covariates(**columns: list[float]) -> SeriesSet:
    """Two series of 20 steps with past covariates."""
    values = np.array(list(columns.values()), np.float32).T
    return replace(integers(20, 20), past_covariates=values, past_covariate_names=tuple(columns))


def test_a_gap_repeats_the_value_before_it_and_is_marked():
    wind = [NAN, NAN, 1, 2, NAN, NAN, 3, *[3] * 13, NAN, 5, *[5] * 17, NAN]
    full = [float(row) for row in range(40)]
    data = SeriesData(with_covariates(wind=wind, full=full), past_steps=5, horizon=2, split=[10, 5, 5])
    data.setup()
    mean = np.nanmean([*wind[:10], *wind[20:30]])
    assert data.spec.past_covariates == ("wind", "wind missing", "full")
    filled, mark, same = data.series.past_covariates.T
    assert filled.tolist() == pytest.approx([mean, mean, 1, 2, 2, 2, 3, *[3] * 13, mean, *[5] * 19])
    assert mark.tolist() == np.isnan(wind).tolist()
    assert same.tolist() == full
    assert data.spec.past_statistics.mean[1:] == (0.0, pytest.approx(np.mean([*range(10), *range(20, 30)])))
    assert data.spec.past_statistics.deviation[1] == 1.0  # a mark stays 0 or 1
    assert data.series.notes == (
        "integers: column 'wind': missing values filled, 3 with the last one before, 3 at the beginning of a series"
        f" with the training mean {mean:g}; marked in 'wind missing'.",
    )
    assert np.isnan(data.input_series.past_covariates).any()  # what was read is left as it was


def test_a_gap_outside_training_has_no_mark_as_it_could_not_be_learnt():
    data = SeriesData(
        with_covariates(wind=[*range(18), NAN, NAN, *range(20)]), past_steps=5, horizon=2, split=[10, 5, 5]
    )
    data.setup()
    assert data.spec.past_covariates == ("wind",)
    assert data.series.past_covariates[17:21, 0].tolist() == [17, 17, 17, 0]
    (note,) = data.series.notes
    assert note == "integers: column 'wind': missing values filled, 2 with the last one before."


def test_statics_reach_their_windows_and_a_missing_one_is_the_mean_of_the_others():
    series = replace(integers(30, 30, 30), static=np.float32([[4, 7], [NAN, 8], [6, 9]]), static_names=("size", "age"))
    data = SeriesData(series, past_steps=5, horizon=2)
    data.setup()
    assert data.spec.statics == ("size", "age")
    assert data.spec.static_statistics.mean == (pytest.approx(5.0), pytest.approx(8.0))
    assert data.spec.static_statistics.deviation[1] == pytest.approx(math.sqrt(2 / 3))
    assert data.series.notes == ("integers: column 'size': missing values filled, 1 with the training mean 5.",)
    wanted = torch.tensor([[4.0, 7.0], [5.0, 8.0], [6.0, 9.0]])
    for stage in ("train", "validation", "test"):
        for window in data.loaders[stage]:
            check(window, data.spec)
            assert torch.equal(window.inputs.static, wanted[window.inputs.series])


def test_statics_of_series_outside_training_do_not_count():
    series = replace(integers(*[30] * 4), static=np.float32([[1], [3], [100], [1000]]), static_names=("size",))
    data = SeriesData(series, past_steps=5, horizon=2, split=[2, 1, 1], split_by="series")
    data.setup()
    assert data.spec.static_statistics == ((2.0,), (1.0,))


def test_series_without_covariates_stay_the_very_same():
    series = integers(30, 40)
    prepared = prepare_covariates(series, Span(series.offsets[:-1], series.offsets[1:]), 2, [])
    assert prepared.series.values is series.values and prepared.categories == prepared.marks == ()
    assert prepared.series.past_covariates is prepared.series.known_covariates is prepared.series.static is None
    full = with_covariates(wind=list(range(40)))
    assert (
        prepare_covariates(full, Span(full.offsets[:-1], full.offsets[1:]), 2, []).series.past_covariates
        is full.past_covariates
    )


def test_a_step_made_explicit_has_its_own_calendar_and_the_covariates_of_the_row_before():
    time = np.datetime64("2020-01-01", "us") + np.arange(40) * np.timedelta64(1, "D")
    values, observed = np.arange(40, dtype=np.float32)[:, None], np.arange(40)[:, None] != 9
    series = SeriesSet(values * observed, np.array([0, 40]), ("y",), observed=observed, time=time)
    data = SeriesData(series, past_steps=5, horizon=2, calendar=["weekday:category"], lags=[1, 7], rolling=["max_3"])
    data.setup()
    past = dict(zip(data.spec.past_covariates, data.series.past_covariates.T, strict=True))
    known = dict(zip(data.spec.known_covariates, data.series.known_covariates.T, strict=True))
    assert known["weekday"][8:12].tolist() == [4, 5, 6, 7]
    assert past["y lag 1"][8:12].tolist() == [7, 8, 8, 10] and past["y lag 1 missing"][8:12].tolist() == [0, 0, 1, 0]
    assert known["y lag 7"][15:18].tolist() == [8, 8, 10] and past["y max 3"][8:12].tolist() == [8, 8, 10, 11]
    assert data.series.notes == ()  # that a series has no past before it begins is no repair


def test_a_spike_leaves_no_trace_in_the_statistics_after_it():
    values = np.float32([*[1e8] * 5, *[1, 2, 3] * 4])
    series = replace(integers(17), values=values[:, None])
    deviation, mean = (column.values for column in Rolling(["deviation_3", "mean_3"])(series, 1))
    np.testing.assert_allclose(deviation[7:], math.sqrt(2 / 3), rtol=1e-6)
    np.testing.assert_allclose(mean[7:], 2, rtol=1e-6)


def test_one_value_is_as_good_as_a_list_of_it():
    single = build_transforms("hour", "US", 24, "mean_24")
    several = build_transforms(["hour"], ["US"], [24], ["mean_24"])
    assert [vars(one) for one in single] == [vars(one) for one in several] and len(single) == 4
    assert build_transforms((), None, (), ()) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lags": 0}, "data.lags holds 0; a lag"),
        ({"rolling": "mean"}, "data.rolling holds 'mean'"),
        ({"calendar": "hours"}, "data.calendar holds 'hours', which is unknown"),
        ({"lags": [0]}, "data.lags holds 0; a lag is a whole number of steps of at least 1"),
        ({"lags": [1.5]}, "data.lags holds 1.5"),
        ({"lags": [7, 7]}, "data.lags holds 7 twice"),
        ({"rolling": ["men_7"]}, "data.rolling holds 'men_7'; it must be one of mean, deviation.*; nearest: mean_7"),
        ({"rolling": ["mean_0"]}, "data.rolling holds 'mean_0'.*; nearest: mean_24"),
        ({"rolling": ["mean"]}, "a number of steps of at least 1; nearest: mean_24"),
        ({"rolling": ["median_24"]}, "nearest: mean_24"),
        ({"rolling": ["max12"]}, "nearest: max_12"),
        ({"rolling": ["xyz"]}, "nearest: mean_24"),
        ({"rolling": ["deviaton_1"]}, "nearest: deviation_24"),
        ({"rolling": ["deviation_1"]}, "a deviation needs at least 2 steps"),
        ({"rolling": ["sum_3", "sum_3"]}, "'sum_3' twice"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_read(asked, message):
    with pytest.raises(InputError, match=message):
        SeriesData(integers(40), past_steps=5, horizon=2, **asked)


@pytest.mark.parametrize(
    ("series", "asked", "message"),
    [
        (integers(40), {"lags": [50]}, r"integers: data\.lags: 'a lag 50' has no value in the training part"),
        (with_covariates(wind=[NAN] * 40), {}, r"integers: column 'wind' has no value in the training part"),
        (
            replace(with_covariates(wind=[1.0] * 40), past_covariate_names=("a lag 1",)),
            {"lags": [1]},
            r"integers: 2 covariates are called 'a lag 1': rename",
        ),
    ],
)
def test_a_column_that_can_teach_nothing_is_refused(series, asked, message):
    with pytest.raises(InputError, match=message):
        SeriesData(series, past_steps=5, horizon=2, **asked).setup()
