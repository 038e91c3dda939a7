"""Look at data before any training: what is in them, what was repaired, how they behave, which window suits them.

It takes the keys of ``train.py`` and those of ``description``. No model is built. It writes ``description.html``, the
pictures and the figures as JSON into a run directory, and prints the command that trains with what it suggests.
"""

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch

REPLACED = ("data.past_steps=", "data.horizon=", "data.season=")
OWN = (*REPLACED, "description.", "hydra.")  # keys that are not repeated in the command that trains


def look(config: DictConfig, directory: Path, overrides: Sequence[str] = ()) -> None:
    """Describe the data of ``config`` in ``directory``."""
    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.description import page, profile
    from seqmodels.report import output

    environment.quiet()
    run.check_settings(config)
    options = build(config.description)
    data, refusal = page.opened(config.data)
    description = profile.describe(data, options, config.seed)
    environment.record(config, overrides, directory, "describe.py")
    kept = [override for override in overrides if not override.lstrip("+").startswith(OWN)]
    command = environment.command([*kept, *description.advice.overrides])
    output.show(page.summary(description, refusal))
    written = page.write(description, directory, options.drawn, command, refusal)
    output.echo(f"To train with it: {command}")
    for path in written:
        output.echo(f"Written: {run.shown(path)}")


@hydra.main(version_base="1.3", config_path="conf", config_name="describe")
@launch.job
def main(config: DictConfig) -> None:
    """Entry point of one job."""
    job = HydraConfig.get()
    look(config, Path(job.runtime.output_dir), job.overrides.task)


if __name__ == "__main__":
    launch.run(main, config_name="describe")
