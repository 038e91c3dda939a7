"""``seqmodels evaluate``: measure a trained model at many origins of a table."""

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.refit import trainer_of
from seqmodels.errors import InputError
from seqmodels.inference.backtest import Refit, write_evaluation
from seqmodels.inference.forecast import load
from seqmodels.report.output import echo, show, write_file
from seqmodels.training.run import relative_to_here


def evaluate(config: DictConfig, job: Job) -> None:
    """Evaluate, print notes and tables, and write them with a picture, and all forecasts if ``output`` is given."""
    environment.silence_libraries()
    model = load(config.run, to_plain(config.allow))
    echo(f"Model: {relative_to_here(model.checkpoint.absolute()) if model.checkpoint else config.run}")
    refit = None
    if config.refit is not None:
        refit = Refit(config.refit, trainer_of(model, job.directory, job.command()), config.fold)
    elif config.fold is not None:
        raise InputError(f"fold={config.fold} chooses one fold of refit; give refit=, the number of origins of each.")
    made = model.evaluate(
        to_plain(config.data.path),
        origins=config.origins,
        last=config.last,
        levels=to_plain(config.levels),
        state=config.state,
        bands=config.bands,
        adaptive=config.adaptive,
        refit=refit,
        output=config.output,
    )
    for note in made.notes:
        echo(f"note: {note}", style="dim")
    show(made)
    write_evaluation(made, job.directory)
    write_file(job.directory / "command.txt", f"{job.command()}\n".encode())
    forecasts = f" and {relative_to_here(made.output.absolute())}" if made.output else ""
    echo(f"Written: {relative_to_here(job.directory)}{forecasts}")
