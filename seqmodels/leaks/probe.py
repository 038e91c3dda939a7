"""The data as they are, and as they would be if some rows held other values; it knows what any DataModule offers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqmodels.errors import InputError
from seqmodels.window import Window

NUMBERS = 2**23  # in the windows of one stage that are looked at; of more windows an even sample is taken
ROUNDING = 1e-5  # of the largest value in a column: what a sum in another order may differ by
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


class Change(NamedTuple):
    """The largest difference in one column of one part of the windows."""

    part: str
    name: str
    size: float
    windows: int  # how many of them differ

    @property
    def named(self) -> str:
        """The column and the key it comes from, as a sentence has it."""
        return f"{self.name!r} ({KEYS[self.part]}, {self.part})"


class Probe:
    """Builds DataModules by ``make`` that find other values in some rows of what they read.

    Rows are those of what ``read`` gives; a DataModule must keep them in its ``series``, however it changes values
    and whatever columns it adds. All series are held in memory two or three times.
    """

    def __init__(self, make: Callable[[], Any], seed: int = 0):
        self.make, self.seed = make, seed
        self.raw = make().read()
        self.data = self.prepared(self.raw)
        if not np.array_equal(self.data.series.offsets, self.raw.offsets):
            raise InputError(
                f"{self.raw.source}: data.setup() leaves {len(self.data.series.values):,} of"
                f" {len(self.raw.values):,} rows, so that a changed row cannot be followed; keep all rows."
            )
        self.before = {stage: self.windows(self.data, stage) for stage in self.stages}

    @property
    def stages(self) -> list[str]:
        """Those that have windows, training first."""
        return [stage for stage, count in self.data.windows.items() if count]

    def prepared(self, series: Any) -> Any:
        """A DataModule, set up, that has read ``series``."""
        data = self.make()
        data.read = lambda: series
        data.setup()
        return data

    def windows(self, data: Any, stage: str) -> Window:
        """The windows of a stage, each with its T past steps, or an even sample of so many."""
        spec = data.spec
        width = len(spec.channels) + len(spec.past_covariates) + len(spec.known_covariates)
        most = max(2, NUMBERS // ((spec.past_steps + spec.horizon) * width))
        inputs, targets, origin = data.examples(stage, min(most, data.windows[stage]))
        past = inputs.past_target.shape[1] - spec.past_steps  # of a carried state's warm-up
        inputs = inputs._replace(
            past_target=inputs.past_target[:, past:],
            past_observed=inputs.past_observed[:, past:],
            past_covariates=inputs.past_covariates[:, past:],
            known_covariates=inputs.known_covariates[:, past:],
        )
        return Window(inputs, targets, origin)

    def of_series(self, values: np.ndarray) -> np.ndarray:
        """A value for each series (series,) -> that of the series of each row (rows,)."""
        return np.repeat(values, self.raw.lengths)

    def bounds(self, stage: str) -> tuple[np.ndarray, np.ndarray]:
        """First row and end of a stage in the series of each row, (rows,) both."""
        span = self.data.spans[stage]
        return self.of_series(span.start), self.of_series(span.stop)

    def changed(self, rows: np.ndarray, ahead: bool) -> Any:
        """The series with other values in ``rows`` (bool): targets and past covariates, and ``ahead`` known ones too.

        What is missing stays missing, whole numbers stay whole, positive ones positive, categories stay legal.
        Static numbers change where a series has other values in all its rows.
        """
        raw, random, values = self.raw, np.random.default_rng(self.seed), {}
        values["values"] = self._other(raw.values, rows, raw.channels, random)
        if raw.observed is not None:
            values["values"] *= raw.observed
        for part in ("past_covariates", "known_covariates")[: 2 if ahead else 1]:
            if getattr(raw, part) is not None:
                names = getattr(raw, part[:-1] + "_names")
                values[part] = self._other(getattr(raw, part), rows, names, random)
        if ahead and raw.static is not None:
            before = np.concatenate([[0], np.cumsum(rows)])[raw.offsets]
            values["static"] = self._other(raw.static, np.diff(before) == raw.lengths, raw.static_names, random)
        return replace(raw, **values)

    def _other(self, values: np.ndarray, rows: np.ndarray, names: tuple[str, ...], random: Any) -> np.ndarray:
        """Values (rows, columns), those of the chosen rows times 2 or 3 plus up to twice their spread."""
        result = np.array(values)
        for column, name in enumerate(names):
            old = np.asarray(values[rows, column])
            if name in self.raw.categories:
                choices = len(self.raw.categories[name])
                result[rows, column] = np.where(old > 0, old % choices + 1, old)
                continue
            spread = np.ceil(np.nanstd(old, dtype=np.float64)) if np.isfinite(old).any() else 0.0
            new = old * random.integers(2, 4, len(old)) + (1 + spread) * random.integers(1, 3, len(old))
            result[rows, column] = np.where(new == old, old + 1, new)
        return result


def rows_of(window: Window) -> Tensor:
    """The row of each step, past and future: (B, T + H)."""
    past, horizon = window.inputs.past_target.shape[1], window.targets.target.shape[1]
    return window.origin[:, None] + torch.arange(1 - past, horizon + 1)


def same_windows(before: Window, after: Window) -> bool:
    """Whether both hold windows of the same series at the same rows."""
    return torch.equal(before.origin, after.origin) and torch.equal(before.inputs.series, after.inputs.series)


def changes(
    before: Window, after: Window, spec: Any, counted: Tensor, parts: tuple[str, ...] = tuple(KEYS)
) -> Iterator[Change]:
    """Every column of these parts that differs; ``counted`` (B, T + H): the steps that are compared."""
    if not same_windows(before, after):
        yield Change("origin", "rows of the windows", 1.0, len(before.origin))
        return
    steps = before.inputs.past_target.shape[1]
    of_windows = counted.any(dim=1)
    pairs = {**_pairs(before.inputs, after.inputs), **_pairs(before.targets, after.targets)}
    for part in (part for part in parts if part in pairs):
        one, other = (field.float() for field in pairs[part])
        difference = (other - one).abs()
        if part in ("static", "seasonal_error"):
            seen = difference * of_windows[:, None]
        else:
            compared = counted[:, steps:] if part in ("target", "observed") else counted[:, : one.shape[1]]
            seen = (difference * compared[:, :, None]).amax(dim=1)
        for column, name in enumerate(columns(spec, part)):
            least = ROUNDING * float(one[..., column].abs().max())
            if (size := float(seen[:, column].max())) > least:
                yield Change(part, name, size, int((seen[:, column] > least).sum()))


def _pairs(one: Any, other: Any) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (getattr(one, name), getattr(other, name)) for name in one._fields}


def columns(spec: Any, part: str) -> tuple[str, ...]:
    """Names of the columns in a part of a window."""
    own = {"past_covariates": spec.past_covariates, "known_covariates": spec.known_covariates, "static": spec.statics}
    return own.get(part, spec.channels)
