"""Runs recorded experiments and keeps what they gave, in docs/results.* and in the headers of conf/experiment."""

import json
import os
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from protocols import PROTOCOLS
from published import FILES, ROWS, TITLES, TRAPS, Row, as_list

ROOT = Path(__file__).parent.parent
JSON, PAGE, CONF = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md", ROOT / "conf" / "experiment"
WIDTH = 118
Figures = dict[str, Any]  # values by seed, naive, windows, seconds by seed
REFERENCES = ("seasonal naive", "naive")
HEAD = """# Results

Written by `make slow`, which runs every command below with the seeds 0, 1 and 2; `pytest -m slow -k lstm` refreshes
only the rows with that name. Figures are on the validation windows of the source, or on the test windows where the
title or the note says so, in the data's own units, with the weights of the epoch that was best in validation; naive is
the better of the naive and the seasonal naive forecast on the same windows. Since the validation windows also chose the
epoch and, mostly with the same seeds, the recipe, they flatter, as the printed figures do; a run's `metrics.csv` has
the test windows too, where the source keeps any. Seconds are those of one seed on one CPU core that others shared. In
bold is the figure that must reach the limit: the median over the seeds, or the best of them.

"""
COLUMNS = ("model", "command", "printed", "limit", "ours, median (smallest ... largest)", "naive", "windows",
           "seconds", "note")  # fmt: skip


def run(row: Row, directory: Path, files: list[Path]) -> None:
    """Train ``row`` with each of its seeds, as a user would, in ``directory``."""
    seeds = f"seed={','.join(map(str, row.seeds))}"
    overrides = [f"experiment={row.experiment}", *row.overrides, seeds, "threads=1"]
    path = [f"data.path={files[0] if len(files) == 1 else as_list(files)}"] if files else []
    command = [sys.executable, str(ROOT / "train.py"), "-m", *overrides, *path, f"hydra.sweep.dir={directory}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=directory.parent)


def read(row: Row, directory: Path, files: list[Path]) -> Figures:
    """What the runs below ``directory`` measured, in the order of the seeds."""
    jobs = sorted(directory.glob("*/metrics.json"), key=lambda path: int(path.parent.name.partition("_")[0]))
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in jobs]
    if row.metric in PROTOCOLS:
        reported = [PROTOCOLS[row.metric](path.parent / "checkpoints" / "best.ckpt", files) for path in jobs]
        return {
            "values": [one.value for one in reported],
            "naive": reported[0].naive,
            "windows": reported[0].windows,
            "seconds": [run["seconds"] for run in runs],
        }
    measured = [
        {r["row"]: r for r in run["rows"] if (r["stage"], r["channel"]) == (row.stage, row.channel)} for run in runs
    ]
    models = [rows[run["model"]] for rows, run in zip(measured, runs, strict=True)]
    references = [measured[0][name][row.metric] for name in REFERENCES if name in measured[0]]
    return {
        "values": [model[row.metric] for model in models],
        "naive": min(references, default=models[0][row.metric]),
        "windows": models[0]["windows"],
        "seconds": [run["seconds"] for run in runs],
    }


def figure(row: Row, figures: Figures) -> float:
    """The one that is held against the limit."""
    return min(figures["values"]) if row.statistic == "best" else statistics.median(figures["values"])


def recorded() -> dict[str, Figures]:
    """What was kept of earlier runs, by the names of the rows."""
    return json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}


def record(row: Row, figures: Figures) -> None:
    """Replace this row's figures and write again whatever shows them."""
    kept = {**recorded(), row.name: figures}
    ordered = {known.name: kept[known.name] for known in ROWS if known.name in kept}
    write(JSON, json.dumps(ordered, indent=1) + "\n")
    publish()


def publish() -> None:
    """Write the page and the headers from what is recorded."""
    kept = recorded()
    write(PAGE, page(kept))
    for experiment in dict.fromkeys(row.experiment for row in ROWS):
        path = CONF / f"{experiment}.yaml"
        write(path, with_header(path.read_text(encoding="utf-8"), experiment, kept))


def write(path: Path, text: str) -> None:
    """All of it or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def shown(value: float | None) -> str:
    """Five digits, and all of those before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.5g}"


def spread(row: Row, figures: Figures | None) -> str:
    """Median (smallest ... largest) of the seeds, the decisive one in bold."""
    if figures is None:
        return "not run yet"
    values = figures["values"]
    middle, least, most = (shown(value) for value in (statistics.median(values), min(values), max(values)))
    if len(values) == 1:
        return f"**{middle}**"
    return f"{middle} (**{least}** ... {most})" if row.statistic == "best" else f"**{middle}** ({least} ... {most})"


def page(kept: dict[str, Figures]) -> str:
    """The whole of docs/results.md."""
    parts = [HEAD.rstrip("\n")]
    for section, title in TITLES.items():
        rows = [row for row in ROWS if row.experiment.startswith(f"{section}/")]
        lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [line(row, kept.get(row.name)) for row in rows]
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    parts.append("## Printed figures that are no targets\n\n" + "\n".join(f"- {trap}" for trap in TRAPS))
    return "\n\n".join(parts) + "\n"


def line(row: Row, figures: Figures | None) -> str:
    """One row of a table."""
    found = figures or {"naive": None, "windows": "-", "seconds": []}
    seconds = f"{statistics.median(found['seconds']):.0f}" if found["seconds"] else "-"
    windows = f"{found['windows']:,}" if figures else "-"
    cells = (row.model, f"`{row.command}`", shown(row.printed), shown(row.limit), spread(row, figures))
    return f"| {' | '.join([*cells, shown(found['naive']), windows, seconds, row.note])} |"


def with_header(text: str, experiment: str, kept: dict[str, Figures]) -> str:
    """The text of an experiment's file with the lines on time and figures as they are recorded now."""
    lines, head = text.splitlines(), []
    while lines and lines[0].startswith("#"):
        head.append(lines.pop(0))
    cut = next(i for i, entry in enumerate(head) if entry.startswith("# Takes:"))
    also = [entry for entry in head if entry.startswith("# Also:")]
    rows = [row for row in ROWS if row.experiment == experiment]
    said = [wrapped(takes(rows, kept)), wrapped(gives(rows, kept))]
    return "\n".join([*head[:cut], *said, *also, *lines]) + "\n"


def wrapped(sentence: str) -> str:
    """As comment lines."""
    return textwrap.fill(sentence, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def takes(rows: list[Row], kept: dict[str, Figures]) -> str:
    """How long a seed lasts."""
    times = [statistics.median(kept[row.name]["seconds"]) for row in rows if row.name in kept]
    if not times:
        return "Takes: minutes; 0 of its rows have been run yet."
    least, most = (f"{round(seconds, -1) if seconds > 10 else 10:.0f}" for seconds in (min(times), max(times)))
    return f"Takes: {least if least == most else f'{least} to {most}'} seconds a seed on one core."


def gives(rows: list[Row], kept: dict[str, Figures]) -> str:
    """The figures of all its rows, with what they are compared to."""
    first = kept.get(rows[0].name)
    parts = [given(row, kept.get(row.name)) for row in rows]
    parts += [f"naive {shown(first['naive'])}"] if first else []
    metric = rows[0].metric if rows[0].metric in PROTOCOLS else rows[0].metric.upper()
    return f"Gives: {rows[0].stage} {metric}: {'; '.join(parts)}."


def given(row: Row, figures: Figures | None) -> str:
    """One row's part of that sentence."""
    found = spread(row, figures).replace("*", "")
    limit = f", limit {shown(row.limit)}" if row.trained else ""
    printed = f", printed {shown(row.printed)}" if row.printed is not None else ""
    return f"{row.model} {found}{limit}{printed}"


def files_of(row: Row) -> tuple[str, ...]:
    """The files of real data that a row needs, below the folder of all of them."""
    return FILES.get(row.experiment.split("/")[0], ())
