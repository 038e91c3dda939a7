"""Contract of heads: the parameters that describe a forecast value, their loss, and statistics computed from them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from seqmodels.errors import InputError, require_choice
from seqmodels.window import WindowSpec

SAMPLE_WEIGHTS = ("equal", "size")
DECILES = tuple(step / 10 for step in range(1, 10))
PERCENTILES = tuple(step / 100 for step in range(1, 100))


class Head(nn.Module, ABC):
    """Reads ``parameters_per_value`` numbers for each predicted value; a head has no weights of its own.

    Called with outputs of the network, it gives the parameters of a forecast in the scaler's units. The loss is taken
    there; ``rescale`` brings parameters to the data's own units, and ``mean``, ``quantiles``, ``sample`` and ``crps``
    read them in either.

    ``lead_weights``: H numbers, how much each lead counts (null: all alike). ``sample_weights``: "equal", a window
    counts the same whatever its size, or "size": in proportion to the scaler's unit, as if the loss were in the data's
    own units.
    """

    parameters_per_value: int  # P
    relative: bool = False  # True if ``loss`` needs the magnitude of the truth
    distribution: bool = True  # False if there are no quantiles and samples
    values_only: bool = False  # True if parameters are values of the data, so that an increasing function of the data
    # may be applied to each of them
    classifies: bool = False  # True if a value is the number of a class
    in_data_units: bool = False  # True for counts: parameters exist only after ``rescale``, and the loss is taken there

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

    def forward(self, outputs: Tensor) -> Tensor:
        """Any numbers -> parameters in the scaler's units, (..., P); by default the same."""
        return outputs

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

    def spread(self, parameters: Tensor) -> Tensor:
        """Size of the uncertainty: (..., P) -> (...); by default half the distance of the 16 and 84 % quantiles."""
        low, high = self.quantiles(parameters, [0.16, 0.84]).unbind(-1)
        return (high - low) / 2

    def crps(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Continuous ranked probability score: (..., P), (...) -> (...); by default from the 99 percentiles.

        Source: Gneiting and Raftery 2007; the integral over quantile losses of Laio and Tamea 2007.
        """
        return quantile_loss(self.quantiles(parameters, PERCENTILES), target, PERCENTILES)

    @abstractmethod
    def rescale(self, parameters: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Parameters of y -> those of y * scale + centre, which broadcast to (B, S, H, C)."""

    def mirror(self, parameters: Tensor) -> Tensor:
        """Parameters of y -> those of -y, in the scaler's units; raises InputError for a head that has none."""
        raise InputError("model.flip=true turns the sign of forecasts, which model.head cannot; set model.flip=false.")

    def report(self, parameters: Tensor) -> Tensor:
        """Input of the measures of accuracy: (B, H, C, P) -> ``mean``, (B, H, C), unless a head overrides it."""
        return self.mean(parameters)

    def bind(self, spec: WindowSpec) -> None:
        """Take sizes that follow from the data, before the readout is built; raises InputError if they do not fit."""
        classes = [name for name, values in zip(spec.labels, spec.classes, strict=True) if values]
        if classes:
            raise InputError(
                f"model.head predicts numbers, and data.label={classes[0]} names classes; use model=classifier, or"
                " model/head=classes, or data.label_type=number if they are numbers."
            )

    def pool(self, members: Tensor, average: Callable[[Tensor], Tensor]) -> Tensor:
        """Parameters of one forecast from those of an ensemble's members, (M, ..., P) -> (..., P)."""
        return average(members)

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


def quantile_loss(quantiles: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """Twice the mean pinball loss over the levels: (..., Q), (...) -> (...); |error| for the median alone."""
    error, level = target.unsqueeze(-1) - quantiles, quantiles.new_tensor(levels)
    return 2 * torch.maximum(level * error, (level - 1) * error).mean(dim=-1)


def positive(numbers: Tensor) -> Tensor:
    """Softplus, shifted so that 0 gives 1."""
    return nn.functional.softplus(numbers + 0.5413248546129181)  # log(e - 1)
