"""A description on the terminal: facts, tables, what was repaired, and what to run next."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.description.profile import Description
from seqmodels.description.tables import Sheet, sheets

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
