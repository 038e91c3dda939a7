"""What a readout is: which forecasts are read from which features, and how a forecast of several steps comes about."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from seqmodels.window import Origins, WindowSpec


class Encoded(NamedTuple):
    """What a backbone has made of a window, and what a decoder may see besides."""

    features: Tensor  # (B, S, D), those of the origins that carry a forecast
    everything: Tensor  # (B, all origins of the backbone, D)
    state: Any  # of the backbone after the last step; None where it is not causal
    newest: Tensor  # (B, C), the last past value as the backbone sees it; 0 where it is missing
    known: Tensor  # (B, T+H, encoded), covariates known ahead as the backbone sees them, of every step
    origins: Origins  # the past steps that ``features`` belong to
    stepper: Callable[[], Callable[[Tensor, int, Any], tuple[Tensor, Any]]]  # once it has been asked for, it takes a
    # value (B, C) as the backbone sees it, its lead and a state, and gives features (B, D) and the next state
    next_input: Callable[[Sequence[Tensor]], Tensor]  # see View
    mean: Callable[[Tensor], Tensor]  # the head's: (..., P) -> (...)
    progress: float  # share of the training that is done


class Readout(nn.Module, ABC):
    """Features of each chosen origin -> what the head needs for H leads: (B, S, D) -> (B, S, H, C, P).

    ``leads`` says how many leads the loss sees, one where forecasts are fed back; ``forecast`` always gives all H.
    """

    every_step: bool  # whether the loss sees forecasts from every step
    attends: bool = False  # whether it looks back at all features of the backbone
    taught: bool = False  # whether it is shown the truth in training
    recursive: bool = False  # whether forecasts are fed back, which needs a backbone that goes step by step

    def __init__(self, spec: WindowSpec, size: int, parameters: int):
        super().__init__()
        self.leads = 1 if self.recursive else spec.horizon
        self.channels, self.parameters_per_value = len(spec.channels), parameters

    @abstractmethod
    def origins(self, origins: Origins, past_steps: int) -> Origins:
        """The origins that carry a forecast, among those for which there are features."""

    @abstractmethod
    def forward(self, encoded: Encoded, teacher: Tensor | None = None) -> Tensor:
        """What the loss sees: (B, S, leads, C, P); ``teacher`` (B, H, C) is the truth as
        the backbone would see it, in training only."""

    def forecast(self, encoded: Encoded) -> Tensor:
        """All leads without any truth: (B, S, H, C, P)."""
        return self(encoded)
