"""Sweeps from the command line: check before the first job, failed jobs, and ranking."""

import csv
from pathlib import Path

import pytest
from command_line import files_in, forked, metrics

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
