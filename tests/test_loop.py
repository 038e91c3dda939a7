"""The fast training step against Lightning's own, bit by bit."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from small_runs import fit, small_module, small_waves

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
    data, recorder = small_waves(), Recorder()
    module = small_module(data, dropout=0.2)
    torch.manual_seed(1)
    trainer = fit(module, data, [recorder], fast=fast, gradient_clip_val=0.5, **settings)
    assert isinstance(trainer.fit_loop.epoch_loop, FastEpochLoop) == fast
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return (
        [p.detach() for p in module.parameters()],
        recorder.seen,
        trainer.global_step,
        rate,
        trainer.fit_loop.state_dict(),
    )


@pytest.mark.parametrize(
    "settings", [{}, {"val_check_interval": 0.4}, {"limit_train_batches": 3}, {"max_steps": 7, "max_epochs": -1}]
)
def test_fast_and_general_step_give_the_same_bit_by_bit(settings):
    fast, slow = train(True, **settings), train(False, **settings)
    assert all(torch.equal(a, b) for a, b in zip(fast[0], slow[0], strict=True))
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
    results = []
    for fast in (True, False):
        data = small_waves()
        module = small_module(data)
        trainer = fit(module, data, [], fast=fast, accumulate_grad_batches=2)
        results.append(([p.detach() for p in module.parameters()], trainer.global_step))
    assert results[0][1] == results[1][1] == 9
    assert all(torch.equal(a, b) for a, b in zip(results[0][0], results[1][0], strict=True))
