"""Recurrent cells, one step of a recurrence each: simple, LSTM and GRU, with and without layer normalisation.

The weights are named and laid out as in torch's cells, so that their state dictionaries fit where there is no layer
normalisation. With it, one bias vector of the two remains, within the normalisation.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqmodels.dropout import SequenceDropout, masked

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class Cell(nn.Module, ABC):
    """One step of a recurrence, from ``inputs`` to ``size`` numbers.

    The state is a NamedTuple of tensors (B, ...). A part called ``mask`` is no memory: it is drawn in
    ``initial_state``, handed on by every step, and never replaced by a learned or random start.
    """

    inputs: int
    size: int

    @abstractmethod
    def initial_state(self, x: Tensor) -> Any:
        """The state before the first step of x (B, T, inputs), on its device."""

    def prepare(self, x: Tensor) -> Tensor:
        """What does not depend on the state, for all steps at once: (B, T, inputs) -> (B, T, G)."""
        return x

    @abstractmethod
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One prepared step (B, G) after ``state`` -> output (B, size), next state."""


class HiddenState(NamedTuple):
    """Hidden state (B, size), which is the output; what recurrent dropout keeps of it: (B, size), (B, 0) for all."""

    hidden: Tensor
    mask: Tensor


class LstmState(NamedTuple):
    """Short-term (hidden) and long-term (cell) state (B, size); the mask of the hidden one, (B, 0) for none."""

    hidden: Tensor
    cell: Tensor
    mask: Tensor


class GateNorm(nn.Module):
    """Layer normalisation of each gate by itself, with its own gain and offset: (B, gates size) -> (B, gates, size)."""

    def __init__(self, gates: int, size: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(gates, size))
        self.offset = nn.Parameter(torch.zeros(gates, size))

    def forward(self, x: Tensor) -> Tensor:
        gates, size = self.gain.shape
        return torch.addcmul(self.offset, functional.layer_norm(x.reshape(-1, gates, size), (size,)), self.gain)


class GatedCell(Cell):
    """The weights of a cell of ``gates`` gates, drawn as torch draws them, and the mask of its hidden state.

    ``recurrent_dropout`` acts on the hidden state where it enters the product with the recurrent weights, and only
    there: what a gate carries over from step to step is never dropped.
    """

    gates: int

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__()
        self.inputs, self.size, rows = inputs, size, self.gates * size
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs))
        self.weight_hh = nn.Parameter(torch.empty(rows, size))
        self.bias_ih = None if layer_norm else nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)
        self.recurrent_dropout = SequenceDropout(recurrent_dropout)

    def zeros(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros (B, size), and the mask of the hidden state."""
        return x.new_zeros(x.shape[0], self.size), self.recurrent_dropout.mask(x, self.size)

    def initial_state(self, x: Tensor) -> Any:
        return HiddenState(*self.zeros(x))

    def prepare(self, x: Tensor) -> Tensor:
        bias = self.bias_hh if self.bias_ih is None else self.bias_ih + self.bias_hh
        return functional.linear(x, self.weight_ih, bias)


class RnnCell(GatedCell):
    """h = f(W x + U h + b); with layer normalisation h = f(LN(W x + U h + b)); f is tanh or relu.

    Source: Elman 1990; Géron, chapter 15 (layer normalisation between the sum and the activation).
    """

    gates = 1

    def __init__(
        self,
        inputs: int,
        size: int,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        activation: str = "tanh",
    ):
        super().__init__(inputs, size, layer_norm, recurrent_dropout)
        self.norm = nn.LayerNorm(size) if layer_norm else None
        self.activation = ACTIVATIONS[activation]

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        total = torch.addmm(x, masked(state.hidden, state.mask), self.weight_hh.t())
        hidden = self.activation(total if self.norm is None else self.norm(total))
        return hidden, HiddenState(hidden, state.mask)


class LstmCell(GatedCell):
    """i, f, g, o = W x + U h + b; c = s(f) c + s(i) tanh(g); h = s(o) tanh(c), where s is the logistic function.

    With layer normalisation i, f, g, o = LN(W x + U h + b), each gate by itself with its own gain and offset, and
    h = s(o) tanh(LN(c)); the offset of f starts at 1.

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000; Ba et al. 2016. Differs from Ba: W x and U h are
    normalised as one sum, where the paper takes LN(W x) + LN(U h) + b over all gates at once.
    """

    gates = 4

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__(inputs, size, layer_norm, recurrent_dropout)
        self.norm = GateNorm(4, size) if layer_norm else None
        self.cell_norm = nn.LayerNorm(size) if layer_norm else None
        if self.norm is not None:
            nn.init.ones_(self.norm.offset[1])

    def initial_state(self, x: Tensor) -> LstmState:
        zeros, mask = self.zeros(x)
        return LstmState(zeros, zeros, mask)

    def step(self, x: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        total = torch.addmm(x, masked(state.hidden, state.mask), self.weight_hh.t())
        i, f, g, o = total.chunk(4, 1) if self.norm is None else self.norm(total).unbind(1)
        cell = torch.addcmul(torch.sigmoid(f) * state.cell, torch.sigmoid(i), torch.tanh(g))
        hidden = torch.sigmoid(o) * torch.tanh(cell if self.cell_norm is None else self.cell_norm(cell))
        return hidden, LstmState(hidden, cell, state.mask)


class GruCell(GatedCell):
    """r, z = s(W x + U h + b); n = tanh(W x + b + r (U h + c)); h = (1 - z) n + z h, s the logistic function.

    With layer normalisation r, z = s(LN(W x + U h + b)), each gate by itself with its own gain and offset, and
    n = tanh(LN(W x + r (U h + c))).

    Source: Cho et al. 2014; Ba et al. 2016. Differs: the reset gate acts after the recurrent product, as in cuDNN
    and Keras 2; W x and U h are normalised as one sum, where Ba takes LN(W x) + LN(U h), and LN(W x) + r LN(U h).
    """

    gates = 3

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__(inputs, size, layer_norm, recurrent_dropout)
        self.norm = GateNorm(2, size) if layer_norm else None
        self.candidate_norm = nn.LayerNorm(size) if layer_norm else None
        self.parts = [2 * size, size]

    def prepare(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight_ih, self.bias_ih)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        before = state.hidden
        recurrent = functional.linear(masked(before, state.mask), self.weight_hh, self.bias_hh)
        x_gates, x_candidate = x.split(self.parts, 1)
        h_gates, h_candidate = recurrent.split(self.parts, 1)
        gates = x_gates + h_gates
        r, z = torch.sigmoid(gates).chunk(2, 1) if self.norm is None else torch.sigmoid(self.norm(gates)).unbind(1)
        candidate = torch.addcmul(x_candidate, r, h_candidate)
        candidate = torch.tanh(candidate if self.candidate_norm is None else self.candidate_norm(candidate))
        hidden = candidate + z * (before - candidate)
        return hidden, HiddenState(hidden, state.mask)
