"""Peak memory of ``python train.py`` on one series of 20 million float32 steps in a Parquet file."""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 20_000_000
ROOT = Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "long.parquet"
        values = np.sin(np.arange(ROWS, dtype=np.float32) / 50).astype(np.float32)
        values += np.random.default_rng(0).normal(scale=0.1, size=ROWS).astype(np.float32)
        pl.DataFrame({"value": values}).write_parquet(path)
        del values
        command = [sys.executable, str(ROOT / "train.py"), "data=parquet", f"data.path={path}", "data.target=[value]",
                   "model=lstm", "trainer.max_epochs=2", "trainer.limit_train_batches=200",
                   "trainer.limit_val_batches=5", "trainer.limit_test_batches=5", "trainer.accelerator=cpu",
                   f"hydra.run.dir={directory}/run"]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print("| rows | data, MB | peak memory, MB | beyond the data, MB |")
    print("|---|---|---|---|")
    print(f"| {ROWS:,} | {ROWS * 4 / 1e6:,.0f} | {peak / 1e6:,.0f} | {(peak - ROWS * 4) / 1e6:,.0f} |")


if __name__ == "__main__":
    main()
