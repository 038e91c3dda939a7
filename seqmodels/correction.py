"""Simple forecasts that a network corrects: the last value, the last season, or a linear regression on the window."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.baselines.interpolation import Interpolation, Kriging, Seasonal
from seqmodels.baselines.ridge import Ridge
from seqmodels.errors import InputError
from seqmodels.naive import observed_by, seasonal_naive
from seqmodels.readouts.base import Readout
from seqmodels.scalers.base import Scaler, less_level, mean_tensor
from seqmodels.window import Inputs, Origins, WindowSpec


class Reference(nn.Module):
    """The forecast that an output of 0 stands for, of the kind that ``readout.corrects`` names.

    "naive": the last value. "seasonal": the last season. "linear": ``Ridge`` on the newest values of the window, fitted
    in closed form before the first step and kept in the checkpoint; with a forecast from every step it reads half a
    window, and forecasts start after that.

    Raises InputError where the data do not allow the kind, or the scaler has no centre that it could replace.

    Source: residual learning of Friedman 2001, "Greedy function approximation"; NLinear of Zeng et al. 2023 beside a
    network.
    """

    mean: Tensor

    def __init__(self, spec: WindowSpec, readout: Readout, scaler: Scaler):
        super().__init__()
        kind = readout.corrects
        self.kind, self.horizon, self.missing, self.levels = kind, spec.horizon, spec.missing, spec.levels
        self.season = {"naive": 1, "seasonal": spec.season}.get(kind, 0)
        if not scaler.centres:
            raise InputError(
                f"model.readout.corrects is {kind}, and model.scaler adds forecasts to something else already, as"
                " difference and cycle do; use model/scaler=standard, window or season, or corrects=none."
            )
        if kind == "seasonal" and not 1 < self.season <= spec.past_steps:
            raise InputError(
                f"model.readout.corrects=seasonal needs a season within the window; data.season is {self.season} and"
                f" data.past_steps {spec.past_steps}: set them, or use corrects=naive or linear."
            )
        self.ridge = affordable_ridge(spec, readout.every_step) if kind == "linear" else None
        self.register_buffer("mean", mean_tensor(spec), persistent=False)

    def extra_repr(self) -> str:
        return self.kind + (f", lags={self.ridge.lags}" if self.ridge is not None else "")

    @property
    def steps(self) -> int:
        """Steps of the past that it reads."""
        return self.season if self.ridge is None else self.ridge.lags

    def forward(self, inputs: Inputs, origins: Origins) -> Tensor:
        """(B, S, H, C) in raw units; the training mean before the first observed value."""
        if self.ridge is not None:
            forecast = self._linear(self.ridge, inputs, origins)
        else:
            forecast = seasonal_naive(inputs, self.season, self.horizon, origins, self.missing)
        if not self.missing:
            return forecast
        mean = (less_level(self.mean, inputs) if self.levels else self.mean).unsqueeze(1)
        return torch.where(observed_by(inputs.past_observed, origins), forecast, mean)

    def _linear(self, ridge: Ridge, inputs: Inputs, origins: Origins) -> Tensor:
        batch, steps = inputs.past_target.shape[:2]
        if len(origins.of(steps)) <= 1:
            return ridge.predict(inputs)
        return ridge.predict(windows_at(inputs, origins, ridge.lags, self.horizon))[:, 0].unflatten(0, (batch, -1))


INTERPOLATIONS: dict[str, type[Interpolation]] = {"naive": Interpolation, "seasonal": Seasonal, "linear": Kriging}


class Filled(nn.Module):
    """The estimate that a network corrects, of the kind that ``readout.corrects`` names."""

    season = steps = 0

    def __init__(self, spec: WindowSpec, readout: Readout, scaler: Scaler):
        super().__init__()
        self.kind = readout.corrects
        self.rule = INTERPOLATIONS[self.kind](spec)

    def extra_repr(self) -> str:
        return self.kind

    def forward(self, inputs: Inputs, origins: Origins) -> Tensor:
        """(B, 1, T, C) in raw units."""
        with torch.no_grad():
            return self.rule.predict(inputs)


# What ``readout.corrects`` is about, by ``WindowSpec.kind``
REFERENCES: dict[str, Callable[[WindowSpec, Readout, Scaler], Any]] = {"ahead": Reference, "past": Filled}


def suitable_reference(spec: WindowSpec, readout: Readout) -> tuple[str, str]:
    """Choice of ``corrects="auto"``, with the reason."""
    if spec.kind == "past":
        if spec.past_steps <= Kriging.MOST_VALUES:
            return (
                "linear",
                "training begins with the best linear estimate from the window (kriging), fitted by likelihood",
            )
        return "seasonal", f"kriging takes long for windows of more than {Kriging.MOST_VALUES} steps"
    if spec.labels:
        return "none", "labels are no values of the window"
    if spec.stateful:
        return "none", "a state is kept from window to window"
    if readout.recursive:
        return "naive", "forecasts are fed back one by one"
    try:
        affordable_ridge(spec, readout.every_step)
    except InputError:
        return "naive", "a linear regression would have too many covariates"
    return "linear", "training begins with a ridge regression on the window, fitted in closed form"


def affordable_ridge(spec: WindowSpec, every_step: bool) -> Ridge:
    """Ridge on as many of the newest steps as a fit of seconds allows."""
    lags = min(Ridge.MOST_LAGS, max(1, spec.past_steps // 2 if every_step else spec.past_steps))
    while not (ridge := Ridge(spec, lags)).affordable:
        if lags == 1:
            raise InputError(
                "model.readout.corrects=linear has too many known covariates and leads to be fitted in seconds; use"
                " corrects=naive or seasonal."
            )
        lags //= 2
    return ridge


def windows_at(inputs: Inputs, origins: Origins, steps: int, horizon: int) -> Inputs:
    """A window of ``steps`` past steps that ends at each of the origins, where all have as many: (B * S, ...)."""
    first, stride = origins.first - steps + 1, origins.stride
    count = len(origins.of(inputs.past_target.shape[1]))

    def unfold(values: Tensor, length: int) -> Tensor:
        return values[:, first:].unfold(1, length, stride)[:, :count].transpose(2, 3).flatten(0, 1)

    def repeat(values: Tensor) -> Tensor:
        return values.repeat_interleave(count, dim=0)

    return Inputs(
        past_target=unfold(inputs.past_target, steps),
        past_observed=unfold(inputs.past_observed, steps),
        past_covariates=unfold(inputs.past_covariates, steps),
        known_covariates=unfold(inputs.known_covariates, steps + horizon),
        level=repeat(inputs.level),
        static=repeat(inputs.static),
        seasonal_error=repeat(inputs.seasonal_error),
        series=repeat(inputs.series),
        reset=repeat(inputs.reset),
        clock=repeat(inputs.clock),
        identity=repeat(inputs.identity),
    )
