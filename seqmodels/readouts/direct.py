"""Readouts without a decoder: one linear layer on the features, at the last step, at every step, or step by step."""

from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least
from seqmodels.readouts.base import Encoded, Readout
from seqmodels.window import Origins, WindowSpec


class Direct(Readout):
    """One linear layer gives all leads at once, and a small network adds what the covariates known for each lead say.

    ``known_hidden``: units of that network; 0: forecasts see what is known for the next step only, as the backbone
    does. There is no such network for a single lead.
    """

    def __init__(self, spec: WindowSpec, size: int, parameters: int, state: Any = None, known_hidden: int = 32):
        super().__init__(spec, size, parameters)
        require_at_least(0, "model.readout", known_hidden=known_hidden)
        outputs, known = self.channels * parameters, spec.encoded(spec.known_covariates)
        self.linear = nn.Linear(size, self.leads * outputs)
        asked = known_hidden > 0 and known > 0 and self.leads > 1
        self.correction = KnownAhead(size, known, known_hidden, self.leads, outputs) if asked else None

    def forward(self, encoded: Encoded, teacher: Tensor | None = None) -> Tensor:
        forecast = self.read(encoded.features)
        if self.correction is None:
            return forecast
        return forecast + self.correction(encoded).unflatten(-1, (self.channels, self.parameters_per_value))

    def read(self, features: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, leads, C, P)."""
        return self.linear(features).unflatten(-1, (self.leads, self.channels, self.parameters_per_value))


class KnownAhead(nn.Module):
    """What the covariates known for each lead add to a forecast, by one network for all origins and leads.

    From origin t for lead h: W relu(A features(t) + B known(t + h) + bias(h)). W begins at 0, and training with the
    forecasts that the features alone give. Source: the local decoder of Wen et al. 2017.
    """

    def __init__(self, size: int, known: int, hidden: int, leads: int, outputs: int):
        super().__init__()
        self.leads = leads
        self.features = nn.Linear(size, hidden, bias=False)
        self.known = nn.Linear(known, hidden, bias=False)
        self.bias = nn.Parameter(torch.zeros(leads, hidden))
        self.weight = nn.Parameter(torch.zeros(outputs, hidden))  # no layer, whose weights ``initialise`` would set

    def forward(self, encoded: Encoded) -> Tensor:
        """(B, S, leads, outputs)."""
        first, stride = encoded.origins
        ahead = self.known(encoded.known).unfold(1, self.leads, 1)[:, first + 1 :: stride].transpose(2, 3)
        hidden = self.features(encoded.features).unsqueeze(2) + ahead
        hidden = hidden.add_(self.bias).relu_()  # in place: it is (B, S, leads, hidden), the largest tensor here
        return nn.functional.linear(hidden, self.weight)


class SeqToVector(Direct):
    """One forecast per window, from the features of the last step: S = 1."""

    every_step = False

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return Origins(origins.of(past_steps)[-1], origins.stride)


class SeqToSeq(Direct):
    """A forecast from every step that has features, each trained on the next H values: "forking sequences".

    A layer applied at every step is the book's TimeDistributed(Dense). Source: Géron, chapter 15; Wen et al. 2017.
    """

    every_step = True

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return origins


class Iterated(Direct):
    """Trained one step ahead at every step; forecasts further ahead by feeding its own forecasts back.

    The state is carried on, so the past is read once however long the horizon; memory does not grow with it. It sees
    nothing of the past covariates of the future, so it refuses them.
    """

    every_step = True
    recursive = True

    def __init__(self, spec: WindowSpec, size: int, parameters: int, state: Any = None):
        super().__init__(spec, size, parameters)
        self.horizon = spec.horizon
        if spec.past_covariates:
            raise InputError(
                f"model.readout=iterated feeds forecasts back, and data.past_covariates={list(spec.past_covariates)}"
                " are not forecast; leave them out, make them targets, or use model/readout=seq_to_seq."
            )

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return origins

    def forecast(self, encoded: Encoded) -> Tensor:
        """(B, 1, H, C, P): from the last origin only."""
        advance, state = encoded.stepper(), encoded.state
        leads, values = [self.read(encoded.features[:, -1:])], []
        for lead in range(1, self.horizon):
            values.append(encoded.mean(leads[-1])[:, 0, 0])
            features, state = advance(encoded.next_input(values), lead, state)
            leads.append(self.read(features.unsqueeze(1)))
        return torch.cat(leads, dim=2)
