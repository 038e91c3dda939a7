"""``seqmodels find-lr``: train with rising learning rates, suggest one, and show why.

The keys are those of ``train`` and of ``rates``. Initial weights and the order of the data are those of training with
the same seed; there is no validation and no scheduler.
"""

import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import build_trainer, prepare
from seqmodels.cli.launch import Job
from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.report import output, plotting
from seqmodels.training import loop, lr_finder
from seqmodels.training.run import fit_closed_parts, relative_to_here

LEFT_OUT = ("optimizer.lr=", "rates.", "hydra.")  # overrides that are not repeated in the training command


def find_lr(config: DictConfig, job: Job) -> float:
    """Sweep over learning rates, write the curve into the run directory and return the suggested rate."""
    started = time.monotonic()
    if config.ckpt_path is not None:
        raise InputError(f"ckpt_path is {config.ckpt_path}; a sweep of learning rates starts from new weights.")
    finder = build(config.rates)
    data, module = prepare(config, job.model)
    if not module.trainable:
        raise InputError(f"model={job.model} has no weights to train, so there is no learning rate to look for.")
    module.new_optimizer()  # raises early for settings that the optimizer rejects
    environment.record(config, job.command(), job.directory)
    train_with_rising_rates(config, job.directory, module, data, finder)
    curve = finder.curve()
    found = lr_finder.suggest(curve)
    figure = lr_finder.plot_curve(curve, found, f"Learning rate of {job.model}")
    plotting.save_figure(figure, job.directory / "learning_rate.png")
    parameters = sum(parameter.numel() for parameter in module.forecaster.parameters())
    described = {"model": job.model, "parameters": parameters, "seconds": round(time.monotonic() - started, 3)}
    lr_finder.write_curve(curve, found, job.directory, described)
    if found is None:
        raise InputError(lr_finder.no_suggestion(curve))
    output.echo(lr_finder.explain(curve, found))
    output.echo(f"Suggested: {job.train(without=LEFT_OUT, more=[f'optimizer.lr={found.rate:g}'])}")
    output.echo(f"Everything about this sweep is in {relative_to_here(job.directory)}")
    return found.rate


def train_with_rising_rates(config: DictConfig, directory: Path, module: Any, data: Any, finder: Any) -> None:
    """Train as configured, except for the learning rates set by the callback ``finder``, without validation."""
    trainer = build_trainer(
        config,
        directory,
        max_epochs=-1,
        max_steps=finder.steps + 1,  # one more step gives the loss after the last rate
        max_time=None,
        fast_dev_run=False,
        limit_val_batches=0,
        callbacks=[finder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    module.scheduler = None
    loop.install(trainer)
    fit_closed_parts(module.forecaster, data)
    trainer.fit(module, datamodule=data)
