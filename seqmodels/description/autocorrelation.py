"""How values hang together with earlier ones: ACF and PACF with their 95 % bands, averaged over curves."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodels.description.sample import Curve, pooled

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
