"""Simple RNN, LSTM, GRU and any other recurrent cell, in layers, behind the contract of a backbone."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.cells import ACTIVATIONS, Cell, GatedCell, GruCell, HiddenState, LstmCell, LstmState, RnnCell
from seqmodels.causal import Backbone
from seqmodels.dropout import SequenceDropout, Zoneout, masked
from seqmodels.errors import InputError, require_at_least, require_choice, require_share

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


class RecurrentState(NamedTuple):
    """``layers``: the state of every layer, a NamedTuple of tensors (B, hidden) as its cell has it; ``masks``: what
    input dropout keeps of the input of every layer, (B, inputs) or (B, 0) for all, and none without such dropout.
    """

    layers: tuple[Any, ...]
    masks: tuple[Tensor, ...] = ()


class Layers(Backbone):
    """Recurrent layers over one another, and what stands between them.

    Layer l computes y = dropout(cell(input dropout(normalise(x)))), and y + x with ``residual`` where l > 1.
    """

    def __init__(
        self,
        layers: nn.RNNBase | nn.ModuleList,
        inputs: list[int],
        size: int,
        dropout: float,
        input_dropout: float,
        normalise: str,
        residual: bool,
        initial: str,
    ):
        super().__init__()
        self.inputs, self.size, self.residual = inputs, size, residual
        self.layers = layers
        self.between = nn.ModuleList(NORMALISERS[normalise](width) for width in inputs[1:])
        self.input_dropout = SequenceDropout(input_dropout)
        self.dropout = nn.Dropout(dropout)
        self.starts = nn.ModuleList()
        if initial != "zeros":
            examples = self._zeros(next(self.parameters()).new_zeros(1, 0, inputs[0]))
            self.starts.extend(Start(initial, example) for example in examples)

    def initial_state(self, x: Tensor) -> RecurrentState:
        """The start of every layer; the masks of input and recurrent dropout are drawn here, one per sequence."""
        layers = self._zeros(x)
        if self.starts:
            layers = tuple(begin(state) for begin, state in zip(self.starts, layers, strict=True))
        masks = (self.input_dropout.mask(x, size) for size in self.inputs) if self.input_dropout.p else ()
        return RecurrentState(layers, tuple(masks))

    def unroll(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        if isinstance(self.layers, nn.RNNBase):  # nothing stands between the layers
            features, states = read(self.layers, x, state.layers)
            return self.dropout(features), RecurrentState(states, state.masks)
        after: tuple[Any, ...] = ()
        for number, layer in enumerate(self.layers):
            y = self.between[number - 1](x) if number else x
            y = masked(y, state.masks[number]) if state.masks else y
            y, states = read(layer, y, state.layers[number : number + 1])
            y = self.dropout(y)
            x = x + y if self.residual and number else y
            after += states
        return x, RecurrentState(after, state.masks)

    def _zeros(self, x: Tensor) -> tuple[Any, ...]:
        """The state of every layer as its cell starts it."""
        if isinstance(self.layers, nn.RNNBase):
            return start(self.layers, x)
        return tuple(state for layer in self.layers for state in start(layer, x))


def widths(hidden: int | Sequence[int], layers: int, residual: bool) -> list[int]:
    """Units of each layer; raises InputError where there are not as many numbers as layers, or none."""
    require_at_least(1, "model.backbone", layers=layers)
    units = [hidden] * layers if isinstance(hidden, int) else list(hidden)
    if len(units) != layers:
        raise InputError(
            f"model.backbone.hidden={units} gives the units of {len(units)} layers, and model.backbone.layers is"
            f" {layers}; they must be as many, or hidden one number for all of them."
        )
    for width in units:
        require_at_least(1, "model.backbone", hidden=width)
    if residual and len(set(units)) > 1:
        raise InputError(f"model.backbone.residual adds input and output of a layer, and hidden={units} differs.")
    return units


def check(normalise: str, initial: str, **shares: float) -> None:
    """Raise InputError for settings that make no recurrent layers."""
    require_share("model.backbone", **shares)
    require_choice(NORMALISERS, "model.backbone", normalise=normalise)
    require_choice(STARTS, "model.backbone", initial=initial)


def refuse_one_unit(setting: str, units: Sequence[int]) -> None:
    """A single unit minus its own mean is always 0."""
    if 1 in units:
        raise InputError(f"model.backbone.{setting} needs hidden of at least 2; one unit, normalised, is always 0.")


class Cells(Layers):
    """Layers of any recurrent cell, which is built as ``cell(inputs=, size=)``; see ``seqmodels.backbones.cells.Cell``.

    The options are those of ``Recurrent``; what acts within a step is the cell's own affair.
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        cell: Callable[..., Cell],
        hidden: int | Sequence[int] = 20,
        layers: int = 2,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        zoneout: float = 0.0,
        normalise: str = "none",
        residual: bool = False,
        initial: str = "zeros",
    ):
        check(normalise, initial, dropout=dropout, input_dropout=input_dropout, zoneout=zoneout)
        units = widths(hidden, layers, residual)
        inputs, modules = [features, *units[:-1]], nn.ModuleList()
        if normalise == "layer":
            refuse_one_unit("normalise=layer", units[:-1])
        modules.extend(CellLayer(cell(inputs=i, size=size), zoneout) for i, size in zip(inputs, units, strict=True))
        super().__init__(modules, inputs, units[-1], dropout, input_dropout, normalise, residual, initial)


class Recurrent(Layers):
    """``layers`` layers of ``hidden`` units each, or of as many as a list of them says: [20, 20, 1] ends in one unit.

    All rates are shares of units, and act in training only.

    ``dropout``: on the output of every layer, drawn for every step. ``input_dropout``: on the input of every layer,
    and ``recurrent_dropout``: on the hidden state, one mask per sequence (Gal & Ghahramani 2016). ``zoneout``: units
    that keep their previous value, at every step (Krueger et al. 2017). ``layer_norm``: within the recurrence, before
    the activation (Ba et al. 2016). ``normalise``: the input of every layer but the first, "batch" (per feature over
    batch and time) or "layer". ``residual``: from the second layer on, output + input. ``initial``: the state before
    the first step, "zeros", "learned" or "random" (normal with deviation 0.1, in training only).

    torch's fused layers do the work unless layer_norm, recurrent_dropout or zoneout ask for a loop over the steps.
    """

    fused: Callable[..., nn.RNNBase]
    cell: Callable[..., GatedCell]

    def __init__(
        self,
        features: int,
        past_steps: int,
        hidden: int | Sequence[int] = 20,
        layers: int = 2,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        normalise: str = "none",
        residual: bool = False,
        initial: str = "zeros",
    ):
        shares = {"dropout": dropout, "input_dropout": input_dropout, "recurrent_dropout": recurrent_dropout}
        check(normalise, initial, zoneout=zoneout, **shares)
        units, modules = widths(hidden, layers, residual), nn.ModuleList()
        inputs = [features, *units[:-1]]
        sizes = list(zip(inputs, units, strict=True))
        if normalise == "layer":
            refuse_one_unit("normalise=layer", units[:-1])
        chosen: nn.RNNBase | nn.ModuleList = modules
        if layer_norm or recurrent_dropout or zoneout:
            if layer_norm:
                refuse_one_unit("layer_norm", units)
            cell = partial(self.cell, layer_norm=layer_norm, recurrent_dropout=recurrent_dropout)
            modules.extend(CellLayer(cell(*size), zoneout) for size in sizes)
        elif input_dropout or normalise != "none" or residual or len(set(units)) > 1:
            modules.extend(self.fused(*size, batch_first=True) for size in sizes)
        else:
            between = dropout if layers > 1 else 0.0  # torch warns about dropout between the layers of one
            chosen = self.fused(features, units[0], layers, batch_first=True, dropout=between)
        super().__init__(chosen, inputs, units[-1], dropout, input_dropout, normalise, residual, initial)


class Rnn(Recurrent):
    """Simple RNN: h(t) = f(W x(t) + U h(t-1) + b), where ``activation`` f is tanh or relu.

    Source: Elman 1990. Differs: torch keeps two bias vectors, which adds ``hidden`` parameters per layer.
    """

    def __init__(self, features: int, past_steps: int, activation: str = "tanh", **others: Any):
        require_choice(ACTIVATIONS, "model.backbone", activation=activation)
        # Before the layers are made, which ask for it
        self.fused = partial(nn.RNN, nonlinearity=activation)
        self.cell = partial(RnnCell, activation=activation)
        super().__init__(features, past_steps, **others)
        if activation == "relu":
            self.advice = (
                "model.backbone.activation=relu has no upper bound, so that the state of the recurrence may explode;"
                " keep tanh unless gradients are clipped and the learning rate is low.",
            )


class Gru(Recurrent):
    """Gated recurrent unit: h = (1 - z) n + z h, n = tanh(W x + r (U h + b)).

    Source: Cho et al. 2014. Differs: the reset gate r acts after the recurrent product, as in cuDNN and Keras 2.
    """

    fused = nn.GRU
    cell = GruCell


class Lstm(Recurrent):
    """Long short-term memory: c = f c + i g, h = o tanh(c).

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate); no peepholes.
    """

    fused = nn.LSTM
    cell = LstmCell
