"""Heads: what a forecast is. A head has no weights; it says how many numbers describe one value, and what they cost."""

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError

LOSSES = ("mse", "mae", "huber")


class Point(nn.Module):
    """One number per predicted value; the loss decides which one: the mean (mse), the median (mae), or between (huber).

    ``delta``, in the scaler's units, is where the Huber loss turns from 0.5 e^2 to delta (|e| - 0.5 delta).
    """

    parameters_per_value = 1  # P

    def __init__(self, loss: str = "huber", delta: float = 1.0):
        super().__init__()
        if loss not in LOSSES:
            raise InputError(f"model.head.loss is {loss!r}; it must be one of {', '.join(LOSSES)}.")
        if delta <= 0:
            raise InputError(f"model.head.delta is {delta}; it must be greater than 0.")
        self.kind, self.delta = loss, delta

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Cost of each value: (B, S, H, C, 1), (B, S, H, C) -> (B, S, H, C); refuses to broadcast."""
        value = parameters.squeeze(-1)
        if value.shape != target.shape:
            raise ValueError(
                f"forecast {tuple(value.shape)} and target {tuple(target.shape)} must have the same shape."
            )
        if self.kind == "mse":
            return torch.square(value - target)
        if self.kind == "mae":
            return torch.abs(value - target)
        return nn.functional.huber_loss(value, target, reduction="none", delta=self.delta)

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters in the scaler's units -> in the data's own; centre and scale broadcast to (B, S, H, C)."""
        return parameters * scale.unsqueeze(-1) + centre.unsqueeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The value to report: (..., P) -> (...)."""
        return parameters[..., 0]
