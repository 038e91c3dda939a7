"""Run all benchmarks, or the named ones: ``python -m benchmarks training generation``."""

import sys

from benchmarks import generation, kernels, memory, reading, store, structure, threads, training, windows

ALL = {
    "kernels": kernels.main,
    "training": training.main,
    "windows": windows.main,
    "memory": memory.main,
    "reading": reading.main,
    "store": store.main,
    "threads": threads.main,
    "generation": generation.main,
    "structure": structure.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        print(f"\n## {name}\n", flush=True)
        ALL[name]()
