"""Compiled kernels: equal to torch's layers, the loops over cells and plain convolutions, in value and gradient."""

import copy
import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import zoo
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from seqmodels.backbones.base import tree_leaves
from seqmodels.backbones.recurrent import FusedGru, FusedLstm, FusedRnn, Gru, Lstm, Rnn
from seqmodels.backbones.wavenet import WaveNet
from seqmodels.kernels import build, recurrent
from seqmodels.kernels.convolution import ACTIVATIONS, convolve, from_blocks, to_blocks
from seqmodels.kernels.recurrent import States, Weights, run_layer

pytestmark = pytest.mark.skipif(build.load("float")[0] is None, reason="there is no C++ compiler")
MODULES = {"rnn": FusedRnn, "relu": partial(FusedRnn, nonlinearity="relu"), "gru": FusedGru, "lstm": FusedLstm}
BACKBONES = {"rnn": Rnn, "relu": partial(Rnn, activation="relu"), "gru": Gru, "lstm": Lstm}
OPTIONS = {
    "plain": {},
    "learned": {"initial": "learned", "dropout": 0.3},
    "layer_norm": {"layer_norm": True},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": 0.3},
    "all": {"layer_norm": True, "recurrent_dropout": 0.3, "zoneout": 0.3, "initial": "learned", "residual": True},
    "between": {"input_dropout": 0.3, "normalise": "layer", "hidden": (7, 16)},
}
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail rather than fall back, and leave the number of threads as it was."""
    monkeypatch.setattr(build, "choice", "compiled")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def weighted(outputs: list[Tensor]) -> Tensor:
    """A sum of all numbers of the outputs, each with a weight of its own."""
    random = torch.Generator().manual_seed(3)
    return sum((one * torch.randn(one.shape, dtype=one.dtype, generator=random)).sum() for one in outputs)


def with_kernels(choice: str, compute: Any, wanted: list[Tensor]) -> list[Tensor]:
    """The outputs of ``compute`` with the same random numbers, and the gradients of ``wanted``."""
    build.choice = choice
    torch.manual_seed(1)
    outputs = compute()
    return [*outputs, *torch.autograd.grad(weighted([one for one in outputs if one.requires_grad]), wanted)]


def assert_same(compute: Any, wanted: list[Tensor], relative: float) -> None:
    """Compiled kernels and torch agree, relative to the largest number of each tensor."""
    for ours, theirs in zip(
        with_kernels("compiled", compute, wanted), with_kernels("torch", compute, wanted), strict=True
    ):
        bound = relative * float(theirs.detach().abs().max()) + 1e-30
        torch.testing.assert_close(ours, theirs, rtol=0, atol=bound)


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-5), (DOUBLE, 1e-12)])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch", [1, 17, 70])
def test_modules_equal_those_of_torch(kind: str, dtype: torch.dtype, relative: float, bidirectional: bool, batch: int):
    torch.manual_seed(0)
    for options in ({"dropout": 0.5}, {"bias": False}):
        module = MODULES[kind](3, 13, 2, batch_first=True, bidirectional=bidirectional, **options).to(dtype)
        x = torch.randn(batch, 9, 3, dtype=dtype, requires_grad=True)
        state = [torch.randn(2 + 2 * bidirectional, batch, 13, dtype=dtype, requires_grad=True) for _ in range(2)]
        hx = tuple(state) if kind == "lstm" else state[0]
        given = state if kind == "lstm" else state[:1]

        def compute(start: Any, module: nn.Module = module, x: Tensor = x) -> list[Tensor]:
            outputs, last = module(x, start)
            return [outputs, *(last if isinstance(last, tuple) else (last,))]

        assert_same(partial(compute, hx), [x, *given, *module.parameters()], relative)
        assert_same(partial(compute, None), [x, *module.parameters()], relative)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_backbones_with_every_option_equal_the_reference(kind: str, option: str, training: bool) -> None:
    for batch, dtype, relative in ((37, DOUBLE, 1e-11), (70, torch.float32, 1e-4)):  # layer norm cancels digits
        torch.manual_seed(0)
        net = BACKBONES[kind](3, 9, **({"hidden": 7} | OPTIONS[option])).to(dtype).train(training)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        x = torch.randn(batch, 9, 3, dtype=dtype, requires_grad=True)

        def compute(net: Any = net, x: Tensor = x) -> list[Tensor]:
            outputs, state = net.unroll(x, net.initial_state(x))
            return [outputs, *(leaf for leaf in tree_leaves(state) if leaf.numel())]

        assert_same(compute, [x, *net.parameters()], relative)


@pytest.mark.parametrize("name", zoo.BACKBONES)
def test_every_backbone_of_the_zoo_equals_the_reference(name: str) -> None:
    torch.manual_seed(0)
    net = zoo.BACKBONES[name](features=2, past_steps=20).double()
    x = torch.randn(5, 20, 2, dtype=DOUBLE, requires_grad=True)
    assert_same(lambda: [net(x)], [x, *net.parameters()], 1e-10)


@pytest.mark.parametrize("steps", [20, 1, 3, 45])
@pytest.mark.parametrize("name", zoo.BACKBONES)
def test_the_last_output_alone_is_that_of_all_outputs(name: str, steps: int) -> None:
    """Windows shorter and longer than the receptive field; gradients too, and with either kernels."""
    torch.manual_seed(0)
    net = zoo.BACKBONES[name](features=2, past_steps=20).double()
    if steps < 20 and (name == "linear" or name == "mlp"):
        pytest.skip("reads whole windows")
    x = torch.randn(5, steps, 2, dtype=DOUBLE, requires_grad=True)
    if not net(x).shape[1]:
        pytest.skip("no output at so few steps")
    for choice in ("compiled", "torch"):
        (last, *slopes), (whole, *expected) = (
            with_kernels(choice, compute, [x, *net.parameters()])
            for compute in (lambda: [net.forward_last(x)], lambda: [net(x)[:, -1:]])
        )
        assert last.shape == (5, 1, net.size)
        for given, wanted in zip((last, *slopes), (whole, *expected), strict=True):
            torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("batch", "steps", "inputs", "outputs", "kernel", "dilation"),
    [(5, 7, 3, 4, 2, 1), (40, 50, 20, 20, 2, 4), (70, 30, 6, 8, 3, 5), (3, 20, 5, 8, 5, 2), (33, 9, 4, 4, 1, 3),
     (2, 3, 1, 2, 7, 2)],
)  # fmt: skip
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_convolutions_of_blocks_equal_those_of_torch(
    batch: int, steps: int, inputs: int, outputs: int, kernel: int, dilation: int, activation: str
) -> None:
    torch.manual_seed(0)
    for dtype, relative in ((DOUBLE, 1e-12), (torch.float32, 1e-5)):
        weight = torch.randn(outputs, inputs, kernel, dtype=dtype, requires_grad=True)
        bias = torch.randn(outputs, dtype=dtype, requires_grad=True)
        x = torch.randn(batch, steps, inputs, dtype=dtype, requires_grad=True)
        padded = nn.functional.pad(x.transpose(1, 2), ((kernel - 1) * dilation, 0))
        plain = nn.functional.conv1d(padded, weight, bias, dilation=dilation)
        halves = plain.chunk(2, 1)
        results = {"none": plain, "relu": plain.relu(), "gate": torch.tanh(halves[0]) * torch.sigmoid(halves[1])}
        for kept in (steps, 1, (steps + 1) // 2):
            expected = results[activation].transpose(1, 2)[:, -kept:]
            taps = weight.transpose(1, 2).reshape(outputs, -1)
            given = from_blocks(convolve(to_blocks(x), taps, bias, dilation, kept, activation), batch)
            slopes = [
                torch.autograd.grad(weighted([one]), [x, weight, bias], retain_graph=True) for one in (given, expected)
            ]
            for ours, theirs in zip((given, *slopes[0]), (expected, *slopes[1]), strict=True):
                bound = relative * float(theirs.detach().abs().max()) + 1e-30
                torch.testing.assert_close(ours, theirs, rtol=0, atol=bound)


@pytest.mark.parametrize("kind", BACKBONES)
def test_gradients_equal_finite_differences(kind: str) -> None:
    torch.manual_seed(0)
    net = BACKBONES[kind](2, 4, hidden=3, layers=1, layer_norm=True, initial="learned").double()
    x = torch.randn(3, 4, 2, dtype=DOUBLE, requires_grad=True)
    names, parameters = zip(*net.named_parameters(), strict=True)

    def compute(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(compute, (x, *parameters))


@pytest.mark.parametrize("kind", MODULES)
def test_steps_that_keep_the_state_are_padding(kind: str) -> None:
    """With ``keep`` 1 behind the end of each sequence, the last state is that of a packed sequence."""
    torch.manual_seed(0)
    module, lengths = MODULES[kind](3, 6, batch_first=True), torch.tensor([9, 4, 1, 7])
    x, zeros = torch.randn(4, 9, 3), torch.zeros(4, 6)
    padded = (torch.arange(9) >= lengths[:, None]).float()[..., None].expand(4, 9, 6)
    lstm = kind == "lstm"
    states = States(zeros, zeros if lstm else None, keep=torch.stack([padded] * (2 if lstm else 1)))
    outputs, hidden, cell = run_layer(module.mode, x, states, Weights(*module.parameters()))
    build.choice = "torch"
    _, last = module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    expected = last if lstm else (last,)
    for given, wanted in zip((hidden, cell), expected, strict=False):
        torch.testing.assert_close(given, wanted[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(outputs[:, -1], hidden)


@pytest.mark.parametrize("kind", MODULES)
def test_a_row_does_not_depend_on_the_others_nor_on_threads(kind: str) -> None:
    torch.manual_seed(0)
    module, x = MODULES[kind](3, 21, 2, batch_first=True), torch.randn(150, 30, 3)
    torch.set_num_threads(1)
    whole, _ = module(x)
    for rows in (slice(0, 1), slice(3, 20), slice(100, 150)):
        assert torch.equal(module(x[rows])[0], whole[rows])
    with torch.no_grad():
        assert torch.equal(module(x)[0], whole)
    torch.set_num_threads(3)
    assert torch.equal(module(x)[0], whole)
    first, second = (with_kernels("compiled", lambda: [module(x)[0]], list(module.parameters())) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True)), "sums in a fixed order"


def test_rows_with_values_that_are_not_finite_leave_the_others_alone() -> None:
    torch.manual_seed(0)
    for module in (
        FusedGru(2, 5, batch_first=True),
        FusedLstm(2, 5, batch_first=True),
        FusedRnn(2, 5, batch_first=True),
    ):
        x = torch.randn(6, 4, 2)
        expected, _ = module(x)
        x[2, 1, 0], x[4, 2, 1] = float("nan"), float("inf")
        given, _ = module(x)
        others = [0, 1, 3, 5]
        assert torch.equal(given[others], expected[others])
        assert given[2, 1:].isnan().any(-1).all() and torch.equal(given[2, :1], expected[2, :1])


@pytest.mark.parametrize("limit", [1e-3, 1.0, 30.0, 1e4])
def test_activations_are_exact_to_a_few_units_of_the_last_place(limit: float) -> None:
    """A GRU of one unit with chosen weights shows tanh and the logistic function of its input."""
    x = torch.linspace(-limit, limit, 4001)[:, None, None]
    zeros, one = torch.zeros(4001, 1), torch.ones(1, 1)
    tanh = run_layer("RNN_TANH", x, States(zeros), Weights(one, torch.zeros(1, 1)))[0]
    torch.testing.assert_close(tanh, torch.tanh(x.double()).float(), rtol=6e-7, atol=0)
    update = Weights(torch.tensor([[0.0], [1.0], [0.0]]), torch.zeros(3, 1))  # h = z h0
    logistic = run_layer("GRU", x, States(zeros + 1), update)[0]
    torch.testing.assert_close(logistic, torch.sigmoid(x.double()).float(), rtol=6e-7, atol=2e-38)


def test_denormal_numbers_are_as_the_process_has_them() -> None:
    x, weights = torch.full((40, 3, 1), 1e-30), Weights(torch.full((1, 1), 1e-10), torch.zeros(1, 1))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for flush in (True, False):
            torch.set_flush_denormal(flush)
            outputs = run_layer("RNN_RELU", x, States(torch.zeros(40, 1)), weights)[0]
            torch.set_flush_denormal(False)
            assert bool((outputs == 0).all()) == flush


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # by torch.export itself
def test_what_kernels_cannot_do_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net, x = Gru(3, 9, hidden=5, layer_norm=True), torch.randn(4, 9, 3)
    expected, ran = net(x), list[bool]()
    monkeypatch.setattr(recurrent, "forward", lambda *_: ran.append(True))
    alone = torch.func.vmap(lambda row: net(row[None])[0])(x)
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-6)
    slope = torch.func.grad(lambda x: net(x).sum())(x)
    assert slope.shape == x.shape
    _, moved = torch.func.jvp(net, (x,), (torch.ones_like(x),))
    assert moved.shape == expected.shape
    exported = torch.export.export(net, (x,)).module()(x)
    torch.testing.assert_close(exported, expected, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).isfinite().all()
    with torch.autograd.forward_ad.dual_level():
        net(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
    assert Gru(3, 9).to("meta")(x.to("meta")).shape == (4, 9, 20)
    assert net.half()(x.half()).dtype == torch.float16
    assert not ran


@pytest.mark.parametrize("kind", [partial(Gru, hidden=5), WaveNet])
def test_second_derivatives_are_refused_with_the_way_out(kind: Any) -> None:
    net, x = kind(3, 9), torch.randn(4, 9, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="kernels=torch"):
        torch.autograd.grad(net(x).sum(), x, create_graph=True)
    build.choice = "torch"
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), list(net.parameters()), allow_unused=True)[0].isfinite().all()


def test_copies_checkpoints_and_partial_gradients_agree() -> None:
    torch.manual_seed(0)
    net, x = Lstm(3, 9, hidden=5, zoneout=0.2).eval(), torch.randn(4, 9, 3, requires_grad=True)
    expected = torch.autograd.grad(weighted([net(x)]), [x, *net.parameters()])
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        given = torch.autograd.grad(weighted([other(x)]), [x, *other.parameters()])
        assert all(map(torch.equal, given, expected))
    saved = weighted([checkpoint(net, x, use_reentrant=False)])
    assert all(map(torch.equal, torch.autograd.grad(saved, [x, *net.parameters()]), expected))
    loss = weighted([net(x)])
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(x.grad, 2 * expected[0])
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(weighted([net(x)]), x)[0], expected[0])
    with torch.inference_mode():
        assert torch.equal(net(x), net(x.detach().clone()))


def test_what_was_computed_by_kernels_is_followed_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice may change between the forward and the backward pass."""
    net, x = Gru(3, 9, hidden=5), torch.randn(4, 9, 3, requires_grad=True)
    loss = net(x).sum()
    monkeypatch.setattr(build, "choice", "torch")
    (slope,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(slope, torch.autograd.grad(net(x).sum(), x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MODULES)
def test_states_and_inputs_of_another_size_are_refused(kind: str) -> None:
    module = MODULES[kind](3, 5, batch_first=True)
    for x, state in ((torch.zeros(4, 9, 2), torch.zeros(1, 4, 5)), (torch.zeros(4, 9, 3), torch.zeros(1, 3, 5))):
        with pytest.raises((ValueError, RuntimeError)):
            module(x, (state, state) if kind == "lstm" else state)
    net = BACKBONES[kind](3, 9, layer_norm=True)
    with pytest.raises(ValueError, match="hidden is"):
        net.unroll(torch.zeros(4, 9, 3), net.initial_state(torch.zeros(3, 9, 3)))
