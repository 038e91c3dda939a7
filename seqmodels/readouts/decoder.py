"""Encoder-decoder: a second network starts from the final state of the backbone and unrolls over the horizon."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone, initial_state, memory, replace_memory
from seqmodels.errors import InputError
from seqmodels.readouts.base import EncodedWindow, Readout
from seqmodels.window import Origins, WindowSpec

SCHEDULES = ("constant", "linear", "exponential", "inverse_sigmoid")


class EncoderDecoder(Readout):
    """The decoder reads, lead by lead, the value before (its own forecast, or in training the truth) and the
    covariates known for that lead; a linear layer turns its output into the forecast. S = 1.

    It begins with the final state of the backbone if the memories of both have the same sizes; otherwise with a state
    computed from the last features by one linear layer and tanh, so that any backbone can be the encoder.

    ``teacher_forcing``: share of true inputs when training begins; ``teacher_forcing_end``: when it ends; between them
    the share follows ``schedule`` ("constant" stays at the first). Below 1 the decoder learns from its own errors
    (scheduled sampling). ``attention``: the output of the decoder also looks back at all features of the backbone,
    weighted by similarity. ``corrects``: see ``Readout``.

    Source: Sutskever et al. 2014; scheduled sampling: Bengio et al. 2015, section 2.4; attention: Luong et al. 2015,
    section 3.1, with scaled products and without input feeding.
    """

    every_step = False
    teacher_forced = True

    def __init__(
        self,
        spec: WindowSpec,
        size: int,
        parameters: int,
        decoder: Callable[..., Backbone],
        state: Any = None,
        attention: bool = False,
        teacher_forcing: float = 1.0,
        teacher_forcing_end: float = 0.0,
        schedule: str = "linear",
        corrects: str = "none",
    ):
        super().__init__(spec, size, parameters, corrects)
        if schedule not in SCHEDULES:
            raise InputError(f"model.readout.schedule is {schedule!r}; it must be one of {', '.join(SCHEDULES)}.")
        for name, value in (("teacher_forcing", teacher_forcing), ("teacher_forcing_end", teacher_forcing_end)):
            if not 0 <= value <= 1:
                raise InputError(f"model.readout.{name} is {value}; it must lie between 0 and 1.")
        self.shares, self.schedule = (teacher_forcing, teacher_forcing_end), schedule
        inputs = self.channels + spec.encoded(spec.known_covariates)
        self.decoder = decoder(features=inputs, past_steps=spec.horizon)
        if not self.decoder.causal or self.decoder.stride != 1 or self.decoder.offset != 0:
            raise InputError(
                "model.readout.decoder must give features at every step and see only the past; use rnn, lstm or gru."
            )
        self.initial, self.encoder_initial = initial_state(self.decoder, inputs), state
        own = [part.shape for part in memory(self.initial, self.initial)]
        alike = state is not None and [part.shape for part in memory(state, state)] == own
        self.shapes = [shape[1:] for shape in own]
        self.sizes = [shape.numel() for shape in own]
        self.bridge = None if alike else nn.Linear(size, sum(self.sizes))
        self.attention = Attention(self.decoder.size, size) if attention else None
        self.attends = attention
        self.linear = nn.Linear(self.decoder.size, self.channels * parameters)

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return Origins(origins.of(past_steps)[-1], origins.stride)

    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        share = 0.0 if teacher is None else self.share(encoded.progress)
        if teacher is None or share == 0.0:
            return self._unroll(encoded, None)
        if share < 1.0:
            return self._unroll(encoded, teacher, torch.rand(teacher.shape[:2], device=teacher.device) < share)
        before = torch.cat([encoded.last_value[:, None], teacher[:, :-1]], dim=1)
        inputs = torch.cat([before, encoded.known_covariates[:, -self.leads :]], dim=-1)
        outputs, _ = self.decoder.unroll(inputs, self._first_state(encoded))
        return self._read(outputs, encoded)

    def share(self, progress: float) -> float:
        """Share of true inputs when ``progress`` (0 ... 1) of the training is done."""
        first, last = self.shares
        if self.schedule == "constant":
            return first
        if self.schedule == "linear":
            fallen = progress
        elif self.schedule == "exponential":
            fallen = (1 - math.exp(-5 * progress)) / (1 - math.exp(-5))
        else:
            low, high = 1 / (1 + math.exp(5)), 1 / (1 + math.exp(-5))
            fallen = (1 / (1 + math.exp(5 - 10 * progress)) - low) / (high - low)
        return first + (last - first) * fallen

    def _unroll(self, encoded: EncodedWindow, teacher: Tensor | None, true: Tensor | None = None) -> Tensor:
        """Lead by lead; the next input is the truth where ``true`` (B, H), else the forecast."""
        value, state, known = encoded.last_value, self._first_state(encoded), encoded.known_covariates[:, -self.leads :]
        leads: list[Tensor] = []
        values: list[Tensor] = []
        for lead in range(self.leads):
            output, state = self.decoder.step(torch.cat([value, known[:, lead]], dim=-1), state)
            leads.append(self._read(output[:, None], encoded))
            values.append(encoded.value(leads[-1], values))
            value = encoded.feedback(values)
            if teacher is not None and true is not None:
                value = torch.where(true[:, lead, None], teacher[:, lead], value)
        return torch.cat(leads, dim=2)

    def _read(self, outputs: Tensor, encoded: EncodedWindow) -> Tensor:
        """(B, H, decoder size) -> (B, 1, H, C, P)."""
        if self.attention is not None:
            outputs = self.attention(outputs, encoded.all_features)
        return self.linear(outputs).unflatten(-1, (self.channels, self.parameters_per_value)).unsqueeze(1)

    def _first_state(self, encoded: EncodedWindow) -> Any:
        """The decoder's first state."""
        own = self.decoder.initial_state(encoded.last_value[:, None])
        if self.bridge is None:
            return replace_memory(self.initial, memory(self.encoder_initial, encoded.state), own)
        parts = torch.tanh(self.bridge(encoded.features[:, -1])).split(self.sizes, dim=1)
        shaped = [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return replace_memory(self.initial, shaped, own)


class Attention(nn.Module):
    """Adds context to each output of the decoder: an average of the backbone's features by scaled dot products."""

    def __init__(self, size: int, features: int):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(size, size), nn.Linear(features, size), nn.Linear(features, size)
        self.mix = nn.Linear(2 * size, size)

    def forward(self, outputs: Tensor, features: Tensor) -> Tensor:
        """(B, H, size), (B, T, D) -> (B, H, size)."""
        query, key, value = self.query(outputs), self.key(features), self.value(features)
        context = nn.functional.scaled_dot_product_attention(query, key, value)
        return torch.tanh(self.mix(torch.cat([outputs, context], dim=-1)))
