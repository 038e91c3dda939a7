"""Where training ends and evaluation begins: a split setting becomes row spans of every series."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.series import SeriesSet
from seqmodels.errors import InputError

STAGES = ("train", "validation", "test")


class Span(NamedTuple):
    """Rows ``start[i]:stop[i]`` of every series i belong to this stage; empty where start equals stop."""

    start: np.ndarray  # (series,) int64
    stop: np.ndarray  # (series,) int64

    @property
    def rows(self) -> int:
        return int((self.stop - self.start).sum())


def split_spans(series: SeriesSet, split: Sequence[int | float | str], by: str) -> dict[str, Span]:
    """Spans of the stages train, validation and test (the last one empty where ``split`` has two parts).

    ``split`` is one of: fractions of each series, or of the series (``by="series"``), that sum to at most 1;
    counts of steps, or of series; dates or integer times: [validation start, test start], or
    [start, validation start, test start, end] with the end excluded.

    Raises InputError where the setting is none of these, or asks for more than there is.
    """
    if by not in ("time", "series"):
        raise InputError(f"data.split_by is {by!r}; it must be 'time' or 'series'.")
    if any(isinstance(part, str) for part in split):
        return _by_time_label(series, split, by)
    split = _check_numbers(split)
    if by == "series":
        return _by_series(series, split)
    cuts = np.stack([_cuts(split, int(length), "steps", series.name(i)) for i, length in enumerate(series.lengths)])
    return _spans(series.offsets[:-1, None] + cuts)


def _check_numbers(split: Sequence[int | float | str]) -> list[int | float]:
    numbers = [part for part in split if isinstance(part, int | float) and not isinstance(part, bool) and part >= 0]
    if len(numbers) not in (2, 3) or len(numbers) != len(split):
        raise InputError(
            f"data.split is {list(split)}; it must be 2 or 3 fractions, 2 or 3 counts, 2 dates"
            " [validation start, test start] or 4 dates [start, validation start, test start, end]."
        )
    if numbers[0] == 0:
        raise InputError(f"data.split is {list(split)}; the first part, the training part, must be greater than 0.")
    return numbers


def _cuts(split: list[int | float], total: int, unit: str, place: str) -> np.ndarray:
    """Fractions or counts -> the four borders 0 ... within ``total`` steps or series."""
    fractions = any(isinstance(part, float) for part in split) or sum(split) <= 1
    parts = [part * total for part in split] if fractions else list(split)
    borders = np.floor(np.cumsum([0.0, *parts]) + 1e-6).astype(np.int64)
    if borders[-1] > total:
        rule = "fractions must sum to at most 1" if fractions else f"counts must sum to at most {total:,}"
        raise InputError(f"data.split is {list(split)}, but {place} has {total:,} {unit}: {rule}.")
    return borders if len(borders) == 4 else np.append(borders, borders[-1])


def _by_series(series: SeriesSet, split: list[int | float]) -> dict[str, Span]:
    borders = _cuts(split, len(series), "series", series.source)
    begin, end = series.offsets[:-1], series.offsets[1:]
    numbers = np.arange(len(series))
    spans = {}
    for stage, low, high in zip(STAGES, borders[:-1], borders[1:], strict=True):
        chosen = (numbers >= low) & (numbers < high)
        spans[stage] = Span(begin.copy(), np.where(chosen, end, begin))
    return spans


def _by_time_label(series: SeriesSet, split: Sequence, by: str) -> dict[str, Span]:
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
    borders = np.stack([_rows(series, i, labels) for i in range(len(series))])
    return _spans(borders)


def _label(part: int | float | str, series: SeriesSet) -> np.datetime64 | int:
    assert series.time is not None
    try:
        return np.datetime64(str(part), "us") if series.time.dtype.kind == "M" else int(part)
    except ValueError:
        raise InputError(
            f"data.split holds {part!r}; the time column needs dates like 2019-01-31 or 2019-01-31T06:00."
        ) from None


def _rows(series: SeriesSet, index: int, labels: list) -> np.ndarray:
    """The four border rows of one series, by binary search in its ascending times."""
    assert series.time is not None
    begin, end = series.offsets[index], series.offsets[index + 1]
    found = begin + np.searchsorted(series.time[begin:end], np.array(labels, dtype=series.time.dtype))
    return found if len(labels) == 4 else np.concatenate([[begin], found, [end]])


def _spans(borders: np.ndarray) -> dict[str, Span]:
    """Border rows (series, 4) -> spans."""
    return {stage: Span(borders[:, i], borders[:, i + 1]) for i, stage in enumerate(STAGES)}
