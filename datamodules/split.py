"""Where training ends and evaluation begins: a split setting becomes row spans of every series."""

from collections.abc import Callable, Sequence

import numpy as np

from datamodules.frequency import Frequency, infer_frequency
from datamodules.series import STAGES, SeriesSet, Span
from seqmodels.errors import InputError


def split_spans(
    series: SeriesSet, split: Sequence[int | float | str], by: str, fold: int = 0, least: int = 1
) -> dict[str, Span]:
    """Spans of the stages train, validation and test (the last one empty where ``split`` has two parts).

    ``split`` is one of: fractions of each series, or of the series (``by="series"``), that sum to at most 1;
    counts of steps, or of series; counts from the end, [-96, -48]: validation begins 96 steps before the end of each
    series and the test part 48 before it, or [-48] without a test part; dates or integer times: [validation start,
    test start], or [start, validation start, test start, end] with the end excluded.

    ``fold`` k moves all borders but the first back by k times the rows of the test part of each series (of the
    validation part where there is no test part): rolling-origin cross-validation with a growing training span. Dates
    and integer times are the same for all series, so they move by the most rows that a series has there. Rows behind
    the last border are not used.

    Raises InputError where the setting is none of these, asks for more than there is, or where a fold leaves no series
    ``least`` training rows.
    """
    if by not in ("time", "series"):
        raise InputError(f"data.split_by is {by!r}; it must be 'time' or 'series'.")
    if fold and by == "series":
        raise InputError(f"data.fold is {fold}, but data.split_by is 'series': only borders in time can move back.")
    if any(isinstance(part, str) for part in split):
        return _spans(_moved_in_time(series, _by_time_label(series, split, by), split, fold, least))
    split = _check_numbers(split)
    if by == "series":
        return _by_series(series, split)
    cuts = _cuts(split, series.lengths, "steps", series.name)
    return _spans(_moved_back(series.offsets[:-1, None] + cuts, split, fold, least))


def _check_numbers(split: Sequence[int | float | str]) -> list[int | float]:
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


def _cuts(split: list[int | float], totals: np.ndarray, unit: str, place: Callable[[int], str]) -> np.ndarray:
    """Fractions or counts -> for each of the ``totals`` steps or series the four borders from 0 on: (totals, 4)."""
    totals = totals[:, None]
    if split[0] < 0:
        borders = np.maximum(0, totals + [[*split, 0]])
        return _four(np.concatenate([np.zeros_like(totals), borders], axis=1))
    fractions = any(isinstance(part, float) for part in split) or sum(split) <= 1
    parts = [part * (totals if fractions else np.ones_like(totals)) for part in split]
    sums = np.cumsum(np.concatenate([np.zeros(totals.shape), *parts], axis=1), axis=1)
    borders = np.floor(sums + 1e-6).astype(np.int64)
    beyond = np.flatnonzero(borders[:, -1] > totals[:, 0])
    if len(beyond):
        total = int(totals[beyond[0], 0])
        rule = "fractions must sum to at most 1" if fractions else f"counts must sum to at most {total:,}"
        raise InputError(
            f"data.split is {list(split)}, but {place(int(beyond[0]))} has {total:,} {unit}: {rule}"
            + (" (negative counts are taken from the end)." if not fractions and unit == "steps" else ".")
        )
    return _four(borders)


def _four(borders: np.ndarray) -> np.ndarray:
    """Borders of two or three parts -> of three, the last one empty."""
    return borders if borders.shape[1] == 4 else np.concatenate([borders, borders[:, -1:]], axis=1)


def _by_series(series: SeriesSet, split: list[int | float]) -> dict[str, Span]:
    (borders,) = _cuts(split, np.array([len(series)]), "series", lambda _: series.source)
    begin, end = series.offsets[:-1], series.offsets[1:]
    numbers = np.arange(len(series))
    spans = {}
    for stage, low, high in zip(STAGES, borders[:-1], borders[1:], strict=True):
        chosen = (numbers >= low) & (numbers < high)
        spans[stage] = Span(begin.copy(), np.where(chosen, end, begin))
    return spans


def _by_time_label(series: SeriesSet, split: Sequence, by: str) -> np.ndarray:
    """Dates or integer times -> border rows of each series, (series, 4)."""
    if series.time is None or by == "series":
        why = "there is no time column (set data.time)" if by == "time" else "data.split_by is 'series'"
        raise InputError(f"data.split is {list(split)}, which are dates, but {why}.")
    if len(split) not in (2, 4):
        raise InputError(
            f"data.split is {list(split)}; dates must be [validation start, test start]"
            " or [start, validation start, test start, end]."
        )
    labels = [_label(part, series) for part in split]
    if any(later <= earlier for earlier, later in zip(labels, labels[1:], strict=False)):
        raise InputError(f"data.split is {list(split)}; the dates must ascend.")
    begin, end = series.offsets[:-1], series.offsets[1:]
    rows = [_first_at(series.time, begin, end, label) for label in labels]
    return np.stack(rows if len(rows) == 4 else [begin, *rows, end], axis=1)


def _label(part: int | float | str, series: SeriesSet) -> np.datetime64 | int:
    """A border as the time column holds it; a date is one of the clock in the time zone of the series."""
    assert series.time is not None
    dates = series.time.dtype.kind == "M"
    try:
        label = np.datetime64(str(part), "us") if dates else int(part)
    except ValueError:
        rule = "dates like 2019-01-31 or 2019-01-31T06:00" if dates else "whole numbers"
        raise InputError(f"data.split holds {part!r}; the time column needs {rule}.") from None
    if not dates or series.zone in ("", "UTC"):
        return label
    from datamodules.timezones import local_to_utc  # it loads polars, which whoever has a time zone has loaded

    (found,) = local_to_utc(np.array([label]), series.zone)
    if np.isnat(found):
        raise InputError(f"data.split holds {part!r}, a time that clocks in {series.zone} jump over; name another one.")
    return found


def _first_at(time: np.ndarray, begin: np.ndarray, end: np.ndarray, label: np.datetime64 | int) -> np.ndarray:
    """In each series the first row at or after ``label``: one binary search for all of them side by side."""
    low, high = begin.copy(), end.copy()
    while len(open_ones := np.flatnonzero(low < high)):
        middle = (low[open_ones] + high[open_ones]) // 2
        earlier = time[middle] < label
        low[open_ones[earlier]] = middle[earlier] + 1
        high[open_ones[~earlier]] = middle[~earlier]
    return low


def _moved_back(borders: np.ndarray, split: Sequence[int | float | str], fold: int, least: int) -> np.ndarray:
    """Border rows (series, 4) of a fold; the first border stays, and none moves beyond it."""
    if not fold:
        return borders
    first, training = borders[:, :1], borders[:, 1] - borders[:, 0]
    length = _moving_rows(borders)
    moving = (length > 0) & (training >= least)
    fitting = int(((training[moving] - least) // length[moving]).max()) if moving.any() else fold
    if fold > fitting:
        raise _too_far_back(split, fold, fitting, least)
    return np.maximum(first, borders - fold * length[:, None])


def _moved_in_time(series: SeriesSet, borders: np.ndarray, split: Sequence, fold: int, least: int) -> np.ndarray:
    """The same where borders are times: a series that ends early must not train on times others are evaluated on."""
    length = int(_moving_rows(borders).max(initial=0))
    if not fold or not length:
        return borders
    assert series.time is not None
    begin, end = series.offsets[:-1], series.offsets[1:]
    frequency = infer_frequency(series.time, begin, series.zone)
    if frequency is None:
        raise _too_far_back(split, fold, 0, least)
    stamps = np.array([_stamp(series, rows, frequency) for rows in borders.T[1:]])
    enough = borders[:, 1] - borders[:, 0] >= least
    if enough.any():
        needed = series.time[borders[enough, 0] + least - 1].min()  # with it the first series has its training rows
        for back in range(1, fold + 1):
            if frequency.advance(stamps[:1], np.array([-back * length]))[0] <= needed:
                raise _too_far_back(split, fold, back - 1, least)
    labels = frequency.advance(stamps, np.full(len(stamps), -fold * length))
    rows = [_first_at(series.time, begin, end, label) for label in labels]
    return np.maximum(borders[:, :1], np.stack([borders[:, 0], *rows], axis=1))


def _stamp(series: SeriesSet, rows: np.ndarray, frequency: Frequency) -> np.datetime64 | int:
    """The first timestamp at or after a border, which is row ``rows[i]`` of series i; a date may lie between."""
    assert series.time is not None
    end = series.offsets[1:]
    if (rows < end).any():
        return series.time[rows[rows < end]].min()
    last = series.time[end[series.lengths > 0] - 1].max()
    return frequency.advance(np.array([last]), np.array([1]))[0]


def _moving_rows(borders: np.ndarray) -> np.ndarray:
    """Rows by which one fold moves each series back, (series,) int64."""
    test = borders[:, 3] - borders[:, 2]
    return test if test.any() else borders[:, 2] - borders[:, 1]


def _too_far_back(split: Sequence[int | float | str], fold: int, fitting: int, least: int) -> InputError:
    return InputError(
        f"data.fold is {fold}, but only {f'folds 0 to {fitting}' if fitting else 'fold 0'} of"
        f" data.split={list(split)} leave a series the {least:,} training rows that one window needs."
    )


def _spans(borders: np.ndarray) -> dict[str, Span]:
    """Border rows (series, 4) -> spans."""
    return {stage: Span(borders[:, i], borders[:, i + 1]) for i, stage in enumerate(STAGES)}
