"""What a curve is made of: trend, season and remainder, how strong they are, and how often to difference it."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels.description.curves import Curve, filled, moving_mean

NEWEST = 20_000  # steps of a curve that are decomposed, the newest ones
WINDOW = 11  # of the smoother that lets a season change, in seasons
STRONG = 0.64  # seasonal strength from which a seasonal difference is advised
LEVEL = 0.05  # of the test for stationarity
MOST_DIFFERENCES = 2
FAR = 3.0  # ranges between the quartiles, beyond them, and deviations: there a remainder is called an outlier


class Components(NamedTuple):
    """Three parts that add up to the values, (n,) each."""

    trend: np.ndarray
    season: np.ndarray
    remainder: np.ndarray


class Outlier(NamedTuple):
    """A value far from what trend and season let expect."""

    series: int
    channel: int
    row: int
    value: float
    expected: float


class Behaviour(NamedTuple):
    """What the curves of one channel are like, on average."""

    channel: str
    curves: int  # how many of them could be decomposed
    trend: float  # strengths from 0 to 1, NaN where unknown
    season: float
    differences: float  # how often to difference until nothing speaks against stationarity, and of which lag:
    seasonal_differences: float
    checked: int  # values among which outliers were looked for
    outliers: tuple[Outlier, ...]  # the farthest first


class Close(NamedTuple):
    """What one curve is like."""

    figures: tuple[float, float, int, int]  # those of ``Behaviour``, in its order
    checked: int
    outliers: list[Outlier]


def shortest(season: int) -> int:
    """Steps that a decomposition takes: two whole seasons and one more, at least ten."""
    return max(10, 2 * season + 1)


def decompose(values: np.ndarray, season: int, robust: bool = False) -> Components | None:
    """Seasonal-trend decomposition by loess; ``robust``: outliers have little influence on it.

    Without a season the trend is a moving mean over a tenth of the values.

    ``values`` has no gaps. None where it is too short.
    """
    if len(values) < shortest(season):
        return None
    if season < 2:
        trend = moving_mean(values, max(5, len(values) // 10) | 1)
        return Components(trend, np.zeros_like(trend), values - trend)
    from statsmodels.tsa.seasonal import STL

    low, trend_window = season + 1 + season % 2, int(np.ceil(1.5 * season / (1 - 1.5 / WINDOW))) | 1
    # Loess at every tenth step of its window and straight lines between: the usual jumps, ten times faster.
    jumps = {"seasonal_jump": 1, "trend_jump": -(-trend_window // 10), "low_pass_jump": -(-low // 10)}
    stl = STL(values, period=season, seasonal=WINDOW, trend=max(3, trend_window), low_pass=low, robust=robust, **jumps)
    fitted = stl.fit(inner_iter=1, outer_iter=5) if robust else stl.fit()  # both take about five passes
    return Components(fitted.trend, fitted.seasonal, fitted.resid)


def strength(part: np.ndarray, remainder: np.ndarray) -> float:
    """Max(0, 1 - Var(remainder) / Var(part + remainder)).

    Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., section 4.3.
    """
    whole = float(np.var(part + remainder))
    return max(0.0, 1 - float(np.var(remainder)) / whole) if whole > 0 else 0.0


def differences(values: np.ndarray) -> int:
    """How often to difference until the test of Kwiatkowski and others finds no more sign of a changing level."""
    for order in range(MOST_DIFFERENCES):
        if len(values) < 10 or np.ptp(values) == 0 or _level_probability(values) >= LEVEL:
            return order
        values = np.diff(values)
    return MOST_DIFFERENCES


def _level_probability(values: np.ndarray) -> float:
    from statsmodels.tools.sm_exceptions import InterpolationWarning
    from statsmodels.tsa.stattools import kpss

    lags = int(4 * (len(values) / 100) ** 0.25)
    with warnings.catch_warnings():  # it warns of probabilities outside of its table, which is 0.01 to 0.1
        warnings.simplefilter("ignore", InterpolationWarning)
        return float(kpss(values, regression="c", nlags=lags, result_object=True).pvalue)


def outliers(curve: Curve, expected: np.ndarray, remainder: np.ndarray, first: int) -> list[Outlier]:
    """Observed values whose remainder lies far outside of the quartiles, and of the deviation: short curves are fitted
    so closely that the quartiles alone would find many.

    ``expected`` and ``remainder`` begin at place ``first`` of the curve.
    """
    observed = ~np.isnan(curve.values[first : first + len(remainder)])
    low, high = np.quantile(remainder[observed], (0.25, 0.75))
    far = FAR * (high - low)
    beyond = observed & ((remainder < low - far) | (remainder > high + far)) & (far > 0)
    beyond &= np.abs(remainder) > FAR * float(np.std(remainder[observed]))
    values = curve.values[first:]
    return [
        Outlier(curve.series, curve.channel, curve.first + first + i, float(values[i]), float(expected[i]))
        for i in np.flatnonzero(beyond).tolist()
    ]


def behaviour(channel: str, curves: Sequence[Curve], season: int) -> Behaviour:
    """Decompose and test every curve that varies and is long enough; strengths and orders are means over them."""
    found = [one for one in (closely(curve, season) for curve in curves if curve.varies) if one is not None]
    means = np.mean([one.figures for one in found], axis=0) if found else np.full(4, np.nan)
    far = sorted((outlier for one in found for outlier in one.outliers), key=lambda one: -abs(one.value - one.expected))
    trend, seasonal, level, seasonal_level = means.tolist()
    checked = sum(one.checked for one in found)
    return Behaviour(channel, len(found), trend, seasonal, level, seasonal_level, checked, tuple(far))


def closely(curve: Curve, season: int) -> Close | None:
    """Decompose and test the newest steps of one curve, or None where it is too short."""
    known = np.flatnonzero(~np.isnan(curve.values))
    first = max(int(known[0]), int(known[-1]) + 1 - NEWEST)
    first = int(known[known >= first][0])  # where what is filled begins
    values = filled(curve.values[first:])
    parts, usual = decompose(values, season), decompose(values, season, robust=True)
    if parts is None or usual is None:
        return None
    seasonal = strength(parts.season, parts.remainder) if season > 1 else float("nan")
    strong = seasonal > STRONG
    level = differences(values[season:] - values[:-season] if strong else values)
    far = outliers(curve, usual.trend + usual.season, usual.remainder, first)
    figures = (strength(parts.trend, parts.remainder), seasonal, level, int(strong))
    return Close(figures, int(np.count_nonzero(known >= first)), far)
