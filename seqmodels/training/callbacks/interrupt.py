"""Orderly end of training on a signal: the current step is finished, and a checkpoint continues from it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from seqmodels.signals import Interrupted, handled_by


class StopOnSignal(pl.callbacks.Checkpoint):
    """Saves ``path`` after the step during which a signal came, and raises ``Interrupted``; a second signal at once.

    A run resumed from ``path`` ends with the same weights as an uninterrupted one, so training stops only where no
    state is lost: before the first step of an epoch, or after an optimizer step that no validation follows. A model
    whose state is carried from batch to batch stops between epochs.
    """

    def __init__(self, path: Path):
        self.path = path
        self.number: int | None = None  # of the signal that came
        self.handlers = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals over, after Lightning, whose handler would end an epoch without a checkpoint."""
        self.number = None
        self.handlers.enter_context(handled_by(self._note))

    def _note(self, number: int, frame: Any) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number = number

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.number is not None:
            reset_counters(trainer.fit_loop.epoch_loop)
            self._stop(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if self.number is not None and getattr(module, "training_state", None) is None and is_between_steps(trainer):
            self._stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.handlers.close()
        if self.number is not None:
            raise Interrupted(self.number)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.handlers.close()

    def _stop(self, trainer: pl.Trainer) -> None:
        assert self.number is not None
        if not getattr(trainer, "fast_dev_run", False):
            trainer.save_checkpoint(self.path)
        raise Interrupted(self.number)


def reset_counters(loop: Any) -> None:
    """Start the batches of an epoch from 0, which Lightning does only after its first hook."""
    for counter in (loop.batch_progress, loop.scheduler_progress, loop.automatic_optimization.optim_progress):
        counter.reset_on_run()


def is_between_steps(trainer: Any) -> bool:
    """True if no gradients are being accumulated and neither a validation nor the end of the epoch comes next."""
    loop = trainer.fit_loop.epoch_loop
    ends = loop._is_training_done or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
    return not (ends or loop._should_accumulate())
