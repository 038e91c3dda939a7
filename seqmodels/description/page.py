"""A description on the terminal, as an HTML page with figures, and as JSON."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.description.plots import Chart, charts
from seqmodels.description.profile import Description
from seqmodels.description.tables import TextTable, tables
from seqmodels.report.leaderboard import STYLE
from seqmodels.report.output import to_primitives, write_file
from seqmodels.report.plotting import DARK, LIGHT, png

TEMPLATE = Path(__file__).with_name("page.html")
TERMINAL_ROWS = 15  # of a table; the page has all of them


def summary(description: Description, warning: str = "") -> RenderableType:
    """The description for the terminal, without the command to run, which must stay on one line."""
    lines = Table.grid(padding=(0, 2))
    for name, text in description.facts:
        lines.add_row(name, Text(text))
    for index, note in enumerate(description.data.series.notes):
        lines.add_row("" if index else "notes", Text(note))
    warnings = [Text(sentence, style="yellow") for sentence in (*description.left_out, warning) if sentence]
    return Group(lines, *map(render_table, tables(description)), *warnings, Text(), render_advice(description))


def render_table(table: TextTable) -> RenderableType:
    """Title, rows and note for the terminal."""
    grid = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="dim")
    grid.add_column(Text(table.header[0], style="dim"), no_wrap=True, overflow="ellipsis", min_width=8)
    for name in table.header[1:]:
        grid.add_column(Text(name, style="dim"), justify="left" if name in table.text_columns else "right")
    for row in table.rows[:TERMINAL_ROWS]:
        grid.add_row(*map(Text, row))
    hidden = len(table.rows) - TERMINAL_ROWS
    more = [Text(f"... and {hidden:,} more on the page")] if hidden > 0 else []
    return Group(Text(), Text(table.title, style="bold"), grid, *more, Text(table.note, style="dim"))


def render_advice(description: Description) -> RenderableType:
    """Season, window and horizon, each with its reason."""
    lines = Table.grid(padding=(0, 2))
    lines.add_row(Text("Suggested", style="bold"))
    for one in description.suggestions:
        lines.add_row(one.key, Text(format_value(one.value)), Text(one.reason))
    return lines


def format_value(value: int | str) -> str:
    """A number with separators, or text as it is."""
    return f"{value:,}" if isinstance(value, int) else value


def write(description: Description, directory: Path, most: int, command: str, warning: str) -> list[Path]:
    """Write description.html, figures with at most ``most`` panels and metrics.json; return the paths.

    ``command`` trains with the suggested settings; ``warning`` is "" or the reason for refusing the given ones.
    """
    pictures = [(chart, png(chart.draw(LIGHT)), png(chart.draw(DARK))) for chart in charts(description, most)]
    contents = {"description.html": page(description, pictures, command, warning).encode()}
    contents |= {f"figures/{chart.name}.png": light for chart, light, _ in pictures}
    contents["metrics.json"] = json.dumps(figures(description, command), indent=2, allow_nan=False).encode()
    for name, content in contents.items():
        write_file(directory / name, content)
    return [directory / name for name in contents]


def page(description: Description, pictures: Sequence[tuple[Chart, bytes, bytes]], command: str, warning: str) -> str:
    """The HTML page, which needs no other file; each chart comes with its light and dark PNG."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"data_url": data_url, "setting": format_value}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        style=STYLE.read_text(encoding="utf-8"),
        title=description.data.series.source,
        facts=description.facts,
        notes=description.data.series.notes,
        left_out=[*description.left_out, *([warning] if warning else [])],
        advice=description.suggestions,
        command=command,
        tables=tables(description),
        pictures=pictures,
    )


def data_url(picture: bytes) -> str:
    """A PNG as an address that contains it."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def figures(description: Description, command: str) -> dict[str, Any]:
    """The description as JSON primitives; NaN is null."""
    channels = [one._asdict() for one in description.channels]
    records = {
        "facts": dict(description.facts),
        "notes": description.data.series.notes,
        "ranges": [{key: value for key, value in one.items() if key != "sample"} for one in channels],
        "columns": [one._asdict() for one in description.columns],
        "behaviours": [{**one._asdict(), "outliers": len(one.outliers)} for one in description.behaviours],
        "autocorrelations": [one and one._asdict() for one in description.correlograms],
        "advice": {one.key: {"value": one.value, "reason": one.reason} for one in description.suggestions},
        "left_out": description.left_out,
        "command": command,
    }
    return to_primitives(records)
