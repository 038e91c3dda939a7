"""``seqmodels train``: train a model, test its best checkpoint and write the results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import assemble, to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.secrets import mask_secrets
from seqmodels.signals import Interrupted
from seqmodels.training.callbacks import scalars
from seqmodels.training.run import Run


def train(config: DictConfig, job: Job) -> float:
    """Train once and return ``config.monitor`` of the kept weights on the validation windows."""
    return run_training(config, job.directory, job.model, job.command(), job.resume)[1]


def run_training(
    config: DictConfig, directory: Path, name: str, command: str, resume: Callable[[Path], str], **data: Any
) -> tuple[Run, float]:
    """Run in ``directory`` and return the run with its monitored value.

    ``command``, which repeats the run, is recorded. ``resume`` gives the command that goes on from a checkpoint, for
    the message of ``Interrupted``, which a signal raises.
    """
    run = assemble(config, directory, name, **data)
    recorded = environment.record(config, command, directory)
    scalars.log_config(run.trainer.loggers, environment.to_yaml(config), recorded)
    try:
        return run, run.complete(mask_secrets(to_plain(config)))
    except Interrupted as stop:
        saved = run.last_checkpoint
        further = f"go on with: {resume(saved)}" if saved else "no checkpoint was written yet"
        raise Interrupted(stop.number, f" {run.progress}; {further}") from stop
