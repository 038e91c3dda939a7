"""Warm-up schedules: their formulas, their configuration, and resumed runs."""

import math
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import OmegaConf
from small_runs import Recorder, Stop, StopAt, fit, fit_waves, flat_weights, small_module, small_waves

from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.training import schedules
from seqmodels.training.callbacks.resume import RandomState
from seqmodels.training.run import planned_steps

CONF = Path(__file__).parent.parent / "conf"
RATE = 0.02


def rates(make, steps: int, **arguments) -> list[float]:
    """Learning rate of each optimizer step."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=RATE)
    schedule = make(optimizer, total_steps=steps, **arguments)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return used


def expected(step: int, steps: int, warm_up_steps: int, start: float, minimum: float | None) -> float:
    """The formula; the cosine ends at ``minimum``, None for no cosine."""
    if step < warm_up_steps:
        return RATE * (start + (1 - start) * step / warm_up_steps)
    if minimum is None:
        return RATE
    return minimum + (RATE - minimum) * (1 + math.cos(math.pi * (step - warm_up_steps) / (steps - warm_up_steps))) / 2


@pytest.mark.parametrize(
    ("share", "steps", "warm_up_steps"), [(0.25, 40, 10), (0.05, 200, 10), (0.0, 7, 1), (0.9, 10, 9)]
)
def test_learning_rates_follow_the_formula(share: float, steps: int, warm_up_steps: int) -> None:
    flat = rates(schedules.warm_up, steps, share_of_warm_up=share, start_factor=0.1)
    assert flat == pytest.approx([expected(k, steps, warm_up_steps, 0.1, None) for k in range(steps)], rel=1e-9)
    cosine = rates(schedules.warm_up_cosine, steps, share_of_warm_up=share, start_factor=0.1, eta_min=0.001)
    assert cosine == pytest.approx([expected(k, steps, warm_up_steps, 0.1, 0.001) for k in range(steps)], rel=1e-9)


@pytest.mark.parametrize("make", [schedules.warm_up, schedules.warm_up_cosine])
def test_a_single_step_has_a_learning_rate(make) -> None:
    assert rates(make, 1, start_factor=0.5) == [RATE / 2]


@pytest.mark.parametrize("make", [schedules.warm_up, schedules.warm_up_cosine])
def test_invalid_settings_are_refused(make) -> None:
    for wrong, words in (
        ({"share_of_warm_up": 1.0}, "scheduler.share_of_warm_up is 1.0"),
        ({"share_of_warm_up": -0.1}, "scheduler.share_of_warm_up is -0.1"),
        ({"start_factor": 0.0}, "scheduler.start_factor is 0.0; it must be greater than 0"),
        ({"start_factor": 1.5}, "scheduler.start_factor is 1.5"),
    ):
        with pytest.raises(InputError, match=words):
            rates(make, 10, **wrong)


def run(name: str, recorder: Recorder, directory: Path, resume: bool = False, stop=None, **settings) -> torch.Tensor:
    """Weights after training on small waves with a schedule of conf/, 5 steps per epoch."""
    data = small_waves()
    module = small_module(data, dropout=0.3)
    module.scheduler = build(OmegaConf.load(CONF / "scheduler" / f"{name}.yaml"), "scheduler", share_of_warm_up=0.4)
    checkpoint = pl.callbacks.ModelCheckpoint(directory, save_last=True, save_top_k=0, every_n_train_steps=1)
    path = str(directory / "last.ckpt") if resume else None
    fit(module, data, [StopAt(stop), recorder, checkpoint, RandomState()], path, **settings)
    return flat_weights(module)


@pytest.mark.parametrize("stop", [4, 7])  # within the warm-up of 6 of 15 steps, and after it
@pytest.mark.parametrize("name", ["warm_up", "warm_up_cosine"])
@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_resumed_run_follows_the_same_schedule(name: str, stop: int, tmp_path: Path) -> None:
    whole, first, second = Recorder(), Recorder(), Recorder()
    weights = run(name, whole, tmp_path / "whole")
    with pytest.raises(Stop):
        run(name, first, tmp_path / "parts", stop=stop)
    resumed = run(name, second, tmp_path / "parts", resume=True)
    assert first.rates + second.rates == whole.rates and len(whole.rates) == 15
    assert torch.equal(resumed, weights)
    assert whole.rates[6] == max(whole.rates) == pytest.approx(1e-2) and whole.rates[0] == pytest.approx(1e-4)


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_only_a_schedule_without_an_end_can_be_extended(tmp_path: Path) -> None:
    for name in ("warm_up", "warm_up_cosine"):
        run(name, Recorder(), tmp_path / name, max_epochs=2)
    longer = Recorder()
    run("warm_up", longer, tmp_path / "warm_up", resume=True, max_epochs=3)
    assert longer.rates == pytest.approx([1e-2] * 5)
    states = {name: torch.load(tmp_path / name / "last.ckpt") for name in ("warm_up", "warm_up_cosine")}
    assert {name: planned_steps(state) for name, state in states.items()} == {"warm_up": None, "warm_up_cosine": 10}


@pytest.mark.parametrize("fast", [True, False])
def test_the_schedule_ends_with_the_time_of_a_run(fast: bool) -> None:
    recorder = Recorder()
    trainer = fit_waves(recorder, fast=fast, max_epochs=100_000, max_time={"seconds": 1})
    assert 50 < trainer.global_step < 100_000 and max(recorder.rates) > 5e-3, "the peak is reached"
    assert recorder.rates[-1] < 0.1 * max(recorder.rates)


@pytest.mark.parametrize("fast", [True, False])
def test_a_time_that_is_not_reached_changes_nothing(fast: bool) -> None:
    limited, free = Recorder(), Recorder()
    fit_waves(limited, fast=fast, max_time={"hours": 5})
    fit_waves(free, fast=fast)
    assert limited.rates == free.rates and len(free.rates) == 15


def test_nadam_minimises_a_parabola() -> None:
    optimizer = build(OmegaConf.load(CONF / "optimizer" / "nadam.yaml"), "optimizer")
    assert isinstance(optimizer, partial)
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    made = optimizer([weight])
    for _ in range(400):
        made.zero_grad()
        ((weight - 1) ** 2).sum().backward()
        made.step()
    assert weight.item() == pytest.approx(1.0, abs=0.1)
