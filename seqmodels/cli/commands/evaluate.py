"""``seqmodels evaluate``: measure a trained model at many origins of a table."""

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.refit import trainer_of
from seqmodels.cli.trained import load_model, report_files, show_result
from seqmodels.errors import InputError
from seqmodels.inference.backtest import Refit, write_evaluation


def evaluate(config: DictConfig, job: Job) -> None:
    """Evaluate, print notes and tables, and write them with a picture, and all forecasts if ``output`` is given."""
    model = load_model(config)
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
    show_result(made)
    write_evaluation(made, job.directory)
    report_files(job, job.directory, *([made.output] if made.output else []))
