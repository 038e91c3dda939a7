"""The Forecaster: scaler, backbone, readout and head wired into one model; it knows torch only."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqmodels import compatibility
from seqmodels.backbones.base import Backbone
from seqmodels.errors import InputError
from seqmodels.features import FeatureEncoder
from seqmodels.heads import Point
from seqmodels.initialisation import initialise
from seqmodels.naive import begun
from seqmodels.readouts.base import Encoded, Readout
from seqmodels.scalers.base import Scaler, View
from seqmodels.states import detached, remembered
from seqmodels.window import AbstractForecaster, Inputs, Origins, Targets, WindowSpec, every_step

OVER_TIME = ("past_target", "past_observed", "past_covariates", "known_covariates")  # inputs with a value per step


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

    Raises InputError for parts that do not fit together: see ``seqmodels.compatibility``.
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
        self.available = compatibility.available(self.backbone)
        self.trained = compatibility.trained(
            spec, self.scaler, self.backbone, self.readout
        )  # the origins that the loss sees
        last = Origins(self.trained.of(spec.past_steps)[-1], self.trained.stride)
        self.origins = last if self.readout.recursive else self.trained
        compatibility.refuse_what_does_not_fit(spec, self.scaler, self.backbone, self.readout, head)
        self.describe = FeatureEncoder(spec)
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
        return self._counts(inputs, targets).sum()

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
        else:
            refuse_a_carried_state(self.backbone)
        refuse_too_short(inputs.past_target.shape[1], self.scaler.burn_in(self.spec))
        return inputs, self.scaler(inputs, self._trained_in(inputs))

    def _trained_in(self, inputs: Inputs) -> Origins:
        """The origins that the loss sees in windows of this length."""
        if self.readout.every_step:
            return self.trained
        return Origins(inputs.past_target.shape[1] - 1, self.trained.stride)

    def _encoded(self, inputs: Inputs, view: View, state: Any = None) -> Encoded:
        """Everything the readout may see; the backbone reads the past once."""
        scaled, known = view.encode(inputs.past_target), self.describe.encode_known(inputs)
        everything, after = self._read(self.describe(inputs, scaled, known), state)
        first = (self.trained.first - self.available.first) // self.available.stride
        features = everything[:, first:] if self.readout.every_step else everything[:, -1:]
        refuse_no_forecast(inputs.past_target.shape[1], features.shape[1])
        return Encoded(
            features=features,
            everything=everything,
            state=after,
            newest=scaled[:, -1] * inputs.past_observed[:, -1] if self.spec.missing else scaled[:, -1],
            known=known,
            origins=self._trained_in(inputs),
            stepper=lambda: self._stepper(inputs, known),
            next_input=(view.fed_back() if self.readout.recursive else view).next_input,
            mean=self.head.mean,
            progress=self.progress,
        )

    def _stepper(self, inputs: Inputs, known: Tensor) -> Callable[[Tensor, int, Any], tuple[Tensor, Any]]:
        """Lets the backbone go on beyond the past, one known or forecast value after another."""
        step, encode = self.backbone.stepper(), self.describe.future_encoder(inputs, known)
        return lambda value, lead, state: step(encode(value, lead), state)

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
        observed = self._counts(inputs, targets)
        if counted is not None:
            observed = observed & counted[:, :, None, None]
        return (cost * observed).sum() / observed.sum().clamp(min=1), parameters

    def _counts(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Which values enter the loss, (B, S, leads, C) bool: those observed, from origins that a scaler can serve."""
        origins = self._trained_in(inputs)
        observed = every_step(inputs.past_observed, targets.observed, origins)[:, :, : self.readout.leads]
        if self.spec.missing and self.scaler.per_window:  # before the first value, it has nothing to scale by
            return observed & begun(inputs.past_observed, origins)
        return observed

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
        return inputs._replace(**{name: getattr(inputs, name)[:, extra:] for name in OVER_TIME})


def refuse_too_short(steps: int, needed: int) -> None:
    """Raise InputError for a window that is shorter than the statistics of its scaler need."""
    if steps < needed:
        raise InputError(
            f"a window of {steps} past steps is too short for model.scaler, which takes its statistics from {needed}."
        )


def refuse_no_forecast(steps: int, origins: int) -> None:
    """Raise InputError for a window that is shorter than what the backbone needs for its first features."""
    if origins == 0:
        raise InputError(f"a window of {steps} past steps is too short for the model; no forecast comes of it.")


def refuse_a_carried_state(backbone: Backbone) -> None:
    """Raise InputError for a backbone whose windows do not fit together where its state is carried on."""
    first, stride = compatibility.available(backbone)
    if (first, stride) != (0, 1):
        raise InputError(
            f"model.backbone gives its first features after {first + 1} steps and then every"
            f" {stride}, so that windows do not fit together where its state is carried on."
        )
