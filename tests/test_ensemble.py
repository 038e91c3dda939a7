"""Ensembles: members that learn as if alone, what their forecasts are combined to, and all ways through a run."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from small_runs import Stop, StopAt, fit, flat_weights, module_of, small_waves
from test_resume import checkpoint_callback

import seqmodels as sm
from datamodules.base import WindowDataModule
from datamodules.synthetic import TrendSeason
from seqmodels.backbones.base import tree_leaves
from seqmodels.ensemble import Ensemble, average, model_node
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.classes import Classes
from seqmodels.inference.prediction import sample_paths
from seqmodels.metrics import MODEL, SINGLE_MEMBER
from seqmodels.training.callbacks.resume import RandomState
from seqmodels.training.module import ForecastModule
from seqmodels.window import Output, WindowSpec

KINDS = [
    ("gru", "seq_to_seq", "standard", "rich", "huber"),
    ("lstm_noisy", "seq_to_vector", "window_season", "plain", "quantile"),
    ("wavenet", "iterated", "difference", "ahead", "mse"),
    ("tcn", "encoder_decoder", "standard", "rich", "student_t"),
    ("patch_gru", "seq_to_vector", "window_mean", "panel", "mae"),
    ("mlp", "seq_to_vector", "standard", "plain", "negative_binomial"),
]


def make(backbone: str, readout: str, scaler: str, head: str) -> partial:
    return partial(
        Forecaster,
        scaler=zoo.SCALERS[scaler],
        backbone=zoo.BACKBONES[backbone],
        readout=zoo.READOUTS[readout],
        head=zoo.HEADS[head](),
    )


def single(kind: tuple[str, ...], seed: int = 0, past_steps: int = 20) -> Forecaster:
    backbone, readout, scaler, spec, head = kind
    torch.manual_seed(seed)
    return make(backbone, readout, scaler, head)(zoo.SPECS[spec]._replace(past_steps=past_steps))


def ensemble(kind: tuple[str, ...], members: Any = 3, **settings: Any) -> Ensemble:
    backbone, readout, scaler, spec, head = kind
    torch.manual_seed(0)
    return Ensemble(zoo.SPECS[spec], make(backbone, readout, scaler, head), members, **settings)


def gradients(model: torch.nn.Module, output: Output) -> torch.Tensor:
    assert output.loss is not None
    wanted = torch.autograd.grad(output.loss, list(model.parameters()), allow_unused=True)
    return torch.cat([gradient.flatten() for gradient in wanted if gradient is not None])


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_of_one_is_the_single_model_to_the_last_digit(kind: tuple[str, ...]) -> None:
    window = zoo.window(zoo.SPECS[kind[3]])
    alone, one = single(kind), ensemble(kind, 1)
    losses = []
    for model in (alone, one):
        torch.manual_seed(7)  # dropout, teacher forcing
        losses.append(model.loss(window.inputs, window.targets))
    assert torch.equal(losses[0].loss, losses[1].loss)
    assert torch.equal(gradients(alone, losses[0]), gradients(one, losses[1]))
    given = one.eval()(window.inputs)
    assert torch.equal(given.forecast, alone.eval()(window.inputs).forecast) and given.members is None
    assert one.origins == alone.origins and one.why_stateless == alone.why_stateless


@pytest.mark.parametrize("kind", KINDS)
def test_the_members_are_single_models_of_the_next_seeds_with_gradients_of_their_own(kind: tuple[str, ...]) -> None:
    window = zoo.window(zoo.SPECS[kind[3]])
    many, alone = ensemble(kind).eval(), [single(kind, seed).eval() for seed in range(3)]
    output = many.loss(window.inputs, window.targets, forecast=True)
    own = [model.loss(window.inputs, window.targets, forecast=True) for model in alone]
    assert torch.allclose(output.loss, torch.stack([one.loss for one in own]).mean(), rtol=1e-6)
    together = gradients(many, output)
    apart = torch.cat([gradients(model, one) for model, one in zip(alone, own, strict=True)])
    assert together.abs().max() > 0 and torch.allclose(together, apart, rtol=1e-5, atol=1e-7)
    assert torch.equal(output.members, torch.stack([one.forecast for one in own]))
    assert torch.equal(output.forecast, output.members.mean(dim=0))
    again = torch.stack([model(window.inputs).forecast for model in alone]).mean(dim=0)
    assert torch.equal(many(window.inputs).forecast, again)
    assert torch.allclose(again, output.forecast, rtol=1e-5, atol=1e-6)  # a loss computes only the cone of its origins


def test_building_members_leaves_the_random_numbers_of_the_process_alone() -> None:
    torch.manual_seed(0)
    single(KINDS[0])
    after_one = torch.rand(3)
    ensemble(KINDS[0], 4)
    assert torch.equal(torch.rand(3), after_one)


def small_ensemble(spec: WindowSpec, members: Any, dropout: float = 0.0) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble(spec, partial(small_forecaster, dropout=dropout), members)


def small_forecaster(spec: WindowSpec, dropout: float = 0.0) -> Forecaster:
    backbone = partial(zoo.wavenet.WaveNet, filters=4, dilations=(1, 2), stacks=1, dropout=dropout)
    return Forecaster(spec, zoo.affine.StandardScaler, backbone, zoo.direct.SeqToSeq, zoo.Point())


@pytest.mark.parametrize("stateful", [False, True])
def test_trained_members_equal_single_runs_with_the_same_batches(stateful: bool) -> None:
    def prepared() -> WindowDataModule:
        long = partial(TrendSeason, steps=600, past_steps=20, horizon=5, lanes=4)
        data = long() if stateful else small_waves()
        data.setup()
        return data

    data = prepared()
    module = module_of(small_ensemble(data.spec, 3), data)
    fit(module, data, [], gradient_clip_val=0.05)  # clips at most steps
    assert isinstance(module.forecaster, Ensemble)
    for seed, member in enumerate(module.forecaster.members):
        data = prepared()
        torch.manual_seed(seed)
        alone = module_of(small_forecaster(data.spec), data)
        fit(alone, data, [], gradient_clip_val=0.05)
        assert torch.equal(flat_weights(member), flat_weights(alone.forecaster))


def test_the_error_of_the_ensemble_is_that_of_its_members_less_their_spread() -> None:
    """Krogh and Vedelsby 1995: mean squared errors; the mean of single errors stands in a row of its own."""
    data = small_waves()
    data.setup()
    module = module_of(small_ensemble(data.spec, 3), data)
    fit(module, data, [], max_epochs=1)
    rows, spread = module.results["validation"], module.spread["validation"]
    combined, apart = (rows[row].summary()["mse"] for row in (MODEL, SINGLE_MEMBER))
    assert combined < apart and combined == pytest.approx(apart - spread["mse"], rel=1e-6)
    assert isinstance(module.forecaster, Ensemble)
    (windows,) = data.val_dataloader()
    with torch.no_grad():
        given = torch.stack([member(windows.inputs).forecast[:, -1, ..., 0] for member in module.forecaster.members])
    alone = (given - windows.targets.target).abs()
    assert rows[SINGLE_MEMBER].summary()["mae"] == pytest.approx(float(alone.mean()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_resumed_ensemble_ends_with_the_same_weights(tmp_path: Path) -> None:
    def run(directory: Path, stop: int | None, path: str | None = None) -> torch.Tensor:
        data = small_waves()
        data.setup()
        module = module_of(small_ensemble(data.spec, 2, dropout=0.3), data)
        callbacks = [checkpoint_callback(directory, 1), RandomState(), StopAt(stop)]
        return flat_weights(fit(module, data, callbacks, path).lightning_module)

    whole = run(tmp_path / "whole", None)
    with pytest.raises(Stop):
        run(tmp_path / "parts", 7)
    assert torch.equal(run(tmp_path / "parts", None, str(tmp_path / "parts" / "last.ckpt")), whole)


@pytest.mark.parametrize("kind", [KINDS[0], ("tcn", "iterated", "standard", "plain", "normal")])
def test_reading_step_by_step_gives_what_reading_at_once_gives(kind: tuple[str, ...]) -> None:
    spec, many = zoo.SPECS[kind[3]], ensemble(kind, 2).eval()
    inputs = zoo.window(spec).inputs
    whole, state = many(inputs), None
    for step in range(spec.past_steps):
        ahead = inputs.known_covariates[:, step : step + 1 + spec.horizon]
        known = {"past_covariates": inputs.past_covariates[:, step], "known_covariates": ahead}
        given = many.step(inputs.past_target[:, step], state, observed=inputs.past_observed[:, step], **known)
        state = given.state
    assert torch.allclose(given.forecast[:, -1], whole.forecast[:, -1], rtol=1e-4, atol=1e-5)
    assert given.members.shape[0] == 2 and len(state) == 2
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(*map(tree_leaves, (state, whole.state)), strict=True))


def test_the_mean_of_distributions_averages_their_quantiles() -> None:
    levels, random = [0.05, 0.3, 0.5, 0.9], torch.Generator().manual_seed(0)
    for name in ("quantile", "normal", "laplace"):
        head = zoo.HEADS[name]()
        members = head(torch.randn(3, 5, head.parameters_per_value, generator=random))
        apart = head.quantiles(members, levels)
        combined = head.quantiles(average(members, "mean"), levels)
        assert torch.allclose(combined, apart.mean(dim=0), atol=1e-5), name


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_the_median_is_that_of_numpy_and_keeps_quantiles_in_order(count: int) -> None:
    members = torch.randn(count, 6, 9, generator=torch.Generator().manual_seed(count)).sort(dim=-1).values
    combined = average(members, "median")
    assert np.allclose(combined, np.median(members.numpy(), axis=0), atol=1e-6)
    assert (combined.diff(dim=-1) >= 0).all()


def test_probabilities_of_classes_are_averaged() -> None:
    """Arithmetic means: a member that is sure of a class leaves the others their say."""
    make = partial(Forecaster, scaler=zoo.SCALERS["standard"], backbone=zoo.BACKBONES["gru"],
                   readout=zoo.direct.SeqToVector, head=Classes())  # fmt: skip
    for combine, average_of in (("mean", np.mean), ("median", np.median)):
        many = Ensemble(zoo.LABELLED, make, 3, combine=combine).eval()
        inputs = zoo.LABELLED.zeros(2)._replace(past_target=torch.randn(2, 20, 2))
        with torch.no_grad():
            output = many(inputs)
        apart = average_of(many.head.report(output.members * 20).numpy(), axis=0)
        sure = many.head.report(many.head.pool(output.members * 20, partial(average, combine=combine))).numpy()
        assert np.allclose(sure, apart / apart.sum(-1, keepdims=True), atol=1e-6)
        assert np.allclose(sure.sum(-1), 1, atol=1e-6) and (sure[..., 1, 2] < 1e-30).all()  # a class of another label
    with pytest.raises(InputError, match="sequences with labels are read whole; give the number of members, such as 2"):
        Ensemble(zoo.LABELLED, make, [10, 20])


def test_paths_are_drawn_from_all_members() -> None:
    kind = ("lstm", "encoder_decoder", "standard", "plain", "normal")
    many = ensemble(kind, 2).eval()
    inputs = zoo.window(zoo.SPEC, batch=4).inputs
    with torch.no_grad():  # so far apart that each path tells whose it is
        many.members[1].readout.linear.bias[0] += 1000.0
    paths = sample_paths(many, inputs, 200)
    share = (paths[:, :, 0].abs().amax(-1) > 100).float().mean(dim=0)
    assert paths.shape == (200, 4, 3, 2) and ((share > 0.3) & (share < 0.7)).all()
    assert torch.equal(paths, sample_paths(many, inputs, 200))


def test_members_with_look_backs_read_the_newest_steps_only() -> None:
    for kind in (KINDS[0], KINDS[1], KINDS[3]):
        spec = zoo.SPECS[kind[3]]
        many = ensemble(kind, [12, 20]).eval()
        inputs = zoo.window(spec).inputs
        before = many(inputs)
        after = many(inputs._replace(past_target=inputs.past_target.index_fill(1, torch.arange(8), 0.0)))
        changed = (after.members != before.members).flatten(1).any(dim=1)
        assert changed.tolist() == [False, True] and before.forecast.shape[1] == 1
        short = single(kind, past_steps=12).eval()
        cut = inputs._replace(
            past_target=inputs.past_target[:, 8:],
            past_observed=inputs.past_observed[:, 8:],
            past_covariates=inputs.past_covariates[:, 8:],
            known_covariates=inputs.known_covariates[:, 8:],
        )
        assert torch.equal(before.members[0], short(cut).forecast[:, -1:])
        with pytest.raises(InputError, match="members read windows of different lengths"):
            many(inputs, state=(None, None))


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        (0, {}, "ensemble is 0; it must be the number of members"),
        (True, {}, "ensemble is True"),
        ("5", {}, "ensemble is '5'"),
        ([], {}, r"ensemble is \[\]"),
        ([20, 2.5], {}, r"ensemble is \[20, 2.5\]"),
        ([20, 24], {}, "ensemble holds 24 past steps, and a window has data.past_steps=20; raise"),
        (3, {"combine": "mode"}, "combine is 'mode'; it must be one of mean, median"),
    ],
)
def test_what_is_no_ensemble_is_refused(members: Any, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ensemble(KINDS[0], members, **settings)


@pytest.mark.parametrize("name", ["naive", "seasonal_naive", "ridge"])
def test_models_without_first_weights_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no weights that are trained by steps.*leave ensemble out"):
        Ensemble(zoo.SPEC, zoo.BASELINES[name], 3)


def test_an_ensemble_of_one_is_configured_as_the_model_itself() -> None:
    model = {"_target_": "seqmodels.forecaster.Forecaster", "head": {}}
    assert model_node(model, 1, 0, "mean") is model
    assert model_node(model, [48, 96], 3, "median")["members"] == [48, 96]


@pytest.fixture(scope="module")
def days() -> pl.DataFrame:
    """300 days with a weekly season."""
    step = np.arange(300)
    noise = np.random.default_rng(0).normal(size=300)
    dates = np.datetime64("2021-01-01") + step
    return pl.DataFrame({"day": dates, "y": 100 + 20 * np.sin(2 * np.pi * step / 7) + 3 * noise})


SHORT = {"past_steps": 21, "horizon": 7, "trainer": {"max_epochs": 1, "accelerator": "cpu"}, "logger": "none"}


@pytest.mark.parametrize(
    ("settings", "members"),
    [
        ({"model": "gru", "ensemble": 2}, 2),
        ({"model": "auto", "ensemble": [14, 21], "combine": "median"}, 2),
        ({"model": "lstm", "ensemble": 3, "model/head": "quantile", "model/scaler": "standard", "lanes": 4}, 3),
    ],
)
def test_an_ensemble_is_one_run_with_one_checkpoint(
    settings: dict, members: int, days: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    days.write_csv("days.csv")
    fitted = sm.fit("days.csv", target="y", time="day", directory="run", **SHORT, **settings)
    assert fitted.table.filter(pl.col("row") == SINGLE_MEMBER)["stage"].to_list() == ["validation", "test"]
    loaded = sm.load("run")
    assert loaded.model.combine == settings.get("combine", "mean") and len(loaded.model.singles) == members
    table = loaded.forecast().table
    assert table.equals(fitted.forecast().table) and table.equals(pl.read_csv("run/forecast.csv", try_parse_dates=True))
    assert (table["spread"] > 0).all()
    longer = loaded.forecast(horizon=9).table
    assert longer["spread"].null_count() == 2 and longer["mean"].null_count() == 0
    stateful = "lanes" in settings
    tested = fitted.table.filter((pl.col("row") == settings["model"]) & (pl.col("stage") == "test"))["mae"][0]
    assert loaded.evaluate().rows[0]["mae"] == pytest.approx(tested, rel=1e-4 if stateful else 1e-6)
    assert "spread" in str(loaded.forecast())


def test_an_ensemble_goes_on_only_as_the_same_ensemble(
    days: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = {"target": "y", "time": "day", "model": "rnn", **SHORT}
    sm.fit(days, directory="run", ensemble=2, **common)
    for other in ({"ensemble": 3}, {"ensemble": 2, "combine": "median"}, {}):
        with pytest.raises(InputError, match=r"(ensemble was 2|combine was mean) in the checkpoint and is"):
            sm.fit(days, ckpt_path="run", **other, **common)


def test_validation_never_counts_members_of_a_single_model() -> None:
    data = small_waves()
    data.setup()
    torch.manual_seed(0)
    module: ForecastModule = module_of(small_forecaster(data.spec), data)
    fit(module, data, [], max_epochs=1)
    assert SINGLE_MEMBER not in module.results["validation"] and module.spread == {}
