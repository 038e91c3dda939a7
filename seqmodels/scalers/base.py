"""Contract of scalers: raw units in, raw units out. For each batch a scaler returns a ``Scaling``, there and back.

Statistics come from the training span (standard) or from the past of the window itself (window, difference), never
from values after an origin: a scaler that looked at the whole window would leak into the earlier origins of an
every-step readout.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from seqmodels.window import Inputs, Origins, Targets, WindowSpec


class RescalingHead(Protocol):
    """The part of a head that a scaling needs; see ``seqmodels.heads.base``."""

    in_data_units: bool

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters (B, S, H, C, P) in scaled units -> in the data's own."""

    def mean(self, parameters: Tensor) -> Tensor:
        """(..., P) -> (...)."""


class Scaling(Protocol):
    """Transformation of one batch of windows to the units of the model, and back."""

    @property
    def unit(self) -> Tensor:
        """Size of one scaled unit of a forecast in the data's own units, (B or 1, 1, 1, C)."""

    def transform(self, past: Tensor) -> Tensor:
        """Raw past -> scaled past, (B, T, C)."""

    def transform_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        """Scaled values that the model is to forecast from each origin, (B, S, H, C)."""

    def inverse_transform(self, parameters: Tensor, head: RescalingHead) -> Tensor:
        """Scaled forecasts -> forecasts in the data's own units, (B, S, H, C, P)."""

    def centred(self, forecast: Tensor, season: int) -> "Scaling":
        """The scaling whose scaled forecast of 0 is ``forecast`` (B, S, H, C), in raw units.

        ``season``: steps after which that forecast repeats the values before it, 0 if it does not. Only where the
        scaler ``centres``.
        """

    def for_feedback(self) -> "Scaling":
        """The scaling of one-step forecasts from the last origin that are fed back, lead by lead."""

    def as_past(self, values: Tensor) -> Tensor:
        """Scaled forecasts or targets of all leads from the last origin, (B, H, C), on the scale of the past."""

    def feedback(self, values: Sequence[Tensor]) -> Tensor:
        """The newest of the scaled forecasts fed back so far, (B, C) each, on the scale of the past."""

    def next_centre(self, values: Sequence[Tensor]) -> Tensor:
        """Raw value of a scaled forecast of 0 after the ``values`` fed back so far, (B or 1, C).

        Only where forecasts are ``in_own_units``.
        """


class Scaler(nn.Module, ABC):
    """Makes the ``Scaling`` of each batch of windows."""

    per_window: bool = False  # True if the same value is scaled differently in another window
    in_own_units: bool = True  # True if a scaled forecast is one value of the data, shifted and scaled
    of_one_value: bool = True  # True if it is an increasing function of one value of the data
    clocked: bool = False  # True if it looks at ``Inputs.clock``
    centres: bool = False  # True if its scalings can be ``centred`` on another forecast
    levels: bool = False  # as in ``WindowSpec``

    def burn_in(self, spec: WindowSpec) -> int:
        """Steps at the beginning of a window from which statistics are taken; origins within them carry no forecast."""
        return 0

    @abstractmethod
    def forward(self, inputs: Inputs, origins: Origins) -> Scaling:
        """The scaling of these windows, for forecasts from ``origins``."""

    def less_level(self, mean: Tensor, inputs: Inputs) -> Tensor:
        """A mean of the training span (1, 1, C), less the level of each window if there are any: (B or 1, 1, C).

        Forecasts plus level must not depend on which part of a value is in the level.
        """
        return less_level(mean, inputs) if self.levels else mean


def less_level(mean: Tensor, inputs: Inputs) -> Tensor:
    """A mean (1, 1, C) less the level of each window, (B, 1, C)."""
    return (mean - inputs.level.unsqueeze(1)).to(inputs.past_target.dtype)


def mean_tensor(spec: WindowSpec) -> Tensor:
    """Training means (1, 1, C), in float64 if levels are subtracted from them."""
    dtype = torch.float64 if spec.levels else torch.float32
    return torch.tensor(spec.target_statistics.mean, dtype=dtype).reshape(1, 1, -1)
