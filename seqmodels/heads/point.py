"""Point forecasts: one number per predicted value, without a distribution."""

import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Generator, Tensor, nn

from seqmodels.errors import InputError, require_choice
from seqmodels.heads.base import Head

LOSSES = ("mse", "mae", "huber", "log_cosh", "mape")


class Point(Head):
    """One number per predicted value; the loss decides which one: the mean (mse), the median (mae), or between.

    ``huber``: 0.5 e^2 up to ``delta`` (in the scaler's units), then delta (|e| - 0.5 delta). ``log_cosh``: log cosh e,
    a smooth Huber. ``mape``: |e| / |truth|, where a truth nearer to 0 than ``floor`` scaled units counts as that.

    ``lead_weights`` and ``sample_weights``: see ``Head``.
    """

    parameters_per_value = 1  # P
    distribution = False
    values_only = True

    def __init__(
        self,
        loss: str = "huber",
        delta: float = 1.0,
        floor: float = 0.1,
        lead_weights: Sequence[float] | None = None,
        sample_weights: str = "equal",
    ):
        require_choice(LOSSES, "model.head", loss=loss)
        for name, number in (("delta", delta), ("floor", floor)):
            if not number > 0:
                raise InputError(f"model.head.{name} is {number}; it must be greater than 0.")
        super().__init__(lead_weights, sample_weights)
        self.kind, self.delta, self.floor = loss, delta, floor
        self.relative = loss == "mape"

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        """Cost of each value, see ``Head``; raises ValueError for shapes that would broadcast."""
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

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def mirror(self, parameters: Tensor) -> Tensor:
        return -parameters

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        return parameters * scale.unsqueeze(-1) + centre.unsqueeze(-1)

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> NoReturn:
        self._refuse("quantiles")

    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> NoReturn:
        self._refuse("samples")

    def crps(self, parameters: Tensor, target: Tensor) -> NoReturn:
        self._refuse("ranked probability score")

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"model.head is a point forecast, which has no {what}; train with a head that describes a distribution,"
            " such as model/head=quantile."
        )
