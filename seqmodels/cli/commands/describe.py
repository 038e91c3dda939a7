"""``seqmodels describe``: the contents, repairs and behaviour of a data set, and a suggested window.

The keys are those of ``train`` and of ``description``; no model is built. The command writes ``description.html``, the
figures and ``metrics.json``, and prints the command that trains with the suggested settings.
"""

from collections.abc import Sequence

from omegaconf import DictConfig

from seqmodels.cli import environment
from seqmodels.cli.assemble import read_plan
from seqmodels.cli.launch import Job
from seqmodels.config.build import build
from seqmodels.description import page, profile
from seqmodels.report import output
from seqmodels.training.run import relative_to_here

SUGGESTED = ("data.past_steps=", "data.horizon=", "data.season=")
LEFT_OUT = (*SUGGESTED, "description.", "hydra.")  # overrides that are not repeated in the training command


def find_kept(overrides: Sequence[str]) -> list[str]:
    """Names of the suggested settings that the user has set, by themselves or with an experiment."""
    given = [override.lstrip("+") for override in overrides]
    keys = {"past_steps": "data.past_steps=", "horizon": "data.horizon=", "calendar": "data.calendar=",
            "scaler": "model/scaler="}  # fmt: skip
    return [name for name, key in keys.items() if any(one.startswith((key, "experiment=")) for one in given)]


def describe(config: DictConfig, job: Job) -> None:
    """Describe the data of ``config`` in the run directory."""
    environment.prepare_process(config)
    read_plan(config)
    options = build(config.description)
    data, warning = profile.set_up_data(config.data)
    kept = ["scaler"] if warning else find_kept(job.overrides)  # nothing was measured for windows of other lengths
    description = profile.describe_data(data, options, config.seed, kept)
    environment.record(config, job.command(), job.directory)
    named = any(override.startswith(("model=", "experiment=")) for override in job.overrides)
    command = job.train(without=LEFT_OUT, more=[*description.overrides, *([] if named else ["model=auto"])])
    output.show(page.summary(description, warning))
    written = page.write(description, job.directory, options.drawn, command, warning)
    output.echo(f"To train with it: {command}")
    for path in written:
        output.echo(f"Written: {relative_to_here(path)}")
