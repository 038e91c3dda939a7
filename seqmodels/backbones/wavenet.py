"""WaveNet: stacks of dilated causal convolutions, plain as in the textbook and gated as in the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqmodels.backbones.causal_conv import CausalConv, CausalConvNet, Convolve, check_conv_options, newest
from seqmodels.errors import require_at_least


class WaveNet(CausalConvNet):
    """Causal convolutions with ReLU, one per dilation; the list of dilations is repeated ``stacks`` times.

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
        check_conv_options(filters, kernel, dilations, dropout)
        require_at_least(1, "model.backbone", stacks=stacks)
        self.size = filters
        all_dilations = [*dilations] * stacks
        widths = [features] + [filters] * (len(all_dilations) - 1)
        layers = [CausalConv(width, filters, kernel, d) for width, d in zip(widths, all_dilations, strict=True)]
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * stacks * sum(dilations)
        self.register_convolutions(layers)

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        for layer in self.convolutions:
            x = convolve(layer, x, "relu")
        return self.dropout(x)


class GatedBlock(nn.Module):
    """Gated residual block: z = tanh(a) sigmoid(b), where a dilated convolution computes a and b.

    A 1 x 1 convolution of z is the skip output; the residual output is the input plus the skip output.
    """

    def __init__(self, filters: int, kernel: int, dilation: int):
        super().__init__()
        self.convolution = CausalConv(filters, 2 * filters, kernel, dilation)
        self.mix = nn.Linear(filters, filters)

    def forward(self, x: Tensor, convolve: Convolve) -> tuple[Tensor, Tensor]:
        """Input (..., filters) -> residual and skip outputs, (..., filters) each."""
        skip = convolve(self.mix, convolve(self.convolution, x, "gate"))
        return newest(x, skip) + skip, skip


class GatedWaveNet(CausalConvNet):
    """Causal convolution, gated residual blocks, and ReLU - 1 x 1 convolution - ReLU of their summed skip outputs.

    There is one block per dilation; the list of dilations is repeated ``stacks`` times.

    Source: van den Oord et al. 2016, equation 2 and figure 4. Differs: one 1 x 1 convolution gives both skip and
    residual output, as in Géron's book (but without the second tanh of its notebooks).
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
        check_conv_options(filters, kernel, dilations, dropout)
        require_at_least(1, "model.backbone", stacks=stacks)
        self.size = filters
        self.entry = CausalConv(features, filters, kernel)
        blocks = [GatedBlock(filters, kernel, dilation) for dilation in [*dilations] * stacks]
        self.blocks = nn.ModuleList(blocks)
        self.exit = nn.Linear(filters, filters)
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * (1 + stacks * sum(dilations))
        self.register_convolutions([self.entry, *(block.convolution for block in blocks)])

    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        x = convolve(self.entry, x)
        skips = torch.zeros_like(x)
        for block in self.blocks:
            x, skip = block(x, convolve)
            skips = newest(skips, skip) + skip
        return self.dropout(convolve(self.exit, torch.relu(skips), "relu"))
