"""Statistics of the training span: mean, deviation, seasonal naive error and quantile limits.

Data are read a million values at a time, so that memory does not grow with them; mapped files are released on the way.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.series import SeriesSet
from seqmodels.window import InputError, Statistics

VALUES_AT_ONCE = 2**20


def merge_ranges(starts: np.ndarray, stops: np.ndarray) -> list[slice]:
    """Row ranges ``starts[i]:stops[i]``, in order; neighbouring ones joined: 10,000 short series are one range."""
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    first, last = np.ones(len(starts), bool), np.ones(len(starts), bool)
    first[1:] = last[:-1] = starts[1:] != stops[:-1]
    return [slice(*ends) for ends in zip(starts[first].tolist(), stops[last].tolist(), strict=True)]


def compute_statistics(values: np.ndarray | None, rows: list[slice], observed: np.ndarray | None = None) -> Statistics:
    """Mean and deviation per channel over these rows of ``values`` (rows, channels); 1 for a constant channel.

    ``rows`` ascend. Left out is what is not ``observed`` and what is NaN. Without any value the mean is 0.
    """
    if values is None:
        return Statistics()
    count, mean, square = np.zeros((3, values.shape[1]))
    for part, inside in _blocks(values.shape, rows):
        numbers = values[part].T.astype(np.float64)  # (channels, n): sums along the last axis are quick and exact
        counts = _counted(numbers, inside, None if observed is None else observed[part].T)
        more = np.full(len(count), numbers.shape[1]) if counts is None else counts.sum(axis=1)
        own = numbers.sum(axis=1) / np.maximum(1, more)
        # Squares around the mean of these rows: a sum of squares would cancel for large, nearly constant values.
        numbers -= own[:, None]
        np.square(numbers, out=numbers)
        total, apart = np.maximum(1, count + more), own - mean
        square += numbers.sum(axis=1, where=True if counts is None else counts) + apart**2 * count * more / total
        mean, count = mean + apart * more / total, count + more
        release(values)
        release(observed)
    deviation = np.sqrt(square / np.maximum(1, count))
    deviation = np.where(deviation > 1e-6 * np.maximum(1e-30, np.abs(mean)), deviation, 1.0)
    return Statistics(tuple(mean.tolist()), tuple(deviation.tolist()))


def has_nan(values: np.ndarray) -> bool:
    """Whether any of these values (rows,) is NaN."""
    for start in range(0, len(values), VALUES_AT_ONCE):
        found = bool(np.isnan(values[start : start + VALUES_AT_ONCE]).any())
        release(values)
        if found:
            return True
    return False


def _blocks(shape: tuple[int, ...], rows: list[slice]) -> Iterator[tuple[slice, np.ndarray | None]]:
    """Slices of a long array, and which of their rows (n,) lie within ``rows``; None: all of them."""
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
        change = np.zeros(stop - start + 1, np.int8)
        change[low] += 1
        change[high] -= 1
        inside = change.cumsum(dtype=np.int8)[:-1].astype(bool)
        yield slice(start, stop), None if inside.all() else inside


def _counted(numbers: np.ndarray, inside: np.ndarray | None, observed: np.ndarray | None) -> np.ndarray | None:
    """Which of the numbers (channels, n) count, None for all of them; the others are set to 0."""
    missing = np.isnan(numbers) if np.isnan(numbers.sum()) else None
    if inside is None and observed is None and missing is None:
        return None
    counts = np.ones(numbers.shape, bool) if missing is None else ~missing
    for mask in (inside, observed):
        counts &= True if mask is None else mask
    numbers[~counts] = 0
    return counts


def seasonal_errors(series: SeriesSet, start: np.ndarray, stop: np.ndarray, season: int) -> np.ndarray:
    """(series, C) mean |y(t) - y(t - season)| over rows ``start[i]:stop[i]``; NaN where that is 0 or there is none.

    Less than a millionth of the values themselves counts as 0: it is what rounding to float32 leaves.
    """
    channels = len(series.channels)
    total, sizes, count = np.zeros((3, channels, len(series)))
    long = np.flatnonzero(stop - start > season)
    spans = np.stack([start + season, stop], axis=1)[long]  # the rows that have one a season before them
    at_once = max(1, VALUES_AT_ONCE // channels)
    for first in range(int(spans.min(initial=len(series.values))), int(spans.max(initial=0)), at_once):
        last = min(first + at_once, len(series.values))
        low, high = np.searchsorted(spans[:, 1], first, side="right"), np.searchsorted(spans[:, 0], last)
        chosen, parts = long[low:high], spans[low:high].clip(first, last) - first
        difference, size, counts = _differences(series, first, last, season)
        total[:, chosen] += _sums(difference, parts)
        sizes[:, chosen] += _sums(size, parts)
        count[:, chosen] += parts[:, 1] - parts[:, 0] if counts is None else _sums(counts, parts)
        release(series.values)
        release(series.observed)
    found = total > 1e-6 * sizes
    return np.where(found, total / np.maximum(1, count), np.nan).T


def _differences(
    series: SeriesSet, first: int, last: int, season: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """|y(t) - y(t - season)| and |y(t)|, (C, n) for the rows from ``first`` on, 0 where one of both values is not
    observed, and where both are (None: everywhere)."""
    late, early = slice(first, last), slice(first - season, last - season)
    difference, size = np.abs(series.values[late] - series.values[early]).T, np.abs(series.values[late]).T
    if series.observed is None:
        return difference, size, None
    both = (series.observed[late] & series.observed[early]).T
    return difference * both, size * both, both


def _sums(numbers: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Sums in float64 over pieces (k, 2) of the last axis that ascend, none of them empty: (C, n) -> (C, k)."""
    borders = pieces.ravel()
    borders = borders[: np.searchsorted(borders, numbers.shape[1])]  # the last piece may reach up to the end
    return np.add.reduceat(np.ascontiguousarray(numbers), borders, axis=1, dtype=np.float64)[:, ::2]


NAMED = 5  # channels that a note names


def check_winsorise(share: float) -> None:
    """Raise ``InputError`` for a share that would leave no value between its limits."""
    if isinstance(share, bool) or not 0 < share < 0.5:
        raise InputError(f"data.winsorise is {share}; it must be null or a share between 0 and 0.5, such as 0.01.")


def winsorise_targets(series: SeriesSet, rows: list[slice], share: float) -> SeriesSet:
    """The series with the targets of these training rows pulled in, and a note that says how many and how far.

    All other rows stay as they were measured, as they are what forecasts are compared with.
    """
    low, high = quantile_limits(series.values, series.observed, rows, share)
    values, counts = clip_rows(series.values, series.observed, low, high, rows)
    places = list(zip(series.channels, counts.tolist(), low.tolist(), high.tolist(), strict=True))
    said = [f"{count:,} of {name} to {least:.6g} ... {most:.6g}" for name, count, least, most in places[:NAMED]]
    said += [f"{counts[NAMED:].sum():,} of {len(places) - NAMED:,} more channels"] if len(places) > NAMED else []
    note = f"training values pulled in (data.winsorise={share:g}): {', '.join(said)}"
    return replace(series, values=values, notes=(*series.notes, note))


def quantile_limits(
    values: np.ndarray, observed: np.ndarray | None, rows: list[slice], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of each channel that stay as they are, both (C,) float32.

    They are observed values of ``rows``: at most ``share`` of these lie below the low one, and as many above the high
    one. ``values`` is (rows, C) float32, ``observed`` (rows, C); one channel of them is copied at a time. A channel
    without observed values has no limits: -infinity and infinity. Raises ``InputError`` for a share out of range.
    """
    check_winsorise(share)
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


def clip_rows(
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
