"""Bands around forecasts, from the errors on the validation windows: split conformal prediction.

Source: Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005, chapter 4; locally weighted by the
scale of each series as in Lei et al., "Distribution-free predictive inference for regression", 2018, section 5.2. We
take one quantile of the signed errors for each level, so that bands need not be symmetric.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqmodels.errors import InputError
from seqmodels.window import Inputs, Window

LEVELS = tuple(step / 40 for step in range(1, 40))  # 0.025, 0.05 ... 0.975
FEWEST_ERRORS = 20  # fewer say too little of a tail
SMALLEST_UNIT = 0.01  # in seasonal errors, of a distribution so narrow that it would blow up all errors
MOST_VALUES = 2**24  # errors kept for the quantiles; of more windows, evenly spread ones are taken


def centre_and_unit(head: Any, forecast: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Centre (B, H, C) and unit (B, H or 1, C) of the errors of a forecast (B, H, C, P).

    Of a distribution, the median and its own spread, so that bands are wide where the model is not sure; of a point
    forecast, the forecast and the seasonal error of the series.
    """
    error = inputs.seasonal_error[:, None]
    if not head.distribution:
        return head.mean(forecast), error
    return head.quantiles(forecast, [0.5])[..., 0], torch.maximum(head.spread(forecast), SMALLEST_UNIT * error)


class Calibration(NamedTuple):
    """Quantiles of the validation errors by lead and channel, in the units of ``centre_and_unit``."""

    levels: tuple[float, ...]
    offsets: Tensor  # (levels, H, C) float32
    windows: int

    def to_dict(self) -> dict[str, Any]:
        """Tensors and primitives, for a checkpoint."""
        return {"levels": list(self.levels), "offsets": self.offsets, "windows": self.windows}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Calibration":
        """Inverse of ``to_dict``."""
        return cls(tuple(plain["levels"]), plain["offsets"], plain["windows"])

    def quantiles(self, centre: Tensor, unit: Tensor, levels: Sequence[float]) -> Tensor:
        """Quantile forecasts (B, H, C, Q) around ``centre`` (B, H, C), in ``unit`` (B, H or 1, C).

        Raises InputError for a level outside the calibrated range.
        """
        return centre[..., None] + unit[..., None] * self._at(levels).to(centre).permute(1, 2, 0)

    def coverage(self, errors: Tensor, low: float, high: float) -> float:
        """Share of errors (N, H, C), NaN if not observed, that lie between two levels; NaN without any."""
        lower, upper = self._at((low, high))
        known = ~errors.isnan()
        return float(((errors >= lower) & (errors <= upper)).sum() / known.sum())

    def width(self, low: float, high: float, unit: Tensor) -> float:
        """Mean distance of two levels over leads and channels; ``unit`` as in ``ErrorSample``."""
        lower, upper = self._at((low, high))
        return float(((upper - lower) * unit).mean())

    def _at(self, levels: Sequence[float]) -> Tensor:
        """Offsets of these levels, linear between the calibrated ones, (Q, H, C)."""
        lowest, highest = self.levels[0], self.levels[-1]
        for level in levels:
            if not lowest <= level <= highest:
                raise InputError(f"levels holds {level}; a level must lie between {lowest} and {highest}.")
        known, wanted = (self.offsets.new_tensor(list(one)) for one in (self.levels, levels))
        upper = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
        share = ((wanted - known[upper - 1]) / (known[upper] - known[upper - 1])).clamp(0, 1)[:, None, None]
        return torch.lerp(self.offsets[upper - 1], self.offsets[upper], share)


class ErrorSample:
    """Errors of the forecasts on windows that the weights were not fitted to, gathered batch by batch.

    ``windows`` is their number; of very many, evenly spread ones are kept, with at most ``most`` values. ``pooled``:
    True if the errors of all leads of a channel are calibrated together.
    """

    def __init__(self, windows: int, horizon: int, channels: int, most: int = MOST_VALUES, pooled: bool = False):
        self.pooled = pooled
        self.every = max(1, math.ceil(windows * horizon * channels / most))
        self.seen, self.errors = 0, [torch.empty(0, horizon, channels)]
        self.units = torch.zeros((), dtype=torch.float64)  # sum over windows, relative to the seasonal errors
        self.origins, self.series = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, dtype=torch.int64)]

    def add(self, centre: Tensor, unit: Tensor, window: Window) -> None:
        """Add the forecasts from the last origin of a batch, see ``centre_and_unit``."""
        first, self.seen = -self.seen % self.every, self.seen + len(centre)
        kept = slice(first, None, self.every)
        inputs, (target, observed) = window.inputs, window.targets
        self.units = self.units + (unit[kept] / inputs.seasonal_error[kept, None]).double().sum(dim=0).cpu()
        errors = (target[kept] - centre[kept]) / unit[kept]
        self.errors.append(errors.masked_fill(~observed[kept], math.nan).float().cpu())
        self.origins.append(window.origin[kept].cpu())
        self.series.append(inputs.series[kept].cpu())

    @property
    def unit(self) -> Tensor:
        """Mean unit in units of the seasonal error, (H or 1, C)."""
        return self.units / max(1, sum(map(len, self.origins)))

    def calibrate(self) -> Calibration | None:
        """Quantiles of the errors; None unless every lead and channel has ``FEWEST_ERRORS`` of them."""
        errors = torch.cat(self.errors)
        errors = errors.flatten(0, 1).unsqueeze(1) if self.pooled else errors
        counts = (~errors.isnan()).sum(dim=0)
        if int(counts.min()) < FEWEST_ERRORS:
            return None
        ordered = errors.sort(dim=0).values  # NaN last
        offsets = torch.stack([_conformal_quantile(ordered, counts, level) for level in LEVELS])
        return Calibration(LEVELS, offsets, len(errors))


def _conformal_quantile(ordered: Tensor, counts: Tensor, level: float) -> Tensor:
    """The error of rank (n + 1) level, rounded away from the median, of n ordered ones: (N, H, C) -> (H, C).

    A future error lies below it with a probability of at least the level (above the median), if it is exchangeable
    with them.
    """
    rank = (counts + 1) * level
    rank = (rank.ceil() if level >= 0.5 else rank.floor()).long().clamp(min=1).minimum(counts)
    return ordered.gather(0, rank[None] - 1)[0]
