"""Bands that adapt to the errors as they become known, for forecasts that are made one after the other.

Adaptive conformal inference: the empirical quantiles of the newest errors, at levels that move until the share of
errors below each is the one that was asked for. Every level, lead and channel of a series is on its own.

Source: Gibbs and Candès, "Adaptive conformal inference under distribution shift", 2021, with one level for each end of
a band. As in Wang and Hyndman, "Online conformal inference for multi-step time series forecasting", 2024, an error
of lead h counts from h steps after its origin on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqmodels.inference.calibration import Calibration

KEPT = 30  # errors; fewer follow a change sooner, more know the tails better
STEP_SIZE = 0.02  # of a level after each error
REACH = 2.0  # a level 0.1 beyond that of the largest error widens the band by 0.1 REACH of the range of the errors
TURN = 19  # the errors to begin with are replaced in steps of so many, so that those left are spread evenly


class Memory(NamedTuple):
    """What is kept of each series; D is the largest delay in origins, W the number of errors."""

    errors: Tensor  # (B, H, C, W), the newest ones that are known
    replaced: Tensor  # (B, H, C) int64
    levels: Tensor  # (B, H, C, Q)
    pending: Tensor  # (B, D, H, C), errors of the last origins, NaN where not observed
    issued: Tensor  # (B, D, H, C, Q), offsets of the last origins
    origins: Tensor  # (B,) int64


class AdaptiveBands:
    """Quantiles of the next errors, in the units of the ``calibration``, from those known at each origin.

    They begin with the ``calibration``, of which quantiles stand for errors. ``stride``: steps between origins.
    """

    def __init__(self, calibration: Calibration, levels: Sequence[float], stride: int):
        horizon, channels = calibration.offsets.shape[1:]
        nothing, unit = torch.zeros(1, horizon, channels), torch.ones(1, 1, channels)
        spread = [(TURN * place % KEPT + 1) / (KEPT + 1) for place in range(KEPT)]
        self.wanted, self.places = torch.tensor(list(levels)).unique(return_inverse=True)
        self.leads = torch.arange(horizon)
        self.delay = torch.div(self.leads + stride, stride, rounding_mode="floor")  # origins until an error is known
        depth, shape = int(self.delay.max()), (horizon, channels)
        self.fresh = Memory(
            calibration.quantiles(nothing, unit, spread),
            torch.zeros(1, *shape, dtype=torch.int64),
            self.wanted.expand(1, *shape, -1),
            torch.full((1, depth, *shape), torch.nan),
            torch.zeros(1, depth, *shape, len(self.wanted)),
            torch.zeros(1, dtype=torch.int64),
        )
        self.series, self.memory = torch.empty(0, dtype=torch.int64), self.fresh

    @torch.no_grad()
    def offsets(self, series: Tensor, errors: Tensor) -> Tensor:
        """Offsets (B, H, C, Q) of windows that follow one another in each series, from errors (B, H, C).

        Of the errors, NaN where not observed, no offset sees more than was known at its own origin. A series goes on
        where the batch before ended with it, and begins anew if it was not in it.
        """
        found, place, counts = series.unique(return_inverse=True, return_counts=True)
        self._continue(found)
        order = place.argsort(stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        offsets = torch.empty(*errors.shape, len(self.wanted))
        for turn in range(int(counts.max())):
            chosen = (rank == turn).nonzero()[:, 0]
            offsets[chosen] = self._advance(place[chosen], errors[chosen])
        return offsets[..., self.places]

    def _continue(self, series: Tensor) -> None:
        """Memory of these series, in this order: that of the batch before, or a fresh one."""
        memory = Memory(*(one.repeat(len(series), *[1] * (one.ndim - 1)) for one in self.fresh))
        same, before = (series[:, None] == self.series).nonzero(as_tuple=True)
        for new, old in zip(memory, self.memory, strict=True):
            new[same] = old[before]
        self.series, self.memory = series, memory

    def _advance(self, place: Tensor, errors: Tensor) -> Tensor:
        """Learn the errors that are known at the next origin of each series, and give its offsets."""
        memory, leads = self.memory, self.leads
        rows, depth = place[:, None], memory.pending.shape[1]
        slot = (memory.origins[place, None] - self.delay) % depth
        error, issued = memory.pending[rows, slot, leads], memory.issued[rows, slot, leads]
        known = ~error.isnan()
        missed = self.wanted - (error[..., None] <= issued).float()
        levels = memory.levels[place] + STEP_SIZE * missed * known[..., None]
        newest, replaced = memory.errors[place], memory.replaced[place]
        at = (replaced % newest.shape[-1])[..., None]
        newest.scatter_(-1, at, torch.where(known[..., None], error[..., None], newest.gather(-1, at)))
        offsets = quantiles_beyond(newest, levels)
        memory.errors[place], memory.replaced[place], memory.levels[place] = newest, replaced + known, levels
        now = memory.origins[place] % depth
        memory.pending[place, now], memory.issued[place, now] = errors.float(), offsets
        memory.origins[place] += 1
        return offsets


def quantiles_beyond(errors: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (..., Q), ascending, of errors (..., W); extreme ``levels`` (..., Q) lie beyond all of them."""
    ordered = errors.sort(dim=-1).values
    count = ordered.shape[-1]
    inside = levels.clamp(1 / (count + 1), count / (count + 1))
    rank = (count + 1) * inside - 1
    below = rank.long().clamp(0, count - 2)
    low, high = ordered.gather(-1, below), ordered.gather(-1, below + 1)
    beyond = REACH * (ordered[..., -1:] - ordered[..., :1]) * (levels - inside)
    return (torch.lerp(low, high, rank - below) + beyond).sort(dim=-1).values
