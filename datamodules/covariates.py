"""Covariates and statics of a table: knows how columns become matrices, and what a static may be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from datamodules.cells import Source
from datamodules.encode import MissingValues, note_missing, to_covariate, without_marks
from datamodules.series import Column
from seqmodels.window import InputError


@dataclass
class Encoded:
    """Columns of one role as a matrix; ``categories`` has the values of those that hold categories."""

    values: np.ndarray  # (rows, columns) or (series, columns) float32
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    marked: int = 0  # cells that data.missing_values names


def read_covariates(table: Source, columns: Sequence[str], rows: int, missing_values: MissingValues) -> Encoded:
    """(rows, columns) with NaN for missing numbers and 0 for missing categories, and one note per column with holes."""
    encoded = Encoded(np.empty((rows, len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, marked = _read(table, name, missing_values)
        encoded.values[:, index] = column.values
        encoded.categories |= _categories(column)
        encoded.notes += note_missing(table, name, _missing(column), marked)
        encoded.marked += marked
    return encoded


def read_statics(
    table: Source,
    columns: Sequence[str],
    codes: np.ndarray | None,
    names: tuple[str, ...],
    missing_values: MissingValues,
) -> Encoded:
    """(series, columns): what each series has in all its rows, where it has anything; one note per column with holes.

    ``codes`` (rows,) and ``names`` are those of ``read_series``. Raises ``InputError`` where a static changes.
    """
    encoded = Encoded(np.empty((max(1, len(names)), len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, marked = _read(table, name, missing_values)
        codes = np.zeros(len(column.values), np.int32) if codes is None else codes
        static = _constant(table, column, codes, names)
        encoded.values[:, index] = static
        encoded.categories |= _categories(column)
        encoded.marked += marked
        without = np.flatnonzero(_missing(column._replace(values=static)))
        if len(without):
            which = f" (first: {names[without[0]]!r})" if names else ""
            encoded.notes.append(f"{table.name}: column {name!r} has no value for {len(without):,} series{which}.")
    return encoded


def _read(table: Source, name: str, missing_values: MissingValues) -> tuple[Column, int]:
    """The column, and how many of its cells ``missing_values`` names."""
    cells, marked = without_marks(table.column(name), missing_values)
    return to_covariate(table, cells), marked


def _categories(column: Column) -> dict[str, tuple[str, ...]]:
    return {column.name: column.categories} if column.categories else {}


def _missing(column: Column) -> np.ndarray:
    return column.values == 0 if column.categories else np.isnan(column.values)


def _constant(table: Source, column: Column, codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(series,) the value that each series has wherever it has one."""
    values, missing = column.values, _missing(column)
    first = np.zeros(max(1, len(names)), np.int64)
    for rows in (np.arange(len(values)), np.flatnonzero(~missing)):  # the second one where there is one
        first[codes[rows][::-1]] = rows[::-1]  # of equal numbers the last counts, so the first row of each series
    changes = (values != values[first][codes]) & ~missing
    if changes.any():
        row = int(changes.argmax())
        other = int(first[codes[row]])
        series = f" of series {names[codes[row]]!r}" if names else ""
        raise InputError(
            f"{table.place(row)}: {table.cell(row, column.name)!r} in column {column.name!r}, but"
            f" {table.cell(other, column.name)!r} in {table.where(other)}{series}: a column of data.statics must not"
            " change within a series; name it in data.past_covariates or data.known_covariates."
        )
    return values[first]
