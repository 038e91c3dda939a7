"""Heads that describe a distribution: against SciPy, numerical integration, and the laws of the zoo."""

from functools import partial

import numpy as np
import pytest
import torch
import zoo
from scipy import integrate, stats
from test_laws import nudge, step_by_step, until

from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.base import PERCENTILES, Head, quantile_loss
from seqmodels.heads.distributions import Laplace, NegativeBinomial, Normal, StudentT
from seqmodels.heads.quantile import Quantile
from seqmodels.scalers.affine import StandardScaler, WindowScaler
from seqmodels.scalers.difference import DifferenceScaler

HEADS = [Quantile(), Quantile([0.05, 0.3, 0.9]), Normal(), Laplace(), StudentT(), NegativeBinomial()]
NAMED = pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{type(head).__name__}{head.parameters_per_value}")
LEVELS = [1e-6, 0.025, 0.1, 0.25, 0.5, 0.8, 0.975, 1 - 1e-6]


def frozen(head: Head, parameters: torch.Tensor) -> stats.rv_continuous:
    """The same distribution by SciPy."""
    values = parameters.double().numpy()
    if isinstance(head, Normal):
        return stats.norm(values[..., 0], values[..., 1])
    if isinstance(head, Laplace):
        return stats.laplace(values[..., 0], values[..., 1])
    if isinstance(head, StudentT):
        return stats.t(values[..., 2], values[..., 0], values[..., 1])
    mean, dispersion = values[..., 0], values[..., 1]
    return stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))


def some(head: Head, count: int, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Parameters in raw units, from random outputs of the network."""
    random = torch.Generator().manual_seed(seed)
    outputs = spread * torch.randn(count, head.parameters_per_value, generator=random)
    return head.rescale(head(outputs), torch.full((count,), 12.0), torch.full((count,), 4.0)).double()


@NAMED
def test_a_million_random_parameters_give_no_crossing_nan_or_infinity(head: Head) -> None:
    count, random = 1_000_000, torch.Generator().manual_seed(0)
    sizes = 10 ** torch.empty(3, count).uniform_(-3, 3, generator=random)
    parameters = head(sizes[0, :, None] * torch.randn(count, head.parameters_per_value, generator=random))
    raw = head.rescale(parameters, sizes[1] * torch.randn(count, generator=random), sizes[2])
    target = sizes[1] * torch.randn(count, generator=random)
    target = target.abs().round() if head.in_data_units else target
    few = slice(20_000 if head.in_data_units else count)  # SciPy takes 2 s for a million
    quantiles = head.quantiles(raw[few], LEVELS)
    assert (quantiles.diff(dim=-1) >= 0).all()
    for values in (
        quantiles,
        head.mean(raw),
        head.loss(raw if head.in_data_units else parameters, target),
        head.crps(raw[:20_000], target[:20_000]),
        head.sample(raw, 1, random),
    ):
        assert values.isfinite().all()


@pytest.mark.parametrize("head", HEADS[2:], ids=lambda head: type(head).__name__)
def test_loss_quantiles_mean_and_samples_equal_those_of_scipy(head: Head) -> None:
    parameters = some(head, 300)
    theirs = frozen(head, parameters)
    target = torch.arange(300.0, dtype=torch.float64) % 40
    density = theirs.logpmf if head.in_data_units else theirs.logpdf
    np.testing.assert_allclose(head.loss(parameters, target), -density(target.numpy()), rtol=1e-9, atol=1e-9)
    wanted = np.stack([theirs.ppf(level) for level in LEVELS], axis=-1)
    np.testing.assert_allclose(head.quantiles(parameters, LEVELS), wanted, rtol=1e-9)
    np.testing.assert_allclose(head.mean(parameters), theirs.mean(), rtol=1e-9)
    for place in range(3):
        draws = head.sample(parameters[place], 4000, torch.Generator().manual_seed(place)).numpy()
        one = frozen(head, parameters[place])
        shares = [(draws <= one.ppf(level)).mean() for level in (0.1, 0.5, 0.9)]
        exact = [one.cdf(one.ppf(level)) for level in (0.1, 0.5, 0.9)]
        np.testing.assert_allclose(shares, exact, atol=0.03)


@pytest.mark.parametrize("head", [Normal(), Laplace(), StudentT()], ids=lambda head: type(head).__name__)
def test_closed_forms_of_the_ranked_probability_score_equal_the_integral(head: Head) -> None:
    parameters = some(head, 8, spread=2.0)
    targets = torch.tensor([-40.0, 0.0, 11.0, 12.0, 12.5, 15.0, 30.0, 300.0], dtype=torch.float64)
    for given, target, score in zip(parameters, targets, head.crps(parameters, targets), strict=True):
        below = frozen(head, given).cdf
        options = {"limit": 400, "epsabs": 1e-11, "epsrel": 1e-11}
        left, _ = integrate.quad(lambda y, cdf=below: float(cdf(y)) ** 2, -np.inf, float(target), **options)
        right, _ = integrate.quad(lambda y, cdf=below: (1 - float(cdf(y))) ** 2, float(target), np.inf, **options)
        assert float(score) == pytest.approx(left + right, rel=1e-6)


def test_closed_forms_equal_those_of_scoringrules() -> None:
    rules = pytest.importorskip("scoringrules")
    target = torch.linspace(-20, 60, 200, dtype=torch.float64)
    for head, crps in ((Normal(), rules.crps_normal), (Laplace(), rules.crps_laplace)):
        parameters = some(head, 200)
        np.testing.assert_allclose(head.crps(parameters, target), crps(target.numpy(), *parameters.T.numpy()))
    parameters = some(StudentT(), 200)
    location, scale, degrees = parameters.T.numpy()
    np.testing.assert_allclose(
        StudentT().crps(parameters, target), rules.crps_t(target.numpy(), degrees, location, scale), rtol=1e-9
    )


def test_the_score_of_counts_is_near_the_sum_over_all_of_them() -> None:
    head = NegativeBinomial()
    parameters, target = some(head, 50), torch.arange(50.0, dtype=torch.float64)
    counts = np.arange(20_000)[:, None]
    below = frozen(head, parameters).cdf(counts)
    exact = ((below - (counts >= target.numpy())) ** 2).sum(axis=0)
    np.testing.assert_allclose(head.crps(parameters, target), exact, rtol=0.05)


@NAMED
def test_parameters_follow_the_units_of_the_data(head: Head) -> None:
    """Quantiles, means and scores of y * scale + centre; what a unit does to counts is another model of them."""
    if head.in_data_units:
        mean, dispersion = some(head, 5).unbind(-1)
        outputs = torch.Generator().manual_seed(0)
        position, spread = torch.randn(5, 2, generator=outputs).double().unbind(-1)
        torch.testing.assert_close(mean, 4 * torch.nn.functional.softplus(3 + position), rtol=1e-5, atol=1e-5)
        wanted = torch.nn.functional.softplus(spread + np.log(np.e - 1)) / 2
        return torch.testing.assert_close(dispersion, wanted, rtol=1e-5, atol=1e-5)
    parameters = head(torch.randn(50, head.parameters_per_value, generator=torch.Generator().manual_seed(1))).double()
    centre, scale = torch.linspace(-900, 900, 50).double(), torch.linspace(0.1, 70, 50).double()
    raw, target = head.rescale(parameters, centre, scale), torch.linspace(-3, 3, 50).double()
    wanted = head.quantiles(parameters, LEVELS) * scale[:, None] + centre[:, None]
    torch.testing.assert_close(head.quantiles(raw, LEVELS), wanted)
    torch.testing.assert_close(head.mean(raw), head.mean(parameters) * scale + centre)
    torch.testing.assert_close(head.crps(raw, target * scale + centre), head.crps(parameters, target) * scale)


def test_the_quantile_head_begins_normal_and_keeps_its_own_levels() -> None:
    head = Quantile()
    parameters = head(torch.zeros(1, 9))
    torch.testing.assert_close(head.quantiles(parameters, head.levels), parameters)
    inner = torch.special.ndtri(torch.tensor(head.levels))
    torch.testing.assert_close(parameters[0], inner, atol=1e-6, rtol=0)
    between = head.quantiles(parameters, [0.15, 0.35, 0.62])[0]
    torch.testing.assert_close(between, torch.special.ndtri(torch.tensor([0.15, 0.35, 0.62])), atol=0.01, rtol=0)
    assert -2.3 < float(head.quantiles(parameters, [0.025])) < -1.96  # heavier than a normal tail
    draws = head.sample(parameters, 20_000, torch.Generator().manual_seed(0))[:, 0]
    shares = (draws[:, None] < parameters).float().mean(dim=0)
    torch.testing.assert_close(shares, torch.tensor(head.levels), atol=0.01, rtol=0)


def test_the_quantile_loss_is_twice_the_mean_pinball_loss() -> None:
    head, values = Quantile([0.1, 0.5, 0.8]), [-2.0, 1.0, 3.0]
    loss = head.loss(torch.tensor([values, values]), torch.tensor([0.5, 9.0]))
    low = 0.1 * 2.5 + 0.5 * 0.5 + 0.2 * 2.5
    high = 0.1 * 11 + 0.5 * 8 + 0.8 * 6
    assert loss.tolist() == pytest.approx([2 * low / 3, 2 * high / 3])


@pytest.mark.parametrize(
    "levels", [[], [0.5], [0.1, 0.1, 0.9], [0.9, 0.1], [0.0, 0.5], [0.5, 1.0], [-0.1, 0.5], [0.1, float("nan")]]
)
def test_levels_out_of_order_are_refused(levels: list[float]) -> None:
    with pytest.raises(InputError, match="model.head.levels is .*; it must hold at least two levels between 0 and 1"):
        Quantile(levels)


MEMBERS = [
    (backbone, readout, scaler, head)
    for backbone, scaler in (("lstm", "standard"), ("tcn", "window_season"), ("gru", "difference_season"))
    for readout in ("seq_to_seq", "iterated", "encoder_decoder")
    for head in zoo.DISTRIBUTIONS
] + [("lstm", readout, "window_asinh", "quantile") for readout in ("seq_to_vector", "iterated", "encoder_decoder")]
LAWS = pytest.mark.parametrize(("backbone", "readout", "scaler", "head"), MEMBERS)


@LAWS
def test_the_laws_of_the_zoo_hold_for_distributions(backbone: str, readout: str, scaler: str, head: str) -> None:
    """Causality, sight of the newest value, step by step as at once, finite gradients, and order of the quantiles."""
    model, (inputs, targets, _) = zoo.forecaster(backbone, readout, scaler, "plain", head), zoo.window(zoo.SPEC)
    forecast = model(inputs).forecast
    assert (model.head.quantiles(forecast.detach(), [0.01, 0.2, 0.5, 0.99]).diff(dim=-1) >= 0).all()
    for number, origin in list(enumerate(model.origins.of(20)))[::6]:
        changed = model(nudge(inputs, origin, inputs)).forecast
        torch.testing.assert_close(changed[:, : number + 1], forecast[:, : number + 1], rtol=0, atol=0)
    past = inputs.past_target.clone().requires_grad_()
    seen = model.head.mean(model(inputs._replace(past_target=past)).forecast)[:, -1]
    for lead in range(3):
        assert torch.autograd.grad(seen[:, lead].sum(), past, retain_graph=True)[0][:, -1].abs().sum() > 0
    model.loss(inputs, targets).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    if not model.why_stateless:
        for time, output in enumerate(step_by_step(model, inputs)):
            once = forecast[:, time : time + 1]
            if len(model.origins.of(20)) == 1:
                once = model(until(inputs, time, 3)).forecast
            torch.testing.assert_close(output.forecast, once, rtol=1e-4, atol=1e-4)


def test_scalers_that_cannot_bring_a_distribution_back_are_refused_with_the_way_out() -> None:
    build = partial(Forecaster, zoo.SPEC, backbone=zoo.BACKBONES["rnn"], readout=zoo.direct.SeqToSeq)
    for scaler, head in ((DifferenceScaler, Quantile()), (partial(WindowScaler, asinh=True), StudentT())):
        with pytest.raises(InputError, match="cannot bring back .*; use another scaler, model/head=point, or"):
            build(scaler=scaler, head=head)
    build(scaler=partial(DifferenceScaler, lag=3), head=StudentT())
    build(scaler=partial(WindowScaler, asinh=True), head=Quantile())
    build = partial(Forecaster, backbone=zoo.BACKBONES["rnn"], readout=zoo.direct.SeqToSeq, head=NegativeBinomial())
    with pytest.raises(InputError, match="b holds negative values in the training rows; use another model/head"):
        build(zoo.SPEC._replace(nonnegative=(True, False)), scaler=StandardScaler)
    with pytest.raises(InputError, match="too large for float32; use another model/head"):
        build(zoo.SPEC._replace(levels=True), scaler=StandardScaler)


@pytest.mark.parametrize(
    ("head", "noise"),
    [
        (Quantile(), stats.gumbel_r(3, 2)),
        (Normal(), stats.norm(3, 2)),
        (Laplace(), stats.laplace(3, 2)),
        (StudentT(), stats.t(4, 3, 2)),
        (NegativeBinomial(), stats.nbinom(2, 0.2)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Head) else "",
)
def test_training_on_noise_finds_its_quantiles(head: Head, noise: stats.rv_continuous) -> None:
    """By the loss in the scaler's units, for a network that is one constant."""
    truth = torch.tensor(noise.ppf((np.arange(999) + 0.5) / 999), dtype=torch.float32)
    centre, scale = truth.mean(), truth.std()
    outputs = torch.zeros(1, head.parameters_per_value, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        parameters = head(outputs).expand(999, -1)
        if head.in_data_units:
            cost = head.loss(head.rescale(parameters, centre, scale), truth)
        else:
            cost = head.loss(parameters, (truth - centre) / scale)
        cost.mean().backward()
        optimizer.step()
    raw = head.rescale(head(outputs.detach()), centre, scale)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    allowed = 1.0 if head.in_data_units else 0.06 * noise.std()
    np.testing.assert_allclose(head.quantiles(raw, levels)[0], noise.ppf(levels), atol=allowed)
    exact = quantile_loss(torch.tensor(noise.ppf(PERCENTILES)), truth, PERCENTILES).mean()
    assert float(head.crps(raw.expand(999, -1), truth).mean()) == pytest.approx(float(exact), rel=0.02)
