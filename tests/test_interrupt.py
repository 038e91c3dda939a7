"""A signal ends training after the current step, with a checkpoint from which it goes on as if nothing had happened."""

import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from command_line import environment, forked, metrics
from small_runs import fit, flat_weights, small_module, small_waves

from seqmodels.backbones.recurrent import Lstm
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.readouts import direct
from seqmodels.scalers import affine
from seqmodels.signals import Interrupted, handled_by
from seqmodels.training.callbacks.ema import AveragedWeights
from seqmodels.training.callbacks.progress import ProgressLine
from seqmodels.training.callbacks.resume import RandomState, StopOnSignal
from seqmodels.training.callbacks.scalars import ScalarLogger
from seqmodels.training.module import ForecastModule


class Send(pl.Callback):
    """Sends signals to this process: in the batch after ``step`` optimizer steps, or in the validation after them."""

    def __init__(self, step: int, *numbers: int, validating: bool = False):
        self.step, self.numbers, self.validating = step, numbers, validating
        self.steps: list[int] = []  # optimizer steps before each batch that was trained

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        self.steps.append(trainer.global_step)
        self._send(trainer, not self.validating)

    def on_validation_batch_start(self, trainer, module, batch, index, loader=0) -> None:
        self._send(trainer, self.validating)

    def _send(self, trainer, here: bool) -> None:
        if here and trainer.global_step == self.step:
            numbers, self.numbers = self.numbers, ()
            for number in numbers:
                signal.raise_signal(number)


class Scores(pl.Callback):
    """The monitored value of each validation, after so many steps."""

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}

    def on_validation_end(self, trainer, module) -> None:
        self.seen[trainer.global_step] = float(trainer.callback_metrics["validation/mase"])


def stateful_lstm(data) -> ForecastModule:
    """A small LSTM that carries its state from window to window."""
    data.setup()
    torch.manual_seed(0)
    model = Forecaster(data.spec, affine.StandardScaler, partial(Lstm, hidden=4), direct.SeqToSeq, Point())
    return ForecastModule(model, data.spec, {}, partial(torch.optim.AdamW, lr=1e-2))


def run(directory: Path, send: Send, scores: Scores, variant: str = "", resume: bool = False, **trainer):
    """Train as a run does; returns the weights, the number of steps and the best score."""
    data = small_waves(**WAVES.get(variant, {}))
    module = stateful_lstm(data) if variant == "lanes" else small_module(data, dropout=0.3)
    if variant == "plateau":
        module.scheduler = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5, factor=0.5)
    keep = partial(pl.callbacks.ModelCheckpoint, directory, enable_version_counter=False)
    best, last = keep(filename="best", monitor="validation/mase"), keep(filename="last")
    others = [AveragedWeights(0.9)] if variant == "ema" else []
    path = directory / "last.ckpt"
    callbacks = [best, last, RandomState(), *others, ScalarLogger(3), ProgressLine(), send, scores, StopOnSignal(path)]
    done = fit(module, data, callbacks, str(path) if resume else None, **trainer)
    return flat_weights(module), done.global_step, best.best_model_score


WAVES = {"one batch": {"batch_size": 140}, "lanes": {"lanes": 20, "shuffle": False}}
CASES = {
    "within an epoch": (7, {}, ""),
    "in the first step": (0, {}, ""),
    "in the last step of an epoch": (4, {}, ""),
    "in the last step": (14, {}, ""),
    "in the validation": (5, {"validating": True}, ""),
    "while gradients are accumulated": (4, {}, "accumulate"),
    "before a validation within an epoch": (6, {}, "interval"),
    "epochs of one step": (1, {}, "one batch"),
    "an average of the weights": (7, {}, "ema"),
    "a schedule that follows validations": (7, {}, "plateau"),
    "a schedule that follows validations, at an end": (4, {}, "plateau"),
    "a state that is carried": (1, {}, "lanes"),
}
TRAINER = {"accumulate": {"accumulate_grad_batches": 2}, "interval": {"val_check_interval": 2}}


@pytest.mark.parametrize(("step", "where", "variant"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_run_that_goes_on_equals_one_without_a_signal(step: int, where: dict, variant: str, tmp_path: Path) -> None:
    trainer, scores, parts = TRAINER.get(variant, {}), Scores(), Scores()
    everything = Send(-1)
    weights, steps, best = run(tmp_path / "whole", everything, scores, variant, **trainer)
    before, after = Send(step, signal.SIGTERM, **where), Send(-1)
    with pytest.raises(Interrupted, match="terminated"):
        run(tmp_path / "parts", before, parts, variant, **trainer)
    again, same_steps, same_best = run(tmp_path / "parts", after, parts, variant, resume=True, **trainer)
    assert torch.equal(again, weights) and same_steps == steps and same_best == best
    assert parts.seen == scores.seen and len(scores.seen) >= 3
    assert before.steps + after.steps == everything.steps
    assert before.steps[-1] <= step + (6 if variant == "lanes" else 1), "it went on for too long"


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_second_signal_ends_at_once_and_the_handlers_are_restored(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(Interrupted, match="interrupted"):
        run(tmp_path, Send(2, signal.SIGHUP, signal.SIGINT), Scores())
    assert not (tmp_path / "last.ckpt").exists()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_ignored_signals_stay_ignored() -> None:
    """As under nohup, and in the background of a shell."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled_by(lambda number, frame: pytest.fail("was handled")):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_printed_command_goes_on_with_the_run(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    settings = ("model=gru", "data.series=400", "data.past_steps=20", "trainer.max_epochs=9", "logger=none")
    command = [sys.executable, "-m", "seqmodels", "train", *settings, 'hydra.run.dir="a=b"']
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=place, env=environment() | {"PYTHONUNBUFFERED": "1"}, **pipes) as process:
        while (line := process.stdout.readline()) and not line.split()[:1] == ["1/9"]:
            pass
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and err.count("\n") == 1
    assert err.startswith("terminated in epoch ") and "; best validation/mase " in err
    command = shlex.split(err.partition("continue with: ")[2])
    assert command[:2] == ["seqmodels", "train"] and not (place / "a=b/metrics.json").exists()
    assert forked(place, *command[2:]).code == 0
    assert metrics(place / "a=b")["epochs"] == 9
