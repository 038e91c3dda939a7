"""Reading a long Parquet file (id, time, value) against polars, which only reads and sorts the same columns.

``python -m benchmarks.reading [rows]``: 20 million rows by default; 100 million take ten minutes and 2 GB of disk.
Each reader runs three times, in processes of its own, so that its peak memory (VmHWM, less that of a process that
only imports the libraries) is its own. The columns themselves are 16 bytes a row: int32 id, time, float32 value.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.store import memory

ROWS, SERIES, BYTES, RUNS = 20_000_000, 1000, 16, 3
ROOT = Path(__file__).parent.parent
ORDERS = ("sorted", "by time", "shuffled")  # series after series; all series hour by hour; no order at all


def write(path: Path, rows: int, order: str) -> None:
    """Hourly rows of 1,000 series in one of the orders."""
    steps = rows // SERIES
    series = np.repeat(np.arange(SERIES, dtype=np.int32), steps)
    hour = np.tile(np.arange(steps, dtype=np.int64), SERIES)
    if order == "by time":
        series, hour = np.tile(np.arange(SERIES, dtype=np.int32), steps), np.repeat(np.arange(steps), SERIES)
    if order == "shuffled":
        chosen = np.random.default_rng(0).permutation(len(series))
        series, hour = series[chosen], hour[chosen]
    stamps = np.datetime64("2000-01-01", "us") + hour * np.timedelta64(1, "h")
    value = np.sin(hour / 24).astype(np.float32)
    pl.DataFrame({"id": series, "time": stamps, "value": value}).write_parquet(path)


def nothing(path: str) -> int:
    """The libraries alone; memory beyond this is that of the data."""
    from datamodules.tables.reader import read_table

    return 0 * len(path) * bool(read_table)


def ours(path: str) -> int:
    from datamodules.tables.reader import read_table

    return len(read_table(path, target="value", time="time", series_id="id").values)


def polars(path: str) -> int:
    """As a user would who needs the rows in order and nothing else."""
    return pl.read_parquet(path, columns=["id", "time", "value"]).sort("id", "time").height


def measured(reader: str, path: Path) -> dict[str, float]:
    """Seconds and peak bytes of one reader, medians over processes of its own."""
    command = [sys.executable, "-m", "benchmarks.reading", reader, str(path)]
    runs = [
        json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout) for _ in range(RUNS)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main(rows: int = ROWS) -> None:
    print(f"{rows:,} rows, {SERIES:,} series\n")
    print("| file | ours, s | polars, s | ratio | ours, peak bytes/row | polars, peak bytes/row | ours / columns |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "long.parquet"
        for order in ORDERS:
            write(path, rows, order)
            empty, own, other = (measured(reader, path) for reader in ("nothing", "ours", "polars"))
            peaks = [(one["peak"] - empty["peak"]) / rows for one in (own, other)]
            print(
                f"| {order} | {own['seconds']:.2f} | {other['seconds']:.2f} | {own['seconds'] / other['seconds']:.2f} |"
                f" {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[0] / BYTES:.1f} |",
                flush=True,
            )


def report(reader: str, path: str) -> None:
    """What the process of one reader prints."""
    nothing(path)
    started = time.perf_counter()
    {"nothing": nothing, "ours": ours, "polars": polars}[reader](path)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak": memory("VmHWM") * 1e6}))


if __name__ == "__main__":
    report(*sys.argv[1:]) if len(sys.argv) > 2 else main(*map(int, sys.argv[1:]))
