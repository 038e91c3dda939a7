"""The figures of a description in their order, each with its title and caption."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from seqmodels.description import plots
from seqmodels.description.profile import Description
from seqmodels.report.plotting import Theme


class Chart(NamedTuple):
    """A figure that can be drawn in any theme."""

    name: str  # of its file
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def charts(description: Description, most: int) -> Iterator[Chart]:
    """All figures that the data have something to show in, with at most ``most`` panels each."""
    yield _series(description, most)
    channels = [one for one in description.channels if one.values][:most]
    if channels:
        caption = "How often values occur in the training part; the line marks the median."
        yield Chart("histogram", "Distribution", caption, partial(plots.histogram_figure, channels))
    yield from _missing_values(description)
    yield from _autocorrelation(description, most)
    yield from _season(description, most)


def _series(description: Description, most: int) -> Chart:
    data, total = description.data, len(description.data.series) * len(description.data.series.channels)
    panels = plots.choose_panels(data.series, most)
    caption = "Shaded: the training, validation and test parts."
    if len(panels) < total:
        caption += f" {len(panels)} of {total:,} curves."
    if any(plots.is_thinned(data.series, index) for index, _ in panels):
        caption += " Long curves are drawn as mean, minimum and maximum of consecutive sections."
    return Chart("series", "Series and parts", caption, partial(plots.series_figure, data, panels))


def _missing_values(description: Description) -> Iterator[Chart]:
    series = description.data.series
    rows = plots.choose_map_rows(series, description.channels)
    if rows:
        caption = "Where values were observed and where they are missing."
        if len(series) > 1:
            caption += " Empty before a series begins and after it ends."
        if len(rows) < len(series):
            caption += f" {len(rows)} of {len(series):,} series."
        yield Chart("missing", "Map of missing values", caption, partial(plots.missing_figure, series, rows))


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
        draw = partial(plots.correlation_figure, shown, description.advice.season.value)
        yield Chart("autocorrelation", "Autocorrelation", caption, draw)


def _season(description: Description, most: int) -> Iterator[Chart]:
    profiles = plots.seasonal_profiles(description, most)
    if profiles:
        caption = "Training values by position in the season: median, middle half and 90 % of them."
        if len(description.data.series) > 1:
            caption += f" Of {profiles[0].name}."
        yield Chart("season", "Season", caption, partial(plots.season_figure, profiles))
