"""The window spec: names, training statistics and seasonal errors that a model may use."""

import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.prepare import PreparedSeries, training_series
from datamodules.series import SeriesSet, Span
from datamodules.statistics import compute_statistics, merge_ranges, seasonal_errors
from seqmodels.window import WindowSpec


def measure_spec(prepared: PreparedSeries, train: Span) -> WindowSpec:
    """Names and training statistics of all columns; the sizes of a window are still to be set."""
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

    A series outside the training span uses the history before its first target, ``short`` (series,) ones a single row.
    Where this is 0 or cannot be computed, the mean change from one step to the next stands in, then the mean size of
    the series' values, then the training deviation of the channel: units of the series' own size, and never 0.
    """
    begin, end = series.offsets[:-1], series.offsets[1:]
    history = np.minimum(end, begin + np.where(short, 1, spec.past_steps))
    trained = train.stop > begin
    start, stop = np.where(trained, train.start, begin), np.where(trained, train.stop, history)
    errors = seasonal_errors(series, start, stop, spec.season)
    for stand_in in (changes, sizes):
        lacking = np.isnan(errors)
        if lacking.any():
            rows = np.where(lacking.any(axis=1), stop, start)  # nothing is read of the others
            errors = np.where(lacking, stand_in(series, start, rows), errors)
    errors = np.where(np.isnan(errors), spec.target_statistics.deviation, errors)
    return torch.from_numpy(errors.astype(np.float32))


def sizes_differ(errors: Tensor) -> bool:
    """Whether the units (series, C) of some channel lie more than tenfold apart, a twentieth at either end left out."""
    low, high = np.quantile(errors.numpy(), (0.05, 0.95), axis=0)
    return bool((high > 10 * low).any())


def changes(series: SeriesSet, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(series, C) mean |y(t) - y(t - 1)|, NaN where it is 0 or there is none."""
    return seasonal_errors(series, start, stop, 1)


def sizes(series: SeriesSet, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(series, C) mean |y(t)| of what is observed, NaN where it is 0 or there is none."""
    found = np.full((len(series), len(series.channels)), np.nan)
    for i in np.flatnonzero(stop > start):
        rows = slice(start[i], stop[i])
        count = stop[i] - start[i] if series.observed is None else series.observed[rows].sum(axis=0)
        total = np.abs(series.values[rows]).sum(axis=0, dtype=np.float64)  # what is not observed is 0
        found[i] = np.where(total > 0, total / np.maximum(1, count), np.nan)
    return found
