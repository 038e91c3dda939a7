"""Sources of cells: CSV files, Parquet files and data frames, as the reader asks for their columns."""

import csv
import gzip
import re
from abc import ABC, abstractmethod
from collections import Counter
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


MOST_TITLES = 40  # lines in which the header must be
MOST_SAMPLED, MOST_CELLS = 1_000, 200_000  # columns and cells that tell the decimal marks of a table
NO_TIME = "data.time=none to take the rows in file order as the steps"  # the way out of most messages on times


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
    # Names that the header leaves blank or repeats -> those that the columns got instead
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True)
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
        """The files of the table, in order."""
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


def drop_footer(table: Source, time: str) -> list[str]:
    """Drop rows such as a total or a source at the end of a loaded table, and return a note.

    The column ``time`` holds a text without a digit there, or one that begins otherwise than times do while all other
    columns are blank.
    """
    frame = table.frame
    if not isinstance(frame, pl.DataFrame) or frame.is_empty() or frame[time].dtype != pl.String:
        return []
    if not re.match(r"\s*\d", frame[time][0] or ""):
        return []
    texts: list[str] = []
    for row in frame.tail(MOST_TITLES).reverse().iter_rows(named=True):
        text = str(row.pop(time) or "").strip()
        blank = not any(str(cell or "").strip() for cell in row.values())
        if text in MISSING or text[0].isdigit() or (re.search(r"\d", text) and not blank):
            break
        texts.insert(0, text)
    if not texts or len(texts) == len(frame):
        return []
    lines = ", ".join(f"{table.where(len(frame) - len(texts) + number)} {text!r}" for number, text in enumerate(texts))
    table.frame = frame.head(len(frame) - len(texts))
    return [f"{table.name}: left out below the last time: {lines}."]


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
    """A CSV file whose header has been read; ``kept`` are the rows that remain without blank lines.

    ``titles`` lines stand before the header, ``units`` rows without values follow it.
    """

    path: Path = Path()
    separator: str = ","
    titles: int = 0
    units: int = 0
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
        commas = pl.DataFrame(self._sample_texts()).select(pl.all().str.contains(COMMA, literal=True).any())
        if not any(commas.row(0) if commas.width else ()):
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
        names = list(self.columns) if self.renamed else None
        return pl.scan_csv(
            self.path, separator=self.separator, infer_schema_length=0, glob=False, new_columns=names,
            skip_lines=self.titles, skip_rows_after_header=self.units,
        )  # fmt: skip

    def where(self, row: int) -> str:
        return f"line {self._record(row)[0]}"

    def cell(self, row: int, column: str) -> str:
        fields = self._record(row)[1]
        index = self.columns.index(column)
        return fields[index] if index < len(fields) else ""

    def _record(self, row: int) -> tuple[int, list[str]]:
        """First line and fields of a row."""
        number = 1 + self.units + int(row if self.kept is None else self.kept[row])  # record 0 is the header
        return next(islice(read_records(self.path, self.name, self.separator, self.titles), number, None))

    def _read(self, numbers: Sequence[str], wanted: Sequence[str]) -> pl.DataFrame:
        if self.renamed:
            self.refuse_long_rows()
            return self.scan().select(wanted).collect()
        types = dict.fromkeys(wanted, pl.String) | dict.fromkeys(numbers, pl.Float64)
        read = partial(
            pl.read_csv, self.path, columns=wanted, separator=self.separator, infer_schema_length=0, glob=False,
            skip_lines=self.titles, skip_rows_after_header=self.units,
        )  # fmt: skip
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
            self.path, self.name, self.separator, self.titles
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

    Lines before the header with fewer fields than the table, and rows of units below it, are left out with a note;
    columns without a name, or of the same name, are numbered. Raises ``InputError`` for a file that is damaged, empty
    or not UTF-8.
    """
    lines = [line[0].rstrip("\r\n") for _, line in islice(read_records(path, name, "\n"), MOST_TITLES)]
    titles = _count_titles(lines)
    if titles == len(lines):
        raise InputError(f"{name}, line 1 is empty: the first line must name the columns.")
    separator = _separator(lines[titles])
    (line, header), *records = islice(read_records(path, name, separator, titles), 10)
    units = _count_units([fields for _, fields in records])
    columns, renamed = _number_names(header, f"{name}, line {line}")
    notes = [] if separator == "," else [f"{name}: columns are separated by {separator!r}."]
    notes += _note_titles(name, lines[:titles])
    for number, fields in records[:units]:
        texts = ", ".join(repr(text.strip()) for text in fields if text.strip())
        notes.append(f"{name}: line {number} holds no values and is left out: {texts}.")
    for given, names in renamed.items():
        why = f"names {given!r} {len(names)} times" if given else f"has {plural(len(names), 'column')} without a name"
        notes.append(f"{name}: the header {why}: called {', '.join(map(repr, names))}, by position.")
    return CsvFile(
        name, columns, tuple(notes), path=path, separator=separator, titles=titles, units=units, renamed=renamed
    )


def _separator(line: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", line)
    return max(",;\t", key=unquoted.count)  # the comma wins a tie


def _count_titles(lines: list[str]) -> int:
    """Number of lines before the header, which has as many fields as most lines below it."""
    filled = [number for number, line in enumerate(lines) if line.strip() and not re.fullmatch("sep=.", line.strip())]
    if not filled:
        return len(lines)
    for number in filled:
        separator = _separator(lines[number])
        width = _width(lines[number], separator)
        below = [_width(lines[other], separator) for other in filled if other > number]
        named = number == filled[0] or re.match(r'[^\d"]|"\D', lines[number]) is not None
        full = 2 * sum(map(bool, lines[number].split(separator))) > width
        if width > 1 and named and full and 2 * below.count(width) > len(below):
            above = [lines[other].rstrip(separator) for other in filled if other < number]
            return number if all(_width(line, separator) < width for line in above) else filled[0]
    return filled[0]


def _width(line: str, separator: str) -> int:
    return 1 + re.sub(r'"[^"]*"', "", line).count(separator)


def _note_titles(name: str, titles: list[str]) -> list[str]:
    texts = [line.strip(" ,;\t") for line in titles if line.strip(" ,;\t")]
    if not texts:
        return []
    lines = f"lines 1 to {len(titles)}, before the header, are" if len(titles) > 1 else "line 1, before the header, is"
    return [f"{name}: {lines} left out: {texts[0][:60]!r}{' ...' if len(texts) > 1 else ''}."]


def _count_units(records: list[list[str]]) -> int:
    """Number of rows below the header with texts only, such as (MW), in columns that hold numbers or times below."""
    for count, record in enumerate(records):
        below = [fields for fields in records[count + 1 :] if len(fields) == len(record)]
        columns = [
            [cell for cell in (fields[index].strip() for fields in below) if cell] for index in range(len(record))
        ]
        filled = [(cell.strip(), column) for cell, column in zip(record, columns, strict=True) if cell.strip()]
        turns = any(2 * sum(map(_is_value, column)) > len(column) for _, column in filled)
        if not turns or any(_is_value(cell) or cell in column for cell, column in filled):
            return count
    return 0


def _is_value(cell: str) -> bool:
    """True if a text begins like a number or a date, or means no value."""
    return re.match(r"\W{0,3}\d", cell) is not None or cell in MISSING


def _number_names(header: list[str], place: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Number columns without a name or of a repeated one by their positions; return also the new names of each name."""
    counts = Counter(header)
    unclear = {name: (name or "column") for name, count in counts.items() if count > 1 or not name.strip()}
    columns = [f"{unclear[name]}_{place}" if name in unclear else name for place, name in enumerate(header, start=1)]
    twice = next((name for name, count in Counter(columns).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{place} names column {twice!r} more than once: column names must differ.")
    pairs = list(zip(header, columns, strict=True))
    return tuple(columns), {name: tuple(new for old, new in pairs if old == name) for name in unclear}


def read_records(path: Path, name: str, separator: str, skip: int = 0) -> Iterator[tuple[int, list[str]]]:
    """First line and fields of each record after ``skip`` lines; slow, only for headers and messages.

    With a newline as separator, each record is a whole line.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
            if separator == "\n":
                yield from ((number, [line]) for number, line in enumerate(stream, start=1))
                return
            reader = csv.reader(islice(stream, skip, None), delimiter=separator)
            line = 1
            for fields in reader:
                yield skip + line, fields
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: save it with that encoding.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise read_error(name, error) from error
