"""Train a model: compose, check, seed, fit, test the best checkpoint, write results, return the monitored value.

It names no model and no data: those come from conf/. Heavy imports wait until a job runs, so that --help is quick.
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from seqmodels import launch


def train(config: DictConfig, directory: Path, name: str) -> float:
    """One run in ``directory``; returns ``config.monitor`` of the kept weights on the validation windows."""
    import lightning.pytorch as pl
    from seqmodels.callbacks import scalars
    from seqmodels.callbacks.figures import save_final

    from seqmodels import report, run
    from seqmodels.config import build
    from seqmodels.module import ForecastModule

    run.quiet()
    run.check_monitor(config.monitor)
    pl.seed_everything(config.seed, verbose=False)
    data = build(config.data)
    data.setup()
    report.show(report.data_summary(data))
    module = ForecastModule(
        forecaster=build(config.model, spec=data.spec),
        spec=data.spec,
        config=run.plain(config.model),
        optimizer=build(config.optimizer),
        scheduler=build(config.scheduler),
        monitor=config.monitor,
    )
    report.show(report.model_summary(module, name))
    environment = run.start(config, directory)
    run.set_threads(config.threads, module.forecaster)
    trainer = build(
        config.trainer,
        max_epochs=run.length(config, steps_per_epoch=len(data.train_dataloader())),
        callbacks=[build(node) for node in config.callbacks.values() if node is not None],
        logger=[build(node) for node in config.logger.values() if node is not None],
        enable_checkpointing="checkpoint" in config.callbacks,
        enable_model_summary=False,
        default_root_dir=directory,
    )
    scalars.write_run(trainer.loggers, run.yaml(config), environment)
    if any(parameter.requires_grad for parameter in module.parameters()):
        run.fit(trainer, module, data, config.ckpt_path)
    run.evaluate(trainer, module, data)
    report.show(report.result_table(module.results, data.windows, name, data.spec.channels))
    save_final(module, data, directory / "figures")
    return run.finish(config, directory, trainer, module, data, name)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@launch.job
def main(config: DictConfig) -> float:
    """Entry point of one job."""
    hydra_config = HydraConfig.get()
    return train(config, Path(hydra_config.runtime.output_dir), hydra_config.runtime.choices.model)


if __name__ == "__main__":
    launch.run(main)
