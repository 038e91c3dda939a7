"""``seqmodels predict``: labels of the sequences of a table by a trained model."""

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.trained import load_model, report_files, show_result, table_path
from seqmodels.report.output import write_table


def predict(config: DictConfig, job: Job) -> None:
    """Predict, print notes and tables, and write ``labels.csv`` (or ``output``)."""
    table = table_path(config, job.directory / "labels.csv")
    made = load_model(config).predict(to_plain(config.data.path))
    show_result(made)
    write_table(table, made.table)
    report_files(job, table)
