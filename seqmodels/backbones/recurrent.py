"""Stacked recurrent layers: simple RNN, LSTM, GRU, and any custom cell."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.backbones.cells import (
    RNN_ACTIVATIONS,
    Cell,
    GatedCell,
    GruCell,
    HiddenState,
    LstmCell,
    LstmState,
    RnnCell,
)
from seqmodels.dropout import SequenceDropout, VariationalDropout, Zoneout, apply_mask
from seqmodels.errors import InputError, require_at_least, require_choice, require_fraction
from seqmodels.kernels.recurrent import States, can_run, run_layer, run_module


class FusedRnn(nn.RNN):
    """``nn.RNN`` by the compiled kernels where they can run."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        computed = run_module(self, input, hx)
        return super().forward(input, hx) if computed is None else computed


class FusedGru(nn.GRU):
    """``nn.GRU`` by the compiled kernels where they can run."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        computed = run_module(self, input, hx)
        return super().forward(input, hx) if computed is None else computed


class FusedLstm(nn.LSTM):
    """``nn.LSTM`` by the compiled kernels where they can run.

    Computes in float32 where autocast asks the CPU for a bfloat16 LSTM that it does not have.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        computed = run_module(self, input, hx)
        if computed is not None:
            return computed
        if not (torch.is_autocast_enabled("cpu") and input.is_cpu) or has_bfloat16_lstm():
            return super().forward(input, hx)
        with torch.autocast("cpu", enabled=False):
            return self.forward(input.float(), None if hx is None else tuple(part.float() for part in hx))


@cache
def has_bfloat16_lstm() -> bool:
    """True if the CPU can train an LSTM in bfloat16; oneDNN, which computes it on x86, needs AVX-512 for that."""
    with torch.inference_mode(False), torch.enable_grad():
        weights = [torch.zeros(size, requires_grad=True) for size in ((4, 1), (4, 1), 4, 4)]
        x = torch.zeros(1, 1, 1)  # one step of one unit; nothing here uses a random generator
        try:
            with torch.autocast("cpu", torch.bfloat16):
                outputs, *_ = torch.lstm(x, (x, x), weights, True, 1, 0.0, True, False, True)
            outputs.sum().backward()
        except RuntimeError:
            return False
    return True


INITIAL_STATES = ("zeros", "learned", "random")
INITIAL_DEVIATION = 0.1  # of random initial states: small compared with the range of tanh, so that no unit saturates


class CellLayer(nn.Module):
    """A recurrent layer that applies a cell at every step, with ``zoneout`` of its state.

    The cells of this package are computed by the compiled kernels where those can run, others in a loop.
    """

    def __init__(self, cell: Cell, zoneout: float):
        super().__init__()
        self.cell = cell
        self.zoneout = Zoneout(zoneout) if zoneout else None

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, T, inputs), state -> outputs (B, T, size), next state."""
        if isinstance(self.cell, GatedCell) and self.cell.mode and can_run(x, *state, *self.cell.parameters()):
            return self._run_kernel(self.cell, x, state)
        step, zoneout, outputs = self.cell.step, self.zoneout, []
        for projected in self.cell.project_inputs(x).unbind(1):
            output, next_state = step(projected, state)
            if zoneout is not None:
                output, next_state = zoneout(output, state, next_state)
            outputs.append(output)
            state = next_state
        return torch.stack(outputs, 1), state

    def _run_kernel(self, cell: GatedCell, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As ``forward``, in one call for all steps."""
        memory = state[:-1]  # without the mask
        keep = None if self.zoneout is None else self.zoneout.sample_kept(x, len(memory), cell.size)
        start = States(
            hidden=state.hidden,
            cell=memory[1] if len(memory) == 2 else None,
            mask=state.mask if state.mask.numel() else None,
            keep=keep,
            zoneout=self.zoneout.p if self.zoneout is not None and keep is None else 0.0,
        )
        outputs, *last = run_layer(cell.mode, x, start, cell.kernel_weights())
        return outputs, type(state)(*last[: len(memory)], state.mask)


def zero_states(module: nn.Module, x: Tensor) -> tuple[Any, ...]:
    """State before the first step of x (B, T, inputs) for each layer of ``module``: a CellLayer, or torch's layers."""
    if isinstance(module, CellLayer):
        return (module.cell.initial_state(x),)
    assert isinstance(module, nn.RNNBase)
    zeros, no_mask = x.new_zeros(x.shape[0], module.hidden_size), x.new_empty(x.shape[0], 0)
    state = LstmState(zeros, zeros, no_mask) if module.mode == "LSTM" else HiddenState(zeros, no_mask)
    return (state,) * module.num_layers


def run_layers(module: nn.Module, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
    """Run a CellLayer or torch's layers: (B, T, inputs), states -> outputs (B, T, size) of the last layer, next states.

    torch stacks the states of its layers in dimension 0; here each layer has a state of its own, batch first.
    """
    if isinstance(module, CellLayer):
        outputs, state = module(x, states[0])
        return outputs, (state,)
    mask = states[0].mask
    hidden = torch.stack([state.hidden for state in states])
    if not isinstance(module, nn.LSTM):
        outputs, hidden = module(x, hidden)
        return outputs, tuple(HiddenState(h, mask) for h in hidden.unbind())
    outputs, (hidden, cell) = module(x, (hidden, torch.stack([state.cell for state in states])))
    return outputs, tuple(LstmState(h, c, mask) for h, c in zip(hidden.unbind(), cell.unbind(), strict=True))


class InitialState(nn.Module):
    """Learned or random initial state of one layer.

    "learned": one vector for all sequences, zeros at first. "random": in training mode, normal with mean 0 and
    standard deviation 0.1, sampled per sequence; in evaluation mode, the initial state of the cell.
    """

    def __init__(self, kind: str, example: Any):
        super().__init__()
        self.kind = kind
        self.fields = [name for name in example._fields if name != "mask"]
        learned = self.fields if kind == "learned" else []
        self.values = nn.ParameterList([torch.zeros_like(getattr(example, name)[0]) for name in learned])

    def forward(self, state: Any) -> Any:
        """Replace the initial state of the cell, a NamedTuple of tensors (B, size)."""
        if self.kind == "learned":
            pairs = zip(self.fields, self.values, strict=True)
            return state._replace(**{name: value.expand_as(getattr(state, name)) for name, value in pairs})
        if self.training:
            return state._replace(
                **{name: torch.randn_like(getattr(state, name)) * INITIAL_DEVIATION for name in self.fields}
            )
        return state


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation per feature, over batch and time: (B, T, D) -> (B, T, D)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, 1)).reshape(input.shape)


NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": nn.Identity,
    "batch": BatchNorm,
    "layer": nn.LayerNorm,
}


class RecurrentState(NamedTuple):
    """State of stacked recurrent layers.

    ``layers``: the state of each layer, a NamedTuple of tensors (B, hidden). ``masks``: of input dropout, (B, inputs)
    per layer; (B, 0) in evaluation mode, and an empty tuple without input dropout.
    """

    layers: tuple[Any, ...]
    masks: tuple[Tensor, ...] = ()


class RecurrentStack(Backbone):
    """Base class of stacked recurrent layers.

    Each layer computes y = dropout(cell(input_dropout(normalise(x)))). The first layer has no normalisation; with
    ``residual``, the output of all others is x + y.
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
        self.between = nn.ModuleList(NORMALISATIONS[normalise](width) for width in inputs[1:])
        self.input_dropout = VariationalDropout(input_dropout)
        loops = isinstance(layers, nn.ModuleList) and any(isinstance(layer, CellLayer) for layer in layers)
        self.dropout = nn.Dropout(dropout) if loops else SequenceDropout(dropout)
        self.starts = nn.ModuleList()
        if initial != "zeros":
            examples = self._zero_states(next(self.parameters()).new_zeros(1, 0, inputs[0]))
            self.starts.extend(InitialState(initial, example) for example in examples)

    def initial_state(self, x: Tensor) -> RecurrentState:
        """Initial state, see ``Backbone``; samples the masks of input and recurrent dropout, one per sequence."""
        layers = self._zero_states(x)
        if self.starts:
            layers = tuple(start(state) for start, state in zip(self.starts, layers, strict=True))
        masks = (self.input_dropout.sample_mask(x, size) for size in self.inputs) if self.input_dropout.p else ()
        return RecurrentState(layers, tuple(masks))

    def unroll(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        if isinstance(self.layers, nn.RNNBase):  # all layers in one module, with nothing but dropout between them
            outputs, states = run_layers(self.layers, x, state.layers)
            return self.dropout(outputs), RecurrentState(states, state.masks)
        next_states: tuple[Any, ...] = ()
        for number, layer in enumerate(self.layers):
            y = self.between[number - 1](x) if number else x
            y = apply_mask(y, state.masks[number]) if state.masks else y
            y, states = run_layers(layer, y, state.layers[number : number + 1])
            y = self.dropout(y)
            x = x + y if self.residual and number else y
            next_states += states
        return x, RecurrentState(next_states, state.masks)

    def forward_last(self, x: Tensor) -> Tensor:
        """The last output, see ``Backbone``; the backward pass skips the other outputs."""
        outputs, state = self.unroll(x, self.initial_state(x))
        last = self.layers if isinstance(self.layers, nn.RNNBase) else self.layers[-1]
        changed = self.residual or (self.dropout.p and self.dropout.training)
        if changed or (isinstance(last, CellLayer) and not isinstance(last.cell, GatedCell)):
            return outputs[:, -1:]
        return state.layers[-1].hidden[:, None]

    def _zero_states(self, x: Tensor) -> tuple[Any, ...]:
        """Initial state of every layer, as its cell defines it."""
        if isinstance(self.layers, nn.RNNBase):
            return zero_states(self.layers, x)
        return tuple(state for layer in self.layers for state in zero_states(layer, x))


class CustomRecurrent(RecurrentStack):
    """Stacked layers of any ``Cell``, which is built as ``cell(inputs=, size=)``.

    The other options are those of ``Recurrent``, except those that apply within a step.
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
        check_recurrent_options(normalise, initial, dropout=dropout, input_dropout=input_dropout, zoneout=zoneout)
        units = layer_units(hidden, layers, normalise, residual)
        inputs = [features, *units[:-1]]
        sizes = zip(inputs, units, strict=True)
        modules = nn.ModuleList([CellLayer(cell(inputs=i, size=size), zoneout) for i, size in sizes])
        super().__init__(modules, inputs, units[-1], dropout, input_dropout, normalise, residual, initial)


class Recurrent(RecurrentStack):
    """Base class of ``Rnn``, ``Gru`` and ``Lstm``: ``layers`` layers of ``hidden`` units, or of a list of units.

    All dropout and zoneout rates are fractions of units.

    ``dropout``: on the output of every layer, sampled per step. ``input_dropout``: on the input of every layer, and
    ``recurrent_dropout``: on the hidden state, one mask per sequence (Gal & Ghahramani 2016). ``zoneout``: rate of
    units that keep their previous value, sampled per step (Krueger et al. 2017). ``layer_norm``: layer normalisation
    inside the cell, before the activations (Ba et al. 2016). ``normalise``: normalisation of the input of every layer
    but the first, "none", "batch" (per feature, over batch and time) or "layer". ``residual``: add the input of every
    layer but the first to its output. ``initial``: the state before the first step, "zeros", "learned" or "random"
    (normal with standard deviation 0.1, in training mode only).

    Without layer_norm, recurrent_dropout and zoneout, the layers are torch's.
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
        rates = {"dropout": dropout, "input_dropout": input_dropout, "recurrent_dropout": recurrent_dropout}
        check_recurrent_options(normalise, initial, zoneout=zoneout, **rates)
        units = layer_units(hidden, layers, normalise, residual)
        inputs = [features, *units[:-1]]
        sizes = list(zip(inputs, units, strict=True))
        modules: nn.RNNBase | nn.ModuleList
        if layer_norm or recurrent_dropout or zoneout:
            if layer_norm:
                require_two_units("layer_norm", units)
            cell = partial(self.cell, layer_norm=layer_norm, recurrent_dropout=recurrent_dropout)
            modules = nn.ModuleList([CellLayer(cell(*size), zoneout) for size in sizes])
        elif input_dropout or normalise != "none" or residual or len(set(units)) > 1:
            modules = nn.ModuleList([self.fused(*size, batch_first=True) for size in sizes])
        else:
            between = dropout if layers > 1 else 0.0  # torch warns about it for a single layer
            modules = self.fused(features, units[0], layers, batch_first=True, dropout=between)
        super().__init__(modules, inputs, units[-1], dropout, input_dropout, normalise, residual, initial)


class Rnn(Recurrent):
    """Simple RNN: h(t) = f(W x(t) + U h(t-1) + b), where ``activation`` f is tanh or relu.

    Source: Elman 1990. Differs: like torch, two bias vectors, thus ``hidden`` more parameters per layer.
    """

    def __init__(self, features: int, past_steps: int, activation: str = "tanh", **options: Any):
        require_choice(RNN_ACTIVATIONS, "model.backbone", activation=activation)
        self.fused = partial(FusedRnn, nonlinearity=activation)  # before super().__init__, which builds the layers
        self.cell = partial(RnnCell, activation=activation)
        super().__init__(features, past_steps, **options)
        if activation == "relu":
            self.warnings = (
                "model.backbone.activation=relu is unbounded, so the recurrent state may explode;"
                " keep tanh unless gradients are clipped and the learning rate is low.",
            )


class Gru(Recurrent):
    """Gated recurrent unit: h = (1 - z) n + z h, n = tanh(W x + r (U h + b)).

    Source: Cho et al. 2014. Differs: the reset gate r applies after the recurrent product, as in cuDNN and Keras 2.
    """

    fused = FusedGru
    cell = GruCell


class Lstm(Recurrent):
    """Long short-term memory: c = f c + i g, h = o tanh(c).

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate); no peepholes.
    """

    fused = FusedLstm
    cell = LstmCell


def check_recurrent_options(normalise: str, initial: str, **rates: float) -> None:
    """Raise InputError for invalid options that all recurrent backbones have."""
    require_fraction("model.backbone", **rates)
    require_choice(NORMALISATIONS, "model.backbone", normalise=normalise)
    require_choice(INITIAL_STATES, "model.backbone", initial=initial)


def layer_units(hidden: int | Sequence[int], layers: int, normalise: str, residual: bool) -> list[int]:
    """Return the number of units of each layer; raises InputError if it does not fit the other options."""
    require_at_least(1, "model.backbone", layers=layers)
    units = [hidden] * layers if isinstance(hidden, int) else list(hidden)
    if len(units) != layers:
        raise InputError(
            f"model.backbone.hidden={units} gives the units of {len(units)} layers, and model.backbone.layers is"
            f" {layers}; give one number per layer, or a single number for all of them."
        )
    for size in units:
        require_at_least(1, "model.backbone", hidden=size)
    if residual and len(set(units)) > 1:
        raise InputError(
            f"model.backbone.residual adds the input of a layer to its output, so all layers need the same number of"
            f" units; hidden is {units}."
        )
    if normalise == "layer":
        require_two_units("normalise=layer", units[:-1])
    return units


def require_two_units(option: str, units: Sequence[int]) -> None:
    """Raise InputError if a layer to be normalised has a single unit, which minus its own mean is always 0."""
    if 1 in units:
        raise InputError(f"model.backbone.{option} needs hidden of at least 2; a single normalised unit is always 0.")
