"""Resuming a run with other settings, data or files: what may change does so, and everything else is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from small_runs import fit as fit_small
from small_runs import small_module, small_waves

import seqmodels as sm
from seqmodels.checkpoint import read
from seqmodels.errors import InputError
from seqmodels.training.run import count_optimizer_steps

SETTINGS: dict[str, Any] = {
    "target": "y", "time": "t", "past_steps": 10, "horizon": 2, "model": "linear", "scheduler": "constant",
    "logger": "none", "threads": 1, "callbacks__figures": None, "batch_size": 64,
}  # fmt: skip
FRAME = pl.DataFrame(
    {
        "t": pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 12, 31), "1d", eager=True),
        "y": np.sin(np.arange(366) / 5) + np.random.default_rng(0).normal(0, 0.1, 366),
    }
)


def fit(epochs: int, frame: pl.DataFrame = FRAME, **changes: Any) -> sm.TrainedModel:
    """Train a linear model on half a year of waves."""
    return sm.fit(frame, **{**SETTINGS, "trainer__max_epochs": epochs, "trainer__accelerator": "cpu", **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of two epochs."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    fit(2, directory=directory)
    return directory


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, "run"))


OTHER = {
    "rate": ({"optimizer__lr": 1e-6}, r"optimizer.lr was 0.01 in the checkpoint and is 1e-06 here; set optimizer.lr=0"),
    "decay": ({"optimizer__weight_decay": 0.5}, r"optimizer.weight_decay was 0.01 .* and is 0.5 here"),
    "argument left out before": ({"optimizer__amsgrad": True}, r"optimizer.amsgrad was False .* and is True here"),
    "optimizer": ({"optimizer": "sgd"}, r"optimizer was torch.optim.AdamW .* and is torch.optim.SGD here"),
    "schedule": ({"scheduler": "cosine"}, r"scheduler was .*ConstantLR .* and is .*CosineAnnealingLR here; set them"),
    "seed": ({"seed": 1}, r"seed was 0 .* and is 1 here; data.seed was 0"),
    "loss": ({"model__head__loss": "log_cosh"}, r"model.head.loss was \w+ in the checkpoint and is log_cosh here"),
    "model": ({"model": "gru"}, r"model.backbone was .*Linear in the checkpoint and is .*Gru here"),
    "batch size": ({"batch_size": 32}, r"data.batch_size was 64 .* and is 32 here; set data.batch_size=64, or train"),
    "sampling": ({"sampling": "series"}, r"data.sampling was window .* and is series here"),
    "split": ({"split": [0.5, 0.25, 0.25]}, r"data.split was \[0.7, 0.15, 0.15\] .* and is \[0.5, 0.25, 0.25\] here"),
    "precision": ({"trainer__precision": "64-true"}, r"trainer.precision was 32-true .* and is 64-true here"),
    "clipping": ({"trainer__gradient_clip_val": 5.0}, r"trainer.gradient_clip_val was 1.0 .* and is 5.0 here"),
    "accumulation": ({"trainer__accumulate_grad_batches": 2}, r"trainer.accumulate_grad_batches was 1 .* and is 2"),
    "average of weights": ({"callbacks": "ema"}, r"callbacks.ema was not set .* and is .*AveragedWeights here"),
    "monitor": ({"monitor": "validation/mae"}, r"monitor was validation/mase .* and is validation/mae here"),
    "many": (
        {"seed": 1, "optimizer__lr": 1e-6, "horizon": 3},
        r"seed was .*, and 1 more differ; set them as they were",
    ),
}


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("changes", "pattern"), OTHER.values(), ids=OTHER)
def test_other_settings_are_refused_and_the_run_stays_as_it_is(changes: dict, pattern: str, run: Path) -> None:
    before = contents(run)
    with pytest.raises(InputError, match=rf"^ckpt_path=run/checkpoints/last.ckpt: {pattern}"):
        fit(4, ckpt_path="run", **changes)
    with pytest.raises(InputError, match=pattern):  # nor when nothing is left to train
        fit(2, ckpt_path="run/checkpoints/last.ckpt", **changes)
    assert contents(run) == before and [path.name for path in Path().iterdir()] == ["run"]


WEEK = pl.duration(days=7)
DATA = {
    "another value": (
        FRAME.with_columns(y=pl.col("y") + (pl.col("t").dt.ordinal_day() == 5)),
        r"content was \w+ and is",
    ),
    "rows more": (pl.concat([FRAME, FRAME.tail(7).with_columns(pl.col("t") + WEEK)]), r"rows was 366 and is 373"),
    "rows less": (FRAME.head(360), r"rows was 366 and is 360"),
    "later times": (FRAME.with_columns(pl.col("t") + WEEK), r"times was .'2020-01-01', '2020-12-31'. and is"),
    "another column": (FRAME.with_columns(z=pl.col("y")), ""),
}


@pytest.mark.parametrize(("frame", "pattern"), DATA.values(), ids=DATA)
def test_other_data_are_refused(frame: pl.DataFrame, pattern: str, run: Path) -> None:
    before = contents(run)
    more = {"past_covariates": ["z"]} if "z" in frame.columns else {}
    wanted = "data.past_covariates was" if more else rf"was written on other data: {pattern}.*is not possible yet"
    with pytest.raises(InputError, match=wanted):
        fit(4, frame, ckpt_path="run", **more)
    assert contents(run) == before


def test_what_does_not_decide_training_may_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = {"threads": 2, "evaluation_batch_size": 7, "callbacks__early_stopping__patience": 1, "logger": "csv"}
    gone_on = fit(4, FRAME, ckpt_path="run", **free)
    assert gone_on.directory == Path("run") and gone_on.run.trainer.current_epoch == 4
    stopping = gone_on.run.trainer.early_stopping_callback
    assert stopping is not None and stopping.patience == 1
    whole = fit(4, directory="whole")
    weights, same = (list(one.model.parameters()) for one in (gone_on, whole))
    assert all(map(torch.equal, weights, same))
    assert "Resuming from run/checkpoints/last.ckpt, after 8 steps and 2 epochs." in capsys.readouterr().out


def test_a_file_of_the_same_content_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        FRAME.write_csv(name)
    fit(1, "a.csv", directory="run")  # type: ignore[arg-type]
    assert fit(2, "b.csv", ckpt_path="run").run.trainer.current_epoch == 2  # type: ignore[arg-type]


def test_the_config_is_not_rewritten_if_nothing_is_left(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "config.yaml").read_bytes()
    fit(1, ckpt_path="run", threads=2)
    assert "Nothing is left to train: trainer.max_epochs is 1." in capsys.readouterr().out
    assert (run / "config.yaml").read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = run / "checkpoints/last.ckpt"
    checkpoint = read(last)
    del checkpoint["run"]
    torch.save(checkpoint, last)
    fit(3, ckpt_path=last)
    assert "last.ckpt is of an earlier version: only the model" in capsys.readouterr().out
    assert read(last)["run"]["settings"]["optimizer.lr"] == 0.01


@pytest.mark.parametrize("scheduler", ["one_cycle", "cosine", "warm_up_cosine"])
def test_a_planned_schedule_begins_anew_on_demand(scheduler: str, tmp_path: Path) -> None:
    first = fit(2, directory=tmp_path / "run", scheduler=scheduler)
    given = {"ckpt_path": str(first.directory), "scheduler": scheduler}
    with pytest.raises(
        InputError, match=r"planned for 8 optimizer steps, and this run has 20; .*resume_schedule=restart"
    ):
        fit(5, **given)
    weights = [weight.clone() for weight in read(first.directory / "checkpoints/last.ckpt")["state_dict"].values()]
    more = fit(5, resume_schedule="restart", optimizer__lr=0.02, **given)
    last = read(first.directory / "checkpoints/last.ckpt")
    assert not all(map(torch.equal, weights, last["state_dict"].values()))
    assert last["run"]["schedule_start"] == 8 and last["run"]["settings"]["optimizer.lr"] == 0.02
    state = last["lr_schedulers"][0]
    assert state.get("total_steps", state.get("T_max")) == 12 == state["last_epoch"]
    assert more.run.trainer.global_step == 20 and "lr: 0.02" in (first.directory / "config.yaml").read_text()
    with pytest.raises(InputError, match="optimizer.lr was 0.02 in the checkpoint and is 0.01 here"):
        fit(5, **given)
    assert fit(5, optimizer__lr=0.02, **given).value == more.value  # nothing is left
    with pytest.raises(InputError, match="planned for 20 optimizer steps, and this run has 24"):
        fit(6, optimizer__lr=0.02, **given)


def test_a_restart_takes_the_rate_and_keeps_the_moments(run: Path) -> None:
    before = read(run / "checkpoints/last.ckpt")["optimizer_states"][0]
    more = fit(3, ckpt_path="run", optimizer__lr=1e-15, optimizer__weight_decay=0.0, resume_schedule="restart")
    after = read(run / "checkpoints/last.ckpt")
    assert after["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-15
    assert after["optimizer_states"][0]["state"][0]["step"] == before["state"][0]["step"] + 4
    old = read(run / "checkpoints/best.ckpt")["state_dict"]
    assert more.run.trainer.global_step == 12 and all(map(torch.allclose, old.values(), after["state_dict"].values()))


def test_a_copied_last_checkpoint_goes_on_without_its_best(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(run / "checkpoints/last.ckpt", "alone.ckpt")
    shutil.rmtree(run)
    done = fit(2, ckpt_path="alone.ckpt")
    said = capsys.readouterr().out
    assert "holds no best checkpoint: the best of validation/mase is counted anew" in said
    assert "Testing the weights of the last step" in said and done.directory.parent == Path("runs")
    more = fit(3, ckpt_path="alone.ckpt")
    assert more.checkpoint is not None and read(more.checkpoint)["epoch"] == 2


def test_a_run_that_goes_on_elsewhere_takes_its_best_along(run: Path) -> None:
    best = (run / "checkpoints/best.ckpt").read_bytes()
    more = fit(3, ckpt_path="run", directory="other", callbacks__checkpoint__mode="max")
    assert more.checkpoint is not None and more.checkpoint.resolve() == Path("other/checkpoints/best.ckpt").resolve()
    assert (run / "checkpoints/best.ckpt").read_bytes() == best and read(run / "checkpoints/last.ckpt")["epoch"] == 1


@pytest.mark.parametrize("changes", [{}, {"seed": 5}, {"ckpt_path": "alone.ckpt"}])
def test_the_directory_of_another_run_is_not_overwritten(run: Path, changes: dict) -> None:
    shutil.copy(run / "checkpoints/last.ckpt", "alone.ckpt")
    before = contents(run)
    with pytest.raises(InputError, match=r"^run already holds a run .*continue it with ckpt_path=run,"):
        fit(3, directory="run", **changes)
    assert contents(run) == before


def test_auto_goes_on_if_there_is_something_to_go_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"directory": tmp_path / "run", "ckpt_path": "auto"}
    fit(1, **given)
    assert "does not exist yet, so training begins anew" in capsys.readouterr().out
    assert fit(2, **given).run.trainer.global_step == 8
    assert "Resuming from" in capsys.readouterr().out


def test_directories_that_cannot_hold_checkpoints_are_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/elsewhere").write_text("a file")
    with pytest.raises(InputError, match=r"elsewhere: checkpoints cannot be written there"):
        fit(2, directory=tmp_path / "run", callbacks__last__dirpath=str(tmp_path / "run/elsewhere"))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_save_that_fails_keeps_the_checkpoint_before(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "checkpoints/last.ckpt").read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        InputError, match=r"best.ckpt: the checkpoint cannot be written \(No space left on device\); the"
    ):
        fit(3, ckpt_path="run")
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"max_steps": 7}, {"max_epochs": -1, "max_steps": 7}, {"accumulate_grad_batches": 2},
        {"limit_train_batches": 3}, {"limit_train_batches": 0.5},
    ],
)  # fmt: skip
def test_the_number_of_steps_is_that_of_the_trainer(settings: dict) -> None:
    data = small_waves()
    done = fit_small(small_module(data), data, [], **{"max_epochs": 2, **settings})
    assert count_optimizer_steps(done, len(data.train_dataloader())) == done.estimated_stepping_batches
