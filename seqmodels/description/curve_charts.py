"""Pictures of values: series over time with their parts shaded, and how the values are distributed."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from seqmodels.description.counts import Range
from seqmodels.description.sample import values_of
from seqmodels.description.themes import Theme, canvas, decorate, legend

STRETCHES = 600  # into which a long curve is cut
FEW = 60  # up to so many points each one gets a marker
BINS = 50


def choose(series: Any, most: int) -> list[tuple[int, int]]:
    """Series and channels to draw: all channels of one series, or the first channel of series spread evenly."""
    if len(series) == 1:
        return [(0, channel) for channel in range(min(most, len(series.channels)))]
    filled = np.flatnonzero(series.lengths)
    places = np.linspace(0, len(filled) - 1, min(most, len(filled))).round().astype(np.int64)
    return [(int(filled[place]), 0) for place in places]


def is_thinned(series: Any, index: int) -> bool:
    """Whether the curve has too many values to draw each one."""
    return int(series.lengths[index]) > 2 * STRETCHES


def series_figure(data: Any, panels: Sequence[tuple[int, int]], theme: Theme) -> Figure:
    """One panel for each series or channel, with the rows of each part shaded."""
    figure = canvas(0.5 + (1.45 * len(panels) if len(panels) > 1 else 2.6), theme)
    grid = figure.subplots(len(panels), 1, squeeze=False).ravel()
    for axes, (index, channel) in zip(grid, panels, strict=True):
        _draw_series(axes, data, index, channel, theme)
    steps = "steps" if data.series.time is None else ""
    grid[-1].set_xlabel(steps, fontsize=9, color=theme.ink)
    _legend_of_parts(figure, grid[0], data.spans, theme)
    return figure


def _draw_series(axes: Axes, data: Any, index: int, channel: int, theme: Theme) -> None:
    series = data.series
    start, stop = int(series.offsets[index]), int(series.offsets[index + 1])
    time = times(series, start, stop)
    if is_thinned(series, index):
        starts, least, mean, greatest = stretches(series, start, stop, channel)
        axes.fill_between(time[starts], least, greatest, color=theme.soft, alpha=0.6, linewidth=0)
        axes.plot(time[starts], mean, color=theme.ink, linewidth=0.9)
    else:
        marker = "." if len(time) <= FEW else ""
        values = values_of(series, start, stop, channel)
        axes.plot(time, values, color=theme.ink, linewidth=0.9, marker=marker, markersize=4)
    for stage, span in data.spans.items():
        low, high = int(span.start[index]), int(span.stop[index])
        if high > low:
            end = time[high - start] if high < stop else time[-1]
            axes.axvspan(time[low - start], end, color=getattr(theme, stage), alpha=0.16, linewidth=0)
    axes.margins(x=0.01)
    name = series.channels[channel] if len(series) == 1 else series.name(index)
    decorate(axes, theme, name)
    if time.dtype.kind == "M":
        date_axis(axes, theme)


def _legend_of_parts(figure: Figure, axes: Axes, spans: Any, theme: Theme) -> None:
    """Patches for all parts that have rows, whether or not they are in the first panel."""
    for stage, span in spans.items():
        if span.stop.sum() > span.start.sum():
            axes.fill_between([], [], color=getattr(theme, stage), alpha=0.35, linewidth=0, label=stage)
    legend(figure, axes, theme)


def times(series: Any, start: int, stop: int) -> np.ndarray:
    """Labels of rows, or their steps from 0 where the data have no time."""
    return np.arange(stop - start) if series.time is None else series.clock(slice(start, stop))


def date_axis(axes: Axes, theme: Theme) -> None:
    """Dates that are as short as they can be."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(color=theme.ink, fontsize=8)


def stretches(series: Any, start: int, stop: int, channel: int) -> tuple[np.ndarray, ...]:
    """Where each stretch of a long curve begins, and its smallest value, mean and largest value; NaN without any.

    Only one stretch is held at a time.
    """
    borders = np.linspace(0, stop - start, STRETCHES + 1).astype(np.int64)
    figures = np.full((3, STRETCHES), np.nan)
    for index, (low, high) in enumerate(itertools.pairwise(borders.tolist())):
        values = values_of(series, start + low, start + high, channel)
        known = values[~np.isnan(values)]
        if len(known):
            figures[:, index] = known.min(), known.mean(), known.max()
    return borders[:-1], *figures


def histogram_figure(ranges: Sequence[Range], theme: Theme) -> Figure:
    """One panel for each channel."""
    columns = min(2, len(ranges))
    rows = -(-len(ranges) // columns)
    figure = canvas(0.3 + (1.9 * rows if columns > 1 else 2.4), theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(ranges) :]:
        axes.remove()
    for axes, one in zip(grid, ranges, strict=False):
        axes.hist(one.drawn, BINS, color=theme.soft, linewidth=0)
        axes.axvline(one.median, color=theme.mark, linewidth=1.5)
        decorate(axes, theme, one.channel, up="values")
    return figure
