"""Long arrays in little memory: memory-mapped files, and indexing in chunks of a million rows."""

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# MAP_NORESERVE, which Python does not define: the file may be larger than the memory.
NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
CHUNK = 1 << 20


def memory_map(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Map a whole file as an array of this shape; changes stay in this process and do not reach the file.

    The pages are private instead of read-only because torch warns of read-only arrays.
    """
    with path.open("rb") as file:
        if NO_RESERVE:
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | NO_RESERVE)
        else:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.frombuffer(mapped, dtype).reshape(shape)


def release(array: np.ndarray | None) -> None:
    """Free the memory of the file mapped by an array or by the base of a view; it is read again when needed.

    Changes to the array are lost. Arrays that are not memory-mapped stay as they are.
    """
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def chunks(length: int) -> Iterator[slice]:
    """Split ``0:length`` into consecutive slices of at most ``CHUNK``."""
    for start in range(0, length, CHUNK):
        yield slice(start, min(start + CHUNK, length))


def take_rows(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``array[index]`` for a long index of any integer type, without a copy of the index as int64."""
    result = np.empty((len(index), *array.shape[1:]), array.dtype)
    for part in chunks(len(index)):
        result[part] = array[index[part]]
    return result


def delete_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``np.delete(array, rows, axis=0)`` for ascending ``rows``, without a mask of the whole array."""
    result = np.empty((len(array) - len(rows), *array.shape[1:]), array.dtype)
    done = 0
    for part in chunks(len(array)):
        first, last = np.searchsorted(rows, (part.start, part.stop))
        kept = np.delete(array[part], rows[first:last] - part.start, axis=0)
        result[done : done + len(kept)] = kept
        done += len(kept)
    return result
