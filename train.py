"""Train a model: compose, check, seed, fit, test the best checkpoint, write results, return the monitored value.

It names no model and no data: those come from conf/. Heavy imports wait until a job runs, so that --help is quick.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels.cli import main as launch


def train(config: DictConfig, directory: Path, name: str, overrides: Sequence[str] = ()) -> float:
    """One run in ``directory``; returns ``config.monitor`` of the kept weights on the validation windows."""
    import lightning.pytorch as pl

    from seqmodels.cli import environment, run
    from seqmodels.config.build import build
    from seqmodels.report import output, results
    from seqmodels.training.callbacks import figures, scalars

    started = time.monotonic()
    data, module = run.prepare(config, name)
    trainable = run.trainable(module)
    run.check_resume(config.ckpt_path, module)
    callbacks = [build(node) for node in config.callbacks.values() if node is not None]
    trainer = build(
        config.trainer,
        accelerator=run.accelerator(config),
        max_epochs=run.epochs(config, batches=len(data.train_dataloader())),
        callbacks=callbacks,
        logger=[build(node) for node in config.logger.values() if node is not None],
        enable_checkpointing=any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks),
        enable_model_summary=False,
        default_root_dir=directory,
    )
    recorded = environment.record(config, overrides, directory)
    scalars.log_config(trainer.loggers, environment.yaml(config), recorded)
    if trainable:
        run.fit(trainer, module, data, config.ckpt_path)
    run.evaluate(trainer, module, data)
    spec = data.spec
    output.show(results.result_table(module.results, module.measured, name, spec.channels, spec.stateful))
    figures.save_final_figures(module, data, directory / "figures", dropout_passes=config.dropout_passes)
    return run.finish(config, directory, trainer, module, data, name, started)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@launch.job
def main(config: DictConfig) -> float:
    """Entry point of one job."""
    job = HydraConfig.get()
    return train(config, Path(job.runtime.output_dir), job.runtime.choices["model"], job.overrides.task)


if __name__ == "__main__":
    launch.run(main)
