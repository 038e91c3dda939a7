"""Baselines: forecasts by simple rules, behind the contract of a forecaster, for the same result table."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from seqmodels.errors import InputError, require_at_least
from seqmodels.heads.point import Point
from seqmodels.naive import masked_mean, naive, seasonal_naive
from seqmodels.window import AbstractForecaster, Inputs, Origins, Output, Targets, WindowSpec


class Baseline(AbstractForecaster):
    """A forecast from the last origin by a rule, without weights and without a state."""

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec, self.head = spec, Point()
        self.origins = Origins(spec.past_steps - 1, 1)

    @abstractmethod
    def predict(self, inputs: Inputs) -> Tensor:
        """Forecasts in the data's own units: (B, 1, H, C)."""

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        return Output(self.predict(inputs).unsqueeze(-1))

    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        """Mean absolute error in units of the seasonal error, over all observed values."""
        predicted = self.predict(inputs)
        error = (predicted[:, -1] - targets.target).abs() / inputs.seasonal_error.unsqueeze(1)
        observed = targets.observed if mask is None else targets.observed & mask[:, :, None]
        count = observed.sum()
        loss = (error * observed).sum() / count.clamp(min=1)
        return Output(predicted.unsqueeze(-1) if forecast else None, None, loss, count)


class Naive(Baseline):
    """The last observed value, repeated."""

    def predict(self, inputs: Inputs) -> Tensor:
        return naive(inputs, self.spec.horizon, self.spec.missing)


class SeasonalNaive(Baseline):
    """The last season, repeated: the value one ``season`` ago, for leads beyond a season the same again."""

    def __init__(self, spec: WindowSpec, season: int | None = None):
        super().__init__(spec)
        self.season = spec.season if season is None else season
        if not 1 <= self.season <= spec.past_steps:
            raise InputError(
                f"model.season is {self.season}; it must be between 1 and data.past_steps={spec.past_steps}, since the"
                " season that is repeated must lie within the window."
            )

    def predict(self, inputs: Inputs) -> Tensor:
        last = Origins(inputs.past_target.shape[1] - 1, 1)
        return seasonal_naive(inputs, self.season, self.spec.horizon, last, self.spec.missing)


class MovingAverage(Baseline):
    """The mean of the observed values among the last ``steps`` steps, repeated; ``None``: of the whole past."""

    def __init__(self, spec: WindowSpec, steps: int | None = None):
        super().__init__(spec)
        self.steps = spec.past_steps if steps is None else steps
        if not 1 <= self.steps <= spec.past_steps:
            raise InputError(f"model.steps is {steps}; it must be between 1 and data.past_steps={spec.past_steps}.")

    def predict(self, inputs: Inputs) -> Tensor:
        mean = masked_mean(inputs.past_target[:, -self.steps :], inputs.past_observed[:, -self.steps :])
        return mean.unsqueeze(2).expand(-1, 1, self.spec.horizon, -1)


class DifferencedMovingAverage(Baseline):
    """The value one ``season`` ago, plus the mean of the last ``steps`` seasonal differences: trend on top of season.

    For lead h from origin t: mean of the ``smooth`` values around y(t + h - season), from ``smooth // 2`` steps before
    it on, plus the mean of y(i) - y(i - season) over the last ``steps`` steps i. ``steps=None``: all differences
    within the window; ``smooth=1``: that single value. Both means leave out missing values; if nothing remains around
    y(t + h - season), the last observed value stands in.

    Source: the hand-made baseline of Moroney, "Sequences, Time Series and Prediction", week 1.
    """

    def __init__(self, spec: WindowSpec, season: int | None = None, steps: int | None = None, smooth: int = 1):
        super().__init__(spec)
        past = spec.past_steps
        self.season = spec.season if season is None else season
        require_at_least(1, "model", season=self.season, smooth=smooth)
        self.steps = past - self.season if steps is None else steps
        self.smooth = smooth
        needed = self.season + max(self.steps, smooth // 2)
        if self.steps < 1 or needed > past:
            raise InputError(
                f"model.season={self.season}, model.steps={self.steps} and model.smooth={smooth} need {needed} past"
                f" steps and at least one difference; data.past_steps is {past}."
            )
        if spec.horizon + smooth - smooth // 2 - 1 > self.season:
            raise InputError(
                f"model.season is {self.season}; it must be at least {spec.horizon + smooth - smooth // 2 - 1} for"
                f" data.horizon={spec.horizon} and model.smooth={smooth}: all that is averaged must lie in the past."
            )

    def predict(self, inputs: Inputs) -> Tensor:
        base, known = self._season_ago(inputs)
        forecast = base + self._drift(inputs).unsqueeze(1)
        if self.spec.missing:
            forecast = torch.where(known, forecast, naive(inputs, self.spec.horizon, True))
        return forecast

    def _drift(self, inputs: Inputs) -> Tensor:
        """Mean of the last seasonal differences, (B, 1, C)."""
        now, before = slice(-self.steps, None), slice(-self.steps - self.season, -self.season)
        past, observed = inputs.past_target, inputs.past_observed
        return masked_mean(past[:, now] - past[:, before], observed[:, now] & observed[:, before])

    def _season_ago(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Smoothed values one season before each lead, and a mask of those with any observation: (B, 1, H, C)."""
        first = inputs.past_target.shape[1] - self.season - self.smooth // 2
        span = slice(first, first + self.spec.horizon + self.smooth - 1)
        observed = inputs.past_observed[:, span].unfold(1, self.smooth, 1)  # (B, H, C, smooth)
        values = inputs.past_target[:, span].unfold(1, self.smooth, 1)
        count = observed.sum(dim=-1)
        mean = (values * observed).sum(dim=-1) / count.clamp(min=1)
        return mean.unsqueeze(1), count.unsqueeze(1) > 0
