"""``seqmodels check``: prove that no future values leak into the training or the inputs of a model.

The keys are those of ``train`` and of ``leaks``. The weights are newly initialised, or those of ``ckpt_path``. The
exit code is 1 if a leak was found.
"""

import time
from functools import partial

from omegaconf import DictConfig

from seqmodels import checkpoint
from seqmodels.cli import environment
from seqmodels.cli.assemble import prepare
from seqmodels.cli.launch import Job
from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.leaks import finding
from seqmodels.report import output
from seqmodels.training.run import check_weights, relative_to_here


def check(config: DictConfig, job: Job) -> float:
    """Run all checks and write the findings into the run directory; return 0, or raise SystemExit for a leak."""
    started = time.monotonic()
    checks = build(config.leaks)
    _, module = prepare(config, job.model)
    if not module.spec.ahead:
        raise InputError("check looks for the future in forecasts; a model that labels whole sequences makes none.")
    if config.ckpt_path is not None:
        trained = checkpoint.read(config.ckpt_path)
        check_weights(config.ckpt_path, trained, module)
        module.load_state_dict(trained["state_dict"])
    environment.record(config, job.command(), job.directory)
    findings = checks.run(partial(build, config.data), module.forecaster)
    leaks = finding.list_sentences(findings, "leaks")
    summary = {"model": job.model, "monitor": {"name": "leaks", "value": len(leaks)}}
    finding.write_findings(findings, job.directory, {**summary, "seconds": round(time.monotonic() - started, 3)})
    output.show(finding.findings_table(findings))
    for warning in finding.list_sentences(findings, "warnings"):
        output.echo(f"warning: {warning}")
    output.echo(f"Everything about this check is in {relative_to_here(job.directory)}")
    if leaks:
        raise SystemExit("\n".join(f"leak: {leak}" for leak in leaks))
    return 0.0
