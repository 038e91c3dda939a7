"""Differencing as a scaler: the model sees and forecasts differences, which are added back exactly."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least
from seqmodels.references import last_observed
from seqmodels.scalers.base import Rescale, Scaler
from seqmodels.window import Inputs, Origins, Targets, WindowSpec, every_step


class Differences(NamedTuple):
    """A view through differences: z(t) = y(t) - y(t - lag), ``len(levels)`` times over, in units of ``unit``.

    ``levels[k]`` holds the last ``lag`` values, at each origin, of the past after k differences: (B, S, lag, C); with
    them the differences are added back exactly, for leads beyond ``lag`` on top of the forecasts themselves.
    """

    lag: int
    missing: bool
    unit: Tensor  # (1, 1, 1, C)
    levels: tuple[Tensor, ...]

    def encode(self, past: Tensor) -> Tensor:
        """The first lag x order steps have no difference and are 0."""
        return self._differences(past) / self.unit[:, 0]

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        values = torch.cat([inputs.past_target, targets.target], dim=1)
        if self.missing:
            values = last_observed(values, torch.cat([inputs.past_observed, targets.observed], dim=1))
        past, future = self._differences(values).split([inputs.past_target.shape[1], targets.target.shape[1]], dim=1)
        return every_step(past, future, origins) / self.unit

    def decode(self, parameters: Tensor, rescale: Rescale) -> Tensor:
        values = rescale(parameters, torch.zeros_like(self.unit), self.unit)[..., 0]  # (B, S, H, C)
        horizon = values.shape[2]
        for level in reversed(self.levels):
            padded = nn.functional.pad(values, (0, 0, 0, -horizon % self.lag))
            blocks = padded.unflatten(2, (-1, self.lag)).cumsum(dim=2) + level.unsqueeze(2)
            values = blocks.flatten(2, 3)[:, :, :horizon]
        return values.unsqueeze(-1)

    def last(self) -> "Differences":
        return self._replace(levels=tuple(level[:, -1:] for level in self.levels))

    def next_input(self, value: Tensor, lead: int) -> Tensor:
        return value

    def _differences(self, values: Tensor) -> Tensor:
        """(B, T, C) -> the same shape, 0 where there is nothing to subtract."""
        for number in range(len(self.levels)):
            start = (number + 1) * self.lag
            later = values[:, start:] - values[:, number * self.lag : values.shape[1] - self.lag]
            values = torch.cat([torch.zeros_like(values[:, :start]), later], dim=1)
        return values


class Difference(Scaler):
    """The model sees and forecasts differences at ``lag`` steps, ``order`` times over; forecasts are added back.

    ``lag=None`` takes the season of the data. Lag 1 removes a trend (order d: a polynomial one of degree d), a
    seasonal lag the season. In units of the training deviation; the first lag x order origins carry no forecast.
    Missing values count as the newest value before them. Only for heads of one number per value.

    Source: Box & Jenkins 1970; the integration of ARIMA.
    """

    per_window = True  # the first steps of each window have no difference
    in_own_units = False
    unit: Tensor

    def __init__(self, spec: WindowSpec, lag: int | None = 1, order: int = 1):
        super().__init__()
        self.lag = spec.season if lag is None else lag
        self.order, self.missing = order, spec.missing
        require_at_least(1, "model.scaler", lag=self.lag, order=order)
        if self.lag * order >= spec.past_steps:
            raise InputError(
                f"model.scaler.lag={self.lag} times model.scaler.order={order} is {self.lag * order} steps; it must be"
                f" less than data.past_steps={spec.past_steps}, or the window holds no difference."
            )
        unit = torch.tensor(spec.target_statistics.deviation).reshape(1, 1, 1, -1)
        self.register_buffer("unit", unit, persistent=False)

    def extra_repr(self) -> str:
        return f"lag={self.lag}, order={self.order}"

    def burn_in(self, spec: WindowSpec) -> int:
        return self.lag * self.order + 1

    def forward(self, inputs: Inputs, origins: Origins) -> Differences:
        past = inputs.past_target
        if self.missing:
            past = last_observed(past, inputs.past_observed)
        chosen = list(origins.of(past.shape[1])) or [past.shape[1] - 1]
        levels = []
        for number in range(self.order):
            rows = past.unfold(1, self.lag, 1)[:, [origin - self.lag + 1 for origin in chosen]]
            levels.append(rows.transpose(2, 3))
            start = (number + 1) * self.lag
            later = past[:, start:] - past[:, number * self.lag : past.shape[1] - self.lag]
            past = torch.cat([torch.zeros_like(past[:, :start]), later], dim=1)
        return Differences(self.lag, self.missing, self.unit, tuple(levels))
