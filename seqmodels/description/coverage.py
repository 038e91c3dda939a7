"""The picture of what is missing: a line for each series or channel, coloured by what was observed over time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from seqmodels.description.counts import Range, pieces
from seqmodels.description.curve_charts import date_axis, times
from seqmodels.description.sample import values_of
from seqmodels.description.themes import TEXT, Theme, canvas, decorate, legend

MOST = 30  # lines
CELLS = 400
SHORT = 18  # letters of a name


class Line(NamedTuple):
    """A channel of a series."""

    name: str
    series: int
    channel: int


def choose(series: Any, ranges: Sequence[Range]) -> list[Line]:
    """What to show: channels of one series, or series spread evenly and those with the longest gaps; else nothing."""
    holes = [one for one in ranges if one.longest is not None]
    if len(series) == 1:
        names = list(series.channels)
        return [Line(one.channel, 0, names.index(one.channel)) for one in holes[:MOST]]
    if not holes and not is_ragged(series):
        return []
    worst = [int(np.searchsorted(series.offsets, one.longest.row, side="right")) - 1 for one in holes if one.longest]
    even = np.linspace(0, len(series) - 1, min(MOST, len(series))).round().astype(int).tolist()
    chosen = sorted({*worst[: MOST // 2], *even[: MOST - min(len(worst), MOST // 2)]} if worst else even)
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
    figure = canvas(0.9 + max(0.5, 0.2 * len(lines)), theme)
    axes = figure.subplots()
    axes.imshow(colours(table, theme), extent=(*borders, len(lines), 0), aspect="auto", interpolation="nearest")
    decorate(axes, theme, across="steps" if series.time is None else "")
    axes.grid(visible=False)
    axes.set_yticks(np.arange(len(lines)) + 0.5, [shortened(line.name) for line in lines], fontsize=TEXT - 2)
    axes.tick_params(axis="y", length=0)
    if dates:
        axes.xaxis_date()
        date_axis(axes, theme)
    for name, colour in (("observed", theme.soft), ("missing", theme.mark)):
        axes.fill_between([], [], color=colour, label=name)
    legend(figure, axes, theme)
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
