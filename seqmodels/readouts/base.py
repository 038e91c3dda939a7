"""Contract of readouts: from the features of a backbone to forecasts of one or several steps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from seqmodels.errors import require_choice
from seqmodels.window import Origins, WindowSpec

CORRECTS = ("none", "naive", "seasonal", "linear", "auto")


class EncodedWindow(NamedTuple):
    """Features of a window, and further inputs of a decoder."""

    features: Tensor  # (B, S, D), of the origins that carry a forecast
    all_features: Tensor  # (B, all origins of the backbone, D)
    exists: Tensor | None  # (B, all origins of the backbone) bool, False for padding; None: there is none
    state: Any  # of the backbone after the last step; None if it is not causal
    last_value: Tensor  # (B, C), the scaled last past value; 0 where it is missing
    known_covariates: Tensor  # (B, T+H, encoded), of every step
    origins: Origins  # the past steps that ``features`` belong to
    stepper: Callable[[], Callable[[Tensor, int, Any], tuple[Tensor, Any]]]  # makes a function that advances the
    # backbone beyond the past: scaled value (B, C), its lead and a state -> features (B, D), next state
    feedback: Callable[[Sequence[Tensor]], Tensor]  # see ``seqmodels.scalers.base.Scaling``
    value: Callable[[Tensor, Sequence[Tensor]], Tensor]  # scaled value (B, C) that is fed back for a forecast
    # (B, 1, 1, C, P), made after these values
    identity: Tensor  # (B,) int64, see ``Inputs``
    progress: float  # share of the training that is done


class Readout(nn.Module, ABC):
    """Features of each chosen origin -> inputs of the head for H leads: (B, S, D) -> (B, S, H, C, P).

    ``leads``: number of leads that the loss sees, one if forecasts are fed back.

    ``corrects``: "none", or the forecast that the outputs are added to, so that an untrained model equals it: see
    ``seqmodels.correction``; "auto": the one that suits the data. A readout that takes it has its output layer in
    ``linear``.
    """

    linear: nn.Linear

    every_step: bool  # True if the loss sees forecasts from every step
    attends: bool = False  # True if it looks back at all features of the backbone
    continues: bool = True  # False if it leaves the state of the backbone alone
    teacher_forced: bool = False  # True if it is shown the truth in training
    in_place: bool = False  # True if it estimates the values of the window itself
    recursive: bool = False  # True if forecasts are fed back, step by step through the backbone

    def __init__(self, spec: WindowSpec, size: int, parameters: int, corrects: str = "none"):
        super().__init__()
        require_choice(CORRECTS, "model.readout", corrects=corrects)
        self.corrects = corrects
        self.leads = 1 if self.recursive else spec.horizon
        self.channels, self.parameters_per_value = len(spec.predicted), parameters

    @abstractmethod
    def origins(self, origins: Origins, past_steps: int) -> Origins:
        """The origins that carry a forecast, among those with features."""

    @abstractmethod
    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        """Inputs of the head for the loss, (B, S, leads, C, P).

        ``teacher`` (B, H, C): the scaled truth, given in training if the readout is ``teacher_forced``.
        """

    def forecast(self, encoded: EncodedWindow) -> Tensor:
        """Inputs of the head for all leads, made without the truth: (B, S, H, C, P)."""
        return self(encoded)
