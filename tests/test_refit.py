"""Evaluation with training anew: each fold by itself, from rows before it only, in one table with the others."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import seqmodels as sm
from seqmodels.cli.refit import trainer_of
from seqmodels.inference.backtest import Refit
from tests.command_line import forked
from tests.test_encoder import COLUMNS, HORIZON, MADE, shops
from tests.test_forecast import SHORT

EVERY, STRIDE = 2, 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("refit")
    shops(200).write_csv(place / "shops.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield sm.fit("shops.csv", model="gru", directory="runs/shops", **SHORT, **COLUMNS, **MADE)


def evaluate(rows: Any, folder: str, only: int | None = None, every: int = EVERY, **settings: Any) -> Any:
    model = sm.load("runs/shops")
    refit = Refit(every, trainer_of(model, Path(folder), "test"), only)
    assert model.encoder is not None
    given = {"own": True, "origins": STRIDE, **settings}
    return model.evaluate_series(model.encoder.read(rows), refit=refit, **given)


@pytest.fixture(scope="module")
def whole(run: Any) -> Any:
    return evaluate("shops.csv", "whole", output="whole.parquet")


def test_folds_part_the_origins_of_an_evaluation_and_are_in_every_table(run: Any, whole: Any) -> None:
    frame, plain = whole.frame, sm.load("runs/shops").evaluate(origins=STRIDE).frame
    keys = ["id", "origin", "lead", "channel"]
    assert frame.sort(keys).select(*keys, "truth").equals(plain.sort(keys).select(*keys, "truth"))
    assert frame.columns[:4] == ["id", "fold", "origin", "lead"]
    origins = frame.group_by("fold").agg(pl.col("origin").unique().sort()).sort("fold")["origin"].to_list()
    assert len(origins) > 2 and [len(some) for some in origins[:-1]] == [EVERY] * (len(origins) - 1)
    assert all(one[-1] < two[0] for one, two in zip(origins, origins[1:], strict=False))
    errors = (frame["mean"] - frame["truth"]).abs()
    wanted = frame.with_columns(error=errors).drop_nulls("error").group_by("fold").agg(pl.col("error").mean())
    np.testing.assert_allclose(whole.by_fold["mae"], wanted.sort("fold")["error"], rtol=1e-5)
    assert whole.by_fold["values"].sum() == whole.by_lead["values"].sum()
    assert whole.table["mae"][0] == pytest.approx(errors.mean(), rel=1e-5)


def test_a_fold_by_itself_is_that_of_the_whole(run: Any, whole: Any) -> None:
    alone = evaluate("shops.csv", "alone", only=2)
    assert alone.frame.equals(whole.frame.filter(pl.col("fold") == 2))
    assert whole.frame.filter(pl.col("fold") == 2)["mean"].n_unique() > 10


def test_rows_after_the_beginning_of_a_fold_change_no_forecast_of_it(run: Any, whole: Any) -> None:
    """Neither values nor categories; the frame ends at the same row, since parts given as shares depend on that."""
    second = whole.frame.filter(pl.col("fold") == 1)
    earliest = second["origin"].min()
    frame = pl.read_csv("shops.csv", try_parse_dates=True)
    measured, known = (pl.col("day") > earliest + timedelta(days) for days in (0, HORIZON))  # known ones are inputs
    changed = frame.with_columns(
        *(
            pl.when(measured).then(pl.col(name) * 50 + 7).otherwise(pl.col(name)).alias(name)
            for name in "sales visitors".split()
        ),
        pl.when(known).then(-9.0).otherwise("price").alias("price"),
        pl.when(known).then(pl.lit("another")).otherwise("offer").alias("offer"),
    )
    assert not changed.equals(frame)
    other = evaluate(changed, "changed")
    numbers = ["mean", *(name for name in second.columns if name.startswith("q"))]
    for number in (0, 1):
        pair = [one.frame.filter(pl.col("fold") == number, pl.col("origin") <= earliest) for one in (whole, other)]
        assert len(pair[0]) and pair[0].select(numbers).equals(pair[1].select(numbers)), number
    after = [one.frame.filter(pl.col("fold") == 2)["mean"] for one in (whole, other)]
    assert not after[0].equals(after[1])


def test_every_fold_leaves_a_run_that_can_be_used(run: Any, whole: Any) -> None:
    model = sm.load("whole/fold_1")
    assert len(model.evaluate("shops.csv").frame) and model.name == "gru"


def test_series_that_begin_and_end_at_other_times_share_the_folds(run: Any) -> None:
    frame = pl.read_csv("shops.csv", try_parse_dates=True)
    names, days = frame["shop"].unique().sort(), frame["day"].unique().sort()
    late = frame.filter(pl.col("shop") == names[0], pl.col("day") >= days[-60]).with_columns(shop=pl.lit("late"))
    made = evaluate(pl.concat([frame, late]), "late", own=False, last=40)
    per_fold = made.frame.group_by("fold", "id").agg(pl.col("origin").min()).group_by("fold").agg("origin")
    assert per_fold["origin"].list.n_unique().to_list() == [1] * len(per_fold)


def test_command_line_trains_the_folds_and_says_so(run: Any, whole: Any) -> None:
    ended = forked(
        Path.cwd(),
        "runs/shops",
        f"refit={EVERY}",
        f"origins={STRIDE}",
        "fold=2",
        "output=o.parquet",
        command="evaluate",
    )
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert "Fold 2: training on" in ended.out and "by fold, each trained anew" in ended.out
    assert pl.read_parquet("o.parquet").equals(whole.frame.filter(pl.col("fold") == 2))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every": 0}, "refit is 0; it must be a whole number of at least 1"),
        ({"every": "daily"}, "refit is 'daily'"),
        ({"only": 99}, "fold is 99, but refit=2 makes"),
        ({"own": False, "last": 195}, "fold 0 has no rows before it to train on"),
    ],
)
def test_wrong_folds_are_refused(run: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(sm.InputError, match=words):
        evaluate("shops.csv", "wrong", **settings)


def test_refit_needs_the_run_directory(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    file.write_bytes(Path("runs/shops/checkpoints/best.ckpt").read_bytes())
    with pytest.raises(sm.InputError, match="refit trains a run again, and .* lies in no run directory"):
        trainer_of(sm.load(file), tmp_path, "test")
