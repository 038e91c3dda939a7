"""One training run: fit a model, restore its best weights, measure it beside naive forecasts, write the results."""

import gc
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import RenderableType

from datamodules.base import WindowDataModule
from seqmodels.checkpoint import KEY, load, read, write
from seqmodels.class_metrics import CLASS_MEASURES, STEP_MEASURES
from seqmodels.ensemble import check_members
from seqmodels.errors import InputError, require_choice
from seqmodels.inference.calibration import Calibration, ErrorSample
from seqmodels.inference.forecast import TrainedModel, write_forecast
from seqmodels.inference.scores import SCORES, Scales, WindowScores, write_scores
from seqmodels.kernels.build import KERNELS
from seqmodels.metrics import MEASURES, MODEL, NAIVE, SEASONAL_NAIVE, Measure
from seqmodels.report.objections import (
    BAND,
    Bands,
    Evidence,
    Objection,
    find_objections,
    level_changes,
)
from seqmodels.report.output import echo, format_number, pluralise, show
from seqmodels.report.results import result_rows, result_table, write_results
from seqmodels.training import loop
from seqmodels.training.callbacks import figures, scalars
from seqmodels.training.callbacks.resume import WholeFiles, check_writable
from seqmodels.training.module import RUN, ForecastModule
from seqmodels.window import AbstractForecaster, ClosedForm, Window

MOST_JUDGED = 2**22  # errors of each row and stage that objections look at
# Options of the group model that may stand beside a trained one, and the kind of target that they predict
RIVALS = {
    **dict.fromkeys(("ridge", "auto_ets", "auto_arima", "theta", "mstl", "sarimax"), "ahead"),
    **dict.fromkeys(("nearest_neighbour", "dtw"), "sequence"),
    "symbol_back": "next",
    **dict.fromkeys(("kriging", "kalman"), "past"),
}
# Table and picture at the end of a run, by the kind of target
WRITTEN = {"ahead": ("forecast.csv", "forecast_future.png"), "past": ("filled.csv", "filled.png")}
LAST = "checkpoints/last.ckpt"  # in a run directory, to go on from


def fit_closed_parts(model: AbstractForecaster, data: WindowDataModule) -> None:
    """Fit the parts of a model that have a closed form, before its first step of training."""

    def sample(stage: str, most: int) -> Iterator[Window]:
        return (window._replace(inputs=model.seen(window.inputs)) for window in data.sample(stage, most))

    for part in (part for single in model.singles for part in single.modules()):
        if isinstance(part, ClosedForm):
            part.fit_closed_form(sample)


def monitors() -> list[str]:
    """Metrics that can decide which weights are the best: logged at every validation, and the smaller the better."""
    every = {**MEASURES, **CLASS_MEASURES, **STEP_MEASURES}.items()
    measures = [name for name, one in every if one.smaller_is_better and not (one.needs_naive or one.needs_bands)]
    return [*(f"validation/{name}" for name in measures), "loss/validation"]


@dataclass(frozen=True)
class Plan:
    """The settings of a run that belong to no other object; raises ``InputError`` for a value that cannot work.

    ``kernels``: as ``choose_kernels`` takes it. ``monitor`` decides which checkpoint is the best, when to stop early,
    and what a sweep ranks by.
    ``optimizer_steps``: length of training where the trainer sets none. ``dropout_passes``: forecasts with dropout left
    on behind the error bars of figures; 0 for none. ``ckpt_path``: checkpoint to resume from. ``forecast``: if True, a
    run on a table ends with a forecast of the steps after its last row. ``resume_schedule``: "restart" begins the
    schedule of the learning rate anew, from its own rate over the remaining steps. ``rivals``: models that are fitted
    without steps, with a row of their own in the result table of a trained model. ``ensemble`` and ``combine``: see
    ``seqmodels.ensemble.Ensemble``; 1 is a single model.
    """

    seed: int = 0
    threads: int | str = "auto"
    kernels: str = "auto"
    optimizer_steps: int = 4400
    monitor: str = "validation/mase"
    dropout_passes: int = 0
    ckpt_path: str | None = None
    forecast: bool = True
    resume_schedule: str | None = None
    rivals: Sequence[str] | str | None = ("ridge", "nearest_neighbour", "dtw", "symbol_back", "kriging", "kalman")
    ensemble: int | Sequence[int] = 1
    combine: str = "mean"

    def __post_init__(self) -> None:
        if self.monitor not in monitors():
            raise InputError(f"monitor is {self.monitor!r}; it must be one of {', '.join(monitors())}.")
        require_choice(KERNELS, "", kernels=self.kernels)
        for name, least in (("seed", 0), ("optimizer_steps", 1), ("dropout_passes", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}.")
        if self.seed >= 2**32:
            raise InputError(f"seed is {self.seed}; it must be less than 2**32.")
        if self.resume_schedule not in (None, "restart"):
            raise InputError(f"resume_schedule is {self.resume_schedule!r}; it must be null or 'restart'.")
        if not isinstance(self.rivals, (str, Sequence, type(None))):
            raise InputError(f"rivals is {self.rivals}; it must be a list of names, such as [ridge], or [] for none.")
        for rival in self.rival_names:
            if rival not in RIVALS:
                raise InputError(f"rivals holds {rival!r}; it may hold {', '.join(RIVALS)}, and [] is for none.")
        check_members(self.ensemble, self.combine)
        if self.dropout_passes == 1:
            raise InputError("dropout_passes is 1; it must be 0, for none, or at least 2, for a deviation.")

    @property
    def rival_names(self) -> tuple[str, ...]:
        """The names in ``rivals``, which may be one name or None."""
        return (self.rivals,) if isinstance(self.rivals, str) else tuple(self.rivals or ())


@dataclass
class Run:
    """A training run: the data, set up, the module, the trainer and the plan.

    ``name`` is what the user calls the model, ``directory`` the run directory.
    """

    name: str
    directory: Path
    data: WindowDataModule
    module: ForecastModule
    trainer: pl.Trainer
    plan: Plan
    rivals: Mapping[str, AbstractForecaster] = field(default_factory=dict)  # by name, to be fitted beside the model
    started: float = field(default_factory=time.monotonic)
    calibration: Calibration | None = None  # of the kept weights, once they were evaluated
    tested: ErrorSample | None = None  # errors on the test windows in the units of the calibration
    samples: dict[str, dict[str, ErrorSample]] = field(default_factory=dict)  # by stage and row, once evaluated

    def complete(self, chosen: Mapping[str, Any]) -> float:
        """Fit, measure, show and write everything; the monitored value of the kept weights on the validation windows.

        ``chosen``: the settings of the user by key, plain values, which loggers show among the hyperparameters.
        """
        if self.module.trainable:
            self.fit()
        self.fit_in_closed_form()
        self.evaluate()
        show(self.result_table())
        if spread := self.module.spread.get("test"):
            echo(f" spread: {describe_spread(len(self.module.forecaster.singles), spread)}")
        for code, text in self.objections:
            echo(f" {code}: {text}", style="yellow")
        passes = self.plan.dropout_passes
        folder, loggers = self.directory / "figures", self.trainer.loggers
        figures.save_final_figures(self.module, self.data, folder, dropout_passes=passes, loggers=loggers)
        self.keep_calibration()
        if self.plan.forecast and self.data.columns is not None and not self.data.spec.labels:
            self.forecast()
        return self.write(chosen)

    def fit(self) -> None:
        """Train from the start or from a checkpoint, then put the best weights back, and say which they are."""
        trainer, module, ckpt_path = self.trainer, self.module, self.plan.ckpt_path
        if ckpt_path is not None:
            self._announce(ckpt_path, read(ckpt_path))
        else:
            fit_closed_parts(module.forecaster, self.data)
        check_writable(trainer)
        trainer.strategy.checkpoint_io = WholeFiles()
        loop.install(trainer)
        if trainer.max_steps != -1:
            trainer.callbacks.insert(0, loop.ValidateLastStep())  # type: ignore[attr-defined]  # set by a connector
        started = time.perf_counter()
        frozen = gc.get_freeze_count() > 0  # by the command, before anything of a run existed
        gc.collect()
        if not frozen:
            gc.freeze()  # what the libraries have loaded stays: collecting it over and over costs 10 % of a small model
        try:
            trainer.fit(module, datamodule=self.data, ckpt_path=ckpt_path, weights_only=True)
        except InputError:  # numbers that are not finite
            if self.best_checkpoint is not None:
                echo(f"The best checkpoint until then is {relative_to_here(self.best_checkpoint)}")
            raise
        finally:
            if not frozen:
                gc.unfreeze()
        module.fit_seconds[MODEL] = time.perf_counter() - started
        self._restore_best()

    def fit_in_closed_form(self) -> None:
        """Fit a model that has a closed form; beside a trained one, fit the rivals, unless ridge takes long."""
        model, device = self.module.forecaster, self.data.loaders["train"].tensors.device
        if isinstance(model, ClosedForm):
            self._fit_rival(MODEL, model.to(device))
        elif self.module.trainable:
            for name, rival in self.rivals.items():
                if not getattr(rival, "affordable", True):
                    continue
                try:
                    self._fit_rival(name, rival.to(device))
                except InputError as reason:
                    echo(f" no row {name}: {reason}")
                else:
                    self.module.add_row(name, rival)

    def _fit_rival(self, name: str, model: AbstractForecaster) -> None:
        """Fit in closed form, and print the result."""
        started, model.rows = time.perf_counter(), self.data.rows()
        assert isinstance(model, ClosedForm)
        model.fit_closed_form(self.data.sample)
        self.module.fit_seconds[name] = time.perf_counter() - started
        for line in getattr(model, "description", ()):
            echo(f" {self.name if name == MODEL else name}: {line}")

    def _announce(self, path: str, checkpoint: Mapping[str, Any]) -> None:
        steps, epochs = checkpoint["global_step"], count_epochs(checkpoint)
        echo(f"Resuming from {path}, after {pluralise(steps, 'step')} and {pluralise(epochs, 'epoch')}.")
        if self.is_finished(checkpoint):
            limit = "max_steps" if steps >= self.trainer.max_steps > 0 else "max_epochs"
            echo(f"Nothing is left to train: trainer.{limit} is {getattr(self.trainer, limit)}.")
        elif self.module.restarts_schedule:
            left = count_optimizer_steps(self.trainer, len(self.data.train_dataloader())) - steps
            length = f" over the remaining {pluralise(int(left), 'step')}" if left < math.inf else ""
            echo(f"The schedule of the learning rate begins anew{length}.")

    @property
    def nothing_left(self) -> bool:
        """True if the run resumes from a checkpoint after which nothing is left to train."""
        return self.plan.ckpt_path is not None and self.is_finished(read(self.plan.ckpt_path))

    def is_finished(self, checkpoint: Mapping[str, Any]) -> bool:
        """True if nothing is left to train after the checkpoint."""
        epochs, steps = self.trainer.max_epochs, self.trainer.max_steps
        ended = epochs is not None and count_epochs(checkpoint) >= epochs > 0
        return ended or checkpoint["global_step"] >= steps > 0

    def _restore_best(self) -> None:
        kept = self.best_checkpoint
        if kept is None:
            echo("Testing the weights of the last step: no best checkpoint was kept.")
            return
        best = read(kept)
        self.module.load_state_dict(best["state_dict"])
        self.module.best_epoch = best["epoch"] + 1
        epochs = self.trainer.current_epoch
        kind = "last" if getattr(self.trainer.checkpoint_callback, "monitor", None) == "step" else "best"
        echo(f"Testing the {kind} checkpoint, epoch {self.module.best_epoch} of {epochs}: {relative_to_here(kept)}")

    @property
    def best_checkpoint(self) -> Path | None:
        """The checkpoint with the best monitored value; that of a model without weights, once written; None if none."""
        if not self.module.trainable:
            return self.best_checkpoint_path if self.best_checkpoint_path.is_file() else None
        keeper = self.trainer.checkpoint_callback
        path = getattr(keeper, "best_model_path", "") if getattr(keeper, "monitor", None) else ""
        return Path(path) if path else None

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to continue from, as the user would type it, if one was written."""
        path = self.directory / LAST
        return relative_to_here(path) if path.is_file() else None

    @property
    def progress(self) -> str:
        """Progress of training and the best epoch so far: "in epoch 3 of 20 after 57 steps; best ..."."""
        trainer, keeper = self.trainer, self.trainer.checkpoint_callback
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        epoch = trainer.current_epoch + 1
        place = f"epoch {epoch}" if last is None else f"epoch {min(epoch, last)} of {last}"
        text = f"in {place} after {pluralise(trainer.global_step, 'step')}"
        best, score = self.best_checkpoint, getattr(keeper, "best_model_score", None)
        if best is None or not best.is_file() or score is None:
            return text
        return f"{text}; best {self.plan.monitor} {format_number(float(score))} (epoch {read(best)['epoch'] + 1})"

    def evaluate(self) -> None:
        """Measure the model and the naive forecasts on the validation and test windows, into ``module.results``."""
        module, spec = self.module, self.data.spec
        shape = spec.horizon, len(spec.predicted)
        own = {
            stage: ErrorSample(self.data.windows[stage], *shape, pooled=not spec.ahead)
            for stage in ("validation", "test")
        }
        for stage in ("validation", "test"):
            windows = self.data.windows[stage]
            module.stage = stage
            if not spec.labels:
                module.sample = own[stage]
            if spec.ahead:  # objections are about the future
                module.samples = {row: ErrorSample(windows, *shape, MOST_JUDGED) for row in module.rows}
                module.measure_in(self.data.denominators[stage])
            if spec.ahead and stage == "test" and windows:
                module.bands, module.scores = self._calibrate(own["validation"]), self._new_scores(windows)
            if windows:
                self.trainer.test(module, dataloaders=self.data.loaders[stage], verbose=False)
                self.samples[stage] = module.samples
        module.sample, module.samples, module.bands = None, {}, {}
        module.restore_types()
        for note in dict.fromkeys(note for model in module.rows.values() for note in model.notes):
            echo(f" {note}", style="yellow")
        self.calibration, self.tested = own["validation"].calibrate(), own["test"]

    def _calibrate(self, own: ErrorSample) -> dict[str, Calibration | None]:
        """Bands of each row of the table from its errors on the validation windows; ``own`` are those of the model."""
        samples = self.samples.get("validation", {}) | {MODEL: own}
        return {row: samples[row].calibrate() if row in samples else None for row in self.module.rows}

    def _new_scores(self, windows: int) -> dict[str, WindowScores]:
        data = self.data
        scales = Scales(data.denominators["test"].double(), data.scale_of_test(data.series, data.spec.season, power=2))
        return {row: WindowScores(windows, scales) for row in self.module.rows}

    def write_scores(self) -> None:
        """Write the sums of each test window and row, from which runs are compared."""
        if self.module.scores:
            write_scores(self.directory / SCORES, self.module.scores, self.data.series)

    def keep_calibration(self) -> None:
        """Add the calibration to the best checkpoint; a model that is not trained by steps gets its checkpoint now."""
        keeps = self.data.columns is not None or isinstance(self.module.forecaster, ClosedForm)
        if keeps and not self.module.trainable:
            self.best_checkpoint_path.parent.mkdir(parents=True, exist_ok=True)
            saved: dict[str, Any] = {"state_dict": self.module.state_dict(), "epoch": -1, "global_step": 0}
            self.module.on_save_checkpoint(saved)
        elif self.best_checkpoint is not None:
            saved = read(self.best_checkpoint)
        else:
            return
        saved[KEY]["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        write(self.best_checkpoint or self.best_checkpoint_path, saved)

    @property
    def best_checkpoint_path(self) -> Path:
        """The file of the best checkpoint in the run directory."""
        return self.directory / "checkpoints" / "best.ckpt"

    def trained(self) -> TrainedModel:
        """The trained model, on the CPU, with what it needs to forecast."""
        model = self.module.forecaster.cpu().eval()
        return TrainedModel(model, self.data.encoder(), self.calibration, self.best_checkpoint)

    def forecast(self) -> None:
        """Show the forecast of the steps after the last row, or the filled gaps; write it as a table and a picture."""
        trained, (table, picture) = self.trained(), WRITTEN[self.data.spec.kind]
        make = trained.forecast_series if self.data.spec.ahead else trained.fill_series
        try:
            made = make(self.data.source_series)
        except InputError as error:
            echo(f"No {table}: {error}")
            return
        show(made)
        write_forecast(made, self.directory / table, self.directory / "figures" / picture)

    def result_table(self) -> RenderableType:
        """The errors of the model and of the naive forecasts, for the terminal."""
        module, spec = self.module, self.data.spec
        return result_table(module.results, module.measured, self.name, spec.predicted, spec.stateful)

    @cached_property
    def objections(self) -> list[Objection]:
        """Reasons to doubt the figures of a fitted model; empty before they are measured."""
        module, data = self.module, self.data
        if (
            "test" not in self.samples
            or not data.spec.ahead
            or not (module.trainable or isinstance(module.forecaster, ClosedForm))
        ):
            return []
        errors = {
            stage: {row: torch.cat(sample.errors).numpy() for row, sample in rows.items()}
            for stage, rows in self.samples.items()
        }
        sample, overlap = self.samples["test"][MODEL], data.find_overlap()
        origins, series = torch.cat(sample.origins).numpy(), torch.cat(sample.series).numpy()
        time = data.series.time
        return find_objections(
            Evidence(
                self.name,
                module.results,
                module.measured,
                errors,
                origins - data.series.offsets[series] if time is None else time[origins],
                series,
                self._bands(),
                module.best_epoch,
                self.trainer.current_epoch,
                module.validations,
                level_changes(data.series, data.spans) if data.split_by == "time" else None,
                overlap.series if overlap is not None and (overlap.early, overlap.late) == ("train", "test") else 0,
                module.fit_seconds,
            )
        )

    def _bands(self) -> Bands | None:
        """Coverage and width of the calibrated bands, on the test windows, beside those of the better naive row."""
        ends = (1 - BAND) / 2, (1 + BAND) / 2
        naive = [self.samples.get("validation", {}).get(row) for row in (NAIVE, SEASONAL_NAIVE)]
        found = [(sample.calibrate(), sample.unit) for sample in naive if sample is not None]
        widths = [bands.width(*ends, unit) for bands, unit in found if bands is not None]
        if self.calibration is None or self.tested is None or not widths:
            return None
        coverage = self.calibration.coverage(torch.cat(self.tested.errors), *ends)
        return Bands(coverage, self.calibration.width(*ends, self.tested.unit), min(widths))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The result table as records, see ``report.results.result_rows``."""
        return result_rows(self.module.results, self.module.measured, self.name, self.data.spec.predicted)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """Measures of predictions of this kind."""
        return self.module.results["validation"][MODEL].measures

    def write(self, chosen: Mapping[str, Any]) -> float:
        """Write metrics.json, metrics.csv and the summary of the loggers; the monitored value of the kept weights."""
        value, module, trainer, rows = self.monitored(), self.module, self.trainer, self.rows
        summary = {
            "model": self.name,
            "monitor": {"name": self.plan.monitor, "value": value},
            "best_epoch": module.best_epoch,
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "parameters": sum(parameter.numel() for parameter in module.forecaster.parameters()),
            "fit_seconds": round(module.fit_seconds.get(MODEL, 0.0), 3),
            "seconds": round(time.monotonic() - self.started, 3),
            **({"members": len(module.forecaster.singles), "spread": module.spread} if module.spread else {}),
            "test": {
                "horizon": self.data.spec.horizon,
                "together": max((one.every for one in module.scores.values()), default=1),
                "fit_seconds": module.fit_seconds,
                "forecast_seconds": {
                    row: seconds / module.measured["test"] for row, seconds in module.forecast_seconds.items()
                },
            },
            "data": module.recorded.get("data"),
            "objections": [objection._asdict() for objection in self.objections],
        }
        self.write_scores()
        write_results(self.directory, summary, rows)
        own = [row for row in rows if row["row"] == self.name and row["channel"] == "all"]
        figures_of_model = {f"{row['stage']}/{measure}": row[measure] for row in own for measure in self.measures}
        settings = {"model": self.name, "data": self.data.series.source, "seed": self.plan.seed}
        rate = getattr(module.optimizer, "keywords", {}).get("lr")
        settings |= {"optimizer.lr": rate} if module.trainable and rate is not None else {}
        settings |= {"parameters": summary["parameters"], **chosen}
        scalars.log_hyperparameters(trainer.loggers, settings, figures_of_model, trainer.global_step)
        echo(f"Everything about this run is in {relative_to_here(self.directory)}")
        return value

    def monitored(self) -> float:
        """The monitored figure on the validation windows, for the weights that were kept."""
        name = self.plan.monitor
        if name == "loss/validation":
            keeper = self.trainer.checkpoint_callback
            score = getattr(keeper, "best_model_score", None) if getattr(keeper, "monitor", None) == name else None
            return float("nan") if score is None else float(score)
        return self.module.results["validation"][MODEL].summary()[name.removeprefix("validation/")]


def describe_spread(members: int, spread: Mapping[str, float]) -> str:
    """One sentence on how far the members of an ensemble lie from its forecast."""
    scaled = f", or {format_number(spread['mase'])} seasonal errors" if math.isfinite(spread["mase"]) else ""
    return f"in the test part, the {members} members lie {format_number(spread['mae'])}{scaled}, from the ensemble."


def check_weights(path: str, checkpoint: Mapping[str, Any], module: ForecastModule) -> None:
    """Raise InputError unless the checkpoint has the module's names and shapes of weights, and its spec."""
    given, wanted = (
        {name: tuple(weight.shape) for name, weight in weights.items()}
        for weights in (checkpoint["state_dict"], module.state_dict())
    )
    differing = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
    if differing:
        name = differing[0]
        raise InputError(
            f"ckpt_path={path} does not fit the model: {name} has shape {given.get(name, 'none')} there and"
            f" {wanted.get(name, 'none')} here; resume with the model and data of the run that wrote it."
        )
    before, now = checkpoint[KEY]["spec"], module.spec.to_dict()
    if now.keys() - before.keys():
        _check_scaler(path, module)
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            raise InputError(
                f"ckpt_path={path} was written on other data: {name} was {before[name]} and is {now[name]};"
                " resume with the data of that run."
            )


def _check_scaler(ckpt_path: str, module: ForecastModule) -> None:
    """Raise InputError if the scaler is another one than in a run of an earlier version, which measured less."""
    then, now = (getattr(model, "scaler", None) for model in (load(ckpt_path), module.forecaster))
    if str(then) != str(now):
        raise InputError(
            f"ckpt_path={ckpt_path} was written by an earlier version, where model/scaler=auto was {then}; it is {now}"
            " now: set model/scaler to that of the run."
        )


def count_epochs(checkpoint: Mapping[str, Any]) -> int:
    """Epochs whose training steps were all done when the checkpoint was written."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def count_optimizer_steps(trainer: pl.Trainer, batches: int) -> float:
    """Optimizer steps of a whole fit, infinite without a limit; the trainer itself can tell only during a fit."""
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
    epochs = trainer.max_epochs if trainer.max_epochs is not None else -1 if trainer.max_steps > 0 else 1000
    steps = math.inf if epochs < 0 else math.ceil(batches / trainer.accumulate_grad_batches) * max(epochs, 1)
    return min(steps, trainer.max_steps) if trainer.max_steps >= 0 else steps


def planned_steps(checkpoint: Mapping[str, Any]) -> int | None:
    """Last optimizer step of the schedule in a checkpoint; None if the schedule has no end."""
    start = checkpoint.get(RUN, {}).get("schedule_start", 0)
    for state in checkpoint["lr_schedulers"]:
        length = state.get("total_steps", state.get("T_max"))
        if length is not None:
            return int(start + length)
    return None


def relative_to_here(path: Path) -> Path:
    """A path as the user would type it in the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
