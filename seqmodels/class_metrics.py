"""Accuracy of predicted classes: from the probabilities of all sequences, or from counts over all their steps."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from seqmodels.metrics import ForecastErrors, Measure
from seqmodels.window import Inputs, Targets, WindowSpec

BINS = 15  # of the calibration error, by confidence
MOST_LOG_LOSS = 700.0  # of which exp is still a number
SMALLEST = 1e-7  # probability of the truth that the log loss counts, about what float32 tells from 0


class Labelled(NamedTuple):
    """Probabilities (N, K) of one label, beside its true classes (N,), from 0 on; only of known truth."""

    probabilities: Tensor
    truth: Tensor
    certain: bool = False  # True if a rule chose the class, which gives no probabilities

    @property
    def chosen(self) -> Tensor:
        return self.probabilities.argmax(dim=-1)

    @property
    def classes(self) -> int:
        return self.probabilities.shape[-1]

    def confusion(self) -> Tensor:
        """Counts by true and predicted class, (K, K)."""
        return multiclass_confusion_matrix(self.chosen, self.truth, self.classes)


def accuracy(one: Labelled) -> float:
    return float((one.chosen == one.truth).double().mean())


def balanced_accuracy(one: Labelled) -> float:
    """Mean recall of the classes that occur."""
    counts = one.confusion().double()
    there = counts.sum(dim=1) > 0
    return float((counts.diagonal()[there] / counts.sum(dim=1)[there]).mean())


def macro_f1(one: Labelled) -> float:
    return float(multiclass_f1_score(one.chosen, one.truth, one.classes, average="macro"))


def auroc(one: Labelled) -> float:
    """Mean over the classes that occur, of each against all others; NaN without probabilities or with one class."""
    if one.certain:
        return math.nan
    there = [index for index in range(one.classes) if 0 < int((one.truth == index).sum()) < len(one.truth)]
    areas = [binary_auroc(one.probabilities[:, index], (one.truth == index).long()) for index in there]
    return float(torch.stack(areas).mean()) if areas else math.nan


def log_loss(one: Labelled) -> float:
    if one.certain:
        return math.nan
    true = one.probabilities.gather(-1, one.truth.unsqueeze(-1)).double()
    return float(-true.clamp(min=SMALLEST).log().mean())


def calibration_error(one: Labelled) -> float:
    """Mean difference between confidence and accuracy over bins of confidence (Guo et al. 2017)."""
    if one.certain:
        return math.nan
    return float(multiclass_calibration_error(one.probabilities, one.truth, one.classes, n_bins=BINS, norm="l1"))


CLASS_MEASURES: dict[str, Measure] = {
    "accuracy": Measure("accuracy", accuracy, smaller_is_better=False),
    "balanced_accuracy": Measure("balanced", balanced_accuracy, smaller_is_better=False),
    "macro_f1": Measure("macro F1", macro_f1, smaller_is_better=False),
    "auroc": Measure("AUROC", auroc, smaller_is_better=False),
    "log_loss": Measure("log loss", log_loss),
    "calibration_error": Measure("calibration", calibration_error),
}


class ClassTable(NamedTuple):
    """Probabilities of the classes of all sequences of a stage, and the truth, for each label."""

    probabilities: Tensor  # (N, L, K)
    truth: Tensor  # (N, L) int64, number of the class from 1 on; 0 where it does not count
    series: Tensor  # (N,) int64
    sizes: tuple[int, ...]  # classes of each label
    certain: bool = False

    @property
    def measures(self) -> dict[str, Measure]:
        """Measures of classes."""
        return CLASS_MEASURES

    @property
    def banded(self) -> bool:
        """False: classes have no bands."""
        return False

    def labels(self) -> list[Labelled]:
        """Each label by itself, of sequences whose class is known."""
        known = self.truth > 0
        return [
            Labelled(
                self.probabilities[known[:, index], index, :size], self.truth[known[:, index], index] - 1, self.certain
            )
            for index, size in enumerate(self.sizes)
        ]

    def summary(self, naive: Any = None) -> dict[str, float]:
        """Each measure, its mean over the labels; NaN where no class is known."""
        labels = [one for one in self.labels() if len(one.truth)]
        return {name: average([measure.compute(one) for one in labels]) for name, measure in CLASS_MEASURES.items()}

    def mean(self, dim: int | None = None) -> list[Any]:
        """An empty list: a label has no lead."""
        return []

    def channel(self, index: int) -> "ClassTable":
        """The table of one label."""
        part = slice(index, index + 1)
        return ClassTable(self.probabilities[:, part], self.truth[:, part], self.series, self.sizes[part], self.certain)


class Counted(NamedTuple):
    """Counts of one label by true and predicted class (K, K), and the sum of -log of the probability of the truth."""

    counts: Tensor
    loss: float  # NaN without probabilities

    def confusion(self) -> Tensor:
        """Counts by true and predicted class, (K, K)."""
        return self.counts

    def accuracy(self) -> float:
        return float(self.counts.diagonal().sum() / self.counts.sum())

    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur or are predicted."""
        both = (self.counts.sum(dim=0) + self.counts.sum(dim=1)).double()
        return float((2 * self.counts.diagonal()[both > 0] / both[both > 0]).mean())

    def log_loss(self) -> float:
        return self.loss / int(self.counts.sum())

    def perplexity(self) -> float:
        """Number of equally probable classes among which a choice would be as uncertain."""
        return math.exp(min(self.log_loss(), MOST_LOG_LOSS))


STEP_MEASURES: dict[str, Measure] = {
    "accuracy": Measure("accuracy", Counted.accuracy, smaller_is_better=False),
    "macro_f1": Measure("macro F1", Counted.macro_f1, smaller_is_better=False),
    "log_loss": Measure("log loss", Counted.log_loss),
    "perplexity": Measure("perplexity", Counted.perplexity),
}


class StepTable(NamedTuple):
    """Counts over all labelled steps of a stage, one label after the other."""

    counted: list[Counted]

    @property
    def measures(self) -> dict[str, Measure]:
        """Measures of labels at each step."""
        return STEP_MEASURES

    @property
    def banded(self) -> bool:
        """False: classes have no bands."""
        return False

    def labels(self) -> list[Counted]:
        """Each label by itself."""
        return self.counted

    def summary(self, naive: Any = None) -> dict[str, float]:
        """Each measure, its mean over the labels; NaN where no class is known."""
        known = [one for one in self.counted if one.counts.any()]
        return {name: average([measure.compute(one) for one in known]) for name, measure in STEP_MEASURES.items()}

    def mean(self, dim: int | None = None) -> list[Any]:
        """Nothing: a label has no lead."""
        return []

    def channel(self, index: int) -> "StepTable":
        """The same for one label."""
        return StepTable(self.counted[index : index + 1])


def average(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


class ClassScores:
    """Collects the probabilities of each sequence, on the CPU."""

    seasonal_errors = None
    measures = CLASS_MEASURES

    def __init__(self, spec: WindowSpec, certain: bool = False):
        self.certain = certain
        self.channels, self.sizes = spec.predicted, tuple(map(len, spec.classes))
        self.reset()

    def to(self, device: torch.device) -> "ClassScores":
        """Return self: probabilities are collected on the CPU, for any device."""
        return self

    def reset(self) -> None:
        labels = len(self.sizes)
        self.probabilities = [torch.empty(0, labels, max(self.sizes))]
        self.truth = [torch.empty(0, labels, dtype=torch.int64)]
        self.series = [torch.empty(0, dtype=torch.int64)]

    def update(self, probabilities: Tensor, inputs: Inputs, targets: Targets) -> None:
        """Collect one batch: probabilities (B, 1, L, K) and class numbers (B, 1, L)."""
        self.probabilities.append(probabilities[:, 0].detach().float().cpu())
        self.truth.append((targets.target[:, 0] * targets.observed[:, 0]).long().cpu())
        self.series.append(inputs.series.cpu())

    @property
    def windows(self) -> int:
        """Number of sequences so far."""
        return sum(map(len, self.series))

    def results(self) -> ClassTable:
        """The table of all sequences so far."""
        return ClassTable(
            torch.cat(self.probabilities), torch.cat(self.truth), torch.cat(self.series), self.sizes, self.certain
        )

    @property
    def channels_not_finite(self) -> list[str]:
        """Labels with a probability so far that is no number."""
        finite = torch.cat(self.probabilities).isfinite().all(dim=-1).all(dim=0).tolist()
        return [name for name, good in zip(self.channels, finite, strict=True) if not good]


class StepScores:
    """Counts labelled steps by true and predicted class, on their device."""

    seasonal_errors = None
    measures = STEP_MEASURES
    counts: list[Tensor]  # (K, K) of each label
    losses: Tensor  # (L,)

    def __init__(self, spec: WindowSpec, certain: bool = False):
        self.certain, self.channels = certain, spec.predicted
        self.sizes = tuple(map(len, spec.classes))
        self.reset()

    def to(self, device: torch.device) -> "StepScores":
        """Itself, with its sums on the device."""
        self.counts, self.losses = [one.to(device) for one in self.counts], self.losses.to(device)
        return self

    def reset(self) -> None:
        self.counts = [torch.zeros(size, size, dtype=torch.int64) for size in self.sizes]
        self.losses = torch.zeros(len(self.sizes), dtype=torch.float64)
        self.windows = 0

    def update(self, probabilities: Tensor, inputs: Inputs, targets: Targets) -> None:
        """Count labelled steps: probabilities (N, 1, L, K) and class numbers (N, 1, L), 0 where they do not count."""
        self.windows += len(probabilities)
        truth = (targets.target[:, 0] * targets.observed[:, 0]).long()
        losses = [
            self._count(label, probabilities[:, 0, label, :size], truth[:, label])
            for label, size in enumerate(self.sizes)
        ]
        self.losses = self.losses + torch.stack(losses)

    def _count(self, label: int, probabilities: Tensor, truth: Tensor) -> Tensor:
        """Count one label, (N, K) and (N,); the sum of -log of the probability of the truth."""
        size, known = self.sizes[label], truth > 0
        probabilities, truth = probabilities[known], truth[known] - 1
        cells = truth * size + probabilities.argmax(dim=-1)
        self.counts[label] = self.counts[label] + cells.bincount(minlength=size * size).view(size, size)
        true = probabilities.gather(-1, truth.unsqueeze(-1)).double()  # NaN stays NaN
        return -true.clamp(min=SMALLEST).log().sum()

    def results(self) -> StepTable:
        """The table of all steps so far."""
        losses = [math.nan] * len(self.sizes) if self.certain else self.losses.tolist()
        return StepTable([Counted(one.cpu(), loss) for one, loss in zip(self.counts, losses, strict=True)])

    @property
    def channels_not_finite(self) -> list[str]:
        """Labels with a probability so far that is no number."""
        finite = self.losses.isfinite().tolist()
        return [name for name, good in zip(self.channels, finite, strict=True) if not good]


Scores = ForecastErrors | ClassScores | StepScores


def new_scores(spec: WindowSpec, seasonal_errors: Tensor | None = None, certain: bool = False) -> Scores:
    """Empty scores for predictions of this kind.

    ``seasonal_errors``: see ``ForecastErrors``; ``certain``: see ``Labelled``.
    """
    if any(spec.classes):
        return StepScores(spec, certain) if spec.per_step else ClassScores(spec, certain)
    return ForecastErrors(spec, seasonal_errors)
