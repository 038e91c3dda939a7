"""Causal convolutions, and the base class of networks made of them."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.errors import require_at_least, require_each_at_least, require_fraction
from seqmodels.kernels.calls import takes
from seqmodels.kernels.convolution import convolve as convolve_blocks
from seqmodels.kernels.convolution import from_blocks, to_blocks


class CausalConv(nn.Module):
    """Convolution whose output at time t depends on no input after t: (B, T, inputs) -> (B, T, outputs).

    y(t) = b + sum_i W_i x(t - (kernel - 1 - i) dilation), with zeros before the first step. Each output needs the
    ``left_context`` steps before its own.

    Computed as one matrix product on the stacked taps: no transposition, and on a CPU with few channels twice as fast
    as ``conv1d``.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1):
        super().__init__()
        self.inputs, self.kernel, self.dilation = inputs, kernel, dilation
        self.left_context = (kernel - 1) * dilation
        self.taps = nn.Linear(kernel * inputs, outputs)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, T, outputs) and the next context.

        x: (B, T, inputs); context: the steps before x, (B, left_context, inputs).
        """
        steps = x.shape[1]
        padded = torch.cat([context, x], dim=1) if self.left_context else x
        shifted = [padded[:, i * self.dilation : i * self.dilation + steps] for i in range(self.kernel)]
        stacked = torch.cat(shifted, dim=-1) if self.kernel > 1 else padded
        return self.taps(stacked), padded[:, steps:]


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the channels times the logistic function of the others."""
    signal, openness = x.chunk(2, dim=-1)
    return torch.tanh(signal) * torch.sigmoid(openness)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": torch.relu_, "gate": gate}


class Convolve(Protocol):
    """Computes a layer of a network and its activation, one of ACTIVATIONS, for any memory layout of the sequences."""

    def __call__(self, layer: CausalConv | nn.Linear, x: Tensor, activation: str = "none") -> Tensor: ...


def newest(x: Tensor, like: Tensor) -> Tensor:
    """The last steps of x, as many as ``like`` has; a single step (B, C) as it is."""
    return x if x.dim() == 2 or x.shape[1] == like.shape[1] else x[:, -like.shape[1] :]


class CausalConvState(NamedTuple):
    """The inputs that the convolutions still need, oldest first.

    ``first``: the left context of the first convolution, (B, left_context, F). ``rest``: those of all others
    concatenated, (B, sum of left contexts, width), so that a step reads and shifts all of them at once.
    """

    first: Tensor
    rest: Tensor


class StepWeights(NamedTuple):
    """Weights of all convolutions but the first, arranged for single steps."""

    older: Tensor  # of all taps but the newest, (layers, (kernel - 1) width, outputs)
    biases: Tensor  # (layers, 1, outputs)
    newest: tuple[Tensor, ...]  # of the newest tap, (width, outputs) per layer


class CausalConvNet(Backbone):
    """Base class of networks of causal convolutions, linear layers and pointwise functions.

    A subclass writes ``network`` once, for sequences (B, T, ...) and single steps (B, ...) alike, and calls
    ``register_convolutions`` in its constructor. All convolutions but the first must have the same widths and kernel.

    Without a state, whole windows are computed by the compiled kernels where those can run, unless dropout is on.
    """

    older: Tensor  # (layers (kernel - 1),) positions in ``rest`` of the inputs of all taps but the newest
    newest: Tensor  # (layers,) positions in ``rest`` of the newest input of each layer

    @abstractmethod
    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        """Inputs (..., F) -> features (..., D).

        Applies each convolution once, by ``convolve(layer, x, activation)``, in the order of their registration;
        linear layers likewise. ``newest`` cuts inputs that are added to an output: lower layers have more steps.
        """

    def register_convolutions(self, convolutions: Sequence[CausalConv]) -> None:
        """Lay out the state; ``convolutions`` come in the order in which ``network`` applies them."""
        self.convolutions = list(convolutions)  # a plain list, because the subclass registers the modules
        self.contexts = [layer.left_context for layer in self.convolutions[1:]]
        ends = list(accumulate(self.contexts))
        older = [
            end - layer.left_context + tap * layer.dilation
            for end, layer in zip(ends, self.convolutions[1:], strict=True)
            for tap in range(layer.kernel - 1)
        ]
        self.register_buffer("older", torch.tensor(older, dtype=torch.int64), persistent=False)
        self.register_buffer("newest", torch.tensor(ends, dtype=torch.int64) - 1, persistent=False)

    def initial_state(self, x: Tensor) -> CausalConvState:
        batch, first, width = x.shape[0], self.convolutions[0], self.convolutions[-1].inputs
        return CausalConvState(
            x.new_zeros(batch, first.left_context, first.inputs), x.new_zeros(batch, sum(self.contexts), width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D), without building the state that ``unroll`` returns."""
        if self._has_kernels(x):
            return self._run_kernels(x, x.shape[1])
        zeros = [x.new_zeros(x.shape[0], layer.left_context, layer.inputs) for layer in self.convolutions]
        return self._unroll(x, zeros)[0]

    def forward_last(self, x: Tensor) -> Tensor:
        """The last output, see ``Backbone``; lower layers are computed only at the steps that it depends on."""
        return self._run_kernels(x, 1) if self._has_kernels(x) else super().forward_last(x)

    def _has_kernels(self, x: Tensor) -> bool:
        noisy = any(isinstance(module, nn.Dropout) and module.training and module.p for module in self.modules())
        return x.dim() == 3 and not noisy and takes(x, *self.parameters())

    def _run_kernels(self, x: Tensor, last: int) -> Tensor:
        """(B, T, F) -> features of the last steps, (B, last, D)."""
        steps = [last]  # of the outputs of each convolution, from the last to the first
        for layer in reversed(self.convolutions):
            steps.append(min(steps[-1] + layer.left_context, x.shape[1]))
        remaining = reversed(steps[:-1])

        def convolve(layer: CausalConv | nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
            if isinstance(layer, CausalConv):
                taps = layer.taps
                return convolve_blocks(x, taps.weight, taps.bias, layer.dilation, next(remaining), activation)
            return convolve_blocks(x, layer.weight, layer.bias, 1, x.shape[1], activation)

        return from_blocks(self.network(to_blocks(x[:, -steps[-1] :]), convolve), x.shape[0])

    def unroll(self, x: Tensor, state: CausalConvState) -> tuple[Tensor, CausalConvState]:
        features, (first, *rest) = self._unroll(x, [state.first, *state.rest.split(self.contexts, dim=1)])
        return features, CausalConvState(first, torch.cat(rest, dim=1) if rest else state.rest)

    def _unroll(self, x: Tensor, contexts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features of the steps x, and the next context of every convolution."""
        remaining, following = iter(contexts), list[Tensor]()

        def convolve(layer: CausalConv | nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
            if not isinstance(layer, CausalConv):
                return ACTIVATIONS[activation](layer(x))
            outputs, context = layer(x, next(remaining))
            following.append(context)
            return ACTIVATIONS[activation](outputs)

        return self.network(x, convolve), following

    def step(self, x: Tensor, state: CausalConvState) -> tuple[Tensor, CausalConvState]:
        return self.stepper()(x, state)

    def stepper(self) -> Callable[[Tensor, CausalConvState], tuple[Tensor, CausalConvState]]:
        """One-step function, see ``Backbone``; it gathers the weights of all layers once."""
        layers = self.convolutions[1:]
        if not len(self.older):  # kernel 1 or a single convolution: nothing to gather
            return super().step
        weights = torch.stack([layer.taps.weight for layer in layers]).transpose(1, 2)
        older, newest = weights.split([weights.shape[1] - layers[0].inputs, layers[0].inputs], dim=1)
        biases = torch.stack([layer.taps.bias for layer in layers]).unsqueeze(1)
        return partial(self._step, StepWeights(older, biases, newest.unbind()))

    def _step(self, weights: StepWeights, x: Tensor, state: CausalConvState) -> tuple[Tensor, CausalConvState]:
        """One step; the older taps do not depend on it, so one product serves those of all layers."""
        past = state.rest.index_select(1, self.older).reshape(x.shape[0], len(weights.newest), -1).transpose(0, 1)
        older = torch.baddbmm(weights.biases, past, weights.older).unbind()
        remaining = zip(older, weights.newest, strict=True)
        first, inputs = list[Tensor](), list[Tensor]()

        def convolve(layer: CausalConv | nn.Linear, x: Tensor, activation: str = "none") -> Tensor:
            if not isinstance(layer, CausalConv):
                return ACTIVATIONS[activation](layer(x))
            if not first:
                outputs, context = layer(x.unsqueeze(1), state.first)
                first.append(context)
                return ACTIVATIONS[activation](outputs[:, 0])
            inputs.append(x)
            from_older, weight = next(remaining)
            return ACTIVATIONS[activation](torch.addmm(from_older, x, weight))

        features = self.network(x, convolve)
        newest = torch.stack(inputs, dim=1).to(state.rest.dtype)
        shifted = torch.cat([state.rest[:, 1:], newest[:, -1:]], dim=1)  # a copy: the state passed in stays valid
        return features, CausalConvState(first[0], shifted.index_copy_(1, self.newest, newest))


def check_conv_options(filters: int, kernel: int, dilations: Sequence[int], dropout: float) -> None:
    """Raise InputError for options from which no network can be built."""
    require_at_least(1, "model.backbone", filters=filters, kernel=kernel)
    require_each_at_least(1, "model.backbone", dilations=dilations)
    require_fraction("model.backbone", dropout=dropout)
