"""Independent formulas in float64 that backbones are compared with, and how."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqmodels.backbones.causal_conv import CausalConv


def assert_agree(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    """Values and gradients, to 1e-9 of their size."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    seed = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, leaves, seed, retain_graph=True)
    other = torch.autograd.grad(theirs, leaves, seed)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def taps(linear: nn.Linear, kernel: int) -> Tensor:
    """The weight of a linear layer on stacked taps as torch's convolutions want it: (out, in, kernel)."""
    return linear.weight.reshape(linear.out_features, kernel, -1).transpose(1, 2)


def conv(x: Tensor, layer: CausalConv, dilation: int) -> Tensor:
    """Left padding and torch's own convolution, (B, T, C) -> (B, T, C)."""
    padded = functional.pad(x.transpose(1, 2), ((layer.kernel - 1) * dilation, 0))
    return functional.conv1d(padded, taps(layer.taps, layer.kernel), layer.taps.bias, dilation=dilation).transpose(1, 2)


def data(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The same random numbers each time."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(5))
