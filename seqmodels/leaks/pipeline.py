"""Leak checks of the data pipeline, by perturbed rows: fitted statistics, features that look ahead, split borders."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from seqmodels.leaks.finding import Finding
from seqmodels.leaks.perturbation import (
    SUM_ROUNDING,
    Perturber,
    WindowDifference,
    column_names,
    compare_windows,
    window_rows,
)
from seqmodels.report.output import format_number, format_time, pluralise
from seqmodels.report.summary import overlap_warning
from seqmodels.window import Category, Statistics, Window, WindowSpec

STATISTICS = {
    "target_statistics": "past_target",
    "past_statistics": "past_covariates",
    "known_statistics": "known_covariates",
    "static_statistics": "static",
    "label_statistics": "label",
}
INPUTS = ("past_target", "past_observed", "past_covariates", "known_covariates", "static", "seasonal_error")
VALUES = ("past_target", "target", "past_covariates", "known_covariates")


class FittedLeak(NamedTuple):
    """Something fitted on rows behind the training span."""

    column: str
    size: float
    sentence: str


def perturb_behind_training(perturber: Perturber) -> tuple[WindowSpec, Window]:
    """Spec and training windows after targets and all covariates behind the training span were perturbed."""
    stop = perturber.stage_bounds("train")[1]
    data = perturber.perturb(np.arange(len(stop)) >= stop, known_ahead=True)
    return data.spec, perturber.sample_windows(data, "train")


def check_statistics_and_features(perturber: Perturber, after: Window, new_spec: WindowSpec) -> list[Finding]:
    """Two findings: statistics fitted on all rows, and columns that look ahead.

    ``after`` and ``new_spec``: see ``perturb_behind_training``.

    Statistics fitted on all rows change even the first half of the training span, a column that looks ahead only values
    near a perturbed row. The change of its statistics is not reported as a second leak.
    """
    before, spec = perturber.windows["train"], perturber.data.spec
    start, stop = perturber.stage_bounds("train")
    borders = (torch.from_numpy(border[before.origin.numpy()]) for border in ((start + stop) // 2, stop))
    early, inside = (window_rows(before) < border[:, None] for border in borders)
    learnt = [
        FittedLeak(one.name, one.size, _fitted_sentence(one)) for one in compare_windows(before, after, spec, early)
    ]
    fitted = {one.column for one in learnt}
    late = list(compare_windows(before, after, spec, inside, INPUTS))
    ahead = {one.name: (one, "the end of the training span") for one in late if one.name not in fitted}
    compared = 0
    for stage in perturber.stages[1:]:
        cut, windows, found = perturb_after_origin(perturber, stage)
        compared += windows
        ahead |= {one.name: (one, format_time(cut)) for one in found if one.name not in {*fitted, *ahead}}
    learnt += [one for one in compare_specs(spec, new_spec) if one.column not in ahead]
    behind = pluralise(int((np.arange(len(stop)) >= stop).sum()), "row")
    done = f"rows after an origin changed, columns known ahead kept: {pluralise(compared, 'window')} up to it"
    largest_fit = max((one.size for one in learnt), default=0.0)
    largest_ahead = max((one.size for one, _ in ahead.values()), default=0.0)
    return [
        Finding("statistics", f"{behind} behind the training span changed: statistics, training windows", largest_fit,
                tuple(one.sentence for one in learnt)),
        Finding("features", done, largest_ahead, tuple(_ahead_sentence(*one) for one in ahead.values())),
    ]  # fmt: skip


def perturb_after_origin(perturber: Perturber, stage: str) -> tuple[Any, int, list[WindowDifference]]:
    """Perturb rows after the middle origin of a stage, in all series, and compare the inputs up to it.

    Return the time of that origin, the number of windows compared, and the differences. Rows of the training span keep
    their values, since statistics fitted there may change every window; so do columns known ahead.
    """
    time, rows = _row_times(perturber), np.arange(len(perturber.raw.values))
    start, stop = perturber.stage_bounds("train")
    origins = np.sort(time[perturber.windows[stage].origin.numpy()])
    cut = origins[(len(origins) - 1) // 2]
    data = perturber.perturb((time > cut) & ((rows < start) | (rows >= stop)), known_ahead=False)
    found: list[WindowDifference] = []
    compared = 0
    for other in perturber.stages[1:]:
        before = perturber.windows[other]
        early = torch.from_numpy(time[before.origin.numpy()] <= cut)
        steps = early[:, None].expand(window_rows(before).shape)
        found += compare_windows(before, perturber.sample_windows(data, other), perturber.data.spec, steps, INPUTS)
        compared += int(early.sum())
    return cut, compared, found


def _row_times(perturber: Perturber) -> np.ndarray:
    """Timestamp of each row, or its step from the beginning of its series."""
    if perturber.raw.time is not None:
        return np.asarray(perturber.raw.time)
    return np.arange(len(perturber.raw.values)) - perturber.per_row(perturber.raw.offsets[:-1])


def compare_specs(before: WindowSpec, after: WindowSpec) -> Iterator[FittedLeak]:
    """Differences between two specs of the same settings."""
    for field, old in before._asdict().items():
        new = getattr(after, field)
        if field == "levels":  # how values are held, which tells nothing about them
            continue
        if isinstance(old, Statistics):
            yield from _compare_statistics(field, old, new, column_names(before, STATISTICS[field]))
        elif old != new:
            known = [one.column for one in old if isinstance(one, Category)] if isinstance(old, tuple) else []
            column = ", ".join(known) or field
            yield FittedLeak(column, 1.0, f"spec.{field} ({column}) changes with rows behind the training span.")


def _compare_statistics(field: str, old: Statistics, new: Statistics, names: tuple[str, ...]) -> Iterator[FittedLeak]:
    measures = {"mean": (old.raw_mean, new.raw_mean), "deviation": (old.deviation, new.deviation)}
    for measure, both in measures.items():
        for name, one, other in zip(names, *both, strict=True):
            size = abs(other - one)
            if size > SUM_ROUNDING * abs(one):
                sentence = (
                    f"the {measure} of {name!r} (spec.{field}) changes by {format_number(size)} with rows behind the"
                    " training span; compute it from the training part of data.split only."
                )
                yield FittedLeak(name, size, sentence)


def _fitted_sentence(found: WindowDifference) -> str:
    return (
        f"{found} changes by {format_number(found.size)} in {pluralise(found.windows, 'training window')} when only"
        " rows behind the training span do: a scaler or an imputation is fitted on all rows; fit it on the training"
        " part of data.split."
    )


def _ahead_sentence(found: WindowDifference, cut: str) -> str:
    if found.part == "known_covariates":
        remedy = "a column known ahead must not come from the target; use lags of at least data.horizon steps."
    else:
        remedy = "compute it from its own row and earlier ones."
    return (
        f"{found} changes by {format_number(found.size)} in {pluralise(found.windows, 'window')} up to {cut} when only"
        f" rows after {cut} do: it looks ahead; {remedy}"
    )


def check_borders(perturber: Perturber, after: Window) -> Finding:
    """Training windows end before the end of their part, and targets of evaluation windows lie within theirs.

    With ``context`` "inside", so does their past. Parts that overlap in time are a warning. ``after``: see
    ``perturb_behind_training``.
    """
    inside, before = perturber.data.context == "inside", perturber.windows["train"]
    stop = torch.from_numpy(perturber.stage_bounds("train")[1][before.origin.numpy()])
    differences = compare_windows(before, after, perturber.data.spec, window_rows(before) >= stop[:, None], VALUES)
    found = [("train", one) for one in differences]
    for stage in perturber.stages[1:]:
        found += [(stage, one) for one in _compare_outside(perturber, stage, ("target", "past_target")[: 1 + inside])]
    done = f"rows outside each part of data.split changed: targets {'and past ' if inside else ''}of its windows"
    largest = max((one.size for _, one in found), default=0.0)
    overlap = overlap_warning(perturber.data)
    leaks = tuple(_border_sentence(perturber, *pair) for pair in found)
    return Finding("borders", done, largest, leaks, (overlap,) if overlap else ())


def _compare_outside(perturber: Perturber, stage: str, parts: tuple[str, ...]) -> Iterator[WindowDifference]:
    """Values of evaluation windows that come from rows outside of their stage."""
    start, stop = perturber.stage_bounds(stage)
    rows = np.arange(len(stop))
    outside = (rows < start) | (rows >= stop)
    data = perturber.perturb(outside, known_ahead=False)
    before = perturber.windows[stage]
    counted = torch.from_numpy(outside)[window_rows(before).clamp(min=0)]
    return compare_windows(before, perturber.sample_windows(data, stage), perturber.data.spec, counted, parts)


def _border_sentence(perturber: Perturber, stage: str, found: WindowDifference) -> str:
    past = stage != "train" and found.part == "past_target"
    return (
        f"{pluralise(found.windows, f'{stage} window')} of {len(perturber.windows[stage].origin):,} hold rows of"
        f" another part: {found} changes by {format_number(found.size)}; end {stage} windows at the border of"
        f" data.split{', or set data.context=across' if past else ''}."
    )
