"""Networks that correct a simple forecast: untrained they equal it, at every origin, whatever scales and describes."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from data import prepare
from small_runs import small_waves
from test_ridge import noisy

import seqmodels as sm
from seqmodels.baselines.ridge import Ridge
from seqmodels.baselines.rules import Naive, SeasonalNaive
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.training.run import fit_closed_parts
from seqmodels.training.stateful import CarriedState
from seqmodels.window import Inputs

RIVALS = {"naive": Naive, "seasonal": SeasonalNaive, "linear": Ridge}
GRU = zoo.BACKBONES["gru"]


def build(
    kind, spec=zoo.SPEC, readout=zoo.direct.SeqToVector, scaler="standard", head=None, backbone=GRU
) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(spec, zoo.SCALERS[scaler], backbone, partial(readout, corrects=kind), head or zoo.Point()).eval()


@pytest.mark.parametrize("kind", RIVALS)
@pytest.mark.parametrize(
    ("scaler", "head"),
    [
        *((scaler, "quantile") for scaler in ("identity", "standard", "window_mean", "window_last", "window_asinh")),
        *(("standard", head) for head in ("mae", "student_t", "normal")),
    ],
)
def test_an_untrained_network_equals_the_forecast_that_it_corrects(kind, scaler, head):
    spec = zoo.AHEAD._replace(past_steps=20)
    model, rival = build(kind, spec, scaler=scaler, head=zoo.HEADS[head]()), RIVALS[kind](spec)
    if kind == "linear":
        zoo.randomise(model.reference.ridge)
        zoo.randomise(rival)
    inputs = zoo.window(spec).inputs
    forecast = model.head.mean(model(inputs).forecast)
    torch.testing.assert_close(forecast, rival(inputs).forecast[..., 0], rtol=1e-4, atol=1e-4)


def until(inputs: Inputs, origin: int, horizon: int, start: int = 0) -> Inputs:
    return inputs._replace(
        past_target=inputs.past_target[:, start : origin + 1],
        past_observed=inputs.past_observed[:, start : origin + 1],
        past_covariates=inputs.past_covariates[:, start : origin + 1],
        known_covariates=inputs.known_covariates[:, start : origin + 1 + horizon],
    )


@pytest.mark.parametrize("kind", RIVALS)
@pytest.mark.parametrize("spec", ["plain", "rich", "panel"])
def test_at_every_origin_it_is_the_forecast_of_a_window_that_ends_there(kind, spec):
    model = build(kind, zoo.SPECS[spec], zoo.direct.SeqToSeq)
    rival = model.reference.ridge or RIVALS[kind](zoo.SPECS[spec])
    if kind == "linear":
        zoo.randomise(rival)
        assert rival.lags == 10
    inputs = zoo.window(zoo.SPECS[spec]).inputs
    forecast, begun = model.head.mean(model(inputs).forecast), inputs.past_observed.cumsum(1) > 0
    origins = list(model.origins.of(20))
    assert origins[0] == {"naive": 0, "seasonal": 3, "linear": 9}[kind] and forecast.shape[1] == len(origins)
    for number, origin in enumerate(origins):
        start = max(0, origin - 9) if kind == "linear" else 0
        window = until(inputs, origin, 3, start)
        seen = begun[:, origin, None] & window.past_observed.any(1, keepdim=True)  # else the values before it
        theirs = rival.predict(window)[:, 0]
        torch.testing.assert_close(
            torch.where(seen, forecast[:, number], 0), torch.where(seen, theirs, 0), rtol=1e-4, atol=1e-4
        )


def test_before_the_first_value_it_is_the_training_mean():
    inputs = zoo.window(zoo.RICH).inputs
    inputs = inputs._replace(
        past_target=torch.zeros_like(inputs.past_target), past_observed=torch.zeros_like(inputs.past_observed)
    )
    for kind in RIVALS:
        assert build(kind, zoo.RICH)(inputs).forecast[0, 0, :, :, 0].tolist() == [[3.0, -1.0]] * 3


def test_iterated_it_repeats_the_last_season_beyond_it():
    spec = zoo.SPEC._replace(horizon=9)
    inputs = zoo.window(spec).inputs
    for kind in ("naive", "seasonal"):
        forecast = build(kind, spec, zoo.direct.Iterated)(inputs).forecast[:, 0, ..., 0]
        torch.testing.assert_close(forecast, RIVALS[kind](spec)(inputs).forecast[:, 0, ..., 0], rtol=1e-4, atol=1e-4)


def test_shorter_windows_are_read_as_if_nothing_had_changed_before():
    model, inputs = build("linear"), zoo.window(zoo.SPEC).inputs
    zoo.randomise(model.reference.ridge)
    held = inputs.past_target.clone()
    held[:, :8] = held[:, -1:]
    whole = model.reference(inputs._replace(past_target=held), model.origins)
    part = until(inputs, 19, 3, 8)
    torch.testing.assert_close(model.reference(part, model._supervised_in(part)), whole)


@pytest.mark.parametrize("spec", ["plain", "rich"])
def test_a_state_goes_with_the_last_value_where_none_can_be_missing(spec):
    model = build("naive", zoo.SPECS[spec], zoo.direct.SeqToSeq)
    if spec == "rich":
        with pytest.raises(InputError, match="corrects=naive looks for the last observed value, which no state holds"):
            CarriedState(model)
        return
    torch.nn.init.normal_(model.readout.linear.weight)
    inputs = zoo.window(zoo.SPEC).inputs
    whole, first = model(inputs).forecast, model(until(inputs, 11, 3))
    second = until(inputs, 19, 3, 12)._replace(reset=torch.zeros(3, dtype=torch.bool))
    rest = model(second, first.state).forecast
    torch.testing.assert_close(torch.cat([first.forecast, rest], 1), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "change", "readout", "scaler", "message"),
    [
        ("last", {}, zoo.direct.SeqToVector, "standard", "corrects is 'last'; it must be one of none, naive, seasonal"),
        ("naive", {}, zoo.direct.SeqToSeq, "difference", "adds forecasts to something else already.*corrects=none"),
        (
            "seasonal",
            {"season": 1},
            zoo.direct.SeqToVector,
            "standard",
            "a season within the window.*season is 1",
        ),
        ("seasonal", {"season": 21}, zoo.direct.SeqToVector, "standard", "past_steps 20.*corrects=naive or linear"),
        ("linear", {}, zoo.direct.Iterated, "standard", "corrects=linear forecasts all leads.*use corrects=naive"),
        ("seasonal", {"past_steps": 4}, zoo.direct.SeqToSeq, "standard", "readout.corrects reads the first 4 of"),
        (
            "linear",
            {"known_covariates": ("a",) * 2000},
            zoo.direct.SeqToVector,
            "standard",
            "too many known",
        ),
    ],
)
def test_what_cannot_be_corrected_is_refused(kind, change, readout, scaler, message):
    spec = zoo.SPEC._replace(**change)
    if "known_covariates" in change:
        statistics = zoo.Statistics((0.0,) * 2000, (1.0,) * 2000)
        spec = spec._replace(horizon=200, known_statistics=statistics)
    with pytest.raises(InputError, match=message):
        build(kind, spec, readout, scaler)


@pytest.mark.parametrize("kind", ["seasonal", "linear"])
def test_a_state_is_refused_where_the_forecast_needs_the_window(kind):
    with pytest.raises(InputError, match=f"corrects={kind} reads more than the newest step"):
        CarriedState(build(kind, readout=zoo.direct.SeqToSeq))


def test_a_long_window_is_cut_to_what_can_be_fitted_in_seconds():
    spec = zoo.SPEC._replace(past_steps=400, horizon=700, channels=tuple(f"c{i}" for i in range(300)))
    spec = spec._replace(target_statistics=zoo.Statistics((0.0,) * 300, (1.0,) * 300))
    model = build("linear", spec)
    assert not Ridge(spec).affordable and model.reference.ridge.affordable and 10 < model.reference.ridge.lags < 400
    assert f"linear, lags={model.reference.ridge.lags}" in str(model)


def test_the_fit_before_training_is_that_of_the_rival():
    data = prepare(noisy(400, 2, holes=0.05), past_steps=8, horizon=4)
    model, rival = build("linear", data.spec), Ridge(data.spec)
    fit_closed_parts(model, data)
    rival.fit_closed_form(data.sample)
    window = data.examples("test", 50)
    torch.testing.assert_close(model(window.inputs).forecast, rival(window.inputs).forecast, rtol=1e-4, atol=1e-4)
    assert not [name for name, _ in model.named_parameters() if "reference" in name]


SETTINGS = {"time": "day", "past_steps": 14, "horizon": 3, "logger": "none", "threads": 1, "model": "patch_gru"}
LINEAR = {"model.readout.corrects": "linear", "trainer": {"max_epochs": 1}, "optimizer": {"lr": 1e-9}}


@pytest.fixture(scope="module")
def rides() -> pl.DataFrame:
    time = np.arange(300)
    values = 50 + 10 * np.sin(time * 2 * np.pi / 7) + np.random.default_rng(0).normal(size=300)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=299), eager=True)
    return pl.DataFrame({"day": days, "rides": values})


@pytest.mark.parametrize("callbacks", ["default", "ema"])
def test_trained_at_no_rate_it_has_the_errors_of_the_rival_and_its_checkpoint_forecasts_the_same(
    rides: pl.DataFrame, tmp_path: Path, callbacks: str
):
    run = sm.fit(rides, target="rides", directory=tmp_path / "run", callbacks=callbacks, **SETTINGS | LINEAR)
    table = run.table.filter(pl.col("stage") == "test")
    errors = dict(table.select("row", "mae").iter_rows())
    assert errors["patch_gru"] == pytest.approx(errors["ridge"], rel=1e-4) and errors["ridge"] < errors["naive"]
    loaded = sm.load(tmp_path / "run")
    assert loaded.forecast(rides).table.equals(run.forecast().table)


def test_small_waves_are_corrected_by_every_readout():
    """A loss goes down from that of the last value."""
    data = small_waves()
    data.setup()
    window = next(iter(data.train_dataloader()))
    for readout in zoo.CORRECTING.values():
        if "seasonal" in readout.keywords.values():
            continue
        model = Forecaster(data.spec, zoo.SCALERS["standard"], GRU, readout, zoo.Point("mae"))
        fit_closed_parts(model, data)
        optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
        for _ in range(30):
            loss = model.loss(window.inputs, window.targets).loss
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < 0.9 * losses[0]
