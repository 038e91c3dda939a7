"""Input features of a backbone: targets, masks, covariates and static columns, encoded as numbers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqmodels.window import ONE_HOT, Category, Inputs, Statistics, WindowSpec


class FeatureEncoder(nn.Module):
    """Concatenate the input features of each step.

    In this order: scaled target; its mask, if values may be missing; past covariates; known covariates of the *next*
    step; static columns. Covariates, static columns and symbols of the target are encoded by ``ColumnEncoder``.
    """

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec = spec
        as_they_are = Statistics((0.0,) * len(spec.channels), (1.0,) * len(spec.channels))
        self.symbols = ColumnEncoder(spec.channels, as_they_are, spec.categories) if any(spec.symbols) else None
        self.past_columns = ColumnEncoder(spec.past_covariates, spec.past_statistics, spec.categories)
        self.known_columns = ColumnEncoder(spec.known_covariates, spec.known_statistics, spec.categories)
        self.static_columns = ColumnEncoder(spec.statics, spec.static_statistics, spec.categories)

    def forward(self, inputs: Inputs, scaled: Tensor, known: Tensor, estimate: Tensor | None = None) -> Tensor:
        """Features (B, T, F), from the scaled target (B, T, C) and the output of ``encode_known``.

        ``estimate`` (B, T, C): what stands in place of values not observed; None: 0.
        """
        steps = scaled.shape[1]
        parts = [scaled * inputs.past_observed if self.spec.missing else scaled]
        if estimate is not None:
            parts = [torch.where(inputs.past_observed, scaled, estimate)]
        if self.symbols is not None:
            raw = torch.tensor(self.spec.symbols, device=scaled.device)
            parts = [self.symbols(torch.where(raw, inputs.past_target, parts[0]))]
        if self.spec.missing:
            parts.append(inputs.past_observed.to(scaled.dtype))
        if self.spec.past_covariates:
            parts.append(self.past_columns(inputs.past_covariates))
        if self.spec.known_covariates:
            parts.append(known[:, 1 : steps + 1])
        if self.spec.statics:
            parts.append(self.static_columns(inputs.static).unsqueeze(1).expand(-1, steps, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def encode_known(self, inputs: Inputs) -> Tensor:
        """Encode the known covariates: (B, T+H, K) -> (B, T+H, encoded)."""
        return self.known_columns(inputs.known_covariates) if self.spec.known_covariates else inputs.known_covariates

    def future_encoder(self, inputs: Inputs, known: Tensor) -> Callable[[Tensor, int], Tensor]:
        """Return a function (value, lead) -> features (B, F) of the step ``lead`` = 1, 2, ... after the past.

        ``value`` is the scaled target (B, C) at that step. Not available with past covariates, whose future is unknown.
        """
        steps, static = inputs.past_target.shape[1], self.static_columns(inputs.static)

        def encode(value: Tensor, lead: int) -> Tensor:
            parts = [value]
            if self.spec.missing:
                parts.append(torch.ones_like(value))
            if self.spec.known_covariates:
                parts.append(known[:, steps + lead])
            if self.spec.statics:
                parts.append(static)
            return torch.cat(parts, dim=-1) if len(parts) > 1 else value

        return encode


class ColumnEncoder(nn.Module):
    """Encode columns with mean 0 and standard deviation 1 over the training span: (..., columns) -> (..., encoded).

    Numbers are standardised. Categories become standardised one-hot vectors if they have few values, otherwise learned
    embeddings; an unknown value (0) becomes zeros.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, columns: tuple[str, ...], statistics: Statistics, categories: tuple[Category, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(statistics.mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(statistics.deviation), persistent=False)
        by_column = {category.column: category for category in categories}
        self.positions = [position for position, column in enumerate(columns) if column in by_column]
        self.tables = nn.ModuleList(category_encoder(by_column[columns[position]]) for position in self.positions)

    def forward(self, values: Tensor) -> Tensor:
        numbers = (values - self.mean) / self.deviation
        if not self.positions:
            return numbers
        parts, start = [], 0
        for position, table in zip(self.positions, self.tables, strict=True):
            parts += [numbers[..., start:position], table(values[..., position].long())]
            start = position + 1
        return torch.cat([*parts, numbers[..., start:]], dim=-1)


def category_encoder(category: Category) -> nn.Module:
    """Return the module that encodes the values of a category: (...) int64 -> (..., width).

    torch initialises embeddings with standard deviation 1, which matches the standardised numbers.
    """
    if len(category.values) <= ONE_HOT:
        return StandardisedOneHot(category.shares)
    return nn.Embedding(len(category.values) + 1, category.width, padding_idx=0)


class StandardisedOneHot(nn.Module):
    """One-hot vector, standardised by the share of each value: (is_value - share) / sqrt(share (1 - share)).

    Value 0 stands for unknown and becomes zeros.
    """

    rows: Tensor

    def __init__(self, shares: tuple[float, ...]):
        super().__init__()
        share = torch.tensor(shares)
        variance = share * (1 - share)
        deviation = torch.where(variance > 0, variance, 1.0).sqrt()  # 1 for a value that occurs always or never
        rows = (torch.eye(len(share)) - share) / deviation
        self.register_buffer("rows", nn.functional.pad(rows, (0, 0, 1, 0)), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.embedding(values, self.rows)
