"""Multilayer perceptron, compared with its formula."""

import pytest
import torch
from formulas import assert_agree, data

from seqmodels.backbones.mlp import Mlp


@pytest.mark.parametrize(("activation", "function"), [("relu", torch.relu), ("tanh", torch.tanh)])
@pytest.mark.parametrize("lags", [None, 5])
def test_mlp_equals_dense_layers_on_the_lagged_values(lags, activation, function):
    torch.manual_seed(0)
    net = Mlp(features=3, past_steps=8, lags=lags, units=(7, 4), activation=activation).double()
    x, seen = data(2, 8, 3), lags or 8
    outputs = []
    for end in range(seen, 9):
        hidden = x[:, end - seen : end].reshape(2, -1)
        for layer in (net.layers[0], net.layers[3]):
            hidden = function(hidden @ layer.weight.T + layer.bias)
        outputs.append(hidden)
    assert_agree(net(x), torch.stack(outputs, 1), list(net.parameters()))
    assert (net.size, net.offset, net.receptive_field) == (4, seen - 1, seen)
    early, _ = net.step(x[:, 0], net.initial_state(x))
    assert not early.any()
