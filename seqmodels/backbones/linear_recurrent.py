"""Recurrent layers that are linear in their state, so that all steps are trained in one scan: minGRU and LRU."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.dropout import SequenceDropout
from seqmodels.errors import InputError, require_at_least, require_fraction
from seqmodels.kernels.scan import diagonal_scan, gated_scan


class ScanState(NamedTuple):
    """The state of each layer, (B, numbers)."""

    layers: tuple[Tensor, ...]


class Recurrence(nn.Module, ABC):
    """A recurrence over inputs of width ``size``, with a state of ``numbers`` and outputs of width ``size``."""

    numbers: int

    @abstractmethod
    def scan(self, x: Tensor, state: Tensor) -> Tensor:
        """Inputs (B, T, size), state (B, numbers) -> the states after each step, (B, T, numbers)."""

    @abstractmethod
    def read(self, states: Tensor, x: Tensor) -> Tensor:
        """States and inputs of some steps -> outputs (B, T, size)."""


class GatedAverage(Recurrence):
    """h = (1 - z) h + z W x, where z = s(V x); the output is GLU(U h).

    Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All We Needed?", the minGRU of their appendix
    A, without a logarithm: the state need not be positive.
    """

    def __init__(self, size: int):
        super().__init__()
        self.numbers = size
        self.inputs, self.outputs = nn.Linear(size, 2 * size), nn.Linear(size, 2 * size)  # z, then the candidate

    def scan(self, x: Tensor, state: Tensor) -> Tensor:
        return gated_scan(self.inputs(x), state)

    def read(self, states: Tensor, x: Tensor) -> Tensor:
        return nn.functional.glu(self.outputs(states))


class LinearRecurrentUnit(Recurrence):
    """h = L h + g B x of ``size / 2`` complex numbers, where L is diagonal; the output is GLU(Re(C h) + D x).

    L = exp(-exp(nu) + i exp(theta)) lies at first on the ring between the radii ``slowest`` and ``fastest`` with angles
    of at most ``angle``; g = sqrt(1 - |L|^2).

    Source: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023. Differs: as many real numbers of state as
    features; C and D are followed by the matrix of the gate without a GELU between them, and g follows L.
    """

    def __init__(self, size: int, fastest: float, slowest: float, angle: float):
        super().__init__()
        units = size // 2
        self.numbers = 2 * units
        self.inputs, self.outputs = nn.Linear(size, 2 * units), nn.Linear(2 * units, 2 * size)
        self.skip = nn.Parameter(torch.randn(2 * size))
        radius = (torch.rand(units) * (slowest**2 - fastest**2) + fastest**2).sqrt()
        self.decay = nn.Parameter((-radius.log()).log())
        self.angle = nn.Parameter((angle * torch.rand(units).clamp(min=1e-3)).log())

    def factor(self) -> Tensor:
        """The diagonal, real parts before the imaginary ones, (size,)."""
        radius, angle = torch.exp(-self.decay.exp()), self.angle.exp()
        return torch.cat([radius * angle.cos(), radius * angle.sin()])

    def scan(self, x: Tensor, state: Tensor) -> Tensor:
        gain = (-torch.expm1(-2 * self.decay.exp())).sqrt()
        return diagonal_scan(self.inputs(x) * torch.cat([gain, gain]), state, self.factor())

    def read(self, states: Tensor, x: Tensor) -> Tensor:
        return nn.functional.glu(self.outputs(states) + self.skip * torch.cat([x, x], -1))


class Block(nn.Module):
    """x + dropout(recurrence(normalise(x))).

    The ``first`` block does not normalise: of a single feature only the sign would be left.
    """

    def __init__(self, recurrence: Recurrence, size: int, dropout: float, first: bool):
        super().__init__()
        self.norm, self.recurrence = nn.Identity() if first else nn.LayerNorm(size), recurrence
        self.dropout = SequenceDropout(dropout)

    def forward(self, x: Tensor, state: Tensor, last: bool = False) -> tuple[Tensor, Tensor]:
        """(B, T, size), state -> (B, T, size), or of the last step only, and the state after it."""
        if not x.shape[1]:
            return x, state
        inputs = self.norm(x)
        states = self.recurrence.scan(inputs, state)
        after = states[:, -1]
        if last:
            x, inputs, states = x[:, -1:], inputs[:, -1:], states[:, -1:]
        return x + self.dropout(self.recurrence.read(states, inputs)), after


class LinearRecurrent(Backbone):
    """Base class: a linear layer to ``hidden`` features, then ``layers`` blocks; ``dropout`` on what a block adds."""

    def __init__(self, features: int, past_steps: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        require_at_least(1, "model.backbone", layers=layers)
        require_fraction("model.backbone", dropout=dropout)
        if hidden < 2:
            raise InputError(f"model.backbone.hidden is {hidden}; it must be at least 2, since layers are normalised.")
        self.size = hidden
        self.encode = nn.Linear(features, hidden)
        self.blocks = nn.ModuleList(Block(self.recurrence(hidden), hidden, dropout, not one) for one in range(layers))

    @abstractmethod
    def recurrence(self, size: int) -> Recurrence:
        """A recurrence of this width."""

    def initial_state(self, x: Tensor) -> ScanState:
        blocks: list[Block] = list(self.blocks)  # type: ignore[arg-type]  # a ModuleList forgets the type
        return ScanState(tuple(x.new_zeros(x.shape[0], block.recurrence.numbers) for block in blocks))

    def unroll(self, x: Tensor, state: ScanState) -> tuple[Tensor, ScanState]:
        return self._run(x, state, False)

    def forward_last(self, x: Tensor) -> Tensor:
        """The last output, see ``Backbone``; the last block computes no other."""
        return self._run(x, self.initial_state(x), True)[0]

    def _run(self, x: Tensor, state: ScanState, last: bool) -> tuple[Tensor, ScanState]:
        x, after = self.encode(x), []
        for number, (block, before) in enumerate(zip(self.blocks, state.layers, strict=True), 1):
            x, memory = block(x, before, last and number == len(self.blocks))
            after.append(memory)
        return x, ScanState(tuple(after))


class MinGru(LinearRecurrent):
    """Blocks of minGRU, a GRU whose gate sees the input only; see ``GatedAverage`` and ``Block``."""

    def __init__(self, features: int, past_steps: int, hidden: int = 32, layers: int = 2, dropout: float = 0.0):
        super().__init__(features, past_steps, hidden, layers, dropout)

    def recurrence(self, size: int) -> Recurrence:
        return GatedAverage(size)


class Lru(LinearRecurrent):
    """Blocks of linear recurrent units; see ``LinearRecurrentUnit`` and ``Block``.

    The memory of a unit begins between ``fastest`` and ``slowest``, what it keeps of its state from step to step.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        hidden: int = 32,
        layers: int = 2,
        dropout: float = 0.0,
        fastest: float = 0.4,
        slowest: float = 0.99,
        angle: float = math.pi / 2,
    ):
        if not 0 <= fastest < slowest < 1:
            raise InputError(
                f"model.backbone.fastest is {fastest} and slowest {slowest}; it must be 0 <= fastest < slowest < 1."
            )
        if not 0 < angle <= math.pi:
            raise InputError(f"model.backbone.angle is {angle}; it must be greater than 0 and at most pi.")
        self.options = fastest, slowest, angle  # before super().__init__, which builds the blocks
        super().__init__(features, past_steps, hidden, layers, dropout)

    def recurrence(self, size: int) -> Recurrence:
        return LinearRecurrentUnit(size, *self.options)
