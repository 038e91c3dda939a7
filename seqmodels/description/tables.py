"""The tables of a description as text."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.series import SeriesSet
from seqmodels.description.decomposition import NEWEST_STEPS
from seqmodels.description.profile import Description
from seqmodels.description.seasons import Correlogram
from seqmodels.description.summaries import ColumnSummary
from seqmodels.report.output import format_among, format_number, format_time

LISTED_OUTLIERS = 5


class TextTable(NamedTuple):
    """A table; the first column holds names, the others figures or text, and a note explains it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    text_columns: tuple[str, ...] = ("from", "where", "role", "categories")


def tables(description: Description) -> list[TextTable]:
    """All tables that have rows."""
    builders: tuple[Callable[[Description], TextTable], ...] = (
        value_table, missing_table, behaviour_table, outlier_table, covariate_table
    )  # fmt: skip
    return [table for table in (build(description) for build in builders) if table.rows]


def value_table(description: Description) -> TextTable:
    """Distribution of the values of each channel."""
    channels, rows = description.channels, []
    for one in channels:
        mean, *others = (format_among(x, one.deviation) for x in (one.mean, one.least, one.median, one.greatest))
        rows.append((one.channel, mean, format_number(one.deviation), *others, f"{one.zeros:,}", f"{one.negative:,}"))
    header = ("channel", "mean", "deviation", "smallest", "median", "largest", "zeros", "negative")
    least, most = min(one.values for one in channels), max(one.values for one in channels)
    count = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    sampled = any(len(one.sample) < one.values for one in channels)
    estimate = f" The median is that of {len(channels[0].sample):,} values drawn at random." if sampled else ""
    return TextTable("Values", header, tuple(rows), f"Of {count} observed values in the training part.{estimate}")


def missing_table(description: Description) -> TextTable:
    """Missing values and the longest gap of each channel."""
    rows, series = [], description.data.series
    for one in description.channels:
        if one.longest is not None:
            share = f"{one.missing / len(series.values):.2%}"
            where = describe_row(series, one.longest.row)
            rows.append((one.channel, f"{one.missing:,}", share, f"{one.gaps:,}", f"{one.longest.steps:,}", where))
    header = ("channel", "missing", "share", "gaps", "longest", "from")
    return TextTable("Missing values", header, tuple(rows), "In all parts; a gap is a run of missing values, in steps.")


def describe_row(series: SeriesSet, row: int) -> str:
    """Time or step of a row, after the name of its series if there are several."""
    index = int(np.searchsorted(series.offsets, row, side="right")) - 1
    if series.time is None:
        when = f"step {row - int(series.offsets[index]):,}"
    else:
        when = format_time(series.local_time(slice(row, row + 1))[0])
        when = when if series.time.dtype.kind == "M" else f"at {when}"
    return when if len(series) == 1 else f"{series.name(index)}, {when}"


def behaviour_table(description: Description) -> TextTable:
    """Strengths, orders of differencing and autocorrelations of each channel."""
    season, rows = description.advice.season.value, []
    lags = (1, season) if season > 1 else (1,)
    for one, shown in zip(description.behaviours, description.correlograms, strict=True):
        strengths = ("-" if np.isnan(x) else f"{x:.2f}" for x in (one.trend, one.season))
        orders = (_format_order(x) for x in (one.differences, one.seasonal_differences))
        correlations = (_format_correlation(shown, lag) for lag in lags)
        rows.append((one.channel, *strengths, *orders, *correlations, f"{len(one.outliers):,}"))
    header = ("channel", "trend", "season", "d", "D", *(f"lag {lag:,}" for lag in lags), "outliers")
    return TextTable("Behaviour", header, tuple(rows), " ".join(_behaviour_note(description)))


def _behaviour_note(description: Description) -> Iterator[str]:
    yield (
        "Strength of trend and season from 0 to 1; d first and D seasonal differences until the level is constant (KPSS"
        " test); autocorrelations; outliers are far from trend + season, and stay in the data."
    )
    curves = max((one.curves for one in description.behaviours), default=0)
    if curves > 1:
        yield f"Averages of {curves:,} series."
    if any(len(curve.values) > NEWEST_STEPS for channel in description.curves for curve in channel):
        yield f"Strengths, d, D and outliers are those of the newest {NEWEST_STEPS:,} steps."


def _format_correlation(shown: Correlogram | None, lag: int) -> str:
    return f"{shown.acf[lag]:.3f}" if shown is not None and lag < len(shown.acf) else "-"


def _format_order(value: float) -> str:
    """A whole number for one curve, a mean for several."""
    return "-" if np.isnan(value) else f"{value:.0f}" if value == round(value) else f"{value:.2f}"


def outlier_table(description: Description) -> TextTable:
    """The values farthest from trend + season, in standard deviations of their channel."""
    series = description.data.series
    found = [one for behaviour in description.behaviours for one in behaviour.outliers]
    deviation = [one.deviation or 1.0 for one in description.channels]
    found.sort(key=lambda one: -abs(one.value - one.expected) / deviation[one.channel])
    rows = tuple(
        (
            series.channels[one.channel],
            describe_row(series, one.row),
            *(format_among(value, abs(one.value - one.expected)) for value in (one.value, one.expected)),
        )
        for one in found[:LISTED_OUTLIERS]
    )
    checked = sum(behaviour.checked for behaviour in description.behaviours)
    note = f"The farthest of {len(found):,} among {checked:,} values; expected is trend + season. None was changed."
    return TextTable("Outliers", ("channel", "where", "value", "expected"), rows, note)


def covariate_table(description: Description) -> TextTable:
    """Range of numbers and most frequent categories of covariates and static columns."""
    header = ("column", "role", "missing", "smallest", "mean", "largest", "categories")
    rows = tuple((one.name, one.role, f"{one.missing:,}", *_column_cells(one)) for one in description.columns)
    note = "In all parts; the share after a category is that of all rows, or series."
    return TextTable("Covariates", header, rows, note)


def _column_cells(column: ColumnSummary) -> Sequence[str]:
    if not column.categories:
        spread = column.greatest - column.least
        return (*(format_among(value, spread) for value in (column.least, column.mean, column.greatest)), "")
    named = ", ".join(f"{name} {share:.0%}" for name, share in column.most)
    more = ", ..." if column.categories > len(column.most) else ""
    return ("", "", "", f"{column.categories:,}: {named}{more}")
