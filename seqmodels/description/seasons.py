"""Autocorrelations with their 95 % bands, averaged over curves, and the seasons that they show."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.curves import ROUNDING, Curve, detrended, filled, moving_mean, pooled

BAND = 1.96  # standard errors on either side that hold 95 % of what chance gives


class Correlogram(NamedTuple):
    """Correlation with the value k steps before, k = 0 ... lags: with what lies between (ACF) and without it (PACF).

    Bands are half widths around 0 for a curve of the average length: what lies within them may be chance.
    """

    acf: np.ndarray  # (lags + 1,)
    pacf: np.ndarray  # (lags + 1,), NaN behind a place where it cannot be computed
    acf_band: np.ndarray  # (lags + 1,)
    pacf_band: float
    curves: int  # how many were averaged


def autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    """ACF at lags 0 ... min(lags, n - 1) around the mean of all values, of which NaN are not observed.

    All NaN where the values do not differ.
    """
    from statsmodels.tsa.stattools import acf

    lags = min(lags, len(values) - 1)
    known = values[~np.isnan(values)]
    if len(known) == 0 or known.min() == known.max():
        return np.full(lags + 1, np.nan)
    return acf(values, nlags=lags, missing="conservative", fft=True)


def correlogram(curves: Sequence[Curve], lags: int) -> Correlogram | None:
    """Averages over all curves that vary; each has as many lags as it is long. None where there is none."""
    varying = [curve for curve in curves if curve.varies]
    if not varying or lags < 1:
        return None
    acf = pooled([autocorrelation(curve.values, lags) for curve in varying], lags + 1)
    acf = acf[: int(np.isfinite(acf).sum())]
    observed = float(np.mean([curve.observed for curve in varying]))
    return Correlogram(acf, partial(acf), bartlett(acf, observed), BAND / observed**0.5, len(varying))


def partial(acf: np.ndarray) -> np.ndarray:
    """PACF that belongs to an ACF, by the recursion of Levinson and Durbin."""
    if len(acf) < 2:
        return np.ones(1)
    from statsmodels.tsa.stattools import levinson_durbin

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.array(levinson_durbin(acf, nlags=len(acf) - 1, isacov=True)[2])
    found[0] = 1.0
    # Missing values, or averages over curves of different lengths, may leave an ACF that no process has.
    beyond = np.flatnonzero(~(np.abs(found) <= 1.0 + 1e-9))
    if len(beyond):
        found[beyond[0] :] = np.nan
    return found


def bartlett(acf: np.ndarray, observed: float) -> np.ndarray:
    """Half width of the band at each lag if all correlations from there on were 0 (Bartlett's formula)."""
    before = np.concatenate([[0.0, 0.0], np.cumsum(acf[1:-1] ** 2)])[: len(acf)]
    band = BAND * np.sqrt((1 + 2 * before) / observed)
    band[0] = 0.0
    return band


def reach(found: Correlogram, least: float = 0.1) -> int:
    """The last lag whose partial autocorrelation is of a size that matters, and no chance among many lags; 0: none."""
    sizes = np.nan_to_num(np.abs(found.pacf[1:]))
    beyond = np.flatnonzero(sizes > max(least, 1.5 * found.pacf_band / found.curves**0.5))
    return int(beyond[-1]) + 1 if len(beyond) else 0


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
