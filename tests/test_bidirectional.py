"""Bidirectional backbones, compared with one layer of torch per direction."""

import pytest
import torch
from formulas import assert_agree
from torch import nn

from seqmodels.backbones.bidirectional import Bidirectional, BidirectionalGru, BidirectionalLstm
from seqmodels.window import Origins


@pytest.mark.parametrize(("kind", "reference"), [(BidirectionalLstm, nn.LSTM), (BidirectionalGru, nn.GRU)])
@pytest.mark.parametrize("steps", [9, 5, 14])
def test_both_directions_have_read_the_whole_window(kind, reference, steps: int) -> None:
    """Compares with one layer of torch per direction, of which the second reads the reversed sequence."""
    torch.manual_seed(0)
    net, x = kind(3, 9, hidden=5).double(), torch.randn(2, steps, 3, dtype=torch.float64)
    inner = x
    for layer in range(2):
        halves = []
        for suffix in ("", "_reverse"):
            single = reference(inner.shape[-1], 5, batch_first=True).double()
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            weights = {name: getattr(net.layers, name[:-1] + str(layer) + suffix) for name in names}
            halves.append(torch.func.functional_call(single, weights, inner.flip(1) if suffix else inner)[0])
        forwards, backwards = halves[0], halves[1].flip(1)
        inner = torch.cat([forwards, backwards], -1)
    expected = torch.cat([forwards[:, steps - 1], backwards[:, 0]], -1)[:, None]
    assert_agree(net(x), expected, list(net.parameters()))
    assert (net.size, net.causal, Origins(net.offset, net.stride)) == (10, False, Origins(8, 1))


@pytest.mark.parametrize("method", ["initial_state", "unroll", "step"])
def test_bidirectional_backbones_cannot_read_in_chunks_or_steps(method: str) -> None:
    net, x = BidirectionalGru(3, 9), torch.zeros(2, 9, 3)
    with pytest.raises(TypeError, match=f"BidirectionalGru.{method}: .* whole windows only.* lstm or gru"):
        getattr(net, method)(*([x] if method == "initial_state" else [x, None]))


def test_dropout_of_bidirectional_layers_applies_in_training_only() -> None:
    net: Bidirectional = BidirectionalLstm(3, 9, hidden=5, dropout=0.5)
    x = torch.randn(2, 9, 3)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
