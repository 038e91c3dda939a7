"""The ridge regression against augmented least squares, its laws, and its row beside a trained model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from data import SeriesData, integers, prepare

import seqmodels as sm
from datamodules.series import SeriesSet
from seqmodels.baselines.ridge import PENALTIES, Ridge, solve_ridge
from seqmodels.window import ClosedForm, WindowSpec


def noisy(length: int = 400, channels: int = 1, holes: float = 0.0, series: int = 1) -> SeriesSet:
    """Channels with a season of 6 steps and noise; a share of them missing, and series of quite different size."""
    random = np.random.default_rng(3)
    time = np.arange(length)[:, None]
    parts = [
        10.0**i * (np.sin(time / 6 * 2 * np.pi + np.arange(channels)) + 0.3 * random.normal(size=(length, channels)))
        for i in range(series)
    ]
    values = np.concatenate(parts).astype(np.float32)
    observed = random.random(values.shape) >= holes if holes else None
    values = values if observed is None else np.where(observed, values, 0).astype(np.float32)
    base = integers(*[length] * series, channels=channels)
    return replace(base, values=values, observed=observed, season=6)


def fitted(data: SeriesData, **arguments: int) -> Ridge:
    model = Ridge(data.spec, **arguments)
    assert isinstance(model, ClosedForm) and model.affordable
    model.fit_closed_form(data.sample)
    return model


def arrays(data: SeriesData, stage: str = "train"):
    window = next(iter(data.sample(stage, 10**6)))
    return (part.double().numpy() for part in (window.inputs.past_target, window.targets.target))


def test_the_weights_are_those_of_least_squares_with_rows_for_the_penalty():
    data = prepare(noisy(channels=2), past_steps=9, horizon=3)
    model = fitted(data)
    past, target = arrays(data)
    unit = data.loaders["train"].tensors.seasonal_error[0].double().numpy()
    for channel in range(2):
        x = (past[:, :-1, channel] - past[:, -1:, channel]) / unit[channel]
        y = (target[..., channel] - past[:, -1:, channel]) / unit[channel]
        size = np.sqrt(float(model.penalty[channel]) * (x**2).sum() / x.shape[1])
        rows = np.block([[x, np.ones((len(x), 1))], [size * np.eye(8), np.zeros((8, 1))]])
        expected, *_ = np.linalg.lstsq(rows, np.concatenate([y, np.zeros((8, 3))]), rcond=None)
        assert model.window_weights[channel].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_penalty_is_the_best_one_on_the_validation_windows():
    data = prepare(noisy(90), past_steps=20, horizon=2)  # few windows for 20 weights: a penalty helps
    model = fitted(data)
    moments, window = model._moments(data.sample("train", 10**6), slice(0, 2)), data.examples("validation", 10**6)
    errors = []
    for penalty in PENALTIES:
        model.window_weights[:], model.ahead_weights[:] = solve_ridge(moments, penalty)
        errors.append(float((model(window.inputs).forecast[:, 0, ..., 0] - window.targets.target).abs().mean()))
    assert float(model.penalty) == PENALTIES[int(np.argmin(errors))] > min(PENALTIES)


def test_known_covariates_of_each_lead_enter_by_themselves():
    """The Schur complement gives what one large system of each lead gives."""
    series = noisy(300)
    random = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    values = series.values + random[:, :1] * 5
    known = replace(series, values=values, known_covariates=random, known_covariate_names=("heat", "noise"))
    data = prepare(known, past_steps=8, horizon=4)
    model = fitted(data)
    window = next(iter(data.sample("train", 10**6)))
    features, ahead, last = model._describe(window.inputs)
    unit = window.inputs.seasonal_error[0, 0].double()
    for lead in range(4):
        x = torch.cat([features[0, :, :-1], ahead[:, lead], features[0, :, -1:]], dim=1)
        y = (window.targets.target[:, lead, 0].double() - last[:, 0]) / unit
        squares = features[0, :, :-1].square().sum() + ahead.square().sum(dim=(0, 2)).mean()
        penalty = float(model.penalty) * squares / (x.shape[1] - 1)
        system = x.T @ x + torch.diag(torch.tensor([1.0] * (x.shape[1] - 1) + [0.0])) * penalty
        expected = torch.linalg.solve(system, x.T @ y)
        given = torch.cat([model.window_weights[0, :-1, lead], model.ahead_weights[0, :, lead]])
        torch.testing.assert_close(given, expected[:-1], rtol=1e-5, atol=1e-6)
    error = (model(window.inputs).forecast[:, 0, :, 0, 0] - window.targets.target[..., 0]).abs().mean()
    assert float(error) < 1.5, "the covariate alone changes the target by 5.6 on average"


def test_missing_values_are_skipped_and_each_lead_is_fitted_by_itself_where_few_windows_are_whole():
    whole = fitted(prepare(noisy(600, channels=2), past_steps=8, horizon=3))
    some = fitted(prepare(noisy(600, channels=2, holes=0.02), past_steps=8, horizon=3))
    assert (whole.window_weights - some.window_weights).abs().max() < 0.3
    data = prepare(noisy(600, channels=2, holes=0.7), past_steps=8, horizon=7)
    scarce = Ridge(data.spec)
    moments = scarce._moments(data.sample("train", 10**6), slice(0, 7))
    assert moments.windows.max() < 16, "no channel has twice as many whole windows as features"
    scarce.fit_closed_form(data.sample)
    window = data.examples("test", 10**6)
    inputs, (target, observed) = window.inputs, window.targets
    error = (scarce(inputs).forecast[:, 0, ..., 0] - target).abs()[observed].mean()
    naive = (zoo.rules.Naive(data.spec)(inputs).forecast[:, 0, ..., 0] - target).abs()[observed].mean()
    assert float(error) < 0.85 * float(naive)


def test_series_of_any_size_share_the_weights():
    alone, panel = (prepare(noisy(400, series=count), past_steps=8, horizon=2) for count in (1, 3))
    errors = []
    for data in (alone, panel):
        window = data.examples("test", 10**6)
        error = (fitted(data)(window.inputs).forecast[:, 0, ..., 0] - window.targets.target).abs()
        errors.append(float((error / window.inputs.seasonal_error[:, None]).mean()))
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def random_ridge(spec: WindowSpec) -> Ridge:
    model = Ridge(spec)
    generator = torch.Generator().manual_seed(0)
    for weights in (model.window_weights, model.ahead_weights):
        weights.copy_(torch.randn(weights.shape, generator=generator, dtype=torch.float64))
    return model.eval()


@pytest.mark.parametrize("name", zoo.SPECS)
def test_forecasts_follow_the_units_and_do_not_depend_on_the_level(name):
    model, inputs = random_ridge(zoo.SPECS[name]), zoo.window(zoo.SPECS[name]).inputs
    forecast = model(inputs).forecast
    scaled = inputs._replace(past_target=inputs.past_target * 8, seasonal_error=inputs.seasonal_error * 8)
    torch.testing.assert_close(model(scaled).forecast, forecast * 8, rtol=1e-5, atol=1e-4)
    seen = inputs.past_observed.any(dim=1)[:, None, None, :, None]  # else there is no value to start from
    shifted = inputs._replace(past_target=inputs.past_target + 3.0 * inputs.past_observed)
    torch.testing.assert_close(model(shifted).forecast, forecast + 3.0 * seen, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", zoo.SPECS)
def test_every_lead_depends_on_the_newest_observation_and_on_what_is_known_of_it(name):
    model, spec = random_ridge(zoo.SPECS[name]), zoo.SPECS[name]
    inputs = zoo.window(spec).inputs
    inputs = inputs._replace(past_observed=torch.ones_like(inputs.past_observed))
    newest = inputs.past_target.clone()
    newest[:, -1] += 1.0
    assert (model(inputs._replace(past_target=newest)).forecast != model(inputs).forecast).all()
    if spec.known_covariates:
        known = inputs.known_covariates.clone()
        known[:, -1, 0] += 1.0  # of the last lead
        changed = model(inputs._replace(known_covariates=known)).forecast != model(inputs).forecast
        assert changed[:, :, -1].all() and not changed[:, :, :-1].any()


def test_constant_series_and_single_lags_are_fitted():
    constant = replace(integers(60), values=np.full((60, 1), 7.0, np.float32))
    model = fitted(prepare(constant))
    assert model(model.spec.zeros()._replace(past_target=torch.full((1, 5, 1), 7.0))).forecast.unique().tolist() == [7]
    trend = fitted(prepare(integers(60)), lags=1)  # only the intercept: the step of the trend
    assert trend.window_weights[0, 0].tolist() == pytest.approx([1, 2], rel=1e-6)


@pytest.fixture(scope="module")
def rides() -> pl.DataFrame:
    time = np.arange(300)
    values = 50 + 10 * np.sin(time * 2 * np.pi / 7) + np.random.default_rng(0).normal(size=300)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=299), eager=True)
    return pl.DataFrame({"day": days, "rides": values})


SHORT = {"time": "day", "past_steps": 14, "horizon": 3, "logger": "none", "threads": 1}


def test_its_checkpoint_holds_the_weights(rides: pl.DataFrame, tmp_path: Path):
    run = sm.fit(rides, target="rides", model="ridge", directory=tmp_path / "run", **SHORT)
    assert run.table["row"].unique(maintain_order=True).to_list() == ["ridge", "naive", "seasonal naive"]
    skill = run.table.filter(pl.col("stage") == "test", pl.col("row") == "ridge")["skill"].item()
    assert skill > 0.1
    loaded = sm.load(tmp_path / "run")
    assert float(loaded.model.window_weights.abs().max()) > 0
    assert loaded.forecast(rides).table.equals(run.forecast().table)


def test_a_trained_model_has_it_as_a_rival_on_the_same_windows(rides: pl.DataFrame, tmp_path: Path):
    settings = SHORT | {"trainer": {"max_epochs": 1}, "model": "linear"}
    alone = sm.fit(rides, target="rides", model="ridge", directory=tmp_path / "alone", **SHORT).table
    beside = sm.fit(rides, target="rides", directory=tmp_path / "beside", **settings).table
    without = sm.fit(rides, target="rides", directory=tmp_path / "without", rivals=[], **settings).table
    assert beside.filter(pl.col("row") != "ridge").equals(without)
    assert beside.filter(pl.col("row") == "ridge").equals(alone.filter(pl.col("row") == "ridge"))
    written = pl.read_csv(tmp_path / "beside" / "metrics.csv")
    assert written["row"].to_list() == ["linear", "naive", "seasonal naive", "ridge"] * 2
