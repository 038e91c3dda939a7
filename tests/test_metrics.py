"""Errors against independent formulas, in any batching, with and without missing values."""

import numpy as np
import pytest
import torch
import zoo
from data import build_data

from seqmodels import baselines
from seqmodels.metrics import ForecastErrors


def measured(model, loader):
    errors = ForecastErrors(model.spec)
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
