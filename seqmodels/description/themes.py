"""The two looks of a picture, for light and for dark pages, and what every picture has in common."""

import io
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from seqmodels.report import drawing

WIDTH, DOTS_PER_INCH = 8.0, 150  # 1200 pixels
TEXT = 10


class Theme(NamedTuple):
    """Colours of one look; what marks something is the same in both and comes from the figures of training."""

    background: str
    ink: str  # text and the main curve
    grid: str
    mark: str = drawing.FORECAST
    soft: str = drawing.PAST
    aside: str = drawing.REFERENCE
    train: str = drawing.PAST
    validation: str = drawing.OTHER
    test: str = drawing.FORECAST


LIGHT = Theme("#ffffff", drawing.TRUTH, "#e6eaee")
DARK = Theme("#14181d", "#dde3ea", "#2b333c", soft="#8fa6c2")


def canvas(height: float, theme: Theme) -> Figure:
    """An empty figure of the usual width; its layout makes room for all labels."""
    return Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, facecolor=theme.background, layout="constrained")


def decorate(axes: Axes, theme: Theme, title: str = "", across: str = "", up: str = "") -> None:
    """Title and labels, the grid and ticks of all figures, and the colours of the theme."""
    drawing.decorate(axes)
    if max(map(abs, axes.get_xlim())) >= 10_000:  # places of dates get a format of their own afterwards
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_facecolor(theme.background)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.spines[["left", "bottom"]].set_color(theme.aside)
    axes.tick_params(colors=theme.ink, labelsize=TEXT - 1)
    axes.set_title(title, fontsize=TEXT, loc="left", color=theme.ink)
    axes.set_xlabel(across, fontsize=TEXT, color=theme.ink)
    axes.set_ylabel(up, fontsize=TEXT, color=theme.ink)


def legend(figure: Figure, axes: Axes, theme: Theme) -> None:
    """The legend of one of the panels, for all, in a line above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=TEXT - 1,
        labelcolor=theme.ink, borderpad=0, columnspacing=1.4, handlelength=1.6,
    )  # fmt: skip


def encoded(figure: Figure) -> bytes:
    """The picture as PNG."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
