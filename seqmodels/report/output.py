"""Output to the terminal and to files: formatted numbers and names, and files that appear whole or not at all."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, RenderableType

if TYPE_CHECKING:
    import polars as pl

WIDTH = 100  # columns
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how formulas begin in spreadsheets


def show(renderable: RenderableType, width: int = WIDTH) -> None:
    """Print a summary or table, with ``width`` columns if the output is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = width
    console.print(renderable)


def to_text(renderable: RenderableType) -> str:
    """Text that ``show`` prints, without colours."""
    file = io.StringIO()
    Console(highlight=False, width=WIDTH, color_system=None, file=file).print(renderable)
    return file.getvalue().rstrip()


def echo(text: str, style: str | None = None) -> None:
    """Print one line without wrapping it."""
    Console(highlight=False).print(text, style=style, markup=False, soft_wrap=True)


@cache
def warn_once(text: str) -> None:
    """Print a warning of one line, only the first time in a process."""
    echo(f"warning: {text}", style="yellow")


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader finds the old or the new content at any time.

    What a killed process left beside it is written over by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(map(escape_formula, row) for row in rows)
    write_file(path, stream.getvalue().encode())


def write_table(path: Path, table: "pl.DataFrame") -> None:
    """Write a data frame as CSV or Parquet, by the suffix."""
    content = io.BytesIO()
    if path.suffix == ".parquet":
        table.write_parquet(content)
    else:
        table.write_csv(content)
    write_file(path, content.getvalue())


def escape_formula(cell: Any) -> Any:
    """The cell, with an apostrophe in front if it is text, no number, and begins with = + - @, a tab or a return.

    Returns become spaces, since the csv module leaves them without quotes.
    """
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")
    if not cell.startswith(FORMULA):
        return text
    try:
        float(cell)
    except ValueError:
        return f"'{text}"
    return text


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON; NaN and infinity are null."""
    write_file(path, (json.dumps(to_primitives(content), indent=2, allow_nan=False) + "\n").encode())


def to_primitives(value: Any) -> Any:
    """Convert tensors, arrays and paths to primitives; NaN and infinity, which JSON lacks, to None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_primitives(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_primitives(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def format_number(value: float) -> str:
    """``39,756.0`` from a thousand on, four significant digits below; ``-`` for NaN."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if abs(value) >= 1e12:
        return f"{value:.4g}"
    if abs(value) >= 1e6:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 999.95 else f"{value:.4g}"


def format_among(value: float, spread: float) -> str:
    """``format_number``, with more decimals if it takes them to tell apart values that differ by about ``spread``."""
    if not 0 < spread < abs(value) / 1000 < math.inf:
        return format_number(value)
    return f"{value:,.{max(0, 1 - math.floor(math.log10(spread)))}f}"


def pluralise(count: int, singular: str, plural: str = "") -> str:
    """``1 window`` or ``2,000 windows``; the plural adds an s unless given."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def shorten(name: str, length: int) -> str:
    """The name, or its beginning and its end, which tells similar names apart, with an ellipsis between."""
    if len(name) <= length:
        return name
    end = length // 2
    return f"{name[: length - end - 1]}\u2026{name[-end:]}"


def join_names(names: Sequence[str], limit: int = 8) -> str:
    """Names separated by commas, those beyond ``limit`` as a number: ``a, b and 7 more``."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def format_time(time: np.datetime64 | np.integer) -> str:
    """The date, with hours and minutes unless it is midnight; an integer time as it is."""
    if not isinstance(time, np.datetime64):
        return str(time)
    midnight = time == time.astype("datetime64[D]")
    return str(time.astype("datetime64[D]" if midnight else "datetime64[m]")).replace("T", " ")


def format_duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
