"""Scalers: raw units in, raw units out. For each window a scaler gives a view: how to encode, and how to come back.

Statistics come from the training span (standard) or from the window's own past (window, difference), never from
anything that lies after an origin: a scaler that looks at the whole window would leak into the earlier origins of an
every-step readout.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from seqmodels.window import Inputs, Origins, Targets, WindowSpec


class Units(Protocol):
    """What a view asks of a head."""

    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters (B, S, H, C, P) in scaled units -> in the data's own."""

    def mean(self, parameters: Tensor) -> Tensor:
        """(..., P) -> (...)."""


class View(Protocol):
    """One batch of windows as a model sees it; every method is the same for the whole batch."""

    @property
    def unit(self) -> Tensor:
        """(B or 1, 1, 1, C): size of one scaled unit of a forecast in the data's own units."""

    def encode(self, past: Tensor) -> Tensor:
        """(B, T, C) raw -> scaled."""

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        """What the model is to describe from each origin, scaled: (B, S, H, C)."""

    def decode(self, parameters: Tensor, head: Units) -> Tensor:
        """(B, S, H, C, P) scaled -> in the data's own units."""

    def fed_back(self) -> "View":
        """The same for one-step forecasts from the last origin that are fed back for the leads after them."""

    def as_inputs(self, values: Tensor) -> Tensor:
        """Scaled forecasts or targets of all leads from the last origin, (B, H, C), as the backbone would see them."""

    def next_input(self, values: Sequence[Tensor]) -> Tensor:
        """The newest of the forecasts that were fed back so far, (B, C) each, as the backbone would see it."""


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
