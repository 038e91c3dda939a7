"""Labels by simple rules: the most frequent class, the mean, that of the nearest sequence, an earlier symbol again."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.heads.base import Head
from seqmodels.heads.classes import Classes
from seqmodels.heads.point import Point
from seqmodels.naive import sequence_lengths
from seqmodels.window import AbstractForecaster, Inputs, Origins, Output, Sample, Targets, WindowSpec

DISTANCES = ("euclidean", "dtw")
MOST_STORED = 10_000  # training sequences
MOST_PAIRS = 2**17  # of sequences that are compared at once
MOST_CELLS = 2e9  # of all matrices of dynamic time warping, about half a minute of one core
MOST_BACK = 64  # steps
CERTAIN = 1e4  # logit of a class that a rule is certain of: all other probabilities are 0


class LabelRule(AbstractForecaster):
    """A label of each sequence, or of each of its steps, by a rule, without weights and without a state."""

    certain = False  # True if it chooses a class, which gives no probabilities

    kinds = ("sequence", "step", "next")

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.spec, self.origins = spec, Origins(0 if spec.per_step else spec.past_steps - 1, 1)
        self.head: Head = Classes() if any(spec.classes) else Point()
        self.head.bind(spec)

    def predict(self, inputs: Inputs) -> Tensor:
        """Parameters of the head, (B, L, P), the same for all steps."""
        raise NotImplementedError

    def predict_steps(self, inputs: Inputs) -> Tensor:
        """Parameters of the head at each origin, (B, S, 1, L, P)."""
        steps = inputs.past_target.shape[1] if self.spec.per_step else 1
        return self.predict(inputs)[:, None, None].expand(-1, steps, -1, -1, -1)

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        if not self.spec.labels:
            raise InputError(
                "the model gives the label of a whole sequence, and the data have none: use data=sequences."
            )
        return Output(self.predict_steps(inputs))

    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        """Mean cost of the known labels."""
        given = self.predict_steps(inputs)
        observed = self.spec.aligned(inputs.past_observed, targets.observed, self.origins)
        cost = self.head.loss(given, self.spec.aligned(inputs.past_target, targets.target, self.origins)) * observed
        return Output(given if forecast else None, None, cost.sum() / observed.sum().clamp(min=1), observed.sum())


class Prior(LabelRule):
    """The same prediction for each sequence: the shares of the classes in training, or the mean of a number."""

    label: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__(spec)
        shares = {category.column: category.shares for category in spec.categories}
        label = torch.tensor(spec.label_statistics.mean).unsqueeze(-1)  # (L, P)
        if self.head.classifies:
            label = torch.full((len(spec.labels), self.head.parameters_per_value), -torch.inf)
            for row, name in enumerate(spec.labels):
                label[row, : len(shares[name])] = torch.tensor(shares[name]).log()
        self.register_buffer("label", label, persistent=False)

    def predict(self, inputs: Inputs) -> Tensor:
        return self.label.to(inputs.past_target.device).expand(len(inputs.past_target), -1, -1)


class NearestNeighbour(Prior):
    """The label of the nearest training sequence, in units of the deviation of each channel; ``Prior`` without a fit.

    ``distance``: "euclidean", where the shorter of two sequences is stretched to the longer one by linear
    interpolation; or "dtw", dynamic time warping of all channels together, without a window: the least sum of squared
    distances over all monotonic alignments. Missing values are replaced by the one before.

    Source of the warping: Sakoe and Chiba 1978; of the several channels: Shokoohi-Yekta et al. 2017 (dependent).
    """

    certain = True
    stored: Tensor
    lengths: Tensor
    labels: Tensor
    scale: Tensor

    def __init__(self, spec: WindowSpec, distance: str = "euclidean"):
        super().__init__(spec)
        require_choice(DISTANCES, "model", distance=distance)
        self.distance = distance
        self.register_buffer("scale", torch.tensor(spec.target_statistics.deviation), persistent=False)
        self.register_buffer("stored", torch.empty(0, 1, len(spec.channels)))
        self.register_buffer("lengths", torch.empty(0, dtype=torch.int64))
        self.register_buffer("labels", torch.empty(0, len(spec.labels)))
        self._register_load_state_dict_pre_hook(self._resize)

    def _resize(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """Make room for the sequences of a checkpoint."""
        for name in ("stored", "lengths", "labels"):
            setattr(self, name, torch.empty_like(state[f"{prefix}{name}"]))

    @property
    def affordable(self) -> bool:
        """True for labels of sequences of numbers; warping is for short ones."""
        cells = self.spec.past_steps**2 * min(self.spec.series, MOST_STORED) ** 2 / 4 * len(self.spec.channels)
        numbers = self.spec.kind == "sequence" and not any(self.spec.symbols)
        return numbers and (self.distance != "dtw" or cells <= MOST_CELLS)

    def fit_closed_form(self, sample: Sample) -> None:
        """Keep the training sequences, at most MOST_STORED."""
        parts = [(self._complete(window.inputs), window) for window in sample("train", MOST_STORED)]
        most = max(values.shape[1] for values, _ in parts)
        padded = [nn.functional.pad(values, (0, 0, 0, most - values.shape[1])) for values, _ in parts]
        self.stored = torch.cat(padded)
        self.lengths = torch.cat([sequence_lengths(window.inputs.past_observed) for _, window in parts])
        self.labels = torch.cat([window.targets.target[:, 0] for _, window in parts])

    def predict(self, inputs: Inputs) -> Tensor:
        if not len(self.stored):
            return super().predict(inputs)
        given, lengths = self._complete(inputs), sequence_lengths(inputs.past_observed)
        together = max(1, MOST_PAIRS // max(1, len(self.stored)))
        parts = zip(given.split(together), lengths.split(together), strict=True)
        nearest = torch.cat([self._distances(*part).argmin(dim=1) for part in parts])
        labels = self.labels[nearest]
        if not self.head.classifies:
            return labels.unsqueeze(-1)
        return CERTAIN * nn.functional.one_hot(labels.long() - 1, self.head.parameters_per_value).float()

    def _complete(self, inputs: Inputs) -> Tensor:
        """Values (B, T, C) in deviations; a missing value repeats the one before."""
        steps = torch.arange(inputs.past_target.shape[1], device=inputs.past_target.device)[None, :, None]
        last = torch.where(inputs.past_observed, steps, 0).cummax(dim=1).values
        return torch.gather(inputs.past_target, 1, last) / self.scale

    def _distances(self, given: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, C), (B,) -> squared distances from all stored sequences, (B, N)."""
        batch, count = len(given), len(self.stored)
        if self.distance == "dtw":
            first, second = given.repeat_interleave(count, 0), self.stored.repeat(batch, 1, 1)
            return warping(first, second, lengths.repeat_interleave(count), self.lengths.repeat(batch)).view(batch, -1)
        if bool((lengths == lengths[0]).all()) and bool((self.lengths == lengths[0]).all()):
            most = int(lengths[0])
            return torch.cdist(given[:, :most].flatten(1), self.stored[:, :most].flatten(1)).square()
        most = max(int(lengths.max()), int(self.lengths.max()))
        mine, other = stretch(given, lengths, most), stretch(self.stored, self.lengths, most)
        return torch.cdist(mine.flatten(1), other.flatten(1)).square()


class SymbolBack(Prior):
    """Predicts that the symbol, or number, of ``back`` steps before comes again: 1 is the last one.

    "auto": as many steps, at most MOST_BACK, as repeat most often in the training sequences. ``Prior`` for the first
    steps of a sequence.
    """

    certain = True
    steps: Tensor

    def __init__(self, spec: WindowSpec, back: int | Literal["auto"] = "auto"):
        super().__init__(spec)
        if back != "auto":
            require_at_least(1, "model", back=back)
        self.back = back
        self.register_buffer("steps", torch.tensor(1 if back == "auto" else back))

    @property
    def affordable(self) -> bool:
        """True for the next value of a sequence."""
        return self.spec.kind == "next"

    @property
    def description(self) -> tuple[str, ...]:
        """The number of steps found, in words."""
        return (f"the value of {int(self.steps)} steps before",) if self.back == "auto" else ()

    def fit_closed_form(self, sample: Sample) -> None:
        """Find the number of steps."""
        if self.back != "auto":
            return
        most = min(MOST_BACK, self.spec.past_steps)
        hits = torch.zeros(most)
        for window in sample("train", MOST_STORED):
            past, (target, observed) = window.inputs.past_target, window.targets
            for back in range(min(most, past.shape[1])):
                known = observed[:, back:] & window.inputs.past_observed[:, : past.shape[1] - back]
                hits[back] += ((target[:, back:] == past[:, : past.shape[1] - back]) & known).sum()
        self.steps.fill_(int(hits.argmax()) + 1)

    def predict_steps(self, inputs: Inputs) -> Tensor:
        back, steps = int(self.steps) - 1, inputs.past_target.shape[1]
        values = nn.functional.pad(inputs.past_target, (0, 0, back, 0))[:, :steps, None]
        seen = nn.functional.pad(inputs.past_observed, (0, 0, back, 0))[:, :steps, None, :, None]
        if self.head.classifies:
            classes = nn.functional.one_hot(values.long(), self.head.parameters_per_value + 1)[..., 1:]
            seen = seen & (values > 0).unsqueeze(-1)
            again = CERTAIN * classes.float()
        else:
            again = values.unsqueeze(-1)
        return torch.where(seen, again, super().predict_steps(inputs))


def stretch(values: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Sequences (B, T, C) of these lengths, each interpolated to ``steps``."""
    places = torch.linspace(0, 1, steps, device=values.device) * (lengths - 1).unsqueeze(1)
    low = places.floor().long()
    high = torch.minimum(low + 1, (lengths - 1).unsqueeze(1))
    part = (places - low).unsqueeze(-1)
    below, above = (torch.take_along_dim(values, index.unsqueeze(-1), dim=1) for index in (low, high))
    return below + part * (above - below)


def warping(first: Tensor, second: Tensor, lengths: Tensor, others: Tensor) -> Tensor:
    """Dynamic time warping distance of pairs (N, T, C), (N, U, C) of these lengths, (N,); computed by diagonals."""
    count, rows, columns = len(first), first.shape[1], second.shape[1]
    before = two_before = torch.full((count, rows + 1), torch.inf, device=first.device)
    before[:, 0] = 0  # cell (i, j) is at place i + 1 of diagonal i + j; here that of (-1, -1)
    two_before, before = before, torch.full_like(before, torch.inf)
    result = torch.full((count,), torch.inf, device=first.device)
    for diagonal in range(rows + columns - 1):
        low, high = max(0, diagonal - columns + 1), min(diagonal, rows - 1) + 1
        mine = first[:, low:high]
        theirs = second[:, diagonal - high + 1 : diagonal - low + 1].flip(1)
        cost = (mine - theirs).square().sum(dim=2)
        least = torch.minimum(
            torch.minimum(before[:, low:high], before[:, low + 1 : high + 1]), two_before[:, low:high]
        )
        here = torch.full_like(before, torch.inf)
        here[:, low + 1 : high + 1] = cost + least
        ended = lengths + others - 2 == diagonal
        result = torch.where(ended, here.gather(1, lengths.unsqueeze(1))[:, 0], result)
        two_before, before = before, here
    return result
