"""What stands in for the missing numbers of a covariate, so that a model sees no NaN and yet knows of it."""

import numpy as np

from datamodules.series import Column, Rows
from datamodules.within import VALUE, within_series
from seqmodels.window import InputError


def filled(
    column: Column, offsets: np.ndarray | None, training: Rows, source: str
) -> tuple[Column, Column | None, str]:
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
        mark = Column(f"{column.name} missing", missing.astype(np.float32))
    note = f"{source}: {column}: missing values filled, {_said(missing, without, mean, offsets is None)}"
    return column._replace(values=values), mark, note + (f"; marked in {mark.name!r}." if mark else ".")


def _said(missing: np.ndarray, without: np.ndarray, mean: float, static: bool) -> str:
    """How many were filled with what; ``without`` are those of the ``missing`` rows that have no value before them."""
    means = int(without.sum())
    repeated = int(missing.sum()) - means
    place = "" if static else " at the beginning of a series"
    parts = [f"{repeated:,} with the last one before"] if repeated else []
    return ", ".join([*parts, f"{means:,}{place} with the training mean {mean:g}"] if means else parts)
