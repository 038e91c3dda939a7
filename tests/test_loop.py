"""The fast training step against Lightning's own, bit by bit."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from small_runs import fit_waves, flat_weights

from seqmodels.training import loop
from seqmodels.training.loop import FastEpochLoop


class Recorder(pl.Callback):
    """Records what a callback sees of each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.append(("start", batch_idx, trainer.global_step))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.seen.append(("end", batch_idx, trainer.global_step, trainer.is_last_batch, float(outputs["loss"])))


def train(fast, **settings):
    recorder = Recorder()
    trainer = fit_waves(recorder, dropout=0.2, fast=fast, gradient_clip_val=0.5, **settings)
    assert isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop) == fast
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    weights = flat_weights(trainer.lightning_module)
    return weights, recorder.seen, trainer.global_step, rate, trainer.fit_loop.state_dict()


@pytest.mark.parametrize(
    "settings", [{}, {"val_check_interval": 0.4}, {"limit_train_batches": 3}, {"max_steps": 7, "max_epochs": -1}]
)
def test_fast_and_general_step_give_the_same_bit_by_bit(settings):
    fast, slow = train(True, **settings), train(False, **settings)
    assert torch.equal(fast[0], slow[0])
    assert fast[1:4] == slow[1:4] and len(fast[1]) > 10
    assert fast[4] == slow[4], "progress, as a checkpoint keeps it"


class InnerHook(pl.Callback):
    def on_before_optimizer_step(self, trainer, module, optimizer):
        pass


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16-mixed"}, {"callbacks": [InnerHook()]}, {"profiler": "simple"}],
    ids=["precision", "inner hook", "profiler"],
)
def test_other_settings_take_the_general_step(settings, tmp_path):
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path, **settings
    )
    loop.install(trainer)
    assert type(trainer.fit_loop.epoch_loop) is _TrainingEpochLoop


def test_accumulated_gradients_take_the_general_step():
    fast, slow = (fit_waves(fast=fast, accumulate_grad_batches=2) for fast in (True, False))
    assert fast.global_step == slow.global_step == 9
    assert torch.equal(flat_weights(fast.lightning_module), flat_weights(slow.lightning_module))
