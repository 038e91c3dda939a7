"""``seqmodels train``: train a model, test its best checkpoint and write the results."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seqmodels.cli import environment
from seqmodels.cli.assemble import assemble
from seqmodels.cli.launch import Job
from seqmodels.signals import Interrupted
from seqmodels.training.callbacks import scalars
from seqmodels.training.run import Run


def train(config: DictConfig, job: Job) -> float:
    """Train once and return ``config.monitor`` of the kept weights on the validation windows."""
    if gc.get_freeze_count() == 0:  # the libraries are loaded and stay, in all jobs of a sweep
        gc.freeze()
    chosen = {key: _typed(config, key, value) for key, value in job.chosen.items()}
    return run_training(config, job.directory, job.model, job.command(), job.resume, chosen)[1]


def _typed(config: DictConfig, key: str, text: str) -> Any:
    """The number that the config has at ``key``, or the text that the user wrote."""
    value = None if "/" in key else OmegaConf.select(config, key)
    return value if isinstance(value, (int, float)) else text


def run_training(
    config: DictConfig,
    directory: Path,
    name: str,
    command: str,
    resume: Callable[[Path], str],
    chosen: Mapping[str, Any],
    **data: Any,
) -> tuple[Run, float]:
    """Run in ``directory`` and return the run with its monitored value.

    ``command``, which repeats the run, is recorded. ``resume`` gives the command that continues from a checkpoint, for
    the message of ``Interrupted``, which a signal raises. ``chosen``: the settings of the user by key.
    """
    run = assemble(config, directory, name, **data)
    if not (run.nothing_left and (directory / "config.yaml").exists()):  # config.yaml tells what was trained
        recorded = environment.record(config, command, directory)
        scalars.log_config(run.trainer.loggers, environment.to_yaml(config), recorded)
    try:
        return run, run.complete(chosen)
    except Interrupted as stop:
        saved = run.last_checkpoint
        further = f"continue with: {resume(saved)}" if saved else "no checkpoint was written yet"
        raise Interrupted(stop.number, f" {run.progress}; {further}") from stop
