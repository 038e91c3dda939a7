"""WaveNet: a stack of dilated causal convolutions, simplified as in the textbook, and gated as in the paper."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.causal import Backbone, CausalConv
from seqmodels.errors import InputError, require_at_least, require_share


class WaveNetState(NamedTuple):
    """The last (kernel - 1) dilation input steps of every convolution: (B, span, channels) each."""

    before: tuple[Tensor, ...]


def silence(x: Tensor, remembers: list[tuple[int, int]]) -> WaveNetState:
    """The state before the first step: zeros for every (span, channels), on the device of x."""
    return WaveNetState(tuple(x.new_zeros(x.shape[0], span, channels) for span, channels in remembers))


def all_dilations(filters: int, kernel: int, dilations: Sequence[int], stacks: int, dropout: float) -> list[int]:
    """The dilation of every layer; refuses settings that make no stack."""
    require_at_least(1, "model.backbone", filters=filters, kernel=kernel, stacks=stacks)
    require_share("model.backbone", dropout=dropout)
    if not dilations or min(dilations) < 1:
        raise InputError(f"model.backbone.dilations is {list(dilations)}; it must hold numbers of at least 1.")
    return list(dilations) * stacks


class WaveNet(Backbone):
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
        self.remembers = [(layer.span, layer.inputs) for layer in layers]
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * sum(steps)

    def initial_state(self, x: Tensor) -> WaveNetState:
        return silence(x, self.remembers)

    def unroll(self, x: Tensor, state: WaveNetState) -> tuple[Tensor, WaveNetState]:
        after = []
        for layer, before in zip(self.layers, state.before, strict=True):
            x, kept = layer(x, before)
            x = torch.relu_(x)
            after.append(kept)
        return self.dropout(x), WaveNetState(tuple(after))


class GatedBlock(nn.Module):
    """z = tanh(a) sigmoid(b) of one dilated convolution; then a 1 x 1 convolution whose output is the skip,
    and, added to the input, the residual.
    """

    def __init__(self, filters: int, kernel: int, dilation: int):
        super().__init__()
        self.convolution = CausalConv(filters, 2 * filters, kernel, dilation)
        self.mix = nn.Linear(filters, filters)

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, filters) -> residual, skip (both like x), steps to keep."""
        both, kept = self.convolution(x, before)
        signal, gate = both.chunk(2, dim=-1)
        skip = self.mix(torch.tanh(signal) * torch.sigmoid(gate))
        return x + skip, skip, kept


class GatedWaveNet(Backbone):
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
        self.remembers = [(c.span, c.inputs) for c in (self.entry, *(block.convolution for block in blocks))]
        self.exit = nn.Linear(filters, filters)
        self.dropout = nn.Dropout(dropout)
        self.receptive_field = 1 + (kernel - 1) * (1 + sum(steps))

    def initial_state(self, x: Tensor) -> WaveNetState:
        return silence(x, self.remembers)

    def unroll(self, x: Tensor, state: WaveNetState) -> tuple[Tensor, WaveNetState]:
        x, kept = self.entry(x, state.before[0])
        after, skips = [kept], torch.zeros_like(x)
        for block, before in zip(self.blocks, state.before[1:], strict=True):
            x, skip, kept = block(x, before)
            skips = skips + skip
            after.append(kept)
        return self.dropout(torch.relu(self.exit(torch.relu(skips)))), WaveNetState(tuple(after))
