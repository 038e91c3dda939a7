"""What a window's own past offers to a scaler where a series begins within the window, or begins with a gap."""

import torch
from torch import Tensor

from seqmodels.references import last_observed
from seqmodels.window import Origins


def begun(observed: Tensor, origins: Origins) -> Tensor:
    """Whether anything was observed up to each origin: (B, T, C) bool -> (B, S, 1, C) bool."""
    return (observed.cumsum(dim=1) > 0)[:, origins.first :: origins.stride].unsqueeze(2)


def first_observed(past: Tensor, observed: Tensor, otherwise: Tensor) -> Tensor:
    """The oldest observed value, (B, T, C) -> (B, 1, C); ``otherwise`` (C,) where there is none.

    No origin before it may depend on it.
    """
    oldest = last_observed(past.flip(1), observed.flip(1))[:, -1:]
    return torch.where(observed.any(dim=1, keepdim=True), oldest, otherwise)


def nearest_observed(past: Tensor, observed: Tensor, steps: int, otherwise: Tensor) -> Tensor:
    """The newest value observed in the first ``steps`` steps, else the first one after them: (B, 1, C)."""
    newest = last_observed(past[:, :steps], observed[:, :steps])[:, -1:]
    known = observed[:, :steps].any(dim=1, keepdim=True)
    return torch.where(known, newest, first_observed(past, observed, otherwise))
