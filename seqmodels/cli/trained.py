"""Parts of the commands that apply a trained model: loading it, the place of the table written, and the report."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.environment import silence_libraries
from seqmodels.cli.launch import Job
from seqmodels.errors import InputError
from seqmodels.inference.forecast import TrainedModel, load
from seqmodels.report.output import echo, show, write_file
from seqmodels.training.run import relative_to_here

SUFFIXES = (".csv", ".parquet")


def load_model(config: DictConfig) -> TrainedModel:
    """Load the model that ``config.run`` names, and print its checkpoint."""
    silence_libraries()
    model = load(config.run, to_plain(config.allow))
    echo(f"Model: {relative_to_here(model.checkpoint.absolute()) if model.checkpoint else config.run}")
    return model


def table_path(config: DictConfig, default: Path) -> Path:
    """The file for the table, ``config.output`` or ``default``; raises InputError for another suffix."""
    table = Path(config.output or default).expanduser()
    if table.suffix not in SUFFIXES:
        raise InputError(f"output={config.output} must end in {' or '.join(SUFFIXES)}.")
    return table


def show_result(made: Any) -> None:
    """Print the ``notes`` of a result, then the result."""
    for note in made.notes:
        echo(f"note: {note}", style="dim")
    show(made)


def report_files(job: Job, *files: Path) -> None:
    """Record the command in the run directory, and print the files written."""
    write_file(job.directory / "command.txt", f"{job.command()}\n".encode())
    echo(f"Written: {' and '.join(str(relative_to_here(file.absolute())) for file in files)}")
