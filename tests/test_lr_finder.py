"""Learning-rate finder: losses, suggestion, and the files and messages of its command."""

import csv
import math
import re
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from command_line import Ended, files_in, forked, metrics, python
from small_runs import Recorder, fit, small_module, small_waves

from seqmodels.errors import InputError
from seqmodels.training import lr_finder
from seqmodels.training.lr_finder import LearningRateFinder, LossCurve

SMALL = ("data.series=200", "data.past_steps=20", "data.horizon=3", "model=lstm")  # 5 batches each epoch
FILES = ["command.txt", "config.yaml", "environment.json", "learning_rate.csv", "learning_rate.png", "metrics.json"]


def curve(losses: np.ndarray, lowest: float = 1e-5, highest: float = 1.0) -> LossCurve:
    return LossCurve(np.geomspace(lowest, highest, len(losses)), losses, losses)


def test_the_moving_average_uses_the_neighbours_that_exist() -> None:
    losses = np.random.default_rng(0).normal(size=13)
    for half in (1, 3):
        expected = [losses[max(0, i - half) : i + half + 1].mean() for i in range(13)]
        assert lr_finder.moving_average(losses, half) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, -5.0])  # a likelihood may be negative
def test_the_suggestion_is_halfway_between_steepest_fall_and_minimum(shift: float) -> None:
    exponent = np.linspace(-5, 0, 501)
    losses = np.where(exponent < -4, 1.0, 0.5 + 0.5 * np.cos(np.pi * (exponent + 4) / 3)) + shift  # lowest at -1
    found = lr_finder.suggest(curve(losses))
    assert found is not None
    assert math.log10(found.steepest) == pytest.approx(-2.5, abs=0.02)
    assert math.log10(found.lowest) == pytest.approx(-1.0, abs=0.02)
    assert math.log10(found.rate) == pytest.approx(-1.75, abs=0.02)
    assert f"{found.rate:.2g}" == f"{found.rate:g}" and "0.1" in lr_finder.explain(curve(losses), found)
    assert "higher rates.highest" in lr_finder.explain(curve(losses)._replace(rates=np.full(501, 0.1)), found)


def test_noise_and_a_rising_loss_give_no_suggestion(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(1.0, 0.1, 200)
    flat = curve(noise)._replace(smooth_losses=lr_finder.moving_average(noise, 5))
    assert lr_finder.suggest(flat) is None and lr_finder.suggest(curve(np.linspace(1, 2, 50))) is None
    assert "fell at no learning rate from 1e-05 to 1;" in lr_finder.no_suggestion(flat)
    lr_finder.write_curve(flat, None, tmp_path, {"model": "gru"})
    assert metrics(tmp_path) == {"model": "gru", "steps": 200}


def run_finder(finder: LearningRateFinder, *callbacks: pl.Callback, optimizer=None, **trainer) -> None:
    """Train with rising rates, as the command does."""
    data = small_waves()
    module = small_module(data)
    module.scheduler, module.optimizer = None, optimizer or module.optimizer
    steps = finder.steps + 1
    fit(module, data, [finder, *callbacks], max_epochs=-1, max_steps=steps, limit_val_batches=0, **trainer)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_are_those_of_training_over_several_epochs(accumulate: int) -> None:
    """With almost equal rates the finder trains as usual; each loss belongs to the step before it."""
    losses: dict[int, list[float]] = {}

    class Record(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:
            with torch.no_grad():
                loss = float(module.forecaster.loss(batch.inputs, batch.targets).loss)
            losses.setdefault(trainer.global_step, []).append(loss)

    data, finder = small_waves(), LearningRateFinder(1e-2, 1e-2 + 1e-9, steps=20)
    module = small_module(data)
    module.scheduler = None
    fit(module, data, [Record()], max_epochs=-1, max_steps=21, accumulate_grad_batches=accumulate)
    run_finder(finder, accumulate_grad_batches=accumulate)
    expected = [sum(found) / len(found) for _, found in sorted(losses.items())]
    assert len(expected) == 21 and finder.losses == pytest.approx(expected, rel=1e-4)
    measured = finder.curve()
    assert measured.losses == pytest.approx(expected[1:], rel=1e-4) and len(measured.rates) == 20


def test_rates_rise_exponentially_with_any_optimizer() -> None:
    finder, recorder = LearningRateFinder(1e-4, 1e-2, steps=21), Recorder()
    run_finder(finder, recorder, optimizer=partial(torch.optim.SGD, lr=7.0, momentum=0.9))
    assert recorder.rates == pytest.approx([*(1e-4 * 10 ** (k / 10) for k in range(21)), 1e-2], rel=1e-9)


def test_training_stops_when_it_becomes_unstable() -> None:
    finder = LearningRateFinder(1e-3, 1e6, steps=60)
    run_finder(finder, optimizer=partial(torch.optim.SGD, lr=1.0, momentum=0.9))
    assert 20 <= len(finder.losses) < 61
    measured = finder.curve()
    assert np.isfinite(measured.losses).all() and len(measured.rates) == len(measured.losses)
    assert measured.losses[-1] > 4 * measured.smooth_losses.min() or not math.isfinite(finder.losses[-1])


def test_too_few_finite_losses_are_refused() -> None:
    finder = LearningRateFinder(1e-3, 1.0, steps=20)
    finder.losses = [1.0, 2.0, math.nan]
    with pytest.raises(InputError, match="rates.lowest is 0.001, at which training is already unstable"):
        finder.curve()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lowest": 0.0}, "rates.lowest is 0.0 and"),
        ({"lowest": 1.0, "highest": 0.1}, "must be 0 < lowest < highest"),
        ({"steps": 19}, "rates.steps is 19; it must be at least 20"),
    ],
)
def test_invalid_settings_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LearningRateFinder(**settings)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def command(place: Path, *arguments: str) -> Ended:
    return forked(place, *arguments, command="find-lr")


def test_the_command_suggests_a_rate_that_trains(place: Path) -> None:
    ended = command(place, *SMALL, "optimizer.lr=0.5", "rates.steps=80", "hydra.run.dir=found")
    assert (ended.code, ended.err) == (0, "")
    assert files_in(place / "found") == FILES
    assert (place / "found/learning_rate.png").read_bytes()[:4] == b"\x89PNG"
    given = metrics(place / "found")
    rate = given["monitor"]["value"]
    assert given["parameters"] > 1000 and 1e-3 < rate < 0.3 and given["steepest"] < rate < given["lowest"]
    (line,) = re.findall(r"^Suggested: seqmodels train (.*)$", ended.out, re.MULTILINE)
    assert line.split() == [*SMALL, f"optimizer.lr={rate:g}"], "without the keys of the finder and the old rate"
    with (place / "found/learning_rate.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == given["steps"] and float(rows[0]["learning_rate"]) == pytest.approx(1e-6)
    assert (place / "found/command.txt").read_text().startswith("seqmodels find-lr data.series=200 ")
    trained = forked(place, *line.split(), "trainer.max_epochs=20", "logger=none", "~callbacks.figures")
    assert trained.code == 0
    (run,) = (place / "runs").iterdir()
    assert metrics(run)["rows"][0]["skill"] > 0.3


def test_the_finder_starts_as_training_with_the_same_seed(place: Path) -> None:
    """At tiny rates the weights stay the same, so that a loss identifies weights and batch."""
    ended = command(place, *SMALL, "rates.steps=20", "rates.highest=1.0e-5", "seed=3", "hydra.run.dir=sweep")
    assert ended.code == 2 and "fell at no learning rate" in ended.err and files_in(place / "sweep") == FILES
    tiny = ("scheduler=constant", "optimizer.lr=1e-7", "trainer.max_steps=8", "seed=3", "logger=csv")
    log = ("callbacks.scalars.every_n_steps=1", "hydra.run.dir=train", "~callbacks.figures")
    assert forked(place, *SMALL, *tiny, *log).code == 0
    with (place / "train/logs/metrics.csv").open(newline="") as stream:
        losses = [float(row["loss/train"]) for row in csv.DictReader(stream) if row["loss/train"]]
    with (place / "sweep/learning_rate.csv").open(newline="") as stream:
        swept = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert len(losses) == 8 and swept[:7] == pytest.approx(losses[1:], rel=2e-4)
    assert min(abs(a / b - 1) for a, b in zip(losses, losses[1:], strict=False)) > 2e-3, "the losses of batches differ"


def test_several_models_in_one_multirun(place: Path) -> None:
    ended = command(place, "-m", *SMALL[:3], "model=linear,gru", "rates.steps=40", "hydra.sweep.dir=all")
    assert (ended.code, ended.err) == (0, "")
    with (place / "all/summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["model"] for row in rows} == {"linear", "gru"} and {row["monitor"] for row in rows} == {"optimizer.lr"}
    assert all(1e-4 < float(row["value"]) < 1 for row in rows)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model=naive",), "model=naive has no weights to train"),
        (("rates.stops=3",), "rates.stops=3: the config has no key rates.stops. Nearest: rates.steps"),
        (("rates.steps=many",), "rates.steps=many: expected int"),
        (("rates.steps=3",), "rates.steps is 3; it must be at least 20"),
        (("ckpt_path=last.ckpt",), "ckpt_path is last.ckpt; a sweep of learning rates starts from new weights"),
    ],
)
def test_errors_are_one_sentence(place: Path, overrides: tuple[str, ...], words: str) -> None:
    ended = command(place, *SMALL[:3], *overrides)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert words in ended.err and files_in(place) == []


def test_train_has_no_rates_and_the_help_is_that_of_the_finder(place: Path) -> None:
    ended = forked(place, "rates.steps=30")
    assert ended.code == 2 and "no key rates.steps" in ended.err
    ended = python(place, "-m", "seqmodels", "find-lr", "--help")
    assert ended.code == 0 and "seqmodels find-lr -m model" in ended.out and "seqmodels train" not in ended.out


def test_scheduled_sampling_stays_as_at_the_start() -> None:
    """Otherwise its progress would raise the loss at any rate."""
    data = small_waves()
    module = small_module(data)
    module.follows_progress, seen = True, []
    loss = module.forecaster.loss
    module.forecaster.loss = lambda *given, **also: (seen.append(module.forecaster.progress), loss(*given, **also))[1]
    fit(module, data, [LearningRateFinder(steps=20)], max_steps=21, max_epochs=-1)
    assert set(seen) == {0.0}
