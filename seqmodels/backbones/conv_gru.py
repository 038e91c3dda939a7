"""A strided convolution that shortens the sequence, and a GRU on what remains."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.recurrent import Gru, RecurrentState
from seqmodels.causal import Backbone
from seqmodels.errors import InputError, require_at_least

ACTIVATIONS = {"linear": nn.Identity, "relu": nn.ReLU}


class ConvGruState(NamedTuple):
    """Steps not yet consumed (B, fewer than kernel, F), state of the GRU, latest features (B, D)."""

    waiting: Tensor
    recurrent: RecurrentState
    latest: Tensor


class ConvGru(Backbone):
    """Valid convolution of ``kernel`` and ``stride`` before a GRU; forecasts start at every ``stride``-th step.

    Output j sees the steps up to kernel - 1 + j stride, hence offset = kernel - 1 and the book's targets
    ``Y[:, 3::2]`` for kernel 4, stride 2. Where the window is not a whole number of strides, zeros are put before its
    *front*, so that the last output always sees the newest observation.

    Source: Géron, chapter 15 (linear, 2nd ed.; ReLU, 3rd ed.).
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        filters: int = 20,
        kernel: int = 4,
        stride: int = 2,
        activation: str = "linear",
        hidden: int = 20,
        layers: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        if not 1 <= stride <= kernel <= past_steps:
            raise InputError(
                f"model.backbone.stride={stride} and kernel={kernel} must satisfy 1 <= stride <= kernel <= {past_steps}"
                " (data.past_steps); otherwise steps would be skipped or no output would remain."
            )
        require_at_least(1, "model.backbone", filters=filters)
        if activation not in ACTIVATIONS:
            raise InputError(
                f"model.backbone.activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}."
            )
        self.kernel, self.stride = kernel, stride
        self.padding = (kernel - past_steps) % stride
        self.offset = kernel - 1 - self.padding
        self.convolution = nn.Linear(kernel * features, filters)
        self.activation = ACTIVATIONS[activation]()
        self.recurrent = Gru(filters, past_steps, hidden, layers, dropout)
        self.size = self.recurrent.size

    def initial_state(self, x: Tensor) -> ConvGruState:
        batch, _, features = x.shape
        return ConvGruState(
            x.new_zeros(batch, self.padding, features), self.recurrent.initial_state(x), x.new_zeros(batch, self.size)
        )

    def unroll(self, x: Tensor, state: ConvGruState) -> tuple[Tensor, ConvGruState]:
        history = torch.cat([state.waiting, x], dim=1)
        if history.shape[1] < self.kernel:
            return x.new_zeros(x.shape[0], 0, self.size), state._replace(waiting=history)
        windows = history.unfold(1, self.kernel, self.stride)  # (B, S, F, kernel)
        shortened = self.activation(self.convolution(windows.transpose(2, 3).flatten(2)))
        features, recurrent = self.recurrent.unroll(shortened, state.recurrent)
        return features, ConvGruState(history[:, windows.shape[1] * self.stride :], recurrent, features[:, -1])

    def step(self, x: Tensor, state: ConvGruState) -> tuple[Tensor, ConvGruState]:
        """As the contract; between two strides the latest features, zeros before the first output."""
        _, state = self.unroll(x[:, None], state)
        return state.latest, state
