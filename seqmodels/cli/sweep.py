"""Jobs of a sweep: each runs unless it is done, and their ranking is read from the files in their directories."""

import json
import logging
import math
import os
import re
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from rich.table import Table

from seqmodels.cli.messages import CommandLine, one_line, sentence
from seqmodels.cli.secrets import mask_secrets
from seqmodels.config.compose import packaged_folder
from seqmodels.report import output

if TYPE_CHECKING:
    from seqmodels.report.objections import Objection

MIXED = "value"  # heading of values that different metrics give
SUMMARY, OVERRIDES, METRICS, ERROR_FILE = "summary.csv", "overrides.json", "metrics.json", "error.txt"
TABLE_WIDTH = 120  # columns if the output is no terminal; directories are long
CLOCK_SLACK = 2.0  # seconds by which a file system's clock may lag
UNFINISHED = "not finished"  # in place of an error
FOLD, SEED = "data.fold", "seed"  # jobs that differ only in these are repetitions
SHOWN_REASONS, SHOWN_JOBS = 10, 3

log = logging.getLogger(__name__)


def run_job(task: Callable[..., Any], config: DictConfig, job: Any) -> Any:
    """Run one job of a sweep; a job that an earlier attempt of the sweep has finished is skipped.

    An error, ``SystemExit`` too, is written to ``error.txt`` in the job's directory, and the other jobs still run. Such
    a job, and one without a value, returns the worst value for an optimiser: infinite, since NaN would end an optuna
    study. Only a signal ends the sweep.
    """
    hydra_config = HydraConfig.get()
    (job.directory / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
    worst = worst_value(hydra_config.sweeper.get("direction"))
    done = find_finished(config, job.directory, Path(hydra_config.sweep.dir))
    if done is not None:
        output.echo(f"Skipped, since it is done: {done}")
        value = read_metrics(done)[0]["monitor"]["value"]
        return worst if value is None else value
    try:
        value = task(config, job)
    except (Exception, SystemExit) as error:
        write_error(error, job.directory)
        return worst
    return worst if isinstance(value, float) and math.isnan(value) else value


def find_finished(config: DictConfig, directory: Path, root: Path) -> Path | None:
    """Directory of a finished job under ``root`` with the same config as the one about to run in ``directory``.

    It may be another directory, since the numbers of jobs change if the sweep gets more values. Then the new directory
    is removed. The job found counts as one of this attempt.
    """
    own = directory / OVERRIDES
    candidates = [file for file in root.rglob(OVERRIDES) if (file.parent / METRICS).exists()] if own.exists() else []
    wanted = ""
    for file in candidates:
        folder = file.parent
        if (folder / ERROR_FILE).exists() or file.read_bytes() != own.read_bytes():
            continue
        wanted = wanted or _portable(_to_yaml(config), directory)
        if _portable((folder / "config.yaml").read_text(encoding="utf-8"), folder) == wanted:
            os.utime(file)
            if not folder.samefile(directory):
                own.unlink()
                directory.rmdir()
            return folder
    return None


def _to_yaml(config: DictConfig) -> str:
    from seqmodels.cli.environment import to_yaml  # imports torch, which a failed check of the config never needs

    return to_yaml(config)


def _portable(config: str, directory: Path) -> str:
    """The config without the path of its own directory."""
    return config.replace(str(directory.resolve()), "")


def write_error(error: BaseException, folder: Path) -> None:
    """Write one sentence, an empty line and the traceback."""
    known = sentence(error, CommandLine(packaged_folder(), "train", sys.argv[1:]))
    summary = known or f"{type(error).__name__}: {one_line(error) or 'no message'}"
    trace = "".join(traceback.format_exception(error))
    (folder / ERROR_FILE).write_text(f"{summary}\n\n{trace}", encoding="utf-8")
    log.error("This job failed, the sweep goes on: %s (%s)", summary, folder / ERROR_FILE)


def worst_value(direction: Any) -> Any:
    """The worst value for an optimiser: infinite, negative if the sweeper maximises; one for each direction."""
    if OmegaConf.is_list(direction):
        return tuple(worst_value(one) for one in direction)
    return float("-inf") if "maximize" in str(direction).lower() else float("inf")


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
    def rank(self) -> tuple[int, str, float, str]:
        """Sort key: the best of each monitor first, then jobs without a finite value, failed jobs last."""
        if self.error:
            return 2, "", 0.0, self.directory
        if not math.isfinite(self.value):
            return 1, "", 0.0, self.directory
        return 0, self.monitor, -self.value if self.largest_is_best else self.value, self.directory


class SweepSummary(Callback):
    """Write ``summary.csv`` beside the jobs, print the ranking, and end with exit code 1 if any job failed."""

    running: ClassVar[Path | None] = None  # directory of the sweep that has begun and not ended
    start: ClassVar[float] = -math.inf  # seconds since the epoch

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the start, to leave out jobs of an earlier sweep in the same directory."""
        from seqmodels.cli.side_by_side import install  # not before a sweep begins

        install()
        SweepSummary.running, SweepSummary.start = Path(config.hydra.sweep.dir), time.time() - CLOCK_SLACK

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the job's overrides into its directory; called in the job's own process by every launcher."""
        if config.hydra.mode == RunMode.MULTIRUN:
            overrides = mask_secrets(dict(map(_split, config.hydra.overrides.task)))
            file = Path(config.hydra.runtime.output_dir) / OVERRIDES
            file.write_text(json.dumps(overrides, indent=2) + "\n", encoding="utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the ranking; raises ``SystemExit``, which Hydra lets pass, if any job failed."""
        SweepSummary.running = None
        if any(job.error for job in summarise(Path(config.hydra.sweep.dir), SweepSummary.start)):
            raise SystemExit(1)

    @classmethod
    def end(cls) -> Path | None:
        """Summarise a sweep that did not reach its end; its directory, or None if no job of a sweep has begun."""
        root, cls.running = cls.running, None
        return root if root is not None and summarise(root, cls.start) else None


def summarise(root: Path, since: float) -> list[SweepJob]:
    """Write and print the ranking of the jobs that began at or after ``since``."""
    jobs = read_jobs(root, since)
    if jobs:
        write_csv(jobs, root / SUMMARY)
        print_ranking(jobs, root)
    return jobs


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


def read_jobs(root: Path, since: float = -math.inf) -> list[SweepJob]:
    """Jobs under ``root`` that began at or after ``since`` (seconds since the epoch), the best first."""
    files = [file for file in root.rglob(OVERRIDES) if file.stat().st_mtime >= since]
    return sorted((_read_job(file, root) for file in files), key=lambda job: job.rank)


def _read_job(file: Path, root: Path) -> SweepJob:
    folder = file.parent
    metrics, error = read_metrics(folder)
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


def read_metrics(folder: Path) -> tuple[dict[str, Any], str]:
    """The metrics and an empty error, or no metrics and the error as a sentence."""
    if (folder / ERROR_FILE).exists():
        lines = (folder / ERROR_FILE).read_text(encoding="utf-8").splitlines()
        return {}, lines[0] if lines and lines[0] else "failed"
    if not (folder / METRICS).exists():
        return {}, UNFINISHED
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
    rows: list[list[Any]] = [[*columns, "monitor", "value", "parameters", "seconds", "directory", "error"]]
    for job in jobs:
        value = "" if math.isnan(job.value) else job.value
        own = [job.overrides.get(key, "") for key in columns]
        rows.append([*own, job.monitor, value, job.parameters, job.seconds, job.directory, job.error])
    output.write_csv(path, rows)


def print_ranking(jobs: list[SweepJob], root: Path) -> None:
    """Print the ranking, the spread over repeated folds and seeds, and the reasons of failures."""
    averaged = average_folds(jobs)
    folds = _fold_table(averaged)
    output.show(_job_table(jobs, ranked=folds is None), width=TABLE_WIDTH)
    for table in (folds, _seed_table([average.job for average in averaged])):
        if table is not None:
            output.show(table, width=TABLE_WIDTH)
    print_objections(jobs)
    output.echo(f"Written to {root / SUMMARY}")
    print_failures(jobs, root)


def print_objections(jobs: list[SweepJob]) -> None:
    """Print objections to the values, see ``docs/objections.md``."""
    from seqmodels.report.comparison import seeds_differ_more  # imports torch

    finite = [job for job in jobs if not job.error and math.isfinite(job.value)]
    if len({job.monitor for job in finite}) == 1:
        averaged = [average.job for average in average_folds(finite)]
        seeds = {str(group[0].overrides): [job.value for job in group] for group in _groups(averaged, SEED)}
        found = [seeds_differ_more(seeds, finite[0].monitor), *edges_of_range(finite)]
        for objection in filter(None, found):
            output.echo(f"{objection.code}: {objection.text}", style="yellow")


def edges_of_range(jobs: list[SweepJob]) -> "list[Objection]":
    """An objection for each key of at least three numbers, if the best configuration has the first or last of them.

    The smallest value is accepted if it is 0 or the integer 1: no smaller one could be tried.
    """
    from seqmodels.report.objections import Objection  # imports torch

    means: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for job in jobs:
        means.setdefault(tuple(sorted(_without(job.overrides, SEED, FOLD).items())), []).append(job.value)
    sign = -1 if jobs[0].largest_is_best else 1
    best, _ = min(means.items(), key=lambda item: sign * statistics.mean(item[1]))
    found = []
    for key, text in best:
        values = sorted({number for job in jobs for number in _numbers(job.overrides.get(key, ""))})
        at = next(iter(_numbers(text)), math.nan)
        least = at == values[0] if values else False
        if len(values) < 3 or at not in (values[0], values[-1]) or (least and (at == 0 or text == "1")):
            continue
        side, further = ("smallest", "smaller") if least else ("largest", "larger")
        found.append(
            Objection(
                "edge-of-range",
                f"the best {jobs[0].monitor} has {key}={text}, the {side} of {len(values)} values: try {further} ones.",
            )
        )
    return found


def _without(overrides: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: value for key, value in overrides.items() if key not in keys}


def _numbers(text: str) -> list[float]:
    """The number that a text stands for, if it is finite."""
    try:
        return [float(text)] if math.isfinite(float(text)) else []
    except ValueError:
        return []


def print_failures(jobs: Sequence[SweepJob], root: Path) -> None:
    """Print the number of failed jobs, and each reason once, with the directories of its first jobs."""
    if unfinished := [job for job in jobs if job.error == UNFINISHED]:
        output.echo(f"{len(unfinished)} of {len(jobs)} jobs not finished: {_directories(unfinished, root)}")
    reasons: dict[str, list[SweepJob]] = {}
    for job in jobs:
        if job.error not in ("", UNFINISHED):
            reasons.setdefault(job.error, []).append(job)
    if reasons:
        failed = sum(map(len, reasons.values()))
        output.echo(f"{failed} of {len(jobs)} jobs failed; the whole error is in {ERROR_FILE} of each:", style="red")
    for reason, alike in list(reasons.items())[:SHOWN_REASONS]:
        output.echo(f"  {_directories(alike, root)}: {reason}", style="red")


def _directories(jobs: Sequence[SweepJob], root: Path) -> str:
    return output.join_names([str(root / job.directory) for job in jobs], limit=SHOWN_JOBS)


def _varying(jobs: list[SweepJob]) -> list[str]:
    """Keys in which the jobs differ, or all keys if no key differs."""
    columns = _columns(jobs)
    return [key for key in columns if len({job.overrides.get(key) for job in jobs}) > 1] or columns


def _value_name(jobs: list[SweepJob]) -> str:
    names = {job.monitor for job in jobs if job.monitor}
    return names.pop() if len(names) == 1 else MIXED


def _format_cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _job_table(jobs: list[SweepJob], ranked: bool) -> Table:
    """One row per job, the best first, or in the order of the jobs if they are not ``ranked``."""
    keys = _varying(jobs)
    table = _new_table("Jobs, the best first" if ranked else "Jobs", *keys, _value_name(jobs), "parameters", "seconds",
                       "directory")  # fmt: skip
    for job in jobs if ranked else sorted(jobs, key=_number):
        value = _format_cell(job.value) + f" {job.monitor}" * (_value_name(jobs) == MIXED)
        value = (UNFINISHED if job.error == UNFINISHED else "failed") if job.error else value
        own = [job.overrides.get(key, "") for key in keys]
        cells = [*own, value, _format_cell(job.parameters), _format_cell(job.seconds), job.directory]
        table.add_row(*map(escape, cells))
    return table


def _number(job: SweepJob) -> tuple[int, str]:
    """Sort key: the number at the beginning of the directory's name."""
    found = re.match(r"\d+", Path(job.directory).parts[0])
    return (int(found[0]) if found else 0), job.directory


def _new_table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), box=None, title_justify="left", padding=(0, 1))
    for name in columns:
        table.add_column(escape(name), overflow="fold")
    return table


def _groups(jobs: list[SweepJob], key: str) -> list[list[SweepJob]]:
    """Jobs that differ in nothing but ``key``."""
    found: dict[tuple[tuple[str, str], ...], list[SweepJob]] = {}
    for job in jobs:
        others = tuple(sorted((name, value) for name, value in job.overrides.items() if name != key))
        found.setdefault(others, []).append(job)
    return list(found.values())


class Average(NamedTuple):
    """Jobs of all folds of one configuration as one job, whose value is their mean."""

    job: SweepJob
    values: list[float]  # one for each fold that has a finite value
    folds: int

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sort key: the best mean first; a mean over fewer folds compares with no other, so it comes later."""
        return len(self.values) < self.folds, *self.job.rank


def average_folds(jobs: list[SweepJob]) -> list[Average]:
    """Average the jobs that differ only in ``data.fold``, the best configuration first."""
    found = []
    for group in _groups(jobs, FOLD):
        finite = [job for job in group if not job.error and math.isfinite(job.value)]
        monitor = statistics.mode(job.monitor for job in finite) if finite else ""
        alike = [job for job in finite if job.monitor == monitor]  # no mean over different metrics
        values, first = [job.value for job in alike], [*alike, *group][0]
        if len(group) > 1:
            own = {name: value for name, value in first.overrides.items() if name != FOLD}
            value = statistics.mean(values) if values else math.nan
            first = first._replace(overrides=own, value=value, error="" if values else first.error)
        found.append(Average(first, values, len(group)))
    return sorted(found, key=lambda average: average.rank)


def _fold_table(averages: list[Average]) -> Table | None:
    """Mean and standard deviation over the folds of each configuration; None if none has two folds."""
    if all(average.folds == 1 for average in averages):
        return None
    jobs = [average.job for average in averages]
    keys = _varying(jobs) if len(jobs) > 1 else []
    table = _new_table(f"{_value_name(jobs)} over folds", *keys, "mean", "deviation", "folds")
    for job, values, folds in averages:
        deviation = statistics.stdev(values) if len(values) > 1 else "-"
        numbers = [statistics.mean(values), deviation] if values else ["failed", ""]
        count = str(folds) if len(values) == folds else f"{len(values)} of {folds}"
        table.add_row(*map(escape, (*(job.overrides.get(key, "") for key in keys), *map(_format_cell, numbers), count)))
    return table


def _seed_table(jobs: list[SweepJob]) -> Table | None:
    """Median and range over the seeds of each configuration; None if no configuration has two seeds."""
    groups = _groups(jobs, SEED)
    if not any(len(group) > 1 for group in groups):
        return None
    keys = [key for key in _varying(jobs) if key != SEED]
    table = _new_table(f"{_value_name(jobs)} over seeds", *keys, "median", "minimum", "maximum", "seeds")
    finite = [(group, [job.value for job in group if math.isfinite(job.value)]) for group in groups]
    for group, values in sorted(finite, key=lambda item: _spread_rank(item[1], jobs)):
        numbers = [statistics.median(values), min(values), max(values)] if values else ["failed", "", ""]
        count = str(len(values)) if len(values) == len(group) else f"{len(values)} of {len(group)}"
        own = [group[0].overrides.get(key, "") for key in keys]
        table.add_row(*map(escape, (*own, *map(_format_cell, numbers), count)))
    return table


def _spread_rank(values: list[float], jobs: list[SweepJob]) -> float:
    if not values:
        return math.inf
    return -statistics.median(values) if any(job.largest_is_best for job in jobs) else statistics.median(values)
