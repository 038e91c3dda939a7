"""Scaling of labels: the past of a sequence by any scaler, its labels by their own mean and deviation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqmodels.scalers.base import RescalingHead, Scaler, Scaling
from seqmodels.window import Inputs, Origins, Targets, WindowSpec


class LabelScaling(NamedTuple):
    """Scaled label = (label - centre) / unit, beside the scaling of the past."""

    past: Scaling
    centre: Tensor  # (1, 1, 1, L)
    unit: Tensor  # (1, 1, 1, L)

    def transform(self, past: Tensor) -> Tensor:
        return self.past.transform(past)

    def transform_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        return (targets.target.unsqueeze(1) - self.centre) / self.unit

    def inverse_transform(self, parameters: Tensor, head: RescalingHead) -> Tensor:
        return head.rescale(parameters, self.centre, self.unit)

    def centred(self, forecast: Tensor, season: int) -> Scaling:
        return self

    def for_feedback(self) -> Scaling:
        return self

    def as_past(self, values: Tensor) -> Tensor:
        return values

    def feedback(self, values: Sequence[Tensor]) -> Tensor:
        return values[-1]

    def next_centre(self, values: Sequence[Tensor]) -> Tensor:
        return self.centre[:, 0, 0]


class LabelScaler(Scaler):
    """``past`` scales the past; labels are standardised if they are numbers, and left alone if they are classes."""

    centre: Tensor
    unit: Tensor

    def __init__(self, past: Scaler, spec: WindowSpec):
        super().__init__()
        self.past = past
        statistics = spec.label_statistics
        for name, numbers in (("centre", statistics.mean), ("unit", statistics.deviation)):
            self.register_buffer(name, torch.tensor(numbers).reshape(1, 1, 1, -1), persistent=False)

    def __repr__(self) -> str:
        return repr(self.past)

    def forward(self, inputs: Inputs, origins: Origins) -> LabelScaling:
        return LabelScaling(self.past(inputs, origins), self.centre, self.unit)


def with_labels(past: Scaler, spec: WindowSpec) -> Scaler:
    """The scaler of windows: itself, or beside one for the labels of sequences."""
    return LabelScaler(past, spec) if spec.labels else past
