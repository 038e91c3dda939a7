"""Files of this project that four everyday calls enter, and the moves between them.

A file is entered when any of its functions is called, and a move is a call whose file is another one than that of the
call before it; importing counts as neither. The data are a daily CSV of 400 rows; ``model=lstm``, scaler auto.
"""

import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
OWN = (f"{ROOT}/seqmodels/", f"{ROOT}/datamodules/", f"{ROOT}/train.py")
GOALS = {"CSV to DataModule": 20, "forward of an LSTM": 7, "one batch": 3, "train.py model=lstm": 45}


class Walk:
    """The files entered while it is open, in order."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __enter__(self) -> "Walk":
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *error: Any) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OWN) and not at_import(frame):
            self.files.append(frame.f_code.co_filename)

    @property
    def entered(self) -> list[str]:
        """Different files, in the order in which they were entered."""
        return [str(Path(file).relative_to(ROOT)) for file in dict.fromkeys(self.files)]

    @property
    def moves(self) -> int:
        return sum(one != other for one, other in zip(self.files, self.files[1:], strict=False))


def at_import(frame: FrameType) -> bool:
    """True for the body of a module or class, and for a function or comprehension that it calls."""
    frames = [frame, *([frame.f_back] if frame.f_back else [])]
    return not all(one.f_code.co_flags & inspect.CO_OPTIMIZED for one in frames)


def main() -> None:
    """Print a line for each call, then the files that it entered."""
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(ROOT))
        os.chdir(folder)
        write_table(Path("rides.csv"))
        for name, walk in (*walk_calls(), ("train.py model=lstm", walk_training())):
            print(f"{name}: {len(walk.entered)} files (goal: {GOALS[name]}), {walk.moves:,} moves")
            print(f"    {', '.join(walk.entered)}")


def write_table(path: Path) -> None:
    """400 days of counts with a weekly season."""
    days = np.arange("2020-01-01", "2021-02-04", dtype="datetime64[D]")
    rides = 100 + 30 * (np.arange(len(days)) % 7 < 5) + np.random.default_rng(0).normal(0, 5, len(days))
    path.write_text("day,rides\n" + "".join(f"{day},{value}\n" for day, value in zip(days, rides, strict=True)))


def walk_calls() -> list[tuple[str, Walk]]:
    """A DataModule from a file, one forecast of an LSTM, one batch."""
    from datamodules.table import Table
    from seqmodels.config.build import build
    from seqmodels.config.compose import compose

    data = Table("rides.csv", target="rides", time="day", past_steps=28, horizon=7)
    reading = walked(data.setup)
    config = compose("train", ["model=lstm", "data=csv"])
    model = build(config.model, spec=data.spec).eval()
    batches = iter(data.train_dataloader())
    window = next(batches)
    return [
        ("CSV to DataModule", reading),
        ("forward of an LSTM", walked(torch.no_grad()(lambda: model(window.inputs)))),
        ("one batch", walked(lambda: next(iter(data.train_dataloader())))),
    ]


def walk_training() -> Walk:
    """The whole command, one epoch."""
    from seqmodels.cli.main import main as seqmodels

    keys = ["data=csv", "data.path=rides.csv", "data.target=rides", "data.time=day", "trainer.max_epochs=1"]
    arguments = ["train", "model=lstm", *keys, "data.past_steps=28", "data.horizon=7", "trainer.accelerator=cpu"]

    def train() -> None:
        try:
            seqmodels(arguments)
        except SystemExit as ended:
            assert ended.code == 0, ended.code

    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the command prints is not the result here
    try:
        return walked(train)
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)


def walked(call: Callable[[], object]) -> Walk:
    """The walk of one call."""
    with Walk() as walk:
        call()
    return walk
