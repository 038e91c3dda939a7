"""Distributions trained by their likelihood: normal, Laplace and Student's t, and the negative binomial of counts.

SciPy computes what torch lacks: on the CPU, in float64, without gradient.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from seqmodels.heads.base import Head, positive

SMALLEST = 1e-3  # in the scaler's units: a smaller scale would make the likelihood of a constant series infinite
FEWEST, LEAST_DISPERSION, MOST_DISPERSION = 1e-6, 1e-6, 1e4  # of counts


class LocationScale(Head):
    """Parameters: location, scale and, where the distribution has one, a shape that no unit changes.

    The loss is the negative log-likelihood, in the scaler's units. Subclasses describe the standard distribution, of
    location 0 and scale 1: ``shape`` (...) broadcasts against everything.
    """

    kind = "negative log-likelihood"
    parameters_per_value = 2

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.cat([outputs[..., :1], SMALLEST + positive(outputs[..., 1:2])], dim=-1)

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        location, scale, shape = self._split(parameters)
        return scale.log() - self.log_density((target - location) / scale, shape)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        location, scale, shape = self._split(parameters.unsqueeze(-2))
        standard = self.standard_quantile(torch.tensor(list(levels), dtype=torch.float64, device=scale.device), shape)
        return location + scale * standard.to(scale)

    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        location, scale, shape = self._split(parameters.expand(count, *parameters.shape))
        return location + scale * self.draw(scale, shape, generator)

    def mirror(self, parameters: Tensor) -> Tensor:
        return torch.cat([-parameters[..., :1], parameters[..., 1:]], dim=-1)

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        location, own = parameters[..., 0] * scale + centre, parameters[..., 1] * scale
        return torch.cat([torch.stack([location, own], dim=-1), parameters[..., 2:]], dim=-1)

    def crps(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Continuous ranked probability score in closed form; source: Jordan, Krüger and Lerch 2019, appendix A."""
        location, scale, shape = self._split(parameters)
        return scale * self.standard_crps((target - location) / scale, shape)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, scale and shape; without a shape, the scale stands there."""
        return parameters[..., 0], parameters[..., 1], parameters[..., -1]

    @abstractmethod
    def log_density(self, value: Tensor, shape: Tensor) -> Tensor:
        """Logarithm of the density."""

    @abstractmethod
    def standard_quantile(self, level: Tensor, shape: Tensor) -> Tensor:
        """Quantiles at ``level`` (Q,) float64."""

    @abstractmethod
    def draw(self, like: Tensor, shape: Tensor, generator: Generator | None) -> Tensor:
        """Independent draws of the shape of ``like``."""

    @abstractmethod
    def standard_crps(self, value: Tensor, shape: Tensor) -> Tensor:
        """Continuous ranked probability score of ``value``."""


class Normal(LocationScale):
    """Normal distribution: mean and standard deviation.

    ``lead_weights`` and ``sample_weights``: see ``Head``.
    """

    def log_density(self, value: Tensor, shape: Tensor) -> Tensor:
        return -0.5 * value.square() - 0.5 * math.log(2 * math.pi)

    def standard_quantile(self, level: Tensor, shape: Tensor) -> Tensor:
        return torch.special.ndtri(level)

    def draw(self, like: Tensor, shape: Tensor, generator: Generator | None) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)

    def standard_crps(self, value: Tensor, shape: Tensor) -> Tensor:
        density = torch.exp(self.log_density(value, shape))
        return value * torch.erf(value / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)


class Laplace(LocationScale):
    """Laplace distribution: median and mean absolute deviation.

    ``lead_weights`` and ``sample_weights``: see ``Head``.
    """

    def log_density(self, value: Tensor, shape: Tensor) -> Tensor:
        return -value.abs() - math.log(2)

    def standard_quantile(self, level: Tensor, shape: Tensor) -> Tensor:
        return torch.where(level < 0.5, torch.log(2 * level), -torch.log(2 * (1 - level)))

    def draw(self, like: Tensor, shape: Tensor, generator: Generator | None) -> Tensor:
        first, second = torch.empty(2, *like.shape, dtype=like.dtype, device=like.device).exponential_(
            generator=generator
        )
        return first - second

    def standard_crps(self, value: Tensor, shape: Tensor) -> Tensor:
        return value.abs() + torch.exp(-value.abs()) - 0.75


class StudentT(LocationScale):
    """Student's t distribution: mean, scale, and between 2 and 200 degrees of freedom, 6 with an output of 0.

    The fewer they are, the heavier the tails. ``lead_weights`` and ``sample_weights``: see ``Head``.
    """

    parameters_per_value = 3

    def forward(self, outputs: Tensor) -> Tensor:
        degrees = 2 + 198 * torch.sigmoid(outputs[..., 2:] - math.log(97 / 2))
        return torch.cat([super().forward(outputs), degrees], dim=-1)

    def log_density(self, value: Tensor, shape: Tensor) -> Tensor:
        tails = torch.log1p(value.square() / shape) * (shape + 1) / 2
        return torch.lgamma((shape + 1) / 2) - torch.lgamma(shape / 2) - 0.5 * torch.log(math.pi * shape) - tails

    def standard_quantile(self, level: Tensor, shape: Tensor) -> Tensor:
        return student_t_quantile(level, shape.double())

    def draw(self, like: Tensor, shape: Tensor, generator: Generator | None) -> Tensor:
        normal = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        chi_squared = 2 * torch._standard_gamma(shape.contiguous() / 2, generator=generator)
        return normal * (shape / chi_squared.clamp(min=torch.finfo(like.dtype).tiny)).sqrt()

    def standard_crps(self, value: Tensor, shape: Tensor) -> Tensor:
        below, density = student_t_cdf(value, shape), torch.exp(self.log_density(value, shape))
        beta = 2 * log_beta(shape / 2) - log_beta(shape - 0.5)
        least = 2 * shape.sqrt() / (shape - 1) * torch.exp(-beta)
        return value * (2 * below - 1) + 2 * density * (shape + value.square()) / (shape - 1) - least


def log_beta(second: Tensor) -> Tensor:
    """Logarithm of the beta function of 1/2 and ``second``."""
    return math.log(math.pi) / 2 + torch.lgamma(second) - torch.lgamma(second + 0.5)


class NegativeBinomial(Head):
    """Negative binomial distribution: mean m and dispersion a, in counts; the variance is m + a m^2.

    With the centre c and the scale s of the scaler, outputs x and z of the network give m = s softplus(c / s + x) and
    a = softplus(z) / sqrt(s), shifted to 1 for z = 0. The loss is the negative log-likelihood of the counts.

    Source: Salinas et al. 2020 (DeepAR), section 3.1, where c is 0.

    ``lead_weights`` and ``sample_weights``: see ``Head``.
    """

    kind = "negative log-likelihood"
    parameters_per_value = 2
    in_data_units = True

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        wide = parameters if parameters.device.type == "mps" else parameters.double()
        (mean, dispersion), count = wide.unbind(-1), target.to(wide).clamp(min=0)
        shape = 1 / dispersion
        product = dispersion * mean
        density = torch.lgamma(count + shape) - torch.lgamma(count + 1) - torch.lgamma(shape)
        density = density - shape * torch.log1p(product) + count * (product.log() - torch.log1p(product))
        return -density.to(parameters)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        mean, dispersion = parameters.unsqueeze(-2).unbind(-1)
        level = torch.tensor(list(levels), dtype=torch.float64)
        return negative_binomial_quantile(level, mean, dispersion).to(parameters)

    def spread(self, parameters: Tensor) -> Tensor:
        """Standard deviation, which is never 0."""
        mean, dispersion = parameters.unbind(-1)
        return (mean + dispersion * mean.square()).sqrt()

    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        mean, dispersion = parameters.expand(count, *parameters.shape).unbind(-1)
        rate = torch._standard_gamma(1 / dispersion, generator=generator) * dispersion * mean
        return torch.poisson(rate, generator=generator)

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Outputs of the network -> parameters in counts."""
        output, spread = parameters.unbind(-1)
        mean = FEWEST + scale * nn.functional.softplus(centre / scale + output)
        dispersion = (positive(spread) / scale.sqrt()).clamp(LEAST_DISPERSION, MOST_DISPERSION)
        return torch.stack([mean, dispersion.expand_as(mean)], dim=-1)


def student_t_cdf(value: Tensor, degrees: Tensor) -> Tensor:
    """Probability of at most ``value`` under Student's t distribution."""
    from scipy.special import stdtr

    return _call(stdtr, degrees, value)


def student_t_quantile(level: Tensor, degrees: Tensor) -> Tensor:
    """Inverse of ``student_t_cdf``."""
    from scipy.special import stdtrit

    return _call(stdtrit, degrees, level)


def negative_binomial_quantile(level: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """The smallest count with at least that probability at or below it; the variance is mean + dispersion mean^2."""
    from scipy.stats import nbinom

    shape = 1 / dispersion.double()
    return _call(nbinom.ppf, level, shape, shape / (shape + mean.double()))


def _call(function: Any, *arguments: Tensor) -> Tensor:
    """The function of broadcast arguments, with the type and on the device of the first one."""
    like = arguments[-1]
    result = function(*(argument.detach().cpu().double().numpy() for argument in arguments))
    return torch.as_tensor(result).to(like)
