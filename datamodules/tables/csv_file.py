"""CSV files: header and separator, columns read with polars, and the line of each cell."""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from datamodules.tables.source import Source, read_error
from datamodules.tables.values import clean
from seqmodels.errors import InputError


@dataclass
class CsvFile(Source):
    """A CSV file whose header has been read; ``kept`` are the rows that remain without blank lines."""

    path: Path = Path()
    separator: str = ","
    kept: np.ndarray | None = None

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        """Read the columns: ``numbers`` become Float32, or stay String if any cell is neither number nor missing."""
        wanted = [*texts, *numbers]
        try:
            frame = self._read(numbers, wanted).select(wanted)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise read_error(self.name, error) from error
        frame = self._drop_blank_lines(frame, steps)
        self.frame = frame.with_columns(_to_number(frame[name]) for name in numbers)

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
        types = {name: pl.Float32 if name in numbers else pl.String for name in wanted}
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
    """Float32 if all texts are numbers or missing, else the texts."""
    if cells.dtype != pl.String:
        return cells
    text = clean(cells)
    numbers = text.cast(pl.Float32, strict=False)
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
