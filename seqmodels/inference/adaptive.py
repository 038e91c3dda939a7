"""Bands that adapt to the errors as they become known, for forecasts that are made one after the other.

Three ways to follow the errors, each with one quantile for each level, so that bands need not be symmetric. Every
lead and channel of a series is on its own, but for the last of the three. An error of lead h counts from h steps after
its origin on, and the longer it takes until an error is known, the smaller are the steps: a correction whose effect is
not seen yet must not be made over and over.

Sources: Gibbs and Candès, "Adaptive conformal inference under distribution shift", 2021; Angelopoulos, Candès and
Tibshirani, "Conformal PID control for time series prediction", 2023; Wang and Hyndman, "Online conformal inference for
multi-step time series forecasting", 2024.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqmodels.inference.calibration import SMALLEST_UNIT, Calibration

KEPT = 30  # errors at least; fewer follow a change sooner, more know the tails better
MOST_KEPT = 200  # up to there, twice as many as the longest delay, as errors within it tell much the same
REACH = 2.0  # a level 0.1 beyond that of the largest error widens the band by 0.1 REACH of the range of the errors
TURN = (math.sqrt(5) - 1) / 2  # the errors to begin with are replaced in an order that leaves the others spread evenly
MOST_PENDING = 0.5  # the most that a level may move before an effect of it is known
SATURATION = 2 / math.pi * (1 - 1 / math.log(1000))  # of the integrated misses, for coverage 1 % off by 1,000 errors
STEEPEST = 1.4  # where the tangent is 5.8, in mean absolute errors; the published one ends at infinity
FORGETTING = 0.01  # weight of the newest errors in their mean and covariance
RIDGE = 0.1  # added to each variance, as there may be more leads than vectors of errors
RECENT = ("pending", "issued", "origins")  # what a series keeps of its last origins


class AdaptiveBands:
    """Quantiles of the next errors, in the units of the ``calibration``, from those known at each origin.

    This is adaptive conformal inference: the empirical quantiles of the newest errors, at levels that move until the
    share of errors below each is the one that was asked for. They begin with the ``calibration``, of which quantiles
    stand for errors. ``stride``: steps between origins. Memory does not grow with the number of origins.
    """

    step = 0.02  # of a level after each error

    def __init__(self, calibration: Calibration, levels: Sequence[float], stride: int):
        horizon, channels = calibration.offsets.shape[1:]
        nothing, unit = torch.zeros(1, horizon, channels), torch.ones(1, 1, channels)
        self.wanted, self.places = torch.tensor(list(levels)).unique(return_inverse=True)
        self.leads = torch.arange(horizon)
        self.delay = torch.div(self.leads + stride, stride, rounding_mode="floor")  # origins until an error is known
        self.steps = (MOST_PENDING / self.delay).clamp(max=self.step)[:, None, None]
        depth, shape = int(self.delay.max()), (horizon, channels)
        self.kept = max(KEPT, min(2 * depth, MOST_KEPT))
        order = (torch.arange(self.kept) * TURN % 1).argsort().argsort()
        lowest, highest = calibration.levels[0], calibration.levels[-1]
        spread = ((order + 1) / (self.kept + 1)).double().clamp(lowest, highest)
        self.fresh = {  # of one series
            "errors": calibration.quantiles(
                nothing, unit, spread.tolist()
            ),  # (1, H, C, kept), the newest ones that are known
            "replaced": torch.zeros(1, *shape, dtype=torch.int64),
            "pending": torch.full((1, depth, *shape), torch.nan),  # errors of the last origins, NaN where not observed
            "issued": torch.zeros(1, depth, *shape, len(self.wanted)),  # offsets of the last origins
            "origins": torch.zeros(1, dtype=torch.int64),
            **self.begin(calibration.quantiles(nothing, unit, sorted(set(levels)))),
        }
        self.series, self.memory = torch.empty(0, dtype=torch.int64), self.fresh

    def begin(self, offsets: Tensor) -> dict[str, Tensor]:
        """State of a series beside its errors, from its first offsets (1, H, C, Q)."""
        return {"levels": self.wanted.expand(offsets.shape)}

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
        memory = {name: one.repeat(len(series), *[1] * (one.ndim - 1)) for name, one in self.fresh.items()}
        same, before = (series[:, None] == self.series).nonzero(as_tuple=True)
        for name, new in memory.items():
            new[same] = self.memory[name][before]
        self.series, self.memory = series, memory

    def _advance(self, place: Tensor, errors: Tensor) -> Tensor:
        """Learn the errors that are known at the next origin of each series, and give its offsets."""
        pending, issued, origins = (self.memory[name] for name in RECENT)
        memory = {name: one[place] for name, one in self.memory.items() if name not in RECENT}
        slot = (origins[place, None] - self.delay) % pending.shape[1]
        error, given = pending[place[:, None], slot, self.leads], issued[place[:, None], slot, self.leads]
        known, now = ~error.isnan(), origins[place] % pending.shape[1]
        self._keep(memory, error, known)
        missed = (self.wanted - (error[..., None] <= given).float()) * known[..., None]
        whole = pending[place, now]  # of the newest origin all of whose errors are known
        offsets = self.follow(memory, missed, known, whole).sort(dim=-1).values
        pending[place, now], issued[place, now] = errors.float(), offsets
        origins[place] += 1
        for name, one in memory.items():
            self.memory[name][place] = one
        return offsets

    def _keep(self, memory: dict[str, Tensor], error: Tensor, known: Tensor) -> None:
        """Replace the oldest kept errors."""
        kept, replaced = memory["errors"], memory["replaced"]
        at = (replaced % self.kept)[..., None]
        kept.scatter_(-1, at, torch.where(known[..., None], error[..., None], kept.gather(-1, at)))
        replaced += known

    def follow(self, memory: dict[str, Tensor], missed: Tensor, known: Tensor, whole: Tensor) -> Tensor:
        """The next offsets (B, H, C, Q), to be sorted; what is kept in ``memory`` is changed.

        The state is sorted too: a miss belongs to the offset that was issued at its place.

        ``missed`` (B, H, C, Q): the level, less 1 where the newly ``known`` (B, H, C) error was below its quantile.
        ``whole`` (B, H, C): all errors of one origin.
        """
        memory["levels"] = (memory["levels"] + self.steps * missed).sort(dim=-1).values
        return quantiles_beyond(memory["errors"], memory["levels"])


class TrackedBands(AdaptiveBands):
    """Conformal PID control without its D: quantiles that move by a share of the range of the newest errors.

    A function of the sum of all misses is added, so that the share of errors below each converges.
    """

    def begin(self, offsets: Tensor) -> dict[str, Tensor]:
        return {"tracked": offsets, "sums": torch.zeros_like(offsets)}

    def follow(self, memory: dict[str, Tensor], missed: Tensor, known: Tensor, whole: Tensor) -> Tensor:
        newest, count = memory["errors"], memory["replaced"][..., None].clamp(min=1)
        low, high = newest.aminmax(dim=-1, keepdim=True)
        memory["tracked"] = (memory["tracked"] + self.steps * (high - low) * missed).sort(dim=-1).values
        memory["sums"] += missed
        angle = (memory["sums"] * count.log() / count / SATURATION).clamp(-STEEPEST, STEEPEST)
        return memory["tracked"] + newest.abs().mean(dim=-1, keepdim=True) * angle.tan()


class AutocorrelatedBands(TrackedBands):
    """AcMCP: these quantiles around the expected error of each lead, given the errors expected of the leads before.

    The errors of lead h of a good forecast follow a moving average of order h - 1, whose forecast h steps ahead is its
    mean. The expected error is half this mean and half the linear regression on the expected errors of the leads
    before; the coefficients of all leads follow from one Cholesky factor of the covariance of the errors of an origin.
    Means and covariance forget, so that memory stays constant; both are published for a window of errors.
    """

    def begin(self, offsets: Tensor) -> dict[str, Tensor]:
        centre = offsets[..., [len(self.wanted) // 2]]
        spread = ((offsets[..., -1:] - offsets[..., :1]) / 4).clamp(min=1e-6)
        scatter = torch.diag_embed(spread[..., 0].mT.square())  # (1, C, H, H)
        kept = {"mean": centre[..., 0], "centre": centre[..., 0], "scatter": scatter}
        return {**super().begin(offsets - centre), **kept}

    def follow(self, memory: dict[str, Tensor], missed: Tensor, known: Tensor, whole: Tensor) -> Tensor:
        at = memory["replaced"][..., None].sub(1) % self.kept
        newest = memory["errors"].gather(-1, at)[..., 0]
        memory["mean"] += FORGETTING * torch.where(known, newest - memory["mean"], 0.0)
        change = torch.where(whole.isnan().any(dim=1, keepdim=True), 0.0, whole - memory["centre"])
        forgetting = torch.where(change.any(dim=1)[..., None, None], FORGETTING, 0.0)
        memory["centre"] += FORGETTING * change
        product = change.mT[..., None] * change.mT[..., None, :]
        memory["scatter"] += forgetting * ((1 - forgetting) * product - memory["scatter"])
        expected = expected_errors(memory["mean"], memory["centre"], memory["scatter"])
        return super().follow(memory, missed, known, whole) + expected[..., None]


def expected_errors(mean: Tensor, centre: Tensor, scatter: Tensor) -> Tensor:
    """Expected errors (B, H, C), from recent means of each lead, and mean and covariance (B, C, H, H) of past origins.

    With the factor L, expected errors less their mean are L z; of lead h, half of (L z) without its last term is the
    regression, and the other half stems from the recent mean.
    """
    more = RIDGE * scatter.diagonal(dim1=-2, dim2=-1) + SMALLEST_UNIT**2
    factor = torch.linalg.cholesky_ex(scatter + torch.diag_embed(more)).L  # NaN of forecasts that are not finite
    recent = (mean - centre).mT[..., None] / 2  # (B, C, H, 1)
    recent[..., 0, :] *= 2  # nothing lies before the first lead
    halved = factor.tril(-1) / 2 + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1))
    return centre + (factor @ torch.linalg.solve_triangular(halved, recent, upper=False))[..., 0].mT


def quantiles_beyond(errors: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (..., Q) of errors (..., W); extreme ``levels`` (..., Q) lie beyond all of them."""
    ordered = errors.sort(dim=-1).values
    count = ordered.shape[-1]
    inside = levels.clamp(1 / (count + 1), count / (count + 1))
    rank = (count + 1) * inside - 1
    below = rank.long().clamp(0, count - 2)
    low, high = ordered.gather(-1, below), ordered.gather(-1, below + 1)
    beyond = REACH * (ordered[..., -1:] - ordered[..., :1]) * (levels - inside)
    return torch.lerp(low, high, rank - below) + beyond


METHODS = {"aci": AdaptiveBands, "pid": TrackedBands, "acmcp": AutocorrelatedBands}
