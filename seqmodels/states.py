"""States of backbones: tensors (B, ...) in nested NamedTuples, and functions over all of them at once.

A state holds memory, which continues from window to window, and dropout masks, which are drawn anew for each window.
An ``initial_state`` in evaluation mode tells them apart: there the masks have no elements.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqmodels.backbones.base import Backbone


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
