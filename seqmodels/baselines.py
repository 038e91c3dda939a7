"""Baselines as models: they keep the contract of a Forecaster, need no training, and appear in the same table."""

from torch import Tensor

from seqmodels.errors import InputError
from seqmodels.references import masked_mean, naive, seasonal_naive
from seqmodels.window import AbstractForecaster, Inputs, Origins, Targets, WindowSpec


class Baseline(AbstractForecaster):
    """A forecast from the last origin by a rule: ``forward`` gives (B, 1, H, C, 1)."""

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec = spec
        self.origins = Origins(spec.past_steps - 1, 1)

    def mean(self, forecast: Tensor) -> Tensor:
        return forecast[..., 0]

    def loss(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Mean absolute error in units of the seasonal error, over what was observed."""
        forecast = self.mean(self(inputs))[:, -1]
        error = (forecast - targets.target).abs() / inputs.seasonal_error.unsqueeze(1)
        return (error * targets.observed).sum() / targets.observed.sum().clamp(min=1)


class Naive(Baseline):
    """The last observed value, repeated."""

    def forward(self, inputs: Inputs) -> Tensor:
        return naive(inputs, self.spec.horizon, self.spec.missing).unsqueeze(-1)


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

    def forward(self, inputs: Inputs) -> Tensor:
        spec = self.spec
        return seasonal_naive(inputs, self.season, spec.horizon, self.origins, spec.missing).unsqueeze(-1)


class MovingAverage(Baseline):
    """The mean of the last ``steps`` observed values, repeated; the whole past where ``steps`` is None."""

    def __init__(self, spec: WindowSpec, steps: int | None = None):
        super().__init__(spec)
        self.steps = spec.past_steps if steps is None else steps
        if not 1 <= self.steps <= spec.past_steps:
            raise InputError(f"model.steps is {steps}; it must be between 1 and data.past_steps={spec.past_steps}.")

    def forward(self, inputs: Inputs) -> Tensor:
        mean = masked_mean(inputs.past_target[:, -self.steps :], inputs.past_observed[:, -self.steps :])
        return mean[:, :, None, :, None].expand(-1, 1, self.spec.horizon, -1, 1)
