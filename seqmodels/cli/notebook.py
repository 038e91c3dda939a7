"""``seqmodels.fit``: the command ``train`` as a function, for a notebook or a script."""

import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import polars as pl
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from seqmodels.cli import launch as launch  # registers the resolvers that configs use
from seqmodels.cli.commands.train import run_training
from seqmodels.cli.main import sequence_model
from seqmodels.cli.messages import CommandLine, sentence
from seqmodels.cli.secrets import is_secret, mask_secrets
from seqmodels.config.check import check
from seqmodels.config.compose import packaged_folder, private_hydra
from seqmodels.config.targets import nearest
from seqmodels.errors import InputError
from seqmodels.inference.backtest import Evaluation
from seqmodels.inference.filling import Filled
from seqmodels.inference.forecast import Forecast, TrainedModel
from seqmodels.kernels import build
from seqmodels.report.objections import Objection
from seqmodels.report.output import echo, to_text
from seqmodels.signals import Interrupted, handled_by, raise_at_once
from seqmodels.training.callbacks.figures import draw_forecasts
from seqmodels.training.run import Run

# Options of the group data: to forecast a table, to label its sequences, to fill its gaps
DATA, SEQUENCES, GAPS = "csv", "sequences", "gaps"
FILL = "fill"  # the model that fills gaps
GROUPS = ("model", "optimizer", "scheduler", "trainer", "callbacks", "logger", "experiment", "debug")


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRun(TrainedModel):
    """Result of ``fit``: the trained model, its result table and its run directory.

    ``value`` is the monitored metric on the validation windows. ``checkpoint``: the best one, for ``seqmodels.load``.
    """

    run: Run
    value: float

    @property
    def table(self) -> pl.DataFrame:
        """One row per stage, channel and forecast (the model, naive ones, ridge), with measures and windows."""
        return pl.DataFrame(self.run.rows)

    @property
    def objections(self) -> list[Objection]:
        """Reasons to doubt the figures: codes and sentences, see ``docs/objections.md``."""
        return self.run.objections

    @property
    def directory(self) -> Path:
        """The run directory: config, metrics, checkpoints, figures, TensorBoard events."""
        return self.run.directory

    def forecast(self, rows: Any = None, **settings: Any) -> Forecast:
        """Forecast the steps after the last row, by default of the training data; see ``TrainedModel.forecast``."""
        return super().forecast(self.run.data.path if rows is None else rows, **settings)

    def fill(self, rows: Any = None, **settings: Any) -> Filled:
        """Fill the gaps of a table, by default of the training data; see ``TrainedModel.fill``."""
        return super().fill(self.run.data.path if rows is None else rows, **settings)

    def evaluate(self, rows: Any = None, **settings: Any) -> Evaluation:
        """Measure the model at many origins, by default of the test part; see ``TrainedModel.evaluate``."""
        if rows is not None:
            return super().evaluate(rows, **settings)
        return self.evaluate_series(self.run.data.source_series, own=True, **settings)

    def plot(self, stage: str = "test", windows: int = 6) -> Figure:
        """Forecasts on windows spread evenly over a stage, beside the truth and the naive forecast."""
        return draw_forecasts(self.run.module, self.run.data, stage, windows, f"{stage.capitalize()} forecasts")

    def __repr__(self) -> str:
        return to_text(self.run.result_table())


def fit(
    data: Any,
    *,
    target: str | Sequence[str] | None = None,
    time: str | Sequence[str] | None = "auto",
    horizon: int | None = None,
    model: str | None = None,
    directory: str | PathLike[str] | None = None,
    **overrides: Any,
) -> TrainedRun:
    """Train a model on a table, test its best weights beside the naive forecasts, and write a run directory.

    ``data`` is a data frame of pandas or polars, an Arrow table, or a value of ``data.path``: a CSV or Parquet file, a
    list of files, a directory. ``model`` and every other group take the name of an option, such as ``optimizer="sgd"``.

    ``target``: the columns to forecast. With ``label``, whole sequences are labelled instead, as by data=sequences;
    ``target`` then names their channels, by default all other columns, and the default model is "classifier". With
    model="fill", the model learns to fill gaps, as by data=gaps; with ``predict="next"`` it predicts the next symbol at
    each step of sequences, with "step" the ``label`` of the step, and the default model is "symbols".

    ``overrides`` are all other settings of the command line: arguments of the data by their own names
    (``past_steps=56``, ``id="shop"``), top-level keys (``seed=1``), a mapping for the keys of a group
    (``trainer={"max_epochs": 5}``), nested keys with two underscores or in a mapping (``model__backbone__hidden=64``,
    ``**{"model.backbone.hidden": 64, "model/readout": "seq_to_vector"}``).

    Classes of your own packages are named by mappings with a ``_target_``, and ``allow=["mypackage"]``; see
    ``docs/extending.md``.

    Defaults, checks and files are those of ``seqmodels train``. ``directory`` is by default a new one under ``runs``,
    or that of ``ckpt_path``.

    Raises InputError, with a message of one sentence, for every mistake that the user can correct. On Ctrl-C, which
    raises KeyboardInterrupt, the current step is finished and a checkpoint written: ``ckpt_path`` continues from it.
    """
    given = {"target": target, "horizon": horizon, **overrides} | ({} if time == "auto" else {"time": time})
    settings = {key: _plain(value) for key, value in given.items() if value is not None or key in ("time", *overrides)}
    sequences = bool(overrides.keys() & {"label", "predict"}) or str(data).lower().endswith(".ts")
    kind = SEQUENCES if sequences else GAPS if model == FILL or "hide" in overrides else DATA
    model = model or {SEQUENCES: sequence_model({**settings, "path": data}), GAPS: FILL, DATA: "auto"}[kind]
    if target is None and not sequences:
        raise InputError("fit needs target=, the column or columns to forecast, or label=, that of whole sequences.")
    frame = not isinstance(data, (str, PathLike, list, tuple))
    resumed = launch.run_of(settings.get("ckpt_path"))
    folder = Path(directory) if directory else resumed or _new_directory("frame" if frame else kind, model)
    launch.refuse_used(folder, settings.get("ckpt_path"))
    path = f"<{type(data).__module__.partition('.')[0]} data frame>" if frame else _plain(data)
    config = _config(kind, model, {**settings, "data.path": path}, folder)
    made = {"path": data} if frame else {}
    try:
        with _restore_globals(), handled_by(raise_at_once):
            command = _call(path, {"model": model, **settings})
            run, value = run_training(config, folder, model, command, _resume, mask_secrets(settings), **made)
        return TrainedRun(**vars(run.trained()), run=run, value=value)
    except Interrupted as stop:
        stopped = stop
    echo(str(stopped))
    sys.stdout.flush()
    signal.raise_signal(stopped.number)  # what Python or the program does on this signal: KeyboardInterrupt for Ctrl-C
    raise KeyboardInterrupt(str(stopped))


def _resume(checkpoint: Path) -> str:
    return f"the same call and ckpt_path={str(checkpoint)!r}"


def _new_directory(data: str, model: str) -> Path:
    return Path("runs", f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{data}_{model}")


def _plain(value: Any) -> Any:
    """Convert to values that a config can hold: primitives, lists and mappings; dates and paths become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


def _config(kind: str, model: str, settings: Mapping[str, Any], directory: Path) -> DictConfig:
    """The checked and resolved config of the run; the global state of Hydra is restored afterwards."""
    folder = packaged_folder()
    choices = {"data": kind, "model": model}
    choices |= {key: value for key, value in settings.items() if _is_choice(key, value)}
    arguments = [f"{group}={choice}" for group, choice in choices.items()]
    try:
        with private_hydra(folder, "train"):
            config = compose("train", overrides=arguments, return_hydra_config=True)
            known = {*map(str, config), *(group.partition("/")[0] for group in config.hydra.runtime.choices)}
            with open_dict(config):
                config.hydra.runtime.output_dir = str(directory.absolute())
                HydraConfig.instance().set_config(config)
                for key, value in settings.items():
                    if key not in choices:
                        _set(config, key, value)
                del config.hydra
            check(config, known)
            OmegaConf.resolve(config)
    except HydraException as error:
        raise InputError(sentence(error, CommandLine(folder, "train", arguments)) or str(error)) from None
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise InputError(f"an argument of fit is not a value that a config can hold: {reason}.") from None
    return config


def _is_choice(key: str, value: Any) -> bool:
    return "/" in key or (key in GROUPS and (isinstance(value, str) or value is None))


def _set(config: DictConfig, key: str, value: Any) -> None:
    """Set the value of the user's ``key``; a mapping is merged into the existing one unless it names a class itself."""
    place = _place(config, key)
    merges = isinstance(value, Mapping) and "_target_" not in value
    if merges and OmegaConf.is_dict(OmegaConf.select(config, place)):
        for name, inner in value.items():
            OmegaConf.update(config, f"{place}.{name}", inner, merge=False)
    else:
        OmegaConf.update(config, place, value, merge=False)


def _place(config: DictConfig, key: str) -> str:
    """The full key in the config; raises InputError for an unknown key."""
    dotted = key.replace("__", ".")
    known = list(_keys(config))
    if dotted in known:
        return dotted
    if f"data.{dotted}" in known:
        return f"data.{dotted}"
    parent, _, leaf = dotted.rpartition(".")
    if parent in known and "_target_" in OmegaConf.select(config, parent):
        return dotted  # perhaps an argument that no file lists; the check of the config decides
    arguments = [name.removeprefix("data.") for name in known]
    raise InputError(f"fit has no argument {key}.{nearest(dotted, arguments)}")


def _keys(node: DictConfig, start: str = "") -> Iterator[str]:
    for name in map(str, node):
        if not name.startswith("_"):
            yield f"{start}{name}"
            inner = node._get_node(name)
            if isinstance(inner, DictConfig):
                yield from _keys(inner, f"{start}{name}.")


def _call(path: Any, settings: Mapping[str, Any]) -> str:
    """The call as Python code for ``command.txt``, with secrets masked."""
    shown = {key: "***" if is_secret(key) else value for key, value in settings.items()}
    plain = [f"{key}={value!r}" for key, value in shown.items() if key.isidentifier()]
    others = {key: value for key, value in shown.items() if not key.isidentifier()}
    return f"seqmodels.fit({', '.join([repr(path), *plain, *([f'**{others!r}'] if others else [])])})"


@contextmanager
def _restore_globals() -> Iterator[None]:
    """Restore warning filters, kernels, the number of threads and the rounding of denormal numbers after a run."""
    kernels, threads, flushed = build.choice, torch.get_num_threads(), flushes_denormals()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            build.choice = kernels
            torch.set_num_threads(threads)
            torch.set_flush_denormal(flushed)


def flushes_denormals() -> bool:
    """True if numbers below the normal range are rounded to 0; torch offers no way to ask."""
    return float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0
