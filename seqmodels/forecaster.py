"""The Forecaster: scaler, backbone, readout and head wired into one model; it knows torch only."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqmodels.causal import Backbone
from seqmodels.errors import InputError
from seqmodels.features import Features
from seqmodels.heads import Point
from seqmodels.initialisation import initialise
from seqmodels.readouts.base import Encoded, Readout
from seqmodels.scalers.base import Scaler, View
from seqmodels.states import detached, remembered
from seqmodels.window import AbstractForecaster, Inputs, Origins, Targets, WindowSpec, every_step


class Followed(NamedTuple):
    """What comes of windows that continue others."""

    loss: Tensor  # scalar
    forecast: Tensor  # (B, S, H, C, P) in the data's own units
    state: Any  # of the backbone after the last past step, without gradient


class Continued(NamedTuple):
    """Forecasts of windows that continue others, made without knowing what comes after them."""

    forecast: Tensor  # (B, S, H, C, P) in the data's own units
    state: Any  # of the backbone after the last past step, without gradient


class Forecaster(AbstractForecaster):
    """Raw window in, forecasts in the data's own units out, from S origins: (B, S, H, C, P).

    The parts come as callables, since sizes follow from the data: ``scaler(spec)``,
    ``backbone(features=, past_steps=)``, ``readout(spec=, size=, parameters=, state=)`` with a state of the backbone
    for one window (None where it sees the future); the head has no sizes.
    ``initialisation``: see ``seqmodels.initialisation``. The loss is taken in the scaler's units.

    Windows may be longer or shorter than those it was built for, as far as the backbone reaches.

    Raises InputError for parts that do not fit together: a backbone that sees the future with a forecast at every
    step, or a scaler whose statistics need the whole window with forecasts from within it.
    """

    target_deviation: Tensor

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
        state = remembered(self.backbone, spec.features) if self.backbone.causal else None
        self.readout = readout(spec=spec, size=self.backbone.size, parameters=head.parameters_per_value, state=state)
        self.head = head
        head.expect(self.readout.leads)
        self.available = Origins(self.backbone.offset, self.backbone.stride)
        self.trained = self._choose_origins()  # the origins that the loss sees
        last = Origins(self.trained.of(spec.past_steps)[-1], self.trained.stride)
        self.origins = last if self.readout.recursive else self.trained
        self._refuse_what_does_not_fit()
        self.describe = Features(spec)
        deviation = torch.tensor(spec.target_statistics.deviation)
        self.register_buffer("target_deviation", deviation, persistent=False)
        initialise(self.backbone, initialisation)
        initialise(self.readout, initialisation)

    def forward(self, inputs: Inputs) -> Tensor:
        """(B, S, H, C, P) in the data's own units; origins are ``self.origins``."""
        return self.go_on(inputs).forecast

    def go_on(self, inputs: Inputs, state: Any = None) -> Continued:
        """``forward`` of windows whose past continues what left ``state``; None: from the beginning.

        Reading a long past in pieces gives what reading it at once gives, for causal backbones of stride 1 and a
        scaler that scales all windows alike.
        """
        inputs, view = self._view(inputs, state)
        encoded = self._encoded(inputs, view, state)
        return Continued(self._forecast(encoded, view), detached(encoded.state))

    def read(self, inputs: Inputs, state: Any = None) -> Any:
        """The state after ``inputs``, without forecasts."""
        inputs, view = self._view(inputs, state)
        return detached(self._encoded(inputs, view, state).state)

    def initial_state(self, inputs: Inputs) -> Any:
        """The state before the first step of such windows; raises TypeError where the backbone sees the future."""
        return self.backbone.initial_state(inputs.past_target.new_zeros(len(inputs.series), 1, self.spec.features))

    def mean(self, forecast: Tensor) -> Tensor:
        """The head's value to report: (..., P) -> (...)."""
        return self.head.mean(forecast)

    def loss(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Mean cost over all origins, leads and channels that were observed, in the scaler's units."""
        inputs, view = self._view(inputs, None)
        return self._loss(self._encoded(inputs, view), view, inputs, targets)[0]

    def counted(self, inputs: Inputs, targets: Targets) -> Tensor:
        origins = self._trained_in(inputs)
        return every_step(inputs.past_observed, targets.observed, origins)[:, :, : self.readout.leads].sum()

    def loss_and_state(self, inputs: Inputs, targets: Targets, state: Any = None) -> tuple[Tensor, Any]:
        """``loss`` of windows whose past continues what left ``state``, and the state after them, without gradient."""
        inputs, view = self._view(inputs, state)
        encoded = self._encoded(inputs, view, state)
        return self._loss(encoded, view, inputs, targets)[0], detached(encoded.state)

    def loss_and_forecast(self, inputs: Inputs, targets: Targets) -> tuple[Tensor, Tensor]:
        """``loss`` and ``forward`` from one pass through the network."""
        return self.follow(inputs, targets)[:2]

    def follow(self, inputs: Inputs, targets: Targets, state: Any = None, counted: Tensor | None = None) -> Followed:
        """``loss`` and ``forward`` of windows whose past continues what left ``state``; None: from the beginning.

        ``counted`` (B, S) bool: the origins that enter the loss; None: all of them.
        """
        inputs, view = self._view(inputs, state)
        encoded = self._encoded(inputs, view, state)
        loss, parameters = self._loss(encoded, view, inputs, targets, counted)
        shared = not (self.readout.recursive or self.training)  # else the loss saw something else than a forecast
        forecast = view.decode(parameters, self.head) if shared else self._forecast(encoded, view)
        return Followed(loss, forecast, detached(encoded.state))

    def _view(self, inputs: Inputs, state: Any) -> tuple[Inputs, View]:
        """The windows as the backbone can read them, and as the scaler shows them."""
        if state is None:
            inputs = self._whole_strides(inputs)
        elif self.available != Origins(0, 1):
            raise InputError(
                f"model.backbone gives its first features after {self.available.first + 1} steps and then every"
                f" {self.available.stride}, so that windows do not fit together where its state is carried on."
            )
        needed = self.scaler.burn_in(self.spec)
        if inputs.past_target.shape[1] < needed:
            raise InputError(
                f"a window of {inputs.past_target.shape[1]} past steps is too short for model.scaler, which takes its"
                f" statistics from {needed}."
            )
        return inputs, self.scaler(inputs, self._trained_in(inputs))

    def _trained_in(self, inputs: Inputs) -> Origins:
        """The origins that the loss sees in windows of this length."""
        if self.readout.every_step:
            return self.trained
        return Origins(inputs.past_target.shape[1] - 1, self.trained.stride)

    def _encoded(self, inputs: Inputs, view: View, state: Any = None) -> Encoded:
        """Everything the readout may see; the backbone reads the past once."""
        steps = inputs.past_target.shape[1]
        scaled = view.encode(inputs.past_target)
        everything, after = self._read(self.describe(inputs, scaled), state)
        first = (self.trained.first - self.available.first) // self.available.stride
        features = everything[:, first:] if self.readout.every_step else everything[:, -1:]
        if features.shape[1] == 0:
            raise InputError(f"a window of {steps} past steps is too short for the model; no forecast comes of it.")
        return Encoded(
            features=features,
            everything=everything,
            state=after,
            newest=scaled[:, -1] * inputs.past_observed[:, -1] if self.spec.missing else scaled[:, -1],
            known=self.describe.known(inputs)[:, steps:],
            stepper=lambda: self._stepper(inputs),
            next_input=(view.fed_back() if self.readout.recursive else view).next_input,
            mean=self.head.mean,
            progress=self.progress,
        )

    def _stepper(self, inputs: Inputs) -> Callable[[Tensor, int, Any], tuple[Tensor, Any]]:
        """Lets the backbone go on beyond the past, one known or forecast value after another."""
        step = self.backbone.stepper()
        return lambda value, lead, state: step(self.describe.ahead(inputs, value, lead), state)

    def _read(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if not self.backbone.causal:
            return self.backbone(x), None
        return self.backbone.unroll(x, self.backbone.initial_state(x) if state is None else state)

    def _loss(
        self, encoded: Encoded, view: View, inputs: Inputs, targets: Targets, counted: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The scalar, and the parameters (B, S, leads, C, P) that it was taken of."""
        leads, origins = self.readout.leads, self._trained_in(inputs)
        scaled = view.encode_targets(inputs, targets, origins)
        taught = self.training and self.readout.taught
        teacher = view.as_inputs(scaled[:, -1]) * targets.observed if taught else None
        parameters = self.readout(encoded, teacher)
        cost = self.head.loss(parameters, scaled[:, :, :leads], self._magnitude(view, inputs, targets))
        cost = self.head.weigh(cost, view.unit, self.target_deviation)
        if not self.spec.missing and counted is None:
            return cost.mean(), parameters
        observed = every_step(inputs.past_observed, targets.observed, origins)[:, :, :leads]
        if counted is not None:
            observed = observed & counted[:, :, None, None]
        return (cost * observed).sum() / observed.sum().clamp(min=1), parameters

    def _magnitude(self, view: View, inputs: Inputs, targets: Targets) -> Tensor | None:
        """Size of the truth in the scaler's units, (B, S, leads, C), for a head that asks for it."""
        if not self.head.relative:
            return None
        target = every_step(inputs.past_target, targets.target, self._trained_in(inputs))
        return (target / view.unit).abs()[:, :, : self.readout.leads]

    def _forecast(self, encoded: Encoded, view: View) -> Tensor:
        parameters = self.readout.forecast(encoded)
        return (view.fed_back() if self.readout.recursive else view).decode(parameters, self.head)

    def _whole_strides(self, inputs: Inputs) -> Inputs:
        """Without the oldest steps of a window of another length, where strides would not end at its last step."""
        extra = (inputs.past_target.shape[1] - self.spec.past_steps) % self.available.stride
        if extra == 0:
            return inputs
        return inputs._replace(
            past_target=inputs.past_target[:, extra:],
            past_observed=inputs.past_observed[:, extra:],
            past_covariates=inputs.past_covariates[:, extra:],
            known_covariates=inputs.known_covariates[:, extra:],
        )

    def _choose_origins(self) -> Origins:
        steps, every = self.spec.past_steps, self.readout.every_step
        if every and not self.backbone.causal:
            raise InputError(
                "model.backbone sees the future, and model.readout (seq_to_seq, iterated) asks for a forecast at every"
                " step, whose target it would have seen; use model/readout=seq_to_vector."
            )
        chosen = self.readout.origins(self.available, steps)
        first = max(chosen.first, self.scaler.burn_in(self.spec) - 1) if every else chosen.first
        skipped = -(-(first - chosen.first) // chosen.stride)
        origins = Origins(chosen.first + skipped * chosen.stride, chosen.stride)
        if len(origins.of(steps)) <= 1 < len(chosen.of(steps)):
            raise InputError(
                f"model.scaler takes its statistics from the first {self.scaler.burn_in(self.spec)} of"
                f" data.past_steps={steps} steps, which leaves only the last one to forecast from;"
                " use model/readout=seq_to_vector."
            )
        return origins

    def _refuse_what_does_not_fit(self) -> None:
        if self.readout.recursive and self.backbone.stride > 1:
            raise InputError(
                f"model.backbone gives features every {self.backbone.stride} steps, and model.readout=iterated needs"
                " them after each forecast that is fed back; use model/readout=seq_to_seq, or a stride of 1."
            )
        if self.readout.attends and len(self.available.of(self.spec.past_steps)) == 1:
            raise InputError(
                "model.readout.attention looks back over the features of model.backbone, which gives only those of the"
                " last step; set it to false, or use a backbone with features at every step."
            )
        if self.head.relative and not self.scaler.in_own_units:
            raise InputError(
                "model.head.loss=mape is relative to the data's own values, and model.scaler forecasts differences;"
                " choose another loss or scaler."
            )
