"""Leak check of windows that occur in two parts: the same series under two names, or copied rows."""

import numpy as np
import torch

from seqmodels.leaks.finding import Finding
from seqmodels.leaks.perturbation import Perturber
from seqmodels.report.output import format_time, pluralise
from seqmodels.window import Window

LEAST_MOVES = 8  # changes of value from step to step; windows with fewer may be equal by chance


def check_duplicate_windows(perturber: Perturber) -> Finding:
    """Evaluation windows whose values, past and future, also occur in an earlier part at another place."""
    spec, windows, stages = perturber.data.spec, perturber.windows, perturber.stages
    if spec.past_steps + spec.horizon <= LEAST_MOVES:
        return Finding("duplicates", f"windows of {spec.past_steps + spec.horizon} steps may be equal by chance")
    hashes = {stage: hash_windows(window) for stage, window in windows.items()}
    warnings, most = [], 0
    for i, late in enumerate(stages):
        for early in stages[:i]:
            pairs = find_equal_windows(windows[early], windows[late], hashes[early], hashes[late])
            most = max(most, len(pairs))
            if len(pairs):
                warnings.append(_duplicate_sentence(perturber, early, late, pairs))
    compared = " and ".join(f"{len(hashes[stage]):,} {stage}" for stage in stages)
    done = f"{compared} windows compared, value for value: number that occur in two parts"
    return Finding("duplicates", done, float(most), warnings=tuple(warnings))


def hash_windows(window: Window) -> np.ndarray:
    """Hash of the values of each window, (B,) int64; 0 for a window with hardly any change."""
    values = torch.cat([window.inputs.past_target, window.targets.target], dim=1).contiguous()
    level = window.inputs.level.contiguous().view(torch.int64)
    bits = torch.cat([values.view(torch.int32).flatten(1).long(), level], dim=1)
    factors = torch.randint(2**62, bits.shape[1:], generator=torch.Generator().manual_seed(0)) | 1
    moves = (values[:, 1:] != values[:, :-1]).any(dim=2).sum(dim=1)
    return ((bits * factors).sum(dim=1) * (moves >= LEAST_MOVES)).numpy()  # products wrap around, which is well defined


def find_equal_windows(early: Window, late: Window, early_hashes: np.ndarray, late_hashes: np.ndarray) -> np.ndarray:
    """Pairs of indices (pairs, 2) of equal windows at different places, at most one for each window of ``late``."""
    order = np.argsort(early_hashes, kind="stable")
    match = order[np.searchsorted(early_hashes[order], late_hashes).clip(max=len(order) - 1)]
    elsewhere = early.origin.numpy()[match] != late.origin.numpy()
    equal = (early_hashes[match] == late_hashes) & (late_hashes != 0) & elsewhere
    return np.stack([match[equal], np.flatnonzero(equal)], axis=1)


def _duplicate_sentence(perturber: Perturber, early: str, late: str, pairs: np.ndarray) -> str:
    first, second = (
        _describe_window(perturber, stage, index) for stage, index in zip((early, late), pairs[0], strict=True)
    )
    total = len(perturber.windows[late].origin)
    return (
        f"{pluralise(len(pairs), f'{late} window')} of {total:,} also occur in {early}, value for value: {second}"
        f" equals {first}; errors on values seen in training say little, so keep one copy (data.id)."
    )


def _describe_window(perturber: Perturber, stage: str, index: int) -> str:
    window, series = perturber.windows[stage], perturber.data.series
    owner, origin = int(window.inputs.series[index]), int(window.origin[index])
    time = series.time[origin] if series.time is not None else origin - series.offsets[owner]
    return f"that of {series.name(owner)} up to {format_time(time)}"
