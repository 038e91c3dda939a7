"""Forecasts that need no learning: the yardsticks of every table, and the centre of a seasonal scaler."""

import torch
from torch import Tensor

from seqmodels.window import Inputs, Origins


def masked_mean(values: Tensor, observed: Tensor) -> Tensor:
    """Mean over time of what was observed, (B, T, C) -> (B, 1, C); 0 where nothing was."""
    count = observed.sum(dim=1, keepdim=True).clamp(min=1)
    return (values * observed).sum(dim=1, keepdim=True) / count


def last_observed(values: Tensor, observed: Tensor) -> Tensor:
    """The newest observed value at or before each step, (B, T, C) -> (B, T, C); 0 before the first one."""
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None]
    newest = torch.where(observed, steps, 0).cummax(dim=1).values
    return (values * observed).gather(1, newest)


def naive(inputs: Inputs, horizon: int, missing: bool) -> Tensor:
    """The last observed value, repeated: (B, 1, H, C); ``missing`` as in ``WindowSpec``."""
    past = inputs.past_target
    last = (last_observed(past, inputs.past_observed) if missing else past)[:, -1:]
    return last.unsqueeze(2).expand(-1, -1, horizon, -1)


def seasonal_naive(inputs: Inputs, season: int, horizon: int, origins: Origins, missing: bool) -> Tensor:
    """For each origin the last season, repeated: (B, S, H, C); ``missing`` as in ``WindowSpec``.

    A missing value is replaced by the same phase one season earlier, and so on; where the window holds no
    such value, by the newest observed value at the origin.
    """
    past, known, device = inputs.past_target, inputs.past_observed, inputs.past_target.device
    newest = filled = past
    if missing:  # asking the mask itself would wait for the device
        newest = last_observed(past, known)
        filled, known = _fill_in_phase(past, known, season)
    origin = torch.arange(origins.first, past.shape[1], origins.stride, device=device)[:, None]
    lead = torch.arange(1, horizon + 1, device=device)
    source = origin + lead - season * torch.div(lead + season - 1, season, rounding_mode="floor")  # (S, H)
    inside = source.clamp(min=0)
    usable = (source >= 0)[None, :, :, None] & known[:, inside]
    return torch.where(usable, filled[:, inside], newest[:, origin.expand_as(source)])


def _fill_in_phase(past: Tensor, observed: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """Each value, or where it is missing the newest one of the same phase; and where there is any."""
    filled, known = past.clone(), observed.clone()
    for start in range(season, past.shape[1], season):
        now = slice(start, min(start + season, past.shape[1]))
        before = slice(start - season, now.stop - season)
        filled[:, now] = torch.where(observed[:, now], past[:, now], filled[:, before])
        known[:, now] |= known[:, before]
    return filled, known
