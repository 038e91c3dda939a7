"""``seqmodels fill``: fill the gaps of a table with a trained model."""

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.trained import load_model, report_files, show_result, table_path
from seqmodels.inference.forecast import write_forecast


def fill(config: DictConfig, job: Job) -> None:
    """Fill, print notes and gaps, and write ``filled.csv`` (or ``output``) and ``filled.png``."""
    table, picture = table_path(config, job.directory / "filled.csv"), job.directory / "filled.png"
    made = load_model(config).fill(to_plain(config.data.path), levels=to_plain(config.levels))
    show_result(made)
    write_forecast(made, table, picture)
    report_files(job, table, picture)
