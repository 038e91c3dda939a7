"""The course of a run: how long it trains, which weights it keeps, what it measures and writes at its end."""

import gc
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf

from seqmodels.checkpoint import KEY, read
from seqmodels.cli import environment
from seqmodels.cli.secrets import hidden
from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.inference.monte_carlo import dropout_on
from seqmodels.metrics import MEASURES, MODEL
from seqmodels.report.output import echo, show
from seqmodels.report.results import result_rows, write_results
from seqmodels.report.summary import summarise_data, summarise_model
from seqmodels.training import loop
from seqmodels.training.callbacks import scalars
from seqmodels.training.module import ForecastModule

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
FEWEST_EPOCHS, MOST_EPOCHS = 5, 500


def check_settings(config: DictConfig) -> None:
    """Raise InputError for a value of the keys that belong to no constructor."""
    if config.monitor not in monitors():
        raise InputError(f"monitor is {config.monitor!r}; it must be one of {', '.join(monitors())}.")
    if str(config.trainer.precision) not in PRECISIONS:
        raise InputError(f"trainer.precision is {config.trainer.precision}; it must be one of {', '.join(PRECISIONS)}.")
    if config.trainer.devices != 1:
        raise InputError(f"trainer.devices is {config.trainer.devices}; training runs on one device, so it must be 1.")
    if (config.trainer.gradient_clip_val or 0) < 0:
        raise InputError(f"trainer.gradient_clip_val is {config.trainer.gradient_clip_val}; it must not be negative.")
    if config.trainer.limit_val_batches == 0:
        raise InputError("trainer.limit_val_batches is 0; validation decides which weights are kept, so it must run.")
    if config.dropout_passes == 1:
        raise InputError("dropout_passes is 1; it must be 0, for none, or at least 2, for a deviation.")
    if isinstance(config.seed, int) and config.seed >= 2**32:
        raise InputError(f"seed is {config.seed}; it must be less than 2**32.")
    for name, least in (("seed", 0), ("optimizer_steps", 1), ("dropout_passes", 0)):
        if not isinstance(config[name], int) or isinstance(config[name], bool) or config[name] < least:
            raise InputError(f"{name} is {config[name]!r}; it must be a whole number of at least {least}.")


def monitors() -> list[str]:
    """Metrics that can decide which weights are the best: logged at every validation, and the smaller the better."""
    measures = [name for name, one in MEASURES.items() if one.smaller_is_better and not one.needs_naive]
    return [*(f"validation/{name}" for name in measures), "loss/validation"]


def prepare(config: DictConfig, name: str) -> tuple[Any, ForecastModule]:
    """The data, set up, and the module around the fresh model called ``name``, both shown; seeds every generator.

    Raises InputError for settings that cannot work, before anything is opened.
    """
    environment.quiet()
    check_settings(config)
    pl.seed_everything(config.seed, verbose=False)
    data = build(config.data)
    data.setup()
    show(summarise_data(data))
    module = ForecastModule(
        forecaster=build(config.model, spec=data.spec),
        spec=data.spec,
        config=plain(config.model),
        optimizer=build(config.optimizer),
        scheduler=build(config.scheduler),
        monitor=config.monitor,
    )
    show(summarise_model(module.forecaster, data.spec.past_steps, name))
    if config.dropout_passes and any(parameter.requires_grad for parameter in module.parameters()):
        with dropout_on(module.forecaster):  # refuses a model without dropout before it is trained
            pass
    environment.set_threads(config.threads, module.forecaster, data.loaders["train"].batch_size)
    return data, module


def trainable(module: ForecastModule) -> bool:
    """Whether there is anything to train; if so its optimizer is tried once, to refuse bad settings early."""
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return False
    module.new_optimizer()
    return True


def accelerator(config: DictConfig) -> str:
    """``trainer.accelerator``, where "auto" is a CUDA device or the CPU: others lack 64-bit numbers for the errors."""
    chosen = config.trainer.accelerator
    return "cpu" if chosen == "auto" and not torch.cuda.is_available() else chosen


def epochs(config: DictConfig, batches: int) -> int | None:
    """``trainer.max_epochs``, or where neither it nor ``max_steps`` is set, as many as make ``optimizer_steps``."""
    if config.trainer.max_epochs is not None or config.trainer.max_steps != -1:
        return config.trainer.max_epochs
    limit = config.trainer.limit_train_batches
    limited = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = max(1, math.ceil(limited / config.trainer.accumulate_grad_batches))
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(config.optimizer_steps / steps)))


def check_resume(ckpt_path: str | None, module: ForecastModule) -> None:
    """Raise InputError unless the checkpoint, if any, can be read and has weights of the module's names and shapes."""
    if ckpt_path is None:
        return
    checkpoint = read(ckpt_path)
    given, wanted = (
        {name: tuple(weight.shape) for name, weight in weights.items()}
        for weights in (checkpoint["state_dict"], module.state_dict())
    )
    differing = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
    if differing:
        name = differing[0]
        raise InputError(
            f"ckpt_path={ckpt_path} does not fit the model: {name} has shape {given.get(name, 'none')} there and"
            f" {wanted.get(name, 'none')} here; resume with the model and data of the run that wrote it."
        )
    before, now = checkpoint[KEY]["spec"], module.spec.to_dict()
    for name in now:
        if before.get(name) != now[name]:
            raise InputError(
                f"ckpt_path={ckpt_path} was written on other data: {name} was {before.get(name)} and is {now[name]};"
                " resume with the data of that run."
            )


def fit(trainer: pl.Trainer, module: ForecastModule, data: Any, ckpt_path: str | None) -> None:
    """Train from the start or from a checkpoint, then put the best weights back, and say which they are."""
    if ckpt_path is not None:
        done = read(ckpt_path)["epoch"] + 1
        echo(f"Resuming from {ckpt_path}, epoch {done}.")
        if trainer.max_epochs is not None and done >= trainer.max_epochs > 0:
            echo(f"Nothing is left to train: trainer.max_epochs is {trainer.max_epochs}.")
    loop.install(trainer)
    started = time.perf_counter()
    gc.collect()
    gc.freeze()  # what the libraries have loaded stays: going through it again and again costs 10 % of a small model
    try:
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    finally:
        gc.unfreeze()
    module.fit_seconds = time.perf_counter() - started
    keeper = trainer.checkpoint_callback
    kept = getattr(keeper, "best_model_path", "") if getattr(keeper, "monitor", None) else ""
    if not kept:
        echo("Testing the weights of the last step: no best checkpoint was kept.")
        return
    best = read(kept)
    module.load_state_dict(best["state_dict"])
    module.best_epoch = best["epoch"] + 1
    echo(f"Testing the best checkpoint, epoch {module.best_epoch} of {trainer.current_epoch}: {shown(Path(kept))}")


def evaluate(trainer: pl.Trainer, module: ForecastModule, data: Any) -> None:
    """Measure model and references on the validation and test windows, into ``module.results``."""
    for module.stage in ("validation", "test"):
        if data.windows[module.stage]:
            trainer.test(module, dataloaders=data.loaders[module.stage], verbose=False)


def finish(
    config: DictConfig,
    directory: Path,
    trainer: pl.Trainer,
    module: ForecastModule,
    data: Any,
    name: str,
    started: float,
) -> float:
    """Write metrics.json, metrics.csv and the loggers' summary; returns the monitored value of the kept weights."""
    value = monitored(config.monitor, module, trainer)
    rows = result_rows(module.results, module.measured, name, data.spec.channels)
    summary = {
        "model": name,
        "monitor": {"name": config.monitor, "value": value},
        "best_epoch": module.best_epoch,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "parameters": sum(parameter.numel() for parameter in module.forecaster.parameters()),
        "fit_seconds": round(module.fit_seconds, 3),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_results(directory, summary, rows)
    own = {
        f"{row['stage']}/{m}": row[m]
        for row in rows
        if row["row"] == name and row["channel"] == "all"
        for m in MEASURES
    }
    scalars.log_hyperparameters(trainer.loggers, hidden(plain(config)), own)
    echo(f"Everything about this run is in {shown(directory)}")
    return value


def monitored(name: str, module: ForecastModule, trainer: pl.Trainer) -> float:
    """The monitored figure on the validation windows, for the weights that were kept."""
    if name == "loss/validation":
        score = getattr(trainer.checkpoint_callback, "best_model_score", None)
        return float("nan") if score is None else float(score)
    return module.results["validation"][MODEL].summary()[name.removeprefix("validation/")]


def plain(config: Any) -> Any:
    """A config node as dictionaries, lists and primitives, resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def shown(path: Path) -> Path:
    """A path as the user would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
