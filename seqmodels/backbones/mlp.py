"""Backbones that see a fixed number of past steps: linear regression on lags, and a multilayer perceptron."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.errors import InputError, require_choice, require_each_at_least, require_fraction

MLP_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class LinearState(NamedTuple):
    """Past steps that are still needed, and the latest features."""

    past: Tensor  # (B, lags - 1, F), fewer at the beginning of a sequence
    latest: Tensor  # (B, D), zeros before the first features


class Linear(Backbone):
    """The last ``lags`` steps, flattened; the weights of the linear regression are in the readout.

    The first features belong to step lags - 1. ``lags=None``: the whole window, thus one origin per window
    (Flatten + Dense in Géron's book).
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
        steps = torch.cat([state.past, x], dim=1)
        past = steps[:, max(0, steps.shape[1] - self.lags + 1) :]
        if steps.shape[1] < self.lags:
            return x.new_zeros(x.shape[0], 0, self.size), LinearState(past, state.latest)
        features = steps.unfold(1, self.lags, 1).transpose(2, 3).flatten(2)  # (B, S, lags F)
        return features, LinearState(past, features[:, -1])

    def step(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        """One step, see ``Backbone``; zeros before step lags - 1."""
        _, state = self.unroll(x[:, None], state)
        return state.latest, state


class Mlp(Backbone):
    """Multilayer perceptron on the last ``lags`` steps: hidden layers of ``units``; the readout is the output layer.

    The first features belong to step lags - 1. ``lags=None``: the whole window. ``dropout`` applies to the output of
    every hidden layer.
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
        require_each_at_least(1, "model.backbone", units=units)
        require_fraction("model.backbone", dropout=dropout)
        require_choice(MLP_ACTIVATIONS, "model.backbone", activation=activation)
        self.flatten = Linear(features, past_steps, lags)
        self.offset, self.receptive_field = self.flatten.offset, self.flatten.receptive_field
        self.size = units[-1]
        layers = list[nn.Module]()
        for inputs, outputs in zip((self.flatten.size, *units), units, strict=False):
            layers += [nn.Linear(inputs, outputs), MLP_ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def initial_state(self, x: Tensor) -> LinearState:
        return self.flatten.initial_state(x)

    def unroll(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        values, state = self.flatten.unroll(x, state)
        return self.layers(values), state

    def step(self, x: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
        """One step, see ``Backbone``; zeros before step lags - 1."""
        features, state = self.unroll(x[:, None], state)
        return features[:, -1] if features.shape[1] else x.new_zeros(x.shape[0], self.size), state
