"""Estimates of hidden values of a window from the visible ones: by simple rules, and by kriging."""

import math

import torch
from torch import Tensor, nn

from seqmodels.baselines.rules import Baseline
from seqmodels.naive import last_observed, masked_mean
from seqmodels.scalers.base import less_level, mean_tensor
from seqmodels.window import Inputs, Sample, WindowSpec


def interpolate(values: Tensor, seen: Tensor, otherwise: Tensor) -> Tensor:
    """Straight lines between the values seen, the nearest one at the ends: (B, T, C) -> (B, T, C).

    ``otherwise`` (1, 1, C) for a window without any.
    """
    before, after = (_nearest(values, seen, back) for back in (False, True))
    (low, left, has_left), (high, right, has_right) = before, after
    share = (left / (left + right).clamp(min=1)).to(values.dtype)
    both = torch.lerp(low, high, share)
    return torch.where(has_left & has_right, both, torch.where(has_left, low, torch.where(has_right, high, otherwise)))


def _nearest(values: Tensor, seen: Tensor, back: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The value seen at or before each step (after it if ``back``), the steps to it, and True where there is one."""
    if back:
        values, seen = values.flip(1), seen.flip(1)
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None]
    newest = torch.where(seen, steps, -1).cummax(dim=1).values
    found = last_observed(values, seen), steps - newest, newest >= 0
    return tuple(part.flip(1) for part in found) if back else found  # type: ignore[return-value]


def season_of(values: Tensor, seen: Tensor, season: int) -> Tensor:
    """Mean of each phase of the season, less the straight line through the window, (B, T, C); 0 for an unseen phase."""
    steps = values.shape[1]
    line = trend_of(values, seen)
    rest, phase = (values - line) * seen, torch.arange(steps, device=values.device) % season
    sums = values.new_zeros(len(values), season, values.shape[2]).index_add(1, phase, rest)
    counts = torch.zeros_like(sums).index_add(1, phase, seen.to(values.dtype))
    return (sums / counts.clamp(min=1))[:, phase]


def trend_of(values: Tensor, seen: Tensor) -> Tensor:
    """The straight line of least squares through the values seen, (B, T, C)."""
    step = torch.linspace(-1, 1, values.shape[1], device=values.device, dtype=values.dtype)[None, :, None]
    step, mean = step.expand_as(values), masked_mean(values, seen)
    middle = masked_mean(step, seen)
    slope = masked_mean((step - middle) * (values - mean), seen) / masked_mean((step - middle).square(), seen).clamp(
        min=1e-9
    )
    return mean + slope * (step - middle)


class Interpolation(Baseline):
    """Estimates of all values of a window from the visible ones: (B, 1, T, C)."""

    kinds = ("past",)
    mean: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__(spec)
        self.season = spec.season if 1 < spec.season <= spec.past_steps else 1
        self.register_buffer("mean", mean_tensor(spec), persistent=False)

    def otherwise(self, inputs: Inputs) -> Tensor:
        """The training mean, for windows that show nothing."""
        return less_level(self.mean, inputs) if self.spec.levels else self.mean

    def estimate(self, inputs: Inputs) -> Tensor:
        """(B, T, C), in raw units."""
        return interpolate(inputs.past_target, inputs.past_observed, self.otherwise(inputs))

    def predict(self, inputs: Inputs) -> Tensor:
        return self.estimate(inputs).unsqueeze(1)


class LastValue(Interpolation):
    """The value seen before, else the next one."""

    def estimate(self, inputs: Inputs) -> Tensor:
        low, _, found = _nearest(inputs.past_target, inputs.past_observed, False)
        return torch.where(found, low, super().estimate(inputs))


class SeasonAgo(Interpolation):
    """Mean of the values of the same phase in the seasons before and after, where seen; else of further seasons."""

    def estimate(self, inputs: Inputs) -> Tensor:
        batch, steps, channels = inputs.past_target.shape
        pad = -steps % self.season
        values, seen = (
            nn.functional.pad(part.to(inputs.past_target), (0, 0, 0, pad))
            .unflatten(1, (-1, self.season))
            .transpose(1, 2)
            .flatten(0, 1)
            for part in (inputs.past_target, inputs.past_observed)
        )
        (low, left, has_left), (high, right, has_right) = (_nearest(values, seen > 0, back) for back in (False, True))
        near = torch.where(has_left & has_right, (low + high) / 2, torch.where(has_left, low, high))
        found = (has_left | has_right).unflatten(0, (batch, -1)).transpose(1, 2).flatten(1, 2)[:, :steps]
        near = near.unflatten(0, (batch, -1)).transpose(1, 2).flatten(1, 2)[:, :steps]
        return torch.where(found, near, super().estimate(inputs))


class Seasonal(Interpolation):
    """Linear interpolation of the values less the season of the window, plus the season."""

    def estimate(self, inputs: Inputs) -> Tensor:
        values, seen = inputs.past_target, inputs.past_observed
        season = season_of(values, seen, self.season)
        return interpolate(values - season, seen, self.otherwise(inputs)) + season


ROUNDS, RATE = 60, 0.1  # of the fit
MOST_PRODUCTS = 4e8  # multiplications of a round, about a tenth of a second
LEAST_NOISE = 1e-4


class Kriging(Interpolation):
    """Best linear estimate of a Gaussian process from all visible values of the window.

    The covariance of each channel, of values in deviations of the window: a smooth part (Matérn 3/2), a rough one
    (exponential), a season that changes slowly and need not be a sine, noise, and a level and slope of any size. Its
    parameters maximise the likelihood of training windows. The estimate equals that of Kalman smoothing with the
    state-space model of this process.

    Source: Rasmussen and Williams, "Gaussian processes for machine learning", 2006, sections 2.2, 4.2 and 5.4.
    """

    MOST_STEPS = 512
    numbers: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__(spec)
        first = [0.5, spec.past_steps / 2, 0.3, 2.0, 0.5, 1.0, 3.0 * self.season, 0.1]
        numbers = torch.tensor(first, dtype=torch.float64).log().expand(len(spec.channels), -1)
        self.register_buffer("numbers", numbers.clone())

    @property
    def affordable(self) -> bool:
        """True if windows are short enough."""
        return self.spec.past_steps <= self.MOST_STEPS

    def estimate(self, inputs: Inputs) -> Tensor:
        values, seen, centre, unit = self._standardise(inputs)
        covariance, noise = self._covariance(self.numbers.to(values), values.shape[-1])
        factor = torch.linalg.cholesky(_masked(covariance, noise, seen))
        weights = torch.cholesky_solve(values.unsqueeze(-1), factor)
        found = (covariance @ weights).squeeze(-1).transpose(1, 2)
        return (found * unit + centre).to(inputs.past_target)

    @torch.enable_grad()
    def fit_closed_form(self, sample: Sample) -> None:
        """Maximise the likelihood of the visible values of training windows."""
        steps, channels = self.spec.past_steps, len(self.spec.channels)
        most = int(min(64, max(4, MOST_PRODUCTS / (channels * steps**3))))
        parts = [self._standardise(window.inputs)[:2] for window in sample("train", most)]
        values, seen = (torch.cat(part) for part in zip(*parts, strict=True))
        numbers = self.numbers.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([numbers], lr=RATE)
        for _ in range(ROUNDS):
            covariance, noise = self._covariance(numbers, steps)
            factor = torch.linalg.cholesky(_masked(covariance, noise, seen))
            fit = torch.cholesky_solve(values.unsqueeze(-1), factor).squeeze(-1)
            loss = (values * fit).sum() / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum()
            optimizer.zero_grad()
            (loss / seen.sum()).backward()
            optimizer.step()
        self.numbers = numbers.detach()

    def _standardise(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values (B, C, T) float64, 0 where not seen, the mask, and the mean and deviation of each window (B, 1, C)."""
        values, seen = inputs.past_target.double(), inputs.past_observed
        centre = torch.where(seen.any(dim=1, keepdim=True), masked_mean(values, seen), self.otherwise(inputs))
        unit = masked_mean((values - centre).square(), seen).sqrt()
        unit = torch.maximum(unit, 0.1 * inputs.seasonal_error.unsqueeze(1))
        return ((values - centre) / unit * seen).transpose(1, 2), seen.transpose(1, 2), centre, unit

    def _covariance(self, numbers: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Covariance (C, T, T) without noise, and the noise (C, 1)."""
        smooth, reach, rough, short, seasonal, shape, memory, noise = (one[:, None, None] for one in numbers.exp().T)
        step = torch.arange(steps, device=numbers.device, dtype=numbers.dtype)
        distance = (step[:, None] - step).abs()
        scaled = distance * math.sqrt(3) / reach
        place = (step - step.mean()) / step.std()
        covariance = smooth * (1 + scaled) * (-scaled).exp() + rough * (-distance / short).exp()
        if self.season > 1:
            turn = (math.pi * distance / self.season).sin().square()
            covariance = covariance + seasonal * (-2 * turn / shape.square() - distance / memory).exp()
        return covariance + 4 + place[:, None] * place, noise[:, 0] + LEAST_NOISE


def _masked(covariance: Tensor, noise: Tensor, seen: Tensor) -> Tensor:
    """Covariance (B, C, T, T) of the values seen (B, C, T); the others are independent of them."""
    both = seen.unsqueeze(-1) & seen.unsqueeze(-2)
    return torch.where(both, covariance, 0) + torch.diag_embed(torch.where(seen, noise, 1.0))
