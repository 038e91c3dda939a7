"""WaveNet: a stack of dilated causal convolutions, simplified as in the textbook, and gated as in the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqmodels.backbones.conv_stack import ConvolutionStack, Convolve
from seqmodels.causal import CausalConv
from seqmodels.errors import InputError, require_at_least, require_share


def all_dilations(filters: int, kernel: int, dilations: Sequence[int], stacks: int, dropout: float) -> list[int]:
    """The dilation of every layer; refuses settings that make no stack."""
    require_at_least(1, "model.backbone", filters=filters, kernel=kernel, stacks=stacks)
    require_share("model.backbone", dropout=dropout)
    if not dilations or min(dilations) < 1:
        raise InputError(f"model.backbone.dilations is {list(dilations)}; it must hold numbers of at least 1.")
    return list(dilations) * stacks


class WaveNet(ConvolutionStack):
    """Causal convolutions with ReLU, one per dilation, ``stacks`` times over.

    Source: Géron, chapter 15, after van den Oord et al. 2016; without gates, residual or skip connections.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        filters: int = 20,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8),
        stacks: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.size = filters
        steps = all_dilations(filters, kernel, dilations, stacks, dropout)
        inputs = [features] + [filters] * (len(steps) - 1)
        layers = [CausalConv(i, filters, kernel, d) for i, d in zip(inputs, steps, strict=True)]
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * sum(steps)
        self.remember(layers)

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        for layer in self.order:
            x = torch.relu_(convolve(layer, x))
        return self.dropout(x)


class GatedBlock(nn.Module):
    """z = tanh(a) sigmoid(b) of one dilated convolution; then a 1 x 1 convolution whose output is the skip,
    and, added to the input, the residual.
    """

    def __init__(self, filters: int, kernel: int, dilation: int):
        super().__init__()
        self.convolution = CausalConv(filters, 2 * filters, kernel, dilation)
        self.mix = nn.Linear(filters, filters)

    def forward(self, x: Tensor, convolve: Convolve) -> tuple[Tensor, Tensor]:
        """(..., filters) -> residual, skip, both like x."""
        signal, gate = convolve(self.convolution, x).chunk(2, dim=-1)
        skip = self.mix(torch.tanh(signal) * torch.sigmoid(gate))
        return x + skip, skip


class GatedWaveNet(ConvolutionStack):
    """Gated residual blocks whose skip connections are summed: a causal input convolution, then one block per
    dilation, ``stacks`` times over, then ReLU - 1 x 1 - ReLU.

    Source: van den Oord et al. 2016, equation 2 and figure 4. Differs: the same 1 x 1 convolution gives skip and
    residual, as in the textbook; its notebooks apply tanh twice, which is not done here.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        filters: int = 32,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8),
        stacks: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.size = filters
        steps = all_dilations(filters, kernel, dilations, stacks, dropout)
        self.entry = CausalConv(features, filters, kernel)
        blocks = [GatedBlock(filters, kernel, dilation) for dilation in steps]
        self.blocks = nn.ModuleList(blocks)
        self.exit = nn.Linear(filters, filters)
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * (1 + sum(steps))
        self.remember([self.entry, *(block.convolution for block in blocks)])

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        x = convolve(self.entry, x)
        skips = torch.zeros_like(x)
        for block in self.blocks:
            x, skip = block(x, convolve)
            skips = skips + skip
        return self.dropout(torch.relu(self.exit(torch.relu(skips))))
