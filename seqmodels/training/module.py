"""Lightning module around a forecaster: training and evaluation steps, errors, optimizer and schedule."""

import math
import time
from collections.abc import Callable, Iterator
from inspect import signature
from itertools import chain
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from seqmodels.backbones.recurrent import FusedLstm, has_bfloat16_lstm
from seqmodels.baselines.interpolation import Interpolation, LastValue, SeasonAgo, Seasonal
from seqmodels.baselines.labels import Prior, SymbolBack
from seqmodels.baselines.rules import Naive, SeasonalNaive
from seqmodels.checkpoint import KEY, describe
from seqmodels.class_metrics import ClassTable, StepTable, new_scores
from seqmodels.classical.smoothing import Spline
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.inference.calibration import Calibration, ErrorSample, centre_and_unit
from seqmodels.inference.prediction import predict
from seqmodels.inference.scores import MOST_VALUES, SCORED, WindowScores, choose
from seqmodels.metrics import (
    LAST,
    LINEAR,
    MAJORITY,
    MEAN,
    MODEL,
    NAIVE,
    REPEATED,
    SEASON_AGO,
    SEASONAL,
    SEASONAL_NAIVE,
    SINGLE_MEMBER,
    SPLINE,
    ErrorTable,
    ForecastErrors,
)
from seqmodels.report.output import join_names, warn_once
from seqmodels.training.stateful import CarriedState, as_windows
from seqmodels.window import AbstractForecaster, ConsecutiveWindows, Output, Window, WindowSpec, measured

Results = ErrorTable | ClassTable | StepTable
NEVER = 2**62  # more epochs than any run has
RUN = "run"  # where a checkpoint keeps what a resumed run is compared with


class IntervalSums:
    """Losses and gradient norms since the last line of the log, kept on the device until the next line is written.

    ``first_step``: optimizer steps before the interval.
    """

    def __init__(self, first_step: int = 0) -> None:
        self.first_step = first_step
        self.losses: list[Tensor] = []  # one scalar a batch, on the device
        self.norms: list[Tensor] = []  # of the gradients before clipping, one scalar an optimizer step


class ForecastModule(pl.LightningModule):
    """Trains ``forecaster`` on windows and measures it beside the naive and seasonal naive forecasts.

    ``config``: the plain configuration that the forecaster was built from, and ``data``: what it needs to read new rows
    (``datamodules.encoder``); both are kept in the checkpoint. ``optimizer`` takes
    the parameters; ``scheduler`` takes the optimizer (and ``total_steps`` or ``T_max`` if it has such an argument). It
    is stepped with every optimizer step; ReduceLROnPlateau after every epoch with a validation, on ``monitor``.

    ``seasonal_errors``: as in ``ForecastErrors``.

    If ``spec.stateful``, a Forecaster carries its state from batch to batch: one state for training, reset at the
    start of every epoch, and another one for evaluation.

    Nothing is logged step by step: losses and gradient norms stay on the device, and callbacks read ``interval()``
    when they write.
    """

    def __init__(
        self,
        forecaster: AbstractForecaster,
        spec: WindowSpec,
        config: dict[str, Any],
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any] | None = None,
        monitor: str = "validation/mase",
        seasonal_errors: Tensor | None = None,
        data: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.forecaster = forecaster
        self.types = {name: tensor.dtype for name, tensor in tensors_of(forecaster)}  # before a trainer changes them
        self.spec, self.config, self.monitor, self.data = spec, config, monitor, data
        self.optimizer, self.scheduler = optimizer, scheduler
        self.rows = {MODEL: forecaster, **NAIVE_ROWS[spec.kind](spec)}
        self.training_state: CarriedState | None = None
        self.evaluation_state: CarriedState | None = None
        if spec.stateful and isinstance(forecaster.singles[0], Forecaster):  # others see each window by itself
            self.training_state, self.evaluation_state = CarriedState(forecaster), CarriedState(forecaster)
        self.errors = {name: new_scores(spec, seasonal_errors, is_certain(row)) for name, row in self.rows.items()}
        if len(forecaster.singles) > 1:
            self.errors[SINGLE_MEMBER] = new_scores(spec, seasonal_errors)
        self.deviations = ForecastErrors(spec, seasonal_errors)  # of the members from the forecast of their ensemble
        self.spread: dict[str, dict[str, float]] = {}  # by stage, then by measure: what ``deviations`` came to
        self.results: dict[str, dict[str, Results]] = {}  # by stage, then by row of the table
        self.measured: dict[str, int] = {}  # windows behind the results of each stage
        self.stage = "test"  # what the test loop is measuring
        self.sample: ErrorSample | None = None  # takes the errors that the test loop measures
        self.samples: dict[str, ErrorSample] = {}  # the same by row of the table, for objections
        self.bands: dict[str, Calibration | None] = {}  # by row, of the test windows; empty for those of validation
        self.scores: dict[str, WindowScores] = {}  # sums of each test window by row
        self.forecast_seconds: dict[str, float] = {}  # of all test windows together, by row
        self.validations: list[float] = []  # monitored value of each validation while fitting
        self.best_epoch: int | None = None  # of the weights put back after fitting
        self.follows_progress = getattr(getattr(forecaster.singles[0], "readout", None), "teacher_forced", False)
        self.progresses = True  # True if ``forecaster.progress`` rises during training
        self.fit_seconds: dict[str, float] = {}  # by row, of a trained model training and validation, all epochs
        self.validation_loss, self.validation_count = torch.zeros(()), torch.zeros(())
        self.recorded: dict[str, Any] = {}  # settings and data of the run, as primitives, for checkpoints
        self.restarts_schedule = False  # True to begin the schedule anew in a resumed run
        self.schedule_start = 0  # optimizer step
        self.gathered = IntervalSums()

    def add_row(self, name: str, model: AbstractForecaster) -> None:
        """Measure another model, too, from now on."""
        self.rows[name] = model.eval()
        self.errors[name] = new_scores(self.spec, self.errors[MODEL].seasonal_errors, is_certain(model))

    def measure_in(self, denominators: Tensor) -> None:
        """Take ``denominators`` (series, C) as those of the scaled error from now on."""
        for errors in (*self.errors.values(), self.deviations):
            errors.seasonal_errors = denominators

    def restore_types(self) -> None:
        """Restore the types of a model trained with ``trainer.precision=64-true``, which windows do not have."""
        for name, tensor in tensors_of(self.forecaster):
            tensor.data = tensor.to(self.types[name])

    def interval(self) -> dict[str, float]:
        """Mean training loss and mean gradient norm before clipping since the last call.

        Raises InputError if one of them was not finite at any step.
        """
        gathered, self.gathered = self.gathered, IntervalSums(self.global_step)
        means = {"loss/train": mean(gathered.losses), "optimizer/gradient_norm": mean(gathered.norms)}
        if not all(map(math.isfinite, means.values())):
            raise InputError(self._describe_bad_step(gathered))
        return means

    def _describe_bad_step(self, gathered: IntervalSums) -> str:
        """Error message for the first optimizer step with a loss or gradient that is not finite."""
        scalars = {"training loss": gathered.losses, "norm of the gradients": gathered.norms}
        steps = self.global_step - gathered.first_step
        first = {name: first_not_finite(values, steps) for name, values in scalars.items() if values}
        name = min(first, key=first.__getitem__)
        return (
            f"the {name} became {mean(scalars[name])} at step {gathered.first_step + first[name]:,}, in epoch"
            f" {self.current_epoch + 1:,}; {self._remedy()}."
        )

    def _remedy(self) -> str:
        """Advice on settings to change if numbers of the training are not finite."""
        precision = self.trainer.precision
        other = {"bf16-mixed": ", or trainer.precision=32-true", "64-true": ""}
        more = other.get(str(precision), ", or trainer.precision=64-true")
        return f"lower optimizer.lr or trainer.gradient_clip_val, choose another model.scaler{more}"

    def setup(self, stage: str) -> None:
        """Warn if the processor cannot compute layers of the model in the precision of the trainer."""
        mixed = self.trainer.precision == "bf16-mixed" and self.trainer.strategy.root_device.type == "cpu"
        lstm = any(isinstance(part, FusedLstm) for part in self.forecaster.modules())
        if mixed and lstm and not has_bfloat16_lstm():
            warn_once(
                "trainer.precision is bf16-mixed; LSTM layers compute in float32, since torch has no bfloat16 LSTM for"
                " this processor."
            )

    def on_train_start(self) -> None:
        self.gathered = IntervalSums(self.global_step)
        self.all_steps = float(self.trainer.estimated_stepping_batches) if self.progresses else math.inf

    def on_train_epoch_start(self) -> None:
        if self.training_state is not None:
            self.training_state.drop()

    def training_step(self, window: Window, batch_index: int) -> Tensor:
        if self.follows_progress:
            self.forecaster.progress = self.trainer.global_step / self.all_steps
        state = self.training_state
        output = self.forecaster.loss(window.inputs, window.targets) if state is None else state.loss(window)
        assert output.loss is not None
        self.gathered.losses.append(output.loss.detach())
        return output.loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each model of an ensemble by itself, and keep the norm from before: one pass does both."""
        for group in optimizer.param_groups:
            gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            self._clip(gradients, gradient_clip_val, gradient_clip_algorithm)

    def _clip(self, gradients: list[Tensor], limit: float | None, algorithm: str | None) -> None:
        if not gradients:  # nothing that is trained took part in this loss
            return
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.gathered.norms.append(norm)
        if limit and algorithm in (None, "norm"):
            torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
        elif limit:
            torch._foreach_clamp_min_(gradients, -limit)
            torch._foreach_clamp_max_(gradients, limit)

    def validation_step(self, batch: Window | ConsecutiveWindows, batch_index: int) -> None:
        window = as_windows(batch, self.spec.past_steps) if isinstance(batch, ConsecutiveWindows) else batch
        if isinstance(batch, ConsecutiveWindows) and self.evaluation_state is not None:
            output = self.evaluation_state.evaluate(batch)
        else:
            output = self.forecaster.loss(window.inputs, window.targets, forecast=True)
        assert output.loss is not None
        self.validation_loss = self.validation_loss + output.loss.double() * output.weight
        self.validation_count = self.validation_count + output.weight
        self._count(window, output)

    def test_step(self, batch: Window | ConsecutiveWindows, batch_index: int) -> None:
        window = as_windows(batch, self.spec.past_steps) if isinstance(batch, ConsecutiveWindows) else batch
        if isinstance(batch, ConsecutiveWindows) and self.evaluation_state is not None:
            self._count(window, self._timed(MODEL, self.evaluation_state.evaluate, batch))
        else:
            self._count(window, self._timed(MODEL, self.forecaster.forecast_windows, window))

    def on_validation_epoch_start(self) -> None:
        self.validation_loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self.validation_count = torch.zeros_like(self.validation_loss)

    def on_validation_epoch_end(self) -> None:
        tables = self._collect("validation")
        measures = tables[MODEL].summary(tables.get(SEASONAL_NAIVE))
        values = {f"validation/{name}": value for name, value in measures.items()}
        values["loss/validation"] = float(self.validation_loss / self.validation_count)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._check_validation(values)
            self.validations.append(values.get(self.monitor, math.nan))
        self.log_dict(values, batch_size=1, logger=False)  # written by ScalarLogger, at the right step

    def _check_validation(self, values: dict[str, float]) -> None:
        """Raise InputError unless the loss is finite and the monitored value, which selects the weights, exists."""
        loss = values["loss/validation"]
        if self.validation_count > 0 and not math.isfinite(loss):
            raise InputError(
                f"the validation loss became {loss} in epoch {self.current_epoch + 1:,}, at step"
                f" {self.global_step:,}; {self._remedy()}."
            )
        if math.isnan(values.get(self.monitor, 0.0)):
            raise InputError(
                f"monitor is {self.monitor}, which is undefined: no target value that counts for it is observed in the"
                f" validation windows; change data.split, or set monitor=validation/mae if that is defined."
            )

    def on_train_epoch_end(self) -> None:
        """Step ReduceLROnPlateau before a checkpoint is saved; Lightning does it later, and in no resumed epoch."""
        scheduler: Any = self.lr_schedulers()
        value = self.trainer.callback_metrics.get(self.monitor)  # None when a finished epoch is resumed
        due = (self.trainer.current_epoch + 1) % (self.trainer.check_val_every_n_epoch or 1) == 0
        if due and value is not None and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(float(value))

    def on_test_epoch_end(self) -> None:
        self._collect(self.stage)

    def configure_optimizers(self) -> Any:
        optimizer = self.new_optimizer()
        if self.restarts_schedule:
            optimizer.register_load_state_dict_pre_hook(keep_settings)
        if self.scheduler is None:
            return optimizer
        accepted = signature(self.scheduler).parameters
        planned = [name for name in ("total_steps", "T_max") if name in accepted]
        length = {name: self._all_steps() - self.schedule_start for name in planned}
        try:
            scheduler = self.scheduler(optimizer, **length)
        except InputError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"scheduler: {str(error).removesuffix('.')}.") from error
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):  # stepped in on_train_epoch_end
            settings = {"scheduler": scheduler, "frequency": NEVER, "monitor": self.monitor}
            return {"optimizer": optimizer, "lr_scheduler": settings}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Follow the optimizer steps, or the share of ``trainer.max_time`` that has passed where that is further.

        The learning rate thus reaches the end of its schedule also if the time ends before the planned steps.
        """
        trainer: Any = self.trainer
        timer = next((one for one in trainer.callbacks if isinstance(one, Timer)), None)
        left = None if timer is None else timer.time_remaining()
        total = getattr(scheduler, "total_steps", getattr(scheduler, "T_max", None))
        if timer is None or left is None or total is None:
            scheduler.step()
            return
        passed = timer.time_elapsed()
        due = max(self.global_step - self.schedule_start, round(total * min(1.0, passed / max(passed + left, 1e-9))))
        due = min(due, total - 1)
        if isinstance(scheduler, torch.optim.lr_scheduler.OneCycleLR):  # a function of the step: no need to walk there
            scheduler.last_epoch = max(scheduler.last_epoch, due - 1)
        while scheduler.last_epoch < due:
            scheduler.step()

    @property
    def trainable(self) -> bool:
        """True if the model has weights to train."""
        return any(parameter.requires_grad for parameter in self.forecaster.parameters())

    def new_optimizer(self) -> torch.optim.Optimizer:
        """An optimizer over the model's weights; raises InputError for settings that it does not accept."""
        try:
            return self.optimizer([{"params": list(model.parameters())} for model in self.forecaster.singles])
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"optimizer: {str(error).removesuffix('.')}.") from error

    def _all_steps(self) -> int:
        """Optimizer steps until the end of this fit."""
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise InputError(
                "scheduler plans the learning rate up to the last step, and trainer.max_epochs=-1 sets none; set"
                " trainer.max_epochs or trainer.max_steps, or choose scheduler=constant, warm_up or plateau."
            )
        return int(steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description of the model; raises InputError, before a file is touched, for weights not finite."""
        trained = {name: checkpoint["state_dict"].get(name) for name, _ in self.named_parameters()}
        bad = [name for name, weight in trained.items() if weight is not None and not weight.isfinite().all()]
        if bad:
            raise InputError(
                f"the weights {bad[0]} became nan or infinite by step {self.global_step:,}, in epoch"
                f" {self.current_epoch + 1:,}, and no checkpoint of them is kept; {self._remedy()}."
            )
        checkpoint[KEY] = describe(self.config, self.spec, self.data)
        if self.recorded:
            checkpoint[RUN] = {**self.recorded, "schedule_start": self.schedule_start}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called before the optimizer is made."""
        if self.restarts_schedule:
            self.schedule_start = checkpoint["global_step"]
            checkpoint["lr_schedulers"] = []
        else:
            self.schedule_start = checkpoint.get(RUN, {}).get("schedule_start", 0)

    def _count(self, window: Window, output: Output) -> None:
        """Count the forecasts of the last origin, and the naive ones on exactly the same windows."""
        for name, model in self.rows.items():
            forecast = (output if name == MODEL else self._timed(name, model.forecast_windows, window)).forecast
            assert forecast is not None
            given, inputs, targets = measured(model.head.report(forecast), window, self.spec)
            counted = (
                {"quantile": self._score(name, model, forecast[:, -1], given, window)} if name in self.bands else {}
            )
            self.errors[name].to(given.device).update(given, inputs, targets, **counted)
            if name == MODEL and self.sample is not None:
                self.sample.add(*centre_and_unit(model.head, forecast[:, -1], window.inputs), window)
            if name in self.samples:
                self.samples[name].add(given, window.inputs.seasonal_error[:, None], window)
            if name == MODEL and output.members is not None:
                self._count_members(model.head.report(output.members), given, window)

    def _score(
        self, row: str, model: AbstractForecaster, forecast: Tensor, given: Tensor, window: Window
    ) -> Tensor | None:
        """Score the forecasts of a row with their bands, some windows at once; their quantile loss, (B, H, C)."""
        size, losses = max(1, MOST_VALUES // (given[0].numel() * len(SCORED))), []
        for rows in (slice(first, first + size) for first in range(0, len(given), size)):
            part = choose(window, rows)
            _, quantiles = predict(model, forecast[rows], part.inputs, self.bands[row], SCORED)
            lost = self.scores[row].add(given[rows], quantiles, part)
            losses += [] if lost is None else [lost]
        return torch.cat(losses) if losses else None

    def _count_members(self, members: Tensor, combined: Tensor, window: Window) -> None:
        """Count the forecasts (M, B, S, H, C) of an ensemble's members, and their distance from the combined one."""
        for one in members:
            given, inputs, targets = measured(one, window, self.spec)
            self.errors[SINGLE_MEMBER].to(given.device).update(given, inputs, targets)
            if given.shape == targets.target.shape:  # numbers, not the probabilities of classes
                self.deviations.to(given.device).update(given, inputs, targets._replace(target=combined))

    def _timed(self, row: str, forecast: Callable[..., Output], given: Any) -> Output:
        """The forecast of a row, with its seconds added up while test windows are measured."""
        if row not in self.bands:
            return forecast(given)
        started = time.perf_counter()
        output = forecast(given)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.forecast_seconds[row] = self.forecast_seconds.get(row, 0.0) + time.perf_counter() - started
        return output

    def _describe_not_finite(self, row: str, channels: list[str], stage: str) -> str:
        """Error message for forecasts of a row that are NaN or infinite."""
        when = ""
        remedy = "look for extreme values of these channels, or choose another model.scaler"
        if self.trainer.state.fn == "fit":
            when = f" after step {self.global_step:,}, in epoch {self.current_epoch + 1:,}"
            remedy = self._remedy()
        return (
            f"the {row} forecasts of the {stage} windows, or their errors, are nan or infinite{when} (channel"
            f"{'s' * (len(channels) > 1)} {join_names(channels)}); {remedy}."
        )

    def _collect(self, stage: str) -> dict[str, Results]:
        """Result of a stage by row; raises InputError for forecasts that are not finite."""
        tables: dict[str, Results] = {name: errors.results() for name, errors in self.errors.items()}
        self.measured[stage] = int(self.errors[MODEL].windows)
        if self.deviations.windows:
            self.spread[stage] = ErrorTable(*map(torch.atleast_2d, self.deviations.compute())).summary()
            self.deviations.reset()
        bad = {name: errors.channels_not_finite for name, errors in self.errors.items()}
        for errors in self.errors.values():
            errors.reset()
        for name, channels in bad.items():
            if channels:
                raise InputError(self._describe_not_finite(name, channels, stage))
        self.results[stage] = tables
        return tables


def is_certain(model: AbstractForecaster) -> bool:
    """True for a rule that chooses a class and gives no probability."""
    return getattr(model, "certain", False)


def naive_forecasts(spec: WindowSpec) -> dict[str, AbstractForecaster]:
    """The naive forecast, and the seasonal one if a window holds a season, as rows of the result table."""
    seasonal = 1 < spec.season <= spec.past_steps
    return {NAIVE: Naive(spec), **({SEASONAL_NAIVE: SeasonalNaive(spec)} if seasonal else {})}


def naive_labels(spec: WindowSpec) -> dict[str, AbstractForecaster]:
    """The shares of the classes, or the mean of a number, as a row of the result table."""
    return {MAJORITY if any(spec.classes) else MEAN: Prior(spec)}


def naive_symbols(spec: WindowSpec) -> dict[str, AbstractForecaster]:
    """The same at each step, and the last value again."""
    return {**naive_labels(spec), REPEATED: SymbolBack(spec, 1)}


def simple_estimates(spec: WindowSpec) -> dict[str, AbstractForecaster]:
    """Rules that fill gaps, as rows of the result table; those with a season if a window holds one."""
    rules: dict[str, AbstractForecaster] = {LAST: LastValue(spec), LINEAR: Interpolation(spec), SPLINE: Spline(spec)}
    seasonal = 1 < spec.season <= spec.past_steps
    return rules | ({SEASON_AGO: SeasonAgo(spec), SEASONAL: Seasonal(spec)} if seasonal else {})


# By ``WindowSpec.kind``
NAIVE_ROWS = {
    "ahead": naive_forecasts,
    "past": simple_estimates,
    "sequence": naive_labels,
    "step": naive_labels,
    "next": naive_symbols,
}


def tensors_of(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name."""
    return chain(model.named_parameters(), model.named_buffers())


def first_not_finite(scalars: list[Tensor], steps: int) -> int:
    """Number, from 1 on, of the first of ``steps`` steps with a scalar that is not finite, else ``steps`` + 1.

    Each step has the same number of scalars, except that the last one may have fewer.
    """
    bad = (~torch.stack(scalars).isfinite()).nonzero()
    per_step = -(-len(scalars) // max(1, steps))
    return int(bad[0]) // per_step + 1 if len(bad) else steps + 1


def mean(scalars: list[Tensor]) -> float:
    """Mean of scalars on a device; 0 without any."""
    return float(torch.stack(scalars).mean()) if scalars else 0.0


def keep_settings(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with the settings, such as the learning rate, that ``optimizer`` has now."""
    groups = zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True)
    return {**state, "param_groups": [{**now, "params": before["params"]} for now, before in groups]}
