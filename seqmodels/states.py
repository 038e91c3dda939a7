"""States of backbones: tensors (B, ...) in nested NamedTuples, and what can be done with all of them at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqmodels.causal import Backbone


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


def renewed(fresh: Tensor, begin: Any, state: Any) -> Any:
    """``begin`` for the windows of the batch that are ``fresh`` (B,), ``state`` for the others."""

    def chosen(first: Tensor, second: Tensor) -> Tensor:
        if second.dim() == 0:  # a clock of the whole batch, which stands at 0 after every sequence
            return second
        return torch.where(fresh.reshape(-1, *[1] * (second.dim() - 1)), first, second)

    return mapped(chosen, begin, state)


def remembered(backbone: Backbone, features: int) -> Any:
    """The first state of one window as it is in evaluation; what is only drawn, such as a mask, has no elements."""
    training = backbone.training
    backbone.eval()
    state = backbone.initial_state(torch.zeros(1, 1, features))
    backbone.train(training)
    return state


def is_memory(part: Tensor) -> bool:
    """Whether this part of ``remembered`` is one: what is drawn has no elements, a clock no batch."""
    return part.dim() > 0 and part.numel() > 0


def handed_over(memory: Any, given: Any, own: Any) -> Any:
    """What is remembered from the state ``given``, what is drawn from ``own``; ``memory``: see ``remembered``."""
    return mapped(lambda kept, other, drawn: other if is_memory(kept) else drawn, memory, given, own)


def filled(memory: Any, flat: Tensor, own: Any) -> Any:
    """``own`` with what is remembered taken from numbers (B, all that one window remembers), in order."""
    position = 0

    def part(kept: Tensor, drawn: Tensor) -> Tensor:
        nonlocal position
        if not is_memory(kept):
            return drawn
        position += kept.numel()
        return flat[:, position - kept.numel() : position].reshape(len(flat), *kept.shape[1:])

    return mapped(part, memory, own)
