"""Complete covariates: impute missing numbers and number the categories seen in training."""

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.covariates.column import CovariateColumn
from datamodules.covariates.lags import VALUE, within_series
from seqmodels.window import Category, InputError

RowSelection = slice | np.ndarray  # a range of rows, or a mask (rows,) bool


def impute(
    column: CovariateColumn, offsets: np.ndarray | None, training: RowSelection, source: str
) -> tuple[CovariateColumn, CovariateColumn | None, str]:
    """The column without NaN, a column of 0 and 1 that marks what was missing, and one note for people.

    A missing number is the last one before it in its series, never a later one; before the first one of a series it
    is the mean over the ``training`` rows. Without ``offsets`` rows are series (the column is static), and there is
    the mean only. There is no mark where nothing is missing in the training rows: it could not be learnt.

    Raises ``InputError`` where all is missing in the training rows.
    """
    missing, trained = np.isnan(column.values), column.values[training]
    seen = trained[~np.isnan(trained)]
    if not len(seen):
        raise InputError(
            f"{source}: {column} has no value in the training part (data.split), so that nothing can be learnt from"
            " it; leave it out."
        )
    values = column.values.copy() if offsets is None else within_series(VALUE.forward_fill(), column.values, offsets)
    without = np.isnan(values)
    mean = float(seen.mean(dtype=np.float64))
    values[without] = mean
    mark = None
    if offsets is not None and len(seen) < len(trained):
        mark = CovariateColumn(f"{column.name} missing", missing.astype(np.float32))
    note = f"{source}: {column}: missing values filled, {_said(missing, without, mean, offsets is None)}"
    return column._replace(values=values), mark, note + (f"; marked in {mark.name!r}." if mark else ".")


def _said(missing: np.ndarray, without: np.ndarray, mean: float, static: bool) -> str:
    """How many were filled with what; ``without`` are those of the ``missing`` rows that have no value before them."""
    means = int(without.sum())
    repeated = int(missing.sum()) - means
    place = "" if static else " at the beginning of a series"
    parts = [f"{repeated:,} with the last one before"] if repeated else []
    return ", ".join([*parts, f"{means:,}{place} with the training mean {mean:g}"] if means else parts)


SHOWN = 3  # values that a note names


def recode_categories(
    column: CovariateColumn, training: RowSelection, source: str, unit: str
) -> tuple[CovariateColumn, Category, str]:
    """The column with the numbers of the values in the training rows, in order, from 1 on; all others become 0.

    ``unit``: what a row is, for the note about values that become unknown; the note is "" where there are none.

    Raises ``InputError`` where the training rows hold no value at all.
    """
    counts = _count(column.values, len(column.categories), training)
    seen = np.flatnonzero(counts[1:])
    if not len(seen):
        raise InputError(
            f"{source}: {column} has no value in the training part (data.split), so that nothing can be learnt from"
            " it; leave it out."
        )
    category = Category(
        column.name,
        tuple(column.categories[number] for number in seen),
        tuple((counts[seen + 1] / counts.sum()).tolist()),
    )
    if len(seen) == len(column.categories):
        return column, category, ""
    note = _note(column, counts, source, unit)
    numbers = np.zeros(len(column.categories) + 1, np.float32)
    numbers[seen + 1] = np.arange(1, len(seen) + 1)
    values = numbers[column.values.astype(np.int32)]
    return column._replace(values=values, categories=category.values), category, note


def _count(numbers: np.ndarray, values: int, chosen: RowSelection | None = None) -> np.ndarray:
    """How often each number from 0 to ``values`` occurs, in the chosen rows only."""
    counts = np.zeros(values + 1, np.int64)
    numbers = numbers[chosen] if isinstance(chosen, slice) else numbers
    for part in chunks(len(numbers)):
        piece = numbers[part] if chosen is None or isinstance(chosen, slice) else numbers[part][chosen[part]]
        counts += np.bincount(piece.astype(np.int32), minlength=values + 1)
        release(numbers)
    return counts


def _note(column: CovariateColumn, counts: np.ndarray, source: str, unit: str) -> str:
    everywhere = _count(column.values, len(column.categories))
    unseen = np.flatnonzero((counts == 0) & (everywhere > 0))
    unseen = unseen[unseen > 0]
    if not len(unseen):
        return ""
    names = ", ".join(repr(column.categories[number - 1]) for number in unseen[:SHOWN])
    more = f" and {len(unseen) - SHOWN:,} more" if len(unseen) > SHOWN else ""
    rows = int(everywhere[unseen].sum())
    return f"{source}: {column}: {names}{more} not in the training part: unknown in {rows:,} {unit}."
