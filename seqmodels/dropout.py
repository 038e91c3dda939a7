"""Regularisation of recurrent networks: variational dropout and zoneout."""

from typing import Any

import torch
from torch import Tensor, nn


class VariationalDropout(nn.Module):
    """Dropout with one mask per sequence, shared by all of its steps.

    The caller keeps the mask in its state, so that a sequence read in chunks has the same mask throughout.

    Source: Gal & Ghahramani 2016.
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def sample_mask(self, x: Tensor, size: int) -> Tensor:
        """Mask (B, size) of 0 and 1 / (1 - p) for the batch x (B, ...); (B, 0) in evaluation mode or if p is 0."""
        if not self.training or self.p == 0:
            return x.new_empty(x.shape[0], 0)
        return x.new_empty(x.shape[0], size).bernoulli_(1 - self.p).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class SequenceDropout(nn.Dropout):
    """Dropout of (B, T, size) that draws the same random numbers for any memory layout of the batch: time first."""

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.p and input.is_cpu and input.dim() == 3):
            return super().forward(input)
        return drop_time_first(input, self.p)


def drop_time_first(x: Tensor, p: float) -> Tensor:
    """x (B, T, size) with a share p of its values dropped; the random numbers are those of (T, B, size)."""
    noise = x.new_empty(x.shape[1], x.shape[0], x.shape[2]).bernoulli_(1 - p)
    return x * noise.div_(1 - p).transpose(0, 1)


def apply_mask(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, size) or (B, T, size), multiplied by the mask (B, size); unchanged by an empty mask (B, 0)."""
    if mask.shape[1] == 0:
        return values
    return values * (mask if values.dim() == 2 else mask.unsqueeze(1))


class Zoneout(nn.Module):
    """Zoneout: at each step, each unit of a recurrent state keeps its previous value with probability ``p``.

    In evaluation mode each unit takes the expectation, p old + (1 - p) new. Each tensor of a state has its own mask.

    Source: Krueger et al. 2017. Differs: one rate for all tensors of a state.
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def forward(self, output: Tensor, before: Any, after: Any) -> tuple[Tensor, Any]:
        """Output and state after zoneout, from the output of a step and the states (NamedTuples) before and after it.

        Tensors that the step passed on unchanged, such as a mask, are left alone. If the output is one of the tensors
        of the state, as in an RNN, zoneout applies to it too.
        """
        mixed = [new if new is old else self.mix(old, new) for old, new in zip(before, after, strict=True)]
        for new, kept in zip(after, mixed, strict=True):
            if new is output:
                return kept, type(after)._make(mixed)
        return output, type(after)._make(mixed)

    def sample_kept(self, x: Tensor, tensors: int, size: int) -> Tensor | None:
        """The masks of all steps of x (B, T, inputs) at once, (tensors, B, T, size), 1 where a unit keeps its value.

        The same random numbers as step by step. None in evaluation mode.
        """
        if not self.training:
            return None
        kept = torch.rand(x.shape[1], tensors, x.shape[0], size, dtype=x.dtype, device=x.device) < self.p
        return kept.permute(1, 2, 0, 3).to(x.dtype)

    def mix(self, old: Tensor, new: Tensor) -> Tensor:
        """Zoneout of one tensor of a state, (B, size)."""
        if not self.training:
            return new + self.p * (old - new)
        return torch.where(torch.rand_like(new) < self.p, old, new)

    def extra_repr(self) -> str:
        return f"p={self.p}"


# All modules that are random in training mode. Monte Carlo dropout puts these, and no others, into training mode.
# torch's recurrent layers are among them because of the dropout between their layers.
DROPOUT_MODULES: tuple[type[nn.Module], ...] = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RNNBase,
    VariationalDropout,
    Zoneout,
)
