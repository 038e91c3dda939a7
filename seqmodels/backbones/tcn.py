"""Temporal convolutional network: residual blocks of two dilated causal convolutions each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from seqmodels.backbones.conv_stack import ConvolutionStack, Convolve
from seqmodels.causal import CausalConv
from seqmodels.errors import InputError, require_at_least, require_share


class ResidualBlock(nn.Module):
    """ReLU(x + F(x)), F = convolution, ReLU, dropout, twice; a 1 x 1 convolution fits x where the widths differ."""

    def __init__(self, inputs: int, filters: int, kernel: int, dilation: int, dropout: float, weight_norm: bool):
        super().__init__()
        self.first = CausalConv(inputs, filters, kernel, dilation)
        self.second = CausalConv(filters, filters, kernel, dilation)
        self.fit = nn.Identity() if inputs == filters else nn.Linear(inputs, filters)
        self.dropout = nn.Dropout(dropout)
        if weight_norm:
            for convolution in (self.first, self.second):
                parametrizations.weight_norm(convolution.taps)

    def forward(self, x: Tensor, convolve: Convolve) -> Tensor:
        """(..., inputs) -> (..., filters)."""
        inner = self.dropout(torch.relu_(convolve(self.first, x)))
        inner = self.dropout(torch.relu_(convolve(self.second, inner)))
        return torch.relu(self.fit(x) + inner)


class Tcn(ConvolutionStack):
    """One residual block per dilation; ``weight_norm`` learns length and direction of each filter apart.

    Source: Bai, Kolter & Koltun 2018. Differs: dropout of single values, as in the authors' code, where their text
    has whole channels.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        filters: int = 32,
        kernel: int = 3,
        dilations: Sequence[int] = (1, 2, 4, 8),
        dropout: float = 0.0,
        weight_norm: bool = True,
    ):
        super().__init__()
        require_at_least(1, "model.backbone", filters=filters, kernel=kernel)
        require_share("model.backbone", dropout=dropout)
        if not dilations or min(dilations) < 1:
            raise InputError(f"model.backbone.dilations is {list(dilations)}; it must hold numbers of at least 1.")
        self.size = filters
        widths = [features] + [filters] * (len(dilations) - 1)
        blocks = [
            ResidualBlock(width, filters, kernel, dilation, dropout, weight_norm)
            for width, dilation in zip(widths, dilations, strict=True)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.receptive_field = 1 + 2 * (kernel - 1) * sum(dilations)
        self.remember([convolution for block in blocks for convolution in (block.first, block.second)])

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        for block in self.blocks:
            x = block(x, convolve)
        return x
