"""``seqmodels convert``: convert data of any size to a store on disk, which ``data=store`` reads in constant memory.

The keys are the data keys of ``train`` and the path of the store. The run directory holds the unfinished store; the
same command, run again, continues there.
"""

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.config.build import build
from seqmodels.report import output


def convert(config: DictConfig, job: Job) -> None:
    """Convert the data of ``config``; remove the run directory if it is empty afterwards."""
    environment.prepare_process(config)
    data, conversion = build(config.data), build(config.conversion)
    for line in conversion.run(data, to_plain(config.data)):
        output.echo(line)
    if job.directory.is_dir() and not any(job.directory.iterdir()):
        job.directory.rmdir()
