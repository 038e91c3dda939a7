"""Ranking of a sweep from the files of its jobs."""

import csv
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from seqmodels.cli.sweep import SweepSummary, find_finished, print_ranking, read_jobs, write_csv


def write_job(
    root: Path, name: str, overrides: dict[str, str], value: Any = None, error: str = "", mode: str = ""
) -> Path:
    """Write the files of a job into its directory."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "overrides.json").write_text(json.dumps(overrides))
    if error:
        (folder / "error.txt").write_text(f"{error}\n\nTraceback\n")
    if value is not None:
        monitor = {"name": "val_mae", "value": value, **({"mode": mode} if mode else {})}
        (folder / "metrics.json").write_text(json.dumps({"monitor": monitor, "parameters": 10, "seconds": 1.5}))
    return folder


def directories(root: Path) -> list[str]:
    return [job.directory for job in read_jobs(root)]


@pytest.fixture
def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Print the ranking of the jobs in ``tmp_path`` and return the text."""

    def read() -> str:
        print_ranking(read_jobs(tmp_path), tmp_path)
        return capsys.readouterr().out

    return read


def sweep_config(root: Path) -> Any:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(root)}}})


def test_jobs_are_ranked_best_first_and_failed_last(tmp_path: Path) -> None:
    write_job(tmp_path, "0", {"model": "a"}, error="broken")
    write_job(tmp_path, "1", {"model": "b"}, value=math.nan)
    write_job(tmp_path, "2", {"model": "c"}, value=0.5)
    write_job(tmp_path, "deep/3", {"model": "d"}, value=-1)
    write_job(tmp_path, "4", {"model": "e"})
    assert directories(tmp_path) == ["deep/3", "2", "1", "0", "4"]


def test_the_largest_value_ranks_first_in_mode_max(tmp_path: Path) -> None:
    write_job(tmp_path, "0", {"seed": "1"}, value=0.1, mode="max")
    write_job(tmp_path, "1", {"seed": "2"}, value=0.9, mode="max")
    assert directories(tmp_path) == ["1", "0"]


def test_an_error_outweighs_metrics_of_an_earlier_attempt(tmp_path: Path) -> None:
    write_job(tmp_path, "0", {}, value=0.1, error="broken")
    assert [job.error for job in read_jobs(tmp_path)] == ["broken"]


def test_jobs_of_an_earlier_sweep_are_left_out(tmp_path: Path) -> None:
    old = write_job(tmp_path, "0", {}, value=0.1)
    os.utime(old / "overrides.json", (1000, 1000))
    write_job(tmp_path, "1", {}, value=0.2)
    assert [job.directory for job in read_jobs(tmp_path, since=2000)] == ["1"]


def test_the_csv_has_a_column_for_each_override(tmp_path: Path) -> None:
    write_job(tmp_path, "0", {"model": "a,b", "seed": "1"}, value=0.5)
    write_job(tmp_path, "1", {"model": "c", "trainer.max_epochs": "5"}, error="the column x is missing.")
    write_csv(read_jobs(tmp_path), tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        "model": "a,b", "seed": "1", "trainer.max_epochs": "", "monitor": "val_mae", "value": "0.5",
        "parameters": "10", "seconds": "1.5", "directory": "0", "error": "",
    }  # fmt: skip
    assert (rows[1]["value"], rows[1]["error"], rows[1]["trainer.max_epochs"]) == ("", "the column x is missing.", "5")
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "summary.csv"}


def test_a_failed_write_keeps_the_old_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "summary.csv").write_text("old")
    write_job(tmp_path, "0", {}, value=0.5)

    def full(*arguments: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_csv(read_jobs(tmp_path), tmp_path / "summary.csv")
    assert (tmp_path / "summary.csv").read_text() == "old"


def test_the_spread_over_seeds_shows_median_and_range(tmp_path: Path, printed: Callable[[], str]) -> None:
    for job, (model, seed, value) in enumerate([("a", 1, 0.25), ("a", 2, 0.75), ("a", 3, 0.125), ("b", 1, 0.0625)]):
        write_job(tmp_path, str(job), {"model": model, "seed": str(seed), "data": "waves"}, value=value)
    write_job(tmp_path, "9", {"model": "b", "seed": "2", "data": "waves"}, error="broken")
    ranking, spread = printed().split("val_mae over seeds")
    rows = [re.split(r"\s{2,}", line.strip()) for line in spread.splitlines() if line.strip()[:2] in ("a ", "b ")]
    assert rows == [["b", "0.0625", "0.0625", "0.0625", "1 of 2"], ["a", "0.25", "0.125", "0.75", "3"]]
    assert "waves" not in ranking


def test_without_repeated_seeds_there_is_no_second_table(tmp_path: Path, printed: Callable[[], str]) -> None:
    write_job(tmp_path, "0", {"model": "a", "seed": "1"}, value=0.5)
    write_job(tmp_path, "1", {"model": "b", "seed": "1"}, value=0.6)
    assert "over seeds" not in printed()


def test_markup_in_overrides_is_printed_literally(tmp_path: Path, printed: Callable[[], str]) -> None:
    write_job(tmp_path, "0", {"data.target": "[red]"}, value=0.5)
    write_job(tmp_path, "1", {"data.target": "[/red]"}, value=0.6)
    assert "[red]" in printed() and "[/red]" in printed()


def test_failed_jobs_exit_with_1_after_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job(tmp_path, "0", {"model": "a"}, value=0.5)
    broken = write_job(tmp_path, "1", {"model": "b"}, error="broken")
    with pytest.raises(SystemExit) as end:
        SweepSummary().on_multirun_end(sweep_config(tmp_path))
    assert end.value.code == 1 and (tmp_path / "summary.csv").exists()
    out = capsys.readouterr().out
    assert "1 of 2 jobs failed; the whole error is in error.txt of each:\n" in out and f"  {broken}: broken\n" in out


def test_a_job_without_files_is_not_finished(tmp_path: Path, printed: Callable[[], str]) -> None:
    silent = write_job(tmp_path, "0", {})
    assert f"1 of 1 jobs not finished: {silent}\n" in printed()


def test_jobs_that_failed_for_one_reason_are_one_line(tmp_path: Path, printed: Callable[[], str]) -> None:
    folders = [write_job(tmp_path, str(job), {"seed": str(job)}, error="the file is gone.") for job in range(5)]
    shown = ", ".join(map(str, folders[:3]))
    assert f"  {shown} and 2 more: the file is gone.\n" in printed()


def rows(text: str) -> list[list[str]]:
    """Cells of the lines of a printed table."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def test_folds_are_averaged_and_not_ranked(tmp_path: Path, printed: Callable[[], str]) -> None:
    values = {"a": [0.5, 0.1, 0.6], "b": [0.3, 0.4, 0.2]}
    for job in range(6):
        model, fold = "ab"[job // 3], job % 3
        write_job(tmp_path, str(job), {"model": model, "data.fold": str(fold)}, value=values[model][fold])
    jobs, folds = printed().split("val_mae over folds")
    assert "the best first" not in jobs
    assert [row[:3] for row in rows(jobs)[2:]] == [
        [model, str(fold), str(value)] for model in "ab" for fold, value in enumerate(values[model])
    ]
    assert rows(folds)[1:3] == [["b", "0.3", "0.1", "3"], ["a", "0.4", "0.2646", "3"]]


def test_a_mean_over_fewer_folds_comes_after_the_complete_ones(tmp_path: Path, printed: Callable[[], str]) -> None:
    write_job(tmp_path, "0", {"model": "a", "data.fold": "0"}, value=0.1)
    write_job(tmp_path, "1", {"model": "a", "data.fold": "1"}, error="broken")
    for fold in (0, 1):
        write_job(tmp_path, f"b{fold}", {"model": "b", "data.fold": str(fold)}, value=0.5 + fold)
    folds = rows(printed().partition("over folds")[2])
    assert folds[1:3] == [["b", "1", "0.7071", "2"], ["a", "0.1", "-", "1 of 2"]]


def test_one_configuration_over_folds_and_seeds(tmp_path: Path, printed: Callable[[], str]) -> None:
    """The spread over seeds is that of the means over the folds."""
    for job, (fold, seed, value) in enumerate([(0, 0, 1.0), (0, 1, 2.0), (1, 0, 3.0), (1, 1, 6.0)]):
        write_job(tmp_path, str(job), {"data.fold": str(fold), "seed": str(seed)}, value=value)
    folds, seeds = printed().partition("over folds")[2].split("val_mae over seeds")
    assert rows(folds)[1:3] == [["0", "2", "1.414", "2"], ["1", "4", "2.828", "2"]]
    assert rows(seeds)[1] == ["3", "2", "4", "2"]


def write_finished(root: Path, name: str, config: dict[str, Any]) -> Path:
    """A finished job with the config that it recorded."""
    folder = write_job(root, name, {"seed": str(config["seed"])}, value=0.5)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml({**config, "dirpath": f"{folder}/checkpoints"}))
    return folder


def start_job(root: Path, name: str, seed: int) -> tuple[Path, Any]:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "overrides.json").write_text(json.dumps({"seed": str(seed)}))
    return folder, OmegaConf.create({"seed": seed, "lr": 0.1, "dirpath": f"{folder}/checkpoints"})


def test_a_finished_job_is_found_by_its_config(tmp_path: Path) -> None:
    first = write_finished(tmp_path, "0", {"seed": 0, "lr": 0.1})
    changed = write_finished(tmp_path, "1", {"seed": 1, "lr": 0.2})
    failed = write_finished(tmp_path, "2", {"seed": 2, "lr": 0.1})
    (failed / "error.txt").write_text("broken")
    unfinished = write_finished(tmp_path, "3", {"seed": 3, "lr": 0.1})
    (unfinished / "metrics.json").unlink()
    for folder, seed, expected in ((first, 0, first), (changed, 1, None), (failed, 2, None), (unfinished, 3, None)):
        directory, config = start_job(tmp_path, folder.name, seed)
        assert find_finished(config, directory, tmp_path) == expected


def test_a_finished_job_with_another_number_is_found(tmp_path: Path) -> None:
    first = write_finished(tmp_path, "0_seed-5", {"seed": 5, "lr": 0.1})
    os.utime(first / "overrides.json", (1000, 1000))
    directory, config = start_job(tmp_path, "4_seed-5", 5)
    assert find_finished(config, directory, tmp_path) == first
    assert not directory.exists()
    assert [job.directory for job in read_jobs(tmp_path, since=2000)] == ["0_seed-5"]


def test_a_sweep_without_failures_returns(tmp_path: Path) -> None:
    write_job(tmp_path, "0", {"model": "a"}, value=0.5)
    SweepSummary().on_multirun_end(sweep_config(tmp_path))
    assert (tmp_path / "summary.csv").exists()


def test_overrides_are_written_only_in_sweeps_and_without_secrets(tmp_path: Path) -> None:
    given = ["+model=a", "path='x=y'", "logger.api_key=hush"]
    for mode in (RunMode.RUN, RunMode.MULTIRUN):
        folder = tmp_path / mode.name
        folder.mkdir()
        hydra = {"mode": mode, "overrides": {"task": given}, "runtime": {"output_dir": str(folder)}}
        SweepSummary().on_job_start(OmegaConf.create({"hydra": hydra}))
    assert not (tmp_path / "RUN/overrides.json").exists()
    written = json.loads((tmp_path / "MULTIRUN/overrides.json").read_text())
    assert written == {"model": "a", "path": "'x=y'", "logger.api_key": "***"}


def test_jobs_with_different_monitors_are_not_ranked_against_each_other(
    tmp_path: Path, printed: Callable[[], str]
) -> None:
    for name, monitor, value in (("0", "mase", 0.9), ("1", "mae", 5.0), ("2", "mase", 0.7), ("3", "mae", None)):
        folder = write_job(tmp_path, name, {"data.fold": name, "x": "=1+1"}, value=1)
        (folder / "metrics.json").write_text(json.dumps({"monitor": {"name": monitor, "value": value}}))
    assert directories(tmp_path) == ["1", "2", "0", "3"]
    text = printed()
    assert "5 mae" in text and "0.7 mase" in text and " - mae" in text
    assert re.search(r"0\.8 .*2 of 4", text), "the mean of the folds with one monitor"
    write_csv(read_jobs(tmp_path), tmp_path / "summary.csv")
    assert "'=1+1" in (tmp_path / "summary.csv").read_text()
