"""``seqmodels fill``: fill the gaps of a table with a trained model."""

from pathlib import Path

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.trained import SUFFIXES
from seqmodels.errors import InputError
from seqmodels.inference.forecast import load, write_forecast
from seqmodels.report.output import echo, show, write_file
from seqmodels.training.run import relative_to_here


def fill(config: DictConfig, job: Job) -> None:
    """Fill, print notes and gaps, and write ``filled.csv`` (or ``output``) and ``filled.png``."""
    environment.silence_libraries()
    table = Path(config.output or job.directory / "filled.csv").expanduser()
    if table.suffix not in SUFFIXES:
        raise InputError(f"output={config.output} must end in {' or '.join(SUFFIXES)}.")
    model = load(config.run, to_plain(config.allow))
    echo(f"Model: {relative_to_here(model.checkpoint.absolute()) if model.checkpoint else config.run}")
    made = model.fill(to_plain(config.data.path), levels=to_plain(config.levels))
    for note in made.notes:
        echo(f"note: {note}", style="dim")
    show(made)
    picture = job.directory / "filled.png"
    write_forecast(made, table, picture)
    write_file(job.directory / "command.txt", f"{job.command()}\n".encode())
    echo(f"Written: {relative_to_here(table.absolute())} and {relative_to_here(picture.absolute())}")
