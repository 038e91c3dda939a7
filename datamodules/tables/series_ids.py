"""Series ids of a table: number the series and name them."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.tables.source import Source
from seqmodels.window import InputError


def read_series(table: Source, columns: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Number of the series of each row, (rows,) int32 in order of first appearance, and the names of the series.

    Several columns make a name such as ``Agency_22/SKU_01``; 'NA' is a name like any other. Without columns there is
    one series without a name, and the numbers are None. Raises ``InputError`` for an empty cell, and where two series
    would have the same name.
    """
    if not columns:
        return None, ()
    codes, names = _series(table, columns[0])
    for column in columns[1:]:
        more, labels = _series(table, column)
        pairs, count = codes.astype(np.int64), len(labels)
        pairs *= count
        pairs += more
        codes, kept = _numbered(pl.Series(pairs))
        names = tuple(f"{names[pair // count]}/{labels[pair % count]}" for pair in kept)
    if len(columns) > 1:
        _refuse_equal_names(table, columns, codes, names)
    return codes, names


def _refuse_equal_names(table: Source, columns: Sequence[str], codes: np.ndarray, names: tuple[str, ...]) -> None:
    """'x/y' with 'z' and 'x' with 'y/z' are two series that nobody could tell apart."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (other := first.setdefault(name, number)) != number:
            here, there = (table.place(int((codes == one).argmax())) for one in (number, other))
            raise InputError(
                f"{here}: id columns {', '.join(map(repr, columns))} make the series {name!r}, as other values of"
                f" them do in {there}; each series needs a name of its own."
            )


def _series(table: Source, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    cells = table.column(column, keys=True)
    if cells.null_count():
        raise _no_series(table, column, cells.is_null().to_numpy())
    codes, values = _numbered(cells)
    names = tuple(values.cast(pl.String))
    if "" in names:
        raise _no_series(table, column, codes == names.index(""))
    return codes, names


def _no_series(table: Source, column: str, empty: np.ndarray) -> InputError:
    place = table.place(int(empty.argmax()))
    return InputError(f"{place}: id column {column!r} has no value here; every row needs its series.")


def _numbered(cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Number of the value of each cell, (n,) int32, and the values, in order of first appearance."""
    runs = cells.rle().struct.unnest()  # in most tables the rows of a series stand together
    values = runs["value"].unique(maintain_order=True)
    known, sought = values.to_physical().to_numpy(), runs["value"].to_physical().to_numpy()
    order = np.argsort(known).astype(np.int32)
    numbers = np.empty(len(sought), np.int32)
    for part in chunks(len(sought)):
        numbers[part] = order[np.searchsorted(known[order], sought[part])]
    return np.repeat(numbers, runs["len"].to_numpy()), values
