"""``seqmodels predict``: labels of the sequences of a table by a trained model."""

from pathlib import Path

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.errors import InputError
from seqmodels.inference.forecast import load
from seqmodels.inference.labels import write_prediction
from seqmodels.report.output import echo, show, write_file
from seqmodels.training.run import relative_to_here

SUFFIXES = (".csv", ".parquet")


def predict(config: DictConfig, job: Job) -> None:
    """Predict, print notes and tables, and write ``labels.csv`` (or ``output``)."""
    environment.silence_libraries()
    table = Path(config.output or job.directory / "labels.csv").expanduser()
    if table.suffix not in SUFFIXES:
        raise InputError(f"output={config.output} must end in {' or '.join(SUFFIXES)}.")
    model = load(config.run, to_plain(config.allow))
    echo(f"Model: {relative_to_here(model.checkpoint.absolute()) if model.checkpoint else config.run}")
    made = model.predict(to_plain(config.data.path))
    for note in made.notes:
        echo(f"note: {note}", style="dim")
    show(made)
    write_prediction(made, table)
    write_file(job.directory / "command.txt", f"{job.command()}\n".encode())
    echo(f"Written: {relative_to_here(table.absolute())}")
