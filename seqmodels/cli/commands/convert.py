"""``seqmodels convert``: turn data of any size into a store on the disk, read in constant memory by ``data=store``.

It takes the keys of ``train`` for data, and the place of the store. The run directory is that of the unfinished store;
when the same command is run again, it goes on there.
"""

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.launch import Job
from seqmodels.config.build import build
from seqmodels.report import output


def convert(config: DictConfig, job: Job) -> None:
    """Convert the data of ``config``; the run directory is taken back where nothing was left in it."""
    environment.silence_libraries()
    data, conversion = build(config.data), build(config.conversion)
    for line in conversion.run(data, to_plain(config.data)):
        output.echo(line)
    if job.directory.is_dir() and not any(job.directory.iterdir()):
        job.directory.rmdir()
