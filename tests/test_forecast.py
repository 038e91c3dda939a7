"""Forecasts of the future: equal to an independent computation, from the command line and from Python."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import seqmodels as sm
from datamodules.table import Table
from seqmodels import checkpoint
from seqmodels.inference.calibration import FEWEST_ERRORS, LEVELS, Calibration, ErrorSample
from seqmodels.inference.forecast import TrainedModel, find_checkpoint
from seqmodels.window import Inputs, Targets, Window
from tests import zoo
from tests.command_line import forked
from tests.test_encoder import COLUMNS, HORIZON, MADE, PAST, shops

SHORT: dict[str, Any] = {"past_steps": PAST, "horizon": HORIZON, "trainer": {"max_epochs": 1, "accelerator": "cpu"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model trained on two shops with covariates of all kinds, without the last five days of the targets."""
    place = tmp_path_factory.mktemp("forecast")
    known = shops()
    ends = pl.col("day") > known["day"].max() - np.timedelta64(HORIZON, "D").astype(object)
    frame = known.with_columns(
        sales=pl.when(ends).then(None).otherwise("sales"), visitors=pl.when(ends).then(None).otherwise("visitors")
    )
    frame.write_csv(place / "shops.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield sm.fit("shops.csv", model="gru", directory="runs/shops", **SHORT, **COLUMNS, **MADE)


def inputs_by_hand(run: Any) -> Inputs:
    """The windows after the last targets: those of a DataModule whose test part is that horizon."""
    frame = pl.read_csv("shops.csv", try_parse_dates=True)
    told = frame.with_columns(pl.col("sales").fill_null(1.0))  # no input: the targets of the test part
    training = run.run.data.spans["train"].stop[0] - run.run.data.spans["train"].start[0]
    rows = frame.height // 2
    split = [int(training), rows - HORIZON - int(training), HORIZON]
    data = Table(told, past_steps=PAST, horizon=HORIZON, split=split, **COLUMNS, **MADE)
    data.setup()
    return data.loaders["test"].examples(torch.arange(2)).inputs


def test_the_forecast_is_that_of_the_weights_on_the_last_window(run: Any) -> None:
    inputs = inputs_by_hand(run)
    state = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    model = run.model
    assert all(torch.equal(state[f"forecaster.{name}"], weight) for name, weight in model.state_dict().items())
    with torch.no_grad():
        wanted = model.head.mean(model(inputs).forecast)[:, -1]
    made = run.forecast()
    np.testing.assert_allclose(made.mean, wanted.numpy(), rtol=2e-6)
    table = made.table
    assert table.columns[:5] == ["id", "time", "channel", "lead", "mean"]
    assert table["time"].unique().to_list() == sorted(shops()["day"].unique().to_list())[-HORIZON:]
    assert table["id"].to_list() == ["north"] * HORIZON + ["south"] * HORIZON
    np.testing.assert_allclose(table["mean"].to_numpy(), wanted[..., 0].flatten().numpy(), rtol=2e-6)


def test_command_line_python_and_the_end_of_training_agree(run: Any) -> None:
    ended = forked(Path.cwd(), "runs/shops", "output=next.csv", command="forecast")
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert "north" in ended.out and "Written: next.csv" in ended.out
    written = [pl.read_csv(name) for name in ("next.csv", "runs/shops/forecast.csv")]
    tables = [run.forecast().table, sm.load("runs/shops").forecast().table]
    for table in [*tables, written[0]]:
        np.testing.assert_allclose(
            table.select(pl.selectors.float()).to_numpy(),
            written[1].select(pl.selectors.float()).to_numpy(),
            rtol=1e-6,
        )
    pictures = [*Path("runs").glob("*_forecast/forecast.png"), Path("runs/shops/figures/forecast_future.png")]
    assert len(pictures) == 2 and all(picture.stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "there is no such checkpoint file"),
        (["."], "a directory without checkpoints/best.ckpt"),
        (["runs/shops", "data.path=other.csv"], "other.csv does not exist"),
        (["runs/shops", "horizon=8"], "past covariate 'visitors'"),
        (["runs/shops", "horizon=0"], "horizon is 0"),
        (["runs/shops", "origin=soon"], "origin=soon is not a time"),
        (["runs/shops", "levels=[0.999]"], "between 0.025 and 0.975"),
        (["runs/shops", "output=next.xlsx"], "must end in .csv or .parquet"),
        (["runs/shops", "orgin=2021-05-01"], "orgin"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(run: Any, arguments: list[str], words: str) -> None:
    before = {path for path in Path("runs").iterdir()}
    ended = forked(Path.cwd(), *arguments, command="forecast")
    assert ended.code == 2 and words in ended.err and len(ended.err.splitlines()) == 1, ended.err
    assert {path for path in Path("runs").iterdir()} == before


def test_a_longer_horizon_feeds_forecasts_back(tmp_path: Path) -> None:
    values = 5 + np.sin(np.arange(80.0)) + np.random.default_rng(0).normal(size=80) / 10
    data = Table(
        pl.DataFrame({"y": values}), target="y", past_steps=PAST, horizon=HORIZON, lags=[1, 6], rolling=["mean_3"]
    )
    data.setup()
    torch.manual_seed(0)
    parts = zoo.SCALERS["standard"], zoo.BACKBONES["gru"], zoo.READOUTS["seq_to_vector"]
    model = TrainedModel(sm.Forecaster(data.spec, *parts, sm.Point()).eval(), data.encoder())
    rows = values.astype(np.float32)
    wanted: list[np.ndarray] = []
    for _ in range(3):
        step = model.forecast(pl.DataFrame({"y": rows})).mean[0, :, 0]
        wanted.append(step)
        rows = np.concatenate([rows, step]).astype(np.float32)
    made = model.forecast(pl.DataFrame({"y": values}), horizon=2 * HORIZON + 2)
    np.testing.assert_allclose(made.mean[0, :, 0], np.concatenate(wanted)[: 2 * HORIZON + 2], rtol=1e-5)
    assert made.table["step"].to_list() == list(range(81, 81 + 2 * HORIZON + 2))


def test_old_checkpoints_load_and_say_what_lacks(run: Any, tmp_path: Path) -> None:
    saved = checkpoint.read(run.checkpoint)
    del saved[checkpoint.KEY]["data"]
    checkpoint.write(tmp_path / "old.ckpt", saved)
    old = sm.load(tmp_path / "old.ckpt")
    assert old(old.spec.zeros()).forecast is not None
    with pytest.raises(sm.InputError, match="train the model again"):
        old.forecast("shops.csv")


def test_latest_is_the_newest_run(run: Any) -> None:
    assert find_checkpoint("latest").samefile(run.checkpoint)
    assert find_checkpoint(run.directory) == run.directory / "checkpoints" / "best.ckpt"


def errors_in_batches(errors: torch.Tensor, sizes: list[int]) -> ErrorSample:
    sample = ErrorSample(len(errors), *errors.shape[1:])
    for part in errors.split(sizes):
        unit = torch.full((len(part), part.shape[2]), 2.0)
        inputs = zoo.SPEC.zeros(len(part))._replace(seasonal_error=unit)
        observed = ~part.isnan()
        targets = Targets((2 * part).nan_to_num(), observed)
        window = Window(inputs, targets, torch.zeros(len(part), dtype=torch.int64))
        sample.add(torch.zeros_like(part), unit[:, None], window)
    return sample


def test_bands_are_the_conformal_quantiles_of_the_errors() -> None:
    errors = torch.randn(200, 3, 2)
    errors[:50, 1, 0] = torch.nan
    calibration = errors_in_batches(errors, [64, 64, 72]).calibrate()
    assert calibration is not None and calibration.windows == 200
    level = LEVELS.index(0.9)
    for lead, channel in ((0, 0), (1, 0), (2, 1)):
        own = errors[:, lead, channel]
        own = own[~own.isnan()].sort().values
        assert calibration.offsets[level, lead, channel] == own[int(np.ceil((len(own) + 1) * 0.9)) - 1]
    again = Calibration.from_dict(calibration.to_dict())
    quantiles = again.quantiles(torch.ones(4, 3, 2), torch.full((4, 1, 2), 3.0), [0.1, 0.5, 0.9])
    torch.testing.assert_close(quantiles[1, ..., 2], 1 + 3 * calibration.offsets[level])
    assert bool((quantiles.diff(dim=-1) >= 0).all())
    assert errors_in_batches(errors[: FEWEST_ERRORS - 1], [FEWEST_ERRORS - 1]).calibrate() is None


def test_coverage_is_that_of_the_level_for_exchangeable_errors() -> None:
    torch.manual_seed(0)
    covered = []
    for _ in range(200):
        errors = torch.randn(61, 1, 1).exp()
        calibration = errors_in_batches(errors[:60], [60]).calibrate()
        assert calibration is not None
        low, high = calibration.quantiles(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), [0.1, 0.9]).flatten().tolist()
        covered.append(low <= float(errors[60]) <= high)
    assert 0.72 <= np.mean(covered) <= 0.9
