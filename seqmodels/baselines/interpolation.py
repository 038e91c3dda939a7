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
PARTS, SHAPES = 4, 4  # components of the covariance, and numbers that they share


class Kriging(Interpolation):
    """Best linear estimate of a Gaussian process from all visible values of the window.

    The covariance, of values in deviations of the window: a smooth part (Matérn 3/2), a rough one (exponential), a
    season that changes slowly and need not be a sine, and noise, each with a covariance of the channels; a level and
    slope of any size. Its parameters maximise the likelihood of training windows. If windows have too many
    values, each channel stands by itself. The estimate equals that of Kalman smoothing with the state-space model of
    this process.

    Source: Rasmussen and Williams, "Gaussian processes for machine learning", 2006, sections 2.2, 4.2 and 5.4; of the
    channels the linear model of coregionalization, Journel and Huijbregts 1978.
    """

    MOST_VALUES = 512
    shapes: Tensor
    loadings: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__(spec)
        channels = len(spec.channels)
        together = spec.past_steps * channels <= self.MOST_VALUES
        self.groups, self.size = (1, channels) if together else (channels, 1)
        shapes = torch.tensor([spec.past_steps / 2, 2.0, 1.0, 3.0 * self.season], dtype=torch.float64).log()
        deviations = torch.tensor([0.5, 0.3, 0.5, 0.1], dtype=torch.float64).log() / 2
        loadings = torch.diag_embed(deviations[:, None].expand(-1, self.size))
        self.register_buffer("shapes", shapes.repeat(self.groups, 1))  # (groups, SHAPES), logarithms
        self.register_buffer("loadings", loadings.repeat(self.groups, 1, 1, 1))  # (groups, PARTS, size, size)

    @property
    def affordable(self) -> bool:
        """True if windows are short enough."""
        return self.spec.past_steps <= self.MOST_VALUES

    def estimate(self, inputs: Inputs) -> Tensor:
        values, seen, centre, unit = self._standardise(inputs)
        covariance = self._covariance(self.shapes.to(values), self.loadings.to(values), inputs.past_target.shape[1])
        weights = torch.cholesky_solve(values.unsqueeze(-1), torch.linalg.cholesky(_masked(covariance, seen)))
        found = (covariance @ weights).reshape(len(values), len(self.spec.channels), -1).transpose(1, 2)
        return (found * unit + centre).to(inputs.past_target)

    @torch.enable_grad()
    def fit_closed_form(self, sample: Sample) -> None:
        """Maximise the likelihood of the visible values of training windows."""
        steps, length = self.spec.past_steps, self.size * self.spec.past_steps
        most = int(min(64, max(4, MOST_PRODUCTS / (self.groups * length**3))))
        parts = [self._standardise(window.inputs)[:2] for window in sample("train", most)]
        values, seen = (torch.cat(part) for part in zip(*parts, strict=True))
        shapes, loadings = (one.detach().clone().requires_grad_() for one in (self.shapes, self.loadings))
        optimizer = torch.optim.Adam([shapes, loadings], lr=RATE)
        for _ in range(ROUNDS):
            factor = torch.linalg.cholesky(_masked(self._covariance(shapes, loadings, steps), seen))
            fit = torch.cholesky_solve(values.unsqueeze(-1), factor).squeeze(-1)
            loss = (values * fit).sum() / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum()
            optimizer.zero_grad()
            (loss / seen.sum()).backward()
            optimizer.step()
        self.shapes, self.loadings = shapes.detach(), loadings.detach()

    def _standardise(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values (B, groups, size T) float64, 0 where not seen, the mask, and mean and deviation (B, 1, C)."""
        values, seen = inputs.past_target.double(), inputs.past_observed
        centre = torch.where(seen.any(dim=1, keepdim=True), masked_mean(values, seen), self.otherwise(inputs))
        unit = masked_mean((values - centre).square(), seen).sqrt()
        unit = torch.maximum(unit, 0.1 * inputs.seasonal_error.unsqueeze(1))
        flat = (part.transpose(1, 2).reshape(len(values), self.groups, -1) for part in ((values - centre) / unit, seen))
        values, seen = flat
        return values * seen, seen, centre, unit

    def _covariance(self, shapes: Tensor, loadings: Tensor, steps: int) -> Tensor:
        """(groups, size T, size T)."""
        reach, short, shape, memory = (one[:, None, None] for one in shapes.exp().T)
        step = torch.arange(steps, device=shapes.device, dtype=shapes.dtype)
        distance, place = (step[:, None] - step).abs(), (step - step.mean()) / step.std()
        scaled = distance * math.sqrt(3) / reach
        turn = (math.pi * distance / self.season).sin().square()
        season = (-2 * turn / shape.square() - distance / memory).exp() * (self.season > 1)
        same = torch.eye(steps, device=shapes.device, dtype=shapes.dtype).expand_as(season)
        parts = torch.stack([(1 + scaled) * (-scaled).exp(), (-distance / short).exp(), season, same], dim=1)
        factor = loadings.tril(-1) + torch.diag_embed(loadings.diagonal(dim1=-2, dim2=-1).exp())
        between = factor @ factor.transpose(-1, -2)
        known = torch.eye(self.size, device=shapes.device, dtype=shapes.dtype)
        total = torch.einsum("gpcd,gpst->gcsdt", between, parts)
        total = total + torch.einsum("cd,st->csdt", known, 4 + place[:, None] * place)
        return total.flatten(3, 4).flatten(1, 2)


def _masked(covariance: Tensor, seen: Tensor) -> Tensor:
    """Covariance (B, G, N, N) of the values seen (B, G, N), which those that are not leave alone."""
    both = seen.unsqueeze(-1) & seen.unsqueeze(-2)
    return torch.where(both, covariance, 0) + torch.diag_embed(torch.where(seen, LEAST_NOISE, 1.0).to(covariance))
