"""Colours, axes and themes of all figures, and the figures of forecasts and errors.

Figures are made without pyplot, whose global state would keep them open over a sweep.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import EngFormatter, MaxNLocator

from seqmodels.report.output import shorten, write_file

WIDTH, HEIGHT, DOTS_PER_INCH = 12.0, 7.0, 100  # 1200 x 700 pixels
PAST, TRUTH, FORECAST, REFERENCE, OTHER = "#7f93ab", "#1f2933", "#e4572e", "#8a8a8a", "#b9a44c"
MARKER_LIMIT = 60  # up to this number of points each has a marker, which shows a value between two gaps
FONT_SIZE = 11
ROW_HEIGHT = HEIGHT / 2
LABEL_LENGTH = 26  # characters of a name along the height of a row
SHORT_NUMBERS = 1e-2  # share of the largest number that an axis shows, from which a few digits tell ticks apart
GRID = "#e6eaee"
PAGE_WIDTH, PAGE_DOTS_PER_INCH = 8.0, 150  # figures of an HTML page: 1200 pixels
PAGE_FONT_SIZE = 10


class Theme(NamedTuple):
    """Colours of the figures of an HTML page, for a light or a dark background."""

    background: str
    ink: str  # text and the main curve
    grid: str
    mark: str = FORECAST
    soft: str = PAST
    aside: str = REFERENCE
    train: str = PAST
    validation: str = OTHER
    test: str = FORECAST


LIGHT = Theme("#ffffff", TRUTH, GRID)
DARK = Theme("#14181d", "#dde3ea", "#2b333c", soft="#8fa6c2")


class Panel(NamedTuple):
    """One channel of one window in the data's own units, NaN if not observed; ``value`` is the channel's name."""

    title: str
    value: str
    past: np.ndarray  # (shown,)
    truth: np.ndarray  # (H,)
    forecast: np.ndarray  # (H,)
    naive: np.ndarray  # (H,)
    deviation: np.ndarray | None = None  # (H,) standard deviation of the forecast


def plot_forecasts(
    panels: Sequence[Panel], heading: str, step: str, model: str, naive: str, columns: int | None = None
) -> Figure:
    """Plot a grid of windows with past, truth and the forecasts called ``model`` and ``naive``; the origin is at 0.

    ``step`` labels the time axis, which all panels share; each has its own scale of values. ``columns``: by default as
    many as make the grid about square, 3 at most.
    """
    columns = columns or min(3, math.ceil(math.sqrt(len(panels))))
    rows = -(-len(panels) // columns)
    height = max(HEIGHT, ROW_HEIGHT * rows)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
    # Margins in inches, because a layout engine takes twice as long as drawing.
    figure.subplots_adjust(0.07, 0.6 / height, 0.99, 1 - 0.75 / height, wspace=0.2, hspace=0.18)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for index, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
        plot_panel(axes, panel, model, naive)
        axes.set_ylabel(shorten(panel.value, LABEL_LENGTH) if index % columns == 0 else "", fontsize=FONT_SIZE)
        axes.set_xlabel(step if index + columns >= len(panels) else "", fontsize=FONT_SIZE)
        axes.tick_params(labelbottom=index + columns >= len(panels))
    add_title_and_legend(figure, heading, grid[0])
    return figure


def plot_panel(axes: Axes, panel: Panel, model: str, naive: str) -> None:
    """Plot one window; the truth starts at the origin, so that it continues the past without a gap."""
    before, after = np.arange(1 - len(panel.past), 1), np.arange(1, len(panel.truth) + 1)
    small: dict[str, Any] = {"marker": ".", "markersize": 4} if len(before) + len(after) <= MARKER_LIMIT else {}
    single: dict[str, Any] = {"marker": "o", "markersize": 4} if len(after) <= MARKER_LIMIT // 2 else {}
    axes.axvline(0, color="#c4ccd4", linewidth=1, zorder=0)
    axes.plot(before, panel.past, color=PAST, linewidth=1.3, label="past", **small)
    truth = np.concatenate([panel.past[-1:], panel.truth])
    axes.plot(np.arange(len(truth)), truth, color=TRUTH, linewidth=1.5, label="truth", **small)
    dash = "_" if len(after) == 1 else ""  # one point makes no line
    axes.plot(after, panel.naive, color=REFERENCE, linewidth=1.2, linestyle="--", marker=dash, label=naive)
    axes.plot(after, panel.forecast, color=FORECAST, linewidth=2, label=model, **single)
    if panel.deviation is not None:
        axes.errorbar(after, panel.forecast, panel.deviation, fmt="none", ecolor=FORECAST, elinewidth=1, capsize=2.5)
    axes.set_title(panel.title, fontsize=FONT_SIZE, loc="left")
    style_axes(axes)


def plot_errors(curves: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], model: str) -> Figure:
    """Plot errors by lead: a row for each channel, a panel for each stage, a curve (H,) for each row of the table.

    ``model`` names the model's row.
    """
    stages = list(next(iter(curves.values())))
    height = HEIGHT * 0.6 * max(1.0, len(curves) * 0.8)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(0.07, 0.6 / height, 0.99, 1 - 0.75 / height, wspace=0.06, hspace=0.18)
    grid = figure.subplots(len(curves), len(stages), squeeze=False, sharex=True, sharey="row")
    for line, (channel, parts) in zip(grid, curves.items(), strict=True):
        for axes, stage in zip(line, stages, strict=True):
            plot_error_curves(axes, parts[stage], model)
        line[0].set_ylim(bottom=0)  # after the last curve, because it ends the automatic scaling of the whole line
        line[0].set_ylabel(shorten(channel, LABEL_LENGTH), fontsize=FONT_SIZE)
    for top, bottom, stage in zip(grid[0], grid[-1], stages, strict=True):
        top.set_title(stage, fontsize=FONT_SIZE, loc="left")
        bottom.set_xlabel("steps ahead", fontsize=FONT_SIZE)
    add_title_and_legend(figure, "Mean absolute error by step", grid[0, 0])
    return figure


def plot_error_curves(axes: Axes, rows: Mapping[str, np.ndarray], model: str) -> None:
    """Plot one curve for each row of the result table."""
    for row, errors in rows.items():
        style: dict[str, Any] = {"color": FORECAST, "linewidth": 2.2, "zorder": 3}
        if row != model:
            colour = {"naive": OTHER, "seasonal naive": REFERENCE}.get(row, PAST)
            style = {"color": colour, "linewidth": 1.5, "linestyle": "--"}
        marker = "o" if len(errors) <= MARKER_LIMIT // 2 else ""
        axes.plot(np.arange(1, len(errors) + 1), errors, marker=marker, markersize=4, label=row, **style)
    style_axes(axes)


def style_axes(axes: Axes) -> None:
    """Set the style of all axes: light grid, no frame above and on the right, few ticks, whole steps."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    format_large_numbers(axes.yaxis, axes.get_ylim(), 1000)
    axes.tick_params(labelsize=FONT_SIZE - 1)


def format_large_numbers(axis: Axis, limits: tuple[float, float], least: float) -> None:
    """Write numbers from ``least`` on as 750k, about the same width for all magnitudes.

    Those that differ in later digits stay as matplotlib writes them: 70, 80, ... with "+1e9" at the end of the axis.
    """
    largest = max(map(abs, limits))
    if largest >= least and abs(limits[1] - limits[0]) > SHORT_NUMBERS * largest:
        axis.set_major_formatter(EngFormatter(sep=""))


def add_title_and_legend(figure: Figure, heading: str, axes: Axes) -> None:
    """Put the heading on the left, and the legend of ``axes`` on the right of the same line."""
    top = 1 - 0.12 / figure.get_figheight()
    figure.suptitle(heading, x=0.012, y=top, ha="left", va="top", fontsize=FONT_SIZE + 2, fontweight="bold")
    handles, labels = axes.get_legend_handles_labels()
    corner = (1.0, top + 0.06 / figure.get_figheight())
    figure.legend(
        handles, labels, loc="upper right", bbox_to_anchor=corner, ncols=len(labels), frameon=False, fontsize=FONT_SIZE
    )


def render(figure: Figure) -> np.ndarray:
    """Pixels of the figure, (height, width, 4) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    return encode(render(figure), figure.dpi)


def encode(pixels: np.ndarray, dots_per_inch: float) -> bytes:
    """Pixels (height, width, 4) as a PNG file."""
    content = io.BytesIO()
    imsave(content, pixels, format="png", dpi=dots_per_inch)
    return content.getvalue()


def save_figure(figure: Figure, path: Path) -> np.ndarray:
    """Write the figure as PNG; its pixels."""
    pixels = render(figure)
    write_file(path, encode(pixels, figure.dpi))
    return pixels


def page_figure(height: float, theme: Theme) -> Figure:
    """An empty figure of the width of a page; its layout makes room for all labels."""
    return Figure(
        figsize=(PAGE_WIDTH, height), dpi=PAGE_DOTS_PER_INCH, facecolor=theme.background, layout="constrained"
    )


def apply_theme(axes: Axes, theme: Theme, title: str = "", x_label: str = "", y_label: str = "") -> None:
    """Set title and labels, and the ticks, grid and colours of a theme."""
    style_axes(axes)
    format_large_numbers(axes.xaxis, axes.get_xlim(), 10_000)  # axes of dates get a format of their own afterwards
    axes.set_facecolor(theme.background)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.spines[["left", "bottom"]].set_color(theme.aside)
    axes.tick_params(colors=theme.ink, labelsize=PAGE_FONT_SIZE - 1)
    axes.set_title(title, fontsize=PAGE_FONT_SIZE, loc="left", color=theme.ink)
    axes.set_xlabel(x_label, fontsize=PAGE_FONT_SIZE, color=theme.ink)
    axes.set_ylabel(y_label, fontsize=PAGE_FONT_SIZE, color=theme.ink)


def add_legend(figure: Figure, axes: Axes, theme: Theme) -> None:
    """Put the legend of one panel above all panels, in one line."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=PAGE_FONT_SIZE - 1,
        labelcolor=theme.ink, borderpad=0, columnspacing=1.4, handlelength=1.6,
    )  # fmt: skip
