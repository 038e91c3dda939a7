"""Long arrays in pieces of a million rows, so that no temporary array grows as large as the data."""

from collections.abc import Iterator

import numpy as np

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
