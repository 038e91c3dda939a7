"""Filling of gaps: a hidden value never reaches its own estimate, what is measured stays, rules against formulas."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import zoo

import seqmodels as sm
from datamodules.gaps import Gaps
from datamodules.hidden import CoveringIndex, Pattern, find_gaps
from seqmodels.baselines.interpolation import Interpolation, Kriging, LastValue, SeasonAgo, Seasonal
from seqmodels.classical.smoothing import Spline
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.quantile import Quantile
from seqmodels.readouts.in_place import InPlace
from seqmodels.window import Inputs, check

SPEC = zoo.GAPS
EVERY_STEP = [name for name, made in zoo.STATED.items() if made.causal and made.offset == 0 and made.stride == 1]
BOTH = [name for name in zoo.BACKBONES if name.startswith("bidirectional")]
SCALERS = ("standard", "identity", "window_mean", "window_last")
FAST: dict[str, Any] = {"past_steps": 24, "trainer": {"max_epochs": 2}, "logger": "none", "model__backbone__hidden": 4}


def backbone(name: str) -> Any:
    made = zoo.BACKBONES[name]
    return partial(made, every_step=True) if name in BOTH else made


def table(rows: int = 120, gaps: bool = True) -> pl.DataFrame:
    """Two channels of a season of 7 days with a trend, an eighth of them missing."""
    step = np.arange(rows)
    random = np.random.default_rng(3)
    north = 50 + step / 4 + 10 * np.sin(2 * np.pi * step / 7) + random.normal(size=rows)
    south = 2 * north + random.normal(size=rows)
    frame = pl.DataFrame({"day": step, "north": north, "south": south})
    lost = random.random((rows, 2)) < 0.125
    lost[40:46, 0] = True
    columns = [
        pl.when(pl.Series(lost[:, at])).then(None).otherwise(pl.col(name)).alias(name)
        for at, name in enumerate(("north", "south"))
    ]
    return frame.with_columns(columns) if gaps else frame


def gaps(frame: pl.DataFrame, **settings: Any) -> Gaps:
    data = Gaps(frame, **{"target": ["north", "south"], "time": "day", "season": 7, "past_steps": 24, **settings})
    data.setup("fit")
    return data


# --- the law


@pytest.mark.parametrize("corrects", ["none", "naive", "seasonal", "linear"])
@pytest.mark.parametrize("scaler", SCALERS)
def test_what_stands_in_place_of_a_hidden_value_changes_no_estimate(scaler: str, corrects: str) -> None:
    inputs = zoo.window(SPEC).inputs
    noise = torch.where(inputs.past_observed, 0.0, 1e4)
    for name in [*EVERY_STEP, *BOTH]:
        torch.manual_seed(0)
        readout = partial(InPlace, corrects=corrects)
        model = Forecaster(SPEC, zoo.SCALERS[scaler], backbone(name), readout, Quantile()).eval()
        torch.nn.init.normal_(model.readout.linear.weight)
        with torch.no_grad():
            first = model(inputs).forecast
            second = model(inputs._replace(past_target=inputs.past_target + noise)).forecast
        assert first.shape == (3, 1, SPEC.past_steps, 2, 9)
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_a_hidden_value_reaches_no_input_statistic_unit_or_estimate(scale: float) -> None:
    """The values of the test are other ones: all that a model sees of it, and is fitted to, stays bit for bit."""
    frame = table().with_columns(north=pl.col("north") + scale)
    data = gaps(frame)
    hidden = data.cells[1] == 3
    assert hidden.any(axis=0).all()
    changed = frame.with_columns(
        pl.when(pl.Series(hidden[:, at])).then(pl.col(name) * 7 + 1000).otherwise(pl.col(name)).alias(name)
        for at, name in enumerate(("north", "south"))
    )
    other = gaps(changed)
    assert other.spec == data.spec
    for stage in ("train", "validation", "test"):
        pairs = zip(data.loaders[stage], other.loaders[stage], strict=True)
        for one, two in pairs:
            assert all(torch.equal(a, b) for a, b in zip(one.inputs, two.inputs, strict=True))
            assert torch.equal(one.targets.target, two.targets.target) == (stage != "test")
    models = [Kriging(one.spec) for one in (data, other)]
    for model, one in zip(models, (data, other), strict=True):
        model.fit_closed_form(one.sample)
    assert torch.equal(models[0].shapes, models[1].shapes) and torch.equal(models[0].loadings, models[1].loadings)


def test_no_window_shows_what_it_counts_and_each_hidden_value_counts_once() -> None:
    data = gaps(table())
    check(next(iter(data.loaders["train"])), data.spec)
    for stage, role in (("train", 1), ("validation", 2), ("test", 3)):
        counted = np.zeros(data.cells[1].shape, int)
        for window in data.loaders[stage]:
            inputs, targets = window.inputs, window.targets
            assert not (inputs.past_observed & targets.observed).any()
            assert (inputs.past_target[~inputs.past_observed] == 0).all()
            for index, row in enumerate(window.origin.tolist()):
                shown = inputs.past_observed[index].numpy()
                assert np.isin(data.cells[1][row - 23 : row + 1][shown], (1, 2) if stage == "test" else (1,)).all()
                counted[row - 23 : row + 1] += targets.observed[index].numpy()
        if stage != "train":
            assert ((data.cells[1] == role) == (counted == 1)).all() and counted.max() == 1
        else:
            assert (
                0 < counted[data.cells[1] != role].sum() + counted.sum() and counted[data.cells[1] != role].sum() == 0
            )


# --- windows and patterns


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_windows_cover_each_series_and_each_row_has_one_owner(stride: int) -> None:
    offsets = np.array([0, 30, 33, 33, 70])  # one is shorter than a window, one empty
    index = CoveringIndex(offsets, 8, stride, "test")
    owners = np.zeros(70, int)
    series, start = index.locate(torch.arange(len(index)))
    owned = index.owns(torch.arange(len(index)), 8)
    for number in range(len(index)):
        rows = int(start[number]) + np.flatnonzero(owned[number].numpy())
        assert ((rows >= offsets[series[number]]) & (rows < offsets[series[number] + 1])).all()
        owners[rows] += 1
    assert (owners == 1).all()


def test_gaps_are_found_and_drawn_with_their_shapes() -> None:
    observed = np.ones((20, 2), bool)
    observed[2:5, 0] = observed[4, 1] = observed[19, 1] = False
    shapes = find_gaps(observed)
    assert [one.shape for one in shapes] == [(3, 2), (1, 2)]
    drawn = Pattern.of(shapes[:1]).draw(np.random.default_rng(0), (50, 20, 2), np.full(50, 0.1))
    assert drawn.any(axis=(1, 2)).all() and 0.05 < drawn.mean() < 0.15
    assert (drawn[..., 1].sum() > 0) and (drawn[..., 0].sum() > 2 * drawn[..., 1].sum())


# --- rules


def shown(values: list[float | None], season: int = 1) -> tuple[Any, Inputs]:
    steps = len(values)
    spec = SPEC._replace(past_steps=steps, horizon=steps, channels=("a",), season=season, past_covariates=(),
                         target_statistics=SPEC.target_statistics._replace(mean=(5.0,), deviation=(1.0,)))  # fmt: skip
    known = torch.tensor([value is not None for value in values])[None, :, None]
    given = torch.tensor([0.0 if value is None else value for value in values])[None, :, None]
    return spec, spec.zeros()._replace(past_target=given, past_observed=known)


def estimate(rule: Any, values: list[float | None], season: int = 1) -> list[float]:
    spec, inputs = shown(values, season)
    return rule(spec).estimate(inputs)[0, :, 0].tolist()


def test_simple_rules_follow_their_formulas() -> None:
    values = [None, 2.0, None, None, 8.0, None]
    assert estimate(Interpolation, values) == pytest.approx([2, 2, 4, 6, 8, 8])
    assert estimate(LastValue, values) == pytest.approx([2, 2, 2, 2, 8, 8])
    assert estimate(Interpolation, [None] * 4) == [5.0] * 4  # the training mean
    assert estimate(SeasonAgo, [1, 9, None, 11, 3, 13, 5, None], season=2)[2] == pytest.approx(2)
    wave: list[float | None] = [float(10 * (at % 4) + at) for at in range(16)]
    assert estimate(Seasonal, [*wave[:6], None, None, *wave[8:]], season=4)[6:8] == pytest.approx(wave[6:8], abs=3)
    cubic: list[float | None] = [float(at**3) for at in range(8)]
    assert estimate(Spline, [*cubic[:3], None, None, *cubic[5:]])[3:5] == pytest.approx([27, 64])


def test_kriging_is_the_conditional_mean_of_its_gaussian_process() -> None:
    spec = SPEC._replace(past_steps=8, horizon=8, season=3, past_covariates=())
    inputs, rule = zoo.window(spec, batch=1).inputs, Kriging(spec)
    rule.loadings += torch.randn(rule.loadings.shape, generator=torch.Generator().manual_seed(0)) / 3
    covariance = rule._covariance(rule.shapes, rule.loadings, 8)[0].numpy()
    assert np.linalg.eigvalsh(covariance).min() > 0
    seen, values = inputs.past_observed[0].numpy(), inputs.past_target[0].double().numpy()
    seen[3, 0] = seen[5, 1] = False
    mean = (values * seen).sum(0) / seen.sum(0)
    unit = np.maximum(
        np.sqrt(((values - mean) ** 2 * seen).sum(0) / seen.sum(0)), inputs.seasonal_error[0].numpy() / 10
    )
    known = seen.T.ravel()
    given = ((values - mean) / unit).T.ravel()[known]
    weights = np.linalg.solve(covariance[np.ix_(known, known)] + 1e-4 * np.eye(known.sum()), given)
    expected = (covariance[:, known] @ weights).reshape(2, 8).T * unit + mean
    shown = inputs._replace(
        past_observed=torch.from_numpy(seen[None]), past_target=inputs.past_target * torch.from_numpy(seen)
    )
    np.testing.assert_allclose(rule.estimate(shown)[0].numpy(), expected, rtol=1e-4, atol=1e-4)


# --- from a table to a table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("fill") / "run"
    return sm.fit(table(), target=["north", "south"], time="day", model="fill", season=7, directory=folder, **FAST)


def test_what_is_measured_stays_bit_for_bit_and_each_gap_gets_a_marked_value_with_a_band(run: Any) -> None:
    frame = table()
    for made in (run.fill(frame), sm.load(run.directory).fill(frame)):
        result = made.table
        for name in ("north", "south"):
            lost = frame[name].is_null()
            assert (result[f"{name} filled"] == lost).all() and result[name].is_finite().all()
            assert (result[name].filter(~lost) == frame[name].filter(~lost)).all()
            bands = result.filter(lost).select(f"{name} q0.1", f"{name} q0.9")
            assert (bands.to_series(0) <= bands.to_series(1)).all()
            assert result.filter(~lost)[f"{name} q0.1"].is_null().all()
    rows = run.table.filter((pl.col("stage") == "test") & (pl.col("channel") == "all"))
    assert {"fill", "last value", "linear", "spline", "season ago", "seasonal", "kriging"} <= {*rows["row"]}
    assert (Path(run.directory) / "filled.csv").is_file() and (Path(run.directory) / "figures" / "filled.png").is_file()


def test_tables_without_a_gap_come_back_and_say_so(run: Any) -> None:
    whole = table(gaps=False)
    made = run.fill(whole)
    assert made.table["north"].equals(whole["north"]) and not made.filled.any()
    assert any("'north' has no gap" in note for note in made.notes)


def test_a_gap_longer_than_the_window_stays_empty_and_is_named(run: Any) -> None:
    frame = table().with_columns(north=pl.when(pl.col("day").is_between(50, 109)).then(None).otherwise(pl.col("north")))
    made = run.fill(frame)
    assert made.table["north"].null_count() > 0 and "data.past_steps" in made.notes[-1]
    assert not made.filled[np.isnan(made.values)].any()


def test_wrong_inputs_are_refused_with_the_way_out(run: Any) -> None:
    empty = table().with_columns(south=pl.lit(None, pl.Float64))
    with pytest.raises(InputError, match="south"):
        run.fill(empty)
    with pytest.raises(InputError, match="south"):
        gaps(empty)
    with pytest.raises(InputError, match="fills gaps and .*; use fill"):
        run.forecast(table())
    with pytest.raises(InputError, match="fills gaps and .*; use fill"):
        run.evaluate(table())
    with pytest.raises(InputError, match="fills gaps and .*; use fill"):
        run.predict(table())
    with pytest.raises(InputError, match="has no gap"):
        gaps(table(gaps=False), hide="gaps")
    with pytest.raises(InputError, match=r"data\.past_steps="):
        gaps(table(), past_steps=500)
    with pytest.raises(InputError, match="add up to 1"):
        gaps(table(), split=["2001-01-01", "2002-01-01"])


# --- the inputs of a forecaster


def forecaster(run: Any, folder: Path, frame: pl.DataFrame, **settings: Any) -> Any:
    small = {"model__backbone__hidden": 4, "past_steps": 24, "horizon": 3, "season": 7, **settings}
    return sm.fit(
        frame, target=["north", "south"], time="day", model="bidirectional_gru", directory=folder, logger="none",
        trainer={"max_epochs": 1}, impute=str(run.directory), **small,
    )  # fmt: skip


def test_a_forecaster_reads_filled_inputs_and_keeps_its_targets(run: Any, tmp_path: Path) -> None:
    made = forecaster(run, tmp_path / "run", table())
    model, data = made.model, made.run.data
    window = next(iter(data.loaders["test"]))
    filled = model.seen(window.inputs)
    begun = window.inputs.past_observed.any(dim=2, keepdim=True).cumsum(dim=1) > 0
    assert not window.inputs.past_observed.all() and (filled.past_observed | ~begun).all()
    seen = window.inputs.past_observed
    assert torch.equal(filled.past_target[seen], window.inputs.past_target[seen])
    assert not window.targets.observed.all()  # these do not count
    with torch.no_grad():
        expected = model.model(filled).forecast
        assert torch.equal(model(window.inputs).forecast, expected)
    loaded = sm.load(made.directory)
    torch.testing.assert_close(loaded(window.inputs).forecast, expected)
    assert loaded.forecast(table()).table["mean"].is_finite().all()
    trained, own = dict(run.model.state_dict()), dict(model.imputer.state_dict())
    assert trained.keys() == own.keys() and all(torch.equal(trained[name], own[name]) for name in own)


def test_what_cannot_be_imputed_is_refused(run: Any, tmp_path: Path) -> None:
    frame = table()
    with pytest.raises(InputError, match="seq_to_vector"):
        forecaster(run, tmp_path / "a", frame, **{"model/readout": "seq_to_seq", "model/backbone": "gru"})
    with pytest.raises(InputError, match="south"):
        sm.fit(frame.drop("south"), target="north", time="day", model="bidirectional_gru", past_steps=24, horizon=3,
               season=7, directory=tmp_path / "b", impute=str(run.directory))  # fmt: skip
    other = sm.fit(frame, target=["north", "south"], time="day", model="bidirectional_gru", past_steps=24, horizon=3,
                   season=7, directory=tmp_path / "c", logger="none", trainer={"max_epochs": 1})  # fmt: skip
    with pytest.raises(InputError, match="fills no gaps"):
        forecaster(other, tmp_path / "d", frame)
    with pytest.raises(InputError, match="fills no gaps"):
        other.fill(frame)
