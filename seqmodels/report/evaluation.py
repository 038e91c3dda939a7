"""Evaluations as tables for the terminal and as a picture."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.metrics import MEASURES, ErrorTable
from seqmodels.report.output import format_number
from seqmodels.report.plotting import (
    DOTS_PER_INCH,
    FONT_SIZE,
    FORECAST,
    HEIGHT,
    PAST,
    REFERENCE,
    TRUTH,
    WIDTH,
    add_title_and_legend,
    style_axes,
)
from seqmodels.report.results import result_table

SHOWN_LEADS, SHOWN_SERIES, SHOWN_PERIODS = 8, 3, 12
SHADES = (PAST, FORECAST, TRUTH)


class Evaluated(Protocol):
    """Fields that are drawn and printed, see ``seqmodels.inference.backtest.Evaluation``."""

    @property
    def name(self) -> str: ...
    @property
    def part(self) -> str: ...
    @property
    def results(self) -> Mapping[str, ErrorTable]: ...
    @property
    def windows(self) -> int: ...
    @property
    def carried(self) -> bool: ...
    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def by_lead(self) -> pl.DataFrame: ...
    @property
    def by_origin(self) -> pl.DataFrame: ...
    @property
    def by_series(self) -> pl.DataFrame | None: ...
    @property
    def by_target(self) -> pl.DataFrame | None: ...
    @property
    def by_fold(self) -> pl.DataFrame | None: ...


def evaluation_tables(one: Evaluated) -> RenderableType:
    """The result table, then the errors by lead, by series, by hour or weekday of the target, and over time."""
    overall = result_table({one.part: one.results}, {one.part: one.windows}, one.name, one.channels)
    leads, bands = spread(one.by_lead, SHOWN_LEADS), coverage_columns(one)
    parts = [overall, _table("by lead", leads.drop(bands))]
    if bands:
        parts.append(_table("% in bands, by lead", leads.select("lead", *bands)))
    if one.by_series is not None:
        order = one.by_series.sort("mase" if one.by_series["mase"].is_finite().all() else "mae", descending=True)
        best = min(SHOWN_SERIES, len(order) - SHOWN_SERIES)
        parts.append(_table("by series, the worst", order.head(SHOWN_SERIES)))
        parts += [_table("by series, the best", order.tail(best))] if best > 0 else []
    if one.by_target is not None:
        parts.append(_table(f"by {one.by_target.columns[0]} of the target", one.by_target))
    if one.by_fold is not None:
        parts.append(_table("by fold, each trained anew", one.by_fold))
    parts.append(_table("by time of the origin", spread(one.by_origin, SHOWN_PERIODS)))
    return Group(*parts)


def coverage_columns(one: Evaluated) -> list[str]:
    """Columns with the coverage of bands."""
    return [column for column in one.by_lead.columns if "coverage_" in column]


def spread(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most ``most`` rows, the first, the last and some evenly between them."""
    return frame[np.unique(np.linspace(0, len(frame) - 1, min(most, len(frame))).round().astype(int)).tolist()]


def _table(title: str, frame: pl.DataFrame) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column(f" {title}", no_wrap=True, overflow="ellipsis", min_width=18)
    frame = frame.drop("mse", strict=False)  # else wider than a terminal
    for column in frame.columns[1:]:
        table.add_column(heading(column), justify="right", no_wrap=True)
    for label, *cells in frame.iter_rows():
        table.add_row(Text(f"   {label}"), *(_cell(*pair) for pair in zip(frame.columns[1:], cells, strict=True)))
    return table


def heading(column: str) -> str:
    """Heading of a column of measures: "mase" -> "MASE", "coverage_80" -> "split 80", "naive_mae" -> "naive MAE"."""
    if column in MEASURES:
        return MEASURES[column].heading
    if column.startswith("coverage_"):
        column = f"split_{column}"
    return column.replace("_mae", " MAE").replace("_coverage", "").replace("_", " ")


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if "coverage_" in column:
        return f"{100 * value:.1f}"
    return f"{value:,}" if column == "values" else format_number(value)


def plot_evaluation(one: Evaluated) -> Figure:
    """Mean absolute error by lead and over time, beside the naive forecast, and the coverage of the bands by lead."""
    bands = coverage_columns(one)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH)
    grid = figure.add_gridspec(2, 2, left=0.07, right=0.985, bottom=0.08, top=0.87, wspace=0.16, hspace=0.36)
    lead, time = figure.add_subplot(grid[0, 0 if bands else slice(None)]), figure.add_subplot(grid[1, :])
    for axes, frame, title in ((lead, one.by_lead, "by lead"), (time, one.by_origin, "by time of the origin")):
        _plot_errors(axes, frame, one.name, title)
    if bands:
        _plot_coverage(figure.add_subplot(grid[0, 1]), one.by_lead, bands)
    add_title_and_legend(figure, "Mean absolute error", lead)
    return figure


def _plot_errors(axes: Axes, frame: pl.DataFrame, name: str, title: str) -> None:
    naive = next(column for column in frame.columns if column.endswith("_mae"))
    places = frame[:, 0].to_numpy()
    small: dict[str, Any] = {"marker": "o", "markersize": 3}
    axes.plot(places, frame[naive], color=REFERENCE, linestyle="--", label=naive[:-4].replace("_", " "), **small)
    axes.plot(places, frame["mae"], color=FORECAST, linewidth=2, label=name, **small)
    axes.set_title(title, fontsize=FONT_SIZE, loc="left")
    axes.set_ylim(bottom=0)
    style_axes(axes)
    if frame[:, 0].dtype.is_temporal():
        locator = AutoDateLocator(minticks=3, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _plot_coverage(axes: Axes, frame: pl.DataFrame, bands: list[str]) -> None:
    for column, colour in zip(bands, SHADES * len(bands), strict=False):
        nominal = float(column.rpartition("_")[2])
        axes.axhline(nominal, color=colour, linewidth=1, linestyle=":")
        style = "--" if "adaptive" in column else "-"
        axes.plot(
            frame["lead"], 100 * frame[column], color=colour, linewidth=1.8, linestyle=style, label=heading(column)
        )
    axes.set_ylim(0, 102)
    axes.set_title("coverage of the bands by lead, %", fontsize=FONT_SIZE, loc="left")
    axes.legend(ncols=2, fontsize=FONT_SIZE - 2, frameon=False, loc="lower right")
    style_axes(axes)
