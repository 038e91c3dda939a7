"""Extreme values pulled in to quantiles of the training span: knows how to find these and how to clip to them."""

from dataclasses import replace

import numpy as np

from datamodules.chunks import chunks
from datamodules.series import SeriesSet
from seqmodels.window import InputError

NAMED = 5  # channels that a note names


def check_share(share: float) -> None:
    """Raise ``InputError`` for a share that would leave no value between its limits."""
    if isinstance(share, bool) or not 0 < share < 0.5:
        raise InputError(f"data.winsorise is {share}; it must be null or a share between 0 and 0.5, such as 0.01.")


def pull_in(series: SeriesSet, rows: list[slice], share: float) -> SeriesSet:
    """The series with the targets of these training rows pulled in, and a note that says how many and how far.

    All other rows stay as they were measured, as they are what forecasts are compared with.
    """
    low, high = limits(series.values, series.observed, rows, share)
    values, counts = winsorised(series.values, series.observed, low, high, rows)
    places = list(zip(series.channels, counts.tolist(), low.tolist(), high.tolist(), strict=True))
    said = [f"{count:,} of {name} to {least:.6g} ... {most:.6g}" for name, count, least, most in places[:NAMED]]
    said += [f"{counts[NAMED:].sum():,} of {len(places) - NAMED:,} more channels"] if len(places) > NAMED else []
    note = f"training values pulled in (data.winsorise={share:g}): {', '.join(said)}"
    return replace(series, values=values, notes=(*series.notes, note))


def limits(
    values: np.ndarray, observed: np.ndarray | None, rows: list[slice], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of each channel that stay as they are, both (C,) float32.

    They are observed values of ``rows``: at most ``share`` of these lie below the low one, and as many above the high
    one. ``values`` is (rows, C) float32, ``observed`` (rows, C); one channel of them is copied at a time. A channel
    without observed values has no limits: -infinity and infinity. Raises ``InputError`` for a share out of range.
    """
    check_share(share)
    low, high = np.full(values.shape[1], -np.inf, np.float32), np.full(values.shape[1], np.inf, np.float32)
    for channel in range(values.shape[1]):
        column = np.concatenate([np.empty(0, np.float32), *_present(values, observed, rows, channel)])
        if len(column):
            beyond = int(share * len(column))
            column.partition([beyond, len(column) - 1 - beyond])
            low[channel], high[channel] = column[beyond], column[-1 - beyond]
    return low, high


def _present(values: np.ndarray, observed: np.ndarray | None, rows: list[slice], channel: int) -> list[np.ndarray]:
    parts = [values[part, channel] for part in rows]
    if observed is None:
        return parts
    return [part[observed[place, channel]] for part, place in zip(parts, rows, strict=True)]


def winsorised(
    values: np.ndarray,
    observed: np.ndarray | None,
    low: np.ndarray,
    high: np.ndarray,
    rows: list[slice] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A copy of ``values`` (rows, C) with the observed ones of ``rows`` pulled in, and how many those are, (C,) int64.

    ``rows``: None for all. ``low`` and ``high`` (C,) are those of ``limits``.
    """
    pulled, counts = values.copy(), np.zeros(values.shape[1], np.int64)
    for part in [slice(0, len(values))] if rows is None else rows:
        for piece in chunks(part.stop - part.start):
            place = slice(part.start + piece.start, part.start + piece.stop)
            clipped = np.clip(values[place], low, high)
            if observed is not None:
                clipped = np.where(observed[place], clipped, values[place])
            counts += np.count_nonzero(clipped != values[place], axis=0)
            pulled[place] = clipped
    return pulled, counts
