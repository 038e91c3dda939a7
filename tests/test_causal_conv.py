"""TCN and WaveNets, compared with torch's convolutions; causality and stepwise reading of causal convolutions."""

from functools import partial

import pytest
import torch
from formulas import assert_agree, conv, data

from seqmodels.backbones.base import Backbone
from seqmodels.backbones.causal_conv import CausalConv
from seqmodels.backbones.tcn import Tcn
from seqmodels.backbones.wavenet import GatedWaveNet, WaveNet


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 5])
def test_a_causal_convolution_depends_on_no_later_step(kernel, dilation):
    torch.manual_seed(0)
    layer = CausalConv(2, 3, kernel, dilation)
    x = data(1, 12, 2, dtype=torch.float32)
    context = x.new_zeros(1, layer.left_context, 2)
    outputs, _ = layer(x, context)
    for time in range(12):
        changed = x.clone()
        changed[:, time + 1 :] += 9.0
        assert torch.equal(layer(changed, context)[0][:, : time + 1], outputs[:, : time + 1])
        changed[:, time] += 9.0
        assert not torch.equal(layer(changed, context)[0][:, time], outputs[:, time])


@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_tcn_equals_the_paper(kernel, weight_norm):
    """relu(fit(x) + relu(conv(relu(conv(x))))), with weights g v / |v| under weight norm."""
    torch.manual_seed(0)
    net = Tcn(3, 12, filters=4, kernel=kernel, dilations=(1, 2, 3), weight_norm=weight_norm).double()
    expected = x = data(2, 12, 3)
    for number, (block, dilation) in enumerate(zip(net.blocks, (1, 2, 3), strict=True)):
        inner = expected
        for layer in (block.first, block.second):
            inner = torch.relu(conv(inner, layer, dilation))
            if weight_norm:
                g, v = (getattr(layer.taps.parametrizations.weight, f"original{i}") for i in (0, 1))
                torch.testing.assert_close(layer.taps.weight, g * v / v.norm(dim=1, keepdim=True), rtol=1e-12, atol=0)
        same = expected if number else expected @ block.fit.weight.T + block.fit.bias
        expected = torch.relu(same + inner)
    assert_agree(net(x), expected, list(net.parameters()))
    assert net.receptive_field == 1 + 2 * (kernel - 1) * 6


def test_dropout_of_a_tcn_follows_each_convolution_in_training_only():
    torch.manual_seed(0)
    net = Tcn(features=1, past_steps=20, filters=200, kernel=1, dilations=(1,), dropout=0.5, weight_norm=False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.blocks[0].second.taps.bias.fill_(1.0)
    assert (net.eval()(torch.ones(1, 20, 1)) == 1).all()
    values, counts = net.train()(torch.ones(1, 20, 1)).unique(return_counts=True)
    assert values.tolist() == [0.0, 2.0] and 0.4 < counts[0] / counts.sum() < 0.6


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_wavenet_equals_convolutions_of_torch(kernel):
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


NETWORKS = {
    "wavenet": partial(WaveNet, filters=6, dilations=(1, 2, 3), stacks=2),
    "wavenet_kernel_3": partial(WaveNet, filters=6, kernel=3, dilations=(1, 3)),
    "wavenet_kernel_1": partial(WaveNet, filters=6, kernel=1),
    "wavenet_one_layer": partial(WaveNet, filters=6, dilations=(4,), stacks=1),
    "gated": partial(GatedWaveNet, filters=6, dilations=(3, 1), stacks=2),
    "gated_one_block": partial(GatedWaveNet, filters=6, kernel=4, dilations=(2,), stacks=1),
    "tcn": partial(Tcn, filters=6, dilations=(1, 2)),
}


def network(name) -> Backbone:
    torch.manual_seed(0)
    return NETWORKS[name](features=2, past_steps=20).eval().double()


@pytest.mark.parametrize("name", NETWORKS)
def test_chunks_and_steps_may_alternate(name):
    net, x = network(name), data(3, 60, 2)
    expected, chunks = net(x), []
    state, step = net.initial_state(x), net.stepper()
    for start in range(0, 60, 20):
        chunk, state = net.unroll(x[:, start : start + 13], state)
        chunks.append(chunk)
        for time in range(start + 13, start + 20):
            features, state = step(x[:, time], state)
            chunks.append(features[:, None])
    torch.testing.assert_close(torch.cat(chunks, dim=1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_can_be_used_again(name):
    net, x = network(name), data(3, 30, 2)
    _, kept = net.unroll(x, net.initial_state(x))
    copies = [part.clone() for part in kept]
    first, state = net.step(x[:, 0], kept)
    for time in range(10):
        _, state = net.step(x[:, time], state)
    again, _ = net.step(x[:, 0], kept)
    assert torch.equal(first, again)
    assert all(torch.equal(part, copy) for part, copy in zip(kept, copies, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_through_steps_equal_those_through_the_sequence(name):
    net, x = network(name), data(2, 25, 2).requires_grad_()
    state, steps = net.initial_state(x), []
    for time in range(25):
        features, state = net.step(x[:, time], state)
        steps.append(features)
    assert_agree(torch.stack(steps, 1), net(x), [x, *net.parameters()])


def test_a_stepper_keeps_the_weights_it_was_made_with():
    net, x = network("wavenet"), data(1, 20, 2)
    _, state = net.unroll(x, net.initial_state(x))
    step, before = net.stepper(), net.step(x[:, 0], state)[0]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    after = net.step(x[:, 0], state)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(net.stepper()(x[:, 0], state)[0], after, rtol=0, atol=0)
    assert not torch.allclose(step(x[:, 0], state)[0], after)


def test_the_state_does_not_grow_over_a_thousand_steps():
    net = WaveNet(features=1, past_steps=1024, filters=4, dilations=[2**i for i in range(10)], stacks=1).eval()
    assert net.receptive_field == 1024
    x = data(1, 1024 + 30, 1, dtype=torch.float32)
    _, state = net.unroll(x[:, :1024], net.initial_state(x))
    size, step = [part.shape for part in state], net.stepper()
    for time in range(1024, 1054):
        features, state = step(x[:, time], state)
        torch.testing.assert_close(features, net(x[:, time - 1023 : time + 1])[:, -1], rtol=1e-4, atol=1e-6)
        assert [part.shape for part in state] == size
    assert sum(part.numel() for part in state) == 1 + 4 * 1022
