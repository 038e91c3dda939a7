"""Assembly of a run from a composed config; the code below works with built objects and never sees a config."""

import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf

from datamodules.base import WindowDataModule
from seqmodels import checkpoint
from seqmodels.class_metrics import CLASS_MEASURES, STEP_MEASURES, new_scores
from seqmodels.cli import environment, resume
from seqmodels.cli.recipe import count_batches, describe_length, plan_epochs, settle
from seqmodels.config.build import build
from seqmodels.config.compose import packaged_folder
from seqmodels.ensemble import model_node
from seqmodels.errors import InputError
from seqmodels.inference.forecast import find_checkpoint
from seqmodels.inference.monte_carlo import dropout_on
from seqmodels.kernels.build import choose_kernels
from seqmodels.metrics import MEASURES
from seqmodels.report.output import echo, show, warn_once
from seqmodels.report.summary import summarise_data, summarise_model
from seqmodels.training.callbacks.resume import StopOnSignal
from seqmodels.training.module import ForecastModule
from seqmodels.training.run import LAST, RIVALS, Plan, Run
from seqmodels.window import AbstractForecaster, WindowSpec

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
RATES = ("optimizer.lr", "scheduler.max_lr")


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
    check_counts(trainer)
    for key in RATES:
        rate = OmegaConf.select(config, key)
        if rate is not None and not (isinstance(rate, (int, float)) and rate > 0):
            raise InputError(f"{key} is {rate}; it must be a number greater than 0.")
    return Plan(**{one.name: config[one.name] for one in fields(Plan)})


def check_counts(trainer: DictConfig) -> None:
    """Raise InputError for a number of steps, batches or epochs with which the trainer trains or measures nothing."""
    for name in ("max_epochs", "max_steps", "accumulate_grad_batches", "check_val_every_n_epoch"):
        value, unlimited = trainer.get(name), name.startswith("max_")
        if value is not None and value < 1 and not (unlimited and value == -1):
            raise InputError(f"trainer.{name} is {value}; it must be at least 1{', or -1 for no limit' * unlimited}.")
    for name in ("limit_train_batches", "limit_test_batches", "val_check_interval"):
        if trainer.get(name) == 0:
            raise InputError(f"trainer.{name} is 0; it must be greater than 0.")
    if trainer.get("num_nodes", 1) != 1:
        raise InputError(f"trainer.num_nodes is {trainer.num_nodes}; training runs on one device, so it must be 1.")


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
    monitor = choose_monitor(plan.monitor, datamodule)
    node = partial(model_node, ensemble=plan.ensemble, seed=plan.seed, combine=plan.combine)
    plain = node(to_plain(config.model))
    filling = read_imputer(config.data.impute) if config.data.get("impute") else None
    if filling is not None:
        parts = {"model": {**plain, "_partial_": True}, "imputer": {**filling["model"], "_partial_": True}}
        plain = {"_target_": "seqmodels.imputed.Imputed", **parts, "gaps": filling["spec"]}
    forecaster = build(plain, "model", config.allow, spec=datamodule.spec)
    if filling is not None:
        forecaster.imputer.load_state_dict(filling["weights"])
    refuse_kind(name, forecaster.singles[0], datamodule.spec)
    chosen = settle(config, datamodule, forecaster.singles[0] if isinstance(plan.ensemble, int) else forecaster)
    module = ForecastModule(
        forecaster=forecaster,
        spec=datamodule.spec,
        config=plain,
        optimizer=build(config.optimizer),
        scheduler=build(config.scheduler),
        monitor=monitor,
        seasonal_errors=datamodule.denominators["validation"],
        data=datamodule.encoder().to_dict(),
    )
    show(summarise_model(module.forecaster, datamodule.spec.past_steps, name))
    if chosen.row_count:
        show(chosen)
    if plan.dropout_passes and module.trainable:
        with dropout_on(module.forecaster):  # raises for a model without dropout before training begins
            pass
    choose_kernels(plan.kernels)
    environment.set_threads(plan.threads, module.forecaster, datamodule.train_dataloader().batch_size)
    return datamodule, module


def read_imputer(path: str) -> dict[str, Any]:
    """Config, spec and weights of a trained model that fills gaps."""
    saved = checkpoint.read(find_checkpoint(path))
    described, prefix = saved[checkpoint.KEY], f"{checkpoint.KEY}."
    weights = {key.removeprefix(prefix): one for key, one in saved["state_dict"].items() if key.startswith(prefix)}
    return {"model": described["model"], "spec": described["spec"], "weights": weights}


FITTING = {"ahead": ("data=csv", "auto"), "past": ("data=gaps", "fill")}  # data and the usual model, by kind of target
LABELLING = ("data=sequences", "classifier")


def refuse_kind(name: str, model: AbstractForecaster, spec: WindowSpec) -> None:
    """Raise InputError for a model that does not predict what the data ask for."""
    if spec.kind not in model.kinds:
        (data, usual), (own, _) = (FITTING.get(kind, LABELLING) for kind in (spec.kind, model.kinds[0]))
        raise InputError(f"model={name} is for {own}, and not for {data}, which needs one such as model={usual}.")


def choose_monitor(monitor: str, data: WindowDataModule) -> str:
    """The monitored metric: the given one, or, with a message, the usual one if the default does not apply.

    Raises InputError for a metric of another kind of target.
    """
    measures = new_scores(data.spec).measures
    name = monitor.removeprefix("validation/")
    if name == "mase" and not data.has_mase("validation"):
        other = "validation/log_loss" if "log_loss" in measures else "validation/mae"
        undefined = "MASE is undefined for all validation windows: " if data.spec.ahead else ""
        echo(f"{undefined}monitor={other} instead of validation/mase.")
        return other
    if name not in measures and monitor != "loss/validation":
        choices = [f"validation/{key}" for key, one in measures.items() if one.smaller_is_better]
        raise InputError(
            f"monitor is {monitor}, which does not measure {' and '.join(data.spec.predicted[:3])}; it may be"
            f" {', '.join(choices)} or loss/validation."
        )
    return monitor


def assemble(config: DictConfig, directory: Path, name: str, **data: Any) -> Run:
    """Build the run, ready for ``complete``; ``data`` as in ``prepare``."""
    started = time.monotonic()
    datamodule, module = prepare(config, name, **data)
    if module.trainable:
        module.new_optimizer()  # raises early for settings that the optimizer rejects
    epochs = plan_epochs(config, datamodule)
    if module.trainable and epochs is not None and config.trainer.max_epochs is None:
        echo(describe_length(config, datamodule, epochs))
    config = config.copy()
    for node in config.callbacks.values():  # of a resolved config, they do not refer to it
        if node and node.get("monitor") == config.monitor:
            node.monitor = module.monitor
    config.monitor = module.monitor
    plan = read_plan(config)
    if plan.ckpt_path is not None:
        plan = replace(plan, ckpt_path=resume.checkpoint_of(plan.ckpt_path, directory))
    module.recorded = {"settings": resume.decisive_settings(config), "data": datamodule.fingerprint()}
    module.restarts_schedule = plan.ckpt_path is not None and plan.resume_schedule == "restart"
    callbacks = build_callbacks(config)
    batches = len(datamodule.train_dataloader())
    check_validation(config, batches, epochs)
    keeps = any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks)
    trainer = build_trainer(
        config,
        directory,
        max_epochs=epochs,
        callbacks=[*callbacks, StopOnSignal(directory / LAST)] if keeps else callbacks,
        logger=[build(node) for node in config.logger.values() if node is not None],
        enable_checkpointing=keeps,
    )
    rivals = build_rivals(plan, datamodule.spec) if module.trainable else {}
    run = Run(name, directory, datamodule, module, trainer, plan, rivals, started)
    resume.check_resume(run)
    return run


def build_rivals(plan: Plan, spec: WindowSpec) -> dict[str, AbstractForecaster]:
    """Build the models that ``rivals`` names for this kind of target, with the settings of their files."""
    names = [name for name in plan.rival_names if RIVALS[name] == spec.kind]
    nodes = {name: OmegaConf.load(packaged_folder() / "model" / f"{name}.yaml") for name in names}
    return {name: build(to_plain(node), "model", spec=spec) for name, node in nodes.items()}


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


def build_callbacks(config: DictConfig) -> list[pl.Callback]:
    """The configured callbacks; raises InputError for a patience below 0, warns of a mode that keeps the worst."""
    callbacks = {f"callbacks.{name}": build(node) for name, node in config.callbacks.items() if node is not None}
    every = {**MEASURES, **CLASS_MEASURES, **STEP_MEASURES}
    modes = {f"validation/{name}": "min" if one.smaller_is_better else "max" for name, one in every.items()}
    modes["loss/validation"] = "min"
    for key, callback in callbacks.items():
        monitor, mode = str(getattr(callback, "monitor", "")), getattr(callback, "mode", "")
        if mode and mode != modes.get(monitor, mode):
            warn_once(f"{key}.mode is {mode}, but the best {monitor} has mode={modes[monitor]}.")
        if getattr(callback, "patience", 0) < 0:
            raise InputError(f"{key}.patience is {getattr(callback, 'patience', None)}; it must be at least 0.")
    return list(callbacks.values())


def check_validation(config: DictConfig, batches: int, epochs: int | None) -> None:
    """Raise InputError if no training or no validation would run in ``epochs`` of at most ``batches`` batches."""
    limit, batches = config.trainer.limit_train_batches, count_batches(config, batches)
    if batches == 0:
        raise InputError(f"trainer.limit_train_batches is {limit}, which leaves no batch of an epoch; raise it.")
    every, interval = config.trainer.check_val_every_n_epoch, config.trainer.val_check_interval
    if every is not None and epochs is not None and 0 < epochs < every:
        raise InputError(
            f"trainer.check_val_every_n_epoch is {every}; it must be at most the {epochs} epochs of the run."
        )
    if every is not None and isinstance(interval, int) and interval > batches:
        raise InputError(
            f"trainer.val_check_interval is {interval}; it must be at most the {batches:,} batches of an epoch."
        )


def to_plain(config: Any) -> Any:
    """Convert a config node to resolved dictionaries, lists and primitives."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
