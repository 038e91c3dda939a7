"""Recurrences that are linear in the state: by compiled kernels, else by torch in log2(T) passes over all steps."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from seqmodels.kernels.build import torch_threads
from seqmodels.kernels.calls import address, kernels, refuse_second_derivatives, takes, threads_for

GATED, DIAGONAL = 0, 1
POINTERS = ("x", "first", "factor", "y", "dy", "dx", "dfirst", "dfactor")
COST = 8  # multiplications of a channel and step


class Scan(ctypes.Structure):
    """Arguments of the kernels, as ``Scan`` of ``scans.cpp``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("mode", "batch", "steps", "size", "threads")),
        *((name, ctypes.c_void_p) for name in ("parallel", *POINTERS)),
    ]


def gated_scan(x: Tensor, first: Tensor) -> Tensor:
    """h(t) = h(t-1) + z (c - h(t-1)), where x (B, T, 2 D) holds z before the logistic function, and c; (B, T, D).

    first: h(-1), (B, D).
    """
    if x.dim() == 3 and takes(x, first):
        return _Scan.apply(GATED, x, first, None)
    gate, candidate = x.chunk(2, dim=-1)
    gate = gate.sigmoid()
    keep, fresh = 1 - gate, gate * candidate
    fresh = torch.cat([fresh[:, :1] + keep[:, :1] * first[:, None], fresh[:, 1:]], dim=1)
    distance = 1
    while distance < fresh.shape[1]:
        later = fresh[:, distance:] + keep[:, distance:] * fresh[:, :-distance]
        fresh = torch.cat([fresh[:, :distance], later], dim=1)
        keep = torch.cat([keep[:, :distance], keep[:, distance:] * keep[:, :-distance]], dim=1)
        distance *= 2
    return fresh


def diagonal_scan(x: Tensor, first: Tensor, factor: Tensor) -> Tensor:
    """h(t) = factor h(t-1) + x(t) of complex numbers, real parts before the imaginary ones: (B, T, 2 D).

    x: (B, T, 2 D); first: h(-1), (B, 2 D); factor: (2 D,).
    """
    if x.dim() == 3 and takes(x, first, factor):
        return _Scan.apply(DIAGONAL, x, first, factor)
    h = torch.cat([x[:, :1] + multiply(factor, first)[:, None], x[:, 1:]], dim=1)
    distance = 1
    while distance < h.shape[1]:
        h = torch.cat([h[:, :distance], h[:, distance:] + multiply(factor, h[:, :-distance])], dim=1)
        factor, distance = multiply(factor, factor), 2 * distance
    return h


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The product of complex numbers whose real parts come before the imaginary ones, in the last dimension."""
    (real, imaginary), (u, v) = a.chunk(2, dim=-1), b.chunk(2, dim=-1)
    return torch.cat([real * u - imaginary * v, real * v + imaginary * u], dim=-1)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mode: int, x: Tensor, first: Tensor, factor: Tensor | None) -> Tensor:
        x, first = x.contiguous(), first.contiguous()
        factor = None if factor is None else factor.contiguous()
        (batch, steps, width), numbers = x.shape, first.shape[1]
        y = x.new_empty(batch, steps, numbers)
        ctx.call = Scan(mode, batch, steps, width // 2, threads_for(batch * steps * width * COST), torch_threads(),
                        *map(address, (x, first, factor, y)))  # fmt: skip
        kernels(x).scan_forward(ctypes.byref(ctx.call))
        ctx.save_for_backward(x, first, *(() if factor is None else (factor,)), y)
        return y

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        x, first, *factor, y = ctx.saved_tensors
        given = given.contiguous()
        gradients = [torch.empty_like(one) for one in (x, first, *factor)]
        dfactor = gradients[2] if factor else None
        values = (x, first, factor[0] if factor else None, y, given, *gradients[:2], dfactor)
        for name, value in zip(POINTERS, values, strict=True):
            setattr(ctx.call, name, address(value))
        kernels(x).scan_backward(ctypes.byref(ctx.call))
        return None, *gradients[:2], dfactor
