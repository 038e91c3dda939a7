"""Forecasts of counts: the negative binomial distribution, in the data's own units."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from seqmodels.heads.base import Head, positive
from seqmodels.heads.special import negative_binomial_quantile

FEWEST, LEAST_DISPERSION, MOST_DISPERSION = 1e-6, 1e-6, 1e4


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
