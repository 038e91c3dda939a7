"""Decomposition of curves into trend, season and remainder, with the strengths, differencing and outliers it shows."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels.description.curves import Curve, centred_average, interpolate_gaps

NEWEST_STEPS = 20_000  # of a curve, which are decomposed
SMOOTHER_SEASONS = 11  # seasons in the window of the seasonal smoother
STRONG_SEASON = 0.64  # strength from which a seasonal difference is advised
SIGNIFICANCE = 0.05  # of the stationarity test
MAX_DIFFERENCES = 2
OUTLIER_RANGES = 3.0  # interquartile ranges beyond the quartiles, and standard deviations, from which it is an outlier


class Components(NamedTuple):
    """Three parts that add up to the values, (n,) each."""

    trend: np.ndarray
    season: np.ndarray
    remainder: np.ndarray


class Outlier(NamedTuple):
    """A value far from trend + season."""

    series: int
    channel: int
    row: int
    value: float
    expected: float


class Behaviour(NamedTuple):
    """Trend, season, differencing and outliers of one curve, or averages over the curves of a channel."""

    channel: str
    curves: int  # number of curves long enough to be decomposed
    trend: float  # strengths from 0 to 1, NaN where unknown
    season: float
    differences: float  # order of differencing until the series is stationary, first and seasonal
    seasonal_differences: float
    checked: int  # number of values checked for outliers
    outliers: tuple[Outlier, ...]  # the most distant first


def analyse_channel(channel: str, curves: Sequence[Curve], season: int) -> Behaviour:
    """Decompose and test every curve that varies and is long enough; strengths and orders are means over them."""
    behaviours = (analyse_curve(channel, curve, season) for curve in curves if curve.varies)
    found = [one for one in behaviours if one is not None]
    figures = [(one.trend, one.season, one.differences, one.seasonal_differences) for one in found]
    trend, seasonal, order, seasonal_order = np.mean(figures, axis=0).tolist() if found else [float("nan")] * 4
    outliers = [outlier for one in found for outlier in one.outliers]
    outliers.sort(key=lambda one: -abs(one.value - one.expected))
    checked = sum(one.checked for one in found)
    return Behaviour(channel, len(found), trend, seasonal, order, seasonal_order, checked, tuple(outliers))


def analyse_curve(channel: str, curve: Curve, season: int) -> Behaviour | None:
    """Decompose and test the newest steps of one curve; None if it is too short."""
    known = np.flatnonzero(~np.isnan(curve.values))
    first = int(known[known > known[-1] - NEWEST_STEPS][0])
    values = interpolate_gaps(curve.values[first:])
    parts, robust = decompose(values, season), decompose(values, season, robust=True)
    if parts is None or robust is None:
        return None
    seasonal = strength(parts.season, parts.remainder) if season > 1 else float("nan")
    strong = seasonal > STRONG_SEASON
    order = differencing_order(values[season:] - values[:-season] if strong else values)
    outliers = find_outliers(curve, robust.trend + robust.season, robust.remainder, first)
    checked, trend = int(np.count_nonzero(known >= first)), strength(parts.trend, parts.remainder)
    return Behaviour(channel, 1, trend, seasonal, order, int(strong), checked, tuple(outliers))


def minimum_steps(season: int) -> int:
    """Steps that a decomposition needs: two whole seasons and one more, at least ten."""
    return max(10, 2 * season + 1)


def decompose(values: np.ndarray, season: int, robust: bool = False) -> Components | None:
    """Seasonal-trend decomposition by loess (STL) of values without gaps; None if there are too few.

    Without a season the trend is a moving average over a tenth of the values. ``robust`` limits the influence of
    outliers.
    """
    if len(values) < minimum_steps(season):
        return None
    if season < 2:
        trend = centred_average(values, max(5, len(values) // 10) | 1)
        return Components(trend, np.zeros_like(trend), values - trend)
    from statsmodels.tsa.seasonal import STL

    low_pass, trend_window = season + 1 + season % 2, int(np.ceil(1.5 * season / (1 - 1.5 / SMOOTHER_SEASONS))) | 1
    # Loess at every tenth step of its window and straight lines between: the usual jumps, ten times faster.
    jumps = {"seasonal_jump": 1, "trend_jump": -(-trend_window // 10), "low_pass_jump": -(-low_pass // 10)}
    stl = STL(
        values, period=season, seasonal=SMOOTHER_SEASONS, trend=max(3, trend_window), low_pass=low_pass,
        robust=robust, **jumps,
    )  # fmt: skip
    fitted = stl.fit(inner_iter=1, outer_iter=5) if robust else stl.fit()  # about five passes each
    return Components(fitted.trend, fitted.seasonal, fitted.resid)


def strength(part: np.ndarray, remainder: np.ndarray) -> float:
    """Max(0, 1 - Var(remainder) / Var(part + remainder)).

    Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., section 4.3.
    """
    whole = float(np.var(part + remainder))
    return max(0.0, 1 - float(np.var(remainder)) / whole) if whole > 0 else 0.0


def differencing_order(values: np.ndarray) -> int:
    """Number of differences until the KPSS test no longer rejects a constant level."""
    for order in range(MAX_DIFFERENCES):
        if len(values) < 10 or np.ptp(values) == 0 or _kpss_p_value(values) >= SIGNIFICANCE:
            return order
        values = np.diff(values)
    return MAX_DIFFERENCES


def _kpss_p_value(values: np.ndarray) -> float:
    from statsmodels.tools.sm_exceptions import InterpolationWarning
    from statsmodels.tsa.stattools import kpss

    lags = int(4 * (len(values) / 100) ** 0.25)
    with warnings.catch_warnings():  # it warns of probabilities outside of its table, which is 0.01 to 0.1
        warnings.simplefilter("ignore", InterpolationWarning)
        return float(kpss(values, regression="c", nlags=lags, result_object=True).pvalue)


def find_outliers(curve: Curve, expected: np.ndarray, remainder: np.ndarray, first: int) -> list[Outlier]:
    """Observed values whose remainder is far beyond its quartiles and large in standard deviations.

    The second condition is for short curves, which are fitted so closely that quartiles alone find too many.
    ``expected`` and ``remainder`` begin at position ``first`` of the curve.
    """
    values = curve.values[first : first + len(remainder)]
    observed = ~np.isnan(values)
    low, high = np.quantile(remainder[observed], (0.25, 0.75))
    margin = OUTLIER_RANGES * (high - low)
    far = observed & ((remainder < low - margin) | (remainder > high + margin)) & (margin > 0)
    far &= np.abs(remainder) > OUTLIER_RANGES * float(np.std(remainder[observed]))
    return [
        Outlier(curve.series, curve.channel, curve.first + first + i, float(values[i]), float(expected[i]))
        for i in np.flatnonzero(far).tolist()
    ]


BREAK_SEASONS, BREAK_STEPS = 4, 28  # on either side of a break, whichever is more
BREAK_ERRORS = 4  # standard errors of the mean, below which a change of level may be chance
BREAK_TIMES = 1.5  # the largest change within the training part, from which a later one is a break


class Break(NamedTuple):
    """Change of level or variability at ``step``: means over ``width`` steps before and after."""

    what: str
    step: int
    width: int
    before: float
    after: float
    times: float  # size, in units of the largest change within the training part

    def __str__(self) -> str:
        share = abs(self.after / self.before - 1) if self.before else float("inf")
        change = f"{share:.0%} {'lower' if self.after < self.before else 'higher'}"
        change = change if 0 < self.before and 0 <= self.after and share < 10 else f"{self.after:.4g}"
        return f"the {self.what} over {self.width:,} steps is {change} ({self.after:.4g} after {self.before:.4g})"


def find_break(values: np.ndarray, training: int, season: int) -> Break | None:
    """The largest change of level, else of variability, after ``training`` steps; None if one before is as large.

    ``values`` (n,) without gaps.
    """
    width = max(BREAK_STEPS, BREAK_SEASONS * season)
    if training < 4 * width or len(values) - training < width // 2:
        return None
    moves = np.abs(np.diff(values, prepend=values[0]))
    return _largest_change("mean", values, training, width) or _largest_change(
        "mean step from one value to the next", moves, training, width, logarithmic=True
    )


def _largest_change(
    what: str, values: np.ndarray, training: int, width: int, logarithmic: bool = False
) -> Break | None:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means = (sums[width:] - sums[:-width]) / width
    before, after = means[:-width], means[width:]  # of the steps before and from step ``width`` + i on
    if logarithmic and means.min() <= 0:
        return None
    size = np.abs(np.log(after / before)) if logarithmic else np.abs(after - before)
    squares = np.concatenate([[0.0], np.cumsum(np.square(values - values[:training].mean()))])
    spread = np.maximum(0, (squares[width:] - squares[:-width]) / width - np.square(means - values[:training].mean()))
    uncertain = BREAK_ERRORS * np.sqrt(spread / width)[width:]  # of the mean after a change
    usual, later = size[: training - 2 * width + 1].max(), size[training - 2 * width + 1 :]
    if not logarithmic:
        later = np.where(later > uncertain[-len(later) :], later, 0)
    if len(later) == 0 or later.max() <= BREAK_TIMES * usual or (logarithmic and later.max() < np.log(2)):
        return None
    place = training - 2 * width + 1 + int(later.argmax())
    return Break(
        what, place + width, width, float(before[place]), float(after[place]), float(later.max() / max(usual, 1e-300))
    )
