"""Forecaster: scaler -> backbone -> readout -> head, wired into one model."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from seqmodels.backbones.base import Backbone, detach, initial_state, reset_where
from seqmodels.correction import REFERENCES, suitable_reference
from seqmodels.errors import InputError, require_choice
from seqmodels.features import FeatureEncoder
from seqmodels.heads.base import Head
from seqmodels.heads.point import Point
from seqmodels.initialisation import initialise
from seqmodels.naive import observed_by, sequence_lengths
from seqmodels.readouts.base import EncodedWindow, Readout
from seqmodels.scalers.base import Scaler, Scaling
from seqmodels.scalers.labels import with_labels
from seqmodels.window import ALIGNED, AbstractForecaster, Inputs, Origins, Output, Statistics, Targets, WindowSpec

Read = Callable[[Tensor], Tensor]  # parameters of a head (..., P) -> values (...)
CHANNELS = ("joint", "independent")
OVER_TIME = ("past_target", "past_observed", "past_covariates", "known_covariates")  # inputs with a value per step


class Folding(NamedTuple):
    """Rows that backbone and readout see for each window: one of all channels, or one per channel with shared weights.

    ``mirrored``: after all rows, the same ones with the opposite sign. Rows of a window follow one another.

    Source of rows per channel: Zeng et al. 2023 and Nie et al. 2023 (PatchTST), "channel independence"; of mirrored
    ones: the forecast (f(x) - f(-x)) / 2 of TiRex, Auer et al. 2025.
    """

    channels: int  # 0: one row of all channels
    mirrored: bool

    def inner(self, spec: WindowSpec) -> WindowSpec:
        """Spec of a row; its statistics are those of scaled values."""
        if not self.channels:
            return spec
        one = Statistics((0.0,), (1.0,))
        return spec._replace(
            channels=("value",), series=spec.series * self.channels, target_statistics=one, nonnegative=()
        )

    def split(self, values: Tensor) -> Tensor:
        """Scaled values of windows (B, ..., C) -> those of rows (R, ..., C or 1)."""
        rows = self.split_mask(values)
        if self.mirrored:
            rows = torch.cat([rows[: len(rows) // 2], -rows[len(rows) // 2 :]])
        return rows

    def split_mask(self, mask: Tensor) -> Tensor:
        """As ``split``, but mirrored rows keep their sign."""
        rows = mask.movedim(-1, 1).flatten(0, 1).unsqueeze(-1) if self.channels else mask
        return torch.cat([rows, rows]) if self.mirrored else rows

    def repeat(self, values: Tensor) -> Tensor:
        """Repeat values that all rows of a window share: (B, ...) -> (R, ...)."""
        rows = values.repeat_interleave(self.channels, dim=0) if self.channels else values
        return torch.cat([rows, rows]) if self.mirrored else rows

    def _number_channels(self, identity: Tensor) -> Tensor:
        """Number of the channel of each row among those of all training series, (R,); -1 if unknown."""
        if self.channels:
            channel = torch.arange(self.channels, device=identity.device)
            numbers = identity[:, None] * self.channels + channel
            identity = torch.where(identity[:, None] < 0, identity[:, None], numbers).flatten()
        return torch.cat([identity, identity]) if self.mirrored else identity

    def join(self, outputs: Tensor) -> Tensor:
        """Outputs of rows (R, S, H, C or 1, P) -> those of windows (B, S, H, C, P), mirrored ones after the others."""
        if not self.channels:
            return outputs
        return outputs.unflatten(0, (-1, self.channels)).squeeze(-2).movedim(1, 3)

    def join_values(self, rows: Tensor) -> Tensor:
        """Inverse of ``split``, for (R, C or 1)."""
        rows = rows[: len(rows) // 2] if self.mirrored else rows
        return rows.reshape(-1, self.channels) if self.channels else rows

    def split_inputs(self, inputs: Inputs) -> Inputs:
        """Masks and covariates of the rows; ``past_target``, ``level`` and ``seasonal_error`` stay those of windows."""
        if not self.channels and not self.mirrored:
            return inputs
        return inputs._replace(
            past_observed=self.split_mask(inputs.past_observed),
            past_covariates=self.repeat(inputs.past_covariates),
            known_covariates=self.repeat(inputs.known_covariates),
            static=self.repeat(inputs.static),
            series=self.repeat(inputs.series),
            reset=self.repeat(inputs.reset),
            clock=self.repeat(inputs.clock),
            identity=self._number_channels(inputs.identity),
        )


class Forecaster(AbstractForecaster):
    """Raw windows in, forecasts in the data's own units out: (B, S, H, C, P) from S origins.

    Three ways in, with one type of result: ``forward`` (forecasts), ``loss`` (training) and ``step`` (one value).

    The parts are callables, because their sizes follow from the data: ``scaler(spec=)``,
    ``backbone(features=, past_steps=)``, also with ``season=`` if it takes one, ``readout(spec=, size=, parameters=,
    state=)`` with an example of the backbone's state for one window (None if it sees the future); the head has no
    sizes.
    ``initialisation``: see ``seqmodels.initialisation``. The loss is taken in the scaler's units. ``nonnegative``: True
    if forecasts are cut off at 0 where they leave the model for the user; "auto": in the channels without a negative
    value in the training rows. ``channels``: "joint", the network sees all channels at once; "independent": it sees
    each by itself, with the same weights. ``flip``: True for the mean of two forecasts, of the scaled window and, with
    the sign turned back, of its mirror image, in training too; see ``Folding`` for sources.

    Windows may be longer or shorter than those of ``spec``, as far as the backbone reaches.

    Raises InputError for parts that do not fit together: see ``refuse_what_does_not_fit``.
    """

    kinds = tuple(ALIGNED)
    target_deviation: Tensor

    def __init__(
        self,
        spec: WindowSpec,
        scaler: Callable[..., Scaler],
        backbone: Callable[..., Backbone],
        readout: Callable[..., Readout],
        head: Head,
        initialisation: str = "glorot",
        nonnegative: bool | str = "auto",
        channels: str = "joint",
        flip: bool = False,
    ):
        super().__init__()
        require_choice(CHANNELS, "model", channels=channels)
        if nonnegative not in (True, False, "auto"):
            raise InputError(f"model.nonnegative is {nonnegative!r}; it must be auto, true or false.")
        self.cut_off = spec.nonnegative if nonnegative == "auto" else (bool(nonnegative),) * len(spec.channels)
        self.spec = spec
        head.bind(spec)
        if spec.labels and (flip or channels == "independent"):
            raise InputError(
                "model.flip and model.channels=independent are about forecasts, and data.label asks for labels."
            )
        known = {"season": spec.season} if "season" in signature(backbone).parameters else {}
        split = len(spec.channels) if channels == "independent" and len(spec.channels) > 1 else 0
        self.folding = Folding(split, flip)
        row = self.folding.inner(spec)
        self.backbone = backbone(features=row.features, past_steps=spec.past_steps, **known)
        self.initial = initial_state(self.backbone, row.features) if self.backbone.causal else None
        size, parameters = self.backbone.size, head.parameters_per_value
        self.readout = readout(spec=row, size=size, parameters=parameters, state=self.initial)
        self.head = head
        if flip:
            head.mirror(torch.zeros(1, parameters))  # raises for a head without a mirror image
        head.expect(self.readout.leads)
        if self.readout.corrects == "auto":
            self.readout.corrects = suitable_reference(spec, self.readout)[0]
        corrects = self.readout.corrects != "none" and not spec.labels
        own = {"corrected": corrects} if "corrected" in signature(scaler).parameters else {}
        self.scaler = with_labels(scaler(spec=spec._replace(missing=spec.missing or spec.ragged), **own), spec)
        self.reference = REFERENCES[spec.kind](spec, self.readout, self.scaler) if corrects else None
        self.burn_in = self.scaler.burn_in(spec)
        self.available = feature_origins(self.backbone)
        warm_up = self.reference.steps if self.reference is not None else 0
        self.supervised = supervised_origins(
            spec, self.scaler, self.backbone, self.readout, warm_up
        )  # origins that the loss sees
        last = Origins(self.supervised.of(spec.past_steps)[-1], self.supervised.stride)
        self.origins = last if self.readout.recursive else self.supervised
        refuse_what_does_not_fit(spec, self.scaler, self.backbone, self.readout, head)
        self.why_stateless = why_stateless(spec, self.backbone, self.scaler, self.readout)
        self.describe = FeatureEncoder(row)
        deviation = torch.tensor((spec.label_statistics if spec.labels else spec.target_statistics).deviation)
        self.register_buffer("target_deviation", deviation, persistent=False)
        initialise(self.backbone, initialisation)
        initialise(self.readout, initialisation)
        if corrects:  # begin with the forecast that is corrected
            nn.init.zeros_(self.readout.linear.weight)
            nn.init.zeros_(self.readout.linear.bias)

    @property
    def nonnegative(self) -> tuple[bool, ...]:
        return self.cut_off

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        """Forecasts from ``self.origins``, and the state after the last past step.

        ``state``: returned by an earlier call for the steps right before these; None, or ``inputs.reset`` for some
        windows: they start from the initial state. Reading a long past in parts gives the same as reading it at once.
        In training, dropout masks are drawn again for each call.

        Raises InputError for windows too short for the model, or a state where the model cannot carry one.
        """
        inputs, scaling = self._scale(inputs, state)
        encoded = self._encode(inputs, scaling, state)
        return Output(self._forecast(encoded, scaling), self._detach(encoded.state))

    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        """Mean cost over all observed origins, leads and channels, in the scaler's units; ``state`` as in ``forward``.

        ``mask`` (B, S) bool: origins that count; None: all of them. ``forecast``: also forecasts, from the same pass
        where the loss saw what ``forward`` would give. A state is returned if ``spec.stateful`` or one was given.
        """
        inputs, scaling = self._scale(inputs, state)
        encoded = self._encode(inputs, scaling, state, carries=self.spec.stateful)
        target = scaling.transform_targets(inputs, targets, self._supervised_in(inputs))
        forced = self.training and self.readout.teacher_forced
        teacher = self.folding.split(scaling.as_past(target[:, -1]) * targets.observed) if forced else None
        outputs = self.readout(encoded, teacher)
        parameters = self._combine(outputs)
        if self.head.in_data_units:
            parameters = scaling.inverse_transform(parameters, self.head)
            target = self.spec.aligned(inputs.past_target, targets.target, self._supervised_in(inputs))
        cost = self.head.loss(parameters, target[:, :, : self.readout.leads], self._magnitude(scaling, inputs, targets))
        cost = self.head.weigh(cost, scaling.unit, self.target_deviation)
        loss, count = self._mean(cost, inputs, targets, mask)
        forecasts = None
        if forecast:
            shared = not (self.readout.recursive or self.training)
            forecasts = self._raw(outputs, scaling) if shared else self._forecast(encoded, scaling)
        stateful = self.spec.stateful or state is not None
        return Output(forecasts, self._detach(encoded.state) if stateful else None, loss, count)

    def step(
        self,
        value: Tensor,
        state: Any = None,
        *,
        observed: Tensor | None = None,
        past_covariates: Tensor | None = None,
        known_covariates: Tensor | None = None,
        static: Tensor | None = None,
        seasonal_error: Tensor | None = None,
        level: Tensor | None = None,
        clock: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Output:
        """The forecast after one more time step, (B, 1, H, C, P), in constant memory.

        value: the newest value, (B, C) in raw units less ``level`` (B, C) float64, the same for all steps; None: 0.
        state: of the step before; None for the first one.
        observed: (B, C) bool, False where the value is missing; None: all of it is there.
        past_covariates: (B, U), of this step.
        known_covariates: (B, 1+H, K), of this step and the H steps ahead.
        static: (B, V). seasonal_error: (B, C), for scalers that ask for it.
        clock: (B,), of this step, for scalers that ask for it.
        identity: (B,), as in ``Inputs``; None: the only series of the training data, or one that it did not hold.

        Raises InputError where the model cannot carry a state, or for columns of the spec that are not given.
        """
        if self.why_stateless:
            raise InputError(f"this model cannot read values one by one: {self.why_stateless}.")
        if self.scaler.clocked and (clock is None or seasonal_error is None):
            raise InputError(
                "step needs clock and seasonal_error: model.scaler subtracts what belongs to the time of the step."
            )
        inputs = Inputs(
            past_target=value[:, None],
            level=value.new_zeros((), dtype=torch.float64).expand(value.shape) if level is None else level,
            past_observed=(torch.ones_like(value, dtype=torch.bool) if observed is None else observed)[:, None],
            past_covariates=self._given("past_covariates", past_covariates, value)[:, None],
            known_covariates=self._given(
                "known_covariates", known_covariates, value[:, None].expand(-1, 1 + self.spec.horizon, -1)
            ),
            static=self._given("static", static, value),
            seasonal_error=torch.ones_like(value) if seasonal_error is None else seasonal_error,
            series=value.new_zeros(len(value), dtype=torch.int64),
            reset=value.new_zeros(len(value), dtype=torch.bool),
            clock=value.new_zeros(len(value), dtype=torch.int64) if clock is None else clock,
            identity=value.new_full((len(value),), -1 if self.spec.series > 1 else 0, dtype=torch.int64)
            if identity is None
            else identity,
        )
        return self(inputs, state)

    def draw(self, inputs: Inputs, generator: Generator | None = None) -> Tensor:
        """One possible future of each window, (B, H, C), in the data's own units.

        See ``seqmodels.inference.prediction.sample_paths``.
        """
        drawn: list[Tensor] = []
        fed_back: list[Tensor] = []

        def read(parameters: Tensor) -> Tensor:
            drawn.append(self.head.sample(parameters, 1, generator)[0])
            return drawn[-1]

        def value(outputs: Tensor, values: Sequence[Tensor]) -> Tensor:
            fed_back.append(self._feed_back(outputs, tuple(fed_back), feeding, read))
            return self.folding.split(fed_back[-1])

        inputs, scaling = self._scale(inputs, None)
        feeding = scaling.for_feedback() if self.readout.recursive else scaling
        outputs = self.readout.forecast(self._encode(inputs, scaling)._replace(value=value))
        if not fed_back:
            return self.head.sample(self._raw(outputs, feeding), 1, generator)[0, :, -1]
        if len(fed_back) < outputs.shape[2]:  # the last lead has none to be fed to
            value(outputs[:, :, -1:], ())
        if self.head.in_data_units:
            return torch.cat(drawn, dim=2)[:, -1]
        return feeding.inverse_transform(torch.stack(fed_back, dim=1)[:, None, ..., None], Point())[:, -1, ..., 0]

    def _given(self, name: str, values: Tensor | None, like: Tensor) -> Tensor:
        """Columns handed to ``step``, of width 0 where the spec has none."""
        columns = getattr(self.spec, "statics" if name == "static" else name)
        if values is None and columns:
            raise InputError(f"step needs {name}, since the model was built for the columns {', '.join(columns)}.")
        return like[..., :0] if values is None else values

    def _scale(self, inputs: Inputs, state: Any) -> tuple[Inputs, Scaling]:
        """The windows, cut to what the backbone can read, and their scaling."""
        if state is None:
            inputs = self._whole_strides(inputs)
        elif self.why_stateless:
            raise InputError(f"this model cannot continue from a state: {self.why_stateless}.")
        steps = inputs.past_target.shape[1]
        if steps < self.burn_in:
            raise InputError(
                f"a window of {steps} past steps is too short for model.scaler, which takes its statistics from"
                f" {self.burn_in}."
            )
        origins = self._supervised_in(inputs)
        scaling = self.scaler(inputs, origins)
        if self.reference is not None:
            scaling = scaling.centred(self.reference(inputs, origins), self.reference.season)
        return inputs, scaling

    def _supervised_in(self, inputs: Inputs) -> Origins:
        """The origins that the loss sees in windows of this length."""
        if self.readout.every_step:
            return self.supervised
        return Origins(inputs.past_target.shape[1] - 1, self.supervised.stride)

    def _encode(self, inputs: Inputs, scaling: Scaling, state: Any = None, carries: bool = True) -> EncodedWindow:
        """Inputs of the readout; the backbone reads the past once.

        ``carries``: if False, there may be no state after the past.
        """
        rows, fold = self.folding.split_inputs(inputs), self.folding
        scaled, known = fold.split(scaling.transform(inputs.past_target)), self.describe.encode_known(rows)
        lengths = sequence_lengths(rows.past_observed) if self.spec.ragged else None
        carries = carries or state is not None or lengths is not None or self.readout.continues
        estimate = fold.split(self._estimate(scaling)) if self.reference is not None and self.readout.in_place else None
        x = self.describe(rows, scaled, known, estimate)
        features, after = self._read(x, rows.reset, state, lengths, carries)
        exists = self._existing(features, lengths)
        first = (self.supervised.first - self.available.first) // self.available.stride
        chosen = features[:, first:] if self.readout.every_step else newest(features, exists)
        if chosen.shape[1] == 0:
            raise InputError(
                f"a window of {inputs.past_target.shape[1]} past steps is too short for the model to forecast from."
            )
        feeding = scaling.for_feedback() if self.readout.recursive else scaling
        return EncodedWindow(
            features=chosen,
            all_features=features,
            exists=exists,
            state=after,
            last_value=scaled[:, -1] * rows.past_observed[:, -1] if self.spec.missing else scaled[:, -1],
            known_covariates=known,
            origins=self._supervised_in(inputs),
            stepper=lambda: self._stepper(rows, known),
            feedback=lambda values: fold.split(feeding.feedback([fold.join_values(one) for one in values])),
            value=lambda outputs, values: fold.split(
                self._feed_back(outputs, [fold.join_values(one) for one in values], feeding, self.head.mean)
            ),
            identity=rows.identity,
            progress=self.progress,
        )

    def _estimate(self, scaling: Scaling) -> Tensor:
        """The values that the network corrects on the scale of the past, (B, T, C): those behind an output of 0."""
        return scaling.transform(
            scaling.inverse_transform(scaling.unit.new_zeros(1, 1, 1, 1, 1), Point())[:, 0, ..., 0]
        )

    def _read(self, x: Tensor, reset: Tensor, state: Any, lengths: Tensor | None, carries: bool) -> tuple[Tensor, Any]:
        """Features of the steps x (B, T, F), and the state after them.

        The state is None where the backbone sees the future or nobody carries it; then, where only the last features
        are read, there are no others.
        """
        if not self.backbone.causal and lengths is not None:
            return self.backbone(x, lengths), None
        if not (self.backbone.causal and carries):
            last = not (self.readout.every_step or self.readout.attends)
            return self.backbone.forward_last(x) if last else self.backbone(x), None
        begin = self.backbone.initial_state(x)
        return self.backbone.unroll(x, begin if state is None else reset_where(reset, self.initial, begin, state))

    def _existing(self, features: Tensor, lengths: Tensor | None) -> Tensor | None:
        """(B, features) bool: True where sequences of these ``lengths`` (B,) have a step; None: everywhere."""
        if lengths is None or (features.shape[1] == 1 and not self.backbone.causal):
            return None
        steps = torch.arange(features.shape[1], device=features.device) * self.available.stride + self.available.first
        exists = steps < lengths.unsqueeze(1)
        if self.available.first > 0 and not bool(exists[:, 0].all()):
            raise InputError(
                f"a sequence of {int(lengths.min())} steps is too short for model.backbone, which needs"
                f" {self.available.first + 1}."
            )
        return exists

    def _stepper(self, inputs: Inputs, known: Tensor) -> Callable[[Tensor, int, Any], tuple[Tensor, Any]]:
        """A function that advances the backbone beyond the past, one known or forecast value at a time."""
        step, encode = self.backbone.stepper(), self.describe.future_encoder(inputs, known)
        return lambda value, lead, state: step(encode(value, lead), state)

    def _forecast(self, encoded: EncodedWindow, scaling: Scaling) -> Tensor:
        """Forecasts in the data's own units, (B, S, H, C, P), made without the truth."""
        if self.readout.recursive:
            return self._raw(self.readout.forecast(encoded), scaling.for_feedback())
        return self._raw(self.readout(encoded), scaling)

    def _raw(self, outputs: Tensor, scaling: Scaling) -> Tensor:
        """Outputs of the readout -> parameters in the data's own units."""
        return scaling.inverse_transform(self._combine(outputs), self.head)

    def _combine(self, outputs: Tensor) -> Tensor:
        """Outputs of the readout -> parameters in the scaler's units, (B, S, H, C, P)."""
        outputs = self.folding.join(outputs)
        if not self.folding.mirrored:
            return self.head(outputs)
        seen, mirrored = outputs.chunk(2)
        return (self.head(seen) + self.head.mirror(self.head(mirrored))) / 2

    def _feed_back(self, outputs: Tensor, values: Sequence[Tensor], scaling: Scaling, read: Read) -> Tensor:
        """The scaled value (B, C) that ``read`` takes from the forecast after ``values``."""
        parameters = self._combine(outputs)
        if not self.head.in_data_units:
            return read(parameters)[:, 0, 0]
        centre, unit = scaling.next_centre(values), scaling.unit[:, 0, 0]
        return (read(self.head.rescale(parameters, centre[:, None, None], scaling.unit))[:, 0, 0] - centre) / unit

    def _detach(self, state: Any) -> Any:
        return detach(state) if torch.is_grad_enabled() else state

    def _mean(self, cost: Tensor, inputs: Inputs, targets: Targets, mask: Tensor | None) -> tuple[Tensor, Tensor | int]:
        """Mean of the costs (B, S, leads, C) that count, and their number."""
        if not (self.spec.missing or self.spec.labels) and mask is None:
            return cost.mean(), cost.numel()
        observed = self._observed(inputs, targets)
        if mask is not None:
            observed = observed & mask[:, :, None, None]
        count = observed.sum()
        return (cost * observed).sum() / count.clamp(min=1), count

    def _observed(self, inputs: Inputs, targets: Targets) -> Tensor:
        """(B, S, leads, C) bool: True for observed values whose origin the scaler can serve."""
        origins = self._supervised_in(inputs)
        observed = self.spec.aligned(inputs.past_observed, targets.observed, origins)[:, :, : self.readout.leads]
        if self.spec.missing and self.scaler.per_window:  # before the first value, it has nothing to scale by
            return observed & observed_by(inputs.past_observed, origins)
        return observed

    def _magnitude(self, scaling: Scaling, inputs: Inputs, targets: Targets) -> Tensor | None:
        """Size of the truth in the scaler's units, (B, S, leads, C), for a ``relative`` head."""
        if not self.head.relative:
            return None
        target = self.spec.aligned(inputs.past_target, targets.target, self._supervised_in(inputs))
        if self.spec.levels and not self.spec.labels:
            target = (target + inputs.level[:, None, None]).to(target.dtype)
        return (target / scaling.unit).abs()[:, :, : self.readout.leads]

    def _whole_strides(self, inputs: Inputs) -> Inputs:
        """Windows without their oldest steps, so that strides end at the last one for any length."""
        extra = (inputs.past_target.shape[1] - self.spec.past_steps) % self.available.stride
        if extra == 0 or self.spec.ragged:  # of sequences that are padded, the ends differ
            return inputs
        return inputs._replace(**{name: getattr(inputs, name)[:, extra:] for name in OVER_TIME})


def newest(features: Tensor, exists: Tensor | None) -> Tensor:
    """Features (B, 1, D) of the last step that exists."""
    if exists is None:
        return features[:, -1:]
    return torch.take_along_dim(features, (exists.sum(dim=1) - 1).clamp(min=0)[:, None, None], dim=1)


def feature_origins(backbone: Backbone) -> Origins:
    """The past steps with features."""
    return Origins(backbone.offset, backbone.stride)


def supervised_origins(
    spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout, warm_up: int = 0
) -> Origins:
    """The past steps whose forecasts enter the loss; every one of them has ``warm_up`` steps up to it.

    With a forecast at every step, raises InputError for a backbone that sees the future, and for a scaler that takes
    its statistics from the whole window.
    """
    steps, every = spec.past_steps, readout.every_step
    if every and not backbone.causal and spec.beyond:
        other = "use model/readout=seq_to_vector" if spec.ahead else "use a causal backbone, such as gru"
        raise InputError(
            "model.backbone sees the future, and model.readout (seq_to_seq, iterated) asks for a forecast at every"
            f" step, whose target it would have seen; {other}."
        )
    chosen = readout.origins(feature_origins(backbone), steps)
    first = max(chosen.first, scaler.burn_in(spec) - 1, warm_up - 1) if every else chosen.first
    skipped = -(-(first - chosen.first) // chosen.stride)
    origins = Origins(chosen.first + skipped * chosen.stride, chosen.stride)
    if len(origins.of(steps)) <= 1 < len(chosen.of(steps)):
        takes = {"scaler takes its statistics from": scaler.burn_in(spec), "readout.corrects reads": warm_up}
        reads, needed = max(takes.items(), key=lambda one: one[1])
        raise InputError(
            f"model.{reads} the first {needed} of data.past_steps={steps} steps, which leaves only the last one to"
            " forecast from; use model/readout=seq_to_vector."
        )
    return origins


def refuse_what_does_not_fit(
    spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout, head: Head
) -> None:
    """Raise InputError for two parts that do not fit together."""
    if spec.labels:
        refuse_for_labels(spec, scaler, backbone, readout)
    if spec.kind == "past" and not readout.in_place:
        raise InputError("data=gaps asks for values of the window, and model.readout forecasts; use model=fill.")
    if spec.kind == "past" and not (scaler.centres and getattr(scaler, "centre", "") != "season"):
        raise InputError(
            "model.scaler is about forecasts, and data=gaps asks for values of the window; use model/scaler=window."
        )
    negative = [name for name, least in zip(spec.channels, spec.nonnegative, strict=False) if not least]
    if head.in_data_units and negative:
        raise InputError(
            f"model.head counts, and {negative[0]} holds negative values in the training rows; use another model/head."
        )
    if head.in_data_units and spec.levels:
        raise InputError(
            "model.head counts, and the counts of these data are too large for float32; use another model/head."
        )
    if readout.recursive and backbone.stride > 1:
        raise InputError(
            f"model.backbone gives features every {backbone.stride} steps, and model.readout=iterated needs"
            " them after each forecast that is fed back; use model/readout=seq_to_seq, or a stride of 1."
        )
    if readout.attends and len(feature_origins(backbone).of(spec.past_steps)) == 1:
        attention = "model.readout.attention" if readout.teacher_forced else "model.readout"
        raise InputError(
            f"{attention} looks back over the features of model.backbone, which gives only those of the last step; "
            + ("set it to false" if readout.teacher_forced else "use model/readout=seq_to_vector")
            + ", or use a backbone with features at every step (a bidirectional one: model.backbone.every_step=true)."
        )
    if scaler.in_own_units:
        return
    if head.relative:
        raise InputError(
            "model.head.loss=mape is relative to the data's own values, and model.scaler forecasts differences or"
            " an asinh; choose another loss or scaler."
        )
    if not (head.values_only and scaler.of_one_value) and head.parameters_per_value > 1:
        raise InputError(
            f"model.head describes each value by {head.parameters_per_value} numbers, which model.scaler cannot bring"
            " back from differences at less than data.horizon steps or, unless they are quantiles, from an asinh; use"
            " another scaler, model/head=point, or with asinh model/head=quantile."
        )


def refuse_for_labels(spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout) -> None:
    """Raise InputError for parts that cannot read or label whole sequences, or their steps."""
    if readout.corrects != "none":
        raise InputError(
            f"model.readout.corrects={readout.corrects} is about forecasts, and data.label asks for labels."
        )
    if spec.per_step:
        refuse_for_steps(spec, scaler, backbone, readout)
    elif readout.every_step or readout.recursive or readout.teacher_forced:
        raise InputError(
            "model.readout forecasts steps, and data.label asks for one label of each sequence; use model=classifier or"
            " regressor, or model/readout=seq_to_vector or pooled."
        )
    elif not (backbone.causal or readout.attends) and len(feature_origins(backbone).of(spec.past_steps)) > 1:
        raise InputError(
            "model.backbone sees the future and gives features of each step, of which model.readout takes the last one,"
            " that has little ahead; use model/readout=pooled, or model.backbone.every_step=false if it has that key."
        )
    if not spec.ragged:
        return
    if not (backbone.causal or backbone.reads_lengths):
        raise InputError(
            "model.backbone sees the future and does not know where a sequence ends, and these sequences differ in"
            " length; use inception, bidirectional_gru, bidirectional_lstm or a causal backbone."
        )
    if backbone.causal and backbone.offset >= spec.past_steps - 1 > 0:
        raise InputError(
            f"model.backbone reads a window of {spec.past_steps} steps as a whole, and these sequences differ in"
            " length; use a recurrent or convolutional backbone."
        )


def refuse_for_steps(spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout) -> None:
    """Raise InputError for parts that do not give each step of a sequence a label."""
    if not readout.every_step or readout.recursive:
        raise InputError(
            f"model.readout predicts once from a whole sequence, and {spec.labels[0]} is to be predicted at each step;"
            " use model=symbols or model/readout=seq_to_seq."
        )
    first, stride = feature_origins(backbone)
    if (first, stride) != (0, 1):
        raise InputError(
            f"model.backbone has no feature for each step (the first after {first + 1}, then every {stride}), and"
            f" {spec.labels[0]} is to be predicted at each; use a recurrent one, wavenet or tcn, a bidirectional one"
            " with model.backbone.every_step=true, and stride=1 with padding=causal for a convolution."
        )
    if scaler.burn_in(spec) > 1:
        raise InputError(
            f"model.scaler takes its statistics from the first {scaler.burn_in(spec)} steps, and {spec.labels[0]} is to"
            " be predicted at each; use model/scaler=standard."
        )


def why_stateless(spec: WindowSpec, backbone: Backbone, scaler: Scaler, readout: Readout) -> str:
    """Why no state of such a model can be carried from window to window, and the way out; "" if one can."""
    if not backbone.causal:
        return "model.backbone sees the future, so that it has no state; use a causal one"
    first, stride = feature_origins(backbone)
    if (first, stride) != (0, 1):
        return (
            f"model.backbone has no feature for each step (the first after {first + 1}, then every {stride}); use a"
            " recurrent one, wavenet or tcn, and stride=1 with padding=causal for a convolution"
        )
    if scaler.per_window:
        return (
            "model.scaler scales each window by itself, so that the state would mean something else in the next one;"
            " use model/scaler=standard"
        )
    if readout.corrects not in ("none", "naive"):
        return (
            f"model.readout.corrects={readout.corrects} reads more than the newest step, which no state holds; use"
            " model.readout.corrects=none"
        )
    if readout.corrects == "naive" and spec.missing:
        return (
            "model.readout.corrects=naive looks for the last observed value, which no state holds; use"
            " model.readout.corrects=none"
        )
    if readout.attends:
        if readout.teacher_forced:
            return "model.readout.attention looks back over one window only; set it to false"
        return "model.readout looks back over one window only; use model/readout=seq_to_vector"
    return ""
