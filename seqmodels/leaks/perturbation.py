"""Data with other values in some rows, and the comparison of windows made from them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet
from seqmodels.errors import InputError
from seqmodels.window import Window, WindowSpec

WINDOW_VALUES = 2**23  # in the windows of a stage; of more windows an even sample is compared
SUM_ROUNDING = 1e-5  # of the largest value in a column: what a sum in another order may differ by
KEYS = {
    "past_target": "data.target",
    "target": "data.target",
    "past_observed": "data.target",
    "observed": "data.target",
    "past_covariates": "data.past_covariates",
    "known_covariates": "data.known_covariates",
    "static": "data.statics",
    "seasonal_error": "data.season",
    "origin": "data.split",
}


class Perturber:
    """The data as read, and DataModules made from them after some rows have been perturbed.

    ``make`` builds a DataModule. It must keep the rows that its ``read`` returns; it may change values and add
    columns. All series are held in memory two or three times.
    """

    def __init__(self, make: Callable[[], WindowDataModule], seed: int = 0):
        self.make, self.seed = make, seed
        self.raw = make().read()
        self.data = self.set_up(self.raw)
        if not np.array_equal(self.data.series.offsets, self.raw.offsets):
            raise InputError(
                f"{self.raw.source}: data.setup() leaves {len(self.data.series.values):,} of"
                f" {len(self.raw.values):,} rows, so a perturbed row cannot be traced; keep all rows."
            )
        self.windows = {stage: self.sample_windows(self.data, stage) for stage in self.stages}

    @property
    def stages(self) -> list[str]:
        """Stages that have windows, training first."""
        return [stage for stage, count in self.data.windows.items() if count]

    def set_up(self, series: SeriesSet) -> WindowDataModule:
        """A DataModule set up on ``series`` in place of what it reads."""
        data = self.make()
        data.read = lambda: series  # type: ignore[method-assign]  # of this one object, whatever its class
        data.setup()
        return data

    def sample_windows(self, data: WindowDataModule, stage: str) -> Window:
        """All windows of a stage or an even sample, each with its T past steps."""
        spec = data.spec
        width = len(spec.channels) + len(spec.past_covariates) + len(spec.known_covariates)
        most = max(2, WINDOW_VALUES // ((spec.past_steps + spec.horizon) * width))
        inputs, targets, origin = data.examples(stage, min(most, data.windows[stage]))
        warm_up = inputs.past_target.shape[1] - spec.past_steps  # of a state
        parts = ("past_target", "past_observed", "past_covariates", "known_covariates")
        inputs = inputs._replace(**{part: getattr(inputs, part)[:, warm_up:] for part in parts})
        return Window(inputs, targets, origin)

    def per_row(self, values: np.ndarray) -> np.ndarray:
        """Repeat a value for each series (series,) to one for each row (rows,)."""
        return np.repeat(values, self.raw.lengths)

    def stage_bounds(self, stage: str) -> tuple[np.ndarray, np.ndarray]:
        """First row and end of a stage in the series of each row, (rows,) both."""
        span = self.data.spans[stage]
        return self.per_row(span.start), self.per_row(span.stop)

    def perturb(self, rows: np.ndarray, known_ahead: bool) -> WindowDataModule:
        """A DataModule on other targets and past covariates in ``rows`` (bool); ``known_ahead``: known ones too.

        Missing values stay missing, integers stay integers, positive numbers positive, and categories valid.
        Static numbers change where all rows of a series do, with ``known_ahead``.
        """
        raw, random = self.raw, np.random.default_rng(self.seed)
        changed: dict[str, Any] = {}
        changed["values"] = self._perturb_columns(raw.values, rows, raw.channels, random)
        if raw.observed is not None:
            changed["values"] *= raw.observed
        for part in ("past_covariates", "known_covariates")[: 2 if known_ahead else 1]:
            if getattr(raw, part) is not None:
                names = getattr(raw, part[:-1] + "_names")
                changed[part] = self._perturb_columns(getattr(raw, part), rows, names, random)
        if known_ahead and raw.static is not None:
            before = np.concatenate([[0], np.cumsum(rows)])[raw.offsets]
            whole = np.diff(before) == raw.lengths
            changed["static"] = self._perturb_columns(raw.static, whole, raw.static_names, random)
        return self.set_up(replace(raw, **changed))

    def _perturb_columns(
        self, values: np.ndarray, rows: np.ndarray, names: tuple[str, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Multiply numbers in ``rows`` of (rows, columns) by 2 or 3 and add one or two standard deviations."""
        result = np.array(values)
        for column, name in enumerate(names):
            old = np.asarray(values[rows, column])
            if name in self.raw.categories:
                result[rows, column] = np.where(old > 0, old % len(self.raw.categories[name]) + 1, old)
                continue
            deviation = np.ceil(np.nanstd(old, dtype=np.float64)) if np.isfinite(old).any() else 0.0
            new = old * random.integers(2, 4, len(old)) + (1 + deviation) * random.integers(1, 3, len(old))
            result[rows, column] = np.where(new == old, old + 1, new)
        return result


class WindowDifference(NamedTuple):
    """The largest difference in one column of one part of the windows."""

    part: str
    name: str
    size: float
    windows: int  # number of windows that differ

    def __str__(self) -> str:
        """The column and the key it comes from."""
        return f"{self.name!r} ({KEYS[self.part]}, {self.part})"


def compare_windows(
    before: Window, after: Window, spec: WindowSpec, counted: Tensor, parts: tuple[str, ...] = tuple(KEYS)
) -> Iterator[WindowDifference]:
    """Each column of these parts that differs in the steps where ``counted`` (B, T + H) is True."""
    if not torch.equal(before.origin, after.origin) or not torch.equal(before.inputs.series, after.inputs.series):
        yield WindowDifference("origin", "rows of the windows", 1.0, len(before.origin))
        return
    steps = before.inputs.past_target.shape[1]
    fields = [{**window.inputs._asdict(), **window.targets._asdict()} for window in (before, after)]
    for part in (part for part in parts if part in fields[0]):
        old, new = (field[part].double() for field in fields)
        size = (new - old).abs()
        if spec.levels and part in ("past_target", "target"):  # a level of its own in each window
            size = (new - old + (after.inputs.level - before.inputs.level)[:, None]).abs()
            old = torch.maximum(old.abs(), new.abs())
        if part in ("static", "seasonal_error"):
            size = size * counted.any(dim=1)[:, None]
        else:
            compared = counted[:, steps:] if part in ("target", "observed") else counted[:, : old.shape[1]]
            size = (size * compared[:, :, None]).amax(dim=1)
        for column, name in enumerate(column_names(spec, part)):
            rounding = SUM_ROUNDING * float(old[..., column].abs().max())
            if (largest := float(size[:, column].max())) > rounding:
                yield WindowDifference(part, name, largest, int((size[:, column] > rounding).sum()))


def window_rows(window: Window) -> Tensor:
    """The row of each step, past and future, (B, T + H)."""
    past, horizon = window.inputs.past_target.shape[1], window.targets.target.shape[1]
    return window.origin[:, None] + torch.arange(1 - past, horizon + 1)


def column_names(spec: WindowSpec, part: str) -> tuple[str, ...]:
    """Names of the columns in a part of a window."""
    own = {"past_covariates": spec.past_covariates, "known_covariates": spec.known_covariates, "static": spec.statics}
    return {**own, "label": spec.labels}.get(part, spec.channels)
