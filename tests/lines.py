"""Rows made in a test, as if they had been read from lines of a file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from datamodules.tables.rows import Rows
from datamodules.tables.source import Source


class Lines(Source):
    """A file whose first row stands on line 2; a cell says where it is."""

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        raise AssertionError("nothing is read in these tests")

    def where(self, row: int) -> str:
        return f"line {row + 2}"

    def cell(self, row: int, column: str) -> str:
        return f"cell {row} of {column}"


FILE = Lines("data.csv", ())


def column(values: Sequence[Any]) -> pl.Series:
    """A column called t."""
    return pl.Series("t", values)


def made(values: Any, time: Any = None, series: Sequence[str] | None = None, **others: Any) -> Rows:
    """Rows in file order; values (rows,) or (rows, C) with NaN where missing, one name of a series for each row."""
    cells = np.array(values, np.float32).reshape(len(values), -1)
    missing = np.isnan(cells)
    names = tuple(dict.fromkeys(series)) if series is not None else ()
    codes = None if series is None else np.array([names.index(name) for name in series], np.int32)
    labels = np.array(time, "datetime64[us]") if time is not None and isinstance(time[0], str) else time
    none = np.empty((len(cells), 0), np.float32)
    return Rows(
        values=np.where(missing, 0, cells), time=None if labels is None else np.asarray(labels), codes=codes,
        names=names, observed=~missing if missing.any() else None, **{"past": none, "known": none, **others},
    )  # fmt: skip
