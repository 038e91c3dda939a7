"""``seqmodels generate``: sequences of symbols drawn from a trained model."""

from omegaconf import DictConfig

from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.cli.trained import load_model, report_files, show_result, table_path
from seqmodels.report.output import write_table

SETTINGS = ("n", "steps", "temperature", "top_k", "seed")


def generate(config: DictConfig, job: Job) -> None:
    """Generate, print notes and the first sequences, and write ``generated.csv`` (or ``output``)."""
    table = table_path(config, job.directory / "generated.csv")
    made = load_model(config).generate(to_plain(config.data.path), **{name: config[name] for name in SETTINGS})
    show_result(made)
    write_table(table, made.table)
    report_files(job, table)
