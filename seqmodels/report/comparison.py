"""Models on the same test windows: their measures with intervals, skill and win rate, and tests of the differences.

Skill score, win rate and their bootstrap are those of fev-bench (Shchur et al. 2025), where a task is here a unit: a
series, or a block of time where there are few series.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from seqmodels.inference.scores import BANDS, SUMS
from seqmodels.metrics import NAIVE, SEASONAL_NAIVE
from seqmodels.report.objections import CHANCE, FEWEST_WINDOWS, RIDGE, Objection, compare_losses
from seqmodels.report.output import format_number, join_names, pluralise

FEWEST_SERIES = 20  # that are resampled; of fewer, blocks of time
FEWEST_UNITS = 10  # behind an interval
RESAMPLES, INTERVAL = 1000, (0.025, 0.975)
CLIP = 0.01, 100.0  # relative errors of a unit, as in fev
RIVALS = (NAIVE, SEASONAL_NAIVE, RIDGE)
COLUMN = {name: place for place, name in enumerate(SUMS)}


class Windows(NamedTuple):
    """Test windows, (windows,) each: series, time of the origin, and steps of the horizon."""

    series: np.ndarray
    moments: np.ndarray
    steps: int


class Contestant(NamedTuple):
    """A forecast of the test windows: ``sums`` (windows, SUMS) of each of its runs, such as those of several seeds."""

    name: str
    sums: Sequence[np.ndarray]
    fit_seconds: float = math.nan
    forecast_seconds: float = math.nan  # of one window

    @property
    def plain_name(self) -> str:
        """The name; that of a row of the result table if it is a model of that kind, such as ``seasonal_naive``."""
        return self.name.replace("_", " ")

    @property
    def mean(self) -> np.ndarray:
        """Sums of each window, mean over the runs."""
        return np.mean(self.sums, axis=0)


def _over(above: str, below: str, factor: float = 1.0, root: bool = False) -> tuple[str, str, float, bool]:
    return above, below, factor, root


# Each is a sum over another one, times a factor; the last entry says if it is the root of that.
RATIOS = {
    "mase": _over("scaled", "scalable"),
    "rmsse": _over("scaled_squared", "scalable", root=True),
    "mae": _over("absolute", "values"),
    "wape": _over("absolute", "size", 100),
    "smape": _over("symmetric", "values", 100),
    "wql": _over("quantile", "size"),
    "crps": _over("quantile", "values"),
    "bias": _over("signed", "size", 100),
    **{f"coverage_{band}": _over(f"inside_{band}", "values", 100) for band in BANDS},
    **{f"width_{band}": _over(f"width_{band}", "scalable") for band in BANDS},
}


def measure(name: str, sums: np.ndarray) -> np.ndarray:
    """A measure of sums (..., SUMS) -> (...); NaN where undefined."""
    above, below, factor, root = RATIOS[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = factor * sums[..., COLUMN[above]] / sums[..., COLUMN[below]]
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    return np.sqrt(ratio) if root else ratio


def group_windows(windows: Windows) -> tuple[np.ndarray, str]:
    """Unit of each window, (windows,) int64 from 0 on, and the kind of unit: a series, or a block of time.

    Blocks are as long as the horizon or the root of the number of origins, so that few errors reach into the next.
    """
    names, series = np.unique(windows.series, return_inverse=True)
    if len(names) >= FEWEST_SERIES:
        return series, "series"
    moments, place = np.unique(windows.moments, return_inverse=True)
    count = len(moments)
    blocks = max(1, count // max(windows.steps, math.isqrt(count)))
    return place * blocks // count, "blocks of time"


class Interval(NamedTuple):
    """Ends of a bootstrap interval, NaN with too few units."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Contestants on the same windows, the smallest error first."""

    windows: Windows
    contestants: tuple[Contestant, ...]

    @classmethod
    def of(cls, windows: Windows, contestants: Sequence[Contestant]) -> "Comparison":
        """In order of the error."""
        found = cls(windows, tuple(contestants))
        order = sorted(range(len(contestants)), key=lambda place: (np.isnan(found.errors[place]), found.errors[place]))
        return cls(windows, tuple(contestants[place] for place in order))

    @cached_property
    def name(self) -> str:
        """The error that is compared: MASE, or MAE where that is undefined."""
        return "mase" if all(np.isfinite(measure("mase", one.mean.sum(axis=0))) for one in self.contestants) else "mae"

    @cached_property
    def errors(self) -> np.ndarray:
        """(contestants,)"""
        return self.measures(self.name)

    def measures(self, name: str) -> np.ndarray:
        """A measure of all windows together, (contestants,)."""
        return measure(name, np.stack([one.mean.sum(axis=0) for one in self.contestants]))

    @cached_property
    def units(self) -> tuple[np.ndarray, str]:
        """See ``group_windows``."""
        return group_windows(self.windows)

    @cached_property
    def by_unit(self) -> np.ndarray:
        """Sums of each unit, (contestants, units, SUMS)."""
        place, _ = self.units
        total = np.zeros((len(self.contestants), int(place.max()) + 1, len(SUMS)))
        for sums, one in zip(total, self.contestants, strict=True):
            np.add.at(sums, place, one.mean)
        return total

    @cached_property
    def draws(self) -> np.ndarray:
        """Number of times each unit is drawn, (RESAMPLES, units); always the same."""
        count = self.by_unit.shape[1]
        drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
        return np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)

    @cached_property
    def measured(self) -> np.ndarray:
        """True for each unit in which all errors are defined, (units,)."""
        return np.isfinite(measure(self.name, self.by_unit)).all(axis=0)

    @cached_property
    def unit_errors(self) -> np.ndarray:
        """Errors of the ``measured`` units, (contestants, units)."""
        return measure(self.name, self.by_unit)[:, self.measured]

    @property
    def baseline(self) -> int:
        """Place of the forecast that skill is relative to: seasonal naive, naive, or the worst one."""
        names = [one.plain_name for one in self.contestants]
        return next((names.index(name) for name in (SEASONAL_NAIVE, NAIVE) if name in names), len(names) - 1)

    @cached_property
    def log_relative(self) -> np.ndarray:
        """Logarithm of each unit's error relative to the baseline, clipped, (contestants, units).

        A unit in which the baseline makes no error counts as 0 if the other makes none either, else as the largest.
        """
        errors = self.unit_errors
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = errors / errors[self.baseline]
        return np.log(np.where(np.isnan(relative), 1.0, relative).clip(*CLIP))

    @cached_property
    def skill(self) -> np.ndarray:
        """1 - geometric mean of the relative errors of the units, in per cent, (contestants,)."""
        return 100 * (1 - np.exp(self.log_relative.mean(axis=1)))

    @cached_property
    def wins(self) -> np.ndarray:
        """Share of the other contestants with a larger error, ties as halves, in per cent, (contestants, units)."""
        errors = self.unit_errors
        others = len(errors) - 1 or math.nan
        lower = (errors[:, None] < errors[None]) + 0.5 * (errors[:, None] == errors[None])
        return 100 * (lower.sum(axis=1) - 0.5) / others

    def interval(self, name: str) -> list[Interval]:
        """Bootstrap intervals of a measure, of "skill" or of "win_rate", one for each contestant."""
        if self.by_unit.shape[1] < FEWEST_UNITS:
            return [Interval(math.nan, math.nan)] * len(self.contestants)
        share = self.draws[:, self.measured]
        share = share / share.sum(axis=1, keepdims=True)
        if name == "skill":
            values = 100 * (1 - np.exp(self.log_relative @ share.T))
        elif name == "win_rate":
            values = self.wins @ share.T
        else:
            values = measure(name, np.einsum("ru,cuk->crk", self.draws, self.by_unit, optimize=True))
        return [Interval(*pair) for pair in np.quantile(values, INTERVAL, axis=1).T.tolist()]

    @cached_property
    def chances(self) -> np.ndarray:
        """p-value of the difference of each pair of mean errors, (contestants, contestants); NaN if undecidable."""
        above, below, *_ = RATIOS[self.name]
        sums = [one.mean for one in self.contestants]
        found = np.full((len(sums), len(sums)), math.nan)
        for one in range(len(sums)):
            for other in range(one):
                difference = sums[one][:, COLUMN[above]] - sums[other][:, COLUMN[above]]
                p = compare_losses(difference, sums[one][:, COLUMN[below]], *self.windows)
                found[one, other] = found[other, one] = math.nan if p is None else p
        return found

    def against_best(self, place: int) -> str:
        """ "best", "tie" if the difference from the best may be chance, else "worse"; with the p-value."""
        return "best" if place == 0 else self.verdict(place, 0)

    def verdict(self, one: int, other: int) -> str:
        """ "better", "worse" or "tie" of one contestant against another, with the p-value; "-" if undecidable."""
        chance, errors = self.chances[one, other], self.errors
        if errors[one] == errors[other] or math.isnan(chance):
            return "tie" if errors[one] == errors[other] else "-"
        found = "tie" if chance > CHANCE else "better" if errors[one] < errors[other] else "worse"
        return f"{found} {format_chance(chance)}"

    def singles(self, one: Contestant) -> list[float]:
        """The error of each run."""
        return [float(measure(self.name, sums.sum(axis=0))) for sums in one.sums]

    @cached_property
    def objections(self) -> list[Objection]:
        """Reasons to doubt the figures."""
        found = [self._worse(RIDGE), self._worse(self._naive), self._seeds(), self._few()]
        return [one for one in found if one is not None]

    @property
    def _naive(self) -> str:
        """The better naive forecast; the contestants are in order of their error."""
        return next((one.plain_name for one in self.contestants if one.plain_name in (SEASONAL_NAIVE, NAIVE)), "")

    def _worse(self, rival: str) -> Objection | None:
        places = {one.plain_name: place for place, one in enumerate(self.contestants)}
        if rival not in places:
            return None
        own = places[rival]
        worse = [one for one in self.contestants[own + 1 :] if one.plain_name not in RIVALS]
        if not worse:
            return None
        code = "worse-than-ridge" if rival == RIDGE else "worse-than-naive"
        verb = "is" if len(worse) == 1 else "are"
        figures = join_names([format_number(self.errors[places[one.plain_name]]) for one in worse])
        slow = [one.fit_seconds for one in worse if one.fit_seconds > self.contestants[own].fit_seconds]
        seconds = (
            f"; training took {max(slow):,.1f} s against {self.contestants[own].fit_seconds:,.1f} s" if slow else ""
        )
        return Objection(
            code,
            f"{join_names([one.name for one in worse])} {verb} worse than {rival}: {self.name.upper()} {figures}"
            f" against {format_number(self.errors[own])}{seconds if rival == RIDGE else ''}.",
        )

    def _seeds(self) -> Objection | None:
        return seeds_differ_more({one.name: self.singles(one) for one in self.contestants}, self.name.upper())

    def _few(self) -> Objection | None:
        count = len(self.windows.series)
        if count >= FEWEST_WINDOWS:
            return None
        return Objection("few-windows", f"these figures come from only {pluralise(count, 'test window')}.")


def format_chance(chance: float) -> str:
    """ "0.31", or "<0.001"."""
    return f"{chance:.2f}" if chance >= 0.01 else f"{chance:.3f}" if chance >= 0.001 else "<0.001"


def seeds_differ_more(values: Mapping[str, Sequence[float]], measured: str) -> Objection | None:
    """An objection if the standard deviation over seeds is larger than that of the means of the models.

    ``values``: the figure of each seed, by model; models with a single one are left out.
    """
    several = {name: np.asarray(some) for name, some in values.items() if len(some) > 1 and np.ptp(some) > 0}
    if len(several) < 2:
        return None
    seeds = math.sqrt(np.mean([some.var(ddof=1) for some in several.values()]))
    models = float(np.std([some.mean() for some in several.values()], ddof=1))
    if seeds <= models:
        return None
    return Objection(
        "seeds-differ-more",
        f"seeds differ more than models: the standard deviation of {measured} is {format_number(seeds)} over the"
        f" seeds of a model, and {format_number(models)} over the means of {pluralise(len(several), 'model')}; use more"
        " seeds.",
    )
