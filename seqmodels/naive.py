"""Naive forecasts, and means and values that skip missing observations."""

import torch
from torch import Tensor

from seqmodels.window import Inputs, Origins


def masked_mean(values: Tensor, observed: Tensor) -> Tensor:
    """Mean over the observed values in time, (B, T, C) -> (B, 1, C); 0 without any."""
    count = observed.sum(dim=1, keepdim=True).clamp(min=1)
    return (values * observed).sum(dim=1, keepdim=True) / count


def last_observed(values: Tensor, observed: Tensor) -> Tensor:
    """The newest observed value at or before each step, (B, T, C); 0 before the first one."""
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None]
    newest = torch.where(observed, steps, 0).cummax(dim=1).values
    return (values * observed).gather(1, newest)


def naive(inputs: Inputs, horizon: int, missing: bool) -> Tensor:
    """The last observed value, repeated: (B, 1, H, C); ``missing`` as in ``WindowSpec``."""
    past = inputs.past_target
    last = (last_observed(past, inputs.past_observed) if missing else past)[:, -1:]
    return last.unsqueeze(2).expand(-1, -1, horizon, -1)


def seasonal_naive(inputs: Inputs, season: int, horizon: int, origins: Origins, missing: bool) -> Tensor:
    """The last season before each origin, repeated: (B, S, H, C); ``missing`` as in ``WindowSpec``.

    A missing value is replaced by the value one season earlier, or two, and so on; if the window holds none, by the
    newest observed value at the origin.
    """
    past, known, device = inputs.past_target, inputs.past_observed, inputs.past_target.device
    newest = filled = past
    if missing:  # looking at the mask itself would wait for the device
        newest = last_observed(past, known)
        filled, known = _fill_from_season_before(past, known, season)
    origin = torch.arange(origins.first, past.shape[1], origins.stride, device=device)[:, None]
    lead = torch.arange(1, horizon + 1, device=device)
    source = origin + lead - season * torch.div(lead + season - 1, season, rounding_mode="floor")  # (S, H)
    inside = source.clamp(min=0)
    usable = (source >= 0)[None, :, :, None] & known[:, inside]
    return torch.where(usable, filled[:, inside], newest[:, origin.expand_as(source)])


def _fill_from_season_before(past: Tensor, observed: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """The past with missing values replaced by those of earlier seasons, and a mask of the values known then."""
    filled, known = past.clone(), observed.clone()
    for start in range(season, past.shape[1], season):
        now = slice(start, min(start + season, past.shape[1]))
        before = slice(start - season, now.stop - season)
        filled[:, now] = torch.where(observed[:, now], past[:, now], filled[:, before])
        known[:, now] |= known[:, before]
    return filled, known


def observed_by(observed: Tensor, origins: Origins) -> Tensor:
    """True if anything was observed up to an origin: (B, T, C) bool -> (B, S, 1, C) bool."""
    return (observed.cumsum(dim=1) > 0)[:, origins.first :: origins.stride].unsqueeze(2)


def first_observed(past: Tensor, observed: Tensor, otherwise: Tensor) -> Tensor:
    """The oldest observed value, (B, T, C) -> (B, 1, C); else ``otherwise`` (B or 1, 1, C).

    Origins before it must not depend on it.
    """
    oldest = last_observed(past.flip(1), observed.flip(1))[:, -1:]
    return torch.where(observed.any(dim=1, keepdim=True), oldest, otherwise)


def nearest_observed(past: Tensor, observed: Tensor, steps: int, otherwise: Tensor) -> Tensor:
    """The newest value observed in the first ``steps`` steps, else the first one after them: (B, 1, C)."""
    newest = last_observed(past[:, :steps], observed[:, :steps])[:, -1:]
    known = observed[:, :steps].any(dim=1, keepdim=True)
    return torch.where(known, newest, first_observed(past, observed, otherwise))


def sequence_lengths(observed: Tensor) -> Tensor:
    """Steps up to the last observed one, (B, T, C) bool -> (B,): where a sequence that is padded on the right ends."""
    steps = torch.arange(1, observed.shape[1] + 1, device=observed.device)
    return (observed.any(dim=2) * steps).amax(dim=1).clamp(min=1)
