"""Causal convolutions by compiled kernels, with their gradients; see ``convolutions.cpp``.

Between convolutions, sequences lie in blocks (blocks, T, channels, rows), ``rows`` sequences side by side. Sums and
activations by torch do not mind.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from seqmodels.kernels.build import torch_threads
from seqmodels.kernels.calls import address, kernels, refuse_second_derivatives, threads_for

ACTIVATIONS = {"none": 0, "relu": 1, "gate": 2}
INTEGERS = ("blocks", "rows", "inputs", "outputs", "kernel", "dilation", "steps_in", "steps_out", "activation",
            "threads")  # fmt: skip
POINTERS = ("parallel", "x", "weight", "bias", "y", "gates", "dy", "dx", "dweight", "dbias")


class Convolution(ctypes.Structure):
    """Arguments of the kernels, as ``Convolution`` of ``convolutions.cpp``."""

    _fields_ = [*((name, ctypes.c_int64) for name in INTEGERS), *((name, ctypes.c_void_p) for name in POINTERS)]


def to_blocks(x: Tensor) -> Tensor:
    """(B, T, C) -> (blocks, T, C, rows)."""
    rows = kernels(x).rows_of_block(ctypes.c_int64(x.shape[0]), ctypes.c_int64(torch.get_num_threads()))
    return _ToBlocks.apply(x, rows) if x.requires_grad else into_blocks(x, rows, False)


def from_blocks(blocks: Tensor, batch: int) -> Tensor:
    """(blocks, T, C, rows) -> (B, T, C)."""
    return _FromBlocks.apply(blocks, batch)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, dilation: int, steps: int, activation: str) -> Tensor:
    """Causal convolution of blocks x (blocks, T, inputs, rows) -> its last ``steps`` outputs.

    They are (blocks, steps, outputs, rows). weight: (outputs, kernel inputs), the oldest tap first; bias: (outputs,).
    Inputs before the first count as zeros. ``activation``: "none", "relu", or "gate", tanh of the first half of the
    outputs times the logistic function of the other.
    """
    return _Convolve.apply(x, weight, bias, dilation, steps, ACTIVATIONS[activation])


def into_blocks(x: Tensor, rows: int, zeros: bool) -> Tensor:
    x = x.contiguous()
    blocks = x.new_empty(-(-x.shape[0] // rows), *x.shape[1:], rows)
    change_layout(x, blocks, zeros=zeros)
    return blocks


def out_of_blocks(blocks: Tensor, batch: int) -> Tensor:
    x = blocks.new_empty(batch, *blocks.shape[1:3])
    change_layout(x, blocks.contiguous(), back=True)
    return x


def change_layout(x: Tensor, blocks: Tensor, back: bool = False, zeros: bool = False) -> None:
    """Copy sequences into blocks, or back; ``zeros`` fill the rows that are missing in the last block."""
    sizes = (x.shape[0], x.shape[1] * x.shape[2], blocks.shape[3], back, zeros)
    pointers = (ctypes.c_void_p(address(x)), ctypes.c_void_p(address(blocks)))
    kernels(x).change_layout(*pointers, *map(ctypes.c_int64, sizes))


class _ToBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int) -> Tensor:
        ctx.batch = x.shape[0]
        return into_blocks(x, rows, False)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        refuse_second_derivatives()
        return out_of_blocks(given, ctx.batch), None


class _FromBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor, batch: int) -> Tensor:
        ctx.rows = blocks.shape[3]
        return out_of_blocks(blocks, batch)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        refuse_second_derivatives()
        return into_blocks(given, ctx.rows, True), None


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int, steps: int, activation: int
    ) -> Tensor:
        x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
        blocks, steps_in, inputs, rows = x.shape
        outputs, width = weight.shape
        gate = activation == ACTIVATIONS["gate"]
        y = x.new_empty(blocks, steps, outputs // 2 if gate else outputs, rows)
        gates = x.new_empty(blocks, steps, outputs, rows) if gate and any(ctx.needs_input_grad) else None
        threads = threads_for(blocks * rows * steps * outputs * width)
        ctx.call = Convolution(blocks, rows, inputs, outputs, width // inputs, dilation, steps_in, steps, activation,
                               threads, torch_threads(), *map(address, (x, weight, bias, y, gates)))  # fmt: skip
        kernels(x).convolve_forward(ctypes.byref(ctx.call))
        ctx.save_for_backward(x, weight, bias, y, gates)
        return y

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad
        of_weights = needed[1] or needed[2]
        given, wanted = given.contiguous(), (needed[0], of_weights, of_weights)
        gradients = [torch.empty_like(one) if want else None for one, want in zip(saved[:3], wanted, strict=True)]
        for name, value in zip(POINTERS[1:], (*saved, given, *gradients), strict=True):
            setattr(ctx.call, name, address(value))
        kernels(given).convolve_backward(ctypes.byref(ctx.call))
        return *gradients, None, None, None
