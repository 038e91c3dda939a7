"""Runs as contestants of a leaderboard: found in directories, checked to have the same test windows, and grouped."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from omegaconf import DictConfig, OmegaConf

from seqmodels.cli.launch import PastHydra
from seqmodels.cli.sweep import (
    ERROR_FILE,
    FOLD,
    METRICS,
    OVERRIDES,
    SEED,
    SUMMARY,
    SweepSummary,
    print_objections,
    print_ranking,
    read_jobs,
    read_metrics,
    write_csv,
)
from seqmodels.errors import InputError
from seqmodels.inference.scores import SCORES, SUMS
from seqmodels.metrics import MODEL, NAIVE
from seqmodels.report.comparison import Comparison, Contestant, Windows
from seqmodels.report.leaderboard import TABLE_WIDTH, Board, Failure, write_board
from seqmodels.report.output import echo, join_names, show
from seqmodels.training.callbacks.scalars import flatten
from seqmodels.training.run import relative_to_here

CONFIG = "config.yaml"
# Keys in which runs of the same configuration may differ
FREE = (SEED, "data.seed", FOLD, "threads", "forecast", "rivals", "dropout_passes", "ckpt_path", "resume_schedule")
FREE_PARTS = ("logger.", "callbacks.figures", "callbacks.progress", "callbacks.scalars")
TITLE = "Comparison on the test windows, the smallest error first"
TOLERANCE = 1e-6  # relative, of sums over the same values
SHOWN_KEYS = 3  # in which runs of the same model differ, in a name or a message


class RunFiles:
    """Contents of a run directory; ``error`` is the reason for missing figures, else ""."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.metrics, self.error = read_metrics(folder)
        if not self.error and not (folder / SCORES).exists():
            self.error = "it has no test windows (data.split)"
            if any(row["stage"] == "test" for row in self.metrics.get("rows", ())):
                self.error = "it predicts labels of sequences, which are compared by the metrics.csv of each run"
            if "test" not in self.metrics:
                self.error = f"it has no {SCORES}: it was written by an earlier version, so train it again"

    @cached_property
    def overrides(self) -> dict[str, str]:
        """The overrides of a job of a sweep; none of a single run."""
        file = self.folder / OVERRIDES
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings by their full keys, without the run's own path; the overrides if it has no config."""
        file = self.folder / CONFIG
        if not file.exists():
            return dict(self.overrides)
        text = file.read_text(encoding="utf-8").replace(str(self.folder.resolve()), "")
        plain = OmegaConf.to_container(OmegaConf.create(text))
        assert isinstance(plain, dict)
        return flatten({str(key): value for key, value in plain.items()})

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings that decide what the model is and how it is trained, seed and fold apart."""
        return {
            key: value for key, value in self.settings.items() if key not in FREE and not key.startswith(FREE_PARTS)
        }

    @property
    def model(self) -> str:
        return str(self.metrics.get("model") or self.overrides.get("model") or self.folder.name)

    @property
    def seed(self) -> int:
        return int(self.settings.get(SEED, 0))

    @property
    def fold(self) -> int:
        return int(self.settings.get(FOLD, 0))

    @cached_property
    def rows(self) -> dict[str, pl.DataFrame]:
        """Sums of each test window by row of the result table, in order of series and time."""
        frame = pl.read_parquet(self.folder / SCORES)
        return {
            str(row): part.sort("series", "time") for (row,), part in frame.partition_by("row", as_dict=True).items()
        }

    @property
    def command(self) -> str:
        """The last command that was run in the directory."""
        file = self.folder / "command.txt"
        return (file.read_text(encoding="utf-8").splitlines() or [""])[-1] if file.exists() else ""

    @property
    def origin(self) -> dict[str, Any]:
        """Columns that say how to repeat the run, and by what its checkpoint was chosen."""
        file = self.folder / "environment.json"
        made = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        versions = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items())
        monitor, data = self.metrics.get("monitor") or {}, self.metrics.get("data") or {}
        chosen = f"{monitor.get('name')} {monitor.get('value')}" if monitor else ""
        if self.metrics.get("best_epoch"):
            chosen += f", epoch {self.metrics['best_epoch']} of {self.metrics['epochs']}"
        return {
            "command": self.command,
            "seed": self.seed,
            "fold": self.fold,
            "chosen_by": chosen,
            "data": " ".join(str(data.get(key, "")) for key in ("content", "rows")),
            "versions": f"python {made.get('python')}, {versions}" if made else "",
            "revision": made.get("revision") or "",
            "directory": str(relative_to_here(self.folder.absolute())),
        }


def find_runs(paths: Iterable[str]) -> list[RunFiles]:
    """Runs in these directories and below them; raises InputError for a directory without any."""
    found: dict[Path, RunFiles] = {}
    for path in map(Path, paths):
        folders = sorted(_run_folders(path)) if path.is_dir() else []
        if not folders:
            why = "holds no run" if path.is_dir() else "does not exist" if not path.exists() else "is no directory"
            raise InputError(f"{path} {why}; name run directories, or the directory of a sweep or a comparison.")
        found |= {folder.resolve(): RunFiles(folder) for folder in folders}
    return list(found.values())


def _run_folders(path: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(path):
        if {METRICS, ERROR_FILE, OVERRIDES} & {*files} and (CONFIG in files or OVERRIDES in files):
            inner.clear()
            yield Path(folder)


def check_same_windows(runs: Sequence[RunFiles]) -> None:
    """Raise InputError unless all runs of a fold forecast the same values of the same windows, in the same units."""
    first: dict[int, RunFiles] = {}
    for run in runs:
        other = first.setdefault(run.fold, run)
        one, two = run.rows[MODEL], other.rows[MODEL]
        why = ""
        if len(one) != len(two):
            why = f"have {len(two):,} and {len(one):,} test windows"
        elif not one.select("series", "time").equals(two.select("series", "time")):
            why = "have other test windows"
        elif not _close(one, two, ["values", "size"]):
            why = "forecast other values in their test windows"
        elif not _close(run.rows[NAIVE], other.rows[NAIVE], ["scalable", "scaled"]):
            why = "measure MASE in other units"
        if why:
            raise InputError(
                f"{other.folder} and {run.folder} {why}{_differences(other, run)}; compare runs on the same."
            )


def _close(one: pl.DataFrame, two: pl.DataFrame, columns: list[str]) -> bool:
    left, right = (frame.select(columns).to_numpy() for frame in (one, two))
    return bool(np.allclose(left, right, rtol=TOLERANCE, atol=0, equal_nan=True))


def _differences(one: RunFiles, two: RunFiles) -> str:
    """The settings of the data that differ, such as ", data.horizon=14 and 28"; empty if none does."""
    keys = [key for key in {**one.settings, **two.settings} if key.startswith("data.") and key not in FREE]
    values = {key: (one.settings.get(key), two.settings.get(key)) for key in keys}
    told = [f"{key}={old} and {new}" for key, (old, new) in values.items() if old != new]
    return f" ({join_names(told, SHOWN_KEYS)})" if told else ""


def name_groups(runs: Sequence[RunFiles]) -> dict[str, list[RunFiles]]:
    """Runs of the same configuration, by a name that no other configuration has.

    A run that failed before it wrote its config belongs to those with the same overrides.
    """
    groups: dict[str, list[RunFiles]] = {}
    known: dict[str, str] = {}
    for run in sorted(runs, key=lambda one: not (one.folder / CONFIG).exists()):
        asked = json.dumps({key: value for key, value in run.overrides.items() if key not in (SEED, FOLD)})
        key = json.dumps(run.configuration, sort_keys=True, default=str)
        key = key if (run.folder / CONFIG).exists() else known.get(asked, key)
        known.setdefault(asked, key)
        groups.setdefault(key, []).append(run)
    members = list(groups.values())
    return {name: group for name, group in zip(_names([group[0] for group in members]), members, strict=True)}


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """The model, with the settings in which it differs from others of that name, or the directory."""
    names = []
    for run in runs:
        alike = [other for other in runs if other.model == run.model]
        keys = [key for key in run.configuration if len({str(other.configuration.get(key)) for other in alike}) > 1]
        shown = [f"{key.rpartition('.')[2]}={run.configuration.get(key)}" for key in keys]
        names.append(" ".join([run.model, *(shown if len(shown) <= SHOWN_KEYS else [f"({run.folder.name})"])]))
    return [name if names.count(name) == 1 else f"{name} #{place}" for place, name in enumerate(names, 1)]


def make_board(runs: Sequence[RunFiles], title: str) -> Board:
    """Compare runs; raises InputError if none has figures, or if their test windows differ."""
    good = [run for run in runs if not run.error]
    if not good:
        reason = f": {runs[0].folder}: {runs[0].error}" if runs else ", as no job got as far as its own directory."
        raise InputError(f"no run can be compared{reason}")
    check_same_windows(good)
    folds = sorted({run.fold for run in good})
    groups = name_groups(runs)
    contestants, origins, failures = [], {}, []
    for name, group in groups.items():
        seeds = _complete(group, folds)
        failures += _failures(name, group)
        if not seeds:
            if not any(run.error for run in group):
                failures.append(Failure(name, f"not all of the folds {join_names(list(map(str, folds)))} were run"))
            continue
        contestants.append(_contestant(name, seeds, MODEL))
        failed = len({run.seed for run in group} - seeds.keys())
        first = {key: value for key, value in next(iter(seeds.values()))[0].origin.items() if key not in (SEED, "fold")}
        origins[name] = {"failed": failed, "seeds": " ".join(map(str, seeds)), **first}
    if not contestants:
        raise InputError("no model has figures in all folds, so none can be compared.")
    reference = _complete(good, folds) or next(filter(None, (_complete(group, folds) for group in groups.values())))
    taken = {one.plain_name for one in contestants}
    contestants += _rivals(groups, folds, taken)
    frames = [run.rows[MODEL] for run in next(iter(reference.values()))]
    first_run = next(iter(reference.values()))[0]
    test = first_run.metrics["test"]
    steps = -(-int(test["horizon"]) // int(test["together"]))
    series, moments = (np.concatenate([frame[key].to_numpy() for frame in frames]) for key in ("series", "time"))
    windows = Windows(series, moments, steps)
    return Board(Comparison.of(windows, contestants), origins, failures, _records(groups), title)


def _failures(name: str, group: Sequence[RunFiles]) -> list[Failure]:
    """One for each reason, with the seeds."""
    seeds: dict[str, list[int]] = {}
    for run in group:
        if run.error:
            seeds.setdefault(run.error, []).append(run.seed)
    return [
        Failure(f"{name}, seed{'s' * (len(some) > 1)} {join_names(list(map(str, some)))}", reason)
        for reason, some in seeds.items()
    ]


def _complete(runs: Sequence[RunFiles], folds: Sequence[int]) -> dict[int, list[RunFiles]]:
    """Runs of all folds, in their order, of each seed that has them all."""
    by_seed: dict[int, dict[int, RunFiles]] = {}
    for run in runs:
        if not run.error:
            by_seed.setdefault(run.seed, {}).setdefault(run.fold, run)
    return {seed: [some[fold] for fold in folds] for seed, some in sorted(by_seed.items()) if len(some) == len(folds)}


def _contestant(name: str, seeds: Mapping[int, Sequence[RunFiles]], row: str) -> Contestant:
    sums = [np.concatenate([run.rows[row].select(SUMS).to_numpy() for run in runs]) for runs in seeds.values()]
    times: dict[str, list[float]] = {"fit_seconds": [], "forecast_seconds": []}
    for runs in seeds.values():
        for key, values in times.items():
            found = [float(run.metrics["test"][key].get(row, 0.0)) for run in runs]
            values.append(sum(found) if key == "fit_seconds" else float(np.mean(found)))
    fit, forecast = (float(np.mean(values)) for values in times.values())
    return Contestant(name, sums, fit, forecast)


def _rivals(groups: Mapping[str, Sequence[RunFiles]], folds: Sequence[int], taken: set[str]) -> list[Contestant]:
    """The other rows of the result tables, each from the first runs that have it in all folds."""
    found: dict[str, Contestant] = {}
    for group in groups.values():
        for seed, runs in _complete(group, folds).items():
            for row in runs[0].rows.keys() - {MODEL} - taken - found.keys():
                if all(row in run.rows for run in runs):
                    found[row] = _contestant(row, {seed: runs}, row)
    return list(found.values())


def _records(groups: Mapping[str, Sequence[RunFiles]]) -> list[dict[str, Any]]:
    """One record for each run: its figures, how to repeat it, and why it failed."""
    records = []
    for name, group in groups.items():
        for run in group:
            figures: dict[str, Any] = {}
            for row in run.metrics.get("rows", ()):
                if (row["stage"], row["channel"]) == ("test", "all") and row["row"] == run.model and not figures:
                    figures = {key: value for key, value in row.items() if key not in ("stage", "channel", "row")}
            seconds = {"fit_seconds": run.metrics.get("fit_seconds", "")}
            records.append({"model": name, "error": run.error, **figures, **seconds, **run.origin})
    return records


def compare(*runs: Any) -> Board:
    """Compare runs on the same test windows: results of ``fit``, run directories, sweeps.

    Raises InputError where there are no runs, and if their test windows differ.
    """
    return make_board(find_runs(str(getattr(run, "directory", run)) for run in runs), TITLE)


def show_board(runs: Sequence[RunFiles], directory: Path) -> None:
    """Print the leaderboard and write its files into the directory."""
    board = make_board(runs, TITLE)
    show(board, width=TABLE_WIDTH)
    paths = write_board(board, directory)
    page = relative_to_here(paths[-1].absolute())
    echo(f"Written: {page}, and beside it {join_names([path.name for path in paths[:-1]])}")


class Leaderboard(SweepSummary):
    """Compare the jobs of a sweep in place of ranking them by the validation part."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print and write the leaderboard; raises ``SystemExit`` if any job failed."""
        SweepSummary.running = None
        root = Path(config.hydra.sweep.dir)
        jobs = read_jobs(root, SweepSummary.start)
        write_csv(jobs, root / SUMMARY)
        try:
            show_board([RunFiles(root / job.directory) for job in jobs], root)
        except Exception as error:
            if isinstance(error, InputError):
                print_ranking(jobs, root)
            raise PastHydra() from error
        print_objections(jobs)
        if failed := sum(bool(job.error) for job in jobs):
            echo(f"{failed} of {len(jobs)} jobs failed; the whole error is in {ERROR_FILE} of each.", style="red")
            raise SystemExit(1)
