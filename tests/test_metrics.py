"""Errors against independent formulas, in any batching, with and without missing values."""

import math

import numpy as np
import pytest
import torch
import zoo
from data import build_data, integers, prepare

from datamodules.series import SeriesSet
from seqmodels.baselines import rules as baselines
from seqmodels.metrics import MODEL, NAIVE, ForecastErrors
from seqmodels.report.output import to_text
from seqmodels.report.results import result_table


def measured(model, loader, seasonal_errors=None):
    errors = ForecastErrors(model.spec, seasonal_errors)
    for window in loader:
        errors.update(model.head.mean(model(window.inputs).forecast)[:, -1], window.inputs, window.targets)
    return errors


@pytest.mark.parametrize("batch", [1, 4, 7, 1000])
def test_errors_do_not_depend_on_the_size_of_batches(batch):
    data = build_data(100, channels=2, split=[60, 20, 20], evaluation_batch_size=batch, season=3)
    errors = measured(baselines.Naive(data.spec), data.loaders["validation"])
    table = errors.compute()
    # On increasing integers the naive forecast is off by 1 at the first lead and by 2 at the second.
    assert table.absolute.tolist() == [[1, 1], [2, 2]] and table.squared.tolist() == [[1, 1], [4, 4]]
    summary = table.summary()
    assert summary == pytest.approx({"mae": 1.5, "mse": 2.5, "rmse": 2.5**0.5, "mase": 0.5})
    assert int(errors.windows) == 19


def test_errors_equal_numpy_over_what_was_observed():
    inputs, targets, _ = zoo.window(zoo.RICH, batch=9)
    forecast = torch.randn_like(targets.target)
    errors = ForecastErrors(zoo.RICH)
    errors.update(forecast[:4], *(type(p)(*(f[:4] for f in p)) for p in (inputs, targets)))
    errors.update(forecast[4:], *(type(p)(*(f[4:] for f in p)) for p in (inputs, targets)))
    mask, difference = targets.observed.numpy(), (forecast - targets.target).numpy().astype(np.float64)
    unit = inputs.seasonal_error.numpy()[:, None]
    assert not mask.all()
    expected = {
        "mae": np.abs(difference)[mask].mean(),
        "mse": np.square(difference)[mask].mean(),
        "rmse": np.square(difference)[mask].mean() ** 0.5,
        "mase": (np.abs(difference) / unit)[mask].mean(),
    }
    assert errors.compute().summary() == pytest.approx(expected, rel=1e-6)


def test_seasonal_naive_repeats_the_last_season():
    data = build_data(100, split=[60, 20, 20], season=3, past_steps=7, horizon=5)
    window = data.examples("validation", 3)
    forecast = baselines.SeasonalNaive(data.spec)(window.inputs).forecast[..., 0]
    last = window.inputs.past_target[:, -3:, 0]
    torch.testing.assert_close(forecast[:, 0, :, 0], torch.cat([last, last[:, :2]], dim=1))


def test_seasonal_naive_steps_over_missing_values():
    spec = zoo.SPEC._replace(channels=("a",), past_steps=8, horizon=4, season=4, missing=True)
    past = torch.arange(8.0).reshape(1, 8, 1)
    observed = torch.ones(1, 8, 1, dtype=torch.bool)
    observed[0, [4, 5, 1], 0] = False
    inputs = spec.zeros()._replace(past_target=past * observed, past_observed=observed)
    forecast = baselines.SeasonalNaive(spec)(inputs).forecast[0, 0, :, 0, 0].tolist()
    assert forecast == [0, 7, 6, 7]  # 4 missing: one season earlier; 5 and 1 missing: the newest value


def test_naive_uses_the_newest_observed_value():
    inputs = zoo.RICH.zeros()._replace(past_target=torch.arange(20.0).reshape(1, 20, 1).expand(1, 20, 2))
    observed = inputs.past_observed.clone()
    observed[0, -3:, 0] = False
    forecast = baselines.Naive(zoo.RICH)(inputs._replace(past_observed=observed)).forecast[0, 0, :, :, 0]
    assert forecast.tolist() == [[16, 19]] * 3


def test_moving_average_is_the_mean_of_the_last_steps():
    inputs = zoo.SPEC.zeros()._replace(past_target=torch.arange(20.0).reshape(1, 20, 1).expand(1, 20, 2))
    assert zoo.BASELINES["moving_average"](zoo.SPEC)(inputs).forecast.unique().tolist() == [17.5]


def test_shapes_that_would_broadcast_are_refused():
    inputs, targets, _ = zoo.window(zoo.SPEC)
    with pytest.raises(ValueError, match="must agree"):
        ForecastErrors(zoo.SPEC).update(targets.target[:, :1], inputs, targets)
    with pytest.raises(ValueError, match="same shape"):
        zoo.Point().loss(torch.zeros(2, 1, 3, 1, 1), torch.zeros(2, 1, 3, 2))


def panel_without_units(**windows):
    """Four series of 100 rows and two channels; in training b is constant, c repeats its season, d has one value.

    The first channel of series a changes throughout, the second only after training.
    """
    random = np.random.default_rng(0)
    values = random.normal(size=(4, 100, 2)).astype(np.float32)
    observed = np.ones((4, 100, 2), dtype=bool)
    values[0, :60, 1] = 3.0
    values[1, :60] = 7.0
    values[2, :60] = (np.arange(60) % 3)[:, None]
    observed[3, 1:60] = False
    values *= observed
    series = SeriesSet(
        values.reshape(-1, 2),
        np.arange(5) * 100,
        ("x", "y"),
        observed=observed.reshape(-1, 2),
        names=("a", "b", "c", "d"),
    )
    return prepare(series, **{"split": [60, 20, 20], "season": 3, **windows})


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_series_without_a_seasonal_error_are_left_out_of_mase_only(batch):
    data = panel_without_units(evaluation_batch_size=batch)
    errors = ForecastErrors(data.spec, data.denominators["validation"])
    absolute = []
    for window in data.loaders["validation"]:
        forecast = baselines.Naive(data.spec)(window.inputs).forecast[:, -1, ..., 0]
        errors.update(forecast, window.inputs, window.targets)
        difference = (forecast - window.targets.target).abs().double()
        absolute += list(zip(window.inputs.series.tolist(), difference.numpy(), strict=True))
    values = data.input_series.values[:60, 0].astype(np.float64)
    unit = np.abs(values[3:] - values[:-3]).mean()
    expected = np.mean([part[:, 0] / unit for series, part in absolute if series == 0])
    table = errors.compute()
    assert table.summary()["mase"] == table.channel(0).summary()["mase"] == pytest.approx(expected, rel=1e-6)
    assert math.isnan(table.channel(1).summary()["mase"]), "no series has a unit"
    assert table.summary()["mae"] == pytest.approx(np.mean([part for _, part in absolute]))


def test_what_has_no_seasonal_error_is_noted_and_keeps_a_unit():
    data = panel_without_units()
    x, y = (note for note in data.series.notes if note.startswith("MASE"))
    assert x == (
        "MASE of x is undefined for 2 of 4 series (b, c): no two values 3 steps apart differ in the training part;"
        " for 1 of 4 series (d): no two values 3 steps apart in the training part"
    )
    assert "MASE of y is undefined for 3 of 4 series (a, b, c): " in y
    assert (data.loaders["train"].tensors.seasonal_error > 0).all() and data.has_mase("validation")
    assert data.denominators["validation"].isnan().tolist() == [[False, True]] + [[True, True]] * 3


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ({"season": 70}, "no two values 70 steps apart in the training part"),
        ({"season": 1}, "no two values in a row differ in the training part"),
    ],
)
def test_a_single_series_without_a_seasonal_error_has_no_mase(windows, reason):
    series = integers(100)
    if windows["season"] == 1:
        series.values[:60] = 2.0
    data = prepare(series, split=[60, 20, 20], **windows)
    assert data.series.notes == (f"MASE is undefined for the series: {reason}",)
    assert not data.has_mase("validation") and data.has_mase("test"), "the validation part is before the test part"
    errors = measured(baselines.Naive(data.spec), data.loaders["validation"], data.denominators["validation"])
    rows = {MODEL: errors.compute(), NAIVE: errors.compute()}
    table = to_text(result_table({"validation": rows}, {"validation": 19}, NAIVE))
    assert table.count("naive ") == 1 and table.splitlines()[2].split()[4] == "-", "the model is the naive forecast"
    assert "MASE leaves out 38 of 38 values" in table


@pytest.mark.parametrize("split", [[60, 20, 20], [0.5, 0.25, 0.25], [-40, -13]])
def test_the_mase_of_the_test_part_is_that_of_competitions(split):
    """Its denominator is the mean seasonal difference of all rows before the test part, in float64."""
    data = panel_without_units(split=split)
    start, values = data.spans["test"].start % 100, data.input_series.values.reshape(4, 100, 2).astype(np.float64)
    observed = data.input_series.observed.reshape(4, 100, 2)
    for index, name in enumerate(data.series.names):
        past, known = values[index, : start[index]], observed[index, : start[index]]
        both = known[3:] & known[:-3]
        for power, found in ((1, data.denominators["test"]), (2, data.scale_of_test(data.series, 3, power=2))):
            with np.errstate(invalid="ignore"):
                mean = (np.abs(past[3:] - past[:-3]) ** power * both).sum(axis=0) / both.sum(axis=0)
            np.testing.assert_allclose(found[index], np.where(mean > 0, mean, np.nan), rtol=1e-7, err_msg=name)


def test_new_series_have_the_seasonal_error_of_their_own_past():
    values = [*range(10), *[4.0] * 8, 5.0, 6.0, *range(10)]
    series = SeriesSet(np.float32(values)[:, None], np.array([0, 10, 20, 30]), ("y",))
    data = prepare(series, split=[1, 1, 1], split_by="series", past_steps=8)
    assert data.denominators["test"].isnan()[:, 0].tolist() == [False, True, False]
    assert data.has_mase("test") and not data.has_mase("validation")
    (note,) = data.series.notes
    assert note.endswith("1 of 3 series (series 1): no two values in a row differ before the first target")
