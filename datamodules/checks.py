"""Refuses data that hold too few rows for the windows that are asked of them, and says how many it takes."""

from collections.abc import Mapping, Sequence

from datamodules.lanes import LaneIndex
from datamodules.series import SeriesSet
from datamodules.split import Span
from datamodules.windows import WindowIndex
from seqmodels.errors import InputError


def check_lengths(series: SeriesSet, rule: str, past_steps: int, horizon: int) -> None:
    """Raise InputError where no series is long enough for a window; with ``rule="refuse"``, where any is not."""
    lengths, needed = series.lengths, past_steps + horizon
    if len(lengths) == 0 or lengths.sum() == 0:
        raise InputError(f"{series.source}: there are no rows; at least one series of {needed} steps is needed.")
    worst = int(lengths.argmin() if rule == "refuse" else lengths.argmax())
    if lengths[worst] < needed:
        longest = "" if rule == "refuse" or len(series) == 1 else "the longest series, "
        raise InputError(
            f"{series.source}: {longest}{series.name(worst)}{',' if longest else ''} has {lengths[worst]:,} steps, but"
            f" one window needs {needed:,} (data.past_steps={past_steps} + data.horizon={horizon})"
            + ("; data.short_series=pad or exclude takes such series." if lengths.max() >= needed else ".")
        )


def check_split_by(series: SeriesSet, by: str) -> None:
    """Raise InputError where whole series shall go to one part each, but there is only one."""
    if by == "series" and len(series) == 1:
        raise InputError(
            f"{series.source} holds only one series, but data.split_by=series puts whole series into each part: set"
            " data.split_by=time, or name the column that tells series apart in data.id."
        )


def check_windows(
    series: SeriesSet,
    split: Sequence,
    spans: Mapping[str, Span],
    indexes: Mapping[str, WindowIndex | LaneIndex],
    context: str,
    past_steps: int,
    horizon: int,
    excluding: bool = False,
) -> None:
    """Raise InputError unless training and validation have a window, and the test part, if it was given rows.

    Where the past must lie within the part, one window must be whole: to pad all of them would hide that
    ``past_steps`` is too large. ``excluding``: whether series were left out as short.
    """
    for stage, index in indexes.items():
        rows, inside = spans[stage].rows, stage == "train" or context == "inside"
        if (index.whole if inside else len(index)) or (stage == "test" and rows == 0):
            continue
        part = f"the {stage} part of data.split={list(split)}"
        if isinstance(index, LaneIndex):
            raise InputError(
                f"{series.source}: data.lanes is {index.lanes}, and the {rows:,} rows of {part} do not hold a window"
                f" for each lane (data.past_steps={past_steps} + data.horizon={horizon} steps); set fewer."
            )
        needed = past_steps + horizon if inside else horizon
        hint = "" if stage == "train" or context == "across" else ", or data.context=across"
        hint += ", or data.short_series=pad" if excluding and not inside else ""
        raise InputError(
            f"{series.source}: {part} has {rows:,} rows and no window; a series needs at least {needed:,} of them"
            f" there{_longest(series, spans[stage])} (set data.past_steps, data.horizon or data.split{hint})."
        )


def _longest(series: SeriesSet, span: Span) -> str:
    """Which one of several series has the most rows in this part, empty where none has any."""
    longest = int(span.lengths.argmax())
    rows = int(span.lengths[longest])
    return f", and the longest, {series.name(longest)}, has {rows:,}" if rows and len(series) > 1 else ""
