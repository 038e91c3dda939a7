"""Scalers: raw units in, raw units out. For each window a scaler gives a view: how to encode, and how to come back.

Statistics come from the training span (standard) or from the window's own past (window, difference), never from
anything that lies after an origin: a scaler that looks at the whole window would leak into the earlier origins of an
every-step readout.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from seqmodels.window import Inputs, Origins, Targets, WindowSpec

Rescale = Callable[[Tensor, Tensor, Tensor], Tensor]  # a head's way from scaled to raw: parameters, centre, scale


class View(Protocol):
    """One batch of windows as a model sees it; every method is the same for the whole batch."""

    @property
    def unit(self) -> Tensor:
        """(B or 1, 1, 1, C): size of one scaled unit of a forecast in the data's own units."""

    def encode(self, past: Tensor) -> Tensor:
        """(B, T, C) raw -> scaled."""

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        """What the model is to describe from each origin, scaled: (B, S, H, C)."""

    def decode(self, parameters: Tensor, rescale: Rescale) -> Tensor:
        """(B, S, H, C, P) scaled -> in the data's own units."""

    def last(self) -> "View":
        """The same for forecasts from the last origin only."""

    def next_input(self, value: Tensor, lead: int) -> Tensor:
        """The forecast value (B, C) for ``lead`` 1, 2, ... from the last origin, as the encoded input of that step."""


class Scaler(nn.Module, ABC):
    """Says for each window how to move between raw and scaled units."""

    per_window: bool = False  # whether the same value is scaled otherwise in another window
    in_own_units: bool = True  # whether a forecast of each lead is one value of the data, shifted and scaled

    def burn_in(self, spec: WindowSpec) -> int:
        """Steps at the beginning of a window that give the statistics, so that earlier origins carry no forecast."""
        return 0

    @abstractmethod
    def forward(self, inputs: Inputs, origins: Origins) -> View:
        """The view of each window, for forecasts from ``origins``."""
