"""Output to the terminal, and atomic writing of files."""

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

WIDTH = 100  # columns if the output is no terminal


def show(renderable: RenderableType) -> None:
    """Print a summary or table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(renderable)


def to_text(renderable: RenderableType) -> str:
    """What ``show`` prints, without colours."""
    file = io.StringIO()
    Console(highlight=False, width=WIDTH, color_system=None, file=file).print(renderable)
    return file.getvalue().rstrip()


def echo(text: str) -> None:
    """Print one line without wrapping it."""
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader finds the old or the new content at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
