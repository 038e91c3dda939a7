"""Turn data of any size into a store on the disk, from which ``train.py`` reads in constant memory (``data=store``).

It takes the keys of ``train.py`` for data, and the place of the store. No model is built. The run directory is that of
the unfinished store; when the same command is run again, it goes on there.
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch


def convert(config: DictConfig, directory: Path) -> None:
    """Convert the data of ``config``; ``directory`` is taken back where nothing was left in it."""
    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.report import output

    environment.quiet()
    data, conversion = build(config.data), build(config.conversion)
    for line in conversion.run(data, run.plain(config.data)):
        output.echo(line)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


@hydra.main(version_base="1.3", config_path="conf", config_name="convert")
@launch.job
def main(config: DictConfig) -> None:
    """Entry point of one job."""
    convert(config, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    launch.run(main, config_name="convert")
