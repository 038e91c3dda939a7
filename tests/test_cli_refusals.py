"""Invalid input: one line on standard error, exit code 2, and no new files."""

import os
from pathlib import Path

import pytest
from command_line import Ended, files_in, forked

SMALL = ("data.series=200", "data.past_steps=20", "data.horizon=3", "trainer.max_epochs=1")
CSV = ("data=csv", "data.path=small.csv", "data.target=[y]", "data.past_steps=5", "data.horizon=2")
REFUSED = {
    "missing file": (("data=csv", "data.path=missing.csv", "data.target=[y]"), ("missing.csv",)),
    "no file given": (("data=csv", "data.target=[y]"), ("data.path has no value",)),
    "unknown column": ((*CSV, "data.target=[z]"), ("small.csv", "z", "y")),
    "wrong type": (("trainer.max_epochs=five",), ("trainer.max_epochs=five", "int or null")),
    "added key": (("+foo=1",), ("foo", "no such key")),
    "unknown option": (("model=wavnet",), ("model=wavnet", "Nearest: wavenet")),
    "key of an inner part": (("model=conv_gru", "model.backbone.hidden=3"), ("model.backbone.recurrent.hidden",)),
    "sees the future": (("model=bidirectional_lstm", "model/readout=seq_to_seq"), ("future", "seq_to_vector")),
    "fed back with strides": (("model=conv_gru", "model/readout=iterated"), ("every 2 steps", "stride of 1")),
    "state by window": (("model=lstm", "data.lanes=2", "model/scaler=window"), ("data.lanes", "model/scaler=standard")),
    "nothing dropped": (("model=lstm", "dropout_passes=9"), ("dropout_passes", "model.backbone.dropout")),
    "missing checkpoint": (("ckpt_path=missing.ckpt",), ("missing.ckpt", "no such checkpoint file")),
    "damaged checkpoint": (("ckpt_path=small.csv",), ("small.csv", "cannot be read as a checkpoint")),
    "unknown monitor": (("monitor=val_loss",), ("monitor", "val_loss", "validation/mase")),
    "no threads": (("threads=0",), ("threads is 0", "at least 1")),
    "negative seed": (("seed=-1",), ("seed is -1", "at least 0")),
    "split too large": (("data.split=[190,20,10]",), ("data.split", "200")),
    "window too long": ((*CSV, "data.past_steps=50"), ("small.csv", "52")),
    "place that is a file": (("hydra.run.dir=small.csv/run",), ("small.csv/run", "cannot be created")),
    "schedule without end": (("trainer.max_epochs=-1",), ("scheduler", "max_epochs=-1")),
    "no such accelerator": (("trainer=gpu",), ("trainer", "gpu")),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a table of 40 rows."""
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "small.csv").write_text("y\n" + "\n".join(str(row % 7) for row in range(40)) + "\n")
    return directory


def assert_refused(ended: Ended, *parts: str) -> None:
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    assert [part for part in parts if part not in ended.err] == [], ended.err


@pytest.mark.parametrize("mistake", REFUSED)
def test_invalid_input_is_an_error_of_one_line(place: Path, mistake: str) -> None:
    overrides, parts = REFUSED[mistake]
    if mistake == "no such accelerator" and os.path.exists("/dev/nvidiactl"):
        pytest.skip("there is a GPU")
    own = () if "data=csv" in overrides else SMALL[:3]
    assert_refused(forked(place, *own, *overrides), *parts)
    if mistake != "schedule without end":  # known only when training begins
        assert files_in(place) == ["small.csv"]


def test_a_key_of_a_swept_choice_is_named_with_the_way_to_set_it(place: Path) -> None:
    swept = ("-m", *SMALL[:3], "model=lstm,gru")
    assert_refused(forked(place, *swept, "model.backbone.hidden=3"), "in a sweep, write ++model.backbone.hidden=3.")
    assert files_in(place) == ["small.csv"]
    assert forked(place, *swept, "++model.backbone.hidden=3", "trainer.fast_dev_run=true").code == 0


def test_the_unchanged_table_is_valid(place: Path) -> None:
    """Otherwise the errors above could have another cause."""
    assert forked(place, *CSV, "model=naive").code == 0


def test_a_checkpoint_of_another_model_is_an_error_and_its_run_stays_unchanged(place: Path) -> None:
    assert forked(place, *SMALL, "scheduler=constant", "hydra.run.dir=run").code == 0
    before = {name: (place / name).read_bytes() for name in files_in(place)}
    resume = (*SMALL, "scheduler=constant", "ckpt_path=run/checkpoints/last.ckpt")
    assert_refused(forked(place, *resume, "model=lstm"), "ckpt_path=run/checkpoints/last.ckpt", "model.backbone was")
    wider = forked(place, *resume, "model.backbone.filters=21")
    assert_refused(wider, "model.backbone.filters was 20 in the checkpoint and is 21 here")
    assert_refused(forked(place, *SMALL, "hydra.run.dir=run"), "run already holds a run", "ckpt_path=run")
    assert {name: (place / name).read_bytes() for name in files_in(place)} == before


def test_a_directory_without_write_permission_is_an_error(place: Path) -> None:
    place.chmod(0o555)
    try:
        if os.access(place, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert_refused(forked(place, *SMALL), "runs", "cannot be created")
    finally:
        place.chmod(0o755)
