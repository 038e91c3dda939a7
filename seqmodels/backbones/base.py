"""The contract of backbones and of their states.

A state is tensors (B, ...) in nested NamedTuples. It holds memory, which continues from window to window, and dropout
masks, which are drawn for each window; a state made in evaluation mode tells them apart: its masks are empty.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
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
    reads_lengths: bool = False  # True if ``forward`` takes the lengths (B,) of padded sequences, not being causal
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

    def forward_last(self, x: Tensor) -> Tensor:
        """The last output of ``forward``, (B, 1, D); override it where that is less work."""
        return self(x)[:, -1:]

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


def tree_leaves(state: Any) -> list[Tensor]:
    """All tensors of a state, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [leaf for part in state for leaf in tree_leaves(part)] if isinstance(state, tuple) else []


def tree_map(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """A state of the same structure, each tensor computed from those at the same place in all given states."""
    if state is None:  # of a backbone that sees the future
        return None
    if isinstance(state, tuple):
        parts = [tree_map(function, *places) for places in zip(state, *others, strict=True)]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return function(state, *others)


def detach(state: Any) -> Any:
    """The same state without gradient: where truncated backpropagation through time ends."""
    return tree_map(Tensor.detach, state)


@torch.no_grad()
def initial_state(backbone: Backbone, features: int) -> Any:
    """The first state of one window in evaluation mode, where dropout masks have no elements."""
    training = backbone.training
    backbone.eval()
    state = backbone.initial_state(torch.zeros(1, 1, features))
    backbone.train(training)
    return state


def reset_where(reset: Tensor, initial: Any, begin: Any, state: Any) -> Any:
    """The memory of ``begin`` where ``reset`` (B,) is True, of ``state`` elsewhere; all dropout masks of ``begin``."""

    def choose(kept: Tensor, new: Tensor, old: Tensor) -> Tensor:
        return torch.where(reset.reshape(-1, *[1] * (new.dim() - 1)), new, old) if kept.numel() else new

    return tree_map(choose, initial, begin, state)


def memory(initial: Any, state: Any) -> list[Tensor]:
    """The tensors of ``state`` that are memory, in order."""
    parts = zip(tree_leaves(initial), tree_leaves(state), strict=True)
    return [part for kept, part in parts if kept.numel()]


def replace_memory(initial: Any, parts: Sequence[Tensor], state: Any) -> Any:
    """``state`` with its memory taken from ``parts``, in order, and its own dropout masks."""
    rest = iter(parts)
    return tree_map(lambda kept, own: next(rest) if kept.numel() else own, initial, state)
