"""Assembly of a run from a composed config; the code below works with built objects and never sees a config."""

import math
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf

from datamodules.base import WindowDataModule
from seqmodels.cli import environment
from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.inference.monte_carlo import dropout_on
from seqmodels.report.output import echo, show
from seqmodels.report.summary import summarise_data, summarise_model
from seqmodels.training.callbacks.interrupt import StopOnSignal
from seqmodels.training.module import ForecastModule
from seqmodels.training.run import LAST, Plan, Run, check_resume

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
FEWEST_EPOCHS, MOST_EPOCHS = 5, 500


def read_plan(config: DictConfig) -> Plan:
    """Read the plan and check the settings of the trainer; raises InputError for a value that cannot work."""
    trainer = config.trainer
    if str(trainer.precision) not in PRECISIONS:
        raise InputError(f"trainer.precision is {trainer.precision}; it must be one of {', '.join(PRECISIONS)}.")
    if trainer.devices != 1:
        raise InputError(f"trainer.devices is {trainer.devices}; training runs on one device, so it must be 1.")
    if (trainer.gradient_clip_val or 0) < 0:
        raise InputError(f"trainer.gradient_clip_val is {trainer.gradient_clip_val}; it must not be negative.")
    if trainer.limit_val_batches == 0:
        raise InputError("trainer.limit_val_batches is 0; validation decides which weights are kept, so it must run.")
    return Plan(**{one.name: config[one.name] for one in fields(Plan)})


def prepare(config: DictConfig, name: str, **data: Any) -> tuple[WindowDataModule, ForecastModule]:
    """Seed all generators, set up the data, build the model called ``name`` with its module, and print summaries.

    ``data`` holds arguments of the DataModule that a config cannot hold, such as a data frame. Raises InputError for
    settings that cannot work, before any file is opened.
    """
    environment.prepare_process(config)
    plan = read_plan(config)
    pl.seed_everything(plan.seed, verbose=False)
    datamodule: WindowDataModule = build(config.data, **data)
    datamodule.setup()
    show(summarise_data(datamodule))
    if plan.monitor == "validation/mase" and not datamodule.has_mase("validation"):
        config.monitor = "validation/mae"  # callbacks read it from here, and config.yaml records it
        echo("MASE is undefined for all validation windows: monitor=validation/mae instead of validation/mase.")
    module = ForecastModule(
        forecaster=build(config.model, spec=datamodule.spec),
        spec=datamodule.spec,
        config=to_plain(config.model),
        optimizer=build(config.optimizer),
        scheduler=build(config.scheduler),
        monitor=config.monitor,
        seasonal_errors=datamodule.seasonal_errors,
    )
    show(summarise_model(module.forecaster, datamodule.spec.past_steps, name))
    if plan.dropout_passes and module.trainable:
        with dropout_on(module.forecaster):  # raises for a model without dropout before training begins
            pass
    environment.set_threads(plan.threads, module.forecaster, datamodule.train_dataloader().batch_size)
    return datamodule, module


def assemble(config: DictConfig, directory: Path, name: str, **data: Any) -> Run:
    """Build the run, ready for ``complete``; ``data`` as in ``prepare``."""
    started = time.monotonic()
    datamodule, module = prepare(config, name, **data)
    if module.trainable:
        module.new_optimizer()  # raises early for settings that the optimizer rejects
    plan = read_plan(config)
    check_resume(plan.ckpt_path, module)
    callbacks = [build(node) for node in config.callbacks.values() if node is not None]
    keeps = any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks)
    trainer = build_trainer(
        config,
        directory,
        max_epochs=count_epochs(config, batches=len(datamodule.train_dataloader())),
        callbacks=[*callbacks, StopOnSignal(directory / LAST)] if keeps else callbacks,
        logger=[build(node) for node in config.logger.values() if node is not None],
        enable_checkpointing=keeps,
    )
    return Run(name, directory, datamodule, module, trainer, plan, started)


def build_trainer(config: DictConfig, directory: Path, **changes: Any) -> pl.Trainer:
    """Build the configured trainer, with ``changes`` to its arguments; "auto" selects a CUDA device or the CPU.

    Other accelerators lack the 64-bit numbers in which errors are summed.
    """
    chosen = config.trainer.accelerator
    return build(
        config.trainer,
        accelerator="cpu" if chosen == "auto" and not torch.cuda.is_available() else chosen,
        enable_model_summary=False,
        default_root_dir=directory,
        **changes,
    )


def count_epochs(config: DictConfig, batches: int) -> int | None:
    """``trainer.max_epochs``; if neither it nor ``max_steps`` is set, the number that gives ``optimizer_steps``."""
    if config.trainer.max_epochs is not None or config.trainer.max_steps != -1:
        return config.trainer.max_epochs
    limit = config.trainer.limit_train_batches
    limited = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = max(1, math.ceil(limited / config.trainer.accumulate_grad_batches))
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(config.optimizer_steps / steps)))


def to_plain(config: Any) -> Any:
    """Convert a config node to resolved dictionaries, lists and primitives."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
