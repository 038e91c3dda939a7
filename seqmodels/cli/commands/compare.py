"""``seqmodels compare``: train models with several seeds, or take runs that exist, and compare them."""

from typing import Any

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import to_plain
from seqmodels.cli.commands.train import train
from seqmodels.cli.compare import find_runs, show_board
from seqmodels.cli.launch import Job
from seqmodels.errors import InputError
from seqmodels.report.output import write_file


def compare(config: DictConfig, job: Job) -> Any:
    """Compare the runs that ``config.runs`` names; without any, train one job, which the leaderboard compares later."""
    if not config.runs and str(config.data.get("_target_")) == "datamodules.sequences.Sequences":
        raise InputError(
            "compare ranks forecasts, and data=sequences has labels; rank models with seqmodels train -m model=...,"
            " whose summary orders them by validation/log_loss."
        )
    if not config.runs:
        return train(config, job._replace(program="seqmodels train"))
    others = [override for override in job.overrides if not override.lstrip("+").startswith("runs=")]
    if others:
        raise InputError(
            f"{others[0]} changes nothing in runs that exist: leave it out, or train by seqmodels compare {others[0]}"
            " without run directories, and compare these directories together afterwards."
        )
    environment.silence_libraries()
    show_board(find_runs(to_plain(config.runs)), job.directory)
    write_file(job.directory / "command.txt", f"{job.command()}\n".encode())
    return None
