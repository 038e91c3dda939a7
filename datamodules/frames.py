"""Data frames of polars, pandas and pyarrow as tables: knows them by their package, so that none must be installed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from datamodules.cells import Source, unreadable
from seqmodels.window import InputError


@dataclass
class Frame(Source):
    """A data frame from Python; ``index`` is the column that was the time index of a pandas frame, "" without."""

    data: pl.DataFrame | pl.LazyFrame = field(default_factory=pl.DataFrame)
    index: str = ""

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        # A lazy frame is computed once: its rows might come in another order at the next time.
        try:
            self.frame = self.data.lazy().select([*texts, *numbers]).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.name, error) from error

    def where(self, row: int) -> str:
        return f"row {row + 1}"

    def place(self, row: int) -> str:
        return f"{self.where(row)} of {self.name}"

    def cell(self, row: int, column: str) -> str:
        return str(self.column(column)[row])


def open_frame(given: Any) -> Frame:
    """The table in a ``polars.DataFrame`` or ``LazyFrame``, ``pandas.DataFrame`` or ``pyarrow.Table``.

    The index of a pandas frame becomes columns where it has names or holds times.
    Raises ``InputError`` for any other object, and for a frame that polars cannot take.
    """
    kind, index = type(given).__module__.partition(".")[0], ""
    try:
        if kind == "pandas" and hasattr(given, "index"):
            given, index = _with_index(given)
        elif kind == "pyarrow":
            given = pl.from_arrow(given)
        columns = given.collect_schema().names() if isinstance(given, (pl.DataFrame, pl.LazyFrame)) else None
    except (pl.exceptions.PolarsError, ImportError, ValueError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"the data frame of {kind} cannot be read: {reason}.") from error
    if columns is None:
        raise InputError(
            f"data.path is a {type(given).__name__}; it must be the path of a file or directory, a list of files, "
            "or a data frame of polars, pandas or pyarrow."
        )
    return Frame("the data frame", tuple(columns), data=given, index=index)


def _with_index(given: Any) -> tuple[Any, str]:
    """A pandas frame in polars, its index as columns; and the column that was an index of times."""
    times = type(given.index).__name__ == "DatetimeIndex"
    if not times and all(name is None for name in given.index.names):
        return pl.from_pandas(given), ""
    given = given.reset_index()
    return pl.from_pandas(given), str(given.columns[0]) if times else ""
