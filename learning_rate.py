"""Look for a learning rate: train the model of ``train.py`` with rising rates, suggest one, and show why.

It takes the keys of ``train.py`` and those of ``rates``. The weights and the order of the data are those with which
training by the same seed would begin; nothing is validated, and the scheduler waits for the training proper.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch
from seqmodels.errors import InputError

OWN = ("optimizer.lr=", "rates.", "hydra.")  # keys that are not repeated in the command that trains


def sweep(config: DictConfig, directory: Path, name: str, overrides: Sequence[str] = ()) -> float:
    """One sweep in ``directory``; returns the suggested learning rate."""
    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.report import output, plotting
    from seqmodels.training import lr_finder

    started = time.monotonic()
    if config.ckpt_path is not None:
        raise InputError(f"ckpt_path is {config.ckpt_path}; a sweep of learning rates begins with fresh weights.")
    raising = build(config.rates)
    data, module = run.prepare(config, name)
    if not run.trainable(module):
        raise InputError(f"model={name} has no weights to train, so there is no learning rate to look for.")
    environment.record(config, overrides, directory, "learning_rate.py")
    fit(config, directory, module, data, raising)
    curve = raising.curve()
    found = lr_finder.suggest(curve)
    plotting.save_figure(
        lr_finder.plot_curve(curve, found, f"Learning rate of {name}"), directory / "learning_rate.png"
    )
    parameters = sum(parameter.numel() for parameter in module.forecaster.parameters())
    described = {"model": name, "parameters": parameters, "seconds": round(time.monotonic() - started, 3)}
    lr_finder.write_curve(curve, found, directory, described)
    if found is None:
        raise InputError(lr_finder.no_suggestion(curve))
    kept = [override for override in overrides if not override.lstrip("+").startswith(OWN)]
    output.echo(lr_finder.explain(curve, found))
    output.echo(f"Suggested: {environment.command([*kept, f'optimizer.lr={found.rate:g}'])}")
    output.echo(f"Everything about this sweep is in {run.shown(directory)}")
    return found.rate


def fit(config: DictConfig, directory: Path, module: Any, data: Any, raising: Any) -> None:
    """Train as configured, but with the learning rates that the callback ``raising`` sets, and without validation."""
    from seqmodels.cli import run
    from seqmodels.config.build import build
    from seqmodels.training import loop

    trainer = build(
        config.trainer,
        accelerator=run.accelerator(config),
        max_epochs=-1,
        max_steps=raising.steps + 1,  # the loss after the last rate is that of one more step
        max_time=None,
        fast_dev_run=False,
        limit_val_batches=0,
        callbacks=[raising],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=directory,
    )
    module.scheduler = None
    loop.install(trainer)
    trainer.fit(module, datamodule=data)


@hydra.main(version_base="1.3", config_path="conf", config_name="learning_rate")
@launch.job
def main(config: DictConfig) -> float:
    """Entry point of one job."""
    job = HydraConfig.get()
    return sweep(config, Path(job.runtime.output_dir), job.runtime.choices["model"], job.overrides.task)


if __name__ == "__main__":
    launch.run(main, config_name="learning_rate")
