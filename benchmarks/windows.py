"""Windows per second of the loader alone: 168 + 24 steps from 400 series of 1,000 steps, one thread.

Compared with a plain gather of the same rows from a tensor, which makes no targets, masks or origins.
"""

import statistics
import time

import numpy as np
import torch

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet

SERIES, STEPS, PAST, HORIZON, RUNS = 400, 1000, 168, 24, 7


class Panel(WindowDataModule):
    """400 random series in memory."""

    def read(self) -> SeriesSet:
        values = np.random.default_rng(0).normal(size=(SERIES * STEPS, 1)).astype(np.float32)
        return SeriesSet(values, np.arange(SERIES + 1, dtype=np.int64) * STEPS, channels=("y",))


def loader_rate(batch_size: int) -> float:
    """Windows per second over an epoch of shuffled training windows, shuffling included."""
    data = Panel(past_steps=PAST, horizon=HORIZON, split=[0.9, 0.1], context="across", batch_size=batch_size)
    data.setup()
    loader, rates = data.train_dataloader(), []
    for epoch in range(RUNS):
        loader.sampler.set_epoch(epoch)
        started = time.perf_counter()
        count = sum(len(window.origin) for window in loader)
        rates.append(count / (time.perf_counter() - started))
    return statistics.median(rates)


def gather_rate(batch_size: int) -> float:
    """Windows per second of one index_select per batch."""
    values = torch.randn(SERIES * STEPS)
    view = values.as_strided((len(values) - PAST - HORIZON + 1, PAST + HORIZON), (1, 1))
    rates = []
    for _ in range(RUNS):
        order = torch.randperm(len(view))
        started = time.perf_counter()
        for chosen in order.split(batch_size):
            view.index_select(0, chosen)
        rates.append(len(view) / (time.perf_counter() - started))
    return statistics.median(rates)


def main() -> None:
    torch.set_num_threads(1)
    print("| batch | loader, million windows/s | plain gather, million windows/s |")
    print("|---|---|---|")
    for batch_size in (32, 256, 1024, 4096):
        print(
            f"| {batch_size} | {loader_rate(batch_size) / 1e6:.2f} | {gather_rate(batch_size) / 1e6:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
