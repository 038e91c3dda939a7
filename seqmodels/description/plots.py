"""Pictures of a description: series and their parts, distributions, missing values, autocorrelations and seasons."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from seqmodels.description.counts import Range, pieces
from seqmodels.description.curves import Curve, values_of
from seqmodels.description.profile import Description
from seqmodels.description.seasons import Correlogram
from seqmodels.report.plotting import MARKER_LIMIT, PAGE_FONT_SIZE, Theme, add_legend, apply_theme, page_figure

STRETCHES = 600  # into which a long curve is cut
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
    figure = page_figure(0.5 + (1.45 * len(panels) if len(panels) > 1 else 2.6), theme)
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
        marker = "." if len(time) <= MARKER_LIMIT else ""
        values = values_of(series, start, stop, channel)
        axes.plot(time, values, color=theme.ink, linewidth=0.9, marker=marker, markersize=4)
    for stage, span in data.spans.items():
        low, high = int(span.start[index]), int(span.stop[index])
        if high > low:
            end = time[high - start] if high < stop else time[-1]
            axes.axvspan(time[low - start], end, color=getattr(theme, stage), alpha=0.16, linewidth=0)
    axes.margins(x=0.01)
    name = series.channels[channel] if len(series) == 1 else series.name(index)
    apply_theme(axes, theme, name)
    if time.dtype.kind == "M":
        date_axis(axes, theme)


def _legend_of_parts(figure: Figure, axes: Axes, spans: Any, theme: Theme) -> None:
    """Patches for all parts that have rows, whether or not they are in the first panel."""
    for stage, span in spans.items():
        if span.stop.sum() > span.start.sum():
            axes.fill_between([], [], color=getattr(theme, stage), alpha=0.35, linewidth=0, label=stage)
    add_legend(figure, axes, theme)


def times(series: Any, start: int, stop: int) -> np.ndarray:
    """Labels of rows, or their steps from 0 where the data have no time."""
    return np.arange(stop - start) if series.time is None else series.local_time(slice(start, stop))


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
    figure = page_figure(0.3 + (1.9 * rows if columns > 1 else 2.4), theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(ranges) :]:
        axes.remove()
    for axes, one in zip(grid, ranges, strict=False):
        axes.hist(one.drawn, BINS, color=theme.soft, linewidth=0)
        axes.axvline(one.median, color=theme.mark, linewidth=1.5)
        apply_theme(axes, theme, one.channel, y_label="values")
    return figure


MOST_LINES = 30  # lines
CELLS = 400
SHORT = 18  # letters of a name


class Line(NamedTuple):
    """A channel of a series."""

    name: str
    series: int
    channel: int


def choose_lines(series: Any, ranges: Sequence[Range]) -> list[Line]:
    """What to show: channels of one series, or series spread evenly and those with the longest gaps; else nothing."""
    holes = [one for one in ranges if one.longest is not None]
    if len(series) == 1:
        names = list(series.channels)
        return [Line(one.channel, 0, names.index(one.channel)) for one in holes[:MOST_LINES]]
    if not holes and not is_ragged(series):
        return []
    worst = [int(np.searchsorted(series.offsets, one.longest.row, side="right")) - 1 for one in holes if one.longest]
    even = np.linspace(0, len(series) - 1, min(MOST_LINES, len(series))).round().astype(int).tolist()
    chosen = sorted(
        {*worst[: MOST_LINES // 2], *even[: MOST_LINES - min(len(worst), MOST_LINES // 2)]} if worst else even
    )
    channel = list(series.channels).index(holes[0].channel) if holes else 0
    return [Line(series.name(i), i, channel) for i in chosen if series.lengths[i]]


def is_ragged(series: Any) -> bool:
    """Whether series begin or end at different times."""
    lengths = series.lengths
    if series.time is None or not lengths.all():
        return bool(lengths.min() < lengths.max())
    first, last = series.time[series.offsets[:-1]], series.time[series.offsets[1:] - 1]
    return bool(first.min() < first.max() or last.min() < last.max())


def shares(series: Any, line: Line, begin: float, end: float) -> np.ndarray:
    """Share of missing values in each of CELLS equal stretches of the time between, NaN where there is no row."""
    start, stop = int(series.offsets[line.series]), int(series.offsets[line.series + 1])
    rows, gone = np.zeros(CELLS, np.int64), np.zeros(CELLS)
    numbers = places(series, start, stop)
    for part in pieces(stop - start, 1):
        time = (numbers[part].astype(np.float64) - begin) / max(1.0, end - begin)
        cells = (time * CELLS).astype(np.int64).clip(0, CELLS - 1)
        rows += np.bincount(cells, minlength=CELLS)
        missing = np.isnan(values_of(series, start + part.start, start + part.stop, line.channel))
        gone += np.bincount(cells, weights=missing, minlength=CELLS)
    found = np.divide(gone, rows, out=np.full(CELLS, np.nan), where=rows > 0)
    # Where steps are longer than cells, the ones between two rows take after the row before.
    inside, known = np.arange(CELLS), np.flatnonzero(rows)
    between = (inside > known[0]) & (inside < known[-1]) & (rows == 0)
    found[between] = found[known[np.searchsorted(known, inside[between]) - 1]]
    return found


def places(series: Any, start: int, stop: int) -> np.ndarray:
    """Times of rows as whole numbers: microseconds, or what the data count in."""
    time = times(series, start, stop)
    return time.view(np.int64) if time.dtype.kind == "M" else time


def missing_figure(series: Any, lines: Sequence[Line], theme: Theme) -> Figure:
    """One line of colours for each channel or series."""
    spans = {(int(series.offsets[line.series]), int(series.offsets[line.series + 1])) for line in lines}
    ends = [times(series, *span)[[0, -1]] for span in spans]
    first, last = min(pair[0] for pair in ends), max(pair[1] for pair in ends)
    begin, end = (float(border.astype(np.int64)) for border in (first, last))
    table = np.stack([shares(series, line, begin, end) for line in lines])
    dates = isinstance(first, np.datetime64)
    borders = (date2num(first), date2num(last)) if dates else (begin, end)
    figure = page_figure(0.9 + max(0.5, 0.2 * len(lines)), theme)
    axes = figure.subplots()
    axes.imshow(colours(table, theme), extent=(*borders, len(lines), 0), aspect="auto", interpolation="nearest")
    apply_theme(axes, theme, x_label="steps" if series.time is None else "")
    axes.grid(visible=False)
    axes.set_yticks(np.arange(len(lines)) + 0.5, [shortened(line.name) for line in lines], fontsize=PAGE_FONT_SIZE - 2)
    axes.tick_params(axis="y", length=0)
    if dates:
        axes.xaxis_date()
        date_axis(axes, theme)
    for name, colour in (("observed", theme.soft), ("missing", theme.mark)):
        axes.fill_between([], [], color=colour, label=name)
    add_legend(figure, axes, theme)
    return figure


def shortened(name: str) -> str:
    """A name that leaves room for the picture; names of many series often differ at their end."""
    return name if len(name) <= SHORT else f"{name[: SHORT // 2]}…{name[1 - SHORT // 2 :]}"


def colours(table: np.ndarray, theme: Theme) -> np.ndarray:
    """Shares (lines, CELLS) as a picture (lines, CELLS, 3); one missing value in a cell can be seen."""
    observed, gone, empty = (np.array(to_rgb(colour)) for colour in (theme.soft, theme.mark, theme.background))
    share = np.where(table > 0, 0.4 + 0.6 * table, 0.0)[..., None]
    picture = observed * (1 - share) + gone * share
    picture[np.isnan(table)] = empty
    return picture


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
    figure = page_figure(0.5 + 2.1 * len(shown), theme)
    grid = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    for row, (channel, found) in zip(grid, shown, strict=True):
        name = f"{channel}: " if len(shown) > 1 else ""
        _stems(row[0], found.acf, found.acf_band, season, theme, f"{name}autocorrelation")
        band = np.full(len(found.pacf), found.pacf_band)
        _stems(row[1], found.pacf, band, season, theme, f"{name}partial")
    for axes in grid[-1]:
        axes.set_xlabel("lag in steps", fontsize=PAGE_FONT_SIZE, color=theme.ink)
    if season > 1:
        add_legend(figure, grid[0][0], theme)
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
    apply_theme(axes, theme, title)
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
        time = series.local_time(slice(curve.first, curve.first + len(curve.values)))
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
    figure = page_figure(0.5 + (2.0 * rows if columns > 1 else 2.6), theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for index, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
        _draw_season(axes, panel, theme)
        axes.set_xlabel(panel.label if index + columns >= len(panels) else "", fontsize=PAGE_FONT_SIZE, color=theme.ink)
    add_legend(figure, grid[0], theme)
    return figure


def _draw_season(axes: Axes, panel: Folded, theme: Theme) -> None:
    low, quarter, median, most, high = panel.quantiles
    places = np.arange(panel.first, panel.first + len(median))
    for lower, upper, alpha, label in ((low, high, 0.2, "90 % of values"), (quarter, most, 0.45, "half of values")):
        axes.fill_between(places, lower, upper, color=theme.soft, alpha=alpha, linewidth=0, label=label)
    marker = "o" if len(places) <= 31 else ""
    axes.plot(places, median, color=theme.mark, linewidth=1.8, marker=marker, markersize=3.5, label="median")
    axes.margins(x=0.02)
    apply_theme(axes, theme, panel.channel)
    if panel.ticks:
        axes.set_xticks(places, panel.ticks)
