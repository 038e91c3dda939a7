"""Ranks the jobs of a sweep when all have ended; knows the files that a job leaves in its directory."""

import csv
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seqmodels.cli.secrets import is_secret

SUMMARY, OVERRIDES, METRICS, ERROR = "summary.csv", "overrides.json", "metrics.json", "error.txt"
WIDTH = 120  # columns where the output is no terminal
CLOCK_SLACK = 2.0  # seconds by which a file system's clock may lag


class Job(NamedTuple):
    """One job: its overrides by key, the monitored value (NaN when there is none) and the error that ended it."""

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
        """Sorts the best first, then jobs without a finite value, failed ones last."""
        if self.error:
            return 2, 0.0, self.directory
        if not math.isfinite(self.value):
            return 1, 0.0, self.directory
        return 0, -self.value if self.largest_is_best else self.value, self.directory


class SweepSummary(Callback):
    """Writes ``summary.csv`` beside the jobs, prints it, and ends the process with exit code 1 if any job failed."""

    def __init__(self) -> None:
        self.start = -math.inf  # seconds since the epoch

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the time: jobs of an earlier sweep in the same directory are not ours."""
        self.start = time.time() - CLOCK_SLACK

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the job's overrides into its directory; runs where the job runs, so with every launcher."""
        if config.hydra.mode == RunMode.MULTIRUN:
            given = {key: _shown(key, value) for key, value in map(_split, config.hydra.overrides.task)}
            file = Path(config.hydra.runtime.output_dir) / OVERRIDES
            file.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Summarise; raises ``SystemExit``, which Hydra lets pass, after everything is written."""
        root = Path(config.hydra.sweep.dir)
        jobs = read_jobs(root, self.start)
        if not jobs:
            return
        write_csv(jobs, root / SUMMARY)
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = WIDTH
        show(jobs, root, console)
        if any(job.error for job in jobs):
            raise SystemExit(1)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


def _shown(key: str, value: str) -> str:
    return "***" if is_secret(key) else value


def read_jobs(root: Path, since: float = -math.inf) -> list[Job]:
    """All jobs under ``root`` that began at or after ``since`` (seconds since the epoch), the best first."""
    files = [file for file in root.rglob(OVERRIDES) if file.stat().st_mtime >= since]
    return sorted((_read_job(file, root) for file in files), key=lambda job: job.rank)


def _read_job(file: Path, root: Path) -> Job:
    folder = file.parent
    metrics, error = _read_metrics(folder)
    monitor = metrics.get("monitor") or {}
    value = monitor.get("value")
    return Job(
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
    """The metrics and no error, or none and the sentence that says why."""
    if (folder / ERROR).exists():
        lines = (folder / ERROR).read_text(encoding="utf-8").splitlines()
        return {}, lines[0] if lines and lines[0] else "failed"
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, f"{METRICS} cannot be read: {type(error).__name__}"
    return (metrics, "") if isinstance(metrics, dict) else ({}, f"{METRICS} holds no mapping")


def _columns(jobs: list[Job]) -> list[str]:
    """The overridden keys, in the order of the first job that has them."""
    return list(dict.fromkeys(key for job in jobs for key in job.overrides))


def write_csv(jobs: list[Job], path: Path) -> None:
    """One row for each job; the file appears whole or not at all."""
    columns = _columns(jobs)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns, "monitor", "value", "parameters", "seconds", "directory", "error"])
        for job in jobs:
            value = "" if math.isnan(job.value) else job.value
            own = [job.overrides.get(key, "") for key in columns]
            writer.writerow([*own, job.monitor, value, job.parameters, job.seconds, job.directory, job.error])
    os.replace(partial, path)


def show(jobs: list[Job], root: Path, console: Console) -> None:
    """Print the ranking, the spread over seeds where there is one, and where failures are explained."""
    console.print(_ranking(jobs))
    spread = _spread(jobs)
    if spread is not None:
        console.print(spread)
    failed = [job for job in jobs if job.error]
    console.print(f"Written to {root / SUMMARY}", markup=False, soft_wrap=True)
    if failed:
        folders = [root / job.directory for job in failed]
        places = ", ".join(str(folder / ERROR if (folder / ERROR).exists() else folder) for folder in folders)
        text = f"{len(failed)} of {len(jobs)} jobs failed; see {places}"
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def _varying(jobs: list[Job]) -> list[str]:
    """The keys in which the jobs differ; all where none differs."""
    columns = _columns(jobs)
    return [key for key in columns if len({job.overrides.get(key) for job in jobs}) > 1] or columns


def _value_name(jobs: list[Job]) -> str:
    names = {job.monitor for job in jobs if job.monitor}
    return names.pop() if len(names) == 1 else "value"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _ranking(jobs: list[Job]) -> Table:
    keys = _varying(jobs)
    table = Table(title="Jobs, the best first", box=None, title_justify="left", padding=(0, 1))
    for name in (*keys, _value_name(jobs), "parameters", "seconds", "directory"):
        table.add_column(escape(name), overflow="fold")
    for job in jobs:
        value = "failed" if job.error else _number(job.value)
        own = [job.overrides.get(key, "") for key in keys]
        cells = [*own, value, _number(job.parameters), _number(job.seconds), job.directory]
        table.add_row(*map(escape, cells))
    return table


def _spread(jobs: list[Job]) -> Table | None:
    """Median and range over the seeds of each configuration, or None where no configuration has two seeds."""
    keys = [key for key in _varying(jobs) if key != "seed"]
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(job.overrides.get(key, "") for key in keys), []).append(job)
    if not any(len({job.overrides.get("seed") for job in group}) > 1 for group in groups.values()):
        return None
    table = Table(title=f"{escape(_value_name(jobs))} over seeds", box=None, title_justify="left", padding=(0, 1))
    for name in (*keys, "median", "minimum", "maximum", "seeds"):
        table.add_column(escape(name), overflow="fold")
    for own, values, seeds in sorted(_rows(groups), key=lambda row: _order(row[1], jobs)):
        numbers = [statistics.median(values), min(values), max(values)] if values else ["failed", "", ""]
        count = str(len(values)) if len(values) == seeds else f"{len(values)} of {seeds}"
        table.add_row(*map(escape, (*own, *map(_number, numbers), count)))
    return table


def _rows(groups: dict[tuple[str, ...], list[Job]]) -> list[tuple[tuple[str, ...], list[float], int]]:
    return [
        (own, [job.value for job in group if math.isfinite(job.value)], len(group)) for own, group in groups.items()
    ]


def _order(values: list[float], jobs: list[Job]) -> float:
    if not values:
        return math.inf
    return -statistics.median(values) if any(job.largest_is_best for job in jobs) else statistics.median(values)
