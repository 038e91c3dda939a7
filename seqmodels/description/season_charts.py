"""Pictures of what returns: autocorrelations with their bands, and values by their place in the season."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from seqmodels.description.autocorrelation import Correlogram
from seqmodels.description.profile import Description
from seqmodels.description.sample import Curve
from seqmodels.description.themes import TEXT, Theme, canvas, decorate, legend

TICKS = 8  # at most, on the axis of lags
THIN = 100  # lags from which stems are thin
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Folded(NamedTuple):
    """A curve laid over itself, season upon season."""

    name: str
    channel: str
    quantiles: np.ndarray  # (len(QUANTILES), season), NaN where there is no value
    label: str  # of the axis of places
    ticks: tuple[str, ...]  # names of the places, or empty for their numbers
    first: int  # number of the first place


def correlation_figure(shown: Sequence[tuple[str, Correlogram]], season: int, theme: Theme) -> Figure:
    """A row for each channel: ACF and PACF without lag 0, multiples of the season marked."""
    figure = canvas(0.5 + 2.1 * len(shown), theme)
    grid = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    for row, (channel, found) in zip(grid, shown, strict=True):
        name = f"{channel}: " if len(shown) > 1 else ""
        _stems(row[0], found.acf, found.acf_band, season, theme, f"{name}autocorrelation")
        band = np.full(len(found.pacf), found.pacf_band)
        _stems(row[1], found.pacf, band, season, theme, f"{name}partial")
    for axes in grid[-1]:
        axes.set_xlabel("lag in steps", fontsize=TEXT, color=theme.ink)
    if season > 1:
        legend(figure, grid[0][0], theme)
    return figure


def _stems(axes: Axes, values: np.ndarray, band: np.ndarray, season: int, theme: Theme, title: str) -> None:
    lags = np.arange(1, len(values))
    width = 2.2 if len(lags) <= THIN else 0.9
    seasonal = (lags % season == 0) & (season > 1)
    axes.fill_between(lags, -band[1:], band[1:], color=theme.aside, alpha=0.25, linewidth=0)
    axes.vlines(lags[~seasonal], 0, values[1:][~seasonal], color=theme.soft, linewidth=width)
    label = f"whole seasons of {season:,} steps"
    axes.vlines(lags[seasonal], 0, values[1:][seasonal], color=theme.mark, linewidth=max(1.6, width), label=label)
    axes.axhline(0, color=theme.aside, linewidth=0.8)
    decorate(axes, theme, title)
    axes.set_xlim(left=0)
    if 1 < season <= len(lags) // 2:
        axes.xaxis.set_major_locator(MultipleLocator(season * math.ceil(len(lags) / season / TICKS)))


def folded(description: Description, most: int) -> list[Folded]:
    """The first curve of each channel, laid over itself; nothing where there is no season."""
    season, series = description.advice.season.value, description.data.series
    curves = [next((one for one in channel if one.varies), None) for channel in description.curves[:most]]
    long = [one for one in curves if one is not None and len(one.values) >= 2 * season]
    return [fold(series, one, season) for one in long] if season > 1 else []


def fold(series: Any, curve: Curve, season: int) -> Folded:
    """Quantiles of the values at each place of the season."""
    places, label, ticks = calendar(series, curve, season)
    order = np.argsort(places, kind="stable")
    groups = np.split(curve.values[order], np.searchsorted(places[order], np.arange(1, season)))
    quantiles = np.full((len(QUANTILES), season), np.nan)
    for place, group in enumerate(groups):
        known = group[~np.isnan(group)]
        if len(known):
            quantiles[:, place] = np.quantile(known, QUANTILES)
    first = 0 if ticks or label.startswith("hour") else 1
    return Folded(series.name(curve.series), series.channels[curve.channel], quantiles, label, ticks, first)


def calendar(series: Any, curve: Curve, season: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Place in the season of each value, what to call it, and names of the places: by the calendar where it knows them.

    Otherwise places count from the beginning of the series.
    """
    steps = np.arange(len(curve.values)) + curve.first - int(series.offsets[curve.series])
    kind = (series.frequency, season)
    if series.time is not None and series.time.dtype.kind == "M":
        time = series.clock(slice(curve.first, curve.first + len(curve.values)))
        days = time.astype("datetime64[D]").astype(np.int64)
        if kind == ("day", 7):
            return (days + 3) % 7, "day of the week", DAYS  # 1970-01-01 was a Thursday
        if kind == ("hour", 24):
            return time.astype("datetime64[h]").astype(np.int64) % 24, "hour of the day", ()
        if kind == ("hour", 168):
            hours = time.astype("datetime64[h]").astype(np.int64)
            return (hours + 72) % 168, "hour of the week, from Monday", ()
        if kind == ("month", 12):
            return time.astype("datetime64[M]").astype(np.int64) % 12, "month", MONTHS
    return steps % season, f"step in the season of {season:,}", ()


def season_figure(panels: Sequence[Folded], theme: Theme) -> Figure:
    """One panel for each channel."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = canvas(0.5 + (2.0 * rows if columns > 1 else 2.6), theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for index, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
        _draw_season(axes, panel, theme)
        axes.set_xlabel(panel.label if index + columns >= len(panels) else "", fontsize=TEXT, color=theme.ink)
    legend(figure, grid[0], theme)
    return figure


def _draw_season(axes: Axes, panel: Folded, theme: Theme) -> None:
    low, quarter, median, most, high = panel.quantiles
    places = np.arange(panel.first, panel.first + len(median))
    for lower, upper, alpha, label in ((low, high, 0.2, "90 % of values"), (quarter, most, 0.45, "half of values")):
        axes.fill_between(places, lower, upper, color=theme.soft, alpha=alpha, linewidth=0, label=label)
    marker = "o" if len(places) <= 31 else ""
    axes.plot(places, median, color=theme.mark, linewidth=1.8, marker=marker, markersize=3.5, label="median")
    axes.margins(x=0.02)
    decorate(axes, theme, panel.channel)
    if panel.ticks:
        axes.set_xticks(places, panel.ticks)
