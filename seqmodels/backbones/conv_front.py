"""A convolution, possibly strided, that condenses the sequence before another backbone reads it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.causal import Backbone
from seqmodels.errors import InputError, require_at_least

ACTIVATIONS = {"linear": nn.Identity, "relu": nn.ReLU}
PADDINGS = ("valid", "causal")


class ConvolutionalState(NamedTuple):
    """Steps not yet consumed (B, fewer than kernel, F), state of the backbone behind, latest features (B, D)."""

    waiting: Tensor
    recurrent: Any
    latest: Tensor


class Convolutional(Backbone):
    """A convolution of ``kernel`` and ``stride`` in front of another backbone, which reads what is left of the steps.

    ``recurrent(features=filters, past_steps=steps left)`` makes that backbone; recurrent ones are usual, any will do.
    ``padding="valid"``: every output sees ``kernel`` steps, the first one stands at kernel - 1, hence the book's
    targets ``Y[:, 3::2]`` for kernel 4, stride 2. ``padding="causal"``: zeros before the window, so that none of its
    first steps is lost. With strides, outputs are counted back from the newest step, which the last one always
    sees: where the window is not a whole number of strides, a valid convolution too has zeros put before its *front*.

    Source: Géron, chapter 15 (linear, 2nd ed.; ReLU, 3rd ed.); causal: Moroney 2019.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        recurrent: Callable[..., Backbone],
        filters: int = 20,
        kernel: int = 4,
        stride: int = 2,
        padding: str = "valid",
        activation: str = "linear",
    ):
        super().__init__()
        _check(past_steps, filters, kernel, stride, padding, activation)
        self.kernel, self.own_stride = kernel, stride
        first = (past_steps - 1) % stride if padding == "causal" else kernel - 1 - (kernel - past_steps) % stride
        self.zeros = kernel - 1 - first  # put before the window
        self.convolution = nn.Linear(kernel * features, filters)
        self.activation = ACTIVATIONS[activation]()
        self.recurrent = _behind(recurrent, filters, (past_steps - 1 - first) // stride + 1)
        self.size, self.causal = self.recurrent.size, self.recurrent.causal
        self.stride = stride * self.recurrent.stride
        self.offset = first + stride * self.recurrent.offset
        if self.recurrent.receptive_field is not None:
            self.receptive_field = kernel + stride * (self.recurrent.receptive_field - 1)

    def initial_state(self, x: Tensor) -> ConvolutionalState:
        """As the contract; raises TypeError where the backbone behind sees the future."""
        zeros = x.new_zeros(x.shape[0], self.zeros, x.shape[2])
        behind = self.recurrent.initial_state(x.new_zeros(x.shape[0], 0, self.convolution.out_features))
        return ConvolutionalState(zeros, behind, x.new_zeros(x.shape[0], self.size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, D); without a state, so that the backbone behind may see the future."""
        condensed, _ = self._condense(torch.cat([x.new_zeros(x.shape[0], self.zeros, x.shape[2]), x], dim=1))
        return self.recurrent(condensed) if condensed.shape[1] else x.new_zeros(x.shape[0], 0, self.size)

    def unroll(self, x: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        condensed, waiting = self._condense(torch.cat([state.waiting, x], dim=1))
        if not condensed.shape[1]:
            return x.new_zeros(x.shape[0], 0, self.size), state._replace(waiting=waiting)
        features, recurrent = self.recurrent.unroll(condensed, state.recurrent)
        latest = features[:, -1] if features.shape[1] else state.latest
        return features, ConvolutionalState(waiting, recurrent, latest)

    def step(self, x: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        """As the contract; between two strides the latest features, zeros before the first output."""
        condensed, waiting = self._condense(torch.cat([state.waiting, x[:, None]], dim=1))
        if not condensed.shape[1]:
            return state.latest, state._replace(waiting=waiting)
        latest, recurrent = self.recurrent.step(condensed[:, 0], state.recurrent)
        return latest, ConvolutionalState(waiting, recurrent, latest)

    def _condense(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """Steps (B, T, F) -> outputs of the convolution (B, as many as fit, filters), steps that later ones need."""
        if history.shape[1] < self.kernel:
            return history.new_zeros(history.shape[0], 0, self.convolution.out_features), history
        windows = history.unfold(1, self.kernel, self.own_stride)  # (B, S, F, kernel)
        condensed = self.activation(self.convolution(windows.transpose(2, 3).flatten(2)))
        return condensed, history[:, windows.shape[1] * self.own_stride :]


def _check(past_steps: int, filters: int, kernel: int, stride: int, padding: str, activation: str) -> None:
    if not 1 <= stride <= kernel <= past_steps:
        raise InputError(
            f"model.backbone.stride={stride} and kernel={kernel} must satisfy 1 <= stride <= kernel <="
            f" data.past_steps={past_steps}; otherwise steps would be skipped or no output would remain."
        )
    require_at_least(1, "model.backbone", filters=filters)
    for name, value, known in (("padding", padding, PADDINGS), ("activation", activation, tuple(ACTIVATIONS))):
        if value not in known:
            raise InputError(f"model.backbone.{name} is {value!r}; it must be one of {', '.join(known)}.")


def _behind(recurrent: Callable[..., Backbone], filters: int, steps: int) -> Backbone:
    """The backbone behind the convolution; what it refuses is refused with the place and the steps it has here."""
    try:
        return recurrent(features=filters, past_steps=steps)
    except InputError as error:
        message = str(error).replace("model.backbone", "model.backbone.recurrent")
        raise InputError(message.replace("data.past_steps=", "the steps left by the convolution, ")) from error
