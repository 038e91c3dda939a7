"""Series that are too short for one whole window: which ones they are, and what becomes of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from datamodules.series import SeriesSet
from datamodules.split import Span
from datamodules.windows import Index, WindowIndex
from seqmodels.errors import InputError

RULES = ("pad", "exclude", "refuse")


def short_ones(spans: Mapping[str, Span], needed: int) -> np.ndarray:
    """(series,) bool: series whose first part with rows in it, usually the training part, has fewer than ``needed``."""
    rows = np.stack([span.lengths for span in spans.values()])
    first = rows[(rows > 0).argmax(axis=0), np.arange(rows.shape[1])]
    return (first > 0) & (first < needed)


def remaining(
    series: SeriesSet, spans: dict[str, Span], short: np.ndarray, rule: str, needed: int, split: Sequence
) -> dict[str, Span]:
    """The spans to use: all of them to "pad", none of the ``short`` series to "exclude".

    Where all series are short, nothing is left out: that has a message of its own. Raises InputError for the first
    short one to "refuse".
    """
    if rule == "pad" or not short.any() or short.all():
        return spans
    if rule == "exclude":
        return {stage: Span(span.start, np.where(short, span.start, span.stop)) for stage, span in spans.items()}
    worst = int(short.argmax())
    stage, rows = next((stage, int(span.lengths[worst])) for stage, span in spans.items() if span.lengths[worst])
    raise InputError(
        f"{series.source}: {series.name(worst)} has {rows:,} rows in the {stage} part of data.split={list(split)}, but"
        f" one window needs {needed:,} there; data.short_series=pad or exclude takes such series."
    )


def short_series_notes(
    rule: str, short: np.ndarray, indexes: Mapping[str, Index], needed: int, split_by: str
) -> list[str]:
    """One line if series are left out, or if the past of windows is padded on the left."""
    part = "" if split_by == "series" else " in the training part"  # of whole series most have no rows there
    too_few = f"of {len(short):,} series have too few rows{part} for a window of {needed:,} steps"
    if rule == "exclude":
        left_out = f"{short.sum():,} {too_few}"
        return [f"{left_out} and are left out"] if short.any() else []
    found = {stage: index for stage, index in indexes.items() if isinstance(index, WindowIndex)}
    padded = {stage: index.padded.numpy() for stage, index in found.items() if index.any_padded}
    none = short & (sum(index.counts.numpy() for index in found.values()) == 0)
    affected = np.logical_or.reduce([none, *(windows > 0 for windows in padded.values())])
    if not affected.any():
        return []
    said = [f"{none.sum():,} without any window"] if none.any() else []
    if padded:
        counts = ", ".join(f"{windows.sum():,} {stage}" for stage, windows in padded.items())
        said = [f"the past of {counts} windows is padded on the left", *said]
    return [f"{affected.sum():,} {too_few}: {'; '.join(said)}"]
