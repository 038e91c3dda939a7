"""Process and machine of a run: threads, log levels, and the record needed to repeat the run."""

import ctypes
import json
import logging
import os
import platform
import subprocess
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from seqmodels.cli.secrets import mask_secrets
from seqmodels.config.targets import allowed_packages, locate_package
from seqmodels.errors import InputError
from seqmodels.report.output import echo

PACKAGES = ("torch", "lightning", "hydra-core", "torchmetrics", "numpy", "polars")
FULL = 32  # windows in the batch with which NARROW was measured
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
processes = 1  # jobs of a sweep that run at the same time
NARROW = 64  # up to this width a second thread gains little, and costs much if other processes run: see benchmarks


def silence_libraries() -> None:
    """Hide notices and warnings of the libraries; their errors and the lines of this project still appear."""
    for name in ("lightning.pytorch", "lightning.fabric", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


def prepare_process(config: DictConfig) -> None:
    """Silence the libraries, and say which packages besides this project's own may be built."""
    silence_libraries()
    for name in allowed_packages(config.allow):
        echo(f"allow={name}: classes of this package may be built, from {locate_package(name)}")


def set_threads(threads: int | str, model: nn.Module, batch: int = FULL) -> int:
    """Set and return the number of CPU threads; "auto" means 1 for a narrow model, else all cores.

    Threads share the work of matrix products, so the width of a model is that of its widest product. Batches of fewer
    than 32 windows count in proportion: a width of 128 with 8 windows counts as 32. Jobs of a sweep that run at the
    same time share the cores.

    Also keeps freed memory, and flushes denormal numbers to zero: they can slow a recurrent layer down twentyfold.

    Raises InputError unless ``threads`` is "auto" or at least 1.
    """
    if threads != "auto" and not (isinstance(threads, int) and threads >= 1):
        raise InputError(f"threads is {threads!r}; it must be 'auto' or a number of at least 1.")
    torch.set_flush_denormal(True)
    keep_freed_memory()
    width = max((min(weight.shape) for weight in model.parameters() if weight.dim() == 2), default=0)
    narrow = width * min(batch, FULL) <= NARROW * FULL
    count = (1 if narrow else max(1, count_cores() // processes)) if threads == "auto" else int(threads)
    torch.set_num_threads(count)
    return count


def keep_freed_memory() -> None:
    """Let the C library of Linux keep up to 1 GB of freed memory for the next step, instead of asking the system again.

    Fresh pages cost more than the arithmetic on them: with a batch of 256 windows, half the time of a recurrent layer.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        library.mallopt(M_TRIM_THRESHOLD, 1 << 30)


def count_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def record(config: DictConfig, command: str, directory: Path) -> dict[str, Any]:
    """Write config.yaml, command.txt and environment.json into the run directory; return the environment.

    A run resumed in its directory appends its command to the earlier ones. Raises InputError, before training begins,
    if the directory cannot be written.
    """
    environment = describe_environment(config.seed)
    commands = directory / "command.txt"
    earlier = commands.read_text(encoding="utf-8") if config.ckpt_path is not None and commands.exists() else ""
    files = {
        "config.yaml": to_yaml(config),
        "command.txt": earlier + command + "\n",
        "environment.json": json.dumps(environment, indent=2) + "\n",
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{directory}: the run directory cannot be written ({error.strerror}).") from error
    return environment


def to_yaml(config: DictConfig) -> str:
    """The resolved configuration of a run as YAML, without secrets and without the runs that it is compared with."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return OmegaConf.to_yaml(OmegaConf.create(mask_secrets({key: plain[key] for key in plain if key != "runs"})))


def describe_environment(seed: int) -> dict[str, Any]:
    """Versions, git revision, machine and seed, which a repetition needs besides the config."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "revision": git_revision(),
        "machine": platform.platform(),
        "cores": count_cores(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": seed,
    }


def git_revision() -> str | None:
    """The git revision of this code, with "-dirty" if files were changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
