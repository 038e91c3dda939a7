"""What it means to see only the past: the contract of backbones, and the convolution that keeps it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Features at each time step: (B, T, F) -> (B, S, D).

    Output j belongs to time step ``offset + j * stride``. A causal backbone reads a sequence in pieces of any
    length: ``unroll`` takes the state that the steps before have left and returns the next one, so that one code
    path serves training, carrying state over, and step-by-step generation in constant memory.
    """

    size: int  # D
    stride: int = 1
    offset: int = 0
    causal: bool = True
    receptive_field: int | None = None  # steps that can reach one output; None: unbounded
    advice: tuple[str, ...] = ()  # a sentence for each thing the user should know before training

    @abstractmethod
    def initial_state(self, x: Tensor) -> Any:
        """The state before the first step of x (B, T, F): a NamedTuple of tensors on its device."""

    @abstractmethod
    def unroll(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Features of the steps x (B, T, F) after ``state``, and the state after them."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, D), from the initial state."""
        return self.unroll(x, self.initial_state(x))[0]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step x (B, F) -> features (B, D), next state; equals ``forward`` at that step.

        Between two strides the latest features stay valid, so a strided backbone keeps them in its state.
        """
        features, state = self.unroll(x[:, None], state)
        return features[:, -1], state

    def stepper(self) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
        """``step`` for many steps in a row, with the weights as they are now; some backbones are faster by it."""
        return self.step


class CausalConv(nn.Module):
    """Convolution whose output at time t depends on no input after t: (B, T, in) -> (B, T, out).

    y(t) = b + sum_i W_i x(t - (kernel - 1 - i) dilation), with zeros before the first step. It runs as one matrix
    product on the stacked taps, in the layout of the data: half the time of ``conv1d`` for few channels on a CPU,
    and nothing to transpose. It needs the ``span`` steps before the ones it is given.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1):
        super().__init__()
        self.inputs, self.kernel, self.dilation = inputs, kernel, dilation
        self.span = (kernel - 1) * dilation
        self.taps = nn.Linear(kernel * inputs, outputs)

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, in) after the steps ``before`` (B, span, in) -> outputs (B, T, out), the last span steps."""
        steps = x.shape[1]
        history = torch.cat([before, x], dim=1) if self.span else x
        shifted = [history[:, i * self.dilation : i * self.dilation + steps] for i in range(self.kernel)]
        stacked = torch.cat(shifted, dim=-1) if self.kernel > 1 else history
        return self.taps(stacked), history[:, steps:]
