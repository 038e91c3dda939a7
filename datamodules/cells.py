"""One table file on disk: knows its columns, reads them with polars, and knows on which line each cell stands."""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmodels.window import InputError

SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass
class TableFile:
    """A CSV or Parquet file whose header has been read; rows count from 0 and exclude the header.

    ``separator`` is None for Parquet. ``kept`` maps rows of the frame to rows of the file once blank lines are out.
    """

    path: Path
    columns: tuple[str, ...]
    separator: str | None = None
    kept: np.ndarray | None = None

    @property
    def name(self) -> str:
        """The file name, as messages and notes use it."""
        return self.path.name

    def read(self, numbers: Sequence[str], texts: Sequence[str]) -> pl.DataFrame:
        """The named columns only; ``numbers`` of a CSV are Float32, or String if any cell of theirs is no number.

        Raises ``InputError`` for a file that is damaged, ragged or without rows.
        """
        wanted = [*texts, *numbers]
        try:
            if self.separator is None:
                frame = pl.read_parquet(self.path, columns=wanted, glob=False)
            else:
                frame = self._read_csv(numbers, wanted)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.path, error) from error
        if frame.height == 0:
            raise InputError(f"{self.name} has a header but no rows: there is nothing to learn from.")
        return frame.select(wanted)

    def drop_blank(self, frame: pl.DataFrame, *, inside: bool) -> pl.DataFrame:
        """Leave out blank lines: those at the end and, if ``inside``, all; ``place`` still counts them.

        Where rows are told by their order alone, a blank line inside is a missing step.
        """
        if not all(column.null_count() for column in frame.get_columns()):
            return frame
        full = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true().to_numpy()
        if len(full) == 0:
            raise InputError(f"{self.name} has only empty cells in the columns {', '.join(map(repr, frame.columns))}.")
        self.kept = full if inside else np.arange(full[-1] + 1)
        return frame[self.kept]

    def place(self, row: int) -> str:
        """Where a row of the frame stands: 'rides.csv, line 7' (header = line 1) or 'rides.parquet, row 6'."""
        row = self._file_row(row)
        if self.separator is None:
            return f"{self.name}, row {row + 1}"
        return f"{self.name}, line {self._record(row + 1)[0]}"

    def cell(self, row: int, column: str) -> str:
        """The cell as it is written in the file."""
        row = self._file_row(row)
        if self.separator is None:
            scan = pl.scan_parquet(self.path, glob=False).select(column)
            return str(scan.slice(row, 1).collect().item())
        fields = self._record(row + 1)[1]
        index = self.columns.index(column)
        return fields[index] if index < len(fields) else ""

    def _file_row(self, row: int) -> int:
        return int(row if self.kept is None else self.kept[row])

    def _read_csv(self, numbers: Sequence[str], wanted: Sequence[str]) -> pl.DataFrame:
        types = {name: pl.Float32 if name in numbers else pl.String for name in wanted}
        options: dict[str, Any] = {"separator": self.separator, "infer_schema_length": 0, "glob": False}
        try:
            frame = pl.read_csv(self.path, columns=wanted, schema_overrides=types, **options)
        except pl.exceptions.ComputeError:
            self._refuse_long_rows()
            frame = pl.read_csv(self.path, columns=wanted, **options)
        else:
            # polars counts the fields of a row only where it reads all of them.
            if len(wanted) < len(self.columns):
                self._refuse_long_rows()
        return frame

    def _refuse_long_rows(self) -> None:
        """Raise for the first row with more fields than the header; the quick count may suspect quoted separators."""
        lines = pl.scan_csv(
            self.path, has_header=False, separator="\x1f", quote_char=None, schema={"line": pl.String},
            truncate_ragged_lines=True, glob=False,
        )  # fmt: skip
        suspect = pl.col("line").str.count_matches(self.separator or ",", literal=True) >= len(self.columns)
        if lines.filter(suspect).head(1).collect().is_empty():
            return
        for line, fields in self._records():
            if len(fields) > len(self.columns):
                raise InputError(
                    f"{self.name}, line {line} has {len(fields)} fields, "
                    f"but the header names {len(self.columns)} columns."
                )

    def _record(self, number: int) -> tuple[int, list[str]]:
        """First line and fields of one record; record 0 is the header."""
        return next(record for index, record in enumerate(self._records()) if index == number)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        return records(self.path, self.separator or ",")


def open_table(path: str) -> TableFile:
    """Check that ``path`` is a local file of a known kind and read its column names.

    Raises ``InputError`` for a URL, a directory, a missing, empty or damaged file, another suffix and duplicate names.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise InputError(f"data.path={path} is a URL, but only local files are read: download it first.")
    place = Path(path).expanduser()
    if place.is_dir():
        raise InputError(f"data.path={path} is a directory; name one file that ends in {', '.join(SUFFIXES)}.")
    if not place.is_file():
        raise InputError(f"data.path={path} does not exist as a file (relative paths start at {Path.cwd()}).")
    if not place.name.lower().endswith(SUFFIXES):
        raise InputError(f"data.path={path} has an unknown suffix; accepted are {', '.join(SUFFIXES)}.")
    if place.stat().st_size == 0:
        raise InputError(f"{place.name} is empty: the first line must name the columns.")
    return _open_parquet(place) if place.name.lower().endswith(".parquet") else _open_csv(place)


def _open_parquet(path: Path) -> TableFile:
    try:
        return TableFile(path, tuple(pl.read_parquet_schema(path)))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error


def _open_csv(path: Path) -> TableFile:
    header = next(records(path, "\n"), (1, []))[1]
    if not header or not header[0].strip():
        raise InputError(f"{path.name}, line 1 is empty: the first line must name the columns.")
    bare = re.sub(r'"[^"]*"', "", header[0])
    separator = max(",;\t", key=bare.count)  # the comma wins a tie
    columns = next(records(path, separator))[1]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path.name}, line 1 names column {twice!r} more than once: column names must differ.")
    return TableFile(path, tuple(columns), separator)


def records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """First line and fields of every record of a CSV file, the header included; slow, for headers and messages only.

    With the newline as separator the fields are whole lines.
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
        raise InputError(f"{path.name} is not UTF-8 text: save it with that encoding.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """One sentence for a file that the operating system or polars refuses."""
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    if "utf-8" in reason:
        return InputError(f"{path.name} is not UTF-8 text: save it with that encoding.")
    kind = "Parquet" if path.name.lower().endswith(".parquet") else "CSV"
    return InputError(f"{path.name} cannot be read as {kind}: {reason}.")
