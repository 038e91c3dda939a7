"""Statistics of the training rows: mean, deviation, seasonal naive error and winsorising.

Arrays are read a million values at a time, and memory-mapped files released on the way, so that memory stays bounded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.series import SeriesSet
from seqmodels.window import InputError, Statistics

VALUES_AT_ONCE = 2**20


def merge_ranges(starts: np.ndarray, stops: np.ndarray) -> list[slice]:
    """Row ranges ``starts[i]:stops[i]``, ascending, as slices: empty ones dropped, adjacent ones merged."""
    nonempty = stops > starts
    starts, stops = starts[nonempty], stops[nonempty]
    first, last = np.ones(len(starts), bool), np.ones(len(starts), bool)
    first[1:] = last[:-1] = starts[1:] != stops[:-1]
    return [slice(*ends) for ends in zip(starts[first].tolist(), stops[last].tolist(), strict=True)]


def range_mask(starts: Sequence[int] | np.ndarray, stops: Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """Mask (rows,) of disjoint ranges ``starts[i]:stops[i]``."""
    change = np.zeros(rows + 1, np.int8)
    change[starts] += 1
    change[stops] -= 1
    return change[:-1].cumsum(dtype=np.int8).view(bool)


def compute_statistics(values: np.ndarray | None, rows: list[slice], observed: np.ndarray | None = None) -> Statistics:
    """Mean and standard deviation per channel of ``values`` (rows, channels) over the ascending ranges ``rows``.

    NaN and values not ``observed`` are left out. A constant channel has deviation 1; one without values has mean 0 too.

    Source: pairwise update of mean and sum of squares, Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.
    """
    if values is None:
        return Statistics()
    count, mean, squares = np.zeros((3, values.shape[1]))
    for part, inside in _row_blocks(values.shape, rows):
        block = values[part].T.astype(np.float64)  # (channels, n): sums along the last axis are fast and exact
        mask = _mask_block(block, inside, None if observed is None else observed[part].T)
        added = np.full(len(count), block.shape[1]) if mask is None else mask.sum(axis=1)
        block_mean = block.sum(axis=1) / np.maximum(1, added)
        block -= block_mean[:, None]
        np.square(block, out=block)
        total, shift = np.maximum(1, count + added), block_mean - mean
        squares += block.sum(axis=1, where=True if mask is None else mask) + shift**2 * count * added / total
        mean, count = mean + shift * added / total, count + added
        release(values)
        release(observed)
    deviation = np.sqrt(squares / np.maximum(1, count))
    deviation = np.where(deviation > rounding(values) * np.maximum(1e-30, np.abs(mean)), deviation, 1.0)
    return Statistics(tuple(mean.tolist()), tuple(deviation.tolist()))


def rounding(values: np.ndarray) -> float:
    """Largest relative error by rounding: about ten units in the last place of the type."""
    return 1e-6 if values.dtype == np.float32 else 1e-14


def has_nan(values: np.ndarray) -> bool:
    """True if any of the values (rows,) is NaN."""
    for part in chunks(len(values)):
        found = bool(np.isnan(values[part]).any())
        release(values)
        if found:
            return True
    return False


def _row_blocks(shape: tuple[int, ...], rows: list[slice]) -> Iterator[tuple[slice, np.ndarray | None]]:
    """Blocks of an array with a mask (n,) of their rows that are in ``rows``, or None if all of them are."""
    if not rows:
        return
    size = max(1, VALUES_AT_ONCE // max(1, shape[1]))
    starts, stops = np.array([[part.start, part.stop] for part in rows]).T
    for start in range(int(starts[0]), int(stops[-1]), size):
        stop = min(start + size, int(stops[-1]))
        first, last = np.searchsorted(stops, start, side="right"), np.searchsorted(starts, stop)
        low, high = starts[first:last].clip(start, stop) - start, stops[first:last].clip(start, stop) - start
        if len(low) == 0:
            continue
        inside = range_mask(low, high, stop - start)
        yield slice(start, stop), None if inside.all() else inside


def _mask_block(block: np.ndarray, inside: np.ndarray | None, observed: np.ndarray | None) -> np.ndarray | None:
    """Mask (channels, n) of the values that count, or None if all of them do; sets the others to 0 in place."""
    missing = np.isnan(block) if np.isnan(block.sum()) else None
    if inside is None and observed is None and missing is None:
        return None
    mask = np.ones(block.shape, bool) if missing is None else ~missing
    for counted in (inside, observed):
        mask &= True if counted is None else counted
    block[~mask] = 0
    return mask


def seasonal_errors(series: SeriesSet, start: np.ndarray, stop: np.ndarray, season: int, power: int = 1) -> np.ndarray:
    """(series, C) mean |y(t) - y(t - season)| ** power over rows ``start[i]:stop[i]``; NaN if there is no pair.

    A mean |y(t) - y(t - season)| that may come from ``rounding`` counts as 0.
    """
    channels = len(series.channels)
    total, sizes, count = np.zeros((3, channels, len(series)))
    long = np.flatnonzero(stop - start > season)
    spans = np.stack([start + season, stop], axis=1)[long]  # rows that have a row one season earlier
    at_once = max(1, VALUES_AT_ONCE // channels)
    for first in range(int(spans.min(initial=len(series.values))), int(spans.max(initial=0)), at_once):
        last = min(first + at_once, len(series.values))
        low, high = np.searchsorted(spans[:, 1], first, side="right"), np.searchsorted(spans[:, 0], last)
        chosen, segments = long[low:high], spans[low:high].clip(first, last) - first
        difference, size, mask = _seasonal_differences(series, first, last, season)
        total[:, chosen] += _segment_sums(difference**power, segments)
        sizes[:, chosen] += _segment_sums(size, segments)
        count[:, chosen] += segments[:, 1] - segments[:, 0] if mask is None else _segment_sums(mask, segments)
        release(series.values)
        release(series.observed)
    counts = total > (rounding(series.values) * sizes if power == 1 else 0.0)
    mean = np.where(counts, total, 0.0) / np.maximum(1, count)
    return np.where(count > 0, mean, np.nan).T


def _seasonal_differences(
    series: SeriesSet, first: int, last: int, season: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """|y(t) - y(t - season)| and |y(t)| of rows ``first:last``, both (C, n), and a mask of the pairs that count.

    Pairs with an unobserved value are 0. The mask (C, n) is None if all values are observed.
    """
    late, early = slice(first, last), slice(first - season, last - season)
    difference, size = np.abs(series.values[late] - series.values[early]).T, np.abs(series.values[late]).T
    if series.observed is None:
        return difference, size, None
    both = (series.observed[late] & series.observed[early]).T
    return difference * both, size * both, both


def _segment_sums(numbers: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Sums in float64 over ascending, non-empty segments (k, 2) of the last axis: (C, n) -> (C, k)."""
    borders = segments.ravel()
    borders = borders[: np.searchsorted(borders, numbers.shape[1])]  # reduceat takes no border at the end
    return np.add.reduceat(np.ascontiguousarray(numbers), borders, axis=1, dtype=np.float64)[:, ::2]


CHANNELS_NAMED = 5  # in a note


def check_winsorise(share: float) -> None:
    """Raise InputError for a share that would leave no value between its limits."""
    if isinstance(share, bool) or not 0 < share < 0.5:
        raise InputError(f"data.winsorise is {share}; it must be null or a share between 0 and 0.5, such as 0.01.")


def winsorise_targets(series: SeriesSet, rows: list[slice], share: float) -> SeriesSet:
    """Winsorise the targets of the training rows, and note how many values were clipped to which limits.

    All other rows stay as measured, because forecasts are compared with them.
    """
    low, high = quantile_limits(series.values, series.observed, rows, share)
    values, counts = clip_rows(series.values, series.observed, low, high, rows)
    channels = list(zip(series.channels, counts.tolist(), low.tolist(), high.tolist(), strict=True))
    parts = [f"{count:,} of {name} to {least:.6g} ... {most:.6g}" for name, count, least, most in channels]
    if len(channels) > CHANNELS_NAMED:
        others = len(channels) - CHANNELS_NAMED
        parts[CHANNELS_NAMED:] = [f"{counts[CHANNELS_NAMED:].sum():,} of {others:,} more channels"]
    note = f"training values clipped (data.winsorise={share:g}): {', '.join(parts)}"
    return replace(series, values=values, notes=(*series.notes, note))


def quantile_limits(
    values: np.ndarray, observed: np.ndarray | None, rows: list[slice], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of each channel, both (C,) and observed values of ``rows``.

    At most ``share`` of the observed values lie below the lower limit, and at most as many above the upper one. The
    limits of a channel without observed values are infinite. Memory: a copy of one channel at a time.
    """
    low, high = np.full((2, values.shape[1]), [[-np.inf], [np.inf]], values.dtype)
    for channel in range(values.shape[1]):
        masks = [slice(None) if observed is None else observed[part, channel] for part in rows]
        parts = [values[part, channel][mask] for part, mask in zip(rows, masks, strict=True)]
        column = np.concatenate([np.empty(0, values.dtype), *parts])
        if len(column):
            beyond = int(share * len(column))
            column.partition([beyond, len(column) - 1 - beyond])
            low[channel], high[channel] = column[beyond], column[-1 - beyond]
    return low, high


def clip_rows(
    values: np.ndarray, observed: np.ndarray | None, low: np.ndarray, high: np.ndarray, rows: list[slice]
) -> tuple[np.ndarray, np.ndarray]:
    """Clip the observed values of ``rows`` in a copy of ``values`` (rows, C); returns it and the counts (C,) int64."""
    clipped, counts = values.copy(), np.zeros(values.shape[1], np.int64)
    for part in rows:
        for chunk in chunks(part.stop - part.start):
            block = slice(part.start + chunk.start, part.start + chunk.stop)
            mask = True if observed is None else observed[block]
            np.clip(values[block], low, high, out=clipped[block], where=mask)
            counts += np.count_nonzero(clipped[block] != values[block], axis=0)
    return clipped, counts
