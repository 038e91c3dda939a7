"""Memory and speed of a store on the disk, compared with the same data in memory, each in a process of its own.

``python -m benchmarks.store 4000`` takes 4,000 MB of values (default 400). Two million shuffled training windows of
168 + 24 steps are gathered from series of 10,000 steps in batches of 1,024, twice: the second time from the disk cache.
Then samplers of 1e9 windows compute a million indices.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet, Shard
from datamodules.store.format import open_store
from datamodules.store.writer import StoreWriter
from datamodules.stored import Stored
from datamodules.windows.samplers import BlockShuffleSampler, FeistelSampler, Sampler

MEGABYTES, STEPS, WINDOWS, BATCH = 400, 10_000, 2_000_000, 1024
SETTINGS = {"past_steps": 168, "horizon": 24, "split": [0.8, 0.1, 0.1], "batch_size": BATCH}
SHARD = 1000  # series per shard, 40 MB


class InMemory(WindowDataModule):
    """The values of a store, read into memory."""

    def __init__(self, path: str):
        super().__init__(**SETTINGS)
        self.path = path

    def read(self) -> SeriesSet:
        stored = open_store(self.path)
        return SeriesSet(np.fromfile(Path(self.path) / "values.bin", np.float32)[:, None], stored.offsets, ("y",))


def write(path: Path, megabytes: int) -> None:
    """Write a store of random walks, shard by shard."""
    writer, random = StoreWriter(path, {}), np.random.default_rng(0)
    series = max(1, megabytes * 1_000_000 // (4 * STEPS))
    for first in range(0, series, SHARD):
        count = min(SHARD, series - first)
        values = random.standard_normal((count, STEPS), np.float32).cumsum(axis=1).reshape(-1, 1)
        writer.append(Shard(SeriesSet(values, np.arange(count + 1) * STEPS, ("y",))))
    writer.finish()


def memory(name: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process in MB; ru_maxrss may be that of the parent process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(name))


def iterate(kind: str, path: str) -> dict[str, float]:
    """Set up the data, then iterate twice over the same windows."""
    torch.set_num_threads(1)
    libraries, started = memory("VmRSS"), time.perf_counter()
    data = Stored(path=path, **SETTINGS) if kind == "store" else InMemory(path)
    data.setup()
    ready, rates = time.perf_counter() - started, []
    for _ in range(2):
        started = time.perf_counter()
        count = sum(len(window.origin) for window in islice(data.train_dataloader(), WINDOWS // BATCH))
        rates.append(count / (time.perf_counter() - started))
    return {"libraries": libraries, "ready": ready, "first": rates[0], "again": rates[1],
            "peak": memory("VmHWM"), "now": memory("VmRSS")}  # fmt: skip


def samplers() -> Iterator[tuple[str, Sampler]]:
    yield "feistel", FeistelSampler(10**9, 0)
    yield "block shuffle", BlockShuffleSampler(10**9, 0, block=2**16, together=32)


def time_sampler(sampler: Sampler) -> tuple[float, float, float]:
    """Memory before and after computing a million indices in each of three epochs, and seconds per million."""
    sampler.indices(0, 0, BATCH)
    before, started = memory("VmRSS"), time.perf_counter()
    for epoch in range(3):
        for first in range(5 * 10**8, 5 * 10**8 + 10**6, 50_000):
            sampler.indices(epoch, first, first + 50_000)
    return before, memory("VmRSS"), (time.perf_counter() - started) / 3


def main(megabytes: int = MEGABYTES) -> None:
    with tempfile.TemporaryDirectory(dir=".") as directory:  # the default directory may be in memory
        path = Path(directory).absolute() / "benchmark.store"
        started = time.perf_counter()
        write(path, megabytes)
        print(f"{megabytes:,} MB written in {time.perf_counter() - started:.1f} s\n")
        print("| | libraries, MB | peak, MB | at the end, MB | ready, s | windows/s, first | windows/s, again |")
        print("|---|---|---|---|---|---|---|")
        for kind in ("store", "memory"):
            command = [sys.executable, "-m", "benchmarks.store", kind, str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print("| {kind} | {libraries:,.0f} | {peak:,.0f} | {now:,.0f} | {ready:.1f} | {first:,.0f} | {again:,.0f} |"
                  .format(kind=kind, **found), flush=True)  # fmt: skip
    print("\n| sampler of 1e9 windows | before, MB | after, MB | a million indices, s |\n|---|---|---|---|")
    for name, sampler in samplers():
        before, after, seconds = time_sampler(sampler)
        print(f"| {name} | {before:,.0f} | {after:,.0f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(iterate(*sys.argv[1:])))
    else:
        main(*map(int, sys.argv[1:]))
