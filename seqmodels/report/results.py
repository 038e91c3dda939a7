"""What a run has found, for people and for files: the result table, metrics as JSON and CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.metrics import MODEL, ErrorTable, skill
from seqmodels.report.formatting import format_number
from seqmodels.report.output import to_primitives, write_file

Results = Mapping[str, Mapping[str, ErrorTable]]  # by stage, then by row of the table
MEASURES = ("mae", "rmse", "mse", "mase", "skill")


def result_table(
    results: Results, windows: Mapping[str, int], name: str, channels: Sequence[str] = (), stateful: bool = False
) -> RenderableType:
    """Errors of the model called ``name`` and of its references, per stage, and per channel where there are several.

    ``stateful``: every step counts as the end of a window of its own.
    """
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, overflow="ellipsis", min_width=18)
    for heading in ("MAE", "RMSE", "MSE", "MASE", "skill"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage, rows in results.items():
        blocks = blocks_of(rows, channels, name)
        for channel in blocks:
            part = f", {channel}" if len(blocks) > 1 else ""
            table.add_row(Text(f" {stage}{part}", style="bold"))
            for row, values in blocks[channel].items():
                label_of_row = Text(f"   {name if row == MODEL else row}")
                table.add_row(label_of_row, *(format_number(values[measure]) for measure in MEASURES))
    return Group(table, Text(explanation(results, windows, stateful), style="dim"))


def explanation(results: Results, windows: Mapping[str, int], stateful: bool = False) -> str:
    """What the numbers of the table mean, and on how many windows they stand."""
    reference = reference_of(next(iter(results.values()), {}))
    counts = " and ".join(f"{windows[stage]:,} {stage}" for stage in results)
    counted = f"{counts} steps, one after another" if stateful else f"the last step of {counts} windows"
    return (
        f" From {counted}, the same for each row.\n"
        f" In the data's own units; MASE in units of the seasonal error.\n"
        f" skill = 1 - MAE / MAE of {reference}."
    )


def blocks_of(
    rows: Mapping[str, ErrorTable], channels: Sequence[str], name: str = MODEL
) -> dict[str, dict[str, dict[str, float]]]:
    """Measures by channel, then by row; the channel "all" comes first, and alone where there is only one.

    Where the model called ``name`` is itself one of the references, that reference is not repeated.
    """
    count = next(iter(rows.values())).absolute.shape[1] if rows else 0
    names = list(channels) or [f"channel {i}" for i in range(count)]
    blocks = {"all": measures(rows)}
    if count > 1:
        for i, channel in enumerate(names):
            blocks[channel] = measures({row: table.channel(i) for row, table in rows.items()})
    again = name.replace("_", " ")
    # With a season of its own, a seasonal naive model differs from the reference: then both are shown.
    if again != MODEL and again in rows and rows[again].summary() == rows[MODEL].summary():
        blocks = {channel: {row: block[row] for row in block if row != again} for channel, block in blocks.items()}
    return blocks


def measures(rows: Mapping[str, ErrorTable]) -> dict[str, dict[str, float]]:
    """MAE, RMSE, MSE, MASE and skill of each row."""
    reference = rows[reference_of(rows)]
    return {row: {**table.summary(), "skill": skill(table, reference)} for row, table in rows.items()}


def reference_of(rows: Mapping[str, ErrorTable]) -> str:
    """The row that skill is measured against: seasonal naive, or naive where the data have no season."""
    return "seasonal naive" if "seasonal naive" in rows else "naive"


def result_rows(
    results: Results, windows: Mapping[str, int], name: str = MODEL, channels: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The table as records: stage, row, channel, mae, rmse, mse, mase, skill, windows.

    The model's row is called ``name``; the channel "all" is always there, the single ones where there are several.
    """
    return [
        {
            "stage": stage,
            "row": name if row == MODEL else row,
            "channel": channel,
            **{measure: values[measure] for measure in MEASURES},
            "windows": windows[stage],
        }
        for stage, rows in results.items()
        for channel, block in blocks_of(rows, channels, name).items()
        for row, values in block.items()
    ]


def write_results(directory: str | Path, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``metrics.json`` (the summary, and the rows as "rows") and ``metrics.csv``; what is no number is null."""
    content = json.dumps(to_primitives({**summary, "rows": list(rows)}), indent=2, allow_nan=False) + "\n"
    write_file(Path(directory) / "metrics.json", content.encode())
    text = io.StringIO()
    columns = ["stage", "row", "channel", *MEASURES, "windows"]
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_primitives(list(rows)))
    write_file(Path(directory) / "metrics.csv", text.getvalue().encode())
