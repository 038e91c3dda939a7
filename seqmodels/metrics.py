"""Forecast errors in the data's own units, accumulated on the device in float64, per lead and channel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from seqmodels.window import Inputs, Targets, WindowSpec


class ErrorTable(NamedTuple):
    """Means over the windows for each lead and channel, (H, C) each; NaN where nothing was observed.

    ``scaled`` is the absolute error in units of the series' seasonal error: its mean is MASE
    (Hyndman & Koehler 2006). ``observed`` is the number of values that counted.
    """

    absolute: Tensor
    squared: Tensor
    scaled: Tensor
    observed: Tensor

    def summary(self) -> dict[str, float]:
        """MAE, MSE, RMSE and MASE over all leads and channels, each observed value counting once."""
        weight = self.observed / self.observed.sum()
        absolute, squared, scaled = (
            float((values.nan_to_num() * weight).sum()) for values in (self.absolute, self.squared, self.scaled)
        )
        return {"mae": absolute, "mse": squared, "rmse": squared**0.5, "mase": scaled}

    def channel(self, index: int) -> "ErrorTable":
        """The same for one channel, (H, 1)."""
        return ErrorTable(*(values[:, index : index + 1] for values in self))


class ForecastErrors(Metric):
    """Accumulates the errors of the forecasts from the last origin; summed over ranks when distributed."""

    full_state_update = False
    absolute: Tensor
    squared: Tensor
    scaled: Tensor
    observed: Tensor
    windows: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__()
        zeros = torch.zeros(spec.horizon, len(spec.channels), dtype=torch.float64)
        for name in ("absolute", "squared", "scaled", "observed"):
            self.add_state(name, default=zeros.clone(), dist_reduce_fx="sum")
        self.add_state("windows", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, inputs: Inputs, targets: Targets) -> None:
        """Count the forecasts (B, H, C) of one batch against their targets."""
        if forecast.shape != targets.target.shape:
            raise ValueError(f"forecast {tuple(forecast.shape)} and target {tuple(targets.target.shape)} must agree.")
        error = (forecast - targets.target).abs().double() * targets.observed
        # Not in place: a sum that began in inference mode could not be continued outside of it.
        self.absolute = self.absolute + error.sum(dim=0)
        self.squared = self.squared + error.square().sum(dim=0)
        self.scaled = self.scaled + (error / inputs.seasonal_error.unsqueeze(1)).sum(dim=0)
        self.observed = self.observed + targets.observed.sum(dim=0)
        self.windows = self.windows + len(forecast)

    def compute(self) -> ErrorTable:
        """Means over all windows so far."""
        count = self.observed
        return ErrorTable(self.absolute / count, self.squared / count, self.scaled / count, count.clone())


MODEL = "model"  # how the table calls the model that is trained


def skill(table: ErrorTable, reference: ErrorTable) -> float:
    """1 - MAE / MAE of the reference: 0 is no better than it, 1 is perfect; NaN where the reference makes no error."""
    error = reference.summary()["mae"]
    return 1.0 - table.summary()["mae"] / error if error > 0 else math.nan
