"""A description as tables on the terminal, as one HTML page, and as figures in JSON."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.config.build import build
from seqmodels.description.charts import Chart, charts
from seqmodels.description.components import NEWEST
from seqmodels.description.counts import Column
from seqmodels.description.profile import Description
from seqmodels.description.seasons import Correlogram
from seqmodels.errors import InputError
from seqmodels.report.formatting import format_number, format_time, pluralise
from seqmodels.report.output import to_primitives, write_file
from seqmodels.report.plotting import DARK, LIGHT, png

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
        when = format_time(series.local_time(slice(row, row + 1))[0])
        when = when if series.time.dtype.kind == "M" else f"at {when}"
    return when if len(series) == 1 else f"{series.name(owner)}, {when}"


def values(description: Description) -> Sheet:
    """Range of each channel."""
    rows = []
    for one in description.ranges:
        figures = (one.mean, one.deviation, one.least, one.median, one.greatest)
        rows.append((one.channel, *map(format_number, figures), f"{one.zeros:,}", f"{one.negative:,}"))
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
        yield f"Averages of {pluralise(curves, 'series', 'series')}."
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
        (series.channels[one.channel], place(series, one.row), format_number(one.value), format_number(one.expected))
        for one in found[:NAMED]
    )
    checked = sum(behaviour.checked for behaviour in description.behaviours)
    note = f"The farthest of {len(found):,} among {checked:,} values; expected is trend + season. None was changed."
    return Sheet("Outliers", ("channel", "where", "value", "expected"), rows, note)


def covariates(description: Description) -> Sheet:
    """Covariates and statics: numbers with their range, categories with the most frequent values."""
    header = ("column", "role", "missing", "smallest", "mean", "largest", "categories")
    rows = tuple((one.name, one.role, f"{one.missing:,}", *column_figures(one)) for one in description.columns)
    return Sheet("Covariates", header, rows, "In all parts; the share after a category is that of all rows, or series.")


def column_figures(column: Column) -> Sequence[str]:
    """Range of a column of numbers, or the categories."""
    if not column.categories:
        return (*map(format_number, (column.least, column.mean, column.greatest)), "")
    named = ", ".join(f"{name} {share:.0%}" for name, share in column.most)
    more = ", ..." if column.categories > len(column.most) else ""
    return ("", "", "", f"{column.categories:,}: {named}{more}")


TEMPLATE = Path(__file__).with_name("page.html")


class Picture(NamedTuple):
    """A chart as it was drawn, as PNG."""

    chart: Chart
    light: bytes
    dark: bytes


def page(description: Description, pictures: Sequence[Picture], command: str, refusal: str) -> str:
    """The whole page; ``command`` trains with what is suggested, ``refusal`` says why the settings as given do not."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["embedded"] = embedded
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=description.data.series.source,
        facts=description.facts,
        notes=description.data.series.notes,
        left_out=[*description.left_out, *([refusal] if refusal else [])],
        advice=description.advice,
        command=command,
        sheets=sheets(description),
        pictures=pictures,
    )


def embedded(picture: bytes) -> str:
    """A PNG as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


MOST = 15  # rows of a table; the page has all


def summary(description: Description, refusal: str = "") -> RenderableType:
    """Everything but the command to run, which must stand in one line; ``refusal``: why the settings do not train."""
    lines = Table.grid(padding=(0, 2))
    for name, text in description.facts:
        lines.add_row(name, Text(text))
    for index, note in enumerate(description.data.series.notes):
        lines.add_row("" if index else "notes", Text(note))
    tables = [table(sheet) for sheet in sheets(description)]
    warnings = [Text(sentence, style="yellow") for sentence in (*description.left_out, refusal) if sentence]
    return Group(lines, *tables, *warnings, Text(), suggestions(description))


def table(sheet: Sheet) -> RenderableType:
    """A title, the rows, and how to read them."""
    grid = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="dim")
    grid.add_column(Text(sheet.header[0], style="dim"), no_wrap=True, overflow="ellipsis", min_width=8)
    for name in sheet.header[1:]:
        grid.add_column(Text(name, style="dim"), justify="left" if name in sheet.words else "right")
    for row in sheet.rows[:MOST]:
        grid.add_row(*map(Text, row))
    hidden = len(sheet.rows) - MOST
    more = [Text(f"... and {hidden:,} more on the page")] if hidden > 0 else []
    return Group(Text(), Text(sheet.title, style="bold"), grid, *more, Text(sheet.note, style="dim"))


def suggestions(description: Description) -> RenderableType:
    """Season, window and horizon, each with its reason."""
    lines = Table.grid(padding=(0, 2))
    lines.add_row(Text("Suggested", style="bold"))
    for one in description.advice:
        lines.add_row(one.key, Text(f"{one.value:,}"), Text(one.reason))
    return lines


def opened(node: DictConfig) -> tuple[Any, str]:
    """The datamodule, set up, and "" or why training would refuse its settings: then its windows are the smallest.

    Raises InputError where the data cannot be read, or not divided.
    """
    data = build(node)
    try:
        data.setup()
        return data, ""
    except InputError as error:
        if not hasattr(data, "series"):  # nothing to describe: it was not read
            raise
        refusal = str(error)
    data = build(node, past_steps=1, horizon=1, lanes=None)
    data.setup()
    return data, f"Without what is suggested nothing can be trained: {refusal}"


def write(description: Description, directory: Path, drawn: int, command: str, refusal: str) -> list[Path]:
    """Write description.html, metrics.json and the pictures; the paths, in the order to look at them."""
    pictures = []
    for chart in charts(description, drawn):
        pictures.append(Picture(chart, *(png(chart.draw(theme)) for theme in (LIGHT, DARK))))
    contents = {"description.html": page(description, pictures, command, refusal).encode()}
    contents |= {f"figures/{picture.chart.name}.png": picture.light for picture in pictures}
    contents["metrics.json"] = json.dumps(figures(description, command), indent=2, allow_nan=False).encode()
    for name, content in contents.items():
        write_file(directory / name, content)
    return [directory / name for name in contents]


def figures(description: Description, command: str) -> dict[str, Any]:
    """What was found out, as primitives; what is no number is null."""
    unnamed = {"drawn"}  # values, not figures
    records = {
        "facts": dict(description.facts),
        "notes": description.data.series.notes,
        "ranges": [
            {key: value for key, value in one._asdict().items() if key not in unnamed} for one in description.ranges
        ],
        "columns": [one._asdict() for one in description.columns],
        "behaviours": [{**one._asdict(), "outliers": len(one.outliers)} for one in description.behaviours],
        "autocorrelations": [one and one._asdict() for one in description.correlograms],
        "advice": {one.key: {"value": one.value, "reason": one.reason} for one in description.advice},
        "left_out": description.left_out,
        "command": command,
    }
    return to_primitives(records)
