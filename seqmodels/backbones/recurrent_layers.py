"""What recurrent layers are made of beside their cells: how they read a sequence, start, and are normalised between."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.backbones.cells import Cell, HiddenState, LstmState
from seqmodels.dropout import Zoneout

STARTS = ("zeros", "learned", "random")
SPREAD = 0.1  # standard deviation of a random start: small beside the range of tanh, so that no unit starts saturated


class CellLayer(nn.Module):
    """A cell that reads a sequence step by step, with ``zoneout`` of its state."""

    def __init__(self, cell: Cell, zoneout: float):
        super().__init__()
        self.cell = cell
        self.zoneout = Zoneout(zoneout) if zoneout else None

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, T, inputs) after ``state`` -> outputs (B, T, size), next state."""
        step, zoneout, outputs = self.cell.step, self.zoneout, []
        for prepared in self.cell.prepare(x).unbind(1):
            output, following = step(prepared, state)
            if zoneout is not None:
                output, following = zoneout(output, state, following)
            outputs.append(output)
            state = following
        return torch.stack(outputs, 1), state


def start(layer: nn.Module, x: Tensor) -> tuple[Any, ...]:
    """The state before the first step of x (B, T, inputs), of each layer in torch's module or of the one cell layer."""
    if isinstance(layer, CellLayer):
        return (layer.cell.initial_state(x),)
    assert isinstance(layer, nn.RNNBase)
    zeros, nothing = x.new_zeros(x.shape[0], layer.hidden_size), x.new_empty(x.shape[0], 0)
    state = LstmState(zeros, zeros, nothing) if layer.mode == "LSTM" else HiddenState(zeros, nothing)
    return (state,) * layer.num_layers


def read(layer: nn.Module, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
    """x (B, T, inputs) after ``states`` -> features (B, T, size) of the last layer, the state of each."""
    if isinstance(layer, CellLayer):
        features, after = layer(x, states[0])
        return features, (after,)
    mask = states[0].mask
    hidden = torch.stack([state.hidden for state in states])
    if not isinstance(layer, nn.LSTM):
        features, hidden = layer(x, hidden)
        return features, tuple(HiddenState(one, mask) for one in hidden.unbind())
    features, (hidden, cell) = layer(x, (hidden, torch.stack([state.cell for state in states])))
    return features, tuple(LstmState(*one, mask) for one in zip(hidden.unbind(), cell.unbind(), strict=True))


class Start(nn.Module):
    """How the memory of one layer starts, given the state its cell would start from.

    "zeros": as the cell says. "learned": one vector for all sequences, which begins as zeros. "random": in training
    normal with mean 0 and deviation 0.1, drawn for every sequence; in evaluation as the cell says.
    """

    def __init__(self, kind: str, example: Any):
        super().__init__()
        self.kind = kind
        self.memory = [name for name in example._fields if name != "mask"]
        learned = self.memory if kind == "learned" else []
        self.values = nn.ParameterList([torch.zeros_like(getattr(example, name)[0]) for name in learned])

    def forward(self, state: Any) -> Any:
        """A state of parts (B, size) and the one to start from."""
        if self.kind == "learned":
            pairs = zip(self.memory, self.values, strict=True)
            return state._replace(**{name: value.expand_as(getattr(state, name)) for name, value in pairs})
        if self.kind == "random" and self.training:
            return state._replace(**{n: torch.randn_like(getattr(state, n)) * SPREAD for n in self.memory})
        return state


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation per feature, over batch and time: (B, T, D) -> (B, T, D)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, 1)).reshape(input.shape)


# What may stand before every layer but the first, made for its number of features
NORMALISERS: dict[str, Callable[[int], nn.Module]] = {"none": nn.Identity, "batch": BatchNorm, "layer": nn.LayerNorm}
