"""Imputation of missing numbers, and category codes limited to what occurs in the training rows."""

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.covariates.column import CovariateColumn
from datamodules.covariates.lags import VALUE, within_series
from seqmodels.window import Category, InputError

MISSING = " missing"  # ends the name of a missing indicator
RowSelection = slice | np.ndarray  # a range of rows, or a mask (rows,) bool


def impute(
    column: CovariateColumn, offsets: np.ndarray | None, training: RowSelection, source: str
) -> tuple[CovariateColumn, CovariateColumn | None, float, str]:
    """Impute missing numbers; returns the column, its missing indicator of 0 and 1 (or None), its mean and a note.

    A missing number becomes the previous number of its series (forward fill, never backward), or the mean of the
    ``training`` rows if its series has none yet. ``offsets`` are those of the series, or None for a static column,
    which takes the mean only. There is no indicator if nothing is missing in training, where it would be constant.

    Raises InputError if the training rows hold no number.
    """
    missing, trained = np.isnan(column.values), column.values[training]
    known = trained[~np.isnan(trained)]
    if not len(known):
        raise _no_training_value(column, source)
    mean = float(known.mean(dtype=np.float64))
    values, leading = fill(column.values, offsets, mean)
    indicator = None
    if offsets is not None and len(known) < len(trained):
        indicator = CovariateColumn(f"{column.name}{MISSING}", missing.astype(np.float32))
    counts = _describe(int(missing.sum()), leading, mean, offsets is None)
    marked = f"; marked in {indicator.name!r}" if indicator else ""
    note = f"{source}: {column}: missing values imputed: {counts}{marked}."
    return column._replace(values=values), indicator, mean, note


def fill(values: np.ndarray, offsets: np.ndarray | None, mean: float) -> tuple[np.ndarray, int]:
    """Fill NaN with the previous number of its series, else with ``mean``; also returns the number of the latter."""
    filled = values.copy() if offsets is None else within_series(VALUE.forward_fill(), values, offsets)
    leading = np.isnan(filled)
    filled[leading] = mean
    return filled, int(leading.sum())


def _describe(missing: int, leading: int, mean: float, static: bool) -> str:
    """Number of values imputed in either way; ``leading`` ones have no number before them in their series."""
    parts = [f"{missing - leading:,} with the previous value"] if missing > leading else []
    place = "" if static else " at the beginning of a series"
    return ", ".join([*parts, f"{leading:,}{place} with the training mean {mean:g}"] if leading else parts)


def _no_training_value(column: CovariateColumn, source: str) -> InputError:
    return InputError(
        f"{source}: {column} has no value in the training part (data.split), so nothing can be learnt from it; leave it"
        " out."
    )


SHOWN = 3  # categories named in a note


def recode_categories(
    column: CovariateColumn, training: RowSelection, source: str, unit: str
) -> tuple[CovariateColumn, Category, str]:
    """Recode a column to the categories of the training rows, in the same order; the others become 0, unknown.

    Returns the column, its category and a note, which is "" if no category is dropped. ``unit`` is the note's word for
    an entry of the column: rows or series.

    Raises InputError if the training rows hold no category.
    """
    counts = _count_codes(column.values, len(column.categories), training)
    kept = np.flatnonzero(counts[1:])
    if not len(kept):
        raise _no_training_value(column, source)
    shares = counts[kept + 1] / counts.sum()
    category = Category(column.name, tuple(column.categories[i] for i in kept), tuple(shares.tolist()))
    if len(kept) == len(column.categories):
        return column, category, ""
    note = _note_unknown(column, counts, source, unit)
    codes = np.zeros(len(column.categories) + 1, np.float32)
    codes[kept + 1] = np.arange(1, len(kept) + 1)
    values = codes[column.values.astype(np.int32)]
    return column._replace(values=values, categories=category.values), category, note


def _count_codes(codes: np.ndarray, categories: int, selection: RowSelection | None = None) -> np.ndarray:
    """Occurrences of each code from 0 to ``categories``, (categories + 1,) int64, in the selected rows."""
    counts = np.zeros(categories + 1, np.int64)
    mask = selection if isinstance(selection, np.ndarray) else None
    codes = codes[selection] if isinstance(selection, slice) else codes
    for part in chunks(len(codes)):
        chosen = codes[part] if mask is None else codes[part][mask[part]]
        counts += np.bincount(chosen.astype(np.int32), minlength=categories + 1)
        release(codes)
    return counts


def _note_unknown(column: CovariateColumn, training_counts: np.ndarray, source: str, unit: str) -> str:
    counts = _count_codes(column.values, len(column.categories))
    unknown = np.flatnonzero((training_counts == 0) & (counts > 0))
    unknown = unknown[unknown > 0]
    if not len(unknown):
        return ""
    names = ", ".join(repr(column.categories[code - 1]) for code in unknown[:SHOWN])
    more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
    return f"{source}: {column}: {names}{more} not in the training part: unknown in {counts[unknown].sum():,} {unit}."
