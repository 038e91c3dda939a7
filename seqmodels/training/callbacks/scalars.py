"""Scalars, configuration and hyperparameters of a run in its loggers, over optimizer steps."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR
from torch import Tensor
from torch.utils.tensorboard.summary import scalar

from seqmodels.metrics import MEASURES, MODEL
from seqmodels.report.summary import name_loss
from seqmodels.training.module import ForecastModule, Results

MAX_LEADS = 4  # the figure of errors by step shows all
COMPARED = (
    "mae",
    "rmse",
    "mase",
    "accuracy",
    "log_loss",
)  # measures whose curves stand beside those of the naive forecasts
EXPLANATIONS = {
    "validation/": "In the data's own units, over the validation windows, at the end of an epoch.",
    "validation/mse": "In the squared units of the data, over the validation windows, at the end of an epoch.",
    "validation/mase": "In units of the seasonal error, over the validation windows, at the end of an epoch.",
    "validation/skill": "1 - MAE / MAE of the seasonal naive forecast: 0 if the model is no better, at most 1.",
    "validation_by_step/": "In the data's own units, of the forecasts that many steps ahead.",
    "with_best_weights/": "Of the result table: the weights that were kept.",
    "optimizer/gradient_norm": "Of all gradients together, before clipping.",
    "optimizer/update_ratio": "Norm of the change of the weights in one step, divided by the norm of the weights.",
}


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, whose file stays open from the first value to ``close``, and which writes nothing else.

    ``explanations``: texts shown at the curves, by their names or by the beginnings of these. They are Markdown.
    """

    explanations: Mapping[str, str] = EXPLANATIONS

    def __init__(
        self,
        save_dir: str,
        name: str = "",
        version: str = "",
        default_hp_metric: bool = False,
        flush_secs: int = 10,
    ):
        super().__init__(save_dir, name, version, default_hp_metric=default_hp_metric, flush_secs=flush_secs)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one point of each curve."""
        assert self.experiment.file_writer is not None
        for name, value in metrics.items():
            summary = scalar(name, float(value))
            metadata = summary.value[0].metadata
            metadata.plugin_data.plugin_name, metadata.data_class = "scalars", DATA_CLASS_SCALAR
            metadata.summary_description = self._explain(name)
            self.experiment.file_writer.add_summary(summary, step)

    def _explain(self, name: str) -> str:
        fitting = [beginning for beginning in self.explanations if name.startswith(beginning)]
        return self.explanations[max(fitting, key=len)] if fitting else ""

    @rank_zero_only
    def save(self) -> None:
        """Flush; Lightning's would also write an empty ``hparams.yaml``."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush; Lightning's closes the file after fitting, so that what comes later would open another one."""
        self.experiment.flush()

    @rank_zero_only
    def close(self) -> None:
        """Close the file."""
        self.experiment.close()


class ScalarLogger(pl.Callback):
    """Logs means over blocks of ``every_n_steps`` optimizer steps, and the errors of each validation.

    A block also ends with its epoch, so that ``loss/train`` and ``loss/validation`` have a point at the same step.
    ``optimizer/update_ratio`` is measured at the last step of a block: the norm of the change of the weights, divided
    by their norm before the step. At all other steps no tensor is read. Works with any loggers, and with none.
    """

    def __init__(self, every_n_steps: int = 50):
        self.every_n_steps = every_n_steps
        self._start_block(0)
        self.started: float | None = None  # None unless training batches are running

    def _start_block(self, step: int) -> None:
        self.windows, self.seconds, self.first_step = 0, 0.0, step
        self.weights_before: list[Tensor] = []  # before the last step of the block

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, ForecastModule)
        unit = name_loss(module.forecaster)
        for logger in tensorboard_loggers(trainer.loggers):
            logger.experiment.add_custom_scalars(layout(module, unit))
            if isinstance(logger, TensorBoard):
                logger.explanations = {**logger.explanations, "loss/": f"The loss that is minimised: {unit}."}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._start_block(trainer.global_step)
        self.started = None

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        if self.started is None:
            self.started = time.perf_counter()
        if self._ends_block(trainer, trainer.global_step + 1):
            self.weights_before = self.weights_before or [weight.detach().clone() for weight in module.parameters()]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.windows += len(batch.origin)
        if self._ends_block(trainer, trainer.global_step):
            self._log_block(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_clock()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(module, ForecastModule)
        metrics = trainer.callback_metrics.items()
        values = {name: float(value) for name, value in metrics if name.startswith(("validation/", "loss/validation"))}
        values |= naive_errors(module.results["validation"])
        values |= errors_by_lead(module.results["validation"][MODEL])
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
            logger.save()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Log the open block if training stops in the middle of an epoch."""
        assert isinstance(module, ForecastModule)
        if module.gathered.losses:
            self._log_block(trainer, module)
        self._stop_clock()

    def _ends_block(self, trainer: pl.Trainer, step: int) -> bool:
        return step - self.first_step >= self.every_n_steps or trainer.is_last_batch

    def _stop_clock(self) -> None:
        if self.started is not None:
            self.seconds += time.perf_counter() - self.started
            self.started = None

    def _log_block(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, ForecastModule)
        values = module.interval()  # waits for the device, so it comes before the clock is read
        self._stop_clock()
        values["optimizer/learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        values["speed/windows_per_second"] = self.windows / max(self.seconds, 1e-9)
        if self.weights_before:  # empty if training stops in the middle of a block
            values["optimizer/update_ratio"] = update_ratio(self.weights_before, list(module.parameters()))
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self._start_block(trainer.global_step)
        self.started = time.perf_counter()


def update_ratio(before: list[Tensor], after: list[Tensor]) -> float:
    """Norm of the change of all weights together, divided by their norm before it; NaN if that is 0."""
    change = global_norm(torch._foreach_sub([weight.detach() for weight in after], before))
    size = global_norm(before)
    return float(change / size) if size > 0 else math.nan


def global_norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Euclidean norm over all tensors together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def errors_by_lead(table: Results) -> dict[str, float]:
    """MAE over all channels by lead, of the leads that have curves and observed values."""
    errors = table.mean(dim=1)
    values = {tag: MEASURES["mae"].compute(errors[lead - 1]) for tag, lead in lead_tags(len(errors)).items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def lead_tags(horizon: int) -> dict[str, int]:
    """``{"validation_by_step/mae_01": 1, ...}``: all leads, or four taken evenly, with the first and the last."""
    width = max(2, len(str(horizon)))
    leads = np.linspace(1, horizon, min(horizon, MAX_LEADS)).round().astype(int)
    return {f"validation_by_step/mae_{lead:0{width}d}": int(lead) for lead in leads}


def naive_errors(rows: Mapping[str, Results]) -> dict[str, float]:
    """Errors of the naive forecasts, the same at every validation: ``validation/mae_seasonal_naive`` and so on."""
    tables = {row: table.summary() for row, table in rows.items() if row != MODEL}
    return {naive_tag(name, row): table[name] for row, table in tables.items() for name in COMPARED if name in table}


def naive_tag(measure: str, row: str) -> str:
    return f"validation/{measure}_{row.replace(' ', '_')}"


def layout(module: ForecastModule, unit: str) -> dict[str, dict[str, list[Any]]]:
    """Charts of several curves for TensorBoard's tab of custom scalars; it takes tags as regular expressions."""
    naive = [row for row in module.rows if row != MODEL]
    measures = module.errors[MODEL].measures
    errors = {
        measures[name].heading: [f"validation/{name}", *(naive_tag(name, row) for row in naive)]
        for name in COMPARED
        if name in measures
    }
    charts = {
        "loss": {unit: ["loss/train", "loss/validation"]},
        "validation errors, the model's and those of the naive forecasts": errors,
        "validation errors by step": {"MAE": list(lead_tags(module.spec.horizon))},
    }
    return {
        category: {title: ["Multiline", [f"{tag}$" for tag in tags]] for title, tags in members.items()}
        for category, members in charts.items()
    }


def tensorboard_loggers(loggers: Iterable[Logger]) -> list[TensorBoardLogger]:
    return [logger for logger in loggers if isinstance(logger, TensorBoardLogger)]


def log_config(loggers: Iterable[Logger], config_yaml: str, environment: Mapping[str, Any]) -> None:
    """Show the resolved configuration and the environment in TensorBoard's text tab."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in flatten(environment).items())
    for logger in tensorboard_loggers(loggers):
        logger.experiment.add_text("config/yaml", f"```yaml\n{config_yaml.rstrip()}\n```", 0)
        logger.experiment.add_text("config/environment", f"| what | value |\n| --- | --- |\n{rows}", 0)
        logger.save()


def log_hyperparameters(
    loggers: Iterable[Logger], chosen: Mapping[str, Any], metrics: Mapping[str, float], step: int = 0
) -> None:
    """Log the chosen settings with the resulting metrics, then close the loggers.

    A metric ``validation/mae`` appears as ``with_best_weights/validation_mae``, below all curves.
    """
    results = {f"with_best_weights/{name.replace('/', '_')}": float(value) for name, value in metrics.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flatten(chosen), results, step=step)
        else:
            logger.log_hyperparams(flatten(chosen))
            logger.log_metrics(results)
        logger.finalize("success")
        if isinstance(logger, TensorBoard):
            logger.close()


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    values: dict[str, Any] = {}
    for name, value in nested.items():
        values |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return values
