"""Figures of a description, each with its title and caption, in the order of the page."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet, Span
from seqmodels.description.curves import Curve, channel_values
from seqmodels.description.profile import Description
from seqmodels.description.seasons import Correlogram
from seqmodels.description.summaries import ChannelSummary, blocks
from seqmodels.report.plotting import MARKER_LIMIT, PAGE_FONT_SIZE, Theme, add_legend, apply_theme, page_figure

SECTIONS = 600  # into which a long curve is divided
BINS = 50  # of a histogram
MAP_ROWS, MAP_COLUMNS = 30, 400  # of the map of missing values
MAP_NAME = 18  # letters of a name beside the map
LAG_TICKS = 8  # at most
THIN_STEMS = 100  # number of lags from which stems are thin
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WEEKDAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Chart(NamedTuple):
    """A figure that can be drawn in any theme."""

    name: str  # of its file
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def charts(description: Description, most: int) -> Iterator[Chart]:
    """All figures for which there are data, with at most ``most`` panels each."""
    yield _series(description, most)
    channels = [one for one in description.channels if one.values][:most]
    if channels:
        caption = "How often values occur in the training part; the line marks the median."
        yield Chart("histogram", "Distribution", caption, partial(histogram_figure, channels))
    yield from _missing_values(description)
    yield from _autocorrelation(description, most)
    yield from _season(description, most)


def _series(description: Description, most: int) -> Chart:
    data, total = description.data, len(description.data.series) * len(description.data.series.channels)
    panels = choose_panels(data.series, most)
    caption = "Shaded: the training, validation and test parts."
    if len(panels) < total:
        caption += f" {len(panels)} of {total:,} curves."
    if any(is_thinned(data.series, index) for index, _ in panels):
        caption += " Long curves are drawn as mean, minimum and maximum of consecutive sections."
    return Chart("series", "Series and parts", caption, partial(series_figure, data, panels))


def _missing_values(description: Description) -> Iterator[Chart]:
    series = description.data.series
    rows = choose_map_rows(series, description.channels)
    if rows:
        caption = "Where values were observed and where they are missing."
        if len(series) > 1:
            caption += " Empty before a series begins and after it ends."
        if len(rows) < len(series):
            caption += f" {len(rows)} of {len(series):,} series."
        yield Chart("missing", "Map of missing values", caption, partial(missing_figure, series, rows))


def _autocorrelation(description: Description, most: int) -> Iterator[Chart]:
    shown = [
        (behaviour.channel, found)
        for behaviour, found in zip(description.behaviours, description.correlograms, strict=True)
        if found is not None and len(found.acf) > 1
    ][: max(1, most // 2)]
    if shown:
        curves = max(found.curves for _, found in shown)
        average = f" Averages of {curves:,} series; the band is that of one." if curves > 1 else ""
        caption = (
            "Correlation with the value a number of steps before (left), and without the effect of the steps in between"
            f" (right). Values within the grey band may be chance (95 %).{average}"
        )
        draw = partial(correlation_figure, shown, description.advice.season.value)
        yield Chart("autocorrelation", "Autocorrelation", caption, draw)


def _season(description: Description, most: int) -> Iterator[Chart]:
    profiles = seasonal_profiles(description, most)
    if profiles:
        caption = "Training values by position in the season: median, middle half and 90 % of them."
        if len(description.data.series) > 1:
            caption += f" Of {profiles[0].name}."
        yield Chart("season", "Season", caption, partial(season_figure, profiles))


def choose_panels(series: SeriesSet, most: int) -> list[tuple[int, int]]:
    """Indices of series and channel to draw: all channels of one series, or the first one of series spread evenly."""
    if len(series) == 1:
        return [(0, channel) for channel in range(min(most, len(series.channels)))]
    present = np.flatnonzero(series.lengths)
    chosen = np.linspace(0, len(present) - 1, min(most, len(present))).round().astype(np.int64)
    return [(index, 0) for index in present[chosen].tolist()]


def is_thinned(series: SeriesSet, index: int) -> bool:
    """True if the curve is too long to draw every value."""
    return int(series.lengths[index]) > 2 * SECTIONS


def series_figure(data: WindowDataModule, panels: Sequence[tuple[int, int]], theme: Theme) -> Figure:
    """One panel for each series or channel, with the rows of each part shaded."""
    figure = page_figure(0.5 + (1.45 * len(panels) if len(panels) > 1 else 2.6), theme)
    grid = figure.subplots(len(panels), 1, squeeze=False).ravel()
    for axes, (index, channel) in zip(grid, panels, strict=True):
        _draw_series(axes, data, index, channel, theme)
    grid[-1].set_xlabel("steps" if data.series.time is None else "", fontsize=PAGE_FONT_SIZE - 1, color=theme.ink)
    _add_parts_legend(figure, grid[0], data.spans, theme)
    return figure


def _draw_series(axes: Axes, data: WindowDataModule, index: int, channel: int, theme: Theme) -> None:
    series = data.series
    start, stop = int(series.offsets[index]), int(series.offsets[index + 1])
    time = row_times(series, start, stop)
    if is_thinned(series, index):
        starts, least, mean, greatest = summarise_sections(series, start, stop, channel)
        axes.fill_between(time[starts], least, greatest, color=theme.soft, alpha=0.6, linewidth=0)
        axes.plot(time[starts], mean, color=theme.ink, linewidth=0.9)
    else:
        marker = "." if len(time) <= MARKER_LIMIT else ""
        values = channel_values(series, start, stop, channel)
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
        _format_dates(axes, theme)


def _add_parts_legend(figure: Figure, axes: Axes, spans: Mapping[str, Span], theme: Theme) -> None:
    """Legend of all parts that have rows, even if not in the first panel."""
    for stage, span in spans.items():
        if span.rows:
            axes.fill_between([], [], color=getattr(theme, stage), alpha=0.35, linewidth=0, label=stage)
    add_legend(figure, axes, theme)


def row_times(series: SeriesSet, start: int, stop: int) -> np.ndarray:
    """Local time of rows, or their steps from 0 if the data have no time."""
    return np.arange(stop - start) if series.time is None else series.local_time(slice(start, stop))


def _format_dates(axes: Axes, theme: Theme) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(color=theme.ink, fontsize=PAGE_FONT_SIZE - 2)


def summarise_sections(series: SeriesSet, start: int, stop: int, channel: int) -> tuple[np.ndarray, ...]:
    """First step, minimum, mean and maximum of each section of a long curve, NaN without observed values.

    Only one section is held in memory at a time.
    """
    borders = np.linspace(0, stop - start, SECTIONS + 1).astype(np.int64)
    figures = np.full((3, SECTIONS), np.nan)
    for index, (low, high) in enumerate(itertools.pairwise(borders.tolist())):
        values = channel_values(series, start + low, start + high, channel)
        known = values[~np.isnan(values)]
        if len(known):
            figures[:, index] = known.min(), known.mean(), known.max()
    return borders[:-1], *figures


def _panel_grid(
    panels: int, margin: float, row_height: float, single: float, theme: Theme
) -> tuple[Figure, list[Axes]]:
    """A figure with panels in two columns, or with one panel of height ``single``."""
    columns = min(2, panels)
    rows = -(-panels // columns)
    figure = page_figure(margin + (row_height * rows if columns > 1 else single), theme)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[panels:]:
        axes.remove()
    return figure, grid[:panels]


def histogram_figure(channels: Sequence[ChannelSummary], theme: Theme) -> Figure:
    """One panel for each channel."""
    figure, grid = _panel_grid(len(channels), 0.3, 1.9, 2.4, theme)
    for axes, one in zip(grid, channels, strict=True):
        axes.hist(one.sample, BINS, color=theme.soft, linewidth=0)
        axes.axvline(one.median, color=theme.mark, linewidth=1.5)
        apply_theme(axes, theme, one.channel, y_label="values")
    return figure


class MapRow(NamedTuple):
    """A channel of a series in the map of missing values."""

    name: str
    series: int
    channel: int


def choose_map_rows(series: SeriesSet, channels: Sequence[ChannelSummary]) -> list[MapRow]:
    """Channels of one series with gaps, or series spread evenly and those with the longest gaps.

    Empty if nothing is missing and all series begin and end together.
    """
    names, gaps = list(series.channels), [one for one in channels if one.longest is not None]
    if len(series) == 1:
        return [MapRow(one.channel, 0, names.index(one.channel)) for one in gaps[:MAP_ROWS]]
    if not gaps and not is_ragged(series):
        return []
    rows = [one.longest.row for one in gaps if one.longest is not None]
    longest = (np.searchsorted(series.offsets, rows, side="right") - 1).tolist()[: MAP_ROWS // 2]
    even = np.linspace(0, len(series) - 1, min(MAP_ROWS, len(series))).round().astype(int).tolist()
    chosen = sorted({*longest, *even[: MAP_ROWS - len(longest)]})
    channel = names.index(gaps[0].channel) if gaps else 0
    return [MapRow(series.name(i), i, channel) for i in chosen if series.lengths[i]]


def is_ragged(series: SeriesSet) -> bool:
    """True if series begin or end at different times."""
    lengths = series.lengths
    if series.time is None or not lengths.all():
        return bool(lengths.min() < lengths.max())
    first, last = series.time[series.offsets[:-1]], series.time[series.offsets[1:] - 1]
    return bool(first.min() < first.max() or last.min() < last.max())


def missing_figure(series: SeriesSet, rows: Sequence[MapRow], theme: Theme) -> Figure:
    """One line of colours for each channel or series."""
    spans = {(int(series.offsets[row.series]), int(series.offsets[row.series + 1])) for row in rows}
    ends = np.stack([row_times(series, *span)[[0, -1]] for span in spans])
    first, last = ends[:, 0].min(), ends[:, 1].max()
    begin, end = float(first.astype(np.int64)), float(last.astype(np.int64))
    shares = np.stack([missing_shares(series, row, begin, end) for row in rows])
    dates = isinstance(first, np.datetime64)
    borders = (date2num(first), date2num(last)) if dates else (begin, end)
    figure = page_figure(0.9 + max(0.5, 0.2 * len(rows)), theme)
    axes = figure.subplots()
    extent = (*borders, len(rows), 0)
    axes.imshow(_map_colours(shares, theme), extent=extent, aspect="auto", interpolation="nearest")
    apply_theme(axes, theme, x_label="steps" if series.time is None else "")
    axes.grid(visible=False)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_abbreviate(row.name) for row in rows], fontsize=PAGE_FONT_SIZE - 2)
    axes.tick_params(axis="y", length=0)
    if dates:
        axes.xaxis_date()
        _format_dates(axes, theme)
    for name, colour in (("observed", theme.soft), ("missing", theme.mark)):
        axes.fill_between([], [], color=colour, label=name)
    add_legend(figure, axes, theme)
    return figure


def missing_shares(series: SeriesSet, row: MapRow, begin: float, end: float) -> np.ndarray:
    """Share of missing values in each of MAP_COLUMNS equal intervals from begin to end, NaN without a row of data."""
    start, stop = int(series.offsets[row.series]), int(series.offsets[row.series + 1])
    counts, missing = np.zeros(MAP_COLUMNS, np.int64), np.zeros(MAP_COLUMNS)
    time = row_times(series, start, stop).astype(np.int64)  # microseconds, steps, or the integer index
    for block in blocks(stop - start, 1):
        position = (time[block].astype(np.float64) - begin) / max(1.0, end - begin)
        cells = (position * MAP_COLUMNS).astype(np.int64).clip(0, MAP_COLUMNS - 1)
        counts += np.bincount(cells, minlength=MAP_COLUMNS)
        gone = np.isnan(channel_values(series, start + block.start, start + block.stop, row.channel))
        missing += np.bincount(cells, weights=gone, minlength=MAP_COLUMNS)
    shares = np.divide(missing, counts, out=np.full(MAP_COLUMNS, np.nan), where=counts > 0)
    # If a step is longer than an interval, the empty ones between two rows take the value of the row before.
    cells, known = np.arange(MAP_COLUMNS), np.flatnonzero(counts)
    between = (cells > known[0]) & (cells < known[-1]) & (counts == 0)
    shares[between] = shares[known[np.searchsorted(known, cells[between]) - 1]]
    return shares


def _abbreviate(name: str) -> str:
    """Beginning and end of a long name; names of many series often differ at their end."""
    return name if len(name) <= MAP_NAME else f"{name[: MAP_NAME // 2]}…{name[1 - MAP_NAME // 2 :]}"


def _map_colours(shares: np.ndarray, theme: Theme) -> np.ndarray:
    """Shares (rows, MAP_COLUMNS) as colours (rows, MAP_COLUMNS, 3); a single missing value in a cell is visible."""
    observed, missing, empty = (np.array(to_rgb(colour)) for colour in (theme.soft, theme.mark, theme.background))
    weight = np.where(shares > 0, 0.4 + 0.6 * shares, 0.0)[..., None]
    picture = observed * (1 - weight) + missing * weight
    picture[np.isnan(shares)] = empty
    return picture


def correlation_figure(shown: Sequence[tuple[str, Correlogram]], season: int, theme: Theme) -> Figure:
    """A row for each channel: ACF and PACF without lag 0, multiples of the season marked."""
    figure = page_figure(0.5 + 2.1 * len(shown), theme)
    grid = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    for row, (channel, found) in zip(grid, shown, strict=True):
        name = f"{channel}: " if len(shown) > 1 else ""
        _draw_stems(row[0], found.acf, found.acf_band, season, theme, f"{name}autocorrelation")
        band = np.full(len(found.pacf), found.pacf_band)
        _draw_stems(row[1], found.pacf, band, season, theme, f"{name}partial")
    for axes in grid[-1]:
        axes.set_xlabel("lag in steps", fontsize=PAGE_FONT_SIZE, color=theme.ink)
    if season > 1:
        add_legend(figure, grid[0][0], theme)
    return figure


def _draw_stems(axes: Axes, values: np.ndarray, band: np.ndarray, season: int, theme: Theme, title: str) -> None:
    lags = np.arange(1, len(values))
    width = 2.2 if len(lags) <= THIN_STEMS else 0.9
    seasonal = (lags % season == 0) & (season > 1)
    axes.fill_between(lags, -band[1:], band[1:], color=theme.aside, alpha=0.25, linewidth=0)
    axes.vlines(lags[~seasonal], 0, values[1:][~seasonal], color=theme.soft, linewidth=width)
    label = f"whole seasons of {season:,} steps"
    axes.vlines(lags[seasonal], 0, values[1:][seasonal], color=theme.mark, linewidth=max(1.6, width), label=label)
    axes.axhline(0, color=theme.aside, linewidth=0.8)
    apply_theme(axes, theme, title)
    axes.set_xlim(left=0)
    if 1 < season <= len(lags) // 2:
        axes.xaxis.set_major_locator(MultipleLocator(season * math.ceil(len(lags) / season / LAG_TICKS)))


class SeasonalProfile(NamedTuple):
    """Distribution of the values of a curve at each position in the season."""

    name: str  # of the series
    channel: str
    quantiles: np.ndarray  # (len(QUANTILES), season), NaN without values
    label: str  # of the axis of positions
    ticks: tuple[str, ...]  # names of the positions, or empty for their numbers
    first: int  # number of the first position


def seasonal_profiles(description: Description, most: int) -> list[SeasonalProfile]:
    """Profile of the first curve of each channel that varies; empty without a season."""
    season, series = description.advice.season.value, description.data.series
    if season < 2:
        return []
    curves = [next((one for one in channel if one.varies), None) for channel in description.curves[:most]]
    return [seasonal_profile(series, one, season) for one in curves if one and len(one.values) >= 2 * season]


def seasonal_profile(series: SeriesSet, curve: Curve, season: int) -> SeasonalProfile:
    """Quantiles of the values at each position in the season."""
    positions, label, ticks = season_positions(series, curve, season)
    order = np.argsort(positions, kind="stable")
    groups = np.split(curve.values[order], np.searchsorted(positions[order], np.arange(1, season)))
    quantiles = np.full((len(QUANTILES), season), np.nan)
    for position, group in enumerate(groups):
        known = group[~np.isnan(group)]
        if len(known):
            quantiles[:, position] = np.quantile(known, QUANTILES)
    first = 0 if ticks or label.startswith("hour") else 1
    return SeasonalProfile(series.name(curve.series), series.channels[curve.channel], quantiles, label, ticks, first)


def season_positions(series: SeriesSet, curve: Curve, season: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Position of each value in the season, name of the axis, and names of the positions, or none for numbers.

    Positions follow the calendar for the usual seasons of days, hours and months; all others count from the beginning
    of the series.
    """
    kind = (series.frequency, season)
    if series.time is not None and series.time.dtype.kind == "M":
        time = series.local_time(slice(curve.first, curve.first + len(curve.values)))
        days, hours, months = (time.astype(f"datetime64[{unit}]").astype(np.int64) for unit in "DhM")
        if kind == ("day", 7):
            return (days + 3) % 7, "day of the week", WEEKDAY_NAMES  # 1970-01-01 was a Thursday
        if kind == ("hour", 24):
            return hours % 24, "hour of the day", ()
        if kind == ("hour", 168):
            return (hours + 72) % 168, "hour of the week, from Monday", ()
        if kind == ("month", 12):
            return months % 12, "month", MONTH_NAMES
    steps = np.arange(len(curve.values)) + curve.first - int(series.offsets[curve.series])
    return steps % season, f"step in the season of {season:,}", ()


def season_figure(profiles: Sequence[SeasonalProfile], theme: Theme) -> Figure:
    """One panel for each channel."""
    figure, grid = _panel_grid(len(profiles), 0.5, 2.0, 2.6, theme)
    for index, (axes, profile) in enumerate(zip(grid, profiles, strict=True)):
        _draw_profile(axes, profile, theme)
        lowest = index + min(2, len(profiles)) >= len(profiles)
        axes.set_xlabel(profile.label if lowest else "", fontsize=PAGE_FONT_SIZE, color=theme.ink)
    add_legend(figure, grid[0], theme)
    return figure


def _draw_profile(axes: Axes, profile: SeasonalProfile, theme: Theme) -> None:
    low, lower, median, upper, high = profile.quantiles
    positions = np.arange(profile.first, profile.first + len(median))
    for bottom, top, alpha, label in ((low, high, 0.2, "90 % of values"), (lower, upper, 0.45, "half of values")):
        axes.fill_between(positions, bottom, top, color=theme.soft, alpha=alpha, linewidth=0, label=label)
    marker = "o" if len(positions) <= 31 else ""
    axes.plot(positions, median, color=theme.mark, linewidth=1.8, marker=marker, markersize=3.5, label="median")
    axes.margins(x=0.02)
    apply_theme(axes, theme, profile.channel)
    if profile.ticks:
        axes.set_xticks(positions, profile.ticks)
