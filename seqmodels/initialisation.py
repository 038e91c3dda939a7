"""How weights start: part of the architecture, chosen in one place for all of them."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from seqmodels.errors import InputError

SCHEMES = ("glorot", "torch")


@torch.no_grad()
def initialise(module: nn.Module, scheme: str) -> None:
    """Set the weights of every linear and recurrent layer below ``module``, in place.

    "glorot": uniform Glorot for input weights and linear layers, orthogonal for each gate's recurrent block, zero
    biases, and 1 for the forget gate of an LSTM (once, although torch adds two biases). "torch": leave torch's own.
    Recurrent layers and cells are known by torch's names (weight_ih, weight_hh, bias_ih, bias_hh); four gates are an
    LSTM's. Gains and offsets of normalisations stay.

    Source: Glorot & Bengio 2010, Saxe et al. 2014, Jozefowicz et al. 2015; Keras' defaults.
    Differs from Keras: every gate by itself, where Keras takes the matrix of all gates at once; and a convolution
    counts as one linear layer on its stacked taps, so that its outputs are not counted once per tap.
    """
    if scheme not in SCHEMES:
        raise InputError(f"model.initialisation is {scheme!r}; it must be one of {', '.join(SCHEMES)}.")
    if scheme == "torch":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _start(layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif any(name.startswith("weight_hh") for name, _ in layer.named_parameters(recurse=False)):
            _recurrent(dict(layer.named_parameters(recurse=False)))


def _start(layer: nn.Linear) -> None:
    """Glorot for the weight, also where it is made of others, as by weight norm: these are set so that it comes out."""
    if parametrize.is_parametrized(layer, "weight"):
        weight = nn.init.xavier_uniform_(torch.empty_like(layer.weight))
        layer.weight = weight  # no parameter here, but a property with a setter
    else:
        nn.init.xavier_uniform_(layer.weight)


def _recurrent(parameters: dict[str, Tensor]) -> None:
    """A recurrent layer or cell whose parameters have torch's names, its gates one after another in dimension 0."""
    size = next(weight.shape[1] for name, weight in parameters.items() if name.startswith("weight_hh"))
    for name, parameter in parameters.items():
        gates = parameter.split(size)
        if name.startswith("bias_"):
            nn.init.zeros_(parameter)
            if len(gates) == 4 and name.startswith("bias_ih"):
                nn.init.ones_(gates[1])  # in the order input, forget, cell, output
        elif name.startswith(("weight_hh", "weight_ih")):
            start = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in gates:
                start(gate)
