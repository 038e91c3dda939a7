"""Whether windows hold rows of another part of the data than theirs; it knows a ``Probe`` and what was read again."""

import numpy as np
import torch

from seqmodels.leaks.finding import Finding
from seqmodels.leaks.probe import Change, Probe, changes, rows_of
from seqmodels.leaks.rows import Reread
from seqmodels.wording import counted, number

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
        f"{counted(change.windows, f'{stage} window')} of {len(probe.before[stage].origin):,} hold rows of another"
        f" part: {change.named} changes by {number(change.size)}; end {stage} windows at the border of data.split"
        f"{', or set data.context=across' if past else ''}."
    )
