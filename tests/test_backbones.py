"""Each architecture against an independent formula, in float64, forward and gradients (law 4)."""

import pytest
import torch
import zoo
from formulas import assert_agree, conv

from seqmodels.backbones.conv_front import Convolutional
from seqmodels.backbones.mlp import Linear
from seqmodels.backbones.recurrent import Gru, Lstm, Rnn
from seqmodels.backbones.wavenet import GatedWaveNet, WaveNet
from seqmodels.errors import InputError
from seqmodels.initialisation import initialise


def rnn(x, w, u, b, c):
    h, out = torch.zeros(x.shape[0], u.shape[1], dtype=x.dtype), []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ w.T + b + h @ u.T + c)
        out.append(h)
    return torch.stack(out, 1)


def lstm(x, w, u, b, c):
    size = u.shape[1]
    h = cell = torch.zeros(x.shape[0], size, dtype=x.dtype)
    out = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w.T + b + h @ u.T + c).split(size, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        out.append(h)
    return torch.stack(out, 1)


def gru(x, w, u, b, c):
    size = u.shape[1]
    h, out = torch.zeros(x.shape[0], size, dtype=x.dtype), []
    for t in range(x.shape[1]):
        xr, xz, xn = (x[:, t] @ w.T + b).split(size, dim=1)
        hr, hz, hn = (h @ u.T + c).split(size, dim=1)
        z = torch.sigmoid(xz + hz)
        h = (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h
        out.append(h)
    return torch.stack(out, 1)


@pytest.mark.parametrize(("backbone", "cell"), [(Rnn, rnn), (Lstm, lstm), (Gru, gru)])
def test_recurrent_layers_equal_their_formula(backbone, cell):
    torch.manual_seed(0)
    net = backbone(features=3, past_steps=9, hidden=5, layers=2).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    expected = x
    for layer in range(2):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        expected = cell(expected, *(getattr(net.layers, f"{name}_l{layer}") for name in names))
    assert_agree(net(x), expected, list(net.parameters()))


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_wavenet_equals_torch_convolutions(kernel):
    torch.manual_seed(0)
    net = WaveNet(features=3, past_steps=12, filters=4, kernel=kernel, dilations=(1, 2), stacks=2).double()
    expected = x = torch.randn(2, 12, 3, dtype=torch.float64)
    for layer, dilation in zip(net.layers, (1, 2, 1, 2), strict=True):
        expected = torch.relu(conv(expected, layer, dilation))
    assert_agree(net(x), expected, list(net.parameters()))


def test_gated_wavenet_equals_the_paper():
    torch.manual_seed(0)
    net = GatedWaveNet(features=3, past_steps=12, filters=4, dilations=(1, 2), stacks=1).double()
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    z, skips = conv(x, net.entry, 1), 0.0
    for block, dilation in zip(net.blocks, (1, 2), strict=True):
        signal, gate = conv(z, block.convolution, dilation).split(4, dim=-1)
        skip = (torch.tanh(signal) * torch.sigmoid(gate)) @ block.mix.weight.T + block.mix.bias
        z, skips = z + skip, skips + skip
    expected = torch.relu(torch.relu(skips) @ net.exit.weight.T + net.exit.bias)
    assert_agree(net(x), expected, list(net.parameters()))
    for block in net.blocks:
        assert block.mix.weight.grad is None  # gradients were asked for, not accumulated


@pytest.mark.parametrize(
    ("backbone", "change", "words"),
    [
        (Lstm, {"hidden": 0}, "hidden is 0; it must be at least 1"),
        (Gru, {"layers": 0}, "layers is 0"),
        (Rnn, {"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and less than 1"),
        (WaveNet, {"dilations": []}, "dilations is \\[\\]"),
        (WaveNet, {"dilations": [1, 0]}, "dilations is \\[1, 0\\]"),
        (GatedWaveNet, {"kernel": 0}, "kernel is 0"),
        (GatedWaveNet, {"stacks": 0}, "stacks is 0"),
        (Linear, {"lags": 21}, "lags is 21; it must be between 1 and data.past_steps=20"),
    ],
)
def test_impossible_sizes_are_refused(backbone, change, words):
    with pytest.raises(InputError, match=f"model.backbone.{words}"):
        backbone(features=1, past_steps=20, **change)


def test_parameter_counts_are_the_published_ones():
    """Keras' counts, plus one further bias per gate where torch keeps two (4 gates x 20 x 2 layers, 20 x 2)."""
    counts = {"lstm": 5250 + 160, "gru": 4110, "rnn": 1470 + 40, "wavenet": 6010, "conv_gru": 5350}
    spec = zoo.SPEC._replace(
        past_steps=50, horizon=10, channels=("y",), target_statistics=zoo.Statistics((0.0,), (1.0,))
    )
    sizes = {"lstm": Lstm, "gru": Gru, "rnn": Rnn}
    for name, count in counts.items():
        backbone = (
            zoo.partial(sizes[name], hidden=20, layers=2)
            if name in sizes
            else {"wavenet": WaveNet, "conv_gru": zoo.partial(Convolutional, recurrent=Gru)}[name]
        )
        model = zoo.Forecaster(spec, zoo.affine.Standard, backbone, zoo.direct.SeqToSeq, zoo.heads.Point())
        assert sum(p.numel() for p in model.parameters()) == count, name


def test_glorot_initialisation():
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


def test_torch_initialisation_leaves_the_layers_alone():
    torch.manual_seed(0)
    net = Lstm(features=3, past_steps=9)
    before = [p.clone() for p in net.parameters()]
    initialise(net, "torch")
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
