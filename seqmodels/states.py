"""States of backbones: tensors (B, ...) in nested NamedTuples, and what can be done with all of them at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqmodels.backbones.base import Backbone


def tensors(state: Any) -> list[Tensor]:
    """All tensors of a state, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)] if isinstance(state, tuple) else []


def mapped(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """A state of the same structure, each tensor from the tensors at the same place in all states given."""
    if state is None:  # of a backbone that sees the future
        return None
    if isinstance(state, tuple):
        parts = [mapped(function, *places) for places in zip(state, *others, strict=True)]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return function(state, *others)


def detached(state: Any) -> Any:
    """The same without gradients: where truncated backpropagation through time ends."""
    return mapped(Tensor.detach, state)


def renewed(reset: Tensor, begin: Any, state: Any) -> Any:
    """``begin`` for the windows of the batch where ``reset`` (B,) is True, ``state`` for the others."""

    def chosen(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(reset.reshape(-1, *[1] * (second.dim() - 1)), first, second)

    return mapped(chosen, begin, state)


def remembered(backbone: Backbone, features: int) -> Any:
    """The first state of one window as it is in evaluation; what is only drawn, such as a mask, has no elements."""
    training = backbone.training
    backbone.eval()
    state = backbone.initial_state(torch.zeros(1, 1, features))
    backbone.train(training)
    return state


def memories(memory: Any, state: Any = None) -> list[Tensor]:
    """The parts of ``state`` that are remembered, in order; of ``memory`` itself without one. See ``remembered``."""
    parts = zip(tensors(memory), tensors(memory if state is None else state), strict=True)
    return [part for kept, part in parts if kept.numel()]


def replaced(memory: Any, given: Sequence[Tensor], own: Any) -> Any:
    """``own`` with what is remembered taken from ``given``, in order, and what is drawn kept."""
    rest = iter(given)
    return mapped(lambda kept, drawn: next(rest) if kept.numel() else drawn, memory, own)


def handed_over(memory: Any, given: Any, own: Any) -> Any:
    """What is remembered from the state ``given``, what is drawn from ``own``."""
    return replaced(memory, memories(memory, given), own)
