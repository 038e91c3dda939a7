"""A small model, small waves and a short fit, for the tests of what happens around training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch

from datamodules.synthetic import Waves
from seqmodels.backbones.wavenet import WaveNet
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.readouts import direct
from seqmodels.scalers import affine
from seqmodels.training import loop
from seqmodels.training.module import ForecastModule
from seqmodels.window import AbstractForecaster, Inputs, Targets


def small_waves(**arguments: Any) -> Waves:
    """200 waves: 140 windows to train (5 batches of 32), 40 to validate, 20 to test."""
    settings = {"series": 200, "split": [0.7, 0.2, 0.1], "split_by": "series", "past_steps": 20, "horizon": 5}
    return Waves(**(settings | arguments))


def small_module(data: Any, dropout: float = 0.0, seed: int = 0, **arguments: Any) -> ForecastModule:
    """A WaveNet of 4 filters with the one-cycle schedule, always from the same weights."""
    data.setup()
    torch.manual_seed(seed)
    backbone = partial(WaveNet, filters=4, dilations=(1, 2), stacks=1, dropout=dropout)
    forecaster = Forecaster(data.spec, affine.StandardScaler, backbone, direct.SeqToSeq, Point())
    return module_of(forecaster, data, **arguments)


def module_of(forecaster: AbstractForecaster, data: Any, **arguments: Any) -> ForecastModule:
    """A module that trains the forecaster with the one-cycle schedule."""
    schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1e-2)
    return ForecastModule(forecaster, data.spec, {}, partial(torch.optim.AdamW, lr=1e-2), schedule, **arguments)


def trained(model: Forecaster, batches: Callable[[int], tuple[Inputs, Targets]], steps: int, lr: float = 5e-3) -> None:
    """Take optimizer steps with Adam on the batches of ``batches``, without Lightning."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for step in range(steps):
        model.progress = step / steps
        loss = model.loss(*batches(step)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def fit(
    module: ForecastModule, data: Any, callbacks: list, ckpt_path: str | None = None, fast: bool = True, **arguments
) -> pl.Trainer:
    """Fit on the CPU as a run does; without checkpoint and progress unless a callback is there for it."""
    bar = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks)
    keeps = any(isinstance(callback, pl.callbacks.ModelCheckpoint) for callback in callbacks)
    quiet = {"enable_progress_bar": bar, "enable_checkpointing": keeps, "enable_model_summary": False}
    settings = {"accelerator": "cpu", "max_epochs": 3, "logger": False, "log_every_n_steps": 1} | quiet
    trainer = pl.Trainer(callbacks=callbacks, **(settings | arguments))
    if fast:
        loop.install(trainer)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def fit_waves(*callbacks: pl.Callback, dropout: float = 0.0, **arguments: Any) -> pl.Trainer:
    """Fit the small module on the small waves."""
    data = small_waves()
    return fit(small_module(data, dropout), data, list(callbacks), **arguments)


def flat_weights(module: torch.nn.Module) -> torch.Tensor:
    """All weights as one vector."""
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


class Recorder(pl.Callback):
    """Records learning rate and loss of each training batch."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.losses.append(outputs["loss"].item())


class Stop(Exception):
    """Ends a run as a crash does."""


class StopAt(pl.Callback):
    """Raises Stop after ``step`` optimizer steps, after all other callbacks; never if None."""

    def __init__(self, step: int | None):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if trainer.global_step == self.step:
            raise Stop
