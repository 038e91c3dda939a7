"""The view of scalers that shift and divide; knows how their forecasts come back, also where they are fed back."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.scalers.base import Units
from seqmodels.window import Inputs, Origins, Targets, every_step


class Affine(NamedTuple):
    """Scaled = (raw - centre) / scale; forecasts may be centred and scaled otherwise than the past they come from.

    With a ``season`` forecasts are centred on the seasonal naive one. Where they are fed back, that of a lead beyond
    the season is the forecast one season before it, just as in training it was the value. With ``asinh`` the inverse
    hyperbolic sine of all that is taken, which shrinks large values.
    """

    past_centre: Tensor  # (B or 1, 1, C)
    past_scale: Tensor  # (B or 1, 1, C), greater than 0
    centre: Tensor  # of forecasts: (B or 1, S or 1, H or 1, C)
    unit: Tensor  # of forecasts: (B or 1, 1, 1, C), greater than 0
    season: int = 0
    asinh: bool = False
    season_fed_back: int = 0

    def encode(self, past: Tensor) -> Tensor:
        return self._shrunk((past - self.past_centre) / self.past_scale)

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        if self.centre.shape[1:3] == (1, 1):  # alike for all origins and leads: once, rather than S x H times
            centre, unit = self.centre[:, 0], self.unit[:, 0]
            past, future = (self._shrunk((part - centre) / unit) for part in (inputs.past_target, targets.target))
            return every_step(past, future, origins)
        target = every_step(inputs.past_target, targets.target, origins)
        return self._shrunk((target - self.centre) / self.unit)

    def decode(self, parameters: Tensor, head: Units) -> Tensor:
        parameters = self._stretched(parameters)
        centre = self.centre if self.centre.shape[2] == 1 else self.centre[:, :, : parameters.shape[2]]
        if self.season_fed_back:
            centre = centre + earlier(head.mean(parameters), self.season_fed_back) * self.unit
        return head.rescale(parameters, centre, self.unit)

    def fed_back(self) -> "Affine":
        return self._replace(centre=self.centre[:, -1:], season_fed_back=self.season)

    def as_inputs(self, values: Tensor) -> Tensor:
        return self.encode(self._stretched(values) * self.unit[:, 0] + self.centre[:, -1])

    def next_input(self, values: Sequence[Tensor]) -> Tensor:
        lead, season = len(values), self.season_fed_back or len(values)
        total = sum(map(self._stretched, values[lead - 1 :: -season]), torch.zeros_like(values[-1]))
        centre = self.centre[:, -1, min(lead, self.centre.shape[2]) - 1]
        return self._shrunk((total * self.unit[:, 0, 0] + centre - self.past_centre[:, 0]) / self.past_scale[:, 0])

    def _shrunk(self, values: Tensor) -> Tensor:
        return values.asinh() if self.asinh else values

    def _stretched(self, values: Tensor) -> Tensor:
        return values.sinh() if self.asinh else values


def earlier(values: Tensor, season: int) -> Tensor:
    """Of forecasts (B, S, H, C), for each lead the sum of those one, two, ... seasons before it."""
    horizon = values.shape[2]
    blocks = nn.functional.pad(values, (0, 0, 0, -horizon % season)).unflatten(2, (-1, season))
    return (blocks.cumsum(dim=2) - blocks).flatten(2, 3)[:, :, :horizon]
