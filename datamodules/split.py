"""Splits into training, validation and test rows, by fractions, counts or times, with folds for cross-validation."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.frequency import Frequency, infer_frequency
from datamodules.series import STAGES, SeriesSet, Span
from datamodules.timezones import local_to_utc
from seqmodels.errors import InputError

Split = Sequence[int | float | str]


def split_spans(series: SeriesSet, split: Split, by: str, fold: int = 0, min_rows: int = 1) -> dict[str, Span]:
    """Split the series into the stages train, validation and test; returns the span of each stage.

    ``split`` has one of these forms, where a split into two parts has an empty test part:

    - fractions that sum to at most 1: of the rows, cut at the same times in all series that share a clock (see
      ``share_clock``), else of each series, or of the number of series with ``by="series"``;
    - counts of steps of each series, or of series;
    - negative counts from the end: with [-96, -48], validation begins 96 steps before the end of each series and the
      test part 48 steps before it; [-48] has no test part;
    - dates or integer times [validation start, test start], or [start, validation start, test start, end], where the
      end is excluded.

    ``fold`` is for rolling-origin cross-validation with a growing training part: fold k moves all borders but the first
    back by k times the length of the test part, or of the validation part if there is no test part. Borders given as
    times move together in all series, by the longest part of any series. Rows after the last border are not used.

    Raises InputError if the setting is none of these, asks for more than there is, or leaves no series of the fold with
    ``min_rows`` training rows.
    """
    if by not in ("time", "series"):
        raise InputError(f"data.split_by is {by!r}; it must be 'time' or 'series'.")
    if fold and by == "series":
        raise InputError(f"data.fold is {fold}, but data.split_by is 'series': only borders in time can be moved.")
    if any(isinstance(part, str) for part in split):
        return _to_spans(_shift_times(series, _time_borders(series, split, by), split, fold, min_rows))
    split = _check_numbers(split)
    if by == "series":
        return _split_by_series(series, split)
    borders = series.offsets[:-1, None] + _borders(split, series.lengths, "steps", series.name)
    if are_fractions(split) and share_clock(series):
        return _to_spans(_shift_times(series, _common_borders(series, split), split, fold, min_rows))
    return _to_spans(_shift_rows(borders, split, fold, min_rows))


def are_fractions(split: Split) -> bool:
    """True if the parts of a split are fractions."""
    numbers = [part for part in split if not isinstance(part, str)]
    fractions = any(isinstance(part, float) for part in numbers) or 0 <= sum(numbers) <= 1
    return fractions and len(numbers) == len(split)


def share_clock(series: SeriesSet) -> bool:
    """True if the series lie at different places of one time axis, so that their ends are at different times.

    Dates always are such an axis. Integers are not if all series begin at the same one, or each after the end of the
    one before: they count the steps of a series, or the rows of the table.
    """
    filled = np.flatnonzero(series.lengths)
    if series.time is None or len(filled) < 2:
        return False
    first, last = series.time[series.offsets[filled]], series.time[series.offsets[filled + 1] - 1]
    together = bool((first == first[0]).all())
    if series.time.dtype.kind != "M" and (together or counts_rows(series)):
        return False
    return not together or bool((last != last[0]).any())


def counts_rows(series: SeriesSet) -> bool:
    """True if the times are integers, and each series begins after the end of the one before."""
    if series.time is None or series.time.dtype.kind == "M":
        return False
    filled = np.flatnonzero(series.lengths)
    first, last = series.time[series.offsets[filled]], series.time[series.offsets[filled + 1] - 1]
    return bool((first[1:] > last[:-1]).all())


class Overlap(NamedTuple):
    """Rows of a part that lie at or after the first time of a later part, in another series; times are local."""

    early: str
    late: str
    series: int  # number of series with such rows
    first: np.datetime64 | np.int64  # first time of the later part
    dates: tuple[np.datetime64 | np.int64, ...]  # validation and test start that would avoid it, if there is a test


def find_overlap(series: SeriesSet, spans: Mapping[str, Span], by: str) -> Overlap | None:
    """The worst overlap of the parts in time: of training with test, then with validation, then of these two.

    None if there is none, if the times of different series cannot be compared, or if whole series are divided.
    """
    if series.time is None or by == "series" or len(series) < 2 or counts_rows(series):
        return None
    used = {stage: np.flatnonzero(span.lengths) for stage, span in spans.items()}
    for early, late in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if len(used[early]) and len(used[late]):
            starts = spans[late].start[used[late]]
            first = int(starts[series.time[starts].argmin()])
            count = int((series.time[spans[early].stop[used[early]] - 1] >= series.time[first]).sum())
            if count:
                begins = _common_starts(series, spans) if len(used["test"]) else []
                time, *dates = series.local_time(np.array([first, *begins]))
                return Overlap(early, late, count, time, tuple(dates))
    return None


def _common_starts(series: SeriesSet, spans: Mapping[str, Span]) -> list[int]:
    """First row of validation and test if the parts had as many rows as now, but did not overlap."""
    assert series.time is not None
    counts = spans["train"].rows, spans["train"].rows + spans["validation"].rows
    found = []
    for count in counts:
        rows = _search_border(series, count)
        rows = rows[rows < series.offsets[1:]]
        found.append(int(rows[series.time[rows].argmin()]))
    return found


def _common_borders(series: SeriesSet, split: list[int | float]) -> np.ndarray:
    """Border rows (series, 4) at the same times in all series; the parts hold these fractions of all rows."""
    counts = np.floor(np.cumsum(split) * series.lengths.sum() + 1e-6).astype(np.int64).tolist()
    rows = [series.offsets[:-1], *(_search_border(series, count) for count in counts)]
    return np.stack([*rows, *rows[-1:] * (4 - len(rows))], axis=1)


def _search_border(series: SeriesSet, count: int) -> np.ndarray:
    """First row (series,) at or after the latest time that at most ``count`` rows of all series lie before."""
    assert series.time is not None
    begin, filled = series.offsets[:-1], series.lengths > 0
    low, high = begin, series.offsets[1:]
    unit = ("us",) if series.time.dtype.kind == "M" else ()
    first = int(series.time[low[filled]].min().astype(np.int64))
    last = int(series.time[high[filled] - 1].max().astype(np.int64)) + 1
    while first <= last:
        middle = (first + last) // 2
        rows = search_rows(series.time, low, high, series.time.dtype.type(middle, *unit))
        if (rows - begin).sum() <= count:
            low, first = rows, middle + 1
        else:
            high, last = rows, middle - 1
    return low


def _check_numbers(split: Split) -> list[int | float]:
    numbers = [part for part in split if isinstance(part, int | float) and not isinstance(part, bool)]
    from_the_end = all(isinstance(part, int) and part < 0 for part in numbers) and numbers == sorted(set(numbers))
    wanted = (1, 2) if from_the_end else (2, 3)
    valid = from_the_end or all(part >= 0 for part in numbers)
    if not valid or len(numbers) not in wanted or len(numbers) != len(split):
        raise InputError(
            f"data.split is {list(split)}; it must be 2 or 3 fractions, 2 or 3 counts, 1 or 2 ascending negative counts"
            " from the end, 2 dates [validation start, test start] or 4 dates [start, validation start, test start,"
            " end]."
        )
    if numbers[0] == 0:
        raise InputError(f"data.split is {list(split)}; the first part, the training part, must be greater than 0.")
    return numbers


def _borders(split: list[int | float], totals: np.ndarray, unit: str, place: Callable[[int], str]) -> np.ndarray:
    """Borders of the stages from fractions or counts of ``totals`` steps or series: (n,) -> (n, 4), beginning at 0."""
    if split[0] < 0:
        ends = np.maximum(0, totals[:, None] + [[*split, 0]])
    else:
        fractions = are_fractions(split)
        parts = np.multiply.outer(totals if fractions else np.ones_like(totals), np.array(split, np.float64))
        ends = np.floor(np.cumsum(parts, axis=1) + 1e-6)
        beyond = np.flatnonzero(ends[:, -1] > totals)
        if len(beyond):
            total = int(totals[beyond[0]])
            rule = "fractions must sum to at most 1" if fractions else f"counts must sum to at most {total:,}"
            raise InputError(
                f"data.split is {list(split)}, but {place(int(beyond[0]))} has {total:,} {unit}: {rule}"
                + (" (negative counts are taken from the end)." if not fractions and unit == "steps" else ".")
            )
    borders = np.pad(ends.astype(np.int64), ((0, 0), (1, 0)))
    return np.pad(borders, ((0, 0), (0, 4 - borders.shape[1])), mode="edge")  # without a test part, it is empty


def _split_by_series(series: SeriesSet, split: list[int | float]) -> dict[str, Span]:
    (borders,) = _borders(split, np.array([len(series)]), "series", lambda _: series.source)
    begin, end = series.offsets[:-1], series.offsets[1:]
    part = np.searchsorted(borders[1:], np.arange(len(series)), side="right")  # of each series
    return {stage: Span(begin, np.where(part == i, end, begin)) for i, stage in enumerate(STAGES)}


def _time_borders(series: SeriesSet, split: Split, by: str) -> np.ndarray:
    """Border rows of each series from dates or integer times, (series, 4)."""
    if series.time is None or by == "series":
        why = "there is no time column (set data.time)" if by == "time" else "data.split_by is 'series'"
        raise InputError(f"data.split is {list(split)}, which are dates, but {why}.")
    if len(split) not in (2, 4):
        raise InputError(
            f"data.split is {list(split)}; dates must be [validation start, test start]"
            " or [start, validation start, test start, end]."
        )
    times = [_parse_time(part, series) for part in split]
    if any(later <= earlier for earlier, later in zip(times, times[1:], strict=False)):
        raise InputError(f"data.split is {list(split)}; the dates must ascend.")
    begin, end = series.offsets[:-1], series.offsets[1:]
    rows = [search_rows(series.time, begin, end, time) for time in times]
    return np.stack(rows if len(rows) == 4 else [begin, *rows, end], axis=1)


def _parse_time(part: int | float | str, series: SeriesSet) -> np.datetime64 | int:
    """Parse a border to the type of the time column; a date is in the time zone of the series."""
    assert series.time is not None
    dates = series.time.dtype.kind == "M"
    try:
        time = np.datetime64(str(part), "us") if dates else int(part)
    except ValueError:
        rule = "dates like 2019-01-31 or 2019-01-31T06:00" if dates else "whole numbers"
        raise InputError(f"data.split holds {part!r}; the time column needs {rule}.") from None
    if not dates or series.zone in ("", "UTC"):
        return time
    (utc,) = local_to_utc(np.array([time]), series.zone)
    if np.isnat(utc):
        raise InputError(
            f"data.split holds {part!r}, which does not exist in {series.zone}, where clocks are set forward; choose"
            " another time."
        )
    return utc


def search_rows(
    time: np.ndarray, begin: np.ndarray, end: np.ndarray, border: np.datetime64 | np.integer | int
) -> np.ndarray:
    """First row at or after ``border`` in each series, (series,): a binary search of all series at once."""
    low, high = begin.copy(), end.copy()
    while len(open_ones := np.flatnonzero(low < high)):
        middle = (low[open_ones] + high[open_ones]) // 2
        earlier = time[middle] < border
        low[open_ones[earlier]] = middle[earlier] + 1
        high[open_ones[~earlier]] = middle[~earlier]
    return low


def _shift_rows(borders: np.ndarray, split: Split, fold: int, min_rows: int) -> np.ndarray:
    """Border rows (series, 4) of a fold; the first border stays, and the others stop there."""
    if not fold:
        return borders
    first, training = borders[:, :1], borders[:, 1] - borders[:, 0]
    length = _fold_lengths(borders)
    moving = (length > 0) & (training >= min_rows)
    last = int(((training[moving] - min_rows) // length[moving]).max()) if moving.any() else fold
    if fold > last:
        raise _fold_error(split, fold, last, min_rows)
    return np.maximum(first, borders - fold * length[:, None])


def _shift_times(series: SeriesSet, borders: np.ndarray, split: Split, fold: int, min_rows: int) -> np.ndarray:
    """Border rows (series, 4) of a fold of borders that are times, moved by the same time in all series.

    Otherwise a series that ends early would train on times at which others are evaluated.
    """
    length = int(_fold_lengths(borders).max(initial=0))
    if not fold or not length:
        return borders
    assert series.time is not None
    begin, end = series.offsets[:-1], series.offsets[1:]
    frequency = infer_frequency(series.time, begin, series.zone)
    if frequency is None:
        raise _fold_error(split, fold, 0, min_rows)
    times = np.array([_border_time(series, rows, frequency) for rows in borders.T[1:]])
    enough = borders[:, 1] - borders[:, 0] >= min_rows
    if enough.any():
        needed = series.time[borders[enough, 0] + min_rows - 1].min()  # last training row of the earliest series
        for back in range(1, fold + 1):
            if frequency.advance(times[:1], np.array([-back * length]))[0] <= needed:
                raise _fold_error(split, fold, back - 1, min_rows)
    shifted = frequency.advance(times, np.full(len(times), -fold * length))
    rows = [search_rows(series.time, begin, end, time) for time in shifted]
    return np.maximum(borders[:, :1], np.stack([borders[:, 0], *rows], axis=1))


def _border_time(series: SeriesSet, rows: np.ndarray, frequency: Frequency) -> np.datetime64 | int:
    """First timestamp of any series at or after the border at row ``rows[i]`` of series i."""
    assert series.time is not None
    end = series.offsets[1:]
    if (rows < end).any():
        return series.time[rows[rows < end]].min()
    last = series.time[end[series.lengths > 0] - 1].max()
    return frequency.advance(np.array([last]), np.array([1]))[0]


def _fold_lengths(borders: np.ndarray) -> np.ndarray:
    """Rows by which one fold moves the borders of each series, (series,) int64."""
    test = borders[:, 3] - borders[:, 2]
    return test if test.any() else borders[:, 2] - borders[:, 1]


def _fold_error(split: Split, fold: int, last: int, min_rows: int) -> InputError:
    return InputError(
        f"data.fold is {fold}, but only {f'folds 0 to {last}' if last else 'fold 0'} of"
        f" data.split={list(split)} leave a series the {min_rows:,} training rows that one window needs."
    )


def _to_spans(borders: np.ndarray) -> dict[str, Span]:
    return {stage: Span(borders[:, i], borders[:, i + 1]) for i, stage in enumerate(STAGES)}
