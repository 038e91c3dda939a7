"""Linear recurrences: scans equal loops over the steps and formulas of the papers, by kernels and by torch."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from seqmodels.backbones.linear_recurrent import GatedAverage, LinearRecurrentUnit, Lru, MinGru
from seqmodels.errors import InputError
from seqmodels.kernels import build
from seqmodels.kernels.scan import diagonal_scan, gated_scan

SHAPES = [(1, 1, 1), (3, 7, 5), (2, 64, 16), (5, 33, 37)]


@pytest.fixture(params=["torch", "auto"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    before, build.choice = build.choice, request.param
    yield request.param
    build.choice = before


def by_steps(step: Callable[[Tensor, Tensor], Tensor], x: Tensor, state: Tensor) -> Tensor:
    outputs = []
    for now in x.unbind(1):
        state = step(now, state)
        outputs.append(state)
    return torch.stack(outputs, 1)


def gated_step(x: Tensor, h: Tensor) -> Tensor:
    gate, candidate = x.chunk(2, -1)
    return (1 - gate.sigmoid()) * h + gate.sigmoid() * candidate


def diagonal_step(factor: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def step(x: Tensor, h: Tensor) -> Tensor:
        a, b, c = (torch.complex(*one.chunk(2, -1)) for one in (factor, h, x))
        return torch.cat([(a * b + c).real, (a * b + c).imag], -1)

    return step


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scans_equal_loops_in_value_and_gradient(kernels: str, shape: tuple[int, ...], dtype, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    batch, steps, size = shape
    x, h = torch.randn(batch, steps, 2 * size, dtype=dtype), torch.randn(batch, size, dtype=dtype)
    z, angle = torch.randn(batch, 2 * size, dtype=dtype), torch.rand(size, dtype=dtype)
    factor = 0.97 * torch.cat([angle.cos(), angle.sin()])
    for scan, loop, tensors in (
        (gated_scan, lambda x, h: by_steps(gated_step, x, h), (x, h)),
        (diagonal_scan, lambda x, h, f: by_steps(diagonal_step(f), x, h), (x, z, factor)),
    ):
        given = [one.requires_grad_() for one in tensors]
        found, wanted = scan(*given), loop(*given)
        slope = torch.randn_like(wanted)
        pairs = zip(*(torch.autograd.grad(one, given, slope) for one in (found, wanted)), strict=True)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        for one, other in [(found.detach(), wanted.detach()), *pairs]:
            assert other.abs().max() > 0
            assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))
    torch.set_num_threads(before)


def test_scans_pass_gradcheck_and_refuse_second_derivatives() -> None:
    torch.manual_seed(0)
    x, h, z, f = (torch.rand(*one, dtype=torch.float64).requires_grad_() for one in ((2, 5, 6), (2, 3), (2, 6), (6,)))
    assert torch.autograd.gradcheck(gated_scan, (x, h)) and torch.autograd.gradcheck(diagonal_scan, (x, z, f))
    if build.load("double")[0] is not None:
        with pytest.raises(RuntimeError, match="no second derivatives"):
            torch.autograd.grad(gated_scan(x, h).sum(), x, create_graph=True)


def test_the_gated_average_is_the_min_gru_of_the_paper() -> None:
    """Feng et al. 2024, equation of h(t); the state stays between the smallest and largest candidate."""
    torch.manual_seed(0)
    layer, x, h = GatedAverage(4).double(), torch.randn(2, 9, 4).double(), torch.zeros(2, 4).double()
    weight, bias = layer.inputs.weight, layer.inputs.bias
    found = layer.scan(x, h)
    for t in range(9):
        z = 1 / (1 + torch.exp(-(x[:, t] @ weight[:4].T + bias[:4])))
        h = (1 - z) * h + z * (x[:, t] @ weight[4:].T + bias[4:])
        assert torch.allclose(found[:, t], h)


def test_the_linear_recurrent_unit_is_that_of_the_paper() -> None:
    """Orvieto et al. 2023, equations 6 and 7 with the exponential parametrisation and its normalisation, then GLU."""
    torch.manual_seed(0)
    layer = LinearRecurrentUnit(6, 0.4, 0.99, math.pi).double()
    x, h = torch.randn(2, 9, 6).double(), torch.zeros(2, 3, dtype=torch.complex128)
    found = layer.read(layer.scan(x, torch.zeros(2, 6).double()), x)
    diagonal = torch.exp(torch.complex(-layer.decay.exp(), layer.angle.exp()))
    gain = (1 - diagonal.abs() ** 2).sqrt()
    entered = torch.complex(*layer.inputs(x).chunk(2, -1))
    matrix = torch.complex(*layer.outputs.weight.chunk(2, 1)).conj()
    for t in range(9):
        h = diagonal * h + gain * entered[:, t]
        y = (h @ matrix.T).real + layer.outputs.bias + layer.skip * torch.cat([x[:, t], x[:, t]], -1)
        assert torch.allclose(found[:, t], y[:, :6] / (1 + torch.exp(-y[:, 6:])))


def test_memory_begins_on_the_ring_between_the_radii() -> None:
    torch.manual_seed(0)
    real, imaginary = LinearRecurrentUnit(4000, 0.5, 0.9, math.pi / 2).factor().detach().chunk(2)
    radius, angle = torch.hypot(real, imaginary), torch.atan2(imaginary, real)
    assert 0.5 <= float(radius.min()) < 0.55 and 0.88 < float(radius.max()) <= 0.9
    assert 0 < float(angle.min()) < 0.1 and 1.5 < float(angle.max()) <= math.pi / 2 + 1e-6
    area = (radius.square() < (0.5**2 + 0.9**2) / 2).double().mean()  # uniform on the area of the ring
    assert abs(float(area) - 0.5) < 0.05


@pytest.mark.parametrize("options", [
    {"hidden": 1}, {"layers": 0}, {"dropout": 1.5}, {"fastest": 0.9, "slowest": 0.5}, {"slowest": 1.0}, {"angle": 4.0}
])  # fmt: skip
def test_what_cannot_work_is_refused_with_the_key(options: dict) -> None:
    with pytest.raises(InputError, match=r"model\.backbone\.(hidden|layers|dropout|fastest|angle) is"):
        Lru(features=2, past_steps=9, **options)


@pytest.mark.parametrize("backbone", [MinGru, Lru])
def test_long_memory_is_carried_over_a_thousand_steps(backbone, kernels: str) -> None:
    torch.manual_seed(0)
    net, x = backbone(features=1, past_steps=1024, hidden=16).eval(), torch.randn(2, 1024, 1)
    whole, _ = net.unroll(x, net.initial_state(x))
    first, state = net.unroll(x[:, :700], net.initial_state(x))
    rest, _ = net.unroll(x[:, 700:], state)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-5)
    assert torch.allclose(net.forward_last(x), whole[:, -1:], atol=1e-5)
