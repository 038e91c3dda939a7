"""Recurrent cells (simple RNN, LSTM, GRU) with optional layer normalisation and recurrent dropout.

Without layer normalisation, the weights have the names and shapes of torch's cells, so state dictionaries can be
exchanged. With it, only one of torch's two bias vectors remains, inside the normalisation.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqmodels.dropout import VariationalDropout, apply_mask
from seqmodels.kernels.recurrent import Weights

RNN_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class Cell(nn.Module, ABC):
    """One step of a recurrence, from ``inputs`` to ``size`` features.

    The state is a NamedTuple of tensors (B, ...). A field called ``mask`` holds a dropout mask: it is sampled in
    ``initial_state``, passed on by every step, and never replaced by a learned or random initial state.
    """

    inputs: int
    size: int

    @abstractmethod
    def initial_state(self, x: Tensor) -> Any:
        """State before the first step of x (B, T, inputs), on the device of x."""

    def project_inputs(self, x: Tensor) -> Tensor:
        """Compute, for all steps at once, what does not depend on the state: (B, T, inputs) -> (B, T, G)."""
        return x

    @abstractmethod
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step of projected inputs x (B, G) -> output (B, size), next state."""


class HiddenState(NamedTuple):
    """State of a simple RNN or a GRU."""

    hidden: Tensor  # (B, size), also the output
    mask: Tensor  # of recurrent dropout, (B, size); (B, 0) without it


class LstmState(NamedTuple):
    """State of an LSTM."""

    hidden: Tensor  # (B, size), also the output
    cell: Tensor  # (B, size)
    mask: Tensor  # of recurrent dropout of the hidden state, (B, size); (B, 0) without it


class GateNorm(nn.Module):
    """Layer normalisation per gate, each with its own gain and offset: (B, gates size) -> (B, gates, size)."""

    def __init__(self, gates: int, size: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(gates, size))
        self.offset = nn.Parameter(torch.zeros(gates, size))

    def forward(self, x: Tensor) -> Tensor:
        gates, size = self.gain.shape
        return torch.addcmul(self.offset, functional.layer_norm(x.reshape(-1, gates, size), (size,)), self.gain)


class GatedCell(Cell):
    """Base class of the cells below: weights of ``gates`` gates, initialised like torch's, and recurrent dropout.

    ``recurrent_dropout`` applies to the hidden state only where it is multiplied by the recurrent weights. The part of
    the state that a gate carries over to the next step is never dropped.

    ``mode`` names the formula among the compiled kernels; a subclass with a step of its own has none.
    """

    gates: int
    mode = ""

    def __init_subclass__(cls) -> None:
        cls.mode = cls.__dict__.get("mode", "")

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__()
        self.inputs, self.size, rows = inputs, size, self.gates * size
        self.weight_ih = nn.Parameter(torch.empty(rows, inputs))
        self.weight_hh = nn.Parameter(torch.empty(rows, size))
        self.bias_ih = None if layer_norm else nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)
        self.recurrent_dropout = VariationalDropout(recurrent_dropout)

    def zeros_and_mask(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros (B, size), and a mask of recurrent dropout."""
        return x.new_zeros(x.shape[0], self.size), self.recurrent_dropout.sample_mask(x, self.size)

    def initial_state(self, x: Tensor) -> Any:
        return HiddenState(*self.zeros_and_mask(x))

    def project_inputs(self, x: Tensor) -> Tensor:
        bias = self.bias_hh if self.bias_ih is None else self.bias_ih + self.bias_hh
        return functional.linear(x, self.weight_ih, bias)

    def kernel_weights(self) -> Weights:
        """The parameters, as the compiled kernels take them."""
        return Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


def with_norms(weights: Weights, gates: GateNorm | None, last: nn.LayerNorm | None) -> Weights:
    """The weights of a cell with the parameters of its two normalisations, if it has them."""
    if gates is None or last is None:
        return weights
    return weights._replace(gain=gates.gain, offset=gates.offset, last_gain=last.weight, last_offset=last.bias)


class RnnCell(GatedCell):
    """Simple RNN: h = f(W x + U h + b), or with layer normalisation h = f(LN(W x + U h + b)); f is tanh or relu.

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
        self.activation = RNN_ACTIVATIONS[activation]
        self.mode = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}[activation] if type(self) is RnnCell else ""

    def kernel_weights(self) -> Weights:
        weights = super().kernel_weights()
        return weights if self.norm is None else weights._replace(gain=self.norm.weight, offset=self.norm.bias)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        total = torch.addmm(x, apply_mask(state.hidden, state.mask), self.weight_hh.t())
        hidden = self.activation(total if self.norm is None else self.norm(total))
        return hidden, HiddenState(hidden, state.mask)


class LstmCell(GatedCell):
    """LSTM: i, f, g, o = W x + U h + b; c = s(f) c + s(i) tanh(g); h = s(o) tanh(c); s is the logistic function.

    With layer normalisation i, f, g, o = LN(W x + U h + b), per gate with its own gain and offset, and
    h = s(o) tanh(LN(c)). The offset of f is initialised with 1.

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000; Ba et al. 2016. Differs from Ba et al.: the sum of W x and
    U h is normalised per gate; the paper has LN(W x) + LN(U h) + b, each over all gates at once.
    """

    gates = 4
    mode = "LSTM"

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__(inputs, size, layer_norm, recurrent_dropout)
        self.norm = GateNorm(4, size) if layer_norm else None
        self.cell_norm = nn.LayerNorm(size) if layer_norm else None
        if self.norm is not None:
            nn.init.ones_(self.norm.offset[1])

    def initial_state(self, x: Tensor) -> LstmState:
        zeros, mask = self.zeros_and_mask(x)
        return LstmState(zeros, zeros, mask)

    def kernel_weights(self) -> Weights:
        return with_norms(super().kernel_weights(), self.norm, self.cell_norm)

    def step(self, x: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        total = torch.addmm(x, apply_mask(state.hidden, state.mask), self.weight_hh.t())
        i, f, g, o = total.chunk(4, 1) if self.norm is None else self.norm(total).unbind(1)
        cell = torch.addcmul(torch.sigmoid(f) * state.cell, torch.sigmoid(i), torch.tanh(g))
        hidden = torch.sigmoid(o) * torch.tanh(cell if self.cell_norm is None else self.cell_norm(cell))
        return hidden, LstmState(hidden, cell, state.mask)


class GruCell(GatedCell):
    """GRU: r, z = s(W x + U h + b); n = tanh(W x + b + r (U h + c)); h = (1 - z) n + z h; s is the logistic function.

    With layer normalisation r, z = s(LN(W x + U h + b)), per gate with its own gain and offset, and
    n = tanh(LN(W x + r (U h + c))).

    Source: Cho et al. 2014; Ba et al. 2016. Differs: the reset gate applies after the recurrent product, as in cuDNN
    and Keras 2. The sum of W x and U h is normalised; Ba et al. have LN(W x) + LN(U h), and LN(W x) + r LN(U h) for n.
    """

    gates = 3
    mode = "GRU"

    def __init__(self, inputs: int, size: int, layer_norm: bool = False, recurrent_dropout: float = 0.0):
        super().__init__(inputs, size, layer_norm, recurrent_dropout)
        self.norm = GateNorm(2, size) if layer_norm else None
        self.candidate_norm = nn.LayerNorm(size) if layer_norm else None
        self.sizes = [2 * size, size]  # of r and z, and of n

    def project_inputs(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight_ih, self.bias_ih)

    def kernel_weights(self) -> Weights:
        return with_norms(super().kernel_weights(), self.norm, self.candidate_norm)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        recurrent = functional.linear(apply_mask(state.hidden, state.mask), self.weight_hh, self.bias_hh)
        x_gates, x_candidate = x.split(self.sizes, 1)
        h_gates, h_candidate = recurrent.split(self.sizes, 1)
        gates = x_gates + h_gates
        r, z = torch.sigmoid(gates).chunk(2, 1) if self.norm is None else torch.sigmoid(self.norm(gates)).unbind(1)
        candidate = torch.addcmul(x_candidate, r, h_candidate)
        candidate = torch.tanh(candidate if self.candidate_norm is None else self.candidate_norm(candidate))
        hidden = candidate + z * (state.hidden - candidate)
        return hidden, HiddenState(hidden, state.mask)
