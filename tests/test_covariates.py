"""Covariates: lags and rolling features against slow formulas, imputation, categories, and no use of the future."""

import math
from dataclasses import replace
from itertools import pairwise, product
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from data import SeriesData, integers, prepare
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.covariates import lags
from datamodules.covariates.lags import Lags, Rolling
from datamodules.covariates.prepare import build_transforms, prepare_covariates
from datamodules.series import SeriesSet, Span
from seqmodels.errors import InputError
from seqmodels.window import Category, check

NAN = float("nan")
ROLLING = ["mean_3", "deviation_4", "min_2", "max_5", "sum_3"]
FORMULAS = {"mean": fmean, "deviation": pstdev, "min": min, "max": max, "sum": math.fsum}


def random_series(lengths: list[int], seed: int, channels: int = 2) -> SeriesSet:
    """Series of noise with a quarter of the values missing."""
    random = np.random.default_rng(seed)
    values = random.normal(5, 3, (sum(lengths), channels)).astype(np.float32)
    observed = random.random(values.shape) > 0.25
    values[~observed] = 0
    return replace(integers(*lengths, channels=channels, observed=observed), values=values)


lengths_of_series = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(lengths=lengths_of_series, seed=st.integers(0, 99), rows_at_once=st.sampled_from([1, 9, 2**22]))
@settings(max_examples=25, deadline=None)
def test_lags_and_rolling_features_equal_slow_formulas(lengths, seed, rows_at_once):
    series = random_series(lengths, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lags, "ROWS_AT_ONCE", rows_at_once)
        lagged = {column.name: column for column in Lags([1, 3])(series, horizon=2)}
        rolled = {column.name: column for column in Rolling(ROLLING)(series, horizon=2)}
    assert [(name, column.known) for name, column in lagged.items()] == [
        ("a lag 1", False), ("b lag 1", False), ("a lag 3", True), ("b lag 3", True)
    ]  # fmt: skip
    assert not any(column.known for column in rolled.values()) and len(rolled) == 2 * len(ROLLING)
    known = np.where(series.observed, series.values, NAN)
    for first, last in pairwise(series.offsets):
        for step, (channel, name) in product(range(last - first), enumerate("ab")):
            values = known[first:last, channel].tolist()
            for lag in (1, 3):
                wanted = values[step - lag] if step >= lag else NAN
                assert lagged[f"{name} lag {lag}"].values[first + step] == pytest.approx(wanted, nan_ok=True)
            for asked in ROLLING:
                statistic, steps = asked.split("_")
                window = [one for one in values[max(0, step - int(steps) + 1) : step + 1] if not math.isnan(one)]
                wanted = FORMULAS[statistic](window) if window else NAN
                found = rolled[f"{name} {statistic} {steps}"].values[first + step]
                assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5, nan_ok=True)


@given(lengths=lengths_of_series, seed=st.integers(0, 99), share=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_nothing_looks_ahead(lengths, seed, share):
    """Changing the target after row t of a series changes no column at or before t, a lag L not before t + L + 1."""
    lengths = [20, *lengths]
    series = random_series(lengths, seed)
    series.observed[:10] = True  # so that every column has a value in training
    train = Span(np.array([0, *series.offsets[1:-1]]), np.array([10, *series.offsets[1:-1]]))
    transforms = build_transforms(lags=[1, 2, 6], rolling=ROLLING)
    index = seed % len(lengths)
    first = int(series.offsets[index]) + (10 if index == 0 else 0)  # what the training rows say fills gaps: they stay
    last = min(first + int(share * (series.offsets[index + 1] - first)), series.offsets[index + 1] - 1)
    after = slice(last + 1, series.offsets[index + 1])
    values, observed = series.values.copy(), series.observed.copy()
    values[after], observed[after] = 1e4, True
    one, two = (prepare_covariates(given, train, 2, transforms).series
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


def test_lags_line_up_with_the_steps_of_a_window():
    data = prepare(integers(80, 90), horizon=3, lags=[3, 10, 2], split=[0.6, 0.2, 0.2])
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


def test_missing_numbers_are_forward_filled_and_marked():
    wind = [NAN, NAN, 1, 2, NAN, NAN, 3, *[3] * 13, NAN, 5, *[5] * 17, NAN]
    full = [float(row) for row in range(40)]
    data = prepare(with_covariates(wind=wind, full=full), split=[10, 5, 5])
    mean = np.nanmean([*wind[:10], *wind[20:30]])
    assert data.spec.past_covariates == ("wind", "wind missing", "full")
    imputed, indicator, same = data.series.past_covariates.T
    assert imputed.tolist() == pytest.approx([mean, mean, 1, 2, 2, 2, 3, *[3] * 13, mean, *[5] * 19])
    assert indicator.tolist() == np.isnan(wind).tolist()
    assert same.tolist() == full
    assert data.spec.past_statistics.mean[1:] == (0.0, pytest.approx(np.mean([*range(10), *range(20, 30)])))
    assert data.spec.past_statistics.deviation[1] == 1.0  # an indicator is not standardised
    assert data.series.notes == (
        "integers: column 'wind': missing values imputed: 3 with the previous value, 3 at the beginning of a series"
        f" with the training mean {mean:g}; marked in 'wind missing'.",
    )
    assert np.isnan(data.input_series.past_covariates).any()  # the array that was read is unchanged


def test_no_missing_indicator_without_missing_training_values():
    data = prepare(with_covariates(wind=[*range(18), NAN, NAN, *range(20)]), split=[10, 5, 5])
    assert data.spec.past_covariates == ("wind",)
    assert data.series.past_covariates[17:21, 0].tolist() == [17, 17, 17, 0]
    (note,) = data.series.notes
    assert note == "integers: column 'wind': missing values imputed: 2 with the previous value."


def test_statics_reach_the_windows_and_missing_ones_become_the_mean():
    series = replace(integers(30, 30, 30), static=np.float32([[4, 7], [NAN, 8], [6, 9]]), static_names=("size", "age"))
    data = prepare(series)
    assert data.spec.statics == ("size", "age")
    assert data.spec.static_statistics.mean == (pytest.approx(5.0), pytest.approx(8.0))
    assert data.spec.static_statistics.deviation[1] == pytest.approx(math.sqrt(2 / 3))
    assert data.series.notes == ("integers: column 'size': missing values imputed: 1 with the training mean 5.",)
    wanted = torch.tensor([[4.0, 7.0], [5.0, 8.0], [6.0, 9.0]])
    for stage in ("train", "validation", "test"):
        for window in data.loaders[stage]:
            check(window, data.spec)
            assert torch.equal(window.inputs.static, wanted[window.inputs.series])


def test_statistics_of_statics_use_training_series_only():
    series = replace(integers(*[30] * 4), static=np.float32([[1], [3], [100], [1000]]), static_names=("size",))
    data = prepare(series, split=[2, 1, 1], split_by="series")
    assert data.spec.static_statistics[:2] == ((2.0,), (1.0,))


def test_arrays_that_need_no_change_are_not_copied():
    series = integers(30, 40)
    prepared = prepare_covariates(series, Span(series.offsets[:-1], series.offsets[1:]), 2, [])
    assert prepared.series.values is series.values and prepared.categories == prepared.indicators == ()
    assert prepared.series.past_covariates is prepared.series.known_covariates is prepared.series.static is None
    full = with_covariates(wind=list(range(40)))
    prepared = prepare_covariates(full, Span(full.offsets[:-1], full.offsets[1:]), 2, [])
    assert prepared.series.past_covariates is full.past_covariates


def test_covariates_of_an_unobserved_step():
    time = np.datetime64("2020-01-01", "us") + np.arange(40) * np.timedelta64(1, "D")
    values, observed = np.arange(40, dtype=np.float32)[:, None], np.arange(40)[:, None] != 9
    series = SeriesSet(values * observed, np.array([0, 40]), ("y",), observed=observed, time=time)
    data = prepare(series, calendar=["weekday:category"], lags=[1, 7], rolling=["max_3"])
    past = dict(zip(data.spec.past_covariates, data.series.past_covariates.T, strict=True))
    known = dict(zip(data.spec.known_covariates, data.series.known_covariates.T, strict=True))
    assert known["weekday"][8:12].tolist() == [4, 5, 6, 7]
    assert past["y lag 1"][8:12].tolist() == [7, 8, 8, 10] and past["y lag 1 missing"][8:12].tolist() == [0, 0, 1, 0]
    assert known["y lag 7"][15:18].tolist() == [8, 8, 10] and past["y max 3"][8:12].tolist() == [8, 8, 10, 11]
    assert data.series.notes == ()  # missing lags at the beginning of a series are not worth a note


def test_a_spike_does_not_affect_later_rolling_features():
    values = np.float32([*[1e8] * 5, *[1, 2, 3] * 4])
    series = replace(integers(17), values=values[:, None])
    deviation, mean = (column.values for column in Rolling(["deviation_3", "mean_3"])(series, 1))
    np.testing.assert_allclose(deviation[7:], math.sqrt(2 / 3), rtol=1e-6)
    np.testing.assert_allclose(mean[7:], 2, rtol=1e-6)


def test_a_single_value_equals_a_list_of_one():
    single = build_transforms(calendar="hour", holidays="US", lags=24, rolling="mean_24")
    several = build_transforms(calendar=["hour"], holidays=["US"], lags=[24], rolling=["mean_24"])
    assert [vars(one) for one in single] == [vars(one) for one in several] and len(single) == 4
    assert build_transforms(calendar=(), holidays=None, lags=(), rolling=()) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lags": 0}, "data.lags holds 0; a lag must"),
        ({"rolling": "mean"}, "data.rolling holds 'mean'"),
        ({"calendar": "hours"}, "data.calendar holds 'hours', which is unknown"),
        ({"lags": [0]}, "data.lags holds 0; a lag must be a whole number of steps of at least 1"),
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
def test_invalid_settings_are_refused_before_reading(asked, message):
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
def test_columns_without_a_training_value_or_with_a_duplicate_name_are_refused(series, asked, message):
    with pytest.raises(InputError, match=message):
        prepare(series, **asked)


COLOURS = ("blue", "green", "red", "white")
BLUE, GREEN, RED, WHITE = 1, 2, 3, 4


def coloured(codes: list[int], **others) -> SeriesSet:
    """One series whose past covariate is a colour."""
    return replace(
        integers(len(codes)),
        past_covariates=np.float32(codes)[:, None],
        past_covariate_names=("colour",),
        categories={"colour": COLOURS},
        **others,
    )


SPLIT = [10, 10, 10]


def test_categories_not_in_training_become_unknown():
    given = [RED, RED, BLUE, 0, RED, BLUE, 0, RED, RED, RED, *[WHITE, GREEN, RED, BLUE, 0] * 4]
    data = prepare(coloured(given), split=SPLIT)
    assert data.spec.categories == (Category("colour", ("blue", "red"), (0.2, 0.6)),)  # two of ten rows have no value
    number = {RED: 2, BLUE: 1}
    assert data.series.past_covariates[:, 0].tolist() == [number.get(one, 0) for one in given]
    assert data.series.categories == {"colour": ("blue", "red")}
    assert data.spec.past_statistics[:2] == ((0.0,), (1.0,))
    assert data.series.notes == (
        "integers: column 'colour': 'green', 'white' not in the training part: unknown in 8 rows.",
    )
    for window in data.loaders["test"]:
        check(window, data.spec)
        assert set(window.inputs.past_covariates.unique().tolist()) <= {0, 1, 2}


def test_nothing_changes_if_training_has_all_categories():
    series = coloured([BLUE, GREEN, RED, WHITE, *[RED] * 26])
    data = prepare(series, split=SPLIT)
    assert data.spec.categories == (Category("colour", COLOURS, (0.1, 0.1, 0.7, 0.1)),)
    assert data.series.past_covariates is series.past_covariates and data.series.notes == ()


def test_later_rows_do_not_change_the_codes():
    before = [BLUE, RED] * 5
    one, two = (prepare(coloured([*before, *later]), split=SPLIT) for later in ([RED] * 20, [GREEN] * 20))
    assert one.spec == two.spec
    assert (one.series.past_covariates[:10] == two.series.past_covariates[:10]).all()


def test_no_note_on_a_category_that_no_row_has():
    data = prepare(coloured([BLUE, RED] * 15), split=SPLIT)
    assert data.spec.categories[0].values == ("blue", "red") and data.series.notes == ()


def test_the_note_names_the_first_unknown_categories():
    values = tuple(f"shop {number}" for number in range(9))
    series = coloured([1] * 10 + [2, 3, 4, 5, 6, 7, 8, 9, 9, 9] * 2)
    data = prepare(replace(series, categories={"colour": values}), split=SPLIT)
    (note,) = data.series.notes
    assert note.endswith("'shop 1', 'shop 2', 'shop 3' and 5 more not in the training part: unknown in 20 rows.")


def test_a_static_category_counts_series_not_rows():
    regions = np.float32([[1, 5], [2, 6], [1, 7], [3, 8], [3, 9]])
    series = replace(
        integers(*[30] * 5), static=regions, static_names=("region", "size"), categories={"region": COLOURS[:3]}
    )
    data = prepare(series, split=[3, 1, 1], split_by="series")
    assert data.spec.categories == (Category("region", ("blue", "green"), (2 / 3, 1 / 3)),)
    assert data.spec.static_statistics.mean == (0.0, 6.0) and data.spec.static_statistics.deviation[0] == 1.0
    assert data.series.notes == ("integers: column 'region': 'red' not in the training part: unknown in 2 series.",)
    for window in data.loaders["test"]:
        assert torch.equal(window.inputs.static, torch.tensor([[0.0, 9.0]]).expand(len(window.origin), 2))


def test_a_category_without_a_training_value_is_refused():
    with pytest.raises(InputError, match=r"column 'colour' has no value in the training part \(data\.split\)"):
        prepare(coloured([*[0] * 10, *[RED] * 20]), split=SPLIT)


def test_calendar_categories_not_in_training_become_unknown():
    time = np.datetime64("2020-01-06", "us") + np.arange(150) * np.timedelta64(1, "D")
    data = prepare(replace(integers(150), time=time), split=[60, 45, 45], calendar=["month:category"])
    assert data.spec.categories[0].values == ("January", "February", "March")
    assert data.spec.categories[0].shares == pytest.approx((26 / 60, 29 / 60, 5 / 60))
    assert data.series.notes == (
        "integers: data.calendar: 'month': 'April', 'May', 'June' not in the training part: unknown in 64 rows.",
    )
