"""Results of a run: the table that is printed, and metrics.json and metrics.csv."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.class_metrics import ClassTable, StepTable
from seqmodels.metrics import LINEAR, MEASURES, MODEL, ErrorTable, GapErrorTable, LabelErrorTable, Measure, naive_row
from seqmodels.report.output import format_number, shorten, to_primitives, write_csv, write_json

NAME_LENGTH = 20  # characters of the name of a channel: more would push the figures out of the table
PARTS = {"train", "validation", "test"}  # of a run
ResultTable = ErrorTable | ClassTable | StepTable
Results = Mapping[str, Mapping[str, ResultTable]]  # by stage, then by row of the table


def result_table(
    results: Results, windows: Mapping[str, int], name: str, channels: Sequence[str] = (), stateful: bool = False
) -> RenderableType:
    """Errors of the model called ``name`` and of the naive forecasts by stage, and by channel if there are several.

    ``stateful``: each step counts as the end of a window of its own.
    """
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, overflow="ellipsis", min_width=18)
    shown = shown_measures(results)
    for measure in shown.values():
        table.add_column(measure.heading, justify="right", no_wrap=True)
    for stage, rows in results.items():
        blocks = measures_by_channel(rows, channels, name)
        for channel, block in blocks.items():
            part = f", {shorten(channel, NAME_LENGTH)}" if len(blocks) > 1 else ""
            table.add_row(Text(f" {stage}{part}", style="bold"))
            for row, values in block.items():
                heading = Text(f"   {name if row == MODEL else row}")
                table.add_row(heading, *(format_number(values.get(measure, math.nan)) for measure in shown))
    return Group(table, Text(caption(results, windows, stateful), style="dim"))


def shown_measures(results: Results) -> dict[str, Measure]:
    """The measures of the table: those that need bands only if any row has them."""
    tables = [table for rows in results.values() for table in rows.values()]
    banded = any(table.banded for table in tables)
    measures = tables[0].measures if tables else MEASURES
    return {name: measure for name, measure in measures.items() if banded or not measure.needs_bands}


def caption(results: Results, windows: Mapping[str, int], stateful: bool = False) -> str:
    """Meaning of the numbers in the table, and the number of windows behind them."""
    counts = " and ".join(f"{windows[stage]:,} {stage}" for stage in results)
    first = next((table for rows in results.values() for table in rows.values()), None)
    if isinstance(first, ClassTable):
        return (
            f" Of {counts} sequences, the same for each row; means over the classes but for accuracy and log loss.\n"
            " - where a rule gives no probabilities."
        )
    if isinstance(first, StepTable):
        return (
            f" Steps with a label, the same for each row: {counts}; perplexity = exp(log loss).\n"
            " - where a rule gives no probabilities."
        )
    if isinstance(first, GapErrorTable):
        tables = {stage: rows[MODEL] for stage, rows in results.items()}
        hidden = " and ".join(
            f"{int(table.observed.sum()):,} {stage}" for stage, table in tables.items() if isinstance(table, ErrorTable)
        )
        return f" Of {hidden} values that were hidden, the same for each row.\n skill = 1 - MAE / MAE of {LINEAR}."
    if isinstance(first, LabelErrorTable):
        naive = naive_row(next(iter(results.values()), {}))
        return f" Of {counts} sequences, the same for each row.\n skill = 1 - MAE / MAE of the training {naive}."
    counted = f"{counts} steps, one after another" if stateful else f"the last step of {counts} windows"
    rows = "all rows before each part" if results.keys() <= PARTS else "the training and validation part"
    bands = " WQL = quantile loss at the deciles / mean |truth|, of bands from the validation errors.\n"
    return (
        f" From {counted}, the same for each row.\n"
        f" In the data's own units; MASE in seasonal errors of {rows}.\n{left_out(results)}"
        f"{bands if 'wql' in shown_measures(results) else ''}"
        f" skill = 1 - MAE / MAE of {naive_row(next(iter(results.values()), {}))}."
    )


def left_out(results: Results) -> str:
    """A line on the values that MASE leaves out for lack of a unit; else empty."""
    tables = [table for rows in results.values() if isinstance(table := rows[MODEL], ErrorTable)]
    values = int(sum(table.observed.sum() for table in tables))
    without = values - int(sum(table.scalable.sum() for table in tables))
    return f" MASE leaves out {without:,} of {values:,} values, which have no seasonal error.\n" if without else ""


def measures_by_channel(
    rows: Mapping[str, ResultTable], channels: Sequence[str], name: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Measures by channel, then by row. The channel "all" comes first, and alone if there is only one channel.

    If the model called ``name`` is one of the naive forecasts, that row is not repeated.
    """
    parts = {"all": rows}
    if len(channels) > 1:
        parts |= {name: {row: table.channel(i) for row, table in rows.items()} for i, name in enumerate(channels)}
    naive, repeated = naive_row(rows), name.replace("_", " ")
    # A seasonal naive model with a season of its own differs from the row of that name: then both are shown.
    if repeated == MODEL or repeated not in rows or _without_bands(rows[repeated]) != _without_bands(rows[MODEL]):
        repeated = ""
    return {
        channel: {row: table.summary(part[naive]) for row, table in part.items() if row != repeated}
        for channel, part in parts.items()
    }


def _without_bands(table: ResultTable) -> str:
    """Measures as text, in which NaN equals NaN, without those of bands, which may come from fewer errors."""
    banded = {name for name, measure in MEASURES.items() if measure.needs_bands}
    return str({name: value for name, value in table.summary().items() if name not in banded})


def result_rows(
    results: Results, windows: Mapping[str, int], name: str = MODEL, channels: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The table as records: stage, row, channel, the measures and the number of windows; ``name`` is the model's row.

    The channel "all" is always there, single channels only if there are several.
    """
    return [
        {
            "stage": stage,
            "row": name if row == MODEL else row,
            "channel": channel,
            **{measure: values.get(measure, math.nan) for measure in rows[MODEL].measures},
            "windows": windows[stage],
        }
        for stage, rows in results.items()
        for channel, block in measures_by_channel(rows, channels, name).items()
        for row, values in block.items()
    ]


def write_results(directory: Path, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``metrics.json``, the summary with the rows as "rows", and ``metrics.csv``; NaN and infinity are null."""
    write_json(directory / "metrics.json", {**summary, "rows": list(rows)})
    columns = list(rows[0]) if rows else ["stage", "row", "channel", *MEASURES, "windows"]
    cells = ([row[column] for column in columns] for row in to_primitives(list(rows)))
    write_csv(directory / "metrics.csv", [columns, *cells])
