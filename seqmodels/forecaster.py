"""The Forecaster: scaler, backbone, readout and head wired into one model; it knows torch only."""

from collections.abc import Callable

import torch
from torch import Tensor

from seqmodels.causal import Backbone
from seqmodels.errors import InputError
from seqmodels.heads import Point
from seqmodels.initialisation import initialise
from seqmodels.readouts import Readout
from seqmodels.scalers import Affine, Scaler
from seqmodels.window import AbstractForecaster, Inputs, Origins, Statistics, Targets, WindowSpec, every_step


class Forecaster(AbstractForecaster):
    """Raw window in, forecasts in the data's own units out, from S origins: (B, S, H, C, P).

    The parts come as callables, since sizes follow from the data: ``scaler(spec)``,
    ``backbone(features=, past_steps=)``, ``readout(spec=, size=, parameters=)``; the head has no sizes.
    ``initialisation``: see ``seqmodels.initialisation``. The loss is taken in the scaler's units.

    Raises InputError for parts that do not fit together: a backbone that sees the future with a forecast at every
    step, or a scaler whose statistics need the whole window with forecasts from within it.
    """

    past_mean: Tensor
    past_deviation: Tensor
    known_mean: Tensor
    known_deviation: Tensor

    def __init__(
        self,
        spec: WindowSpec,
        scaler: Callable[..., Scaler],
        backbone: Callable[..., Backbone],
        readout: Callable[..., Readout],
        head: Point,
        initialisation: str = "glorot",
    ):
        super().__init__()
        self.spec = spec
        self.scaler = scaler(spec=spec)
        self.backbone = backbone(features=spec.features, past_steps=spec.past_steps)
        self.readout = readout(spec=spec, size=self.backbone.size, parameters=head.parameters_per_value)
        self.head = head
        self.available = Origins(self.backbone.offset, self.backbone.stride)
        self.origins = self._choose_origins()
        for name, statistics in (("past", spec.past_statistics), ("known", spec.known_statistics)):
            self._keep(name, statistics)
        initialise(self.backbone, initialisation)
        initialise(self.readout, initialisation)

    def forward(self, inputs: Inputs) -> Tensor:
        """(B, S, H, C, P) in the data's own units; origins are ``self.origins``."""
        affine = self.scaler(inputs, self.origins)
        return self._rescale(self._describe(inputs, affine), affine)

    def mean(self, forecast: Tensor) -> Tensor:
        """The head's value to report: (..., P) -> (...)."""
        return self.head.mean(forecast)

    def loss(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Mean cost over all origins, leads and channels that were observed, in the scaler's units."""
        affine = self.scaler(inputs, self.origins)
        return self._cost(self._describe(inputs, affine), affine, inputs, targets)

    def loss_and_forecast(self, inputs: Inputs, targets: Targets) -> tuple[Tensor, Tensor]:
        """``loss`` and ``forward`` from one pass through the network."""
        affine = self.scaler(inputs, self.origins)
        parameters = self._describe(inputs, affine)
        return self._cost(parameters, affine, inputs, targets), self._rescale(parameters, affine)

    def encode(self, inputs: Inputs, scaled: Tensor) -> Tensor:
        """Input features of each step, (B, T, F), in this order: scaled target, its mask where values may be
        missing, past covariates, covariates known for the *next* step, static numbers.
        """
        steps = scaled.shape[1]
        parts = [scaled]
        if self.spec.missing:
            parts = [scaled * inputs.past_observed, inputs.past_observed.to(scaled.dtype)]
        if self.spec.past_covariates:
            parts.append((inputs.past_covariates - self.past_mean) / self.past_deviation)
        if self.spec.known_covariates:
            following = inputs.known_covariates[:, 1 : steps + 1]
            parts.append((following - self.known_mean) / self.known_deviation)
        if self.spec.statics:
            parts.append(inputs.static.unsqueeze(1).expand(-1, steps, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def _cost(self, parameters: Tensor, affine: Affine, inputs: Inputs, targets: Targets) -> Tensor:
        target = every_step(inputs.past_target, targets.target, self.origins)
        cost = self.head.loss(parameters, affine.encode_targets(target))
        if not self.spec.missing:
            return cost.mean()
        observed = every_step(inputs.past_observed, targets.observed, self.origins)
        return (cost * observed).sum() / observed.sum().clamp(min=1)

    def _rescale(self, parameters: Tensor, affine: Affine) -> Tensor:
        return self.head.rescale(parameters, affine.forecast_centre, affine.scale.unsqueeze(1))

    def _describe(self, inputs: Inputs, affine: Affine) -> Tensor:
        """What the head describes values with, (B, S, H, C, P), in the scaler's units."""
        features = self.backbone(self.encode(inputs, affine.encode(inputs.past_target)))
        skipped = (self.origins.first - self.available.first) // self.available.stride
        return self.readout(features[:, skipped:])

    def _choose_origins(self) -> Origins:
        steps, every = self.spec.past_steps, self.readout.every_step
        if every and not self.backbone.causal:
            raise InputError(
                "model.backbone sees the future, and model.readout=seq_to_seq asks for a forecast at every step, whose"
                " target it would have seen; use model/readout=seq_to_vector."
            )
        chosen = self.readout.origins(self.available, steps)
        first = max(chosen.first, self.scaler.burn_in(self.spec) - 1) if every else chosen.first
        skipped = -(-(first - chosen.first) // chosen.stride)
        origins = Origins(chosen.first + skipped * chosen.stride, chosen.stride)
        if not origins.of(steps):
            raise InputError(
                f"model.scaler takes its statistics from the first {self.scaler.burn_in(self.spec)} of"
                f" data.past_steps={steps} steps, which leaves no step to forecast from;"
                " use model/readout=seq_to_vector."
            )
        return origins

    def _keep(self, name: str, statistics: Statistics) -> None:
        self.register_buffer(f"{name}_mean", torch.tensor(statistics.mean), persistent=False)
        self.register_buffer(f"{name}_deviation", torch.tensor(statistics.deviation), persistent=False)
