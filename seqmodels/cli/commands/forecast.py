"""``seqmodels forecast``: forecast the steps after the last row of a table with a trained model."""

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.trained import load_model, report_files, show_result, table_path
from seqmodels.inference.forecast import write_forecast


def forecast(config: DictConfig, job: Job) -> None:
    """Forecast, print notes and table, and write ``forecast.csv`` (or ``output``) and ``forecast.png``."""
    table, picture = table_path(config, job.directory / "forecast.csv"), job.directory / "forecast.png"
    made = load_model(config).forecast(
        to_plain(config.data.path),
        future=to_plain(config.future),
        origin=config.origin,
        horizon=config.horizon,
        levels=to_plain(config.levels),
    )
    show_result(made)
    write_forecast(made, table, picture)
    report_files(job, table, picture)
