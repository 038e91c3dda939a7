"""Which pictures a description has, in their order, each with what to say about it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from seqmodels.description import plots
from seqmodels.description.profile import Description
from seqmodels.report.formatting import pluralise
from seqmodels.report.plotting import Theme


class Chart(NamedTuple):
    """A picture to be drawn in a theme."""

    name: str  # of its file
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def charts(description: Description, drawn: int) -> Iterator[Chart]:
    """All pictures that the data give, with at most ``drawn`` panels each."""
    yield from _curves(description, drawn)
    yield from _missing(description)
    yield from _memory(description, drawn)


def _curves(description: Description, drawn: int) -> Iterator[Chart]:
    data = description.data
    panels = plots.choose(data.series, drawn)
    few = len(panels) < len(data.series) * len(data.series.channels)
    some = f" {len(panels)} of {len(data.series) * len(data.series.channels):,} curves." if few else ""
    caption = f"Shaded: the part for training, for validation and for the test.{some}"
    if any(plots.is_thinned(data.series, index) for index, _ in panels):
        caption += " Of long curves, the mean and the smallest and largest value of each stretch are drawn."
    yield Chart("series", "Series and parts", caption, partial(plots.series_figure, data, panels))
    ranges = [one for one in description.ranges if one.values][:drawn]
    if ranges:
        caption = "How often values of each size occur in the training part; the line marks the median."
        yield Chart("histogram", "Distribution", caption, partial(plots.histogram_figure, ranges))


def _missing(description: Description) -> Iterator[Chart]:
    series = description.data.series
    rows = plots.choose_lines(series, description.ranges)
    if rows:
        caption = "Where values were observed and where they are missing."
        if len(series) > 1:
            caption += " Nothing is drawn before a series begins and after it has ended."
        if len(rows) < len(series):
            caption += f" {len(rows)} of {len(series):,} series."
        yield Chart("missing", "Map of missing values", caption, partial(plots.missing_figure, series, rows))


def _memory(description: Description, drawn: int) -> Iterator[Chart]:
    season = description.advice.season.value
    shown = [
        (behaviour.channel, found)
        for behaviour, found in zip(description.behaviours, description.correlograms, strict=True)
        if found is not None and len(found.acf) > 1
    ][: max(1, drawn // 2)]
    if shown:
        curves = max(found.curves for _, found in shown)
        average = f" Averages of {pluralise(curves, 'series', 'series')}, with the band of one." if curves > 1 else ""
        caption = (
            "Correlation with the value so many steps before, together with what lies between (left) and without it"
            f" (right). Within the grey band it may be chance (95 %).{average}"
        )
        draw = partial(plots.correlation_figure, shown, season)
        yield Chart("autocorrelation", "Autocorrelation", caption, draw)
    panels = plots.folded(description, drawn)
    if panels:
        caption = "Values of the training part by their place in the season: median, middle half, and 90 % of them."
        if len(description.data.series) > 1:
            caption += f" Of {panels[0].name}."
        yield Chart("season", "Season", caption, partial(plots.season_figure, panels))
