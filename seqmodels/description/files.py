"""Opens the data that are to be described, and writes the description: page, pictures and figures."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from seqmodels.config import build
from seqmodels.description.charts import charts
from seqmodels.description.page import Picture, page
from seqmodels.description.profile import Description
from seqmodels.description.themes import DARK, LIGHT, encoded
from seqmodels.errors import InputError
from seqmodels.report import plain, write_file


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
        pictures.append(Picture(chart, *(encoded(chart.draw(theme)) for theme in (LIGHT, DARK))))
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
    return plain(records)
