"""Forecasts of the future as a table for the terminal and as a picture."""

from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from datamodules.series import SeriesSet
from seqmodels.report.output import format_number, pluralise
from seqmodels.report.plotting import (
    DOTS_PER_INCH,
    FONT_SIZE,
    FORECAST,
    HEIGHT,
    PAST,
    WIDTH,
    add_title_and_legend,
    style_axes,
)

MOST_PANELS = 6
PRINTED, MOST_ROWS = 2, 16  # curves and rows of each in the terminal; a single curve has twice as many rows
OUTER, INNER = (0.1, 0.9), (0.3, 0.7)  # levels of the two bands


class FutureForecast(Protocol):
    """Fields that are drawn and printed, see ``seqmodels.inference.forecast.Forecast``."""

    @property
    def series(self) -> SeriesSet: ...
    @property
    def stop(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def quantiles(self) -> np.ndarray: ...
    @property
    def levels(self) -> tuple[float, ...]: ...
    @property
    def spread(self) -> np.ndarray | None: ...
    @property
    def times(self) -> pl.Series: ...


def row_times(series: SeriesSet) -> pl.Series:
    """Timestamps of the rows of all series: dates, local times, times in their zone, or numbers of steps."""
    if series.time is None:
        return pl.Series("step", np.arange(len(series.values)) - np.repeat(series.offsets[:-1], series.lengths) + 1)
    times = pl.Series("time", series.time)
    if series.time.dtype.kind != "M":
        return times
    local = pl.Series("time", series.local_time(slice(None)))
    if (local == local.dt.truncate("1d")).all():
        return local.cast(pl.Date)
    return times.dt.replace_time_zone("UTC").dt.convert_time_zone(series.zone) if series.zone else local


class Curve(NamedTuple):
    """One channel of one series, and why it is shown."""

    series: int
    channel: int
    reason: str = ""


def choose_curves(forecast: FutureForecast, most: int = MOST_PANELS) -> list[Curve]:
    """All curves if there are at most ``most``; else the most uncertain ones and the most typical ones.

    Uncertain: the widest band between the outer levels, relative to the mean step of the series' own past. Typical: a
    width nearest to the median.
    """
    count, _, channels = forecast.mean.shape
    curves = [Curve(series, channel) for series in range(count) for channel in range(channels)]
    if len(curves) <= most:
        return curves
    width = relative_widths(forecast).ravel()
    if not np.isfinite(width).any():
        return [curve._replace(reason="first") for curve in curves[:most]]
    order = np.argsort(-np.nan_to_num(width, nan=-1.0), kind="stable")
    widest = [int(place) for place in order[: most // 2]]
    middle = np.argsort(np.abs(np.nan_to_num(width, nan=np.inf) - np.nanmedian(width)), kind="stable")
    typical = [int(place) for place in middle if place not in widest][: most - len(widest)]
    reasons = [(place, "widest band") for place in widest] + [(place, "typical band") for place in typical]
    return [curves[place]._replace(reason=reason) for place, reason in reasons]


def relative_widths(forecast: FutureForecast) -> np.ndarray:
    """Mean width of the outer band in units of the mean |y(t) - y(t - 1)| of the past, (series, C); NaN without one."""
    low, high = (band(forecast, level) for level in OUTER)
    widths = np.full((forecast.mean.shape[0], forecast.mean.shape[2]), np.nan)
    for index in range(len(widths)):
        past = forecast.series.values[forecast.series.offsets[index] : forecast.stop[index]].astype(np.float64)
        step = np.abs(np.diff(past, axis=0)).mean(axis=0) if len(past) > 1 else np.zeros(past.shape[1])
        size = (high[index] - low[index]).mean(axis=0)
        widths[index] = np.divide(size, step, out=np.full_like(size, np.nan), where=step > 0)
    return widths


def band(forecast: FutureForecast, level: float) -> np.ndarray:
    """Forecast quantile of a level, (series, H, C); NaN if it was not asked for."""
    if level not in forecast.levels:
        return np.full_like(forecast.mean, np.nan)
    return forecast.quantiles[..., forecast.levels.index(level)]


def future_table(forecast: FutureForecast) -> RenderableType:
    """The forecast of a few curves: mean and bands of their first steps."""
    curves = choose_curves(forecast, PRINTED)
    horizon = forecast.mean.shape[1]
    most = MOST_ROWS if len(curves) > 1 else 2 * MOST_ROWS
    shown = horizon if horizon <= most else most - 1
    levels = [level for level in (*OUTER, 0.5) if np.isfinite(band(forecast, level)).any()]
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, overflow="ellipsis", min_width=18)
    figures = {"mean": forecast.mean, **{f"{100 * level:g} %": band(forecast, level) for level in sorted(levels)}}
    figures |= {} if forecast.spread is None else {"spread": forecast.spread}
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    for curve in curves:
        title = curve_title(forecast, curve)
        if title:
            table.add_row(Text(f" {title}", style="bold"))
        for lead in range(shown):
            row = int(forecast.stop[curve.series]) + lead
            place = (curve.series, lead, curve.channel)
            numbers = [values[place] for values in figures.values()]
            table.add_row(f"   {time_label(forecast.times[row])}", *map(format_number, numbers))
        if shown < horizon:
            table.add_row(Text(f"   ... {pluralise(horizon - shown, 'more step')}", style="dim"))
    count, _, channels = forecast.mean.shape
    total = pluralise(count * channels, "series" if channels == 1 else "curve", "series" if channels == 1 else "")
    parts = [f" {total}, {pluralise(horizon, 'step')} each" if count * channels > 1 else ""]
    if levels:
        parts.append(" Bands: quantiles that the validation windows calibrated, unless a note says otherwise.")
    if forecast.spread is not None:
        parts.append(" Spread: standard deviation of the forecasts of the ensemble's members.")
    return Group(table, *(Text(part, style="dim") for part in parts if part))


def time_label(time: Any) -> str:
    """A date, a time without its seconds if these are 0, or a number; the zone is left out."""
    if not isinstance(time, datetime):
        return str(time)
    return f"{time:%Y-%m-%d %H:%M}" if time.second == time.microsecond == 0 else str(time.replace(tzinfo=None))


def curve_title(forecast: FutureForecast, curve: Curve) -> str:
    """Name of series and channel, as far as there are several, and why the curve is shown."""
    series = forecast.series
    names = [series.name(curve.series)] if len(series) > 1 else []
    names += [series.channels[curve.channel]] if len(series.channels) > 1 else []
    return ", ".join(names) + (f" ({curve.reason})" if curve.reason else "")


def plot_future(forecast: FutureForecast) -> Figure:
    """Plot the end of the past, the forecast and its two bands, a panel for each of ``choose_curves``."""
    curves = choose_curves(forecast)
    columns = 1 if len(curves) == 1 else 2 if len(curves) <= 4 else 3
    rows = -(-len(curves) // columns)
    height = HEIGHT * (0.7 if rows == 1 else rows / 2)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(0.07, 0.6 / height, 0.985, 1 - 0.75 / height, wspace=0.2, hspace=0.35)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(curves) :]:
        axes.remove()
    for axes, curve in zip(grid, curves, strict=False):
        _plot_curve(axes, forecast, curve)
    channels = forecast.series.channels
    heading = f"Forecast of {channels[0] if len(channels) == 1 else pluralise(len(channels), 'channel')}"
    add_title_and_legend(figure, heading, grid[0])
    return figure


def _plot_curve(axes: Axes, forecast: FutureForecast, curve: Curve) -> None:
    series, horizon = forecast.series, forecast.mean.shape[1]
    stop, begin = int(forecast.stop[curve.series]), int(series.offsets[curve.series])
    first = max(begin, stop - max(3 * horizon, 2 * series.season, 56))
    times = forecast.times[first : stop + horizon].to_numpy()
    past = series.values[first:stop, curve.channel].astype(np.float64)
    if series.observed is not None:
        past = np.where(series.observed[first:stop, curve.channel], past, np.nan)
    before, after = times[: stop - first], times[stop - first :]
    mean = forecast.mean[curve.series, :, curve.channel]
    axes.plot(before, past, color=PAST, linewidth=1.4, label="past")
    for (low, high), shade in ((OUTER, 0.16), (INNER, 0.28)):
        lower, upper = (band(forecast, level)[curve.series, :, curve.channel] for level in (low, high))
        if np.isfinite(lower).any():
            label = f"{100 * low:g} ... {100 * high:g} %"
            axes.fill_between(after, lower, upper, color=FORECAST, alpha=shade, linewidth=0, label=label)
    small: dict[str, Any] = {"marker": "o", "markersize": 4} if horizon <= 30 else {}
    axes.plot(after, mean, color=FORECAST, linewidth=2, label="forecast", **small)
    axes.set_title(curve_title(forecast, curve), fontsize=FONT_SIZE, loc="left")
    style_axes(axes)
    if np.issubdtype(times.dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
