"""Evaluation at many origins: the figures of training, one pass equal to windows, all forecasts in one file."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import seqmodels as sm
from datamodules.table import Table
from seqmodels.inference.backtest import Evaluation
from seqmodels.inference.calibration import LEVELS, Calibration
from seqmodels.inference.forecast import TrainedModel
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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"split": ["2021-06-01", "2021-07-01"]},
        {"split": [100, 40, 30]},
        {"split": ["2021-03-01", "2021-06-01", "2021-07-01", "2021-08-01"], "context": "inside"},
        {"split": [1, 0, 1], "split_by": "series"},
        {"fold": 1},
    ],
)
def test_the_figures_are_those_of_the_test_table_of_training(changes: dict[str, Any], tmp_path: Path) -> None:
    frame = shops(200)
    given: dict[str, Any] = {**SHORT, **COLUMNS, "past_covariates": [], "split": [0.6, 0.2, 0.2], **changes}
    if given.get("split_by") == "series":
        frame = pl.concat([frame, *(frame.with_columns(shop=pl.col("shop") + name) for name in "ab")])
        given["split"] = [2, 2, 2]
    run = sm.fit(frame, model="linear", directory=tmp_path / "run", optimizer_steps=5, **given)
    wanted = run.table.filter(pl.col("stage") == "test")
    made = run.evaluate()
    assert made.part == "test" and made.notes == run.run.data.source_series.notes
    assert made.table["row"].to_list() == wanted["row"].to_list()
    assert_close(made.table, wanted)


def test_command_line_and_python_agree_with_training_and_write_all_forecasts(run: Any) -> None:
    ended = forked(Path.cwd(), "runs/shops", "output=all.parquet", command="evaluate")
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert "by weekday of the target" in ended.out and "all.parquet" in ended.out
    made = sm.load("runs/shops").evaluate()
    assert made.name == "gru" and repr(made) in ended.out
    assert_close(made.table, run.table.filter(pl.col("stage") == "test"))
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"origins": 0}, "origins is 0"),
        ({"origins": "daily"}, "origins is 'daily'"),
        ({"origins": True}, "origins is True"),
        ({"last": 3}, "last is 3"),
        ({"last": "year"}, "last is year"),
        ({"state": "kept"}, "state is 'kept'"),
        ({"output": "forecasts.csv"}, "must end in .parquet"),
        ({"levels": [0.5, 0.999]}, "between 0.025 and 0.975"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(sm.InputError, match=words) as refused:
        own(trained(walk()), walk(), **settings)
    assert "\n" not in str(refused.value)
