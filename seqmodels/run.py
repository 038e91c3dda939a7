"""A run: its directory, the process it lives in, how long it trains and what is measured at its end."""

import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from seqmodels.callbacks import scalars
from seqmodels.checkpoint import read
from seqmodels.errors import InputError
from seqmodels.module import MODEL, ForecastModule
from seqmodels.report import MEASURES, result_rows, say, write_results
from seqmodels.window import WindowSpec

PACKAGES = ("torch", "lightning", "hydra-core", "torchmetrics", "numpy", "polars")
SECRET = ("token", "secret", "password", "api_key")
MONITORS = ("validation/mase", "validation/mae", "validation/mse", "validation/rmse", "loss/validation")
NARROW = 96  # up to this width a second thread costs more than it brings: see benchmarks/threads.py


STARTED = time.monotonic()


class WindowSource(Protocol):
    """What a run asks of its data, whatever DataModule it is."""

    windows: dict[str, int]
    loaders: dict[str, Any]
    spec: WindowSpec


def quiet() -> None:
    """Keep from the terminal what the libraries print about themselves; errors and our own lines stay."""
    for name in ("lightning.pytorch", "lightning.fabric", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


def plain(config: Any) -> Any:
    """A config node as dictionaries, lists and primitives, resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def yaml(config: DictConfig) -> str:
    """The resolved configuration as YAML, with the values of keys that look like secrets hidden."""
    return OmegaConf.to_yaml(OmegaConf.create(_hide(plain(config))))


def _hide(node: Any) -> Any:
    if isinstance(node, dict):
        secret = {key for key in node if any(word in str(key).lower() for word in SECRET)}
        return {key: "***" if key in secret and value is not None else _hide(value) for key, value in node.items()}
    return [_hide(value) for value in node] if isinstance(node, list) else node


def describe_environment(seed: int) -> dict[str, Any]:
    """Versions, git revision, machine and seed: what a repetition needs besides the config."""
    root = Path(__file__).parent.parent
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    found = subprocess.run(git, capture_output=True, text=True, check=False) if (root / ".git").exists() else None
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "revision": found.stdout.strip() if found and found.returncode == 0 else None,
        "machine": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": seed,
    }


def set_threads(threads: int | str, model: nn.Module) -> int:
    """Set and return the number of CPU threads; "auto" means 1 for a model narrow enough, else all cores.

    Also flushes denormal numbers to zero, which can slow a recurrent layer down twentyfold.

    Raises InputError unless ``threads`` is "auto" or at least 1.
    """
    if threads != "auto" and not (isinstance(threads, int) and threads >= 1):
        raise InputError(f"threads is {threads!r}; it must be 'auto' or a number of at least 1.")
    torch.set_flush_denormal(True)
    width = getattr(getattr(model, "backbone", None), "size", 0)
    count = (1 if width <= NARROW else cores()) if threads == "auto" else int(threads)
    torch.set_num_threads(count)
    return count


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_monitor(name: str) -> None:
    """Raise InputError unless ``name`` is a validation figure of which less is better."""
    if name not in MONITORS:
        raise InputError(f"monitor is {name!r}; it must be one of {', '.join(MONITORS)}.")


def length(config: DictConfig, steps_per_epoch: int) -> int:
    """``trainer.max_epochs``, or where it is null, as many as make about ``optimizer_steps`` steps: 5 to 500."""
    if config.trainer.max_epochs is not None or config.trainer.max_steps != -1:
        return config.trainer.max_epochs
    return min(500, max(5, round(config.optimizer_steps / max(1, steps_per_epoch))))


def start(config: DictConfig, directory: Path) -> dict[str, Any]:
    """Write config.yaml, command.txt and environment.json into the run directory; returns the environment.

    Raises InputError where the directory cannot be written: better now than at the first checkpoint.
    """
    environment = describe_environment(config.seed)
    files = {
        "config.yaml": yaml(config),
        "command.txt": shlex.join(["python", *sys.argv]) + "\n",
        "environment.json": json.dumps(environment, indent=2) + "\n",
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{directory}: the run directory cannot be written ({error.strerror}).") from error
    return environment


def fit(trainer: pl.Trainer, module: ForecastModule, data: WindowSource, ckpt_path: str | None) -> None:
    """Train from the start or from a checkpoint, then put the best weights back, and say which they are."""
    if ckpt_path is not None:
        epoch = read(ckpt_path)["epoch"] + 1
        say(f"Resuming from {ckpt_path}, after epoch {epoch}.")
        if trainer.max_epochs is not None and epoch >= trainer.max_epochs > 0:
            say(f"Nothing is left to train: trainer.max_epochs is {trainer.max_epochs}.")
    started = time.perf_counter()
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    module.fit_seconds = time.perf_counter() - started
    kept = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not kept:
        say("Testing the weights of the last step: no checkpoint was kept.")
        return
    best = read(kept)
    module.load_state_dict(best["state_dict"])
    module.best_epoch = best["epoch"] + 1
    say(f"Testing the best checkpoint, of epoch {module.best_epoch} of {trainer.current_epoch}: {kept}")


def evaluate(trainer: pl.Trainer, module: ForecastModule, data: WindowSource) -> None:
    """Measure model and references on the validation and test windows, into ``module.results``."""
    for module.stage in ("validation", "test"):
        if data.windows[module.stage]:
            trainer.test(module, dataloaders=data.loaders[module.stage], verbose=False)


def finish(
    config: DictConfig, directory: Path, trainer: pl.Trainer, module: ForecastModule, data: WindowSource, name: str
) -> float:
    """Write metrics.json, metrics.csv and the loggers' summary; returns the monitored value of the kept weights."""
    value = monitored(config.monitor, module, trainer)
    rows = result_rows(module.results, data.windows, name, data.spec.channels)
    summary = {
        "model": name,
        "monitor": {"name": config.monitor, "value": value},
        "best_epoch": module.best_epoch,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "fit_seconds": round(module.fit_seconds, 3),
        "seconds": round(time.monotonic() - STARTED, 3),
        "parameters": sum(p.numel() for p in module.forecaster.parameters()),
    }
    write_results(directory, summary, rows)
    own = [row for row in rows if row["row"] == name and row["channel"] == "all"]
    scalars.write_hparams(
        trainer.loggers, _hide(plain(config)), {f"{row['stage']}/{m}": row[m] for row in own for m in MEASURES}
    )
    say(f"Everything about this run is in {directory}")
    return value


def monitored(name: str, module: ForecastModule, trainer: pl.Trainer) -> float:
    """The monitored figure on the validation windows, for the weights that were kept."""
    if name == "loss/validation":
        score = getattr(trainer.checkpoint_callback, "best_model_score", None)
        return float("nan") if score is None else float(score)
    return module.results["validation"][MODEL].summary()[name.removeprefix("validation/")]
