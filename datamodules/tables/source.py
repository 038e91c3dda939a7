"""Sources of cells: CSV files, Parquet files and data frames, as the reader asks for their columns."""

import csv
import gzip
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from datamodules.tables.numerals import COMMA, NumberFormat, certain_marks
from seqmodels.errors import InputError

# What spreadsheets, R, SQL, pandas and SAS write for "no value"; compared after stripping blanks.
MISSING = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT",
    "null", "NULL", "Null", "None", "none", "-", "--", "?", ".",
)  # fmt: skip


MOST_SAMPLED, MOST_CELLS = 1_000, 200_000  # columns and cells that tell the decimal marks of a table


def clean(cells: pl.Series) -> pl.Series:
    """Strip blanks around text, and replace spellings of "no value" by null."""
    stripped = cells.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


@dataclass
class Source(ABC):
    """A table whose column names are known; its rows are numbered from 0, without the header.

    ``name`` is the table's name in messages and notes. ``notes`` tell how it was opened.
    """

    name: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    frame: pl.DataFrame | pl.LazyFrame = field(default_factory=pl.DataFrame)  # the loaded columns
    # Kinds of text columns, see ``values.text_kinds``, as far as they are known
    kinds: Mapping[str, str | NumberFormat] = field(default_factory=dict, kw_only=True)
    decimal: str | None = field(default=None, kw_only=True)  # for numbers whose decimal mark nothing else tells

    @abstractmethod
    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        """Prepare reading the given columns, and only these; text in ``numbers`` may become Float64.

        ``steps`` means that only their order identifies rows, so that an empty row within the table is a missing step.
        Raises ``InputError`` for a damaged or ragged table.
        """

    @abstractmethod
    def cell(self, row: int, column: str) -> str:
        """The cell as it is written in the table."""

    def scan(self) -> pl.LazyFrame:
        """All columns as they are stored, not read yet."""
        return self.frame.lazy()

    def where(self, row: int) -> str:
        """Place of a row within the table: 'line 7' of a text file, where line 1 is the header, else 'row 6'."""
        return f"row {row + 1}"

    def place(self, row: int) -> str:
        """Place of a row with the name of its file: 'rides.csv, line 7'."""
        return f"{self.name}, {self.where(row)}"

    @property
    def parts(self) -> Sequence["Source"]:
        """The files, in order, of which the table consists."""
        return (self,)

    @property
    def is_shard(self) -> bool:
        """True for a shard of a larger table: what it lacks may be in another shard."""
        return False

    @cached_property
    def decimal_marks(self) -> set[str]:
        """Decimal marks that are certain in some text column, from the first rows and columns of the table."""
        return set().union(*(certain_marks(clean(cells).drop_nulls().unique()) for cells in self._sample_texts()))

    def _sample_texts(self) -> list[pl.Series]:
        columns = self.columns[:MOST_SAMPLED]
        sample = self.scan().select(columns).select(pl.col(pl.String)).head(MOST_CELLS // len(columns))
        try:
            return sample.collect().get_columns()
        except (pl.exceptions.PolarsError, OSError):  # reading it will raise the same with a message
            return []

    def column(self, name: str, *, categorical: bool = False) -> pl.Series:
        """Read a column; ``categorical`` casts text to Categorical, for texts that repeat such as series ids.

        Raises ``InputError`` for a damaged file and for a table without rows.
        """
        cells = self.cells(name, categorical)
        if len(cells) == 0:
            raise InputError(f"{self.name} has a header but no rows: there is nothing to learn from.")
        return cells

    def cells(self, name: str, categorical: bool = False) -> pl.Series:
        """Like ``column``, but may be empty."""
        to_categorical = categorical and self.frame.collect_schema()[name] == pl.String
        if isinstance(self.frame, pl.DataFrame) and not to_categorical:
            return self.frame[name]
        return self.collect(pl.col(name).cast(pl.Categorical) if to_categorical else pl.col(name))

    def collect(self, column: pl.Expr) -> pl.Series:
        """Evaluate an expression over all rows."""
        try:
            return self.frame.lazy().select(column).collect().to_series()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise read_error(self.name, error) from error


def read_error(name: str, error: Exception) -> InputError:
    """Error message for a file that the operating system or polars cannot read."""
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    if "utf-8" in reason:
        return InputError(f"{name} is not UTF-8 text: save it with that encoding.")
    kinds = {".parquet": " as Parquet", ".csv": " as CSV", ".csv.gz": " as CSV"}
    kind = next((kind for suffix, kind in kinds.items() if name.lower().endswith(suffix)), "")
    return InputError(f"{name} cannot be read{kind}: {reason}.")


def plural(count: int, noun: str) -> str:
    """'1 row', '2 rows', '1,000 rows'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@dataclass
class Frame(Source):
    """A data frame from Python; ``index`` is the column made from the time index of a pandas frame, "" if none."""

    data: pl.DataFrame | pl.LazyFrame = field(default_factory=pl.DataFrame)
    index: str = ""

    def scan(self) -> pl.LazyFrame:
        return self.data.lazy()

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        # A lazy frame is collected once, because its rows could come in another order the next time.
        try:
            self.frame = self.data.lazy().select([*texts, *numbers]).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise read_error(self.name, error) from error

    def place(self, row: int) -> str:
        return f"{self.where(row)} of {self.name}"

    def cell(self, row: int, column: str) -> str:
        return str(self.column(column)[row])


def open_frame(given: Any) -> Frame:
    """Open a ``polars.DataFrame`` or ``LazyFrame``, a ``pandas.DataFrame`` or a ``pyarrow.Table``.

    The index of a pandas frame becomes columns if it has names or holds times. Raises ``InputError`` for any other
    object and for a frame that polars cannot convert.
    """
    kind, index = type(given).__module__.partition(".")[0], ""
    try:
        if kind == "pandas" and hasattr(given, "index"):
            given, index = _reset_index(given)
        elif kind == "pyarrow":
            given = pl.from_arrow(given)
        columns = given.collect_schema().names() if isinstance(given, (pl.DataFrame, pl.LazyFrame)) else None
    except (pl.exceptions.PolarsError, ImportError, ValueError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"the {kind} data frame cannot be read: {reason}.") from error
    if columns is None:
        raise InputError(
            f"data.path is a {type(given).__name__}; it must be the path of a file or directory, a list of files, "
            "or a data frame of polars, pandas or pyarrow."
        )
    return Frame("the data frame", tuple(columns), data=given, index=index)


def _reset_index(given: Any) -> tuple[pl.DataFrame, str]:
    """Convert a pandas frame with its index as columns; also return the column that was a time index."""
    times = type(given.index).__name__ == "DatetimeIndex"
    if not times and all(name is None for name in given.index.names):
        return pl.from_pandas(given), ""
    given = given.reset_index()
    return pl.from_pandas(given), str(given.columns[0]) if times else ""


@dataclass
class ParquetFile(Source):
    """A Parquet file whose schema has been read; its columns are read one at a time."""

    path: Path = Path()

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        self.frame = self.scan().select([*texts, *numbers])

    def cell(self, row: int, column: str) -> str:
        return str(self.scan().select(column).slice(row, 1).collect().item())

    def scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)


def open_parquet(path: Path, name: str) -> ParquetFile:
    """Read the schema; raises ``InputError`` for a damaged file."""
    try:
        return ParquetFile(name, tuple(pl.read_parquet_schema(path)), path=path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise read_error(name, error) from error


@dataclass
class CsvFile(Source):
    """A CSV file whose header has been read; ``kept`` are the rows that remain without blank lines."""

    path: Path = Path()
    separator: str = ","
    kept: np.ndarray | None = None

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        """Read the columns: ``numbers`` become Float64, or stay String if any cell is neither number nor missing.

        1.507 stays text as well if the decimal marks of the file are commas.
        """
        wanted, numbers = [*texts, *numbers], self._without_points(numbers)
        try:
            frame = self._read(numbers, wanted).select(wanted)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise read_error(self.name, error) from error
        frame = self._drop_blank_lines(frame, steps)
        self.frame = frame.with_columns(_to_number(frame[name]) for name in numbers)

    @cached_property
    def decimal_marks(self) -> set[str]:
        if not any(cells.str.contains(COMMA, literal=True).any() for cells in self._sample_texts()):
            return set()  # nothing to decide
        return super().decimal_marks

    def _without_points(self, numbers: Sequence[str]) -> list[str]:
        """The columns without points between thousands, judged by the first rows."""
        if COMMA not in self.decimal_marks and self.decimal != COMMA:
            return list(numbers)
        pointed = [
            cells.name for cells in self._sample_texts() if cells.str.contains(r"^\D*[1-9]\d{0,2}\.\d{3}\b").any()
        ]
        return [name for name in numbers if name not in pointed]

    def scan(self) -> pl.LazyFrame:
        return pl.scan_csv(self.path, separator=self.separator, infer_schema_length=0, glob=False)

    def where(self, row: int) -> str:
        return f"line {self._record(row)[0]}"

    def cell(self, row: int, column: str) -> str:
        fields = self._record(row)[1]
        index = self.columns.index(column)
        return fields[index] if index < len(fields) else ""

    def _record(self, row: int) -> tuple[int, list[str]]:
        """First line and fields of a row."""
        number = 1 + int(row if self.kept is None else self.kept[row])  # record 0 is the header
        return next(islice(read_records(self.path, self.name, self.separator), number, None))

    def _read(self, numbers: Sequence[str], wanted: Sequence[str]) -> pl.DataFrame:
        types = {name: pl.Float64 if name in numbers else pl.String for name in wanted}
        read = partial(
            pl.read_csv, self.path, columns=wanted, separator=self.separator, infer_schema_length=0, glob=False
        )
        try:
            frame = read(schema_overrides=types)
        except pl.exceptions.ComputeError:
            self.refuse_long_rows()
            return read()
        # polars counts the fields of a row only if it reads all columns.
        if len(wanted) < len(self.columns):
            self.refuse_long_rows()
        return frame

    def refuse_long_rows(self) -> None:
        """Raise ``InputError`` for the first row with more fields than the header."""
        lines = pl.scan_csv(
            self.path, has_header=False, separator="\x1f", quote_char=None, schema={"line": pl.String},
            truncate_ragged_lines=True, glob=False,
        )  # fmt: skip
        suspect = pl.col("line").str.count_matches(self.separator, literal=True) >= len(self.columns)
        if lines.filter(suspect).head(1).collect(engine="streaming").is_empty():
            return
        for line, fields in read_records(
            self.path, self.name, self.separator
        ):  # the separators counted above may be within quotes
            if len(fields) > len(self.columns):
                raise InputError(
                    f"{self.name}, line {line} has {len(fields)} fields, "
                    f"but the header names {len(self.columns)} columns."
                )

    def _drop_blank_lines(self, frame: pl.DataFrame, steps: bool) -> pl.DataFrame:
        """Drop blank lines: those at the end and, unless rows are ``steps``, all others."""
        if frame.height == 0 or not all(column.null_count() for column in frame.get_columns()):
            return frame
        full = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true().to_numpy()
        if len(full) == 0:
            raise InputError(f"{self.name} has only empty cells in the columns {', '.join(map(repr, frame.columns))}.")
        self.kept = np.arange(full[-1] + 1) if steps else full
        return frame[self.kept]


def _to_number(cells: pl.Series) -> pl.Series:
    """Float64 if all texts are numbers or missing, else the texts."""
    if cells.dtype != pl.String:
        return cells
    text = clean(cells)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else cells


def open_csv(path: Path, name: str) -> CsvFile:
    """Read the header; its most frequent character of comma, semicolon and tab is the separator.

    Raises ``InputError`` for an empty first line, two columns of the same name, and a file that is damaged or not
    UTF-8.
    """
    header = next(read_records(path, name, "\n"), (1, []))[1]
    if not header or not header[0].strip():
        raise InputError(f"{name}, line 1 is empty: the first line must name the columns.")
    unquoted = re.sub(r'"[^"]*"', "", header[0])
    separator = max(",;\t", key=unquoted.count)  # the comma wins a tie
    columns = next(read_records(path, name, separator))[1]
    repeated = next((column for column in columns if columns.count(column) > 1), None)
    if repeated is not None:
        raise InputError(f"{name}, line 1 names column {repeated!r} more than once: column names must differ.")
    notes = () if separator == "," else (f"{name}: columns are separated by {separator!r}.",)
    return CsvFile(name, tuple(columns), notes, path=path, separator=separator)


def read_records(path: Path, name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """First line and fields of each record, including the header; slow, only for headers and messages.

    With a newline as separator, each record is a whole line.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
            if separator == "\n":
                yield from ((number, [line]) for number, line in enumerate(stream, start=1))
                return
            reader = csv.reader(stream, delimiter=separator)
            line = 1
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: save it with that encoding.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise read_error(name, error) from error
