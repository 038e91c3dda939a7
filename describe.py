"""Describe a data set before training: its contents, repairs and behaviour, and the window that suits it.

It takes the keys of ``train.py`` and those of ``description``. No model is built. It writes ``description.html``, the
figures and ``metrics.json`` into a run directory, and prints the command that trains with the suggested settings.
"""

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch

SUGGESTED = ("data.past_steps=", "data.horizon=", "data.season=")
LEFT_OUT = (*SUGGESTED, "description.", "hydra.")  # keys that are not repeated in the training command


def describe(config: DictConfig, directory: Path, overrides: Sequence[str] = ()) -> None:
    """Describe the data of ``config`` and write the description into ``directory``."""
    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.description import page, profile
    from seqmodels.report import output

    environment.quiet()
    run.check_settings(config)
    options = build(config.description)
    data, warning = profile.set_up_data(config.data)
    description = profile.describe(data, options, config.seed)
    environment.record(config, overrides, directory, "describe.py")
    kept = [override for override in overrides if not override.lstrip("+").startswith(LEFT_OUT)]
    command = environment.command([*kept, *description.advice.overrides])
    output.show(page.summary(description, warning))
    written = page.write(description, directory, options.drawn, command, warning)
    output.echo(f"To train with it: {command}")
    for path in written:
        output.echo(f"Written: {run.shown(path)}")


@hydra.main(version_base="1.3", config_path="conf", config_name="describe")
@launch.job
def main(config: DictConfig) -> None:
    """Entry point of one job."""
    job = HydraConfig.get()
    describe(config, Path(job.runtime.output_dir), job.overrides.task)


if __name__ == "__main__":
    launch.run(main, config_name="describe")
