"""Heads: what a forecast is. A head has no weights; it says how many numbers describe one value, and what they cost."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError

LOSSES = ("mse", "mae", "huber", "log_cosh", "mape")
SAMPLE_WEIGHTS = ("equal", "size")


class Point(nn.Module):
    """One number per predicted value; the loss decides which one: the mean (mse), the median (mae), or between.

    ``huber``: 0.5 e^2 up to ``delta`` (in the scaler's units), then delta (|e| - 0.5 delta). ``log_cosh``: log cosh e,
    a smooth Huber. ``mape``: |e| / |truth|, where a truth nearer to 0 than ``floor`` scaled units counts as that.

    ``lead_weights``: H numbers, how much each lead counts (null: all alike). ``sample_weights``: "equal", a window
    counts the same whatever its size, or "size": in proportion to the scaler's unit, as if the loss were in the data's
    own units.
    """

    parameters_per_value = 1  # P

    def __init__(
        self,
        loss: str = "huber",
        delta: float = 1.0,
        floor: float = 0.1,
        lead_weights: Sequence[float] | None = None,
        sample_weights: str = "equal",
    ):
        super().__init__()
        for name, value, choices in (("loss", loss, LOSSES), ("sample_weights", sample_weights, SAMPLE_WEIGHTS)):
            if value not in choices:
                raise InputError(f"model.head.{name} is {value!r}; it must be one of {', '.join(choices)}.")
        for name, number in (("delta", delta), ("floor", floor)):
            if not number > 0:
                raise InputError(f"model.head.{name} is {number}; it must be greater than 0.")
        if lead_weights is not None and not (min(lead_weights, default=-1) >= 0 < sum(lead_weights)):
            raise InputError(
                f"model.head.lead_weights is {list(lead_weights)}; it must hold one number of at least 0 for each lead,"
                " not all of them 0."
            )
        self.kind, self.delta, self.floor = loss, delta, floor
        self.lead_weights = None if lead_weights is None else list(lead_weights)
        self.sample_weights = sample_weights

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        """Cost of each value: (B, S, H, C, 1), (B, S, H, C) -> (B, S, H, C); refuses to broadcast.

        ``magnitude``: size of the truth in the scaler's units, for mape.
        """
        value = parameters.squeeze(-1)
        if value.shape != target.shape:
            raise ValueError(
                f"forecast {tuple(value.shape)} and target {tuple(target.shape)} must have the same shape."
            )
        if self.kind == "mse":
            return torch.square(value - target)
        if self.kind == "mae":
            return torch.abs(value - target)
        if self.kind == "log_cosh":
            error = torch.abs(value - target)  # log cosh e = |e| + log(1 + exp(-2 |e|)) - log 2 does not overflow
            return error + nn.functional.softplus(-2 * error) - math.log(2.0)
        if self.kind == "mape":
            if magnitude is None:
                raise ValueError("mape needs the magnitude of the truth.")
            return torch.abs(value - target) / magnitude.clamp(min=self.floor)
        return nn.functional.huber_loss(value, target, reduction="none", delta=self.delta)

    @property
    def relative(self) -> bool:
        """Whether ``loss`` needs the magnitude of the truth."""
        return self.kind == "mape"

    def expect(self, leads: int) -> None:
        """Raise InputError unless there is a weight for each lead that is trained."""
        if self.lead_weights is not None and len(self.lead_weights) != leads:
            raise InputError(
                f"model.head.lead_weights holds {len(self.lead_weights)} numbers; it must hold one for each of the"
                f" {leads} leads that are trained."
            )

    def weigh(self, cost: Tensor, unit: Tensor, deviation: Tensor) -> Tensor:
        """Weights for leads (of mean 1) and windows: (B, S, H, C) -> (B, S, H, C).

        ``unit`` (B or 1, 1, 1, C) is the scaler's, measured in ``deviation`` (C,), that of the training span.
        """
        if self.lead_weights is not None:
            weights = cost.new_tensor(self.lead_weights)
            cost = cost * (weights / weights.mean())[:, None]
        return cost * (unit / deviation) if self.sample_weights == "size" else cost

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters in the scaler's units -> in the data's own; centre and scale broadcast to (B, S, H, C)."""
        return parameters * scale.unsqueeze(-1) + centre.unsqueeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The value to report: (..., P) -> (...)."""
        return parameters[..., 0]
