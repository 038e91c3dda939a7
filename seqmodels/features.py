"""What the backbone gets to see of a window at each step; it knows the contract only."""

import torch
from torch import Tensor, nn

from seqmodels.window import Inputs, WindowSpec


class Features(nn.Module):
    """Puts together the input features of each step, in this order: scaled target, its mask where values may be
    missing, past covariates, covariates known for the *next* step, static numbers; all but the first standardised.
    """

    past_mean: Tensor
    past_deviation: Tensor
    known_mean: Tensor
    known_deviation: Tensor
    static_mean: Tensor
    static_deviation: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec = spec
        given = {"past": spec.past_statistics, "known": spec.known_statistics, "static": spec.static_statistics}
        for name, statistics in given.items():
            self.register_buffer(f"{name}_mean", torch.tensor(statistics.mean), persistent=False)
            self.register_buffer(f"{name}_deviation", torch.tensor(statistics.deviation), persistent=False)

    def forward(self, inputs: Inputs, scaled: Tensor) -> Tensor:
        """Inputs and their scaled target (B, T, C) -> (B, T, F)."""
        steps = scaled.shape[1]
        parts = [scaled]
        if self.spec.missing:
            parts = [scaled * inputs.past_observed, inputs.past_observed.to(scaled.dtype)]
        if self.spec.past_covariates:
            parts.append((inputs.past_covariates - self.past_mean) / self.past_deviation)
        if self.spec.known_covariates:
            parts.append(self.known(inputs)[:, 1 : steps + 1])
        if self.spec.statics:
            parts.append(self.static(inputs).unsqueeze(1).expand(-1, steps, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def ahead(self, inputs: Inputs, value: Tensor, lead: int) -> Tensor:
        """(B, F) for the step ``lead`` = 1, 2, ... after the past, once ``value`` (B, C), scaled, has come true there.

        There are no past covariates then: a spec that has them cannot be asked.
        """
        parts = [value]
        if self.spec.missing:
            parts.append(torch.ones_like(value))
        if self.spec.known_covariates:
            parts.append(self.known(inputs)[:, inputs.past_target.shape[1] + lead])
        if self.spec.statics:
            parts.append(self.static(inputs))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else value

    def known(self, inputs: Inputs) -> Tensor:
        """Covariates known ahead, (B, T+H, K), standardised."""
        if not self.spec.known_covariates:
            return inputs.known_covariates
        return (inputs.known_covariates - self.known_mean) / self.known_deviation

    def static(self, inputs: Inputs) -> Tensor:
        """Numbers of each series, (B, V), standardised."""
        return (inputs.static - self.static_mean) / self.static_deviation
