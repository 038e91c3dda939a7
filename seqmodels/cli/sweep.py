"""Ranking of the jobs of a sweep, read from the files in their directories when all have ended."""

import csv
import io
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.markup import escape
from rich.table import Table

from seqmodels.cli.launch import ERROR_FILE
from seqmodels.cli.secrets import mask_secrets
from seqmodels.report import output

SUMMARY, OVERRIDES, METRICS = "summary.csv", "overrides.json", "metrics.json"
TABLE_WIDTH = 120  # columns if the output is no terminal; directories are long
CLOCK_SLACK = 2.0  # seconds by which a file system's clock may lag


class SweepJob(NamedTuple):
    """One job: its overrides by key, the monitored value (NaN if missing) and the error that ended it."""

    directory: str  # relative to the sweep's directory
    overrides: dict[str, str]
    monitor: str
    value: float
    largest_is_best: bool
    parameters: Any
    seconds: Any
    error: str

    @property
    def rank(self) -> tuple[int, float, str]:
        """Sort key: the best first, then jobs without a finite value, failed jobs last."""
        if self.error:
            return 2, 0.0, self.directory
        if not math.isfinite(self.value):
            return 1, 0.0, self.directory
        return 0, -self.value if self.largest_is_best else self.value, self.directory


class SweepSummary(Callback):
    """Write ``summary.csv`` beside the jobs, print the ranking, and end with exit code 1 if any job failed."""

    def __init__(self) -> None:
        self.start = -math.inf  # seconds since the epoch

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the start, to leave out jobs of an earlier sweep in the same directory."""
        self.start = time.time() - CLOCK_SLACK

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the job's overrides into its directory; called in the job's own process by every launcher."""
        if config.hydra.mode == RunMode.MULTIRUN:
            overrides = mask_secrets(dict(map(_split, config.hydra.overrides.task)))
            file = Path(config.hydra.runtime.output_dir) / OVERRIDES
            file.write_text(json.dumps(overrides, indent=2) + "\n", encoding="utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the ranking; raises ``SystemExit``, which Hydra lets pass, if any job failed."""
        root = Path(config.hydra.sweep.dir)
        jobs = read_jobs(root, self.start)
        if not jobs:
            return
        write_csv(jobs, root / SUMMARY)
        print_ranking(jobs, root)
        if any(job.error for job in jobs):
            raise SystemExit(1)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


def read_jobs(root: Path, since: float = -math.inf) -> list[SweepJob]:
    """Jobs under ``root`` that began at or after ``since`` (seconds since the epoch), the best first."""
    files = [file for file in root.rglob(OVERRIDES) if file.stat().st_mtime >= since]
    return sorted((_read_job(file, root) for file in files), key=lambda job: job.rank)


def _read_job(file: Path, root: Path) -> SweepJob:
    folder = file.parent
    metrics, error = _read_metrics(folder)
    monitor = metrics.get("monitor") or {}
    value = monitor.get("value")
    return SweepJob(
        directory=folder.relative_to(root).as_posix(),
        overrides=json.loads(file.read_text(encoding="utf-8")),
        monitor=str(monitor.get("name", "")),
        value=float(value) if isinstance(value, (int, float)) else math.nan,
        largest_is_best=monitor.get("mode") == "max",
        parameters=metrics.get("parameters", ""),
        seconds=metrics.get("seconds", ""),
        error=error,
    )


def _read_metrics(folder: Path) -> tuple[dict[str, Any], str]:
    """The metrics and an empty error, or no metrics and the error as a sentence."""
    if (folder / ERROR_FILE).exists():
        lines = (folder / ERROR_FILE).read_text(encoding="utf-8").splitlines()
        return {}, lines[0] if lines and lines[0] else "failed"
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, f"{METRICS} cannot be read: {type(error).__name__}"
    return (metrics, "") if isinstance(metrics, dict) else ({}, f"{METRICS} holds no mapping")


def _columns(jobs: list[SweepJob]) -> list[str]:
    """Overridden keys in the order of their first appearance."""
    return list(dict.fromkeys(key for job in jobs for key in job.overrides))


def write_csv(jobs: list[SweepJob], path: Path) -> None:
    """Write one row for each job, atomically."""
    columns = _columns(jobs)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([*columns, "monitor", "value", "parameters", "seconds", "directory", "error"])
    for job in jobs:
        value = "" if math.isnan(job.value) else job.value
        own = [job.overrides.get(key, "") for key in columns]
        writer.writerow([*own, job.monitor, value, job.parameters, job.seconds, job.directory, job.error])
    output.write_file(path, stream.getvalue().encode())


def print_ranking(jobs: list[SweepJob], root: Path) -> None:
    """Print the ranking, the spread over repeated seeds, and the files that explain failures."""
    output.show(_ranking(jobs), width=TABLE_WIDTH)
    if (spread := _spread(jobs)) is not None:
        output.show(spread, width=TABLE_WIDTH)
    output.echo(f"Written to {root / SUMMARY}")
    if failed := [root / job.directory for job in jobs if job.error]:
        places = ", ".join(str(folder / ERROR_FILE if (folder / ERROR_FILE).exists() else folder) for folder in failed)
        output.echo(f"{len(failed)} of {len(jobs)} jobs failed; see {places}", style="red")


def _varying(jobs: list[SweepJob]) -> list[str]:
    """Keys in which the jobs differ, or all keys if no key differs."""
    columns = _columns(jobs)
    return [key for key in columns if len({job.overrides.get(key) for job in jobs}) > 1] or columns


def _value_name(jobs: list[SweepJob]) -> str:
    names = {job.monitor for job in jobs if job.monitor}
    return names.pop() if len(names) == 1 else "value"


def _format_cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _ranking(jobs: list[SweepJob]) -> Table:
    keys = _varying(jobs)
    table = Table(title="Jobs, the best first", box=None, title_justify="left", padding=(0, 1))
    for name in (*keys, _value_name(jobs), "parameters", "seconds", "directory"):
        table.add_column(escape(name), overflow="fold")
    for job in jobs:
        value = "failed" if job.error else _format_cell(job.value)
        own = [job.overrides.get(key, "") for key in keys]
        cells = [*own, value, _format_cell(job.parameters), _format_cell(job.seconds), job.directory]
        table.add_row(*map(escape, cells))
    return table


def _spread(jobs: list[SweepJob]) -> Table | None:
    """Median and range over the seeds of each configuration; None if no configuration has two seeds."""
    keys = [key for key in _varying(jobs) if key != "seed"]
    groups: dict[tuple[str, ...], list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault(tuple(job.overrides.get(key, "") for key in keys), []).append(job)
    if not any(len({job.overrides.get("seed") for job in group}) > 1 for group in groups.values()):
        return None
    table = Table(title=f"{escape(_value_name(jobs))} over seeds", box=None, title_justify="left", padding=(0, 1))
    for name in (*keys, "median", "minimum", "maximum", "seeds"):
        table.add_column(escape(name), overflow="fold")
    finite = {own: [job.value for job in group if math.isfinite(job.value)] for own, group in groups.items()}
    for own, values in sorted(finite.items(), key=lambda item: _spread_rank(item[1], jobs)):
        numbers = [statistics.median(values), min(values), max(values)] if values else ["failed", "", ""]
        seeds = len(groups[own])
        count = str(len(values)) if len(values) == seeds else f"{len(values)} of {seeds}"
        table.add_row(*map(escape, (*own, *map(_format_cell, numbers), count)))
    return table


def _spread_rank(values: list[float], jobs: list[SweepJob]) -> float:
    if not values:
        return math.inf
    return -statistics.median(values) if any(job.largest_is_best for job in jobs) else statistics.median(values)
