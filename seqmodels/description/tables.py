"""A description as tables of texts, the same for the terminal and the page."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.autocorrelation import Correlogram
from seqmodels.description.columns import Column
from seqmodels.description.components import NEWEST
from seqmodels.description.profile import Description
from seqmodels.wording import counted, label, number

NAMED = 5  # outliers that are shown


class Sheet(NamedTuple):
    """A table: the first column holds names, others figures or ``words``, and a note says how to read it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    words: tuple[str, ...] = ("from", "where", "role", "categories")  # headings of columns of words


def sheets(description: Description) -> list[Sheet]:
    """All tables that have something to show."""
    makers: tuple[Callable[[Description], Sheet], ...] = (values, missing, behaviour, outliers, covariates)
    return [sheet for sheet in (make(description) for make in makers) if sheet.rows]


def place(series: Any, row: int) -> str:
    """A row as people know it: its series, where there are several, and its time or step."""
    owner = int(np.searchsorted(series.offsets, row, side="right")) - 1
    if series.time is None:
        when = f"step {row - int(series.offsets[owner]):,}"
    else:
        when = label(series.clock(slice(row, row + 1))[0])
        when = when if series.time.dtype.kind == "M" else f"at {when}"
    return when if len(series) == 1 else f"{series.name(owner)}, {when}"


def values(description: Description) -> Sheet:
    """Range of each channel."""
    rows = []
    for one in description.ranges:
        figures = (one.mean, one.deviation, one.least, one.median, one.greatest)
        rows.append((one.channel, *map(number, figures), f"{one.zeros:,}", f"{one.negative:,}"))
    header = ("channel", "mean", "deviation", "smallest", "median", "largest", "zeros", "negative")
    counts = {one.values for one in description.ranges}
    of = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    drawn = any(len(one.drawn) < one.values for one in description.ranges)
    estimate = f" The median is that of {len(description.ranges[0].drawn):,} values drawn at random." if drawn else ""
    return Sheet("Values", header, tuple(rows), f"Of {of} observed values in the training part.{estimate}")


def missing(description: Description) -> Sheet:
    """What was not observed, and the longest gap."""
    rows, series = [], description.data.series
    for one in description.ranges:
        if one.longest is not None:
            share = f"{one.missing / len(series.values):.2%}"
            where = place(series, one.longest.row)
            rows.append((one.channel, f"{one.missing:,}", share, f"{one.gaps:,}", f"{one.longest.steps:,}", where))
    header = ("channel", "missing", "share", "gaps", "longest", "from")
    return Sheet("Missing values", header, tuple(rows), "In all parts; a gap is a run of missing values, in steps.")


def behaviour(description: Description) -> Sheet:
    """Strengths, orders of differencing and autocorrelations of each channel."""
    season, rows = description.advice.season.value, []
    lags = (1, season) if season > 1 else (1,)
    for one, shown in zip(description.behaviours, description.correlograms, strict=True):
        strengths = ("-" if np.isnan(x) else f"{x:.2f}" for x in (one.trend, one.season))
        orders = (order(x) for x in (one.differences, one.seasonal_differences))
        rows.append((one.channel, *strengths, *orders, *(at(shown, lag) for lag in lags), f"{len(one.outliers):,}"))
    header = ("channel", "trend", "season", "d", "D", *(f"lag {lag:,}" for lag in lags), "outliers")
    return Sheet("Behaviour", header, tuple(rows), " ".join(how_to_read(description)))


def how_to_read(description: Description) -> Iterator[str]:
    """The sentences under the table of behaviour."""
    yield (
        "Strength of trend and season from 0 to 1; d differences and D seasonal ones until the level stays (KPSS test);"
        " autocorrelations; outliers lie far from trend + season, and stay in the data."
    )
    curves = max((one.curves for one in description.behaviours), default=0)
    if curves > 1:
        yield f"Averages of {counted(curves, 'series', 'series')}."
    if any(len(curve.values) > NEWEST for channel in description.curves for curve in channel):
        yield f"Strengths, d, D and outliers are those of the newest {NEWEST:,} steps."


def at(shown: Correlogram | None, lag: int) -> str:
    """The autocorrelation at a lag, if it was computed."""
    return f"{shown.acf[lag]:.3f}" if shown is not None and lag < len(shown.acf) else "-"


def order(value: float) -> str:
    """How often to difference: a whole number for one curve, a mean for several."""
    return "-" if np.isnan(value) else f"{value:.0f}" if value == round(value) else f"{value:.2f}"


def outliers(description: Description) -> Sheet:
    """The values that lie farthest from what trend and season let expect, in the deviations of their channel."""
    series = description.data.series
    found = [one for behaviour in description.behaviours for one in behaviour.outliers]
    deviation = [one.deviation or 1.0 for one in description.ranges]
    found.sort(key=lambda one: -abs(one.value - one.expected) / deviation[one.channel])
    rows = tuple(
        (series.channels[one.channel], place(series, one.row), number(one.value), number(one.expected))
        for one in found[:NAMED]
    )
    checked = sum(behaviour.checked for behaviour in description.behaviours)
    note = f"The farthest of {len(found):,} among {checked:,} values; expected is trend + season. None was changed."
    return Sheet("Outliers", ("channel", "where", "value", "expected"), rows, note)


def covariates(description: Description) -> Sheet:
    """Covariates and statics: numbers with their range, categories with the most frequent values."""
    header = ("column", "role", "missing", "smallest", "mean", "largest", "categories")
    rows = tuple((one.name, one.role, f"{one.missing:,}", *figures(one)) for one in description.columns)
    return Sheet("Covariates", header, rows, "In all parts; the share after a category is that of all rows, or series.")


def figures(column: Column) -> Sequence[str]:
    """Range of a column of numbers, or the categories."""
    if not column.categories:
        return (*map(number, (column.least, column.mean, column.greatest)), "")
    named = ", ".join(f"{name} {share:.0%}" for name, share in column.most)
    more = ", ..." if column.categories > len(column.most) else ""
    return ("", "", "", f"{column.categories:,}: {named}{more}")
