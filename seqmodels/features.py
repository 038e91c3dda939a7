"""What the backbone gets to see of a window at each step; it knows the contract only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqmodels.window import ONE_HOT, Category, Inputs, Statistics, WindowSpec


class Features(nn.Module):
    """Puts together the input features of each step, in this order: scaled target, its mask where values may be
    missing, past covariates, covariates known for the *next* step, static columns; see ``Columns`` for all but the
    first two.
    """

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec = spec
        self.past_columns = Columns(spec.past_covariates, spec.past_statistics, spec.categories)
        self.known_columns = Columns(spec.known_covariates, spec.known_statistics, spec.categories)
        self.static_columns = Columns(spec.statics, spec.static_statistics, spec.categories)

    def forward(self, inputs: Inputs, scaled: Tensor, known: Tensor) -> Tensor:
        """Inputs, their scaled target (B, T, C) and their encoded ``known`` covariates -> (B, T, F)."""
        steps = scaled.shape[1]
        parts = [scaled]
        if self.spec.missing:
            parts = [scaled * inputs.past_observed, inputs.past_observed.to(scaled.dtype)]
        if self.spec.past_covariates:
            parts.append(self.past_columns(inputs.past_covariates))
        if self.spec.known_covariates:
            parts.append(known[:, 1 : steps + 1])
        if self.spec.statics:
            parts.append(self.static_columns(inputs.static).unsqueeze(1).expand(-1, steps, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def ahead(self, inputs: Inputs, known: Tensor) -> Callable[[Tensor, int], Tensor]:
        """What gives (B, F) for the step ``lead`` = 1, 2, ... after the past, once ``value`` (B, C), scaled, has come
        true there. There are no past covariates then: a spec that has them cannot be asked.
        """
        steps, static = inputs.past_target.shape[1], self.static_columns(inputs.static)

        def features(value: Tensor, lead: int) -> Tensor:
            parts = [value]
            if self.spec.missing:
                parts.append(torch.ones_like(value))
            if self.spec.known_covariates:
                parts.append(known[:, steps + lead])
            if self.spec.statics:
                parts.append(static)
            return torch.cat(parts, dim=-1) if len(parts) > 1 else value

        return features

    def known(self, inputs: Inputs) -> Tensor:
        """Covariates known ahead, (B, T+H, K), as the network sees them: (B, T+H, encoded)."""
        return self.known_columns(inputs.known_covariates) if self.spec.known_covariates else inputs.known_covariates


class Columns(nn.Module):
    """Columns as numbers around 0 with a deviation of 1, over the training span: (..., columns) -> (..., encoded).

    A number is standardised. Of a category each value becomes a row of a table: one standardised indicator for each
    value where there are few, else a vector that is learned. A value that is unknown (0) becomes zeros.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, columns: tuple[str, ...], statistics: Statistics, categories: tuple[Category, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(statistics.mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(statistics.deviation), persistent=False)
        given = {category.column: category for category in categories}
        self.places = [place for place, column in enumerate(columns) if column in given]
        self.tables = nn.ModuleList(table(given[columns[place]]) for place in self.places)

    def forward(self, values: Tensor) -> Tensor:
        numbers = (values - self.mean) / self.deviation
        if not self.places:
            return numbers
        parts, start = [], 0
        for place, rows in zip(self.places, self.tables, strict=True):
            parts += [numbers[..., start:place], rows(values[..., place].long())]
            start = place + 1
        return torch.cat([*parts, numbers[..., start:]], dim=-1)


def table(category: Category) -> nn.Module:
    """Gives the row for each number of a category: (...) int64 -> (..., width).

    The learned rows begin with a deviation of 1, like numbers that were standardised.
    """
    if len(category.values) <= ONE_HOT:
        return Indicators(category.shares)
    return nn.Embedding(len(category.values) + 1, category.width, padding_idx=0)


class Indicators(nn.Module):
    """One number for each value: (is it - share) / sqrt(share (1 - share)), so mean 0 and deviation 1 over the span."""

    rows: Tensor

    def __init__(self, shares: tuple[float, ...]):
        super().__init__()
        share = torch.tensor(shares)
        variance = share * (1 - share)
        deviation = torch.where(variance > 0, variance, 1.0).sqrt()  # of a value that is always or never there: 1
        rows = (torch.eye(len(share)) - share) / deviation
        self.register_buffer("rows", nn.functional.pad(rows, (0, 0, 1, 0)), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        return nn.functional.embedding(numbers, self.rows)
