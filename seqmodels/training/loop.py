"""A faster training step for the plain case: one device, 32 bits, no gradient accumulation.

Lightning's general step costs 1 to 2 ms on a small CPU whatever the model, a third of the time of a small LSTM. The
fast step does the same in the same order (progress counters, callbacks at the start and end of a batch, loss, backward
pass, clipping, optimizer, scheduler) without the layers for other cases, which still take Lightning's own step.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

# Hooks within a step, which the fast step does not call.
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
        index = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        self._start_logging(batch)
        self._call("on_train_batch_start", batch, index)
        progress.increment_started()
        loss = self._optimize(trainer, module, batch, index)
        progress.increment_processed()
        self._step_schedulers()
        self._call("on_train_batch_end", {"loss": loss}, batch, index)
        self._finish_logging()
        progress.increment_completed()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate if it is due; otherwise only count the step."""
        trainer = self.trainer
        due = self._num_ready_batches_reached() or self._should_check_val_fx(data_fetcher)
        plain = trainer.accumulate_grad_batches == 1 and not (trainer.should_stop or trainer.received_sigterm)
        if due or self._skip_next_val or not plain:
            super().on_advance_end(data_fetcher)
        else:
            self._batches_that_stepped += 1

    def _start_logging(self, batch: Any) -> None:
        """Tell Lightning's ``self.log`` the batch it belongs to."""
        connector, results = self.trainer._logger_connector, self._results
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None

    def _finish_logging(self) -> None:
        """Pass on what was logged in this step, if anything."""
        if self._results:
            self.trainer._logger_connector.on_batch_end()
            self.trainer._logger_connector.update_train_step_metrics()
        else:
            self._results.batch = None

    def _call(self, hook: str, *arguments: Any) -> None:
        """Call the callbacks that implement the hook."""
        trainer: Any = self.trainer
        module = trainer.lightning_module
        attributes = module.__dict__  # ten times faster than setting an attribute of a torch module
        attributes["_current_fx_name"] = hook  # the name under which Lightning files what a callback logs
        for callback in trainer.callbacks:
            if implements(callback, hook):
                getattr(callback, hook)(trainer, module, *arguments)
        attributes["_current_fx_name"] = None

    def _optimize(self, trainer: pl.Trainer, module: Any, batch: Any, index: int) -> Any:
        """Do one optimizer step; returns the detached loss."""
        optimizer, counters = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        counters.step.increment_ready()
        loss = module.training_step(batch, index)
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

    def _step_schedulers(self) -> None:
        """Step the schedulers that follow optimizer steps, and at the end of an epoch the others."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            if config.interval == "step" and not config.reduce_on_plateau:
                if (self.batch_idx + 1) % config.frequency == 0:
                    self.scheduler_progress.increment_ready()
                    self.trainer.lightning_module.lr_scheduler_step(scheduler, None)
                    self.scheduler_progress.increment_completed()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)


class ValidateLastStep(pl.Callback):
    """Lets training end at ``trainer.max_steps`` with a validation, wherever in an epoch that is."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True


def implements(callback: pl.Callback, hook: str) -> bool:
    """True if the callback does anything in a hook that is called at every step."""
    method = getattr(type(callback), hook)
    if isinstance(callback, ModelCheckpoint) and method is ModelCheckpoint.on_train_batch_end:
        return callback._every_n_train_steps > 0 or callback._train_time_interval is not None  # else after epochs
    return method is not getattr(pl.Callback, hook)


def install(trainer: Any) -> None:
    """Let the trainer take the fast step if its settings and callbacks allow it; call before ``fit``."""
    loop = trainer.fit_loop.epoch_loop
    own = type(loop) is _TrainingEpochLoop and type(trainer.precision_plugin) is Precision
    single = type(trainer.strategy) is SingleDeviceStrategy and type(trainer.profiler) is PassThroughProfiler
    if own and single and not any(implements(callback, hook) for callback in trainer.callbacks for hook in INNER_HOOKS):
        loop.__class__ = FastEpochLoop  # keeps the loop's state and settings
