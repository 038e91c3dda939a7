"""Backbones whose only memory is that of their causal convolutions: one network for sequences and for single steps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from seqmodels.causal import Backbone, CausalConv

Convolve = Callable[[CausalConv, Tensor], Tensor]
Prepared = tuple[Tensor, Tensor, tuple[Tensor, ...]]  # older taps of all layers, biases, newest tap of each


class StackState(NamedTuple):
    """The last inputs of every convolution, oldest first, as far back as it reaches.

    ``entry``: of the first one (B, span, F). ``rest``: of all others, one after another (B, sum of their spans,
    width), in one tensor so that a step reads and moves all of them at once.
    """

    entry: Tensor
    rest: Tensor


class ConvolutionStack(Backbone):
    """A network of linear layers, functions of single values, and causal convolutions in a fixed order.

    Subclasses write ``network`` once; it serves sequences (B, T, ...) and single steps (B, ...) alike, and
    reaches each convolution through ``convolve``. All but the first must have the same widths and kernel.
    """

    older: Tensor  # (layers (kernel - 1),) where in ``rest`` the inputs of all taps but the newest are
    newest: Tensor  # (layers,) where the newest input of each layer is

    @abstractmethod
    def network(self, x: Tensor, convolve: Convolve) -> Tensor:
        """Inputs (..., F) -> features (..., D), calling ``convolve`` once per convolution, in their order."""

    def remember(self, convolutions: Sequence[CausalConv]) -> None:
        """Lay out the state; ``convolutions`` come in the order in which ``network`` calls them."""
        self.order = list(convolutions)  # a list, since the modules belong to the subclass
        self.spans = [layer.span for layer in self.order[1:]]
        ends = list(accumulate(self.spans))
        older = [
            end - layer.span + tap * layer.dilation
            for end, layer in zip(ends, self.order[1:], strict=True)
            for tap in range(layer.kernel - 1)
        ]
        self.register_buffer("older", torch.tensor(older, dtype=torch.int64), persistent=False)
        self.register_buffer("newest", torch.tensor(ends, dtype=torch.int64) - 1, persistent=False)

    def initial_state(self, x: Tensor) -> StackState:
        batch, first, width = x.shape[0], self.order[0], self.order[-1].inputs
        return StackState(x.new_zeros(batch, first.span, first.inputs), x.new_zeros(batch, sum(self.spans), width))

    def forward(self, x: Tensor) -> Tensor:
        """As the contract; nothing is kept."""
        silence = [x.new_zeros(x.shape[0], layer.span, layer.inputs) for layer in self.order]
        return self._read(x, silence)[0]

    def unroll(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        features, (entry, *rest) = self._read(x, [state.entry, *state.rest.split(self.spans, dim=1)])
        return features, StackState(entry, torch.cat(rest, dim=1) if rest else state.rest)

    def _read(self, x: Tensor, before: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features of the steps x, and for every convolution the steps to keep, after ``before``, oldest first."""
        remaining, after = iter(before), list[Tensor]()

        def convolve(layer: CausalConv, x: Tensor) -> Tensor:
            outputs, kept = layer(x, next(remaining))
            after.append(kept)
            return outputs

        return self.network(x, convolve), after

    def step(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """As the contract; ``state`` itself is left as it is."""
        return self.stepper()(x, state)

    def stepper(self) -> Callable[[Tensor, StackState], tuple[Tensor, StackState]]:
        """As the contract; the weights of all layers are gathered here, once for all steps to come."""
        layers = self.order[1:]
        if not len(self.older):  # kernel 1 or a single convolution: hardly any memory
            return super().step
        weights = torch.stack([layer.taps.weight for layer in layers]).transpose(1, 2)  # (layers, taps width, outputs)
        biases = torch.stack([layer.taps.bias for layer in layers]).unsqueeze(1)
        split = weights.shape[1] - layers[0].inputs
        return partial(self._step, (weights[:, :split], biases, weights[:, split:].unbind()))

    def _step(self, prepared: Prepared, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """What the older taps add is known before the step, so it comes from one product for all layers."""
        older, biases, newest = prepared
        past = state.rest.index_select(1, self.older).reshape(x.shape[0], len(newest), -1).transpose(0, 1)
        remaining = zip(torch.baddbmm(biases, past, older).unbind(), newest, strict=True)
        entry, inputs = list[Tensor](), list[Tensor]()

        def convolve(layer: CausalConv, x: Tensor) -> Tensor:
            if not entry:
                outputs, kept = layer(x.unsqueeze(1), state.entry)
                entry.append(kept)
                return outputs[:, 0]
            inputs.append(x)
            known, weight = next(remaining)
            return torch.addmm(known, x, weight)

        features = self.network(x, convolve)
        latest = torch.stack(inputs, dim=1).to(state.rest.dtype)
        moved = torch.cat([state.rest[:, 1:], latest[:, -1:]], dim=1)  # a new tensor: the state given stays as it is
        return features, StackState(entry[0], moved.index_copy_(1, self.newest, latest))
