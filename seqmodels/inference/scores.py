"""Errors of a forecast on each test window, as sums from which means over series and over time follow."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from datamodules.series import SeriesSet
from seqmodels.heads.base import DECILES, quantile_loss
from seqmodels.report.output import write_file
from seqmodels.window import Inputs, Targets, Window

BANDS = {
    50: (0.25, 0.75),
    80: (0.1, 0.9),
    95: (0.025, 0.975),
}  # levels of the ends of the bands whose coverage is shown
ENDS = tuple(level for ends in BANDS.values() for level in ends)
SCORED = (*ENDS, *DECILES)  # levels of the quantiles that scores need
SCORES = "test_windows.parquet"  # in a run directory
MOST_VALUES = 2**24  # quantiles at once
MOST_ROWS = 2**16  # of more windows, neighbours are added up
SUMS = (
    "values", "size", "absolute", "squared", "signed", "symmetric", "scalable", "scaled", "scaled_squared",
    "quantile", "scaled_quantile", *(f"inside_{band}" for band in BANDS), *(f"width_{band}" for band in BANDS),
)  # fmt: skip


class Scales(NamedTuple):
    """Mean seasonal differences and mean squared ones of each series, (series, C) float64; NaN if undefined."""

    absolute: Tensor
    squared: Tensor


class WindowScores:
    """Sums over the leads and channels of each of ``windows`` windows, gathered batch by batch.

    ``values`` counts observed values, ``size`` adds up the truth's absolute value, ``signed`` forecast less truth,
    ``symmetric`` 2 |error| / (|truth| + |forecast|), 0 where both are 0, ``quantile`` twice the pinball loss at the
    deciles, ``inside_80`` the values within the 80 % band. Scaled sums and widths are in units of the seasonal
    difference, over the ``scalable`` values, which have one. What needs bands is NaN without them.
    """

    def __init__(self, windows: int, scales: Scales):
        self.scales, self.every = scales, max(1, math.ceil(windows / MOST_ROWS))
        self.keys, self.sums = [torch.empty(0, 3, dtype=torch.int64)], [torch.empty(0, len(SUMS), dtype=torch.float64)]

    def add(self, forecast: Tensor, quantiles: Tensor | None, window: Window) -> Tensor | None:
        """Add forecasts (B, H, C), less the level, and quantiles (B, H, C, Q) at ``SCORED``, with the level.

        Returns the quantile loss (B, H, C), None without quantiles.
        """
        series, (target, observed) = window.inputs.series, window.targets
        level = window.inputs.level[:, None]
        unit, square = (scale.to(target.device)[series][:, None] for scale in self.scales)
        truth, made = target.double() + level, forecast.double() + level
        error, defined = made - truth, observed & unit.isfinite()
        size = truth.abs()
        symmetric = torch.where((size == 0) & (made == 0), 0.0, 2 * error.abs() / (size + made.abs()))
        plain = [torch.ones_like(error), size, error.abs(), error.square(), error, symmetric]
        scaled = [torch.ones_like(error), error.abs() / unit, error.square() / square]
        if quantiles is None:
            banded = [torch.full_like(error, torch.nan)] * (2 + 2 * len(BANDS))
        else:
            loss, ends = quantile_loss(quantiles[..., len(ENDS) :].double(), truth, DECILES), quantiles.double()
            low, high = ends[..., : len(ENDS) : 2], ends[..., 1 : len(ENDS) : 2]
            inside = (truth[..., None] >= low) & (truth[..., None] <= high)
            banded = [loss, loss / unit, *inside.double().unbind(-1), *((high - low) / unit[..., None]).unbind(-1)]
        masks = [observed] * 6 + [defined] * 3 + [observed, defined] + [observed] * len(BANDS) + [defined] * len(BANDS)
        sums = [
            torch.where(mask, part, 0.0).sum(dim=(1, 2))
            for mask, part in zip(masks, plain + scaled + banded, strict=True)
        ]
        self.sums.append(torch.stack(sums, dim=1).cpu())
        self.keys.append(torch.stack([series, window.origin // self.every, window.origin], dim=1).cpu())
        if self.every > 1:
            self.keys[-1], self.sums[-1] = _add_up(self.keys[-1], self.sums[-1])
        return None if quantiles is None else banded[0]

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index of the series and first origin, (n,) each, and sums (n, SUMS), in order of series and time."""
        keys, sums = _add_up(torch.cat(self.keys), torch.cat(self.sums))
        return keys[:, 0].numpy(), keys[:, 2].numpy(), sums.numpy()


def choose(window: Window, kept: Tensor | slice) -> Window:
    """The windows where ``kept`` (B,) is True, or those of a slice."""
    inputs, targets = Inputs(*(one[kept] for one in window.inputs)), Targets(*(one[kept] for one in window.targets))
    return Window(inputs, targets, window.origin[kept])


def _add_up(keys: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the rows with the same series and group, and the first origin of each."""
    groups, place = keys[:, :2].unique(dim=0, return_inverse=True)
    origins = torch.full((len(groups),), torch.iinfo(torch.int64).max).scatter_reduce(0, place, keys[:, 2], "amin")
    total = torch.zeros(len(groups), sums.shape[1], dtype=sums.dtype).index_add(0, place, sums)
    return torch.cat([groups, origins[:, None]], dim=1), total


def write_scores(path: Path, scores: Mapping[str, WindowScores], series: SeriesSet) -> None:
    """Write a Parquet file of the columns row, series, time (or step) of the origin, and the sums."""
    names = np.array([series.name(index) for index in range(len(series))])
    steps = np.arange(len(series.values)) - np.repeat(series.offsets[:-1], series.lengths)
    frames = []
    for row, one in scores.items():
        which, origins, sums = one.rows()
        moments = steps[origins] if series.time is None else series.time[origins]
        columns = {"row": np.full(len(which), row), "series": names[which], "time": moments}
        frames.append(pl.DataFrame({**columns, **dict(zip(SUMS, sums.T, strict=True))}))
    file = io.BytesIO()
    pl.concat(frames).write_parquet(file)
    write_file(path, file.getvalue())
