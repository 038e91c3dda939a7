"""Recurrent layers by compiled kernels, with their gradients; see ``cells.cpp``."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.dropout import drop_time_first
from seqmodels.kernels.build import torch_threads
from seqmodels.kernels.calls import address, addresses, kernels, ready, refuse_second_derivatives, takes, threads_for

KINDS = {"RNN_TANH": 0, "RNN_RELU": 1, "GRU": 2, "LSTM": 3}  # names of torch's modes
PIECE = 16 << 20  # up to 32 MB, the C library of Linux gives out again what was freed instead of asking the system anew


class States(NamedTuple):
    """Initial state and changes of the state of a layer, each tensor contiguous, of the type of the input.

    ``keep``: 1 where a unit keeps its previous value, by zoneout or because its step is padding.
    """

    hidden: Tensor  # (B, size)
    cell: Tensor | None = None  # (B, size), of an LSTM
    mask: Tensor | None = None  # (B, size), factors of the hidden state in the recurrent product
    keep: Tensor | None = None  # (1, B, T, size); (2, B, T, size) for the hidden and the cell state of an LSTM
    zoneout: float = 0.0  # share of the previous value that all units keep; unused where there is ``keep``


class Weights(NamedTuple):
    """Parameters of a layer, with torch's shapes and order of gates."""

    x: Tensor  # (gates size, inputs)
    h: Tensor  # (gates size, size)
    bias_x: Tensor | None = None  # (gates size,)
    bias_h: Tensor | None = None
    gain: Tensor | None = None  # of layer normalisation: (1, size) in an RNN, (2, size) in a GRU, (4, size) in an LSTM
    offset: Tensor | None = None
    last_gain: Tensor | None = None  # of the GRU's candidate or the LSTM's cell state, (size,)
    last_offset: Tensor | None = None


INTEGERS = ("kind", "normalised", "batch", "steps", "inputs", "size", "rows", "threads")
INPUTS = ("hidden", "cell", "mask", "keep", "weight_x", "weight_h", "bias_x", "bias_h",
          "gain", "offset", "last_gain", "last_offset")  # fmt: skip
OUTPUTS = ("y", "last_hidden", "last_cell")
GIVEN = ("dy", "dlast_hidden", "dlast_cell")
GRADIENTS = tuple(f"d{name}" for name in ("x", *INPUTS))


class Layer(ctypes.Structure):
    """Arguments of the kernels, as ``Recurrent`` of ``cells.cpp``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in INTEGERS),
        ("zoneout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("parallel", "x", *INPUTS, *OUTPUTS)),
        ("saved", ctypes.POINTER(ctypes.c_void_p)),
        ("piece", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in (*GIVEN, *GRADIENTS)),
    ]


def can_run(x: Tensor, *others: Tensor | None) -> bool:
    """True if the compiled kernels compute a layer of these tensors, its input (B, T, inputs) first."""
    return takes(x, *others) and x.dim() == 3


def run_layer(mode: str, x: Tensor, states: States, weights: Weights) -> tuple[Tensor, Tensor, Tensor | None]:
    """One layer, of a mode of KINDS: outputs (B, T, size), last hidden state, last cell state (B, size) of an LSTM.

    Raises ValueError for tensors that do not fit together.
    """
    check_shapes(x, states, weights)
    optional = (*states[:4], *weights)
    wanted = torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, *optional))
    if wanted:
        return _Recurrence.apply(KINDS[mode], states.zoneout, x, *optional)
    return forward(KINDS[mode], states.zoneout, x.contiguous(), [ready(one) for one in optional], False)[0]


def check_shapes(x: Tensor, states: States, weights: Weights) -> None:
    """Raise ValueError unless all tensors have the sizes that follow from x and the weights: kernels check nothing."""
    (batch, steps, inputs), (rows, size) = x.shape, weights.h.shape
    keep = (2 if states.cell is not None else 1, batch, steps, size)
    expected = ((batch, size),) * 3 + (keep, (rows, inputs), (rows, size), (rows,), (rows,))
    for name, tensor, shape in zip(INPUTS, (*states[:4], *weights[:4]), expected, strict=False):
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; to the input {tuple(x.shape)} belongs {shape}.")


def forward(
    kind: int, zoneout: float, x: Tensor, optional: list[Tensor | None], save: bool
) -> tuple[tuple[Tensor, Tensor, Tensor | None], list[Tensor], Layer]:
    """Outputs of a layer, what its backward pass needs (nothing unless ``save``), and the arguments.

    ``optional``: tensors in the order of INPUTS.
    """
    named = dict(zip(INPUTS, optional, strict=True))
    batch, steps, inputs = x.shape
    size = optional[0].shape[1] if optional[0] is not None else 0
    threads = threads_for(batch * steps * size * (size + inputs))
    normalised = named["gain"] is not None
    layer = Layer(kind, normalised, batch, steps, inputs, size, 0, threads, zoneout, torch_threads(), address(x),
                  *map(address, optional))  # fmt: skip
    layer.rows = kernels(x).rows_of_block(ctypes.c_int64(batch), ctypes.c_int64(threads))
    y, hidden = x.new_empty(batch, steps, size), x.new_empty(batch, size)
    cell = x.new_empty(batch, size) if kind == KINDS["LSTM"] else None
    layer.y, layer.last_hidden, layer.last_cell = map(address, (y, hidden, cell))
    saved = new_pieces(x, layer) if save else []
    layer.saved = addresses(saved)
    kernels(x).recur_forward(ctypes.byref(layer))
    return (y, hidden, cell), saved, layer


def new_pieces(x: Tensor, layer: Layer) -> list[Tensor]:
    """Memory for what the forward pass saves, in pieces of at most PIECE bytes but at least one block each."""
    numbers, blocks = kernels(x).saved_size(ctypes.byref(layer)), -(-layer.batch // layer.rows)
    layer.piece = max(1, min(blocks, PIECE // (numbers * x.element_size())))
    starts = range(0, blocks, layer.piece)
    return [x.new_empty(min(layer.piece, blocks - start) * numbers) for start in starts]


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kind: int, zoneout: float, x: Tensor, *optional: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        x, inputs = x.contiguous(), list(map(ready, optional))
        outputs, saved, ctx.layer = forward(kind, zoneout, x, inputs, True)
        ctx.save_for_backward(x, *inputs, outputs[0], *saved)
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        saved, needed = ctx.saved_tensors, list(ctx.needs_input_grad[2:])
        tensors, pieces = saved[: len(INPUTS) + 2], saved[len(INPUTS) + 2 :]  # x, INPUTS, y
        needed[5:] = [any(needed[5:])] * len(Weights._fields)  # of the parameters all or none
        gradients = [None if one is None or not need else torch.empty_like(one)
                     for one, need in zip(tensors[:-1], needed, strict=True)]  # fmt: skip
        names = ("x", *INPUTS, "y", *GIVEN, *GRADIENTS)
        given = tuple(map(ready, given))  # kept alive while their addresses are in use
        for name, value in zip(names, (*tensors, *given, *gradients), strict=True):
            setattr(ctx.layer, name, address(value))
        ctx.layer.saved = addresses(pieces)
        kernels(tensors[0]).recur_backward(ctypes.byref(ctx.layer))
        return None, None, *gradients


def run_module(module: nn.RNNBase, x: Tensor, hx: Any) -> tuple[Tensor, Any] | None:
    """Outputs of torch's module for x and hx, batch first, by the compiled kernels; None if they cannot run."""
    weights: Any = module._flat_weights  # layer by layer, and in each direction by direction
    given = () if hx is None else hx if isinstance(hx, tuple) else (hx,)
    if not module.batch_first or module.proj_size or not can_run(x, *given, *weights):
        return None
    directions, layers, lstm = 2 if module.bidirectional else 1, module.num_layers, module.mode == "LSTM"
    starts = given or (x.new_zeros(layers * directions, x.shape[0], module.hidden_size),) * (2 if lstm else 1)
    dropped = module.dropout if module.training else 0.0  # between layers
    last, each = [], len(weights) // (layers * directions)
    for layer in range(layers):
        x, outputs = drop_time_first(x, dropped) if layer and dropped else x, []
        for number in range(layer * directions, (layer + 1) * directions):
            states = States(starts[0][number], starts[1][number] if lstm else None)
            own = Weights(*weights[number * each : (number + 1) * each])
            outputs.append(run_direction(module.mode, x, states, own, number % directions == 1))
            last.append(outputs[-1][1:])
        x = outputs[0][0] if directions == 1 else torch.cat([output for output, *_ in outputs], -1)
    hidden, cell = zip(*last, strict=True)
    return x, (torch.stack(hidden), torch.stack(cell)) if lstm else torch.stack(hidden)


def run_direction(
    mode: str, x: Tensor, states: States, weights: Weights, backwards: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``run_layer``, or from the last step to the first."""
    outputs, hidden, cell = run_layer(mode, x.flip(1) if backwards else x, states, weights)
    return outputs.flip(1) if backwards else outputs, hidden, cell
