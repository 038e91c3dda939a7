"""Leak checks of rows: windows that hold rows of another part, or of another time, than they should."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from seqmodels.leaks.finding import Finding
from seqmodels.leaks.probe import ROUNDING, Change, Probe, changes, columns, rows_of
from seqmodels.report.formatting import format_number, format_time, pluralise
from seqmodels.window import Category, Statistics, Window

STATISTICS = {
    "target_statistics": "past_target",
    "past_statistics": "past_covariates",
    "known_statistics": "known_covariates",
    "static_statistics": "static",
}
INPUTS = ("past_target", "past_observed", "past_covariates", "known_covariates", "static", "seasonal_error")


class Reread(NamedTuple):
    """The data after every row behind the training span has got another value."""

    done: str
    spec: Any
    windows: Window  # of training
    stop: torch.Tensor  # (B,) end of the training span in the series of each window
    middle: torch.Tensor  # (B,) its middle


class Learnt(NamedTuple):
    """Something that training takes from all rows."""

    column: str
    size: float
    sentence: str


def behind_training(probe: Probe) -> Reread:
    """Changes what lies behind the training span, targets and all covariates, and reads again."""
    start, stop = probe.bounds("train")
    rows = np.arange(len(stop)) >= stop
    data = probe.prepared(probe.changed(rows, ahead=True))
    origin = probe.before["train"].origin.numpy()
    done = f"{pluralise(int(rows.sum()), 'row')} behind the training span changed: statistics, training windows"
    ends = (torch.from_numpy(border[origin]) for border in (stop, (start + stop) // 2))
    return Reread(done, data.spec, probe.windows(data, "train"), *ends)


def statistics_and_features(probe: Probe, reread: Reread) -> list[Finding]:
    """Two findings: what is fitted on all rows, and which columns look ahead.

    The first changes the training span from its beginning, the second only the rows near a change. The statistics of
    a column that looks ahead change as well, which is the same leak.
    """
    before, rows, spec = probe.before["train"], rows_of(probe.before["train"]), probe.data.spec
    early, inside = rows < reread.middle[:, None], rows < reread.stop[:, None]
    learnt = [Learnt(one.name, one.size, _fitted(one)) for one in changes(before, reread.windows, spec, early)]
    fitted = {one.column for one in learnt}
    late = list(changes(before, reread.windows, spec, inside, INPUTS))
    ahead = {one.name: (one, "the end of the training span") for one in late if one.name not in fitted}
    looked_at = 0
    for stage in probe.stages[1:]:
        cut, windows, found = later_rows(probe, stage)
        looked_at += windows
        ahead |= {one.name: (one, format_time(cut)) for one in found if one.name not in {*fitted, *ahead}}
    learnt += [one for one in of_spec(spec, reread.spec) if one.column not in ahead]
    done = f"rows after an origin changed, columns known ahead kept: {pluralise(looked_at, 'window')} up to it"
    largest = max((one.size for one, _ in ahead.values()), default=0.0)
    return [
        Finding("statistics", reread.done, max((one.size for one in learnt), default=0.0),
                tuple(one.sentence for one in learnt)),
        Finding("features", done, largest, tuple(_looks_ahead(*one) for one in ahead.values())),
    ]  # fmt: skip


def later_rows(probe: Probe, stage: str) -> tuple[Any, int, list[Change]]:
    """Inputs up to the middle origin of a stage, while rows after it hold other values, in all series at once.

    Returns when that origin was, how many windows were compared, and what changed in them. Rows of the training span
    stay, because what is fitted there may change every window; columns known ahead stay, because they are known.
    """
    clock, rows = _clock(probe), np.arange(len(probe.raw.values))
    start, stop = probe.bounds("train")
    origins = np.sort(clock[probe.before[stage].origin.numpy()])
    cut = origins[(len(origins) - 1) // 2]
    data = probe.prepared(probe.changed((clock > cut) & ((rows < start) | (rows >= stop)), ahead=False))
    found: list[Change] = []
    looked_at = 0
    for other in probe.stages[1:]:
        before = probe.before[other]
        early = torch.from_numpy(clock[before.origin.numpy()] <= cut)
        steps = early[:, None].expand(rows_of(before).shape)
        found += changes(before, probe.windows(data, other), probe.data.spec, steps, INPUTS)
        looked_at += int(early.sum())
    return cut, looked_at, found


def _clock(probe: Probe) -> np.ndarray:
    """When each row was: its time label, or its step since the beginning of its series."""
    if probe.raw.time is not None:
        return np.asarray(probe.raw.time)
    return np.arange(len(probe.raw.values)) - probe.of_series(probe.raw.offsets[:-1])


def of_spec(before: Any, after: Any) -> Iterator[Learnt]:
    """Everything that two specs say of values and in which they differ."""
    for field, old in before._asdict().items():
        new = getattr(after, field)
        if isinstance(old, Statistics):
            yield from _of_statistics(field, old, new, columns(before, STATISTICS[field]))
        elif old != new:
            known = [one.column for one in old if isinstance(one, Category)] if isinstance(old, tuple) else []
            column = ", ".join(known) or field
            yield Learnt(column, 1.0, f"spec.{field} ({column}) changes with rows behind the training span.")


def _of_statistics(field: str, old: Statistics, new: Statistics, names: tuple[str, ...]) -> Iterator[Learnt]:
    for measure in Statistics._fields:
        for name, one, other in zip(names, getattr(old, measure), getattr(new, measure), strict=True):
            size = abs(other - one)
            if size > ROUNDING * abs(one):
                yield Learnt(
                    name,
                    size,
                    f"the {measure} of {name!r} (spec.{field}) changes by {format_number(size)} with rows behind the"
                    " training span; compute it from the rows of the training part of data.split only.",
                )


def _fitted(change: Change) -> str:
    return (
        f"{change.named} changes by {format_number(change.size)} in {pluralise(change.windows, 'training window')} when"
        " only rows behind the training span do: a scaler or a filling is fitted on all rows; fit it on those of the"
        " training part of data.split."
    )


def _looks_ahead(change: Change, cut: str) -> str:
    if change.part == "known_covariates":
        mend = "a value that is known ahead must not come from the target; use lags of at least data.horizon steps."
    else:
        mend = "compute it from its own row and earlier ones."
    return (
        f"{change.named} changes by {format_number(change.size)} in {pluralise(change.windows, 'window')} up to {cut}"
        f" when only rows after {cut} do: it looks ahead; {mend}"
    )


ALL = ("past_target", "target", "past_covariates", "known_covariates")


def borders(probe: Probe, reread: Reread) -> Finding:
    """All of a training window lies before the end of its part, the targets of an evaluation window within its part.

    With ``context`` "inside", so does its past.
    """
    inside, before = probe.data.context == "inside", probe.before["train"]
    outside = rows_of(before) >= reread.stop[:, None]
    found = [("train", one) for one in changes(before, reread.windows, probe.data.spec, outside, ALL)]
    for stage in probe.stages[1:]:
        found += [(stage, one) for one in _from_elsewhere(probe, stage, ("target", "past_target")[: 1 + inside])]
    done = f"rows outside each part of data.split changed: targets {'and past ' if inside else ''}of its windows"
    largest = max((one.size for _, one in found), default=0.0)
    return Finding("borders", done, largest, tuple(_sentence(probe, *pair) for pair in found))


def _from_elsewhere(probe: Probe, stage: str, parts: tuple[str, ...]) -> list[Change]:
    """Values of evaluation windows that come from rows outside of the stage."""
    start, stop = probe.bounds(stage)
    rows = np.arange(len(stop))
    outside = (rows < start) | (rows >= stop)
    data = probe.prepared(probe.changed(outside, ahead=False))
    before = probe.before[stage]
    foreign = torch.from_numpy(outside)[rows_of(before).clamp(min=0)]
    return list(changes(before, probe.windows(data, stage), probe.data.spec, foreign, parts))


def _sentence(probe: Probe, stage: str, change: Change) -> str:
    past = stage != "train" and change.part == "past_target"
    return (
        f"{pluralise(change.windows, f'{stage} window')} of {len(probe.before[stage].origin):,} hold rows of another"
        f" part: {change.named} changes by {format_number(change.size)}; end {stage} windows at the border of"
        f" data.split{', or set data.context=across' if past else ''}."
    )
