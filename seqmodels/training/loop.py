"""A shorter way through a training step, for the plain case: one device, 32 bits, no accumulation.

Lightning's general step costs 1 to 2 ms on a small CPU whatever the model does, which is a third of the time of a
small LSTM. Here the same things happen in the same order (progress counters, callbacks at the begin and end of a
batch, loss, backward, clipping, optimizer, scheduler), without the layers that serve other cases. Whatever is not
plain takes Lightning's own way.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

# Hooks within a step, which the short way does not call.
INNER_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class FastEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch with a shorter ``advance`` and ``on_advance_end``."""

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch, which the loader delivers on the right device."""
        closure = isinstance(self.trainer.optimizers[0], torch.optim.LBFGS)  # it evaluates the loss several times
        if self.restarting or self.trainer.accumulate_grad_batches != 1 or closure:
            super().advance(data_fetcher)
            return
        trainer, module, progress = self.trainer, self.trainer.lightning_module, self.batch_progress
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        self._begin_log(batch)
        self._call("on_train_batch_start", batch, number)
        progress.increment_started()
        loss = self._optimize(trainer, module, batch, number)
        progress.increment_processed()
        self._schedule()
        self._call("on_train_batch_end", {"loss": loss}, batch, number)
        self._end_log()
        progress.increment_completed()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate where it is due; between two validations only the steps are counted."""
        trainer = self.trainer
        due = self._num_ready_batches_reached() or self._should_check_val_fx(data_fetcher)
        plain = trainer.accumulate_grad_batches == 1 and not (trainer.should_stop or trainer.received_sigterm)
        if due or self._skip_next_val or not plain:
            super().on_advance_end(data_fetcher)
        else:
            self._batches_that_stepped += 1

    def _begin_log(self, batch: Any) -> None:
        """Tell Lightning's ``self.log`` which batch it belongs to."""
        connector, results = self.trainer._logger_connector, self._results
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None

    def _end_log(self) -> None:
        """Hand on what was logged in this step, if anything was."""
        if self._results:
            self.trainer._logger_connector.on_batch_end()
            self.trainer._logger_connector.update_train_step_metrics()
        else:
            self._results.batch = None

    def _call(self, hook: str, *arguments: Any) -> None:
        """Call the callbacks that have this hook."""
        trainer: Any = self.trainer
        module = trainer.lightning_module
        attributes = module.__dict__  # ten times faster than to set an attribute of a torch module
        attributes["_current_fx_name"] = hook  # what a callback logs is filed under it
        for callback in trainer.callbacks:
            if listens(callback, hook):
                getattr(callback, hook)(trainer, module, *arguments)
        attributes["_current_fx_name"] = None

    def _optimize(self, trainer: pl.Trainer, module: Any, batch: Any, number: int) -> Any:
        """One optimizer step; returns the detached loss."""
        optimizer, counters = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        counters.step.increment_ready()
        loss = module.training_step(batch, number)
        counters.zero_grad.increment_ready()
        counters.zero_grad.increment_started()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        counters.zero_grad.increment_completed()
        loss.backward()
        module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        optimizer.step()
        counters.step.increment_completed()
        return loss.detach()

    def _schedule(self) -> None:
        """Step the schedulers that follow optimizer steps; at the end of an epoch Lightning sees to the others."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            if config.interval == "step" and not config.reduce_on_plateau:
                if (self.batch_idx + 1) % config.frequency == 0:
                    self.scheduler_progress.increment_ready()
                    scheduler.step()
                    self.scheduler_progress.increment_completed()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)


def listens(callback: pl.Callback, hook: str) -> bool:
    """Whether the callback does anything in a hook of every step."""
    kept = getattr(type(callback), hook)
    if isinstance(callback, ModelCheckpoint) and kept is ModelCheckpoint.on_train_batch_end:
        return callback._every_n_train_steps > 0 or callback._train_time_interval is not None  # else after epochs
    return kept is not getattr(pl.Callback, hook)


def install(trainer: Any) -> None:
    """Let this trainer take the short way where it may; call before ``fit``."""
    loop = trainer.fit_loop.epoch_loop
    own = type(loop) is _TrainingEpochLoop and type(trainer.precision_plugin) is Precision
    alone = type(trainer.strategy) is SingleDeviceStrategy and type(trainer.profiler) is PassThroughProfiler
    kinds = {type(callback) for callback in trainer.callbacks}
    watched = any(getattr(kind, hook) is not getattr(pl.Callback, hook) for kind in kinds for hook in INNER_HOOKS)
    if own and alone and not watched:
        loop.__class__ = FastEpochLoop  # keeps the loop's state and settings
