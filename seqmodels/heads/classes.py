"""Labels that are classes: a softmax over the classes of each label, trained by its cross-entropy."""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import torch
from torch import Generator, Tensor

from seqmodels.errors import InputError, require_fraction
from seqmodels.heads.base import Head
from seqmodels.window import WindowSpec

ABSENT = -1e9  # logit of a class that another label has: its probability is 0


class Classes(Head):
    """The logarithms of the class probabilities, up to a constant; a value is the number of a class, from 1 on.

    With several labels each has a softmax of its own, over its own classes.

    ``class_weights``: how much a sequence counts in the loss: null, all alike; "balanced", in inverse proportion to the
    frequency of its class in training; or a number for each class by name. ``label_smoothing``: share of the truth that
    is spread evenly over all classes.

    Source of the smoothing: Szegedy et al. 2016, section 7.
    """

    kind = "cross-entropy"
    classifies = True
    distribution = False
    parameters_per_value = 0  # set by ``bind``
    weights: Tensor  # (L, K)
    present: Tensor  # (L, K) bool

    def __init__(self, class_weights: str | Mapping[str, float] | None = None, label_smoothing: float = 0.0):
        super().__init__()
        require_fraction("model.head", label_smoothing=label_smoothing)
        if not (class_weights in (None, "balanced") or isinstance(class_weights, Mapping)):
            raise InputError(
                f"model.head.class_weights is {class_weights!r}; it must be null, balanced, or a number for each class"
                " such as {yes: 5, no: 1}."
            )
        self.class_weights, self.label_smoothing = class_weights, label_smoothing

    def bind(self, spec: WindowSpec) -> None:
        numbers = [name for name, values in zip(spec.labels, spec.classes, strict=True) if not values]
        if numbers or not spec.labels:
            what = f"data.label={numbers[0]} is a number" if numbers else "the data are to be forecast"
            raise InputError(
                f"model.head predicts classes, and {what}; use "
                + ("model=regressor or model/head=point" if numbers else "model/head=point")
                + (", or data.label_type=class." if numbers else ", or name the column of labels in data.label.")
            )
        self.parameters_per_value = max(map(len, spec.classes))
        sizes = torch.tensor([len(values) for values in spec.classes])
        self.register_buffer("present", torch.arange(self.parameters_per_value) < sizes[:, None], persistent=False)
        self.register_buffer("weights", self._weights(spec), persistent=False)

    def _weights(self, spec: WindowSpec) -> Tensor:
        """Weight of each class of each label, (L, K), 1 on average over the training sequences."""
        weights = torch.ones(len(spec.labels), self.parameters_per_value)
        shares = {category.column: category.shares for category in spec.categories}
        named = self.class_weights if isinstance(self.class_weights, Mapping) else {}
        given, known = {str(name): float(weight) for name, weight in named.items()}, set[str]()
        for row, (label, values) in enumerate(zip(spec.labels, spec.classes, strict=True)):
            known.update(values)
            share = torch.tensor(shares[label])
            if self.class_weights == "balanced":
                weights[row, : len(values)] = 1 / (len(values) * share)
            elif given:
                own = torch.tensor([given.get(value, 1.0) for value in values])
                weights[row, : len(values)] = own / (own * share).sum()
        unknown = sorted(set(given) - known)
        if unknown or min(given.values(), default=1.0) <= 0:
            what = f"{unknown[0]!r}, which is no class" if unknown else "a weight that is not greater than 0"
            raise InputError(f"model.head.class_weights holds {what}; the classes are {', '.join(sorted(known))}.")
        return weights

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.masked_fill(~self.present, ABSENT)

    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        """Cross-entropy: (B, S, H, L, K), class numbers (B, S, H, L) -> (B, S, H, L); 0 counts as the first class."""
        logs = parameters.float().log_softmax(dim=-1)
        index = (target.long() - 1).clamp(min=0).unsqueeze(-1)
        cost = -logs.gather(-1, index).squeeze(-1)
        if self.label_smoothing:
            spread = -(logs * self.present).sum(dim=-1) / self.present.sum(dim=-1)
            cost = (1 - self.label_smoothing) * cost + self.label_smoothing * spread
        if self.class_weights is None:
            return cost
        return cost * self.weights.expand(*index.shape[:-1], -1).gather(-1, index).squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Number of the most probable class."""
        return (parameters.argmax(dim=-1) + 1).to(parameters.dtype)

    def report(self, parameters: Tensor) -> Tensor:
        """Probabilities of the classes, (..., K)."""
        return parameters.float().softmax(dim=-1)

    def pool(self, members: Tensor, average: Callable[[Tensor], Tensor]) -> Tensor:
        """Average the probabilities, not their logarithms: a member that is sure must not decide alone."""
        return self(average(self.report(members)).clamp(min=torch.finfo(torch.float32).tiny).log().to(members))

    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        shares = self.report(parameters).flatten(0, -2)
        drawn = torch.multinomial(shares, count, replacement=True, generator=generator) + 1
        return drawn.T.reshape(count, *parameters.shape[:-1]).to(parameters)

    def spread(self, parameters: Tensor) -> Tensor:
        """Probability that the class is another one."""
        return 1 - self.report(parameters).amax(dim=-1)

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        return parameters

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> NoReturn:
        raise InputError("model.head predicts classes, which have no quantiles.")

    def crps(self, parameters: Tensor, target: Tensor) -> NoReturn:
        raise InputError("model.head predicts classes, which have no ranked probability score.")
