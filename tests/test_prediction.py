"""Predictions of a trained model: calibrated quantiles, sample paths, and the cut at 0."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import seqmodels as sm
from datamodules.table import Table
from seqmodels.forecaster import Forecaster
from seqmodels.inference.calibration import ErrorSample, centre_and_unit
from seqmodels.inference.prediction import predict, sample_paths
from seqmodels.report.output import to_text
from seqmodels.report.summary import summarise_model
from seqmodels.window import WindowSpec
from tests import zoo

LEVELS = [0.025, 0.1, 0.5, 0.9, 0.975]
PATHS = [
    ("lstm", readout, scaler, head)
    for readout in ("seq_to_vector", "iterated", "encoder_decoder")
    for scaler, head in (
        ("standard", "quantile"),
        ("window_season", "normal"),
        ("difference_season", "student_t"),
        ("window_season", "negative_binomial"),
    )
] + [("gru", "iterated", "window_asinh", "quantile")]


@pytest.mark.parametrize(("backbone", "readout", "scaler", "head"), PATHS)
def test_sample_paths_are_reproducible_and_begin_as_the_forecast_says(
    backbone: str, readout: str, scaler: str, head: str
) -> None:
    """The first lead follows no draw, so that it has the distribution of the forecast, and paths differ by seed."""
    model, inputs = zoo.forecaster(backbone, readout, scaler, "plain", head), zoo.window(zoo.SPEC).inputs
    inputs = inputs._replace(past_target=inputs.past_target.round() + 9)
    state = torch.random.get_rng_state()
    paths = sample_paths(model, inputs, 3000, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert paths.shape == (3000, 3, 3, 2) and paths.isfinite().all()
    assert torch.equal(paths, sample_paths(model, inputs, 3000, seed=1))
    assert not torch.equal(paths[:9], sample_paths(model, inputs, 9, seed=2))
    with torch.no_grad():
        forecast = model(inputs).forecast[:, -1]
    leads = slice(None) if readout == "seq_to_vector" else slice(1)
    for level in (0.2, 0.5, 0.8):
        at = model.head.quantiles(forecast, [level])[..., 0]
        below, up_to = (paths < at).double().mean(0)[:, leads], (paths <= at).double().mean(0)[:, leads]
        assert (below <= level + 0.04).all() and (up_to >= level - 0.04).all()
    if head == "negative_binomial":
        assert torch.equal(paths, paths.round()) and (paths >= 0).all()


def test_draws_are_fed_back_into_the_next_lead() -> None:
    """One step of memory, the last value plus noise: the deviation of a path grows with the root of the lead."""
    spec = WindowSpec(past_steps=4, horizon=9)
    torch.manual_seed(0)
    parts = zoo.SCALERS["identity"], zoo.partial(zoo.mlp.Linear, lags=1), zoo.READOUTS["iterated"]
    model = Forecaster(spec, *parts, zoo.HEADS["normal"]()).eval()
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    with torch.no_grad():
        assert len(linear) == 1, "the features of this backbone are its lags"
        linear[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        linear[0].bias.zero_()  # a deviation of 1.001
    paths = sample_paths(model, spec.zeros(1), 20_000)[:, 0, :, 0]
    np.testing.assert_allclose(paths.std(0), 1.001 * np.sqrt(np.arange(1, 10)), rtol=0.03)
    assert np.corrcoef(paths.T)[0, 8] == pytest.approx(1 / 3, abs=0.03)


def test_a_point_forecast_has_no_paths() -> None:
    with pytest.raises(sm.InputError, match="has no samples; train with a head that describes a distribution"):
        sample_paths(zoo.forecaster("gru", "iterated", "standard", "plain"), zoo.window(zoo.SPEC).inputs, 5)


@pytest.mark.parametrize("head", zoo.DISTRIBUTIONS)
def test_bands_of_a_distribution_are_as_wide_as_it_is_and_cover_what_they_should(head: str) -> None:
    """Truth of three times the deviation that the head gives: conformal bands cover it, those of the head do not."""
    model = zoo.forecaster("gru", "seq_to_vector", "standard", "plain", head)
    window = zoo.window(zoo.SPEC, batch=3000)
    with torch.no_grad():
        forecast = model(window.inputs).forecast[:, -1]
    centre, unit = centre_and_unit(model.head, forecast, window.inputs)
    noise = torch.randn(unit.shape, generator=torch.Generator().manual_seed(0))
    window = window._replace(targets=window.targets._replace(target=centre + 3 * unit * noise))
    sample = ErrorSample(2000, 3, 2)
    first, last = (zoo.Window(*(cut(part, rows) for part in window)) for rows in (slice(2000), slice(2000, None)))
    sample.add(centre[:2000], unit[:2000], first)
    mean, bands = predict(model, forecast[2000:], last.inputs, sample.calibrate(), LEVELS)
    assert bands is not None and torch.equal(mean, model.head.mean(forecast[2000:]))
    truth = last.targets.target
    covered = ((truth >= bands[..., 1]) & (truth <= bands[..., 3])).double().mean((0, 2))
    np.testing.assert_allclose(covered, 0.8, atol=0.035)
    width = (bands[..., 3] - bands[..., 1]) / unit[2000:]
    assert float((width / width.mean(0)).std()) < 0.01
    _, raw = predict(model, forecast[2000:], last.inputs, None, LEVELS)
    torch.testing.assert_close(raw, model.head.quantiles(forecast[2000:], LEVELS).double())


def cut(part: Any, rows: slice) -> Any:
    return part[rows] if isinstance(part, torch.Tensor) else type(part)(*(one[rows] for one in part))


def cut_model(spec: WindowSpec, nonnegative: bool | str, head: str = "normal") -> Forecaster:
    torch.manual_seed(0)
    parts = zoo.SCALERS["standard"], zoo.BACKBONES["gru"], zoo.READOUTS["iterated"], zoo.HEADS[head]()
    return Forecaster(spec, *parts, nonnegative=nonnegative).eval()


@pytest.mark.parametrize(
    ("setting", "measured", "cut_off"),
    [
        ("auto", (), []),
        ("auto", (True, False), [0]),
        (True, (), [0, 1]),
        (False, (True, True), []),
        ("auto", (True, True), [0, 1]),
    ],
)
def test_what_cannot_be_negative_is_not_forecast_below_0(setting: Any, measured: Any, cut_off: list[int]) -> None:
    spec = zoo.SPEC._replace(nonnegative=measured, target_statistics=zoo.Statistics((0.0, 0.0), (2.0, 0.5)))
    model, inputs = cut_model(spec, setting), zoo.window(zoo.SPEC).inputs
    whole = cut_model(spec, False)
    with torch.no_grad():
        forecast = model(inputs).forecast[:, -1]
    assert torch.equal(forecast, whole(inputs).forecast[:, -1]), "the network itself is not changed"
    for level in (0.0, 0.75):
        given = inputs._replace(level=torch.full((3, 2), level, dtype=torch.float64))
        (mean, bands), (wanted_mean, wanted_bands) = (
            predict(one, forecast, given, None, LEVELS) for one in (model, whole)
        )
        pairs = [(mean + level, wanted_mean + level), *zip(bands.unbind(-1), wanted_bands.unbind(-1), strict=True)]
        pairs.append((sample_paths(model, inputs, 50), sample_paths(whole, inputs, 50)))
        assert all((pairs[place][1][..., channel] < 0).any() for place in (1, -1) for channel in (0, 1))
        for values, wanted in pairs:
            assert not (values.signbit() & (values == 0)).any(), "-0"
            for channel in range(2):
                expected = wanted[..., channel].clamp(min=0) if channel in cut_off else wanted[..., channel]
                torch.testing.assert_close(values[..., channel], expected)
    text = to_text(summarise_model(model, 20, "gru"))
    assert ("are at least 0 (model.nonnegative)" in text) == bool(cut_off)
    assert ("forecasts of a of new rows" in text) == (cut_off == [0])


@pytest.mark.parametrize("setting", ["never", 2, None, "True"])
def test_other_settings_of_nonnegative_are_refused(setting: Any) -> None:
    with pytest.raises(sm.InputError, match="model.nonnegative is .*; it must be auto, true or false"):
        cut_model(zoo.SPEC, setting)


def test_the_training_rows_say_what_cannot_be_negative() -> None:
    rows = np.arange(100.0)
    columns = {
        "up": rows,
        "late": np.where(rows < 90, 1, -1.0),
        "early": rows - 1,
        "gaps": np.where(rows % 9, 5, np.nan),
    }
    data = Table(pl.DataFrame(columns), target=list(columns), past_steps=8, horizon=2, split=[0.7, 0.15, 0.15])
    data.setup()
    assert data.spec.nonnegative == (True, True, False, True)
    assert WindowSpec.from_dict(data.spec.to_dict()) == data.spec
    earlier = {key: value for key, value in data.spec.to_dict().items() if key != "nonnegative"}
    assert WindowSpec.from_dict(earlier).nonnegative == ()


@pytest.mark.parametrize("head", ["quantile", "negative_binomial"])
def test_counts_from_a_table_to_bands(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    """Trained, measured, calibrated, written, loaded and forecast; nothing below 0."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"sold": random.poisson(1.5 + np.sin(np.arange(400) / 7 * 2 * np.pi))})
    run = sm.fit(
        frame,
        model="gru",
        **{"model/head": head},
        target="sold",
        past_steps=14,
        horizon=3,
        directory="run",
        trainer={"max_epochs": 2, "accelerator": "cpu"},
    )
    made = sm.load("run").forecast(frame)
    assert made.quantiles.min() >= 0 and made.mean.min() >= 0
    assert (np.diff(made.quantiles, axis=-1) >= 0).all() and (made.quantiles[..., -1] > made.quantiles[..., 0]).all()
    np.testing.assert_allclose(made.quantiles, run.forecast().quantiles, rtol=1e-6)
    evaluated = sm.load("run").evaluate(frame)
    assert {"coverage_50", "coverage_80", "coverage_95"} <= set(evaluated.by_lead.columns)
