"""Runs every benchmark, or those that are named: ``python -m benchmarks training windows memory threads``."""

import sys

from benchmarks import memory, threads, training, windows

ALL = {"training": training.main, "windows": windows.main, "memory": memory.main, "threads": threads.main}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        print(f"\n## {name}\n", flush=True)
        ALL[name]()
