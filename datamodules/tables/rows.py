"""The rows of a table as arrays: knows how to rearrange them in little memory, name them and split columns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datamodules.arrays import taken, without
from datamodules.timezones import local, show

Change = Callable[[np.ndarray], np.ndarray]


@dataclass
class Rows:
    """Parallel arrays, one entry per row; ``lines`` is None while in file order.

    ``codes`` tell the series apart in file order (None for one series). Once ``order_rows`` has put them one after the
    other, ``offsets`` take their place. Arrays are replaced one at a time, so that only one of them exists twice:
    who makes rows keeps no other reference to their arrays.
    """

    values: np.ndarray  # (rows, C) float32
    time: np.ndarray | None  # (rows,) datetime64[us] in UTC, or int64
    codes: np.ndarray | None  # (rows,) of any integer type, number of the series in order of first appearance
    names: tuple[str, ...]
    observed: np.ndarray | None  # (rows, C) bool
    past: np.ndarray  # (rows, U) float32, NaN where missing
    known: np.ndarray  # (rows, K) float32, NaN where missing
    past_names: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()
    lines: np.ndarray | None = None  # (rows,) of an integer type, row of the file
    zone: str = ""  # time zone in which people read the times
    offsets: np.ndarray | None = None  # (series + 1,) int64, series i is rows offsets[i]:offsets[i + 1]

    @property
    def starts(self) -> np.ndarray:
        """First row of each series, (series,) int64, once the rows are ordered."""
        assert self.offsets is not None, "the rows are not ordered yet"
        return self.offsets[:-1]

    def change(self, function: Change) -> None:
        """Apply a function to each array that has one entry per row."""
        self.values, self.past, self.known = function(self.values), function(self.past), function(self.known)
        for name in ("time", "observed", "codes", "lines"):
            if getattr(self, name) is not None:
                setattr(self, name, function(getattr(self, name)))

    def reorder(self, index: np.ndarray) -> None:
        """Row ``index[i]`` of now becomes row i; ``index`` (rows,) of an integer type."""
        if self.lines is None:
            self.change(lambda array: taken(array, index))
            self.lines = index
        else:
            self.change(lambda array: taken(array, index))

    def drop(self, rows: np.ndarray) -> None:
        """Leave out the ascending ``rows``; no series may lose its last one."""
        if self.lines is None:
            self.lines = np.arange(len(self.values), dtype=index_type(len(self.values)))
        self.change(lambda array: without(array, rows))
        if self.offsets is not None:
            self.offsets = self.offsets - np.searchsorted(rows, self.offsets)

    def line(self, row: int) -> int:
        """Row of the file from which ``row`` comes."""
        return int(row if self.lines is None else self.lines[row])

    def label(self, row: int) -> str:
        """Time of a row as people write it, with its series where there are several."""
        label = "" if self.time is None else show(local(self.time[row : row + 1], self.zone)[0])
        return f"{label} of series {self.name(row)!r}" if self.names else label

    def name(self, row: int) -> str:
        """The series of a row, "" where there is only one without a name."""
        if not self.names:
            return ""
        if self.offsets is not None:
            return self.names[int(np.searchsorted(self.offsets, row, side="right")) - 1]
        return self.names[0 if self.codes is None else int(self.codes[row])]


def index_type(rows: int) -> type[np.unsignedinteger]:
    """The smallest usual type that holds the number of a row."""
    return np.uint32 if rows <= np.iinfo(np.uint32).max else np.uint64
