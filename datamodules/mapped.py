"""Arrays that lie in files: knows how to map them into memory, and how to give that memory back."""

import mmap
import sys
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
