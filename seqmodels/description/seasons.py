"""The seasonal period of data: the usual ones of their frequency, and what the autocorrelation says of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.autocorrelation import autocorrelation
from seqmodels.description.sample import ROUNDING, Curve, detrended, filled, moving_mean, pooled

USUAL = {
    "day": ((7, "a week"), (365, "a year")),
    "business day": ((5, "a week"), (261, "a year")),
    "week": ((52, "a year"),),
    "month": ((12, "a year"),),
    "quarter": ((4, "a year"),),
}
CLOCK = ((3_600_000_000, "an hour"), (86_400_000_000, "a day"), (604_800_000_000, "a week"))  # microseconds
REPEATS = 2.5  # as often must a season fit into the training span
USUAL_LEAST, LEAST = 0.1, 0.3  # autocorrelation that makes a season, of a usual period and of any other
MUCH = 0.2  # by so much more, a longer season is preferred to a shorter one
ALIKE = 0.8  # of the highest peak: an earlier one of that height is the season, the highest a multiple of it
FEW_CYCLES = 1.5  # correlation that an unusual season needs, times the root of how often it was seen: few are chance
LONGEST = 2_000  # steps within which an unusual season is looked for


class Season(NamedTuple):
    """A period after which values return."""

    steps: int
    meaning: str  # "a week"; empty for a period that no calendar knows
    correlation: float  # with the value one season before, the slow part (a mean over a season) taken out


def usual_seasons(series: Any) -> list[tuple[int, str]]:
    """Periods in steps that people would expect of this frequency, with their meaning, ascending."""
    found = list(USUAL.get(series.frequency, ()))
    if not found and series.frequency and series.time is not None and series.time.dtype.kind == "M":
        longest = int(np.argmax(series.lengths))  # one of a single row shows no step
        labels = series.time[series.offsets[longest] : series.offsets[longest + 1]]
        step = int(np.median(np.diff(labels).astype(np.int64)))
        found = [(size // step, name) for size, name in CLOCK if step > 0 and size % step == 0 and size // step > 1]
    if series.season > 1 and series.season not in [steps for steps, _ in found]:
        found.append((series.season, ""))
    return sorted(found)


def find_season(curves: Sequence[Curve], usual: Sequence[tuple[int, str]]) -> tuple[Season | None, list[Season]]:
    """The season, if any, and all periods that were found; ``curves`` are those of all channels."""
    varying = [curve for curve in curves if curve.varies]
    found = [measured(varying, steps, meaning) for steps, meaning in usual]
    seasons = [season for season in found if season.correlation > max(USUAL_LEAST, chance(varying))]
    if not seasons:
        seasons = [season for season in [peak(varying)] if season is not None]
    chosen = None
    for season in seasons:
        if chosen is None or season.correlation > chosen.correlation + MUCH:
            chosen = season
    return chosen, seasons


def measured(curves: Sequence[Curve], steps: int, meaning: str = "") -> Season:
    """How much values one such period apart have in common, on average over the curves that are long enough."""
    found = []
    for curve in curves:
        values = filled(curve.values)
        if len(values) >= REPEATS * steps:
            fast = values - moving_mean(values, steps)
            if np.abs(fast).max() > ROUNDING * np.abs(values).max():
                found.append(unbiased(fast, steps)[steps])
    return Season(steps, meaning, float(np.mean(found)) if found else 0.0)


def unbiased(values: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation at the lags that fit, each one a mean over the pairs there are: not smaller for few pairs."""
    fitting = min(lags, int(len(values) / REPEATS))
    return autocorrelation(values, fitting) * len(values) / (len(values) - np.arange(fitting + 1))


def chance(curves: Sequence[Curve]) -> float:
    """Correlation that so many curves of this length have by chance on average, twice the standard error."""
    return 2 / float(sum(curve.observed for curve in curves)) ** 0.5 if curves else 1.0


def peak(curves: Sequence[Curve]) -> Season | None:
    """The highest peak of the autocorrelation, where it is high enough and the curves show it often enough."""
    from scipy.signal import find_peaks

    lags = min(LONGEST, int(max((len(curve.values) for curve in curves), default=0) / REPEATS))
    if lags < 4:
        return None
    acf = np.nan_to_num(pooled([unbiased(detrended(curve.values), lags) for curve in curves], lags + 1))
    places, _ = find_peaks(acf, height=LEAST, prominence=LEAST / 2)
    if len(places) == 0:
        return None
    first = int(np.argmax(acf[places] >= ALIKE * acf[places].max()))  # multiples of a season are as high
    season = measured(curves, int(places[first]))
    cycles = sum(curve.observed for curve in curves) / season.steps
    return season if season.correlation > max(LEAST, FEW_CYCLES / cycles**0.5) else None
