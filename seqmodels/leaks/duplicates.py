"""Windows that stand in two parts of the data: the same series under two names, or rows that were copied."""

import numpy as np
import torch

from seqmodels.leaks.finding import Finding
from seqmodels.leaks.probe import Probe
from seqmodels.report.formatting import format_time, pluralise
from seqmodels.window import Window

MOVES = 8  # changes of value from step to step that a window needs, so that two of them are not equal by chance


def twins(probe: Probe) -> Finding:
    """Evaluation windows whose values, past and future, also stand in an earlier part at another place."""
    spec = probe.data.spec
    if spec.past_steps + spec.horizon <= MOVES:
        return Finding("twins", f"windows of {spec.past_steps + spec.horizon} steps are alike by chance")
    keys = {stage: fingerprints(window) for stage, window in probe.before.items()}
    warnings, most, stages = [], 0, probe.stages
    for i, late in enumerate(stages):
        for early in stages[:i]:
            pairs = equal_windows(probe.before[early], probe.before[late], keys[early], keys[late])
            most = max(most, len(pairs))
            if len(pairs):
                warnings.append(_sentence(probe, early, late, pairs))
    looked_at = " and ".join(f"{len(keys[stage]):,} {stage}" for stage in stages)
    done = f"{looked_at} windows compared, value for value: how many stand in two parts"
    return Finding("twins", done, float(most), warnings=tuple(warnings))


def fingerprints(window: Window) -> np.ndarray:
    """A number for each window, (B,) int64: the same for the same values, 0 for a window with hardly any change."""
    values = torch.cat([window.inputs.past_target, window.targets.target], dim=1).contiguous()
    bits = values.view(torch.int32).flatten(1).long()
    factors = torch.randint(2**62, bits.shape[1:], generator=torch.Generator().manual_seed(0)) | 1
    moves = (values[:, 1:] != values[:, :-1]).any(dim=2).sum(dim=1)
    return ((bits * factors).sum(dim=1) * (moves >= MOVES)).numpy()  # products wrap around, always in the same way


def equal_windows(early: Window, late: Window, early_keys: np.ndarray, late_keys: np.ndarray) -> np.ndarray:
    """Pairs of window numbers (pairs, 2) with equal values at different places; one for each window of ``late``."""
    order = np.argsort(early_keys, kind="stable")
    at = np.searchsorted(early_keys[order], late_keys).clip(max=len(order) - 1)
    number = order[at]
    elsewhere = early.origin.numpy()[number] != late.origin.numpy()
    equal = (early_keys[number] == late_keys) & (late_keys != 0) & elsewhere
    return np.stack([number[equal], np.flatnonzero(equal)], axis=1)


def _sentence(probe: Probe, early: str, late: str, pairs: np.ndarray) -> str:
    first, second = (_place(probe, stage, number) for stage, number in zip((early, late), pairs[0], strict=True))
    return (
        f"{pluralise(len(pairs), f'{late} window')} of {len(probe.before[late].origin):,} also stand in {early}, value"
        f" for value: {second} is {first}; errors of what was seen before say little, so keep one copy (data.id)."
    )


def _place(probe: Probe, stage: str, number: int) -> str:
    window, series = probe.before[stage], probe.data.series
    index, origin = int(window.inputs.series[number]), int(window.origin[number])
    when = series.time[origin] if series.time is not None else origin - series.offsets[index]
    return f"that of {series.name(index)} up to {format_time(when)}"
