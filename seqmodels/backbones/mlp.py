"""Backbones that read a fixed number of steps at once: linear regression on lags, and a multilayer perceptron."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.causal import Backbone
from seqmodels.errors import InputError, require_share


class LinearState(NamedTuple):
    """The last values (B, lags - 1, F), fewer at the beginning; latest features (B, D), zeros before there are any."""

    values: Tensor
    latest: Tensor


class Linear(Backbone):
    """Features at time t are the last ``lags`` steps, flattened; no weights, the readout has them.

    ``lags=None`` takes the whole window: one origin per window, as the book's Flatten + Dense.
    The first features stand at step lags - 1, where there are enough values.
    """

    def __init__(self, features: int, past_steps: int, lags: int | None = None):
        super().__init__()
        self.lags = past_steps if lags is None else lags
        if not 1 <= self.lags <= past_steps:
            raise InputError(f"model.backbone.lags is {lags}; it must be between 1 and data.past_steps={past_steps}.")
        self.size = self.lags * features
        self.offset = self.lags - 1
        self.receptive_field = self.lags

    def initial_state(self, x: Tensor) -> LinearState:
        return LinearState(x[:, :0], x.new_zeros(x.shape[0], self.size))

    def unroll(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        history = torch.cat([state.values, x], dim=1)
        kept = history[:, max(0, history.shape[1] - self.lags + 1) :]
        if history.shape[1] < self.lags:
            return x.new_zeros(x.shape[0], 0, self.size), LinearState(kept, state.latest)
        features = history.unfold(1, self.lags, 1).transpose(2, 3).flatten(2)  # (B, S, lags F)
        return features, LinearState(kept, features[:, -1])

    def step(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        """As the contract; zeros before there are enough lags."""
        _, state = self.unroll(x[:, None], state)
        return state.latest, state


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Mlp(Backbone):
    """Hidden layers of ``units`` on the last ``lags`` steps, flattened; the readout is the output layer.

    ``lags=None`` takes the whole window. The first features stand at step lags - 1; ``dropout`` acts on the output
    of every layer.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        lags: int | None = None,
        units: Sequence[int] = (32, 32),
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        if not units or min(units) < 1:
            raise InputError(f"model.backbone.units is {list(units)}; it must hold numbers of at least 1.")
        require_share("model.backbone", dropout=dropout)
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise InputError(f"model.backbone.activation is {activation!r}; it must be one of {known}.")
        self.lagged = Linear(features, past_steps, lags)
        self.offset, self.receptive_field = self.lagged.offset, self.lagged.receptive_field
        self.size = units[-1]
        layers = list[nn.Module]()
        for inputs, outputs in zip((self.lagged.size, *units), units, strict=False):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def initial_state(self, x: Tensor) -> LinearState:
        return self.lagged.initial_state(x)

    def unroll(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        values, state = self.lagged.unroll(x, state)
        return self.layers(values), state

    def step(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        """As the contract; zeros before there are enough lags."""
        features, state = self.unroll(x[:, None], state)
        return features[:, -1] if features.shape[1] else x.new_zeros(x.shape[0], self.size), state
