"""Accuracy of predicted classes, from the probabilities of all sequences of a stage."""

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
    """Probabilities of the classes of all sequences of a stage, and the truth; one label after the other."""

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
        """Nothing: a label has no lead."""
        return []

    def channel(self, index: int) -> "ClassTable":
        """The same for one label."""
        part = slice(index, index + 1)
        return ClassTable(self.probabilities[:, part], self.truth[:, part], self.series, self.sizes[part], self.certain)


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


Scores = ForecastErrors | ClassScores


def new_scores(spec: WindowSpec, seasonal_errors: Tensor | None = None, certain: bool = False) -> Scores:
    """Empty scores for predictions of this kind.

    ``seasonal_errors``: see ``ForecastErrors``; ``certain``: see ``Labelled``.
    """
    return ClassScores(spec, certain) if any(spec.classes) else ForecastErrors(spec, seasonal_errors)
