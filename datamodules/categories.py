"""Columns of categories after the split: the values that training sees get numbers, all others are unknown."""

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.series import Column, Rows
from seqmodels.window import Category, InputError

SHOWN = 3  # values that a note names


def renumbered(column: Column, training: Rows, source: str, unit: str) -> tuple[Column, Category, str]:
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


def _count(numbers: np.ndarray, values: int, chosen: Rows | None = None) -> np.ndarray:
    """How often each number from 0 to ``values`` occurs, in the chosen rows only."""
    counts = np.zeros(values + 1, np.int64)
    numbers = numbers[chosen] if isinstance(chosen, slice) else numbers
    for part in chunks(len(numbers)):
        piece = numbers[part] if chosen is None or isinstance(chosen, slice) else numbers[part][chosen[part]]
        counts += np.bincount(piece.astype(np.int32), minlength=values + 1)
        release(numbers)
    return counts


def _note(column: Column, counts: np.ndarray, source: str, unit: str) -> str:
    everywhere = _count(column.values, len(column.categories))
    unseen = np.flatnonzero((counts == 0) & (everywhere > 0))
    unseen = unseen[unseen > 0]
    if not len(unseen):
        return ""
    names = ", ".join(repr(column.categories[number - 1]) for number in unseen[:SHOWN])
    more = f" and {len(unseen) - SHOWN:,} more" if len(unseen) > SHOWN else ""
    rows = int(everywhere[unseen].sum())
    return f"{source}: {column}: {names}{more} not in the training part: unknown in {rows:,} {unit}."
