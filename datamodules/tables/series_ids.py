"""Series ids: the code of the series of each row, and the names of the series."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.tables.source import Source
from seqmodels.errors import InputError


def read_series_ids(table: Source, columns: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Read the series codes (rows,) int32 and the names of the series, both in order of first appearance.

    A series code is the number of the row's series, like the codes of a pandas Categorical. Several columns are joined
    to a name such as ``Agency_22/SKU_01``; 'NA' is an ordinary name. Without columns there is one series without a
    name, and the codes are None. Raises ``InputError`` for an empty cell and for two series of the same name.
    """
    if not columns:
        return None, ()
    codes, names = _read_column(table, columns[0])
    for column in columns[1:]:
        more, labels = _read_column(table, column)
        pairs, count = codes.astype(np.int64), len(labels)
        pairs *= count
        pairs += more
        codes, kept = _factorize(pl.Series(pairs))
        names = tuple(f"{names[pair // count]}/{labels[pair % count]}" for pair in kept)
    if len(columns) > 1:
        _refuse_equal_names(table, columns, codes, names)
    return codes, names


def _refuse_equal_names(table: Source, columns: Sequence[str], codes: np.ndarray, names: tuple[str, ...]) -> None:
    """Raise if two series have the same name, such as 'x/y' with 'z' and 'x' with 'y/z'."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (other := first.setdefault(name, number)) != number:
            here, there = (table.place(int((codes == one).argmax())) for one in (number, other))
            raise InputError(
                f"{here}: id columns {', '.join(map(repr, columns))} give the series name {name!r}, as do other values"
                f" in {there}; each series needs a unique name."
            )


def _read_column(table: Source, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    cells = table.column(column, categorical=True)
    if cells.null_count():
        raise _no_series(table, column, cells.is_null().to_numpy())
    codes, values = _factorize(cells)
    names = tuple(values.cast(pl.String))
    if "" in names:
        raise _no_series(table, column, codes == names.index(""))
    return codes, names


def _no_series(table: Source, column: str, empty: np.ndarray) -> InputError:
    place = table.place(int(empty.argmax()))
    return InputError(f"{place}: id column {column!r} has no value here; every row must name its series.")


def _factorize(cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Code of each cell, (n,) int32, and the distinct values in order of first appearance."""
    runs = cells.rle().struct.unnest()  # in most tables the rows of a series are consecutive
    values = runs["value"].unique(maintain_order=True)
    known, sought = values.to_physical().to_numpy(), runs["value"].to_physical().to_numpy()
    order = np.argsort(known).astype(np.int32)
    codes = np.empty(len(sought), np.int32)
    for part in chunks(len(sought)):
        codes[part] = order[np.searchsorted(known[order], sought[part])]
    return np.repeat(codes, runs["len"].to_numpy()), values
