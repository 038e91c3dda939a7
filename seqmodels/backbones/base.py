"""The contract of backbones."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Sequence encoder: input features (B, T, F) -> features (B, S, D).

    Output j belongs to time step ``offset + j * stride``.

    A causal backbone can read a sequence in chunks of any length: ``unroll`` takes the state after the previous steps
    and returns the next one. The same code thus serves training, stateful batches and step-by-step generation in
    constant memory.
    """

    size: int  # D
    stride: int = 1
    offset: int = 0
    causal: bool = True
    receptive_field: int | None = None  # number of steps that influence one output; None: unbounded
    warnings: tuple[str, ...] = ()  # shown before training, one sentence each

    @abstractmethod
    def initial_state(self, x: Tensor) -> Any:
        """State before the first step of x (B, T, F): a NamedTuple of tensors on the device of x."""

    @abstractmethod
    def unroll(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Features of the steps x (B, T, F) that follow ``state``, and the state after them."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, D), from the initial state."""
        return self.unroll(x, self.initial_state(x))[0]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step x (B, F) -> features (B, D), next state; equals ``forward`` at that step.

        Between two strides, a strided backbone repeats its latest features, which it keeps in its state.
        """
        features, state = self.unroll(x[:, None], state)
        return features[:, -1], state

    def stepper(self) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
        """Return a version of ``step`` for many steps in a row; later changes of the weights may not affect it.

        Override it where work that is the same for every step can be done once.
        """
        return self.step
