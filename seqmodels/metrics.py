"""Forecast errors in the data's own units, accumulated on the device in float64, per lead and channel."""

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from seqmodels.window import Inputs, Targets, WindowSpec

MODEL, NAIVE, SEASONAL_NAIVE = "model", "naive", "seasonal naive"  # rows of the result table
SINGLE_MEMBER = "single member"  # row of an ensemble: the mean error of its members, each by itself
LAST, LINEAR, SEASON_AGO, SEASONAL, SPLINE = (
    "last value",
    "linear",
    "season ago",
    "seasonal",
    "spline",
)  # of hidden values
MAJORITY, MEAN = "majority", "mean"  # the same for labels: the most frequent class, the mean of a number
REPEATED = "last repeated"  # the same for the next value of a sequence, beside the most frequent one
REFERENCES = (SEASONAL_NAIVE, NAIVE, LINEAR, MAJORITY, MEAN)  # the first one there is compared with


class MeanErrors(NamedTuple):
    """Mean absolute, squared and scaled error, quantile loss of the bands and size of the truth; NaN where unknown."""

    absolute: float
    squared: float
    scaled: float
    quantile: float = math.nan
    size: float = math.nan


class Measure(NamedTuple):
    """An accuracy measure: a column of the result table, of metrics.json and metrics.csv, and a curve in the logs.

    ``compute`` takes the mean errors of a forecast and, if the measure ``needs_naive``, those of the naive forecast. A
    measure that ``needs_bands`` is measured on the test windows only, with bands calibrated on the validation windows.
    """

    heading: str
    compute: Callable[..., float]
    needs_naive: bool = False
    smaller_is_better: bool = True
    needs_bands: bool = False


def skill_score(errors: MeanErrors, naive: MeanErrors) -> float:
    """1 - MAE / MAE of the naive forecast: at most 1, 0 if no better; NaN if the naive forecast makes no error."""
    return 1.0 - errors.absolute / naive.absolute if naive.absolute > 0 else math.nan


def weighted_quantile_loss(errors: MeanErrors) -> float:
    """Twice the pinball loss, mean over the deciles, over the mean size of the truth; NaN if all of it is 0."""
    return errors.quantile / errors.size if errors.size > 0 else math.nan


# The only place where measures are defined: to add one, add a line here.
MEASURES: dict[str, Measure] = {
    "mae": Measure("MAE", lambda errors: errors.absolute),
    "rmse": Measure("RMSE", lambda errors: errors.squared**0.5),
    "mse": Measure("MSE", lambda errors: errors.squared),
    "mase": Measure("MASE", lambda errors: errors.scaled),  # Hyndman & Koehler 2006
    "wql": Measure("WQL", weighted_quantile_loss, needs_bands=True),  # Park et al. 2022
    "skill": Measure("skill", skill_score, needs_naive=True, smaller_is_better=False),
}
LABEL_MEASURES = {name: measure for name, measure in MEASURES.items() if name not in ("mase", "wql")}  # of labels


class ErrorTable(NamedTuple):
    """Means over the windows for each lead and channel, (H, C) each; NaN where nothing counted.

    ``scaled`` is the absolute error in units of the series' seasonal error, over the series that have one.
    ``observed`` is the number of values behind the other means, ``scalable`` that behind this one. ``quantile`` is
    twice the pinball loss at the deciles, NaN without bands, and ``size`` the absolute value of the truth.
    """

    absolute: Tensor
    squared: Tensor
    scaled: Tensor
    observed: Tensor
    scalable: Tensor
    quantile: Tensor
    size: Tensor

    @property
    def measures(self) -> dict[str, Measure]:
        """Measures of this table."""
        return MEASURES

    def mean(self, dim: int | None = None) -> list[MeanErrors]:
        """Means over all leads and channels, or over one dimension; each observed value counts once."""
        counts = (self.observed, self.observed, self.scalable, self.observed, self.observed)
        errors = (self.absolute, self.squared, self.scaled, self.quantile, self.size)
        means = (mean_of_means(*pair, dim).reshape(-1).tolist() for pair in zip(errors, counts, strict=True))
        return [MeanErrors(*mean) for mean in zip(*means, strict=True)]

    def summary(self, naive: Any = None) -> dict[str, float]:
        """Each measure over all leads and channels, without those that need ``naive``, a table, or bands, if none."""
        (errors,) = self.mean()
        compared = [] if naive is None else naive.mean()
        return {
            name: measure.compute(errors, *(compared if measure.needs_naive else ()))
            for name, measure in self.measures.items()
            if (compared or not measure.needs_naive) and (self.banded or not measure.needs_bands)
        }

    @property
    def banded(self) -> bool:
        """True if the forecasts had bands."""
        return bool(self.quantile.isfinite().any())

    def channel(self, index: int) -> "ErrorTable":
        """The table of one channel, (H, 1)."""
        return type(self)(*(values[:, index : index + 1] for values in self))


class LabelErrorTable(ErrorTable):
    """Error table of numbers that label whole sequences, which have no seasonal error."""

    @property
    def measures(self) -> dict[str, Measure]:
        return LABEL_MEASURES


class GapErrorTable(LabelErrorTable):
    """The same for hidden values of the windows."""


TABLES = {"ahead": ErrorTable, "past": GapErrorTable}  # by ``WindowSpec.kind``, of all others LabelErrorTable


def mean_of_means(values: Tensor, counts: Tensor, dim: int | None) -> Tensor:
    """Mean of means weighted by the number of values behind each; NaN without any values, or if one of them is NaN."""
    weight = counts / counts.sum(dim, keepdim=True)
    return (values.masked_fill(counts == 0, 0.0) * weight).sum(dim)


class ForecastErrors(Metric):
    """Accumulates the errors of the forecasts from the last origin; summed over ranks when distributed.

    ``seasonal_errors`` (series, C): denominators of the scaled error, NaN for a series that has none and is left out of
    it. None: ``Inputs.seasonal_error``, which is never NaN, since scalers need a unit for every series.
    """

    full_state_update = False
    absolute: Tensor
    squared: Tensor
    scaled: Tensor
    observed: Tensor
    scalable: Tensor
    quantile: Tensor
    size: Tensor
    windows: Tensor
    seasonal_errors: Tensor | None

    def __init__(self, spec: WindowSpec, seasonal_errors: Tensor | None = None):
        super().__init__()
        self.channels = spec.predicted
        self.table = TABLES.get(spec.kind, LabelErrorTable)
        self.register_buffer("seasonal_errors", seasonal_errors, persistent=False)
        zeros = torch.zeros(spec.horizon, len(spec.predicted), dtype=torch.float64)
        for name in ErrorTable._fields:
            self.add_state(name, default=zeros.clone(), dist_reduce_fx="sum")
        self.add_state("windows", default=torch.tensor(0), dist_reduce_fx="sum")

    @property
    def measures(self) -> dict[str, Measure]:
        """Measures of the table."""
        return MEASURES if self.table is ErrorTable else LABEL_MEASURES

    def update(self, forecast: Tensor, inputs: Inputs, targets: Targets, quantile: Tensor | None = None) -> None:
        """Count the forecasts (B, H, C) of one batch against their targets, with their ``quantile`` loss (B, H, C)."""
        if forecast.shape != targets.target.shape:
            raise ValueError(f"forecast {tuple(forecast.shape)} and target {tuple(targets.target.shape)} must agree.")
        error = (forecast - targets.target).abs().double() * targets.observed
        # Not in place: a sum that began in inference mode could not be continued outside of it.
        self.absolute = self.absolute + error.sum(dim=0)
        self.squared = self.squared + error.square().sum(dim=0)
        unit = inputs.seasonal_error if self.seasonal_errors is None else self.seasonal_errors[inputs.series]
        defined = unit.isfinite().unsqueeze(1)
        self.scaled = self.scaled + torch.where(defined, error / unit.unsqueeze(1), 0.0).sum(dim=0)
        self.scalable = self.scalable + (targets.observed & defined).sum(dim=0)
        self.observed = self.observed + targets.observed.sum(dim=0)
        self.windows = self.windows + len(forecast)
        truth = targets.target.double() + inputs.level[:, None]
        self.size = self.size + (truth.abs() * targets.observed).sum(dim=0)
        self.quantile = self.quantile + (math.nan if quantile is None else (quantile * targets.observed).sum(dim=0))

    def compute(self) -> ErrorTable:
        """Means over all windows so far."""
        count, scalable = self.observed, self.scalable
        means = (self.absolute / count, self.squared / count, self.scaled / scalable)
        return ErrorTable(*means, count.clone(), scalable.clone(), self.quantile / count, self.size / count)

    def results(self) -> ErrorTable:
        """The table of all windows so far; torchmetrics makes scalars of (1, 1), which become (H, C) again."""
        return self.table(*map(torch.atleast_2d, self.compute()))

    @property
    def channels_not_finite(self) -> list[str]:
        """Channels with a forecast so far that is NaN or infinite, also where nothing was observed."""
        finite = torch.atleast_2d(self.absolute).isfinite().all(dim=0).tolist()
        return [name for name, good in zip(self.channels, finite, strict=True) if not good]


def naive_row(rows: Collection[str]) -> str:
    """The row that a model is compared with: seasonal naive, or naive where the data have no season."""
    return next((row for row in REFERENCES if row in rows), NAIVE)
