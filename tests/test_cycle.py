"""Learned cycles: phases of the clock, several seasons, one for each series, seasons longer than the window."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from data import integers, prepare

import seqmodels as sm
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.scalers.affine import StandardScaler, WindowScaler
from seqmodels.scalers.cycle import GAIN, CycleScaler
from seqmodels.scalers.difference import DifferenceScaler
from seqmodels.window import Origins, WindowSpec

ONE = WindowSpec(past_steps=10, horizon=3, season=4, clock=True)


def test_each_step_less_the_value_of_its_phase_in_every_season():
    scaler = CycleScaler(ONE._replace(series=2), StandardScaler, [4, 3], shared=True)
    four, three = torch.arange(4.0), 10 * torch.arange(3.0)
    scaler.tables[0].data[0, :, 0], scaler.tables[1].data[0, :, 0] = four, three
    inputs = ONE.zeros()._replace(clock=torch.tensor([101]), seasonal_error=torch.tensor([[0.5]]))
    scaling = scaler(inputs, Origins(9, 1))
    steps = np.arange(92, 105)  # the last past step is 101
    cycle = GAIN * 0.5 * (four.numpy()[steps % 4] + three.numpy()[steps % 3])
    np.testing.assert_allclose(scaling.transform(inputs.past_target)[0, :, 0].detach(), -cycle[:10], rtol=1e-6)
    flat = scaling.inverse_transform(torch.zeros(1, 1, 3, 1, 1), zoo.Point())
    np.testing.assert_allclose(flat[0, 0, :, 0, 0].detach(), cycle[10:], rtol=1e-6)


def test_untrained_it_is_the_scaler_behind_it():
    inner = partial(WindowScaler, centre="last")
    models = []
    for scaler in (inner, partial(CycleScaler, scaler=inner)):
        torch.manual_seed(0)
        models.append(Forecaster(zoo.RICH, scaler, zoo.BACKBONES["gru"], zoo.direct.SeqToSeq, zoo.Point()).eval())
    inputs, targets, _ = zoo.window(zoo.RICH)
    torch.testing.assert_close(models[0](inputs).forecast, models[1](inputs).forecast)
    torch.testing.assert_close(models[0].loss(inputs, targets).loss, models[1].loss(inputs, targets).loss)


def test_series_have_their_own_cycle_and_unseen_ones_none():
    scaler = zoo.learned_cycle(zoo.SPEC, scaler=StandardScaler)
    assert scaler.own and scaler.tables[0].shape == (4, 4, 2)
    inputs = zoo.window(zoo.SPEC).inputs._replace(clock=torch.zeros(3, dtype=torch.int64))
    identity = torch.tensor([0, 3, -1])
    cycle = scaler(inputs._replace(identity=identity), Origins(19, 1)).cycle.past
    assert not cycle[2].any() and not torch.allclose(cycle[0] / inputs.seasonal_error[0], cycle[1])
    shared = zoo.learned_cycle(zoo.SPEC, scaler=StandardScaler, shared=True)
    cycle = shared(inputs._replace(identity=identity), Origins(19, 1)).cycle.past / inputs.seasonal_error[:, None]
    torch.testing.assert_close(cycle[0], cycle[2])
    many = zoo.SPEC._replace(series=20_000)
    assert not CycleScaler(many, StandardScaler).own and CycleScaler(many, StandardScaler, shared=False).own


@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        (ONE._replace(clock=False), {}, "needs the phase.*the data have no times.*set data.time"),
        (ONE._replace(season=1), {}, r"seasons is \[1\].*at least 2 steps, such as \[24, 168\], as data.season is 1"),
        (ONE, {"seasons": [24, 0]}, r"seasons is \[24, 0\]; it must hold numbers of at least 2 steps.*\[24, 168\]\."),
        (ONE, {"seasons": []}, r"seasons is \[\]"),
        (ONE, {"scaler": DifferenceScaler}, "must have a centre, to which the cycle is added: use standard"),
    ],
)
def test_what_has_no_cycle_is_refused(spec, arguments, message):
    with pytest.raises(InputError, match=message):
        CycleScaler(spec, **{"scaler": StandardScaler, **arguments})


def test_a_step_without_its_time_is_refused():
    model = zoo.forecaster("lstm", "seq_to_seq", "cycle_standard", "plain")
    with pytest.raises(InputError, match="step needs clock and seasonal_error"):
        model.step(torch.zeros(2, 2))


def test_a_season_longer_than_the_window_is_learned():
    """A season of 12 steps, which windows of 5 do not show: a network without the cycle cannot know it."""
    random = np.random.default_rng(0)
    pattern, hours = random.normal(size=12) * 5, np.arange(600) + 7
    values = (pattern[hours % 12] + 0.1 * random.normal(size=600))[:, None].astype(np.float32)
    time = hours.astype("datetime64[h]").astype("datetime64[us]")
    data = prepare(replace(integers(600), values=values, time=time), past_steps=5, horizon=2, season=12)
    window = data.examples("test", 80)
    errors = []
    for scaler in (StandardScaler, partial(CycleScaler, scaler=StandardScaler)):
        torch.manual_seed(0)
        model = Forecaster(data.spec, scaler, partial(zoo.mlp.Linear, lags=1), zoo.direct.SeqToVector, zoo.Point("mae"))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(300):
            batch = data.train_dataloader()
            batch.sampler.set_epoch(step)
            loss = model.loss(*next(iter(batch))[:2]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        forecast = model(window.inputs).forecast[:, -1, ..., 0]
        errors.append((forecast - window.targets.target).abs().mean().item())
    assert errors[1] < 0.3 and errors[0] > 2


def test_a_trained_cycle_forecasts_a_part_of_the_table_in_its_phase(tmp_path: Path):
    time = np.arange(400)
    days = pl.date_range(pl.date(2021, 3, 3), pl.date(2021, 3, 3) + pl.duration(days=399), eager=True)
    table = pl.DataFrame({"day": days, "y": 50 + 10.0 * (time % 7 == 2)})
    settings = {"time": "day", "past_steps": 7, "horizon": 3, "logger": "none", "threads": 1, "rivals": []}
    settings |= {"model/scaler": "cycle", "model/scaler@model.scaler.scaler": "standard", "optimizer_steps": 60}
    run = sm.fit(table, target="y", model="linear", directory=tmp_path / "run", **settings)
    loaded = sm.load(tmp_path / "run")
    assert loaded.model.scaler.tables[0].any()
    whole, part = loaded.forecast(table).table, loaded.forecast(table.tail(23)).table
    assert run.forecast().table.equals(whole)
    np.testing.assert_allclose(part["mean"], whole["mean"], rtol=1e-5)
