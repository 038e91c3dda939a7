"""Ways to follow the errors of forecasts made one after the other: coverage, and equality with plain computations."""

import math

import numpy as np
import pytest
import torch

from seqmodels.inference import adaptive
from seqmodels.inference.adaptive import METHODS, expected_errors
from seqmodels.inference.calibration import LEVELS, Calibration
from seqmodels.inference.scores import ENDS

ONE = torch.zeros(1, dtype=torch.int64)


def autoregressive_errors(count: int, horizon: int, seed: int = 0, drift: float = 0.0) -> torch.Tensor:
    """Errors (count, H, 1) of the best forecasts of x = 0.8 x' - 0.5 x'' + noise: moving averages of order h - 1."""
    noise = np.random.default_rng(seed).normal(size=count + horizon)
    weights = [1.0, 0.8]
    while len(weights) < horizon:
        weights.append(0.8 * weights[-1] - 0.5 * weights[-2])
    errors = [[noise[t : t + h + 1] @ weights[h::-1] for h in range(horizon)] for t in range(count)]
    return torch.tensor(np.array(errors) + drift * np.arange(count)[:, None] / count)[..., None].float()


def calibration(errors: torch.Tensor) -> Calibration:
    return Calibration(LEVELS, torch.quantile(errors, torch.tensor(LEVELS), dim=0), len(errors))


def coverages(offsets: torch.Tensor, errors: torch.Tensor) -> np.ndarray:
    """Share of errors within each of the bands, by lead, (bands, H)."""
    inside = (errors[..., None] >= offsets[..., ::2]) & (errors[..., None] <= offsets[..., 1::2])
    return inside.float().mean(dim=(0, 2)).T.numpy()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("drift", "stride"), [(0.0, 1), (3.0, 1), (0.0, 3)])
def test_bands_of_autocorrelated_errors_cover_what_they_should_at_every_lead(
    name: str, drift: float, stride: int
) -> None:
    bands = calibration(autoregressive_errors(500, 6, seed=1))
    errors = autoregressive_errors(3000 * stride, 6, drift=drift)[::stride]
    offsets = METHODS[name](bands, ENDS, stride).offsets(ONE.expand(3000), errors)
    found = coverages(offsets, errors) - np.array([[0.5], [0.8], [0.95]])
    assert np.abs(found).max() < 0.03, found
    assert bool((offsets[..., [4, 2, 0, 1, 3, 5]].diff(dim=-1) >= 0).all())


def test_errors_of_neighbouring_leads_help_to_follow_a_drift() -> None:
    """The tracked quantiles lose less around the expected error, where the mean error moves."""
    bands = calibration(autoregressive_errors(500, 6, seed=1))
    errors = autoregressive_errors(1500, 6, drift=12.0)
    losses = {}
    for name in ("pid", "acmcp"):
        offsets = METHODS[name](bands, ENDS, 1).offsets(ONE.expand(1500), errors)
        over = errors[..., None] - offsets
        losses[name] = float(torch.maximum(torch.tensor(ENDS) * over, (torch.tensor(ENDS) - 1) * over).mean())
    assert losses["acmcp"] < losses["pid"], losses


@pytest.mark.parametrize("missing", [False, True])
def test_expected_errors_are_those_of_regressions_on_the_whole_history(missing: bool) -> None:
    """Weighted means and covariances of all vectors so far, and one linear regression for each lead."""
    horizon, count = 4, 120
    errors = autoregressive_errors(count, horizon, drift=2.0)
    if missing:
        errors[::17, 2] = torch.nan
    bands = calibration(autoregressive_errors(500, horizon, seed=1))
    follower = METHODS["acmcp"](bands, ENDS, 1)
    follower.offsets(ONE.expand(count), errors)
    memory, kept = follower.memory, follower.fresh
    found = expected_errors(memory["mean"], memory["centre"], memory["scatter"])[0, :, 0]
    plain, forget, ridge = errors[..., 0].double().numpy(), adaptive.FORGETTING, adaptive.RIDGE

    def weigh(rows: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first mean and the rows, newest last, with weights that forget."""
        ages = np.arange(len(rows))[::-1]
        return np.vstack([first, rows]), np.array([(1 - forget) ** len(rows), *(forget * (1 - forget) ** ages)])

    first = kept["mean"][0, :, 0].double().numpy()
    recent = []
    for lead in range(horizon):
        known = plain[: count - lead - 1, lead]  # of the last origin, nothing is known
        values, weights = weigh(known[~np.isnan(known), None], first[[lead]])
        recent.append(float(weights @ values[:, 0]))
    whole = plain[: count - horizon]
    values, weights = weigh(whole[~np.isnan(whole).any(axis=1)], first)
    mean = weights @ values
    covariance = (values - mean).T @ ((values - mean) * weights[:, None])
    covariance += weights[0] * np.diag(kept["scatter"][0, 0].diagonal().numpy())
    expected = [recent[0]]
    for lead in range(1, horizon):
        more = ridge * np.diag(covariance)[:lead] + adaptive.SMALLEST_UNIT**2
        before = covariance[:lead, :lead] + np.diag(more)
        slopes = np.linalg.solve(before, covariance[:lead, lead])
        regression = mean[lead] + slopes @ (np.array(expected) - mean[:lead])
        expected.append((recent[lead] + regression) / 2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["pid", "acmcp"])
def test_tracked_quantiles_are_those_of_a_loop_over_single_errors(name: str) -> None:
    """Of one lead, where nothing but the newest error enters: Angelopoulos, Candès and Tibshirani, equation 5."""
    errors, level = autoregressive_errors(200, 1), 0.9
    bands = calibration(autoregressive_errors(500, 1, seed=1))
    follower = METHODS[name](bands, [level], 1)
    found = follower.offsets(ONE.expand(200), errors)[:, 0, 0, 0].numpy()
    start, window = float(follower.fresh["tracked"]), follower.fresh["errors"][0, 0, 0].tolist()
    mean = float(follower.fresh["mean"]) if name == "acmcp" else 0.0
    shift = name == "acmcp"
    tracked, misses, offset, wanted = start, 0.0, start + mean, [start + mean]
    for place, error in enumerate(errors[:-1, 0, 0].tolist()):
        missed = level - (error <= offset)
        window[place % len(window)] = error
        tracked += follower.step * (max(window) - min(window)) * missed
        misses += missed
        count = place + 1
        angle = misses * math.log(count) / count / adaptive.SATURATION
        mean += adaptive.FORGETTING * (error - mean) * shift
        scale = sum(map(abs, window)) / len(window)
        offset = tracked + scale * math.tan(max(-adaptive.STEEPEST, min(angle, adaptive.STEEPEST))) + mean * shift
        wanted.append(offset)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_levels_that_cross_find_back_to_their_places(name: str) -> None:
    """A daily cycle of the spread seen a day late makes all levels swing; each must still cover its share."""
    hours = np.arange(4000)
    noise = np.random.default_rng(5).normal(size=(4000, 24))
    errors = torch.tensor(noise * (1.2 + np.sin(hours[:, None] * 2 * math.pi / 24)), dtype=torch.float32)[..., None]
    levels = [0.025, *(step / 10 for step in range(1, 10)), 0.975]
    offsets = METHODS[name](calibration(errors[:500]), levels, 1).offsets(ONE.expand(4000), errors)
    below = (errors[..., None] <= offsets).float().mean(dim=(0, 2))
    assert (below - torch.tensor(levels)).abs().max() < 0.05


@pytest.mark.parametrize("name", METHODS)
def test_memory_does_not_grow_with_the_number_of_origins(name: str) -> None:
    errors = autoregressive_errors(400, 5)
    follower = METHODS[name](calibration(errors), ENDS, 1)
    sizes = []
    for part in errors.split(100):
        follower.offsets(ONE.expand(100), part)
        sizes.append(sum(one.numel() for one in follower.memory.values()))
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("name", METHODS)
def test_forecasts_without_any_error_have_finite_bands(name: str) -> None:
    follower = METHODS[name](calibration(autoregressive_errors(100, 3)), ENDS, 1)
    offsets = follower.offsets(ONE.expand(12_000), torch.zeros(12_000, 3, 1))
    assert bool(offsets.isfinite().all())
    assert name != "aci" or offsets[-1].abs().max() < 1e-6
