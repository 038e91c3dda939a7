"""Checks that the data have windows, and the rules for series that are too short for one."""

from collections.abc import Mapping, Sequence

import numpy as np

from datamodules.arrays import chunks, release
from datamodules.series import SeriesSet, Span
from datamodules.statistics import merge_ranges
from datamodules.windows.consecutive import LaneIndex
from datamodules.windows.loader import SlidingIndex, WindowIndex
from seqmodels.errors import InputError

SHORT_SERIES_RULES = ("pad", "exclude", "refuse")
ACCEPT_SHORT = "data.short_series=pad or exclude accepts such series."


def check_lengths(series: SeriesSet, rule: str, past_steps: int, horizon: int) -> None:
    """Raise InputError if no series is long enough for a window, or with ``rule="refuse"`` if any is too short."""
    lengths, needed = series.lengths, past_steps + horizon
    if len(lengths) == 0 or lengths.sum() == 0:
        raise InputError(f"{series.source}: there are no rows; at least one series of {needed} steps is needed.")
    worst = int(lengths.argmin() if rule == "refuse" else lengths.argmax())
    if lengths[worst] < needed:
        longest = "" if rule == "refuse" or len(series) == 1 else "the longest series, "
        raise InputError(
            f"{series.source}: {longest}{series.name(worst)}{',' if longest else ''} has {lengths[worst]:,} steps, but"
            f" one window needs {needed:,} (data.past_steps={past_steps} + data.horizon={horizon})"
            + (f"; {ACCEPT_SHORT}" if lengths.max() >= needed else ".")
        )


def check_split_by(series: SeriesSet, by: str) -> None:
    """Raise InputError if whole series are to be divided among the parts, but there is only one."""
    if by == "series" and len(series) == 1:
        raise InputError(
            f"{series.source} holds only one series, but data.split_by=series puts whole series into each part: set"
            " data.split_by=time, or name the column that tells series apart in data.id."
        )


def check_windows(
    series: SeriesSet,
    split: Sequence,
    spans: Mapping[str, Span],
    indexes: Mapping[str, WindowIndex],
    context: str,
    past_steps: int,
    horizon: int,
    excluding: bool = False,
) -> None:
    """Raise InputError unless training and validation have a window, and the test part if it was given rows.

    Where the past must lie within the part, at least one window must be unpadded: padding all of them would hide a
    ``past_steps`` that is too large. ``excluding``: short series were excluded.
    """
    for stage, index in indexes.items():
        rows, inside = spans[stage].rows, stage == "train" or context == "inside"
        if (index.unpadded if inside else len(index)) or (stage == "test" and rows == 0):
            continue
        part = f"the {stage} part of data.split={list(split)}"
        if isinstance(index, LaneIndex):
            raise InputError(
                f"{series.source}: data.lanes is {index.lanes}, and the {rows:,} rows of {part} do not hold a window"
                f" for each lane (data.past_steps={past_steps} + data.horizon={horizon} steps); set fewer lanes."
            )
        needed = past_steps + horizon if inside else horizon
        hint = "" if stage == "train" or context == "across" else ", or data.context=across"
        hint += ", or data.short_series=pad" if excluding and not inside else ""
        most = int(spans[stage].lengths.max())
        longest = series.name(int(spans[stage].lengths.argmax()))
        raise InputError(
            f"{series.source}: {part} has {rows:,} rows and no window; a series needs at least {needed:,} of them there"
            + (f", and the longest, {longest}, has {most:,}" if most and len(series) > 1 else "")
            + f" (set data.past_steps, data.horizon or data.split{hint})."
        )


def check_observed(series: SeriesSet, split: Sequence, spans: Mapping[str, Span]) -> list[str]:
    """Notes on channels without an observed value in the validation or test part, where they have no errors.

    Raises InputError for one without any in the training part, and if the validation part has no observed value.
    """
    notes = []
    for stage, span in spans.items():
        found = observed_channels(series, span)
        absent = [name for name, seen in zip(series.channels, found, strict=True) if not seen]
        part = f"the {stage} part of data.split={list(split)}"
        if absent and (stage == "train" or (stage == "validation" and not found.any())):
            purpose = "learn from" if stage == "train" else "choose the best weights by"
            raise InputError(
                f"{series.source}: {part} has no observed value of {', '.join(absent)} to {purpose}; change data.split"
                " or data.target."
            )
        if absent and span.rows:
            notes.append(f"{part} has no observed value of {', '.join(absent)}, so that its errors are undefined")
    return notes


def observed_channels(series: SeriesSet, span: Span) -> np.ndarray:
    """True for each channel with an observed value in the span: (C,)."""
    found = np.full(len(series.channels), series.observed is None)
    if series.observed is None:
        return found
    for part in merge_ranges(span.start, span.stop):
        for chunk in chunks(part.stop - part.start):
            found |= series.observed[part.start + chunk.start : part.start + chunk.stop].any(axis=0)
            release(series.observed)
            if found.all():
                return found
    return found


def find_short_series(spans: Mapping[str, Span], needed: int) -> np.ndarray:
    """(series,) bool: True if the first part with rows of the series, usually training, has fewer than ``needed``."""
    rows = np.stack([span.lengths for span in spans.values()])
    first = rows[(rows > 0).argmax(axis=0), np.arange(rows.shape[1])]
    return (first > 0) & (first < needed)


def drop_short_series(
    series: SeriesSet, spans: dict[str, Span], short: np.ndarray, rule: str, needed: int, split: Sequence
) -> dict[str, Span]:
    """Empty the spans of ``short`` series if ``rule`` is "exclude"; raise InputError for them if it is "refuse".

    If all series are short, the spans stay as they are: ``check_windows`` reports that.
    """
    if rule == "pad" or not short.any() or short.all():
        return spans
    if rule == "exclude":
        return {stage: Span(span.start, np.where(short, span.start, span.stop)) for stage, span in spans.items()}
    worst = int(short.argmax())
    stage, rows = next((stage, int(span.lengths[worst])) for stage, span in spans.items() if span.lengths[worst])
    raise InputError(
        f"{series.source}: {series.name(worst)} has {rows:,} rows in the {stage} part of data.split={list(split)}, but"
        f" one window needs {needed:,} there; {ACCEPT_SHORT}"
    )


def short_series_notes(
    rule: str, short: np.ndarray, indexes: Mapping[str, WindowIndex], needed: int, split_by: str
) -> list[str]:
    """One line if series are left out, or if the past of windows is padded on the left."""
    part = "" if split_by == "series" else " in the training part"  # most whole series have no rows there
    too_few = f"of {len(short):,} series have too few rows{part} for a window of {needed:,} steps"
    if rule == "exclude":
        return [f"{short.sum():,} {too_few} and are left out"] if short.any() else []
    sliding = {stage: index for stage, index in indexes.items() if isinstance(index, SlidingIndex)}
    padded = {stage: index.padded.numpy() for stage, index in sliding.items() if index.any_padded}
    windowless = short & (sum(index.counts.numpy() for index in sliding.values()) == 0)
    affected = np.logical_or.reduce([windowless, *(windows > 0 for windows in padded.values())])
    if not affected.any():
        return []
    effects = []
    if padded:
        counts = ", ".join(f"{windows.sum():,} {stage}" for stage, windows in padded.items())
        effects.append(f"the past of {counts} windows is padded on the left")
    if windowless.any():
        effects.append(f"{windowless.sum():,} without any window")
    return [f"{affected.sum():,} {too_few}: {'; '.join(effects)}"]


def common_times_note(spans: Mapping[str, Span], split: Sequence) -> str:
    """Line on fractions that cut all series at the same times, with the number of series that a part lacks."""
    lacking = {stage: int((span.lengths == 0).sum()) for stage, span in spans.items() if span.rows}
    of_all = f"of {len(spans['train'].start):,} series"
    parts = ", ".join(f"{count:,} {of_all} without {stage} rows" for stage, count in lacking.items() if count)
    return (
        f"data.split={list(split)} are fractions of all rows, cut at the same times in all series"
        + (f"; {parts}" if parts else "")
        + " (negative numbers count the steps from the end of each series)"
    )
