"""What a run writes to its loggers: losses, speed and errors on one axis of optimizer steps, and its configuration."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor

from seqmodels.metrics import MEASURES, MODEL, ErrorTable
from seqmodels.training.module import ForecastModule

MAX_LEADS = 48  # nobody reads more curves than that
MEASURES_BY_LEAD = ("mae", "rmse")
LAYOUT = {"loss": {"loss": ["Multiline", ["loss/train", "loss/validation"]]}}
Loggers = Logger | Iterable[Logger] | None


class ScalarLogger(pl.Callback):
    """Writes means over the last ``every_n_steps`` optimizer steps, and the errors after each validation.

    A block ends early with its epoch, so that ``loss/train`` and ``loss/validation`` meet at the same step. Its last
    step alone is measured by ``optimizer/update_ratio``: the norm of what the step changed in the weights, divided by
    their norm before it. On the other steps it counts windows and touches no tensor. Works with any loggers, and with
    none.
    """

    def __init__(self, every_n_steps: int = 50):
        self.every_n_steps = every_n_steps
        self.windows, self.seconds = 0, 0.0
        self.began: float | None = None  # None while something other than training runs
        self.written = 0  # the optimizer step of the last block
        self.before: list[Tensor] = []  # weights before the step that ends a block

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for logger in tensorboards(trainer.loggers):
            logger.experiment.add_custom_scalars(LAYOUT)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.windows, self.seconds, self.began, self.written = 0, 0.0, None, trainer.global_step
        self.before = []

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        if self.began is None:
            self.began = time.perf_counter()
        if trainer.global_step + 1 - self.written >= self.every_n_steps or trainer.is_last_batch:
            self.before = self.before or [weight.detach().clone() for weight in module.parameters()]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.windows += len(batch.origin)
        step = trainer.global_step
        if step - self.written >= self.every_n_steps or trainer.is_last_batch:
            self._write_block(trainer, module, step)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._pause()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(module, ForecastModule)
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if is_validation(name)}
        values |= errors_by_lead(module.results["validation"][MODEL])
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
            logger.save()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Training that stops amid an epoch leaves a block without a last batch."""
        assert isinstance(module, ForecastModule)
        if module.gathered.losses:
            self._write_block(trainer, module, trainer.global_step)
        self._pause()

    def _pause(self) -> None:
        if self.began is not None:
            self.seconds += time.perf_counter() - self.began
            self.began = None

    def _write_block(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        assert isinstance(module, ForecastModule)
        values = module.interval()  # waits for the device, so the clock is read behind it
        self._pause()
        values["optimizer/learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        values["speed/windows_per_second"] = self.windows / max(self.seconds, 1e-9)
        if self.before:  # not where training stops amid a block
            values["optimizer/update_ratio"] = update_ratio(self.before, list(module.parameters()))
            self.before = []
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
        self.windows, self.seconds, self.written = 0, 0.0, step
        self.began = time.perf_counter()


def update_ratio(before: list[Tensor], after: list[Tensor]) -> float:
    """Norm of the change of all weights together, divided by their norm before it; NaN where that is 0."""
    change, size = norm(torch._foreach_sub([weight.detach() for weight in after], before)), norm(before)
    return float(change / size) if size > 0 else math.nan


def norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Euclidean norm over all of them."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def is_validation(name: str) -> bool:
    """Whether a metric of this name describes the validation windows."""
    return name == "loss/validation" or name.startswith("validation/")


def errors_by_lead(table: ErrorTable) -> dict[str, float]:
    """MAE and RMSE of each lead over all channels, at most 48 leads: ``validation_by_step/mae_01`` and so on."""
    errors = table.mean(dim=1)
    width = max(2, len(str(len(errors))))
    values = {
        f"validation_by_step/{name}_{lead:0{width}d}": MEASURES[name].compute(errors[lead - 1])
        for lead in select_leads(len(errors))
        for name in MEASURES_BY_LEAD
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}


def select_leads(horizon: int) -> list[int]:
    """All leads 1 ... H, or 48 of them spread evenly, the first and the last one included."""
    if horizon <= MAX_LEADS:
        return list(range(1, horizon + 1))
    return [1 + round(i * (horizon - 1) / (MAX_LEADS - 1)) for i in range(MAX_LEADS)]


def tensorboards(loggers: Loggers) -> list[TensorBoardLogger]:
    """Those of the loggers that write TensorBoard events."""
    return [logger for logger in as_list(loggers) if isinstance(logger, TensorBoardLogger)]


def as_list(loggers: Loggers) -> list[Logger]:
    """``trainer.logger`` or ``trainer.loggers``, whichever was given."""
    if loggers is None:
        return []
    return [loggers] if isinstance(loggers, Logger) else list(loggers)


def write_run(loggers: Loggers, config_yaml: str, environment: Mapping[str, Any]) -> None:
    """Put the resolved configuration and the environment among the texts of TensorBoard."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in flat(environment).items())
    for logger in tensorboards(loggers):
        logger.experiment.add_text("config/yaml", f"```yaml\n{config_yaml.rstrip()}\n```", 0)
        logger.experiment.add_text("config/environment", f"| what | value |\n| --- | --- |\n{rows}", 0)
        logger.save()


def write_hparams(loggers: Loggers, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write the one entry of the run among hyperparameters, and close the loggers: nothing is written after it.

    ``config`` may be nested; its keys appear as on the command line. ``metrics`` such as ``validation/mae``
    appear as ``hp/validation_mae``.
    """
    results = {hparams_name(name): float(value) for name, value in metrics.items()}
    for logger in as_list(loggers):
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flat(config), results, step=0)
        else:
            logger.log_hyperparams(flat(config))
            logger.log_metrics(results)
        logger.finalize("success")


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    values: dict[str, Any] = {}
    for name, value in nested.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return values


def hparams_name(name: str) -> str:
    """``validation/mae`` -> ``hp/validation_mae``; a name that has the prefix stays."""
    return name if name.startswith("hp/") else f"hp/{name.replace('/', '_')}"
