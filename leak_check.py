"""Look for leaks: prove that nothing of the future reaches the training or the inputs of the model of ``train.py``.

It takes the keys of ``train.py`` and those of ``leaks``. The weights are new ones, or those of ``ckpt_path``. The exit
code is 1 if a leak was found.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch


def check(config: DictConfig, directory: Path, name: str, overrides: Sequence[str] = ()) -> float:
    """Run all checks and write the findings into ``directory``; return 0, or raise SystemExit if there is a leak."""
    from seqmodels import checkpoint
    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.leaks import finding
    from seqmodels.report import output

    started = time.monotonic()
    checks = build(config.leaks)
    _, module = run.prepare(config, name)
    run.check_resume(config.ckpt_path, module)
    if config.ckpt_path is not None:
        module.load_state_dict(checkpoint.read(config.ckpt_path)["state_dict"])
    environment.record(config, overrides, directory, "leak_check.py")
    findings = checks.run(partial(build, config.data), module.forecaster)
    leaks = finding.list_sentences(findings, "leaks")
    summary = {"model": name, "monitor": {"name": "leaks", "value": len(leaks)}}
    finding.write_findings(findings, directory, {**summary, "seconds": round(time.monotonic() - started, 3)})
    output.show(finding.findings_table(findings))
    for warning in finding.list_sentences(findings, "warnings"):
        output.echo(f"warning: {warning}")
    output.echo(f"Everything about this check is in {run.shown(directory)}")
    if leaks:
        raise SystemExit("\n".join(f"leak: {leak}" for leak in leaks))
    return 0.0


@hydra.main(version_base="1.3", config_path="conf", config_name="leak_check")
@launch.job
def main(config: DictConfig) -> float:
    """Entry point of one job."""
    job = HydraConfig.get()
    return check(config, Path(job.runtime.output_dir), job.runtime.choices["model"], job.overrides.task)


if __name__ == "__main__":
    launch.run(main, config_name="leak_check")
