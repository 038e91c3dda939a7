"""Readouts without a decoder: one linear layer on the features, at the last step, at every step, or step by step."""

from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least
from seqmodels.readouts.base import EncodedWindow, Readout
from seqmodels.window import Origins, WindowSpec


class Direct(Readout):
    """One linear layer gives all leads at once; a small network adds the effect of the covariates known for each lead.

    ``known_hidden``: units of that network; 0: without it, forecasts see only the covariates of the next step, through
    the backbone. A single lead needs no such network. ``corrects``: see ``Readout``.
    """

    def __init__(
        self,
        spec: WindowSpec,
        size: int,
        parameters: int,
        state: Any = None,
        known_hidden: int = 32,
        corrects: str = "none",
    ):
        super().__init__(spec, size, parameters, corrects)
        require_at_least(0, "model.readout", known_hidden=known_hidden)
        outputs, known = self.channels * parameters, spec.encoded(spec.known_covariates)
        self.linear = nn.Linear(size, self.leads * outputs)
        asked = known_hidden > 0 and known > 0 and self.leads > 1
        self.correction = KnownAhead(size, known, known_hidden, self.leads, outputs) if asked else None

    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        return self.add_known(self.read(encoded.features), encoded)

    def add_known(self, forecast: Tensor, encoded: EncodedWindow) -> Tensor:
        """Add the effect of the covariates known for each lead, (B, S, leads, C, P)."""
        if self.correction is None:
            return forecast
        return forecast + self.correction(encoded).unflatten(-1, (self.channels, self.parameters_per_value))

    def read(self, features: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, leads, C, P)."""
        return self.linear(features).unflatten(-1, (self.leads, self.channels, self.parameters_per_value))


class KnownAhead(nn.Module):
    """Correction of a forecast by the covariates known for each lead: one network for all origins and leads.

    From origin t for lead h: W relu(A features(t) + B known(t + h) + bias(h)). W begins at 0, so that
    training begins with the forecasts from the features alone. Source: the local decoder of Wen et al. 2017.
    """

    def __init__(self, size: int, known: int, hidden: int, leads: int, outputs: int):
        super().__init__()
        self.leads = leads
        self.features = nn.Linear(size, hidden, bias=False)
        self.known = nn.Linear(known, hidden, bias=False)
        self.bias = nn.Parameter(torch.zeros(leads, hidden))
        self.weight = nn.Parameter(torch.zeros(outputs, hidden))  # no layer, whose weights ``initialise`` would set

    def forward(self, encoded: EncodedWindow) -> Tensor:
        """(B, S, leads, outputs)."""
        first, stride = encoded.origins
        known = self.known(encoded.known_covariates[:, first + 1 :])  # only the steps ahead of an origin
        ahead = known.unfold(1, self.leads, 1)[:, ::stride].transpose(2, 3)
        hidden = self.features(encoded.features).unsqueeze(2) + ahead
        hidden = hidden.add_(self.bias).relu_()  # in place: it is (B, S, leads, hidden), the largest tensor here
        return nn.functional.linear(hidden, self.weight)


class SeqToVector(Direct):
    """One forecast per window, from the features of the last step: S = 1."""

    every_step = False
    continues = False

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return Origins(origins.of(past_steps)[-1], origins.stride)


class SeqToSeq(Direct):
    """A forecast from every step with features, each trained on the next H values: "forking sequences".

    A layer applied at every step is the book's TimeDistributed(Dense). Source: Géron, chapter 15; Wen et al. 2017.
    """

    every_step = True
    continues = False

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return origins


class Iterated(Direct):
    """Trained one step ahead at every step; forecasts further ahead by feeding its own forecasts back.

    The past is read once, and the state is advanced lead by lead, so that memory does not grow with the horizon.
    Raises InputError for past covariates, whose future values are unknown, and for ``corrects="linear"``, which
    forecasts all leads at once.
    """

    every_step = True
    recursive = True

    def __init__(self, spec: WindowSpec, size: int, parameters: int, state: Any = None, corrects: str = "none"):
        super().__init__(spec, size, parameters, corrects=corrects)
        self.horizon = spec.horizon
        if corrects == "linear":
            raise InputError(
                "model.readout.corrects=linear forecasts all leads from the origin, and model.readout=iterated one lead"
                " from the one before; use corrects=naive or seasonal, or model/readout=seq_to_seq."
            )
        if spec.past_covariates:
            raise InputError(
                f"model.readout=iterated feeds forecasts back, and data.past_covariates={list(spec.past_covariates)}"
                " are not forecast; leave them out, make them targets, or use model/readout=seq_to_seq."
            )

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return origins

    def forecast(self, encoded: EncodedWindow) -> Tensor:
        """(B, 1, H, C, P): from the last origin only."""
        advance, state = encoded.stepper(), encoded.state
        leads, values = [self.read(encoded.features[:, -1:])], list[Tensor]()
        for lead in range(1, self.horizon):
            values.append(encoded.value(leads[-1], values))
            features, state = advance(encoded.feedback(values), lead, state)
            leads.append(self.read(features.unsqueeze(1)))
        return torch.cat(leads, dim=2)
