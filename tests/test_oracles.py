"""Measures and bands against well-known libraries, on random tables; forecasts and truth are exact in float32."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from data import SeriesData, integers, prepare

from seqmodels.heads.base import DECILES, PERCENTILES, quantile_loss
from seqmodels.heads.quantile import Quantile
from seqmodels.inference.calibration import ErrorSample
from seqmodels.inference.scores import BANDS, ENDS, SUMS, Scales, WindowScores
from seqmodels.metrics import ForecastErrors
from seqmodels.window import Window

SEASON, HORIZON = 4, 3
NAMES = tuple(f"s{i:02d}" for i in range(12))


@pytest.fixture(scope="module")
def data() -> SeriesData:
    """A panel of unequal series, of which the last three rows are one test window each."""
    random = np.random.default_rng(0)
    lengths = random.integers(30, 60, size=len(NAMES))
    values = np.round(random.normal(20, 9, size=(lengths.sum(), 1)) * 64) / 64
    series = replace(integers(*lengths), values=values.astype(np.float32), names=NAMES, season=SEASON)
    return prepare(series, past_steps=8, horizon=HORIZON, split=[-7, -3])


@pytest.fixture(scope="module")
def made(data: SeriesData) -> tuple[Window, torch.Tensor, torch.Tensor]:
    """The test windows, forecasts (B, H, 1), and quantiles at the ends of the bands and the deciles."""
    (window,) = list(data.test_dataloader())
    generator = torch.Generator().manual_seed(1)
    forecast = (torch.randn(window.targets.target.shape, generator=generator) * 9 * 64).round() / 64 + 20
    levels = torch.tensor((*ENDS, *DECILES), dtype=torch.float64)
    return window, forecast, forecast[..., None].double() + 12 * torch.special.ndtri(levels)


def tables(data: SeriesData, made: tuple[Window, torch.Tensor, torch.Tensor]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The forecasts and the rows before the test part, as utilsforecast reads them."""
    window, forecast, quantiles = made
    flat = {f"q{place}": one.flatten().numpy() for place, one in enumerate(quantiles.unbind(-1))}
    ends = {f"m-{'lo' if place % 2 == 0 else 'hi'}-{list(BANDS)[place // 2]}": flat[f"q{place}"] for place in range(6)}
    given = pl.DataFrame(
        {
            "unique_id": np.repeat([NAMES[i] for i in window.inputs.series.tolist()], HORIZON),
            "ds": np.tile(np.arange(HORIZON), len(NAMES)) + 1000,
            "y": window.targets.target.flatten().double().numpy(),
            "m": forecast.flatten().double().numpy(),
            **flat,
            **ends,
        }
    )
    series, before = data.series, data.spans["test"].start
    past = [
        pl.DataFrame({"unique_id": name, "y": series.values[begin:stop, 0].astype(np.float64)}).with_row_index("ds")
        for name, begin, stop in zip(NAMES, series.offsets[:-1], before, strict=True)
    ]
    return given, pl.concat(past)


def test_errors_are_those_of_utilsforecast(data: SeriesData, made: tuple[Window, torch.Tensor, torch.Tensor]) -> None:
    losses = pytest.importorskip("utilsforecast.losses", reason="utilsforecast is not installed")
    window, forecast, _ = made
    given, past = tables(data, made)
    errors = ForecastErrors(data.spec, data.denominators["test"])
    errors.update(forecast, window.inputs, window.targets)
    (mean,) = errors.compute().mean()
    assert mean.absolute == pytest.approx(losses.mae(given, ["m"])["m"].mean(), rel=1e-9)
    assert mean.squared == pytest.approx(losses.mse(given, ["m"])["m"].mean(), rel=1e-9)
    assert mean.scaled == pytest.approx(losses.mase(given, ["m"], SEASON, past)["m"].mean(), rel=1e-9)


def test_scores_of_each_window_are_those_of_utilsforecast(
    data: SeriesData, made: tuple[Window, torch.Tensor, torch.Tensor]
) -> None:
    losses = pytest.importorskip("utilsforecast.losses", reason="utilsforecast is not installed")
    window, forecast, quantiles = made
    given, past = tables(data, made)
    scales = Scales(data.denominators["test"].double(), data.scale_of_test(data.series, SEASON, power=2))
    scores = WindowScores(len(NAMES), scales)
    scores.add(forecast, quantiles, window)
    series, _, sums = scores.rows()
    found = dict(zip(SUMS, sums.T, strict=True))
    assert series.tolist() == list(range(len(NAMES)))
    levels, columns = np.array(DECILES), [f"q{place}" for place in range(6, 15)]
    expected = {
        "absolute": losses.mae(given, ["m"]),
        "squared": losses.mse(given, ["m"]),
        "signed": losses.bias(given, ["m"]),
        "symmetric": losses.smape(given, ["m"]).with_columns(pl.col("m") * 2),
        "scaled": losses.mase(given, ["m"], SEASON, past),
        "scaled_squared": losses.rmsse(given, ["m"], SEASON, past).with_columns(pl.col("m") ** 2),
        "quantile": losses.mqloss(given, {"m": columns}, levels).with_columns(pl.col("m") * 2),
        **{f"inside_{band}": losses.coverage(given, ["m"], band) for band in BANDS},
    }
    for name, frame in expected.items():
        by_series = frame.sort("unique_id")["m"].cast(pl.Float64).to_numpy()
        assert found[name] / HORIZON == pytest.approx(by_series, rel=1e-9, abs=1e-12), name
    crps = losses.scaled_crps(given, {"m": columns}, levels).sort("unique_id")["m"].to_numpy()
    assert found["quantile"] / found["size"] == pytest.approx(crps, rel=1e-9)


def test_quantile_losses_are_those_of_scoringrules() -> None:
    rules = pytest.importorskip("scoringrules", reason="scoringrules is not installed")
    random = np.random.default_rng(2)
    for levels in (DECILES, PERCENTILES, (0.5,)):
        quantiles, truth = np.sort(random.normal(size=(500, len(levels)))), random.normal(size=500)
        loss = quantile_loss(torch.from_numpy(quantiles), torch.from_numpy(truth), levels).numpy()
        scores = rules.quantile_score(truth[:, None], quantiles, np.array(levels))
        assert loss == pytest.approx(2 * scores.mean(axis=1), rel=1e-9)
        assert loss == pytest.approx(rules.crps_quantile(truth, quantiles, np.array(levels)), rel=1e-9)


def test_the_crps_of_a_quantile_head_is_that_of_scoringrules_from_its_quantiles() -> None:
    rules = pytest.importorskip("scoringrules", reason="scoringrules is not installed")
    random = np.random.default_rng(3)
    head = Quantile()
    parameters, truth = (
        torch.from_numpy(np.sort(random.normal(size=(300, 9)))),
        torch.from_numpy(random.normal(size=300)),
    )
    known = head.quantiles(parameters, PERCENTILES).numpy()
    expected = rules.crps_quantile(truth.numpy(), known, np.array(PERCENTILES))
    assert head.crps(parameters, truth).numpy() == pytest.approx(expected, rel=1e-9)


class Zero:
    """A fitted regressor of scikit-learn that forecasts 0."""

    fitted_ = True

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Zero":
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x))


@pytest.mark.parametrize("count", [40, 57, 400])
def test_the_bands_are_those_of_mapie(count: int) -> None:
    """Split conformal prediction with signed errors: each end of a band is a quantile of its own."""
    regression = pytest.importorskip("mapie.regression", reason="mapie is not installed")
    from mapie.conformity_scores import AbsoluteConformityScore

    errors = torch.randn(count, 1, 1, generator=torch.Generator().manual_seed(count))
    sample = ErrorSample(count, 1, 1)
    sample.errors.append(errors)  # of a forecast of 0, in units of 1
    calibration = sample.calibrate()
    assert calibration is not None
    ends = calibration.quantiles(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), ENDS).flatten().double().numpy()
    theirs = regression.SplitConformalRegressor(
        Zero(), [band / 100 for band in BANDS], AbsoluteConformityScore(sym=False), prefit=True
    ).conformalize(np.zeros((count, 1)), errors.flatten().double().numpy())
    _, bands = theirs.predict_interval(np.zeros((1, 1)))
    assert ends == pytest.approx(bands[0].T.flatten(), rel=1e-9)
