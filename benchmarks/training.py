"""Whole-epoch time of a normal run, everything logged, against a hand-written loop over stock modules.

Both train the same model on the same windows with the same batches of 32 and validate once an epoch. Ours is
``python train.py`` as a user runs it: TensorBoard, checkpoints, figures, progress, gradient clipping and norms. The
loop is what one writes by hand: nn.LSTM or nn.Conv1d, torch.optim.Adam, tensors in memory, one index gather a step.
The time of an epoch is the mean from one validation to the next; the seconds that come once a run (libraries load,
TensorBoard and the first picture begin) stand beside it. Runs alternate, so that a busy machine slows down both.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from datamodules.synthetic import generate_waves

EPOCHS, RUNS, PAST, HORIZON, BATCH = 12, 3, 50, 10, 32
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


def by_hand(model: nn.Module) -> float:
    """Seconds per epoch of the hand-written loop."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    waves = torch.from_numpy(generate_waves(10_000, PAST + HORIZON, 42))
    past = waves[:, :PAST, None].contiguous()
    targets = waves.unfold(1, HORIZON, 1)[:, 1:].contiguous()  # (series, 50, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    ends = []
    for _ in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(7000).split(BATCH):
            loss = nn.functional.mse_loss(model(past[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for chosen in torch.arange(7000, 9000).split(1000):
                nn.functional.mse_loss(model(past[chosen]), targets[chosen])
        ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / (EPOCHS - 1)


def ours(name: str) -> tuple[float, float]:
    """Seconds per epoch of ``python train.py model=...``, and those that come once."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, str(ROOT / "train.py"), f"model={name}", f"trainer.max_epochs={EPOCHS}",
                   f"hydra.run.dir={directory}", "trainer.accelerator=cpu"]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        total = json.loads((Path(directory) / "metrics.json").read_text())["fit_seconds"]
        events = EventAccumulator(directory, size_guidance={"scalars": 0}).Reload().Scalars("loss/validation")
    epoch = (events[-1].wall_time - events[0].wall_time) / (len(events) - 1)
    return epoch, total - EPOCHS * epoch


def main() -> None:
    print(
        "| model | ours, s per epoch | by hand, s per epoch | ratio of medians | smallest ... largest | ours, s once |"
    )
    print("|---|---|---|---|---|---|")
    for name, stock in (("lstm", StockLstm), ("wavenet", StockWaveNet)):
        runs = [(*ours(name), by_hand(stock())) for _ in range(RUNS)]
        mine, once, theirs = (statistics.median(times) for times in zip(*runs, strict=True))
        ratios = sorted(a / b for a, _, b in runs)
        spread = f"{ratios[0]:.2f} ... {ratios[-1]:.2f}"
        print(f"| {name} | {mine:.3f} | {theirs:.3f} | {mine / theirs:.2f} | {spread} | {once:.1f} |", flush=True)


if __name__ == "__main__":
    main()
