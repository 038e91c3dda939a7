"""Initialisation of weights, the same for all architectures."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from seqmodels.errors import require_choice

SCHEMES = ("glorot", "torch")


@torch.no_grad()
def initialise(module: nn.Module, scheme: str) -> None:
    """Initialise the weights of all linear and recurrent layers in ``module``, in place.

    "glorot": Glorot uniform for linear layers and input weights, orthogonal for the recurrent weights of each gate,
    zero biases, and a bias of 1 for the forget gate of an LSTM (in one of torch's two bias vectors, whose sum counts).
    "torch": keep torch's own initialisation.

    Recurrent layers and cells are recognised by torch's parameter names (weight_ih, weight_hh, bias_ih, bias_hh), and
    an LSTM by its four gates. Normalisation layers are left alone.

    Source: Glorot & Bengio 2010, Saxe et al. 2014, Jozefowicz et al. 2015; the defaults of Keras.
    Differs from Keras: each gate is initialised separately, not the matrix of all gates; a causal convolution is
    initialised as one linear layer on its stacked taps, so its fan-out is the number of filters, not kernel * filters.

    Raises InputError for an unknown scheme.
    """
    require_choice(SCHEMES, "model", initialisation=scheme)
    if scheme == "torch":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _initialise_linear(layer)
        elif any(name.startswith("weight_hh") for name, _ in layer.named_parameters(recurse=False)):
            _initialise_recurrent(dict(layer.named_parameters(recurse=False)))


def _initialise_linear(layer: nn.Linear) -> None:
    if parametrize.is_parametrized(layer, "weight"):  # such as by weight norm
        weight = nn.init.xavier_uniform_(torch.empty_like(layer.weight))
        layer.weight = weight  # not a parameter but a property, whose setter sets the underlying parameters
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _initialise_recurrent(parameters: dict[str, Tensor]) -> None:
    """Initialise a recurrent layer or cell by torch's parameter names; its gates are stacked in dimension 0."""
    size = next(weight.shape[1] for name, weight in parameters.items() if name.startswith("weight_hh"))
    for name, parameter in parameters.items():
        gates = parameter.split(size)
        if name.startswith("bias_"):
            nn.init.zeros_(parameter)
            if len(gates) == 4 and name.startswith("bias_ih"):
                nn.init.ones_(gates[1])  # torch's order: input, forget, cell, output
        elif name.startswith(("weight_hh", "weight_ih")):
            initialise_gate = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in gates:
                initialise_gate(gate)
