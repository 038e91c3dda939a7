"""How weights start: part of the architecture, chosen in one place for all of them."""

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError

SCHEMES = ("glorot", "torch")


@torch.no_grad()
def initialise(module: nn.Module, scheme: str) -> None:
    """Set the weights of every linear and recurrent layer below ``module``, in place.

    "glorot": uniform Glorot for input weights and linear layers, orthogonal for each gate's recurrent block, zero
    biases, and 1 for the forget gate of an LSTM (once, although torch adds two biases). "torch": leave torch's own.

    Source: Glorot & Bengio 2010, Saxe et al. 2014, Jozefowicz et al. 2015; Keras' defaults.
    Differs from Keras: orthogonal per gate, where Keras takes the matrix of all gates at once.
    """
    if scheme not in SCHEMES:
        raise InputError(f"model.initialisation is {scheme!r}; it must be one of {', '.join(SCHEMES)}.")
    if scheme == "torch":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.RNNBase):
            for name, weight in layer.named_parameters():
                _recurrent(name, weight, gates={"LSTM": 4, "GRU": 3}.get(layer.mode, 1))


def _recurrent(name: str, weight: Tensor, gates: int) -> None:
    """One parameter of torch's recurrent modules, whose gates lie one after another in dimension 0."""
    if name.startswith("bias"):
        nn.init.zeros_(weight)
        if gates == 4 and name.startswith("bias_ih"):
            weight.chunk(4)[1].fill_(1.0)  # gates in the order input, forget, cell, output
        return
    start = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
    for gate in weight.chunk(gates):
        start(gate)
