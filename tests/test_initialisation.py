"""Initialisation of linear and recurrent layers."""

import pytest
import torch

from seqmodels.backbones.cells import GatedCell, GruCell, LstmCell, RnnCell
from seqmodels.backbones.recurrent import Lstm
from seqmodels.backbones.tcn import Tcn
from seqmodels.errors import InputError
from seqmodels.initialisation import initialise


def test_glorot_initialisation_of_an_lstm():
    torch.manual_seed(0)
    net = Lstm(features=3, past_steps=9, hidden=8, layers=1)
    initialise(net, "glorot")
    for block in net.layers.weight_hh_l0.chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
    assert net.layers.bias_ih_l0.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    assert not net.layers.bias_hh_l0.any()
    limit = (6 / (3 + 8)) ** 0.5
    assert 0.8 * limit < net.layers.weight_ih_l0.abs().max() <= limit
    with pytest.raises(InputError, match="initialisation is 'he'.*glorot, torch"):
        initialise(net, "he")


@pytest.mark.parametrize("cell", [RnnCell, LstmCell, GruCell])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_glorot_initialisation_of_cells(cell: type[GatedCell], layer_norm: bool) -> None:
    torch.manual_seed(0)
    ours = cell(3, 8, layer_norm=layer_norm)
    initialise(ours, "glorot")
    limit = (6 / (3 + 8)) ** 0.5
    for recurrent, given in zip(ours.weight_hh.split(8), ours.weight_ih.split(8), strict=True):
        torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(8), atol=1e-5, rtol=0)
        assert 0.7 * limit < given.abs().max() <= limit
    assert not ours.bias_hh.any()
    forget = [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    if cell is LstmCell:
        assert (ours.norm.offset.flatten() if layer_norm else ours.bias_ih).tolist() == forget
    elif not layer_norm:
        assert not ours.bias_ih.any()


def test_initialisation_sets_the_weights_behind_weight_norm():
    torch.manual_seed(0)
    net = Tcn(features=3, past_steps=20, filters=8, kernel=2, dilations=(1,))
    initialise(net, "glorot")
    layer = net.blocks[0].second.taps
    limit = (6 / (2 * 8 + 8)) ** 0.5
    assert 0.9 * limit < layer.weight.abs().max() <= limit and not layer.bias.any()
    lengths = layer.parametrizations.weight.original0
    torch.testing.assert_close(lengths, layer.weight.norm(dim=1, keepdim=True))
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in net.parameters())


def test_torch_initialisation_keeps_the_weights():
    torch.manual_seed(0)
    net = Lstm(features=3, past_steps=9)
    before = [p.clone() for p in net.parameters()]
    initialise(net, "torch")
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
