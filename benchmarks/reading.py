"""Reading a long Parquet file (id, time, value), compared with polars, which only reads and sorts the columns.

``python -m benchmarks.reading [rows]``: 20 million rows by default; 100 million take ten minutes and 2 GB of disk.
Each reader runs three times, each time in a process of its own, and its peak memory (VmHWM) is given without that of
a process that only imports the libraries. The columns themselves are 16 bytes a row: int32 id, time, float32 value.
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
ORDERS = ("sorted", "by time", "shuffled")  # by series and time; by time; not at all


def write(path: Path, rows: int, order: str) -> None:
    """Write hourly rows of 1,000 series in one of the orders."""
    steps = rows // SERIES
    series = np.repeat(np.arange(SERIES, dtype=np.int32), steps)
    hour = np.tile(np.arange(steps, dtype=np.int64), SERIES)
    if order == "by time":
        series, hour = np.tile(np.arange(SERIES, dtype=np.int32), steps), np.repeat(np.arange(steps), SERIES)
    if order == "shuffled":
        chosen = np.random.default_rng(0).permutation(len(series))
        series, hour = series[chosen], hour[chosen]
    timestamps = np.datetime64("2000-01-01", "us") + hour * np.timedelta64(1, "h")
    value = np.sin(hour / 24).astype(np.float32)
    pl.DataFrame({"id": series, "time": timestamps, "value": value}).write_parquet(path)


def import_only(path: str) -> int:
    """Import the libraries: memory beyond this belongs to the data."""
    from datamodules.tables.reader import read_table

    return 0 * len(path) * bool(read_table)


def read_ours(path: str) -> int:
    from datamodules.tables.reader import read_table

    return len(read_table(path, target="value", time="time", series_id="id").values)


def read_polars(path: str) -> int:
    """Read and sort the columns, without any checks."""
    return pl.read_parquet(path, columns=["id", "time", "value"]).sort("id", "time").height


def measure(reader: str, path: Path) -> dict[str, float]:
    """Median seconds and peak bytes of one reader over several processes."""
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
            empty, own, other = (measure(reader, path) for reader in ("nothing", "ours", "polars"))
            peaks = [(one["peak"] - empty["peak"]) / rows for one in (own, other)]
            print(
                f"| {order} | {own['seconds']:.2f} | {other['seconds']:.2f} | {own['seconds'] / other['seconds']:.2f} |"
                f" {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[0] / BYTES:.1f} |",
                flush=True,
            )


def report(reader: str, path: str) -> None:
    """Run one reader and print its seconds and peak bytes; called in a process of its own."""
    import_only(path)
    started = time.perf_counter()
    {"nothing": import_only, "ours": read_ours, "polars": read_polars}[reader](path)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak": memory("VmHWM") * 1e6}))


if __name__ == "__main__":
    report(*sys.argv[1:]) if len(sys.argv) > 2 else main(*map(int, sys.argv[1:]))
