"""Calls of the compiled kernels: checks of the tensors, and their addresses."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from seqmodels.kernels.build import REALS, library, load

PLAIN = (Tensor, nn.Parameter)  # no subclass, such as those that record a graph
SMALL = 20_000  # multiplications that a second thread would not make faster


def takes(x: Tensor, *others: Tensor | None) -> bool:
    """True if the compiled kernels compute what has these tensors, x first.

    They leave to torch: other devices and types, autocast, tracing and export, the transforms of ``torch.func``,
    forward derivatives, and tensors without elements.
    """
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    present = [one for one in (x, *others) if one is not None]
    plain = all(type(one) in PLAIN and one.dtype == x.dtype and one.device.type == "cpu" for one in present)
    return plain and x.numel() > 0 and library(x.dtype) is not None


def kernels(x: Tensor) -> ctypes.CDLL:
    """The library that ``takes`` has found, whatever was chosen since."""
    loaded, reason = load(REALS[x.dtype])
    assert loaded is not None, reason
    return loaded


def threads_for(multiplications: int) -> int:
    """The number of threads for so much work."""
    return torch.get_num_threads() if multiplications > SMALL else 1


def ready(tensor: Tensor | None) -> Tensor | None:
    """The tensor as the kernels read it."""
    return None if tensor is None else tensor.contiguous()


def address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def addresses(tensors: Sequence[Tensor]) -> Any:
    """An array of the tensors' addresses, or None without tensors."""
    return (ctypes.c_void_p * len(tensors))(*map(address, tensors)) if tensors else None


def refuse_second_derivatives() -> None:
    """Raise RuntimeError within a backward pass whose own graph is asked for."""
    if torch.is_grad_enabled():
        raise RuntimeError("The compiled layers have no second derivatives; set kernels=torch.")
