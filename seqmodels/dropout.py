"""Noise that trains a recurrence to generalise: masks that last for a sequence, and zoneout; knows torch only."""

from typing import Any

import torch
from torch import Tensor, nn


class SequenceDropout(nn.Module):
    """Dropout whose mask is drawn once per sequence and shared by all of its steps.

    The mask is a tensor that the caller keeps with its state, so that reading a sequence in pieces uses the same one.

    Source: Gal & Ghahramani 2016.
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def mask(self, x: Tensor, size: int) -> Tensor:
        """(B, size) of 0 and 1 / (1 - p) for the batch of x (B, ...); (B, 0) where nothing is dropped."""
        if not self.training or self.p == 0:
            return x.new_empty(x.shape[0], 0)
        return x.new_empty(x.shape[0], size).bernoulli_(1 - self.p).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, size), or (B, T, size), after the mask (B, size) of their sequence; untouched by a mask (B, 0)."""
    if mask.shape[1] == 0:
        return values
    return values * (mask if values.dim() == 2 else mask.unsqueeze(1))


class Zoneout(nn.Module):
    """Each unit of a recurrent state keeps its previous value with probability ``p``, drawn anew at each step.

    In evaluation every unit takes the expectation, p old + (1 - p) new. Every part of a state has its own draw.

    Source: Krueger et al. 2017. Differs: one rate for all parts of a state.
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def forward(self, output: Tensor, before: Any, after: Any) -> tuple[Tensor, Any]:
        """The output of a step and the state after it, given the states (NamedTuples) before and after.

        A part that the step handed on as it was, such as a mask, stays; an output that is part of the state follows it.
        """
        mixed = [new if new is old else self.mix(old, new) for old, new in zip(before, after, strict=True)]
        for new, kept in zip(after, mixed, strict=True):
            if new is output:
                return kept, type(after)._make(mixed)
        return output, type(after)._make(mixed)

    def mix(self, old: Tensor, new: Tensor) -> Tensor:
        """One part of a state, (B, size) each."""
        if not self.training:
            return new + self.p * (old - new)
        return torch.where(torch.rand_like(new) < self.p, old, new)

    def extra_repr(self) -> str:
        return f"p={self.p}"


# Everything that acts in training mode only and draws at random: set these to training mode, and no others, to let a
# trained model forecast with dropout. torch's recurrent layers draw between their layers and have no other mode.
DROPOUTS: tuple[type[nn.Module], ...] = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RNNBase,
    SequenceDropout,
    Zoneout,
)
