"""Figures of gaps and of the values that fill them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from seqmodels.report.plotting import (
    DOTS_PER_INCH,
    FONT_SIZE,
    FORECAST,
    HEIGHT,
    PAST,
    TRUTH,
    WIDTH,
    add_title_and_legend,
    style_axes,
)


class Gap(NamedTuple):
    """A stretch of one channel, NaN where there is no value."""

    title: str
    seen: np.ndarray  # (steps,)
    filled: np.ndarray
    truth: np.ndarray | None = None
    low: np.ndarray | None = None  # band
    high: np.ndarray | None = None


def plot_gaps(gaps: Sequence[Gap], heading: str) -> Figure:
    """Plot a panel for each gap: measured values, estimates, and the truth or the band if known."""
    columns = 1 if len(gaps) == 1 else 2
    rows = max(1, -(-len(gaps) // columns))
    height = HEIGHT * max(0.7, rows / 2)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(0.07, 0.4 / height, 0.985, 1 - 0.75 / height, wspace=0.2, hspace=0.35)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(gaps) :]:
        axes.remove()
    for axes, gap in zip(grid, gaps, strict=False):
        steps = np.arange(len(gap.seen))
        axes.plot(steps, gap.seen, color=PAST, linewidth=1.4, marker=".", markersize=4, label="measured")
        if gap.low is not None and gap.high is not None:
            axes.fill_between(steps, gap.low, gap.high, color=FORECAST, alpha=0.2, linewidth=0, label="band")
        axes.plot(steps, gap.filled, color=FORECAST, linewidth=1.6, marker="o", markersize=3, label="filled")
        if gap.truth is not None:
            axes.plot(steps, gap.truth, color=TRUTH, linewidth=0, marker="x", markersize=4, label="truth")
        axes.set_title(gap.title, fontsize=FONT_SIZE, loc="left")
        style_axes(axes)
    if gaps:
        add_title_and_legend(figure, heading, grid[0])
    return figure
