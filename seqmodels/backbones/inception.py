"""Convolutions of several widths side by side, for models that see a whole sequence at once."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.errors import require_at_least, require_each_at_least, require_fraction


class Block(nn.Module):
    """ReLU(normalise(convolutions of x of each width) + V x), at the steps that exist."""

    def __init__(self, inputs: int, filters: int, kernels: Sequence[int]):
        super().__init__()
        width = filters * len(kernels)
        self.convolutions = nn.ModuleList([nn.Conv1d(inputs, filters, kernel) for kernel in kernels])
        self.normalise = nn.BatchNorm1d(width)
        self.shortcut = nn.Linear(inputs, width)

    def forward(self, x: Tensor, exists: Tensor) -> Tensor:
        """(B, T, inputs), which is 0 where ``exists`` (B, T) is False -> (B, T, outputs), likewise."""
        outputs = torch.cat([self._convolve(layer, x.transpose(1, 2)) for layer in self.convolutions], dim=1)
        alone = self.training and int(exists.sum()) == 1  # of a single step there is no deviation
        steps = outputs.transpose(1, 2)[exists]
        steps = torch.relu((steps if alone else self.normalise(steps)) + self.shortcut(x[exists]))
        return steps.new_zeros(*x.shape[:2], steps.shape[-1]).masked_scatter(exists.unsqueeze(-1), steps)

    @staticmethod
    def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
        """As many steps as x (B, C, T) has, with zeros on both sides."""
        assert isinstance(layer, nn.Conv1d)
        kernel = layer.kernel_size[0]
        return layer(nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2)))


class Inception(Backbone):
    """Blocks of convolutions of several widths, which look to both sides: (B, T, F) -> (B, T, filters len(kernels)).

    Each block has ``filters`` of each width in ``kernels``, batch normalisation over the steps of all sequences of a
    batch, and a linear shortcut. Before the first step and after the last one of a sequence lies 0. ``dropout``: share
    of the features that is set to 0 in training, at all steps of a sequence.

    Not causal: a sequence cannot be read in chunks or step by step.

    Source: Ismail Fawaz et al. 2020, "InceptionTime", and the residual network of Wang, Yan and Oates 2017. Differs: a
    shortcut around every block, no bottlenecks and no maximum of neighbours, and features of padding that stay 0.
    """

    causal = False
    reads_lengths = True

    def __init__(
        self,
        features: int,
        past_steps: int,
        filters: int = 16,
        kernels: Sequence[int] = (3, 7, 15),
        blocks: int = 3,
        dropout: float = 0.3,
    ):
        super().__init__()
        require_at_least(1, "model.backbone", filters=filters, blocks=blocks)
        require_each_at_least(1, "model.backbone", kernels=kernels)
        require_fraction("model.backbone", dropout=dropout)
        self.size = filters * len(kernels)
        widths = [features] + [self.size] * (blocks - 1)
        self.blocks = nn.ModuleList([Block(width, filters, kernels) for width in widths])
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + blocks * ((max(kernels) - 1) // 2)  # up to the step itself

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, F) -> (B, T, D); ``lengths`` (B,): steps of each sequence, where they are padded on the right."""
        steps = torch.arange(x.shape[1], device=x.device)
        exists = steps < (x.new_full((len(x),), x.shape[1]) if lengths is None else lengths).unsqueeze(1)
        x = x * exists.unsqueeze(-1)
        for block in self.blocks:
            x = block(x, exists)
        return x * self.dropout(x.new_ones(len(x), 1, self.size))

    def initial_state(self, x: Tensor) -> NoReturn:
        """Raise TypeError: there is no state to continue from."""
        raise TypeError(
            f"{type(self).__name__} sees the future: it reads whole windows only; call it on the whole window, or use a"
            " causal backbone such as tcn or gru."
        )

    def unroll(self, x: Tensor, state: Any) -> NoReturn:
        """Raise TypeError: a later chunk would change the features of an earlier one."""
        self.initial_state(x)
