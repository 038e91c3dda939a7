"""Lagged targets and rolling features, computed within each series."""

import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches

import numpy as np
import polars as pl

from datamodules.covariates.column import CovariateColumn
from datamodules.series import SeriesSet
from seqmodels.window import InputError

ROWS_AT_ONCE = 2**22  # approximate rows per polars query: bounded memory, without a query for each series
VALUE = pl.col("value")


def within_series(
    expression: pl.Expr, values: np.ndarray, offsets: np.ndarray, observed: np.ndarray | None = None
) -> np.ndarray:
    """Evaluate a polars expression of ``VALUE`` within each series, in float64: (rows,) -> (rows,) of the same type.

    Series i is rows ``offsets[i]:offsets[i + 1]``. NaN and values not ``observed`` (rows,) are null to the expression;
    null in its result becomes NaN.
    """
    result = np.empty(len(values), values.dtype)
    for first, last in _series_blocks(offsets):
        rows = slice(offsets[first], offsets[last])
        block = values[rows].astype(np.float64)
        if observed is not None:
            block[~observed[rows]] = np.nan
        lengths = np.diff(offsets[first : last + 1])
        frame = pl.DataFrame(
            {
                "series": pl.Series(np.arange(last - first, dtype=np.int32).repeat(lengths)).set_sorted(),
                "value": pl.Series(block, nan_to_null=True),
            }
        )
        # "explode" is faster than the default, and right because the rows of a series are contiguous.
        computed = frame.select(expression.over("series", mapping_strategy="explode")).to_series()
        result[rows] = computed.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return result


def _series_blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Blocks ``first:last`` of whole series with about ``ROWS_AT_ONCE`` rows; a longer series is a block of its own."""
    starts = np.flatnonzero(np.diff(offsets[:-1] // ROWS_AT_ONCE, prepend=-1))
    borders = [*starts.tolist(), len(offsets) - 1]
    yield from zip(borders[:-1], borders[1:], strict=True)


# Of the observed values in a window that ends at the current step; null if the window has none.
STATISTICS: dict[str, Callable[[int], pl.Expr]] = {
    "mean": lambda steps: VALUE.rolling_mean(steps, min_samples=1),
    "deviation": lambda steps: VALUE.rolling_std(steps, min_samples=1, ddof=0),
    "min": lambda steps: VALUE.rolling_min(steps, min_samples=1),
    "max": lambda steps: VALUE.rolling_max(steps, min_samples=1),
    "sum": lambda steps: VALUE.rolling_sum(steps, min_samples=1),
}


class Lags:
    """Transform that adds ``y lag L``, y(t - L) at step t, for each lag L and each channel y.

    A lag of at least the horizon is known for every step of a forecast; a shorter one is a past covariate.
    """

    def __init__(self, lags: Sequence[int]):
        for lag in lags:
            if isinstance(lag, bool) or not isinstance(lag, int) or lag < 1:
                raise InputError(f"data.lags holds {lag!r}; a lag must be a whole number of steps of at least 1.")
        self.lags = lags

    def __call__(self, series: SeriesSet, horizon: int, fitting: bool = True) -> Iterator[CovariateColumn]:
        for lag in self.lags:
            for name, values in _apply_to_channels(series, VALUE.shift(lag), f"lag {lag}"):
                yield CovariateColumn(name, values, key="lags", known=lag >= horizon)


class Rolling:
    """Transform that adds rolling features as past covariates: ``y mean L`` is the mean of y(t - L + 1) ... y(t)."""

    def __init__(self, rolling: Sequence[str]):
        self.statistics = [_parse_rolling(name) for name in rolling]

    def __call__(self, series: SeriesSet, horizon: int, fitting: bool = True) -> Iterator[CovariateColumn]:
        for statistic, steps in self.statistics:
            for name, values in _apply_to_channels(series, STATISTICS[statistic](steps), f"{statistic} {steps}"):
                yield CovariateColumn(name, values, key="rolling")


def _parse_rolling(name: str) -> tuple[str, int]:
    """``mean_24`` -> ("mean", 24)."""
    found = re.fullmatch(r"([a-z]+)_([1-9]\d*)", str(name))
    if found is None or found[1] not in STATISTICS:
        raise InputError(
            f"data.rolling holds {name!r}; it must be one of {', '.join(STATISTICS)} and a number of steps of at least"
            f" 1; nearest: {_suggest(str(name))}."
        )
    if found[1] == "deviation" and found[2] == "1":
        raise InputError(f"data.rolling holds {name!r}; a deviation needs at least 2 steps.")
    return found[1], int(found[2])


def _suggest(name: str) -> str:
    """Nearest valid name: ``men_7`` -> mean_7; a missing part is taken from mean_24."""
    found = re.search(r"(?<![\d.-])([2-9]|[1-9]\d+)$", name)  # not 1, as deviation_1 is invalid
    near = get_close_matches(re.sub(r"[^a-z]", "", name), STATISTICS, n=1, cutoff=0.4)
    return f"{near[0] if near else 'mean'}_{found[0] if found else 24}"


def _apply_to_channels(series: SeriesSet, expression: pl.Expr, suffix: str) -> Iterator[tuple[str, np.ndarray]]:
    for index, channel in enumerate(series.channels):
        observed = None if series.observed is None else series.observed[:, index]
        yield f"{channel} {suffix}", within_series(expression, series.values[:, index], series.offsets, observed)
