"""Figures of labelled sequences: confusion matrix, most certain mistakes, and predicted against true numbers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqmodels.report.output import format_number, shorten
from seqmodels.report.plotting import (
    DOTS_PER_INCH,
    FONT_SIZE,
    FORECAST,
    HEIGHT,
    OTHER,
    PAST,
    REFERENCE,
    TRUTH,
    WIDTH,
    add_title_and_legend,
    style_axes,
)

MOST_WRITTEN = 25  # classes whose counts are written into the matrix
MOST_CHANNELS = 3  # drawn in a panel
NAME_LENGTH = 16
COLOURS = (TRUTH, PAST, OTHER)


class Confusion(NamedTuple):
    """Counts by true and predicted class (K, K) of one label."""

    label: str
    classes: Sequence[str]
    counts: np.ndarray


class Case(NamedTuple):
    """A sequence (T, C), NaN where not observed, beside its true and predicted label."""

    title: str
    values: np.ndarray
    wrong: bool


def plot_confusion(matrices: Sequence[Confusion], heading: str) -> Figure:
    """A matrix for each label: counts, coloured by the share of the true class."""
    columns = min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else HEIGHT, HEIGHT * rows), dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(matrices) :]:
        axes.remove()
    for axes, one in zip(grid, matrices, strict=False):
        _draw_matrix(axes, one)
    figure.suptitle(heading, fontsize=FONT_SIZE + 2)
    return figure


def _draw_matrix(axes: Axes, one: Confusion) -> None:
    shares = one.counts / np.maximum(1, one.counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [shorten(name, NAME_LENGTH) for name in one.classes]
    few = len(names) <= 2 * MOST_WRITTEN
    axes.set_xticks(range(len(names)) if few else [], names if few else [], rotation=90 if len(names) > 8 else 0)
    axes.set_yticks(range(len(names)) if few else [], names if few else [])
    axes.set(xlabel="predicted", ylabel="true", title=shorten(one.label, NAME_LENGTH))
    if len(names) <= MOST_WRITTEN:
        for row, column in zip(*np.nonzero(one.counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else TRUTH
            axes.text(column, row, f"{one.counts[row, column]:,}", ha="center", va="center", color=colour,
                      fontsize=FONT_SIZE - 2)  # fmt: skip


def plot_cases(cases: Sequence[Case], channels: Sequence[str], heading: str) -> Figure:
    """Sequences over their steps, with at most three channels each, evenly taken."""
    columns = min(3, max(1, math.ceil(math.sqrt(len(cases)))))
    rows = max(1, -(-len(cases) // columns))
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(0.06, 0.08, 0.99, 0.86, wspace=0.18, hspace=0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    drawn = np.linspace(0, len(channels) - 1, min(len(channels), MOST_CHANNELS)).round().astype(int)
    for axes in grid[len(cases) :]:
        axes.remove()
    for axes, case in zip(grid, cases, strict=False):
        for colour, channel in zip(COLOURS, drawn, strict=False):
            steps = np.arange(1, len(case.values) + 1)
            axes.plot(steps, case.values[:, channel], color=colour, linewidth=1.3, label=shorten(channels[channel], 20))
        axes.set_title(case.title, fontsize=FONT_SIZE - 1, loc="left", color=FORECAST if case.wrong else TRUTH)
        style_axes(axes)
    if len(cases):
        add_title_and_legend(figure, heading, grid[0])
    else:
        figure.suptitle(heading, fontsize=FONT_SIZE + 2)
    return figure


def plot_numbers(truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str], heading: str) -> Figure:
    """Predicted against true numbers, (N, L) each, a panel for each label."""
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else HEIGHT, HEIGHT * rows), dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(labels) :]:
        axes.remove()
    for axes, name, true, given in zip(grid, labels, truth.T, predicted.T, strict=False):
        ends = [np.nanmin([true, given]), np.nanmax([true, given])]
        axes.plot(ends, ends, color=REFERENCE, linewidth=1, linestyle="--")
        axes.scatter(true, given, s=14, color=FORECAST, alpha=0.6)
        error = format_number(float(np.nanmean(np.abs(true - given))))
        axes.set(xlabel="true", ylabel="predicted", title=f"{shorten(name, NAME_LENGTH)}, mean absolute error {error}")
        style_axes(axes)
    figure.suptitle(heading, fontsize=FONT_SIZE + 2)
    return figure
