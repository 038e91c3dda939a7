"""Runs the experiments and records their figures in docs/results.* and in the headers of conf/experiment."""

import json
import os
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from protocols import PROTOCOLS
from published import ROWS, TITLES, TRAPS, Row, data_settings

ROOT = Path(__file__).parent.parent
JSON, PAGE, CONF = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md", ROOT / "conf" / "experiment"
WIDTH = 118
Figures = dict[str, Any]  # values by seed, naive, windows, seconds by seed
REFERENCES = ("seasonal naive", "naive")
INTERPOLATION = "linear"  # the reference where gaps are filled
HEAD = """# Results

Written by `make slow`, which runs each command below with the seeds 0, 1 and 2 (untrained baselines only once);
`pytest -m slow -k lstm` updates only the rows whose name contains lstm. Unless the title or the note says otherwise,
errors are in the data's own units and on the validation windows of the source. Weights are those of the best validation
epoch. "printed" is the published figure, "naive" the better of the naive and the seasonal naive forecast on the same
windows, and "seconds" the time of one seed on one shared CPU core. The figure in bold, the median over the seeds or the
best seed, must reach the limit.

These figures are optimistic, as the published ones are: the validation windows also selected the epoch and the recipe,
mostly with the same seeds. If the source keeps test windows, the `metrics.csv` of a run contains their errors too.

"""
COLUMNS = ("model", "command", "printed", "limit", "ours, median (smallest ... largest)", "naive", "windows",
           "seconds", "note")  # fmt: skip


def run_experiment(row: Row, directory: Path, files: list[Path]) -> None:
    """Train ``row`` with each of its seeds, as a user would, in ``directory``."""
    seeds = f"seed={','.join(map(str, row.seeds))}"
    overrides = [f"experiment={row.experiment}", *row.overrides, seeds, "threads=1"]
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        *overrides,
        *data_settings(files),
        f"hydra.sweep.dir={directory}",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=directory.parent)


def read_figures(row: Row, directory: Path, files: list[Path]) -> Figures:
    """Figures of the runs below ``directory``, in the order of the seeds."""
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
    names = [name for name in REFERENCES if name in measured[0]] or [INTERPOLATION]
    references = [measured[0][name][row.metric] for name in names if name in measured[0]]
    return {
        "values": [model[row.metric] for model in models],
        "naive": min(references, default=models[0][row.metric]),
        "windows": models[0]["windows"],
        "seconds": [run["seconds"] for run in runs],
    }


def decisive_figure(row: Row, figures: Figures) -> float:
    """The figure that must reach the limit."""
    return min(figures["values"]) if row.statistic == "best" else statistics.median(figures["values"])


def load_figures() -> dict[str, Figures]:
    """Recorded figures by the names of the rows."""
    return json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}


def save_figures(row: Row, figures: Figures) -> None:
    """Replace the figures of a row and rewrite everything that shows them."""
    kept = {**load_figures(), row.name: figures}
    ordered = {known.name: kept[known.name] for known in ROWS if known.name in kept}
    write_file(JSON, json.dumps(ordered, indent=1) + "\n")
    write_pages()


def write_pages() -> None:
    """Write the page and the headers from the recorded figures."""
    kept = load_figures()
    write_file(PAGE, render_page(kept))
    for experiment in dict.fromkeys(row.experiment for row in ROWS):
        path = CONF / f"{experiment}.yaml"
        write_file(path, update_header(path.read_text(encoding="utf-8"), experiment, kept))


def write_file(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def format_figure(value: float | None) -> str:
    """Five significant digits, and all of them before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.5g}"


def format_spread(row: Row, figures: Figures | None) -> str:
    """Median (smallest ... largest) of the seeds, the decisive one in bold."""
    if figures is None:
        return "not run yet"
    values = figures["values"]
    middle, least, most = (format_figure(value) for value in (statistics.median(values), min(values), max(values)))
    if len(values) == 1:
        return f"**{middle}**"
    return f"{middle} (**{least}** ... {most})" if row.statistic == "best" else f"**{middle}** ({least} ... {most})"


def render_page(kept: dict[str, Figures]) -> str:
    """Text of docs/results.md."""
    parts = [HEAD.rstrip("\n")]
    for section, title in TITLES.items():
        rows = [row for row in ROWS if row.experiment.startswith(f"{section}/")]
        lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [render_row(row, kept.get(row.name)) for row in rows]
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    parts.append("## Printed figures that are no targets\n\n" + "\n".join(f"- {trap}" for trap in TRAPS))
    return "\n\n".join(parts) + "\n"


def render_row(row: Row, figures: Figures | None) -> str:
    """One row of a table."""
    found = figures or {"naive": None, "windows": "-", "seconds": []}
    seconds = f"{statistics.median(found['seconds']):.0f}" if found["seconds"] else "-"
    windows = f"{found['windows']:,}" if figures else "-"
    targets = map(format_figure, (row.printed, row.limit))
    cells = (row.model, f"`{row.command}`", *targets, format_spread(row, figures))
    return f"| {' | '.join([*cells, format_figure(found['naive']), windows, seconds, row.note])} |"


def update_header(text: str, experiment: str, kept: dict[str, Figures]) -> str:
    """Text of the file of an experiment with its lines on time and figures brought up to date."""
    lines, head = text.splitlines(), []
    while lines and lines[0].startswith("#"):
        head.append(lines.pop(0))
    cut = next(i for i, entry in enumerate(head) if entry.startswith("# Takes:"))
    also = [entry for entry in head if entry.startswith("# Also:")]
    rows = [row for row in ROWS if row.experiment == experiment]
    said = [wrap_comment(time_sentence(rows, kept)), wrap_comment(figures_sentence(rows, kept))]
    return "\n".join([*head[:cut], *said, *also, *lines]) + "\n"


def wrap_comment(sentence: str) -> str:
    """A sentence as comment lines."""
    return textwrap.fill(sentence, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def time_sentence(rows: list[Row], kept: dict[str, Figures]) -> str:
    """Sentence on the time that a seed takes."""
    times = [statistics.median(kept[row.name]["seconds"]) for row in rows if row.name in kept]
    if not times:
        return "Takes: minutes; 0 of its rows have been run yet."
    least, most = (f"{round(seconds, -1) if seconds > 10 else 10:.0f}" for seconds in (min(times), max(times)))
    return f"Takes: {least if least == most else f'{least} to {most}'} seconds a seed on one core."


def figures_sentence(rows: list[Row], kept: dict[str, Figures]) -> str:
    """Sentence on the figures of all rows of an experiment, with limits and printed figures."""
    first = kept.get(rows[0].name)
    parts = [row_sentence(row, kept.get(row.name)) for row in rows]
    parts += [f"naive {format_figure(first['naive'])}"] if first else []
    metric = rows[0].metric if rows[0].metric in PROTOCOLS else rows[0].metric.upper()
    return f"Gives: {rows[0].stage} {metric}: {'; '.join(parts)}."


def row_sentence(row: Row, figures: Figures | None) -> str:
    """The part of one row in that sentence."""
    found = format_spread(row, figures).replace("*", "")
    limit = f", limit {format_figure(row.limit)}" if row.trained else ""
    printed = f", printed {format_figure(row.printed)}" if row.printed is not None else ""
    return f"{row.model} {found}{limit}{printed}"


def data_files(row: Row) -> tuple[str, ...]:
    """Files of real data that a row needs, relative to their folder."""
    return row.files
