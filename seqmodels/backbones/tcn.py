"""Temporal convolutional network: residual blocks of two dilated causal convolutions each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from seqmodels.backbones.causal_conv import CausalConv, CausalConvNet, Convolve, check_conv_options, newest


class ResidualBlock(nn.Module):
    """ReLU(x + F(x)), where F is (convolution, ReLU, dropout) twice; a 1 x 1 convolution adapts the width of x."""

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
        residual = self.dropout(convolve(self.first, x, "relu"))
        residual = self.dropout(convolve(self.second, residual, "relu"))
        x = newest(x, residual)
        return torch.relu((convolve(self.fit, x) if isinstance(self.fit, nn.Linear) else x) + residual)


class Tcn(CausalConvNet):
    """Temporal convolutional network: one residual block per dilation.

    ``weight_norm``: parametrise each filter by its norm and its direction.

    Source: Bai, Kolter & Koltun 2018. Differs: dropout of single values, as in the authors' code; their paper drops
    whole channels.
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
        check_conv_options(filters, kernel, dilations, dropout)
        self.size = filters
        widths = [features] + [filters] * (len(dilations) - 1)
        blocks = [
            ResidualBlock(width, filters, kernel, dilation, dropout, weight_norm)
            for width, dilation in zip(widths, dilations, strict=True)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.receptive_field = 1 + 2 * (kernel - 1) * sum(dilations)
        self.register_convolutions([convolution for block in blocks for convolution in (block.first, block.second)])

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        for block in self.blocks:
            x = block(x, convolve)
        return x
