"""Epoch time of a normal run with all logging, compared with a hand-written loop over stock modules.

Both train the same model on the same windows with batches of 32 and validate once per epoch. Ours is ``python
train.py`` as a user runs it: TensorBoard, checkpoints, figures, progress, gradient clipping and norms. The loop uses
nn.LSTM or nn.Conv1d, torch.optim.Adam, tensors in memory and one gather per step. It runs in a process of its own, and
the two alternate epoch by epoch, so that changes in the speed of the machine affect both. The first two epochs, in
which libraries load, are left out.
"""

import io
import multiprocessing
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from datamodules.synthetic import generate_waves

EPOCHS, RUNS, PAST, HORIZON, BATCH, WARM_UP = 20, 3, 50, 10, 32, 2
ROOT = Path(__file__).parent.parent


class StockLstm(nn.Module):
    """Two layers of 20 units and a linear layer at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 20, 2, batch_first=True)
        self.linear = nn.Linear(20, HORIZON)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x)[0])


class StockWaveNet(nn.Module):
    """Eight causal Conv1d of 20 filters with ReLU, and a 1 x 1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, dilation in enumerate((1, 2, 4, 8) * 2):
            layers += [
                nn.ConstantPad1d((dilation, 0), 0.0),
                nn.Conv1d(20 if number else 1, 20, 2, dilation=dilation),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv1d(20, HORIZON, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


STOCK = {"lstm": StockLstm, "wavenet": StockWaveNet}


class ByHand:
    """The hand-written loop."""

    def __init__(self, model: nn.Module):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        waves = torch.from_numpy(generate_waves(10_000, PAST + HORIZON, 42))
        self.past = waves[:, :PAST, None].contiguous()
        self.targets = waves.unfold(1, HORIZON, 1)[:, 1:].contiguous()  # (series, 50, 10)
        self.model, self.optimizer = model, torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch(self) -> float:
        """Train and validate once; return the seconds."""
        started = time.perf_counter()
        self.model.train()
        for chosen in torch.randperm(7000).split(BATCH):
            loss = self._loss(chosen)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.model.eval()
        with torch.no_grad():
            for chosen in torch.arange(7000, 9000).split(1000):
                self._loss(chosen)
        return time.perf_counter() - started

    def _loss(self, chosen: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.model(self.past[chosen]), self.targets[chosen])


def serve_epochs(name: str, connection: Connection) -> None:
    """Run an epoch of the loop for each request and send back its seconds."""
    loop = ByHand(STOCK[name]())
    while connection.recv():
        connection.send(loop.epoch())


class Alternate(pl.Callback):
    """Runs an epoch of the hand-written loop between two of ours."""

    def __init__(self, other: Connection):
        self.other, self.started = other, 0.0
        self.pairs: list[tuple[float, float]] = []  # seconds per epoch: ours, by hand

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        ours = time.perf_counter() - self.started
        self.other.send(True)
        self.pairs.append((ours, self.other.recv()))
        self.started = time.perf_counter()


def race(name: str) -> None:
    """Alternate ``train.py`` in this process with the loop; print the seconds of each pair of epochs."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_epochs, args=(name, theirs))
    process.start()
    alternate, fit = Alternate(ours), pl.Trainer.fit

    def fit_alternating(trainer: pl.Trainer, *arguments: object, **options: object) -> None:
        trainer.callbacks.append(alternate)
        fit(trainer, *arguments, **options)

    pl.Trainer.fit = fit_alternating
    with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()):
        sys.argv = ["train.py", f"model={name}", f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu",
                    f"hydra.run.dir={directory}"]  # fmt: skip
        try:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        except SystemExit as end:
            assert not end.code, end.code
    ours.send(False)
    process.join()
    for pair in alternate.pairs[WARM_UP:]:
        print(*pair)


def measure(name: str) -> list[tuple[float, float]]:
    """Seconds per epoch of one run: pairs of ours and by hand."""
    command = [sys.executable, "-m", "benchmarks.training", name]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.splitlines()
    return [(float(ours), float(hand)) for ours, hand in (line.split() for line in lines[WARM_UP - EPOCHS :])]


def main() -> None:
    print("| model | epochs | ours, s (median) | by hand, s (median) | ratio of sums | by run | quartiles by epoch |")
    print("|---|---|---|---|---|---|---|")
    for name in STOCK:
        runs = [measure(name) for _ in range(RUNS)]
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
    race(sys.argv[1])
