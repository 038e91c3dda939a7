"""Autocorrelation of curves with 95 % bands, and the seasonal periods that it shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.series import SeriesSet
from seqmodels.description.curves import ROUNDING, Curve, centred_average, detrend, interpolate_gaps, mean_by_position

BAND = 1.96  # standard errors on either side that hold 95 % of a standard normal distribution
CALENDAR_PERIODS = {
    "day": ((7, "a week"), (365, "a year")),
    "business day": ((5, "a week"), (261, "a year")),
    "week": ((52, "a year"),),
    "month": ((12, "a year"),),
    "quarter": ((4, "a year"),),
}
CLOCK_PERIODS = ((3_600_000_000, "an hour"), (86_400_000_000, "a day"), (604_800_000_000, "a week"))  # microseconds
REPEATS = 2.5  # how many times a season must fit into a training curve
LEAST_USUAL, LEAST_OTHER = 0.1, 0.3  # autocorrelation from which a usual period, or any other one, counts as a season
LONGER_BETTER = 0.2  # a longer season is preferred to a shorter one if its autocorrelation is larger by this much
SIMILAR_PEAK = 0.8  # of the highest peak: the first peak of this height is the season, as its multiples are as high
FEW_CYCLES = 1.5  # an unusual season needs this autocorrelation, divided by the root of the number of cycles seen
LONGEST_OTHER = 2_000  # steps up to which unusual seasons are searched


class Correlogram(NamedTuple):
    """Autocorrelation (ACF) and partial autocorrelation (PACF) at lags 0 ... L with the bands of white noise.

    Bands are half widths around 0 for a curve of the average length.
    """

    acf: np.ndarray  # (L + 1,)
    pacf: np.ndarray  # (L + 1,), NaN from the lag on where it cannot be computed
    acf_band: np.ndarray  # (L + 1,)
    pacf_band: float
    curves: int  # number of curves averaged


class Season(NamedTuple):
    """A period after which values repeat."""

    steps: int
    meaning: str  # "a week"; empty for a period that is not one of the calendar
    correlation: float  # with the value one period before, after the moving average over a period is subtracted


def correlogram(curves: Sequence[Curve], lags: int) -> Correlogram | None:
    """Average over all curves that vary, each up to its own length; None if no curve varies."""
    varying = [curve for curve in curves if curve.varies]
    if not varying or lags < 1:
        return None
    acf = mean_by_position([autocorrelation(curve.values, lags) for curve in varying], lags + 1)
    acf = acf[: int(np.isfinite(acf).sum())]
    observed = float(np.mean([curve.observed for curve in varying]))
    band = bartlett_band(acf, observed)
    return Correlogram(acf, partial_autocorrelation(acf), band, BAND / observed**0.5, len(varying))


def autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    """ACF at lags 0 ... min(lags, n - 1) around the mean of the observed values; all NaN for a constant."""
    from statsmodels.tsa.stattools import acf

    lags = min(lags, len(values) - 1)
    known = values[~np.isnan(values)]
    if len(known) == 0 or known.min() == known.max():
        return np.full(lags + 1, np.nan)
    return acf(values, nlags=lags, missing="conservative", fft=True)


def partial_autocorrelation(acf: np.ndarray) -> np.ndarray:
    """PACF that belongs to an ACF, by the Levinson-Durbin recursion."""
    if len(acf) < 2:
        return np.ones(1)
    from statsmodels.tsa.stattools import levinson_durbin

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pacf = np.array(levinson_durbin(acf, nlags=len(acf) - 1, isacov=True)[2])
    pacf[0] = 1.0
    # Missing values, or averages over curves of different lengths, may leave an ACF that no process has.
    invalid = np.flatnonzero(~(np.abs(pacf) <= 1.0 + 1e-9))
    if len(invalid):
        pacf[invalid[0] :] = np.nan
    return pacf


def bartlett_band(acf: np.ndarray, observed: float) -> np.ndarray:
    """Half width of the band at each lag if all correlations from this lag on were 0 (Bartlett's formula)."""
    before = np.concatenate([[0.0, 0.0], np.cumsum(acf[1:-1] ** 2)])[: len(acf)]
    band = BAND * np.sqrt((1 + 2 * before) / observed)
    band[0] = 0.0
    return band


def last_relevant_lag(found: Correlogram, least: float = 0.1) -> int:
    """Last lag with a partial autocorrelation above ``least`` and above chance among many lags; 0 for none."""
    sizes = np.nan_to_num(np.abs(found.pacf[1:]))
    relevant = np.flatnonzero(sizes > max(least, 1.5 * found.pacf_band / found.curves**0.5))
    return int(relevant[-1]) + 1 if len(relevant) else 0


def usual_periods(series: SeriesSet) -> list[tuple[int, str]]:
    """Calendar periods in steps of this frequency with their meaning, ascending."""
    periods = list(CALENDAR_PERIODS.get(series.frequency, ()))
    if not periods and series.frequency and series.time is not None and series.time.dtype.kind == "M":
        longest = int(np.argmax(series.lengths))  # a series of one row has no step
        time = series.time[series.offsets[longest] : series.offsets[longest + 1]]
        step = int(np.median(np.diff(time).astype(np.int64)))
        periods = [(size // step, name) for size, name in CLOCK_PERIODS if 0 < step < size and size % step == 0]
    if series.season > 1 and series.season not in [steps for steps, _ in periods]:
        periods.append((series.season, ""))
    return sorted(periods)


def find_season(curves: Sequence[Curve], usual: Sequence[tuple[int, str]]) -> tuple[Season | None, list[Season]]:
    """The season of the curves of all channels, or None, and all periods found."""
    varying = [curve for curve in curves if curve.varies]
    threshold = max(LEAST_USUAL, chance_correlation(varying))
    seasons = [measure_season(varying, steps, meaning) for steps, meaning in usual]
    seasons = [season for season in seasons if season.correlation > threshold]
    if not seasons:
        seasons = [season for season in [highest_peak(varying)] if season is not None]
    chosen = None
    for season in seasons:
        if chosen is None or season.correlation > chosen.correlation + LONGER_BETTER:
            chosen = season
    return chosen, seasons


def chance_correlation(curves: Sequence[Curve]) -> float:
    """Twice the standard error of the average autocorrelation of white noise."""
    return 2 / float(sum(curve.observed for curve in curves)) ** 0.5 if curves else 1.0


def measure_season(curves: Sequence[Curve], steps: int, meaning: str = "") -> Season:
    """Average autocorrelation at one period, of the curves that are long enough for it."""
    found = []
    for curve in curves:
        values = interpolate_gaps(curve.values)
        if len(values) >= REPEATS * steps:
            fast = values - centred_average(values, steps)
            if np.abs(fast).max() > ROUNDING * np.abs(values).max():
                found.append(unbiased_autocorrelation(fast, steps)[steps])
    return Season(steps, meaning, float(np.mean(found)) if found else 0.0)


def unbiased_autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    """ACF at the lags that fit, each a mean over its number of pairs, so that it does not shrink with the lag."""
    fitting = min(lags, int(len(values) / REPEATS))
    return autocorrelation(values, fitting) * len(values) / (len(values) - np.arange(fitting + 1))


def highest_peak(curves: Sequence[Curve]) -> Season | None:
    """Season at the highest peak of the autocorrelation; None if it is too low or seen in too few cycles."""
    from scipy.signal import find_peaks

    lags = min(LONGEST_OTHER, int(max((len(curve.values) for curve in curves), default=0) / REPEATS))
    if lags < 4:
        return None
    curve_acfs = [unbiased_autocorrelation(detrend(curve.values), lags) for curve in curves]
    acf = np.nan_to_num(mean_by_position(curve_acfs, lags + 1))
    peaks, _ = find_peaks(acf, height=LEAST_OTHER, prominence=LEAST_OTHER / 2)
    if len(peaks) == 0:
        return None
    first = int(np.argmax(acf[peaks] >= SIMILAR_PEAK * acf[peaks].max()))
    season = measure_season(curves, int(peaks[first]))
    cycles = sum(curve.observed for curve in curves) / season.steps
    return season if season.correlation > max(LEAST_OTHER, FEW_CYCLES / cycles**0.5) else None
