"""Differencing as a scaler: the model sees and forecasts differences, which are added back exactly."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least
from seqmodels.naive import first_observed, last_observed, observed_by
from seqmodels.scalers.base import RescalingHead, Scaler, mean_tensor
from seqmodels.window import Inputs, Origins, Targets, WindowSpec, every_step


class DifferenceScaling(NamedTuple):
    """Differences: z(t) = y(t) - y(t - lag), taken ``len(levels)`` times, in units of ``unit``.

    ``levels[k]`` (B, S, lag, C) holds the last ``lag`` values before each origin after k differences. With them,
    differences are added back exactly; leads beyond ``lag`` are added to the forecasts of earlier leads.
    """

    lag: int
    observed: Tensor | None  # (B, T, C) of the past; None where nothing can be missing
    start: Tensor  # (B, 1, C): what counts as the value before the first observed one
    unit: Tensor  # (1, 1, 1, C)
    levels: tuple[Tensor, ...]

    def transform(self, past: Tensor) -> Tensor:
        """Differences of the past, (B, T, C); 0 at the beginning, where there is nothing to subtract."""
        order = len(self.levels)
        differenced = take_differences(forward_fill(past, self.observed, self.start), self.lag, order)[-1]
        if self.observed is not None:  # no jump where a series begins
            known = self.observed.cumsum(dim=1)[:, : -self.lag * order] > 0
            differenced = differenced * nn.functional.pad(known, (0, 0, self.lag * order, 0))
        return differenced / self.unit[:, 0]

    def transform_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        values = torch.cat([inputs.past_target, targets.target], dim=1)
        observed = None if self.observed is None else torch.cat([inputs.past_observed, targets.observed], dim=1)
        whole = take_differences(forward_fill(values, observed, self.start), self.lag, len(self.levels))[-1]
        past, future = whole.split([inputs.past_target.shape[1], targets.target.shape[1]], dim=1)
        return every_step(past, future, origins) / self.unit

    def inverse_transform(self, parameters: Tensor, head: RescalingHead) -> Tensor:
        horizon = parameters.shape[2]
        if parameters.shape[-1] > 1:  # of leads within the lag: only observed values are added
            return head.rescale(parameters, torch.stack(self.levels).sum(dim=0)[:, :, :horizon], self.unit)
        values = head.rescale(parameters, torch.zeros_like(self.unit), self.unit)[..., 0]  # (B, S, H, C)
        for level in reversed(self.levels):
            padded = nn.functional.pad(values, (0, 0, 0, -horizon % self.lag))
            blocks = padded.unflatten(2, (-1, self.lag)).cumsum(dim=2) + level.unsqueeze(2)
            values = blocks.flatten(2, 3)[:, :, :horizon]
        return values.unsqueeze(-1)

    def centred(self, forecast: Tensor, season: int) -> NoReturn:
        raise NotImplementedError("differences have no centre: DifferenceScaler.centres is False")

    def for_feedback(self) -> "DifferenceScaling":
        return self._replace(levels=tuple(level[:, -1:] for level in self.levels))

    def as_past(self, values: Tensor) -> Tensor:
        return values

    def feedback(self, values: Sequence[Tensor]) -> Tensor:
        return values[-1]

    def next_centre(self, values: Sequence[Tensor]) -> Tensor:
        return torch.stack(self.levels).sum(dim=0)[:, -1, len(values)]


def forward_fill(values: Tensor, observed: Tensor | None, start: Tensor) -> Tensor:
    """(B, T, C) with the newest observed value in place of missing ones, and ``start`` (B, 1, C) before the first."""
    if observed is None:
        return values
    return torch.where(observed.cumsum(dim=1) > 0, last_observed(values, observed), start)


def take_differences(values: Tensor, lag: int, order: int) -> list[Tensor]:
    """Values (B, T, C) after 0, 1, ... ``order`` differences; 0 where there is nothing to subtract."""
    differenced = [values]
    for number in range(order):
        start, before = (number + 1) * lag, differenced[-1]
        later = before[:, start:] - before[:, number * lag : -lag]
        differenced.append(torch.cat([torch.zeros_like(before[:, :start]), later], dim=1))
    return differenced


class DifferenceScaler(Scaler):
    """Differences at ``lag`` steps, taken ``order`` times; forecasts of differences are added back.

    ``lag=None`` takes the season of the data. Lag 1 removes a trend (order d: a polynomial one of degree d), a
    seasonal lag the season. In units of the training deviation; the first lag x order origins carry no forecast.
    A missing value is replaced by the newest value before it, because a gap would make two jumps of the size of the
    level. Before the first observed value that value stands in, and for forecasts from there the training mean.
    Heads of several numbers per value need a lag of at least the horizon: a later lead is the sum of several
    differences, whose distribution no lead describes.

    Source: Box & Jenkins 1970; the integration of ARIMA.
    """

    per_window = True  # the first steps of each window have no difference
    unit: Tensor
    mean: Tensor

    def __init__(self, spec: WindowSpec, lag: int | None = 1, order: int = 1):
        super().__init__()
        self.lag = spec.season if lag is None else lag
        self.order, self.missing, self.levels = order, spec.missing, spec.levels
        require_at_least(1, "model.scaler", lag=self.lag, order=order)
        self.in_own_units = self.of_one_value = self.lag >= spec.horizon
        if self.lag * order >= spec.past_steps:
            raise InputError(
                f"model.scaler.lag={self.lag} times model.scaler.order={order} is {self.lag * order} steps; it must be"
                f" less than data.past_steps={spec.past_steps}, or the window holds no difference."
            )
        unit = torch.tensor(spec.target_statistics.deviation).reshape(1, 1, 1, -1)
        self.register_buffer("unit", unit, persistent=False)
        self.register_buffer("mean", mean_tensor(spec), persistent=False)

    def extra_repr(self) -> str:
        return f"lag={self.lag}, order={self.order}"

    def burn_in(self, spec: WindowSpec) -> int:
        return self.lag * self.order + 1

    def forward(self, inputs: Inputs, origins: Origins) -> DifferenceScaling:
        past, observed = inputs.past_target, inputs.past_observed if self.missing else None
        chosen = list(origins.of(past.shape[1])) or [past.shape[1] - 1]
        rows = [origin - self.lag + 1 for origin in chosen]
        mean = self.less_level(self.mean, inputs)
        start = mean if observed is None else first_observed(past, observed, mean)
        differenced = take_differences(forward_fill(past, observed, start), self.lag, self.order)[:-1]
        levels = [values.unfold(1, self.lag, 1)[:, rows].transpose(2, 3) for values in differenced]
        if observed is not None:
            seen = observed_by(observed, Origins(0, 1))[:, chosen]
            mean = mean.unsqueeze(1)
            before = [mean, *[torch.zeros_like(mean)] * (self.order - 1)]
            levels = [torch.where(seen, level, value) for level, value in zip(levels, before, strict=True)]
        return DifferenceScaling(self.lag, observed, start, self.unit, tuple(levels))
