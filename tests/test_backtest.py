"""Evaluation at many origins: the figures of training, one pass equal to windows, all forecasts in one file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import seqmodels as sm
from datamodules.table import Table
from seqmodels.inference.adaptive import AdaptiveBands
from seqmodels.inference.backtest import Evaluation
from seqmodels.inference.calibration import LEVELS, Calibration
from seqmodels.inference.forecast import TrainedModel
from seqmodels.metrics import ForecastErrors
from seqmodels.window import Output
from tests import zoo
from tests.command_line import forked
from tests.test_encoder import COLUMNS, HORIZON, MADE, PAST, shops
from tests.test_forecast import SHORT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model of two shops, with gaps in the targets and covariates of all kinds."""
    place = tmp_path_factory.mktemp("backtest")
    gaps = pl.int_range(pl.len()) % 11 == 3
    shops(200).with_columns(sales=pl.when(gaps).then(None).otherwise("sales")).write_csv(place / "shops.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield sm.fit("shops.csv", model="gru", directory="runs/shops", **SHORT, **COLUMNS, **MADE)


def trained(frame: pl.DataFrame, backbone: str = "gru", readout: str = "seq_to_vector", **changes: Any) -> TrainedModel:
    """A model with random weights and bands around it."""
    settings: dict[str, Any] = {"target": "y", "past_steps": PAST, "horizon": HORIZON, **changes}
    data = Table(frame, **settings)
    data.setup()
    torch.manual_seed(0)
    parts = zoo.SCALERS["standard"], zoo.BACKBONES[backbone], zoo.READOUTS[readout]
    offsets = torch.linspace(-2, 2, len(LEVELS))[:, None, None].expand(-1, HORIZON, 1)
    bands = Calibration(LEVELS, offsets, 99)
    return TrainedModel(sm.Forecaster(data.spec, *parts, sm.Point()).eval(), data.encoder(), bands)


def walk(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    return pl.DataFrame({"y": np.random.default_rng(seed).normal(size=rows).cumsum()})


def own(model: TrainedModel, frame: pl.DataFrame, **settings: Any) -> Evaluation:
    """Evaluation of the frame that the model was made for."""
    assert model.encoder is not None
    return model.evaluate_series(model.encoder.read(frame), own=True, **settings)


def assert_close(one: pl.DataFrame, other: pl.DataFrame, tolerance: float = 1e-12) -> None:
    numbers = pl.selectors.numeric()
    np.testing.assert_allclose(
        one.select(numbers).to_numpy(), other.select(numbers).to_numpy(), rtol=tolerance, atol=tolerance
    )


def assert_same_figures(made: Any, run: Any) -> None:
    """The figures of the test part are those of training; only a run knows the bands of the naive forecasts."""
    trained = run.table.filter(pl.col("stage") == "test", pl.col("row") != "ridge")
    assert_close(made.table.drop("wql"), trained.drop("wql"))
    own = (table.filter(pl.col("row") == made.name)["wql"] for table in (made.table, trained))
    np.testing.assert_allclose(*own, rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"split": ["2021-06-01", "2021-07-01"]},
        {"split": [100, 40, 30]},
        {"split": ["2021-03-01", "2021-06-01", "2021-07-01", "2021-08-01"], "context": "inside"},
        {"split": [2, 2, 2], "split_by": "series"},
        {"split": [2, 2, 2], "split_by": "series", "past_steps": 60},
        {"fold": 1},
        {"time": None},
    ],
)
def test_the_windows_are_those_of_the_test_part_of_training(changes: dict[str, Any]) -> None:
    frame = shops(200)
    frame = pl.concat([frame, *(frame.with_columns(shop=pl.col("shop") + name) for name in "ab")])
    if "past_steps" in changes:  # one series has fewer rows, and its windows are padded
        frame = frame.filter((pl.col("shop") != "southb") | (pl.col("day") >= pl.date(2021, 8, 10)))
    given = {**COLUMNS, "past_steps": PAST, "horizon": HORIZON, "split": [0.6, 0.2, 0.2], **changes}
    data = Table(frame, **given)
    data.setup()
    torch.manual_seed(0)
    parts = zoo.SCALERS["standard"], zoo.BACKBONES["gru"], zoo.READOUTS["seq_to_vector"]
    model = TrainedModel(sm.Forecaster(data.spec, *parts, sm.Point()).eval(), data.encoder())
    errors = ForecastErrors(data.spec, data.denominators["test"])
    with torch.no_grad():
        for window in data.loaders["test"]:
            forecast = model.model.head.mean(model(window.inputs).forecast)[:, -1]
            errors.update(forecast, window.inputs, window.targets)
    made = own(model, frame)
    assert made.windows == int(errors.windows) == data.windows["test"]
    for wanted, found in zip(errors.compute(), made.results["model"], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0, equal_nan=True)


def test_a_state_is_carried_where_training_did_and_the_figures_are_those_of_training(tmp_path: Path) -> None:
    given: dict[str, Any] = {**SHORT, "target": "sales", "time": "day", "id": "shop"}
    run = sm.fit(shops(), directory=tmp_path / "run", model="gru", lanes=2, **given)
    made = run.evaluate()
    assert made.part == "test" and made.carried
    assert_same_figures(made, run)


def test_command_line_and_python_agree_with_training_and_write_all_forecasts(run: Any) -> None:
    ended = forked(Path.cwd(), "runs/shops", "output=all.parquet", command="evaluate")
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert "by weekday of the target" in ended.out and "all.parquet" in ended.out
    made = sm.load("runs/shops").evaluate()
    assert made.name == "gru" and repr(made) in ended.out
    assert_same_figures(made, run)
    written, directory = pl.read_parquet("all.parquet"), next(Path("runs").glob("*_evaluate"))
    assert written.equals(made.frame) and written.columns[:7] == "id origin lead channel truth mean q0.025".split()
    assert (directory / "evaluation.png").stat().st_size > 10_000
    assert pl.read_csv(directory / "by_lead.csv").columns == made.by_lead.columns
    error = (written["mean"] - written["truth"]).abs()
    assert error.mean() == pytest.approx(made.table["mae"][0], rel=1e-6)
    by_lead = written.with_columns(error=error).group_by("lead").agg(pl.col("error").mean()).sort("lead")
    np.testing.assert_allclose(made.by_lead["mae"].to_numpy(), by_lead["error"].to_numpy(), rtol=1e-5)
    inside = ((written["truth"] >= written["q0.1"]) & (written["truth"] <= written["q0.9"])).drop_nulls()
    assert np.average(made.by_lead["coverage_80"], weights=made.by_lead["values"]) == pytest.approx(inside.mean())


def test_each_group_has_the_errors_of_its_rows(run: Any) -> None:
    made = sm.load("runs/shops").evaluate()
    frame = made.frame.with_columns(
        error=(pl.col("mean") - pl.col("truth")).abs().cast(pl.Float64),
        target=pl.col("origin").dt.offset_by(pl.format("{}d", "lead")),
    ).drop_nulls("error")
    keys = {
        "by_series": pl.col("id").cast(pl.String),
        "by_target": pl.col("target").dt.strftime("%a"),
        "by_origin": pl.col("origin"),
    }
    for name, key in keys.items():
        wanted = dict(frame.group_by(key).agg(pl.col("error").mean()).iter_rows())
        found = getattr(made, name)
        assert found["mae"].to_list() == pytest.approx([wanted[label] for label in found[:, 0]], rel=1e-5), name
        assert found["values"].sum() == len(frame)


def test_a_forecast_from_an_origin_is_that_of_the_evaluation(run: Any) -> None:
    model = sm.load("runs/shops")
    frame = model.evaluate(origins=3).frame
    origin = frame["origin"].unique().sort()[4]
    wanted = model.forecast(origin=str(origin)).table
    numbers = ["mean", "q0.1", "q0.9"]
    np.testing.assert_allclose(
        frame.filter(pl.col("origin") == origin).select(numbers).to_numpy(),
        wanted.select(numbers).to_numpy(),
        rtol=1e-5,
    )


def test_every_nth_origin_and_the_last_rows() -> None:
    model = trained(walk())
    everything = own(model, walk()).frame
    assert everything["origin"].unique().to_list() == list(range(255, 296))
    chosen = own(model, walk(), origins=7).frame
    assert chosen["origin"].unique().to_list() == list(range(255, 296, 7))
    assert_close(chosen, everything.filter((pl.col("origin") - 255) % 7 == 0), 1e-5)
    last = own(model, walk(), last=60)
    assert last.part == "evaluation" and last.frame["origin"].unique().to_list() == list(range(240, 296))
    assert last.notes[-1] == "15 rows of the targets belong to the training or validation part of the run."


def test_other_rows_are_evaluated_after_those_of_training_and_new_series_as_a_whole() -> None:
    frame = pl.concat([walk(seed=seed).with_columns(id=pl.lit(name)) for seed, name in enumerate("ab")])
    model = trained(frame, id="id", split=[200, 50])
    longer = pl.concat([walk(400, seed).with_columns(id=pl.lit(name)) for seed, name in ((0, "b"), (5, "new"))])
    made = model.evaluate(longer)
    first = dict(made.frame.group_by("id").agg(pl.col("origin").min()).iter_rows())
    assert first == {"b": 250, "new": PAST}
    with pytest.raises(sm.InputError, match="no series has 5 rows to forecast .* last=2000"):
        model.evaluate(frame.filter(pl.int_range(pl.len()).over("id") < 250))


def test_targets_missing_where_training_had_none_are_filled_for_the_model_and_not_counted() -> None:
    frame = walk()
    model = trained(frame)
    gone = (pl.int_range(pl.len()) > 250) & (pl.int_range(pl.len()) % 9 == 0)
    holes = frame.with_columns(y=pl.when(gone).then(None).otherwise("y"))
    filled = holes.select(pl.col("y").forward_fill())
    made, wanted = model.evaluate(holes, last=50), model.evaluate(filled, last=50)
    np.testing.assert_allclose(made.frame["mean"].to_numpy(), wanted.frame["mean"].to_numpy(), rtol=1e-6)
    assert made.frame["truth"].null_count() > 20 and wanted.frame["truth"].null_count() == 0
    assert "filled with the value before" in made.notes[-2]


STEPS = 70  # more than any bounded backbone reaches
FINITE = [
    name for name, net in zoo.STATED.items() if net.causal and (net.receptive_field or 99) <= STEPS and net.stride == 1
]


@pytest.mark.parametrize("readout", ["seq_to_seq", "seq_to_vector", "iterated", "encoder_decoder"])
@pytest.mark.parametrize("backbone", FINITE)
def test_one_pass_equals_windows(backbone: str, readout: str) -> None:
    """Where the model reads no farther back than a window, and has a forecast at every step."""
    frame = pl.concat([walk(300 - 40 * place, place).with_columns(id=pl.lit(name)) for place, name in enumerate("ab")])
    model = trained(frame, backbone, readout, id="id", past_steps=STEPS, lags=[7], split=[120, 80, 50])
    made, wanted = own(model, frame), own(model, frame, state="windows", origins=1)
    every_step = readout == "seq_to_seq" and model.model.backbone.offset == 0
    assert (made.carried, wanted.carried) == (every_step, False)
    order = ["id", "origin", "lead"]
    assert_close(made.frame.sort(order), wanted.frame.sort(order), 1e-5)
    assert_close(made.table, wanted.table, 1e-5)
    thinned = own(model, frame, origins=7).frame.sort(order)
    assert_close(thinned, own(model, frame, origins=7, state="windows").frame.sort(order), 1e-5)


def test_a_run_without_a_test_part_says_so() -> None:
    with pytest.raises(sm.InputError, match="the run has no test part .data.split.; name the rows .* last=2000"):
        own(trained(walk(), split=[150, 150]), walk())


def test_adaptive_bands_need_a_calibration() -> None:
    model = replace(trained(walk()), calibration=None)
    assert [name for name in own(model, walk()).by_lead.columns if "coverage" in name] == []
    with pytest.raises(sm.InputError, match="bands=adaptive needs a calibration"):
        own(model, walk(), bands="adaptive")


def test_some_models_read_a_series_in_one_pass() -> None:
    assert {"wavenet", "tcn", "wavenet_gated"} <= set(FINITE) and "gru" not in FINITE


def test_a_carried_state_has_seen_the_whole_series() -> None:
    frame = walk()
    model = trained(frame)
    made = own(model, frame, state="carried")
    assert made.carried and "saw more than past_steps" in made.notes[-1]
    values = torch.tensor(frame["y"].to_list())[None, :, None]
    first = (255 - PAST) // PAST * PAST + PAST
    with torch.no_grad():
        for origin in (255, 280, 295):
            inputs = model.spec.zeros()._replace(past_target=values[:, 255 - first : origin])
            inputs = inputs._replace(past_observed=torch.ones_like(inputs.past_target, dtype=torch.bool))
            shape = (1, inputs.past_target.shape[1], 0)
            wanted = model(inputs._replace(past_covariates=torch.zeros(shape), known_covariates=torch.zeros(shape)))
            found = made.frame.filter(pl.col("origin") == origin)["mean"].to_numpy()
            assert wanted.forecast is not None
            np.testing.assert_allclose(found, wanted.forecast[0, -1, :, 0, 0].numpy(), rtol=1e-4, atol=1e-5)


def broken(rows: int = 3000) -> pl.DataFrame:
    """Noise whose deviation grows fivefold for good at two thirds."""
    noise = np.random.default_rng(3).normal(size=rows)
    noise[rows * 2 // 3 :] *= 5
    return pl.DataFrame({"y": noise})


def test_adaptive_bands_recover_after_a_break_where_split_bands_do_not() -> None:
    frame = broken()
    model = trained(frame, split=[1000, 500, 1500])
    made = own(model, frame, bands="adaptive")
    late = made.frame.filter(pl.col("origin") > 2150).with_columns(
        ok=pl.col("truth").is_between(pl.col("q0.1"), pl.col("q0.9"))
    )
    by_lead = late.group_by("lead").agg(pl.col("ok").mean())["ok"].to_numpy()
    assert len(by_lead) == HORIZON and np.abs(by_lead - 0.8).max() < 0.05, by_lead
    split = own(model, frame).frame.filter(pl.col("origin") > 2150)
    assert split["truth"].is_between(split["q0.1"], split["q0.9"]).mean() < 0.5
    assert made.by_lead["adaptive_coverage_80"].to_numpy() == pytest.approx(0.8, abs=0.05)
    quantiles = made.frame.select(pl.selectors.starts_with("q")).to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_adaptive_bands_see_no_error_before_it_is_known(stride: int) -> None:
    """Changing the truth of one row changes only bands of origins from that row on, from the next one it reaches."""
    frame = walk(400)
    model = trained(frame, split=[150, 50, 200])
    model.model.forward = lambda inputs, state=None: Output(torch.zeros(len(inputs.series), 1, HORIZON, 1, 1))
    changed = frame.with_columns(y=pl.when(pl.int_range(pl.len()) == 299).then(pl.col("y") + 50).otherwise("y"))
    made, other = (own(model, one, bands="adaptive", origins=stride, state="windows").frame for one in (frame, changed))
    differs = made.filter((made["q0.9"] != other["q0.9"]) | (made["q0.1"] != other["q0.1"]))
    assert differs["origin"].min() == next(origin for origin in made["origin"].unique().sort() if origin >= 300)


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_adaptive_bands_are_the_same_for_any_batches_and_begin_with_the_split_bands(size: int) -> None:
    errors = torch.randn(500, 4, 2, generator=torch.Generator().manual_seed(0))
    errors[::13, 1] = torch.nan
    offsets = torch.linspace(-2, 2, len(LEVELS))[:, None, None].expand(-1, 4, 2)
    calibration, levels = Calibration(LEVELS, offsets, 99), [0.9, 0.1, 0.5]
    series = torch.arange(5).repeat_interleave(100)
    whole = AdaptiveBands(calibration, levels, 1).offsets(series, errors)
    bands = AdaptiveBands(calibration, levels, 1)
    parts = [bands.offsets(*both) for both in zip(series.split(size), errors.split(size), strict=True)]
    assert torch.equal(torch.cat(parts), whole)
    start = calibration.quantiles(torch.zeros(1, 4, 2), torch.ones(1, 2), levels)
    torch.testing.assert_close(whole[::100][:, 0], start[0, 0].expand(5, 2, 3))
    alone = AdaptiveBands(calibration, levels, 1).offsets(torch.zeros(100, dtype=torch.int64), errors[200:300])
    assert torch.equal(alone, whole[200:300])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"origins": 0}, "origins is 0"),
        ({"origins": "daily"}, "origins is 'daily'"),
        ({"origins": True}, "origins is True"),
        ({"last": 3}, "last is 3"),
        ({"last": "year"}, "last is year"),
        ({"state": "kept"}, "state is 'kept'"),
        ({"bands": "none"}, "bands is 'none'; it must be one of split, adaptive"),
        ({"output": "forecasts.csv"}, "must end in .parquet"),
        ({"levels": [0.5, 0.999]}, "between 0.025 and 0.975"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(sm.InputError, match=words) as refused:
        own(trained(walk()), walk(), **settings)
    assert "\n" not in str(refused.value)


def test_bands_are_the_same_while_a_trainer_computes_in_64_bits() -> None:
    """``trainer.precision=64-true`` changes torch's default type around the steps of the trainer."""
    offsets = torch.randn(len(LEVELS), 2, 1, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    bands, centre = Calibration(LEVELS, offsets, 99), torch.zeros(1, 2, 1)
    before = bands.quantiles(centre, torch.ones(1, 1, 1), (0.1, 0.33, 0.975))
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(bands.quantiles(centre, torch.ones(1, 1, 1), (0.1, 0.33, 0.975)).float(), before)
    finally:
        torch.set_default_dtype(torch.float32)
