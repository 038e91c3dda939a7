"""Convolutional front end of another backbone, compared with torch's convolutions."""

from functools import partial

import pytest
import torch
import zoo
from formulas import assert_agree, data, taps
from torch.nn import functional

from seqmodels.backbones.bidirectional import BidirectionalGru
from seqmodels.backbones.conv_front import Convolutional
from seqmodels.backbones.mlp import Linear
from seqmodels.backbones.recurrent import Gru, Lstm
from seqmodels.window import every_step


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (4, 2), (5, 1), (3, 3), (6, 2)])
def test_a_valid_convolution_equals_that_of_torch(kernel, stride, activation):
    torch.manual_seed(0)
    net = Convolutional(
        3, 12, partial(Lstm, hidden=5), filters=4, kernel=kernel, stride=stride, activation=activation
    ).double()
    x = data(2, 12, 3)
    outputs = functional.conv1d(x.transpose(1, 2), taps(net.convolution, kernel), net.convolution.bias, stride=stride)
    outputs = torch.relu(outputs) if activation == "relu" else outputs
    assert_agree(net(x), net.recurrent(outputs.transpose(1, 2)), list(net.parameters()))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (4, 1), (4, 3), (3, 2)])
def test_a_causal_convolution_equals_that_of_torch_with_left_padding(kernel, stride):
    """Outputs belong to the last step and to every stride before it."""
    torch.manual_seed(0)
    net = Convolutional(
        3, 12, partial(Gru, hidden=5), filters=4, kernel=kernel, stride=stride, padding="causal"
    ).double()
    x = data(2, 12, 3)
    padded = functional.pad(x.transpose(1, 2), (kernel - 1, 0))
    every = functional.conv1d(padded, taps(net.convolution, kernel), net.convolution.bias).transpose(1, 2)
    chosen = every.flip(1)[:, ::stride].flip(1)
    assert_agree(net(x), net.recurrent(chosen), list(net.parameters()))
    assert net.offset == 11 % stride and net(x).shape[1] == len(range(net.offset, 12, stride))


@pytest.mark.parametrize(("kernel", "stride", "steps"), [(4, 2, 50), (4, 2, 112), (5, 1, 20), (3, 3, 21), (6, 4, 30)])
def test_targets_have_the_offset_and_stride_of_the_book(kernel, stride, steps):
    """Y[:, kernel - 1 :: stride], if the window is a whole number of strides."""
    net = Convolutional(1, steps, Gru, kernel=kernel, stride=stride)
    horizon = 3
    values = torch.arange(float(steps + horizon)).reshape(1, -1, 1)
    book = torch.stack([values[0, t + 1 : t + 1 + horizon, 0] for t in range(steps)])[kernel - 1 :: stride]
    origins = zoo.Forecaster(
        zoo.SPEC._replace(past_steps=steps, horizon=horizon),
        zoo.affine.StandardScaler,
        partial(Convolutional, recurrent=Gru, kernel=kernel, stride=stride),
        zoo.direct.SeqToSeq,
        zoo.Point(),
    ).origins
    assert torch.equal(every_step(values[:, :steps], values[:, steps:], origins)[0, :, :, 0], book)
    assert net(values[:, :steps]).shape[1] == len(book) == (steps - kernel) // stride + 1


@pytest.mark.parametrize("padding", ["valid", "causal"])
@pytest.mark.parametrize(("steps", "kernel", "stride"), [(20, 4, 2), (21, 4, 2), (19, 5, 3), (20, 5, 3), (7, 7, 1)])
def test_the_last_output_of_a_strided_convolution_belongs_to_the_last_step(steps, kernel, stride, padding):
    net = Convolutional(1, steps, Gru, kernel=kernel, stride=stride, padding=padding)
    origins = range(net.offset, steps, stride)
    assert net(torch.zeros(1, steps, 1)).shape[1] == len(origins) and origins[-1] == steps - 1


def test_receptive_field_offset_and_stride_of_nested_backbones_compose():
    inner = partial(Convolutional, recurrent=partial(Linear, lags=3), filters=2, kernel=2, stride=2)
    net = Convolutional(1, 31, inner, filters=2, kernel=5, stride=3)
    # 31 steps -> kernel 5, stride 3 -> 10 (a zero in front) -> kernel 2, stride 2 -> 5 -> 3 lags -> 3
    assert (net.stride, net.receptive_field, net.recurrent.recurrent.offset) == (6, 5 + 3 * (2 + 2 * 2 - 1), 2)
    assert net.offset == 30 - 2 * 6 and net(torch.zeros(2, 31, 1)).shape == (2, 3, 6)
    assert Convolutional(1, 31, Gru).receptive_field is None


def test_a_convolution_before_a_bidirectional_backbone_is_not_causal():
    net = Convolutional(1, 20, partial(BidirectionalGru, hidden=3))
    assert not net.causal and net.offset == 19 and net(torch.zeros(2, 20, 1)).shape == (2, 1, 6)
    with pytest.raises(TypeError, match="reads whole windows only"):
        net.initial_state(torch.zeros(2, 20, 1))
