"""Run all benchmarks, or the named ones: ``python -m benchmarks training generation``.

Some take further arguments: see their docstrings.
"""

import sys

from benchmarks import backtest, generation, kernels, memory, reading, store, structure, threads, training, windows

ALL = {
    "kernels": kernels.main,
    "training": training.main,
    "windows": windows.main,
    "memory": memory.main,
    "reading": reading.main,
    "store": store.main,
    "threads": threads.main,
    "generation": generation.main,
    "backtest": backtest.main,
    "structure": structure.main,
}

if __name__ == "__main__":
    for name in [name for name in sys.argv[1:] if name in ALL] or ALL:
        print(f"\n## {name}\n", flush=True)
        ALL[name]()
