"""Epoch time of a normal run with all logging, compared with a hand-written loop over stock modules.

Both train the same model on the same windows and validate once per epoch. Ours is ``python train.py`` as users run it:
TensorBoard, checkpoints, figures, progress, gradient clipping and norms. The loop uses the stock modules of
``benchmarks/kernels.py``, torch.optim.Adam, tensors in memory and one gather per step. It runs in a process of its own,
and the two alternate epoch by epoch, so that changes in the speed of the machine affect both. The first two epochs, in
which libraries load, are left out. Both have one thread, and the time is that of the processor, which other processes
affect little. Arguments: names of RACES, ``runs=1`` and ``epochs=4``; default: all, three runs of 20 or 6 epochs.
"""

import io
import multiprocessing
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from benchmarks import kernels
from datamodules.synthetic import generate_waves

RUNS, WARM_UP = 3, 2
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Race:
    """A model of ours, by the settings of its command line, and the stock modules beside it."""

    settings: tuple[str, ...]
    body: Callable[[], nn.Module]
    size: int
    past: int = 50
    horizon: int = 10
    batch: int = 32
    last: bool = False  # True: one forecast, from the last step
    epochs: int = 20


LARGE = ("data.past_steps=168", "data.horizon=24", "data.batch_size=256", "model/readout=seq_to_vector")
WIDE = (*LARGE, "model.backbone.hidden=64", "model.backbone.layers=1")
BIG: dict[str, Any] = {"past": 168, "horizon": 24, "batch": 256, "last": True, "epochs": 6}
RACES = {
    **{name: Race((f"model={name}",), kernels.SMALL[name][0], 20) for name in kernels.SMALL if name != "tcn"},
    **{
        f"large_{name}": Race((f"model={name}", *WIDE), kernels.LARGE[name][0], 64, **BIG)
        for name in kernels.LARGE
        if name != "tcn"
    },
    "large_tcn": Race(
        ("model=tcn", *LARGE, "model.backbone.dilations=[1,2,4,8,16]"), kernels.LARGE["tcn"][0], 32, **BIG
    ),
}


class ByHand:
    """The hand-written loop."""

    def __init__(self, race: Race):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        waves = torch.from_numpy(generate_waves(10_000, race.past + race.horizon, 42))
        self.past, self.batch = waves[:, : race.past, None].contiguous(), race.batch
        every = waves.unfold(1, race.horizon, 1)[:, 1:]  # (series, past, horizon)
        self.targets = (every[:, -1:] if race.last else every).contiguous()
        self.model = kernels.Model(race.body(), race.size, race.horizon, race.last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def epoch(self) -> float:
        """Train and validate once; return the seconds."""
        started = time.process_time()
        self.model.train()
        for chosen in torch.randperm(7000).split(self.batch):
            loss = self._loss(chosen)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.model.eval()
        with torch.no_grad():
            for chosen in torch.arange(7000, 9000).split(1000):
                self._loss(chosen)
        return time.process_time() - started

    def _loss(self, chosen: Tensor) -> Tensor:
        forecasts, targets = self.model(self.past[chosen]), self.targets[chosen]
        strided = forecasts.shape[1] < targets.shape[1]  # behind a convolution of kernel 4 and stride 2
        return nn.functional.mse_loss(forecasts, targets[:, 3::2] if strided else targets)


def serve_epochs(name: str, connection: Connection) -> None:
    """Run an epoch of the loop for each request and send back its seconds."""
    loop = ByHand(RACES[name])
    while connection.recv():
        connection.send(loop.epoch())


class Alternate(pl.Callback):
    """Runs an epoch of the hand-written loop between two of ours."""

    def __init__(self, other: Connection):
        self.other, self.started = other, 0.0
        self.pairs: list[tuple[float, float]] = []  # seconds per epoch: ours, by hand

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        ours = time.process_time() - self.started
        self.other.send(True)
        self.pairs.append((ours, self.other.recv()))
        self.started = time.process_time()


def alternate(name: str, epochs: int) -> None:
    """Alternate ``train.py`` in this process with the loop; print the seconds of each pair of epochs."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_epochs, args=(name, theirs))
    process.start()
    alternating, fit = Alternate(ours), pl.Trainer.fit

    def fit_alternating(trainer: pl.Trainer, *arguments: object, **options: object) -> None:
        trainer.callbacks.append(alternating)
        fit(trainer, *arguments, **options)

    pl.Trainer.fit = fit_alternating
    with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()):
        sys.argv = ["train.py", *RACES[name].settings, f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu",
                    "threads=1", f"hydra.run.dir={directory}"]  # fmt: skip
        try:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        except SystemExit as end:
            assert not end.code, end.code
    ours.send(False)
    process.join()
    for pair in alternating.pairs[WARM_UP:]:
        print(*pair)


def measure(name: str, epochs: int) -> list[tuple[float, float]]:
    """Seconds per epoch of one run: pairs of ours and by hand."""
    command = [sys.executable, "-m", "benchmarks.training", name, str(epochs)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.splitlines()
    return [
        (float(ours), float(hand)) for ours, hand in (line.split() for line in lines[WARM_UP - RACES[name].epochs :])
    ]


def main() -> None:
    print("| model | epochs | ours, s (median) | by hand, s (median) | ratio of sums | by run | quartiles by epoch |")
    print("|---|---|---|---|---|---|---|")
    numbers = {key: int(value) for key, _, value in (argument.partition("=") for argument in sys.argv) if value}
    for name in [name for name in RACES if name in sys.argv] or RACES:
        runs = [measure(name, numbers.get("epochs", RACES[name].epochs)) for _ in range(numbers.get("runs", RUNS))]
        pairs = [pair for run in runs for pair in run]
        mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        low, _, high = statistics.quantiles((ours / hand for ours, hand in pairs), n=4)
        by_run = ", ".join(f"{ratio(run):.2f}" for run in runs)
        print(f"| {name} | {len(pairs)} | {mine:.3f} | {theirs:.3f} | {ratio(pairs):.2f} | {by_run}"
              f" | {low:.2f} ... {high:.2f} |", flush=True)  # fmt: skip


def ratio(pairs: list[tuple[float, float]]) -> float:
    """Total of our seconds divided by the total by hand, so that figures and checkpoints count in any epoch."""
    ours, theirs = (sum(times) for times in zip(*pairs, strict=True))
    return ours / theirs


if __name__ == "__main__":
    alternate(sys.argv[1], int(sys.argv[2]))
