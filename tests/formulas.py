"""Helpers of the tests of backbones: reference convolution, random data, comparison of values and gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqmodels.backbones.causal_conv import CausalConv


def assert_agree(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    """Assert that values and gradients are equal up to a relative error of 1e-9."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    seed = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, leaves, seed, retain_graph=True)
    other = torch.autograd.grad(theirs, leaves, seed)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def taps(linear: nn.Linear, kernel: int) -> Tensor:
    """Weight of a linear layer on stacked taps, in the layout of torch's convolutions: (outputs, inputs, kernel)."""
    return linear.weight.reshape(linear.out_features, kernel, -1).transpose(1, 2)


def conv(x: Tensor, layer: CausalConv, dilation: int) -> Tensor:
    """Reference for CausalConv: left padding and torch's convolution, (B, T, inputs) -> (B, T, outputs)."""
    padded = functional.pad(x.transpose(1, 2), ((layer.kernel - 1) * dilation, 0))
    return functional.conv1d(padded, taps(layer.taps, layer.kernel), layer.taps.bias, dilation=dilation).transpose(1, 2)


def data(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal random numbers, the same in every call."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(5))
