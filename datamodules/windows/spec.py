"""Measure the window spec: names, training statistics and seasonal errors that a model may use."""

import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.prepare import PreparedSeries, training_series
from datamodules.series import SeriesSet, Span
from datamodules.statistics import CHANNELS_NAMED, compute_statistics, merge_ranges, seasonal_errors
from seqmodels.window import WindowSpec

SERIES_NAMED = 3  # in a note
LEADS = 6  # at which naive errors are measured
SAMPLED_VALUES, SAMPLED_SERIES = 1_000_000, 200  # whose naive errors are measured: the newest rows of some series


def measure_spec(prepared: PreparedSeries, train: Span) -> WindowSpec:
    """Names and training statistics of all columns; the caller sets ``past_steps``, ``horizon`` and what follows."""
    series, rows = prepared.series, merge_ranges(train.start, train.stop)
    return WindowSpec(
        past_steps=1,
        horizon=1,
        channels=series.channels,
        past_covariates=series.past_covariate_names,
        known_covariates=series.known_covariate_names,
        statics=series.static_names,
        series=len(series),
        categories=prepared.categories,
        target_statistics=compute_statistics(series.values, rows, series.observed),
        past_statistics=prepared.covariate_statistics(series.past_covariates, series.past_covariate_names, rows),
        known_statistics=prepared.covariate_statistics(series.known_covariates, series.known_covariate_names, rows),
        static_statistics=prepared.covariate_statistics(series.static, series.static_names, training_series(train)),
    )


class NaiveErrors(NamedTuple):
    """Errors of naive forecasts in the training rows, in units of the error of the last value; 0 = not measured."""

    season: float  # of the last season, over the horizon
    mean: float  # of the mean of all training rows of the series, over the steps of a window


def measure_naive_errors(series: SeriesSet, train: Span, spec: WindowSpec) -> NaiveErrors:
    """Median over channels and series of mean absolute errors, each relative to that of the last value.

    The second one tells if values come back to the same level, as those of a random walk or of a trend do not. It is
    about a whole window, since over a few steps the last value is near in any smooth series, but about an eighth of the
    rows at most, since their mean is near in any short series.
    """
    steps = spec.season + spec.past_steps + spec.horizon
    chosen = np.flatnonzero(train.lengths > steps)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(SAMPLED_SERIES, len(chosen))).astype(np.int64)]
    most = max(2 * steps, SAMPLED_VALUES // max(1, len(chosen) * len(series.channels)))
    ratios = []
    for start, stop in zip(train.start[chosen].tolist(), train.stop[chosen].tolist(), strict=True):
        rows = slice(max(start, stop - most), stop)
        values = series.values[rows].astype(np.float64)
        if series.observed is not None:
            values[~series.observed[rows]] = np.nan
        ratios.append(_naive_ratios(values, spec))
    found = np.concatenate([np.empty((0, 2)), *ratios])
    found = found[np.isfinite(found).all(axis=1)]
    return NaiveErrors(*np.median(found, axis=0).tolist()) if len(found) else NaiveErrors(0.0, 0.0)


def _naive_ratios(values: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Errors of the last season and of the mean relative to the last value, (C, 2); NaN where not known."""
    leads, season = _spread(spec.horizon), spec.season
    window = min(spec.past_steps + spec.horizon, max(1, len(values) // 8))
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of channels without values
        last, seasonal, far = (
            np.mean([np.nanmean(np.abs(values[lag:] - values[:-lag]), axis=0) for lag in lags.tolist()], axis=0)
            for lags in (leads, -(-leads // season) * season, _spread(window))
        )
        mean = np.nanmean(np.abs(values - np.nanmean(values, axis=0)), axis=0)
        return np.stack([seasonal / last, mean / far], axis=1)


def _spread(steps: int) -> np.ndarray:
    """At most LEADS whole numbers from 1 to ``steps``, evenly spread."""
    return np.unique(np.linspace(1, steps, min(LEADS, steps)).round().astype(np.int64))


class SeasonalErrors(NamedTuple):
    """Mean |y(t) - y(t - season)| over the training span of each series, (series, C) each.

    ``exact`` is 0 for a series that does not change from season to season, and NaN for one without two values a season
    apart. ``units`` is ``Inputs.seasonal_error``: there, what is 0 or NaN is replaced by the mean |y(t) - y(t - 1)|,
    then by the mean |y(t)|, then by the training deviation of the channel, so that it is never 0 and as large as the
    series' own values.
    """

    exact: np.ndarray
    units: Tensor

    @property
    def denominators(self) -> Tensor:
        """Denominators of MASE: ``units``, and NaN where they are replaced."""
        return torch.where(torch.from_numpy(self.exact > 0), self.units, torch.nan)

    def notes(self, series: SeriesSet, measured: np.ndarray, season: int, where: str) -> list[str]:
        """One line for each channel with ``measured`` (series,) series that have no MASE, with the reasons."""
        apart = f"{season:,} steps apart" if season > 1 else "in a row"
        reasons = {
            f"no two values {apart} differ {where}": self.exact == 0,
            f"no two values {apart} {where}": np.isnan(self.exact),
        }
        notes = []
        for channel, name in enumerate(series.channels):
            found = {reason: np.flatnonzero(which[:, channel] & measured) for reason, which in reasons.items()}
            parts = [f"for {name_some(series, some)}: {reason}" for reason, some in found.items() if len(some)]
            if parts:
                notes.append(f"MASE{f' of {name}' * (len(series.channels) > 1)} is undefined {'; '.join(parts)}")
        more = len(notes) - CHANNELS_NAMED
        return notes if more <= 0 else [*notes[:CHANNELS_NAMED], f"MASE is undefined in {more:,} more channels, too"]


def name_some(series: SeriesSet, some: np.ndarray) -> str:
    """Number and first names of ``some`` series."""
    if len(series) == 1:
        return "the series"
    names = ", ".join(series.name(index) for index in some[:SERIES_NAMED].tolist())
    more = f" and {len(some) - SERIES_NAMED:,} more" if len(some) > SERIES_NAMED else ""
    return f"{len(some):,} of {len(series):,} series ({names}{more})"


def find_history(series: SeriesSet, train: Span, short: np.ndarray, past_steps: int) -> Span:
    """Rows that the seasonal error of each series is measured in, see ``measure_seasonal_errors``."""
    begin, end = series.offsets[:-1], series.offsets[1:]
    first_target = np.minimum(end, begin + np.where(short, 1, past_steps))
    trained = train.stop > begin
    return Span(np.where(trained, train.start, begin), np.where(trained, train.stop, first_target))


def measure_seasonal_errors(series: SeriesSet, train: Span, short: np.ndarray, spec: WindowSpec) -> SeasonalErrors:
    """Seasonal errors of all series.

    A series without training rows uses the rows before its first target, a ``short`` (series,) one its first row. One
    that was 0 throughout gets a small unit of the panel: what is forecast for it must stay near 0 beside the others.
    """
    start, stop = find_history(series, train, short, spec.past_steps)
    exact = units = seasonal_errors(series, start, stop, spec.season)
    for fallback in (partial(seasonal_errors, season=1), mean_size):
        missing = ~(units > 0)
        if missing.any():
            needed = np.where(missing.any(axis=1), stop, start)  # reads no rows of the other series
            units = np.where(missing, fallback(series, start, needed), units)
    units = np.where(units > 0, units, small_units(units, spec.target_statistics.deviation))
    return SeasonalErrors(exact, torch.from_numpy(units.astype(np.float32).clip(np.finfo(np.float32).tiny)))


def small_units(units: np.ndarray, otherwise: tuple[float, ...]) -> np.ndarray:
    """5 % quantile of the units above 0 of each channel (C,); ``otherwise`` in channels without any."""
    known = [channel[channel > 0] for channel in units.T]
    pairs = zip(known, otherwise, strict=True)
    return np.array([np.quantile(one, 0.05) if len(one) else value for one, value in pairs])


def mean_size(series: SeriesSet, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(series, C) mean |y(t)| of observed values, NaN if it is 0 or there are none."""
    means = np.full((len(series), len(series.channels)), np.nan)
    for i in np.flatnonzero(stop > start):
        rows = slice(start[i], stop[i])
        count = stop[i] - start[i] if series.observed is None else series.observed[rows].sum(axis=0)
        total = np.abs(series.values[rows]).sum(axis=0, dtype=np.float64)  # unobserved values are 0
        means[i] = np.where(total > 0, total / np.maximum(1, count), np.nan)
    return means


def find_nonnegative(series: SeriesSet, rows: list[slice]) -> tuple[bool, ...]:
    """True for each channel without a negative value in these rows; what was not observed is 0."""
    least = [series.values[span].min(axis=0) for span in rows if span.stop > span.start]
    return tuple((np.min(least, axis=0) >= 0).tolist()) if least else ()


def sizes_differ(errors: Tensor) -> bool:
    """True if seasonal errors (series, C) of a channel differ more than tenfold between the 5 and 95 % quantiles."""
    low, high = np.quantile(errors.numpy(), (0.05, 0.95), axis=0)
    return bool((high > 10 * low).any())
