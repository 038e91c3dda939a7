"""Scaling of labels: the past by any scaler, labels of a sequence or its steps by their own mean and deviation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqmodels.scalers.base import RescalingHead, Scaler, Scaling
from seqmodels.window import Inputs, Origins, Targets, WindowSpec


class LabelScaling(NamedTuple):
    """Scaled label = (label - centre) / unit, beside the scaling of the past."""

    past: Scaling
    spec: WindowSpec
    centre: Tensor  # (1, 1, 1, L)
    unit: Tensor  # (1, 1, 1, L)

    def transform(self, past: Tensor) -> Tensor:
        return self.past.transform(past)

    def transform_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        return (self.spec.aligned(inputs.past_target, targets.target, origins) - self.centre) / self.unit

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
        self.past, self.spec = past, spec
        statistics = spec.label_statistics
        for name, numbers in (("centre", statistics.mean), ("unit", statistics.deviation)):
            self.register_buffer(name, torch.tensor(numbers).reshape(1, 1, 1, -1), persistent=False)

    def __repr__(self) -> str:
        return repr(self.past)

    def burn_in(self, spec: WindowSpec) -> int:
        return self.past.burn_in(spec) if spec.per_step else 0

    def forward(self, inputs: Inputs, origins: Origins) -> LabelScaling:
        return LabelScaling(self.past(inputs, origins), self.spec, self.centre, self.unit)


def with_labels(past: Scaler, spec: WindowSpec) -> Scaler:
    """The scaler, in a ``LabelScaler`` if sequences have labels."""
    return LabelScaler(past, spec) if spec.labels else past
