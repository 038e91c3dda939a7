"""Sweeps from the command line: check before the first job, failed jobs, and ranking."""

import csv
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import files_in, forked, metrics
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from seqmodels.cli import side_by_side
from seqmodels.cli.side_by_side import run_side_by_side
from seqmodels.signals import Interrupted

SMALL = ("data.series=200", "data.past_steps=20", "trainer.max_epochs=1")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty working directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def summary(place: Path) -> list[dict[str, str]]:
    """Rows of summary.csv in order."""
    with (place / "sweep/summary.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_sweep_with_invalid_input_does_not_start(place: Path) -> None:
    ended = forked(place, "-m", "model=naive,nosuch", *SMALL)
    assert (ended.code, ended.out) == (2, "") and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert "model=nosuch" in ended.err and files_in(place) == []


def test_failed_jobs_are_recorded_and_the_others_ranked(place: Path) -> None:
    overrides = ("-m", "seed=0,1", "model=lstm", "data.horizon=1,-5", *SMALL, "hydra.sweep.dir=sweep")
    ended = forked(place, *overrides)
    assert ended.code == 1 and "2 of 4 jobs failed" in ended.out
    done, failed = summary(place)[:2], summary(place)[2:]
    assert {job["seed"] for job in done} == {job["seed"] for job in failed} == {"0", "1"}
    assert [job["data.horizon"] for job in done + failed] == ["1", "1", "-5", "-5"]
    values = [float(job["value"]) for job in done]
    assert values == sorted(values) and values[0] != values[1]
    for job in done:
        written = metrics(place / "sweep" / job["directory"])
        assert written["monitor"] == {"name": "validation/mase", "value": float(job["value"])}
        assert float(job["seconds"]) == written["seconds"]
    for job in failed:
        sentence = (place / "sweep" / job["directory"] / "error.txt").read_text().splitlines()[0]
        assert sentence == job["error"] == "data.horizon is -5; it must be at least 1."


def test_seconds_are_those_of_each_job(place: Path) -> None:
    """They do not count from the start of the sweep: the first job takes longest, since it loads the fonts."""
    assert forked(place, "-m", "seed=0,1,2", "model=naive", *SMALL, "hydra.sweep.dir=sweep").code == 0
    seconds = {job["seed"]: float(job["seconds"]) for job in summary(place)}
    assert 0 < seconds["2"] < seconds["0"] + seconds["1"]


def test_directories_have_only_characters_allowed_on_the_command_line(place: Path) -> None:
    ended = forked(place, "-m", "model=naive", "data.split=[0.5, 0.2, 0.3]", *SMALL, "hydra.sweep.dir=sweep")
    assert ended.code == 0
    (job,) = summary(place)
    assert "_data.split-0.5-0.2-0.3_model-naive" in job["directory"]


def test_the_summary_includes_jobs_of_an_experiment_in_a_folder(place: Path) -> None:
    folder = place / "own/experiment/deep"
    folder.mkdir(parents=True)
    (folder / "naive.yaml").write_text("# @package _global_\ndefaults: [{override /model: naive}]\n")
    overrides = ("-m", "experiment=deep/naive", "seed=0,1", *SMALL, "hydra.sweep.dir=sweep")
    ended = forked(place, "--config-dir", "own", *overrides)
    assert (ended.code, ended.err) == (0, "")
    assert [job["experiment"] for job in summary(place)] == ["deep/naive"] * 2
    for job in summary(place):
        assert metrics(place / "sweep" / job["directory"])["model"] == "naive" and not job["error"]


def test_a_sweep_goes_on_where_it_was_interrupted(place: Path) -> None:
    """Done jobs are skipped, though their numbers change when the sweep gets more seeds."""
    sweep = ("-m", "model=naive,seasonal_naive", *SMALL, "hydra.sweep.dir=sweep")
    assert forked(place, *sweep, "seed=0").code == 0
    before = {job["directory"]: metrics(place / "sweep" / job["directory"]) for job in summary(place)}
    ended = forked(place, *sweep, "seed=0,1")
    assert (ended.code, ended.err) == (0, "") and ended.out.count("Skipped, since it is done") == 2
    assert [
        (job["model"], job["seed"]) for job in sorted(summary(place), key=lambda job: (job["model"], job["seed"]))
    ] == [(model, seed) for model in ("naive", "seasonal_naive") for seed in "01"]
    assert {name: metrics(place / "sweep" / name) for name in before} == before
    changed = forked(place, *sweep, "seed=0", "data.horizon=2")
    assert changed.code == 0 and "Skipped" not in changed.out


def test_jobs_side_by_side_give_what_they_give_one_after_the_other(place: Path) -> None:
    sweep = ("-m", "model=gru", "model.backbone.dropout=0,0.2", "seed=0,1", *SMALL, "logger=none")
    found = []
    for processes in (1, 3):
        ended = forked(place, *sweep, f"processes={processes}", f"hydra.sweep.dir=by_{processes}")
        assert ended.code == 0 and ("4 jobs, 3 at a time" in ended.out) == (processes == 3)
        folders = sorted((place / f"by_{processes}").glob("*/"))
        assert [folder.name[0] for folder in folders] == list("0123")
        assert all(
            ended.out.count(f"Everything about this run is in {one.relative_to(place)}\n") == 1 for one in folders
        )
        found.append([(load_weights(folder), metrics(folder)["rows"]) for folder in folders])
    for (weights, rows), (others, same) in zip(*found, strict=True):
        assert rows == same and all(torch.equal(weights[name], others[name]) for name in weights)
    assert found[0][0][1] != found[0][1][1]


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("given", ["0", "many", "true", "1.5"])
def test_a_number_of_processes_that_cannot_be_is_refused(place: Path, given: str) -> None:
    ended = forked(place, "-m", "model=naive", "seed=0,1", *SMALL, f"processes={given}")
    assert ended.code == 2 and ended.err.startswith("error: processes is ") and ended.err.count("\n") == 1
    assert "'auto' or a number of at least 1" in ended.err


def test_a_job_whose_process_dies_does_not_stop_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    def run(number: int) -> JobReturn:
        print(f"here is {number}")
        if number == 1:
            os._exit(9)
        return JobReturn(_return_value=float(number), status=JobStatus.COMPLETED)

    values = [job.return_value for job in run_side_by_side(run, 4, 2)]
    assert values == [0.0, math.inf, 2.0, 3.0]
    printed = capfd.readouterr().out
    assert [f"here is {number}" in printed for number in range(4)] == [True, False, True, True]


def test_a_signal_reaches_every_process_and_no_further_job_begins(tmp_path: Path) -> None:
    def run(number: int) -> JobReturn:
        (tmp_path / f"{number}.began").touch()
        try:
            while number == 0 and not (tmp_path / "1.began").exists():
                time.sleep(0.01)
            if number == 0:
                os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)
        except Interrupted as stop:
            (tmp_path / f"{number}.ended").touch()
            raise Interrupted(stop.number, f" in job {number}") from None
        raise AssertionError

    with pytest.raises(Interrupted, match="terminated in job [01]"):
        run_side_by_side(run, 3, 2)
    assert {one.name for one in tmp_path.iterdir()} == {"0.began", "1.began", "0.ended", "1.ended"}


def test_the_number_of_processes_follows_cores_threads_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(**given: Any) -> int:
        plain = {"processes": "auto", "threads": "auto", "trainer": {"accelerator": "auto"}}
        return side_by_side.count_processes(OmegaConf.create(plain | given))

    monkeypatch.setattr("seqmodels.cli.environment.count_cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 100 << 30)
    assert [count(), count(threads=3), count(threads=99), count(processes=5)] == [8, 2, 1, 5]
    assert count(trainer={"accelerator": "gpu"}) == 1
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 7 << 30)
    assert [count(), count(processes=5)] == [3, 5]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [count(), count(trainer={"accelerator": "cpu"})] == [1, 1]
