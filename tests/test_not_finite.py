"""Numbers that are not finite end a run, name their step, and never reach a checkpoint, a table or a file."""

import math
import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from data import build_data
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import fit, small_module, small_waves

from seqmodels.errors import InputError
from seqmodels.inference.monte_carlo import monte_carlo
from seqmodels.metrics import MODEL, NAIVE
from seqmodels.training.callbacks.ema import AveragedWeights
from seqmodels.training.callbacks.scalars import ScalarLogger
from seqmodels.training.module import ForecastModule, first_not_finite

BATCHES = 5  # of an epoch of small_waves


class Poison(pl.Callback):
    """Damages the training at optimizer step ``step``, counted from 1: its ``gradients``, its loss or the weights."""

    def __init__(self, step: int, kind: str, value: float = math.nan):
        self.step, self.kind, self.value = step, kind, value

    def on_train_start(self, trainer, module) -> None:
        def damaged(gradient):
            now = self.kind == "gradients" and trainer.global_step == self.step - 1
            return gradient.clone().fill_(self.value) if now else gradient

        next(module.forecaster.readout.parameters()).register_hook(damaged)

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if self.kind == "loss" and trainer.global_step == self.step - 1:
            batch.targets.target[0, 0, 0] = self.value

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if self.kind == "weights" and trainer.global_step == self.step:
            with torch.no_grad():
                next(module.forecaster.readout.parameters())[0] = self.value


def keepers(folder: Path) -> list[pl.Callback]:
    """The best and the last checkpoint, as ``callbacks=default``."""
    best = ModelCheckpoint(dirpath=folder, filename="best", monitor="validation/mase")
    return [best, ModelCheckpoint(dirpath=folder, filename="last")]


def stopped(folder: Path, *callbacks: pl.Callback, **arguments) -> str:
    """The message of a fit that is stopped; all checkpoints that it leaves are whole."""
    data = small_waves()
    with pytest.raises(InputError) as caught:
        fit(small_module(data), data, [*callbacks, *keepers(folder)], **arguments)
    for file in folder.glob("*.ckpt"):
        weights = torch.load(file, weights_only=True)["state_dict"]
        assert all(weight.isfinite().all() for weight in weights.values()), file
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [1, 3, BATCHES, BATCHES + 2, 2 * BATCHES])
@pytest.mark.parametrize(("kind", "name"), [("gradients", "norm of the gradients"), ("loss", "training loss")])
def test_the_step_that_is_named_is_the_first_bad_one(tmp_path, kind, name, step, value):
    message = stopped(tmp_path, ScalarLogger(every_n_steps=50), Poison(step, kind, value))
    epoch = -(-step // BATCHES)
    assert re.match(rf"the {name} became (nan|inf) at step {step}, in epoch {epoch}; lower optimizer.lr", message)
    kept = ["best.ckpt", "last.ckpt"] if epoch > 1 else []
    assert sorted(file.name for file in tmp_path.iterdir()) == kept, "checkpoints of the epochs before"


@pytest.mark.parametrize("kind", ["gradients", "weights"])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("step", [BATCHES, 2 * BATCHES])
def test_the_last_step_of_an_epoch_without_a_log(tmp_path, kind, average, step):
    """No further loss would show it: the forecasts of the validation do."""
    callbacks = [Poison(step, kind), *([AveragedWeights()] if average else [])]
    message = stopped(tmp_path, *callbacks)
    assert message.startswith("the model forecasts of the validation windows, or their errors, are nan or infinite")
    assert f"after step {step}, in epoch {step // BATCHES} (channel " in message


@pytest.mark.parametrize("every", [1, 2])
def test_weights_that_no_forecast_shows_are_not_kept(tmp_path, every):
    class Spare(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            if trainer.global_step == BATCHES:
                with torch.no_grad():
                    module.forecaster.spare.fill_(math.inf)

    data = small_waves()
    module = small_module(data)
    module.forecaster.spare = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(InputError, match=r"weights forecaster.spare became nan or infinite by step 5, in epoch 1"):
        fit(module, data, [Spare(), ModelCheckpoint(dirpath=tmp_path, filename="last")])
    assert not list(tmp_path.iterdir())


def test_accumulated_gradients_count_optimizer_steps(tmp_path):
    poison = Poison(2, "loss")  # the second of three steps: batches 3 and 4
    message = stopped(tmp_path, ScalarLogger(), poison, accumulate_grad_batches=2)
    assert message.startswith("the training loss became nan at step 2, in epoch 1")


@pytest.mark.parametrize("scalars", [1, 2, 3])
def test_the_first_bad_scalar_belongs_to_its_step(scalars):
    for steps in (1, 4):
        for last in range(1, scalars + 1):  # the last step may have fewer scalars
            count = (steps - 1) * scalars + last
            for bad in range(count):
                values = [torch.tensor(math.nan if index >= bad else 1.0) for index in range(count)]
                assert first_not_finite(values, steps) == bad // scalars + 1
    assert first_not_finite([torch.tensor(1.0)] * 3, 3) == 4


def overflowing(module: ForecastModule) -> None:
    """Let the model forecast infinity in evaluation only, as a scale beyond float32 does."""
    module.forecaster.readout.register_forward_hook(lambda part, given, made: made if part.training else made * 1e38)


def test_a_validation_that_overflows_ends_the_run(tmp_path):
    data = small_waves()
    module = small_module(data)
    overflowing(module)
    with pytest.raises(
        InputError,
        match="the validation windows, or their errors, are nan or infinite|validation loss bec",
    ):
        fit(module, data, keepers(tmp_path), num_sanity_val_steps=0)
    assert not list(tmp_path.iterdir())


def test_a_validation_loss_that_overflows_ends_the_run(tmp_path):
    data = small_waves()
    module = small_module(data)
    module.forecaster.head.kind = "mse"
    module.forecaster.readout.register_forward_hook(
        lambda part, given, made: made if part.training else made * 0 + 1e30
    )
    with pytest.raises(InputError, match=r"the validation loss became inf in epoch 1, at step 5; lower optimizer.lr"):
        fit(module, data, keepers(tmp_path), num_sanity_val_steps=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", [MODEL, NAIVE])
def test_a_test_stage_that_overflows_is_refused(row):
    data = build_data(100, channels=2, split=[60, 20, 20], past_steps=20)
    module = small_module(data)
    trainer = fit(module, data, [], max_epochs=1)
    broken = module.rows[row]
    whole = type(broken).forward
    broken.forward = lambda inputs: (out := whole(broken, inputs))._replace(forecast=out.forecast / torch.zeros(2, 1))
    with pytest.raises(
        InputError,
        match=rf"the {row} forecasts of the test windows, or their errors, are nan or infinite \(channels a, b\); ",
    ):
        trainer.test(module, dataloaders=data.test_dataloader(), verbose=False)
    assert "test" not in module.results


def test_dropout_passes_that_overflow_are_refused():
    data = small_waves()
    module = small_module(data, dropout=0.5)
    module.forecaster.readout.register_forward_hook(lambda part, given, made: made * math.inf)
    with pytest.raises(InputError, match="dropout_passes: a forecast with dropout is nan or infinite"):
        monte_carlo(module.forecaster, data.examples("validation", 2).inputs, passes=3)
