"""Measure the window spec: names, training statistics and seasonal errors that a model may use."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.prepare import PreparedSeries, training_series
from datamodules.series import SeriesSet, Span
from datamodules.statistics import compute_statistics, merge_ranges, seasonal_errors
from seqmodels.window import WindowSpec


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


def seasonal_units(series: SeriesSet, train: Span, short: np.ndarray, spec: WindowSpec) -> Tensor:
    """(series, C) mean |y(t) - y(t - season)| over the training span of each series: ``Inputs.seasonal_error``.

    A series without training rows uses the rows before its first target, a ``short`` (series,) one its first row.
    Where the mean is 0 or cannot be computed, it is replaced by the mean |y(t) - y(t - 1)|, then by the mean |y(t)|,
    then by the training deviation of the channel, so that it is never 0 and as large as the series' own values.
    """
    begin, end = series.offsets[:-1], series.offsets[1:]
    first_target = np.minimum(end, begin + np.where(short, 1, spec.past_steps))
    trained = train.stop > begin
    start, stop = np.where(trained, train.start, begin), np.where(trained, train.stop, first_target)
    errors = seasonal_errors(series, start, stop, spec.season)
    for fallback in (partial(seasonal_errors, season=1), mean_size):
        missing = np.isnan(errors)
        if missing.any():
            needed = np.where(missing.any(axis=1), stop, start)  # reads no rows of the other series
            errors = np.where(missing, fallback(series, start, needed), errors)
    errors = np.where(np.isnan(errors), spec.target_statistics.deviation, errors)
    return torch.from_numpy(errors.astype(np.float32))


def mean_size(series: SeriesSet, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(series, C) mean |y(t)| of observed values, NaN if it is 0 or there are none."""
    means = np.full((len(series), len(series.channels)), np.nan)
    for i in np.flatnonzero(stop > start):
        rows = slice(start[i], stop[i])
        count = stop[i] - start[i] if series.observed is None else series.observed[rows].sum(axis=0)
        total = np.abs(series.values[rows]).sum(axis=0, dtype=np.float64)  # unobserved values are 0
        means[i] = np.where(total > 0, total / np.maximum(1, count), np.nan)
    return means


def sizes_differ(errors: Tensor) -> bool:
    """True if seasonal errors (series, C) of a channel differ more than tenfold between the 5 and 95 % quantiles."""
    low, high = np.quantile(errors.numpy(), (0.05, 0.95), axis=0)
    return bool((high > 10 * low).any())
