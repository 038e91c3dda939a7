"""Sources of cells: what the reader asks of a table, and the ones that polars reads whole (Parquet, data frames)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from seqmodels.window import InputError


@dataclass
class Source(ABC):
    """A table whose column names are known; its rows count from 0 and exclude a header.

    ``name`` stands for the whole table in messages and notes. ``notes`` tell people how it was opened.
    """

    name: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    frame: pl.DataFrame | pl.LazyFrame = field(default_factory=pl.DataFrame)  # what was made ready
    # What columns of texts hold, see ``encode.kinds_of``, where that was found from more rows than these
    kinds: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @abstractmethod
    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        """Make ready to give the named columns, and no other; text that is meant as ``numbers`` may become Float32.

        ``steps`` says that rows are told by their order alone, so that an empty row inside the table is a missing step.
        Raises ``InputError`` for a table that is damaged or ragged.
        """

    @abstractmethod
    def where(self, row: int) -> str:
        """Where a row stands within the table, for people: 'line 7' where line 1 is the header, else 'row 6'."""

    @abstractmethod
    def cell(self, row: int, column: str) -> str:
        """The cell as it is written in the table."""

    def place(self, row: int) -> str:
        """Where a row stands, with the name of its file: 'rides.csv, line 7'."""
        return f"{self.name}, {self.where(row)}"

    @property
    def parts(self) -> Sequence["Source"]:
        """The files one after another of which the table consists."""
        return (self,)

    @property
    def is_shard(self) -> bool:
        """Whether it is only a part of the table that people know, so that what is absent here may stand elsewhere."""
        return False

    def column(self, name: str, *, keys: bool = False) -> pl.Series:
        """One column, read now and kept nowhere; ``keys``: texts that repeat, such as names of series, as Categorical.

        Raises ``InputError`` for a file that is damaged and for a table without rows.
        """
        cells = self.cells(name, keys)
        if len(cells) == 0:
            raise InputError(f"{self.name} has a header but no rows: there is nothing to learn from.")
        return cells

    def cells(self, name: str, keys: bool = False) -> pl.Series:
        """``column``, of any length."""
        texts = keys and self.frame.collect_schema()[name] == pl.String
        if isinstance(self.frame, pl.DataFrame) and not texts:
            return self.frame[name]
        return self.collect(pl.col(name).cast(pl.Categorical) if texts else pl.col(name))

    def collect(self, column: pl.Expr) -> pl.Series:
        """What the expression gives over all rows."""
        try:
            return self.frame.lazy().select(column).collect().to_series()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.name, error) from error


def unreadable(name: str, error: Exception) -> InputError:
    """One sentence for a file that the operating system or polars refuses."""
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    if "utf-8" in reason:
        return InputError(f"{name} is not UTF-8 text: save it with that encoding.")
    kinds = {".parquet": " as Parquet", ".csv": " as CSV", ".csv.gz": " as CSV"}
    kind = next((kind for suffix, kind in kinds.items() if name.lower().endswith(suffix)), "")
    return InputError(f"{name} cannot be read{kind}: {reason}.")


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


@dataclass
class ParquetFile(Source):
    """A file whose schema has been read; its columns stay on disk until one is asked for."""

    path: Path = Path()

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        self.frame = self._scan().select([*texts, *numbers])

    def where(self, row: int) -> str:
        return f"row {row + 1}"

    def cell(self, row: int, column: str) -> str:
        return str(self._scan().select(column).slice(row, 1).collect().item())

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)


def open_parquet(path: Path, name: str) -> ParquetFile:
    """Read the schema; raises ``InputError`` for a file that is damaged."""
    try:
        return ParquetFile(name, tuple(pl.read_parquet_schema(path)), path=path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(name, error) from error
