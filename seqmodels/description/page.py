"""A description as one HTML page that needs nothing else: its pictures lie within, one for light and one for dark."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqmodels.description.charts import Chart
from seqmodels.description.profile import Description
from seqmodels.description.tables import sheets

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
