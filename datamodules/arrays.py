"""Long arrays in little memory: mapped files, and work in pieces of a million rows."""

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# MAP_NORESERVE, which Python does not name: a file may be larger than the memory there is.
NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def open_mapped(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The whole file as an array of this shape; what is written to it stays in this process and reaches no file.

    Private pages, and not read-only ones, because torch takes no read-only array without a warning.
    """
    with path.open("rb") as file:
        if NO_RESERVE:
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | NO_RESERVE)
        else:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.frombuffer(mapped, dtype).reshape(shape)


def release(array: np.ndarray | None) -> None:
    """Give back the memory of the whole file behind an array or a view of one; it is read anew when it is needed.

    Nothing happens to an array that lies in no file. What was written to the array is lost.
    """
    base = None if array is None else _mapping(array)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _mapping(array: np.ndarray) -> mmap.mmap | None:
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


CHUNK = 1 << 20


def chunks(length: int) -> Iterator[slice]:
    """Consecutive slices that together are ``0:length``."""
    for start in range(0, length, CHUNK):
        yield slice(start, min(start + CHUNK, length))


def taken(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``array[index]`` for a long index of any integer type, without a copy of the index as int64."""
    result = np.empty((len(index), *array.shape[1:]), array.dtype)
    for part in chunks(len(index)):
        result[part] = array[index[part]]
    return result


def without(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``array`` less the ascending ``rows``, without an index of all that is kept."""
    result = np.empty((len(array) - len(rows), *array.shape[1:]), array.dtype)
    done = 0
    for part in chunks(len(array)):
        first, last = np.searchsorted(rows, (part.start, part.stop))
        kept = np.delete(array[part], rows[first:last] - part.start, axis=0)
        result[done : done + len(kept)] = kept
        done += len(kept)
    return result
