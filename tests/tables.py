"""Helpers for tests of tables: files, rows without a file, and error messages of the reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from datamodules.series import SeriesSet
from datamodules.tables.reader import read_table
from datamodules.tables.rows import Rows
from datamodules.tables.source import Source
from seqmodels.errors import InputError

DATA = Path(__file__).parents[1].parent / "shared" / "data"


class StubSource(Source):
    """A file without content whose first row is on line 2; a cell is described by its place."""

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        raise AssertionError("nothing is read in these tests")

    def where(self, row: int) -> str:
        return f"line {row + 2}"

    def cell(self, row: int, column: str) -> str:
        return f"cell {row} of {column}"


FILE = StubSource("data.csv", ())


def column(values: Sequence[Any]) -> pl.Series:
    """A column called t."""
    return pl.Series("t", values)


def make_rows(values: Any, time: Any = None, series: Sequence[str] | None = None, **others: Any) -> Rows:
    """Rows in file order; values (rows,) or (rows, C) with NaN where missing, and the series of each row."""
    cells = np.array(values, np.float32).reshape(len(values), -1)
    missing = np.isnan(cells)
    names = tuple(dict.fromkeys(series)) if series is not None else ()
    codes = None if series is None else np.array([names.index(name) for name in series], np.int32)
    times = np.array(time, "datetime64[us]") if time is not None and isinstance(time[0], str) else time
    none = np.empty((len(cells), 0), np.float32)
    return Rows(
        values=np.where(missing, 0, cells), time=None if times is None else np.asarray(times), codes=codes,
        names=names, observed=~missing if missing.any() else None, **{"past": none, "known": none, **others},
    )  # fmt: skip


def series_of(rows: Rows) -> dict[str, list[tuple[int, float, int]]]:
    """(time, value, source row) of each row of each series."""
    assert rows.time is not None and rows.offsets is not None
    numbers = [(int(rows.time[i]), float(rows.values[i, 0]), rows.source_row(i)) for i in range(len(rows.time))]
    return {
        name: numbers[begin:end]
        for name, begin, end in zip(rows.names, rows.offsets[:-1], rows.offsets[1:], strict=True)
    }


def write(folder: Path, **files: str) -> None:
    """Write CSV files of these texts; two underscores in a name stand for a directory, and .csv is added."""
    for name, text in files.items():
        path = folder.joinpath(*f"{name}.csv".split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def error_of(path: Any, **settings: Any) -> str:
    """Message of the ``InputError`` that reading the table raises."""
    with pytest.raises(InputError) as caught:
        read_table(path, **settings)
    message = str(caught.value)
    assert "\n" not in message and message.endswith("."), "an error is one sentence"
    return message


def contains_all(message: str, parts: list[str]) -> bool:
    absent = [part for part in parts if part not in message]
    assert not absent, f"{message!r} lacks {absent}"
    return True


def values(series: SeriesSet) -> list[float]:
    """Values of the only channel."""
    assert series.values.shape[1] == 1
    return series.values[:, 0].tolist()


def times(series: SeriesSet, unit: str = "m") -> list[str]:
    assert series.time is not None
    return series.time.astype(f"datetime64[{unit}]").astype(str).tolist()


def real_table(name: str) -> Path:
    """A public data set, or the test is skipped."""
    if not (DATA / name).is_file():
        pytest.skip(f"real data {name} is absent")
    return DATA / name
