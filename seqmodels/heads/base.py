"""Contract of heads: what a forecast is, how many numbers describe one value, and what they cost."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Generator, Tensor, nn

from seqmodels.errors import InputError, require_choice

SAMPLE_WEIGHTS = ("equal", "size")


class Head(nn.Module, ABC):
    """Reads ``parameters_per_value`` numbers for each predicted value; a head has no weights of its own.

    The loss is taken in the scaler's units; ``rescale`` brings parameters to the data's own units, and ``mean``,
    ``quantiles`` and ``sample`` read them in either.

    ``lead_weights``: H numbers, how much each lead counts (null: all alike). ``sample_weights``: "equal", a window
    counts the same whatever its size, or "size": in proportion to the scaler's unit, as if the loss were in the data's
    own units.
    """

    parameters_per_value: int  # P
    relative: bool = False  # True if ``loss`` needs the magnitude of the truth

    def __init__(self, lead_weights: Sequence[float] | None = None, sample_weights: str = "equal"):
        super().__init__()
        require_choice(SAMPLE_WEIGHTS, "model.head", sample_weights=sample_weights)
        if lead_weights is not None and not (min(lead_weights, default=-1) >= 0 < sum(lead_weights)):
            raise InputError(
                f"model.head.lead_weights is {list(lead_weights)}; it must hold one number of at least 0 for each lead,"
                " not all of them 0."
            )
        self.lead_weights = None if lead_weights is None else list(lead_weights)
        self.sample_weights = sample_weights

    @abstractmethod
    def loss(self, parameters: Tensor, target: Tensor, magnitude: Tensor | None = None) -> Tensor:
        """Cost of each value: (B, S, H, C, P), (B, S, H, C) -> (B, S, H, C).

        ``magnitude``: size of the truth in the scaler's units, given if the head is ``relative``.
        """

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The value to report: (..., P) -> (...)."""

    @abstractmethod
    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Quantiles at ``levels`` between 0 and 1: (..., P) -> (..., Q)."""

    @abstractmethod
    def sample(self, parameters: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        """Independent draws for each value: (..., P) -> (count, ...)."""

    @abstractmethod
    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters of y -> those of y * scale + centre, which broadcast to (B, S, H, C)."""

    def expect(self, leads: int) -> None:
        """Raise InputError unless there is a weight for each lead that is trained."""
        if self.lead_weights is not None and len(self.lead_weights) != leads:
            raise InputError(
                f"model.head.lead_weights holds {len(self.lead_weights)} numbers; it must hold one for each of the"
                f" {leads} leads that are trained."
            )

    def weigh(self, cost: Tensor, unit: Tensor, deviation: Tensor) -> Tensor:
        """Weights for leads (of mean 1) and windows: (B, S, H, C) -> (B, S, H, C).

        ``unit`` (B or 1, 1, 1, C) is the scaler's, measured in ``deviation`` (C,), that of the training span.
        """
        if self.lead_weights is not None:
            weights = cost.new_tensor(self.lead_weights)
            cost = cost * (weights / weights.mean())[:, None]
        return cost * (unit / deviation) if self.sample_weights == "size" else cost
