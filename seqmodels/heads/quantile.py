"""Quantile forecasts: values at several levels, in order by construction, trained by the pinball loss."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from seqmodels.errors import InputError
from seqmodels.heads.base import DECILES, Head, positive, quantile_loss


class Quantile(Head):
    """Quantiles at ``levels``, by default the deciles; parameters are their values.

    The network gives the quantile nearest to the median and the steps from there to both sides, in units of those of a
    normal distribution, through a softplus: quantiles never cross, and with outputs of 0 they are normal ones. The
    forecast to report is the median. Between the levels and beyond them, quantiles are linear in the logit of the
    level, so that tails are exponential and any level between 0 and 1 may be asked for.

    Source: Park et al. 2022, "Learning quantile functions without quantile crossing" (increments and tails); Wen et
    al. 2017 (the loss).

    ``lead_weights`` and ``sample_weights``: see ``Head``. Raises InputError for levels that are not in order.
    """

    kind = "quantile loss"
    values_only = True
    known: Tensor
    gaps: Tensor

    def __init__(
        self,
        levels: Sequence[float] = DECILES,
        lead_weights: Sequence[float] | None = None,
        sample_weights: str = "equal",
    ):
        super().__init__(lead_weights, sample_weights)
        inside = [level for level in levels if 0 < level < 1]
        if len(inside) < 2 or list(levels) != sorted(set(inside)):
            raise InputError(
                f"model.head.levels is {list(levels)}; it must hold at least two levels between 0 and 1, in rising"
                " order, such as [0.1, 0.5, 0.9]."
            )
        self.levels, self.parameters_per_value = tuple(levels), len(levels)
        self.middle = min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5))
        asked = torch.tensor(self.levels, dtype=torch.float64)
        self.register_buffer("known", asked.logit().float(), persistent=False)
        self.register_buffer("gaps", torch.special.ndtri(asked).diff().float(), persistent=False)

    def extra_repr(self) -> str:
        return f"levels={list(self.levels)}"

    def forward(self, outputs: Tensor) -> Tensor:
        centre = outputs[..., self.middle : self.middle + 1]
        below = self.gaps[: self.middle] * positive(outputs[..., : self.middle])
        above = self.gaps[self.middle :] * positive(outputs[..., self.middle + 1 :])
        lower = centre - below.flip(-1).cumsum(dim=-1).flip(-1)
        return torch.cat([lower, centre, centre + above.cumsum(dim=-1)], dim=-1)

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        return quantile_loss(parameters, target, self.levels)

    def mean(self, parameters: Tensor) -> Tensor:
        """The median."""
        return self.quantiles(parameters, [0.5])[..., 0]

    def mirror(self, parameters: Tensor) -> Tensor:
        if any(abs(low + high - 1) > 1e-6 for low, high in zip(self.levels, self.levels[::-1], strict=True)):
            raise InputError(
                f"model.flip=true needs levels that lie evenly around 0.5, such as [0.1, 0.5, 0.9], and"
                f" model.head.levels is {list(self.levels)}; change them, or set model.flip=false."
            )
        return -parameters.flip(-1)

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        return parameters * scale.unsqueeze(-1) + centre.unsqueeze(-1)

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        wanted = torch.tensor(list(levels), dtype=torch.float64).logit().to(parameters)
        return self._interpolate(parameters, wanted.expand(*parameters.shape[:-1], -1))

    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        shape = (*parameters.shape[:-1], count)
        uniform = torch.rand(shape, generator=generator, dtype=parameters.dtype, device=parameters.device)
        return self._interpolate(parameters, uniform.logit(eps=2.0**-24)).movedim(-1, 0)

    def _interpolate(self, parameters: Tensor, logit: Tensor) -> Tensor:
        """Quantiles at levels given by their logit, (..., Q), (..., L) -> (..., L)."""
        known = self.known.to(parameters)
        upper = torch.searchsorted(known, logit.contiguous()).clamp(1, len(known) - 1)
        share = (logit - known[upper - 1]) / (known[upper] - known[upper - 1])
        high, low = parameters.gather(-1, upper), parameters.gather(-1, upper - 1)
        within = torch.minimum(low + share * (high - low), torch.where(share <= 1, high, torch.inf))
        return torch.where(share > 1, high + (share - 1) * (high - low), within)
