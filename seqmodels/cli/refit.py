"""Repetitions of a training run on earlier or later rows, each with new weights."""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from datamodules.encoder import RowEncoder, rows_before
from datamodules.series import SeriesSet
from seqmodels.cli.commands.train import run_training
from seqmodels.errors import InputError
from seqmodels.inference.backtest import Fold, Trained
from seqmodels.inference.forecast import TrainedModel
from seqmodels.report.output import echo, pluralise

CONFIG = "config.yaml"
# Settings of a run that only repeats another: nothing beside the model is measured, drawn or logged
BARE = {"forecast": False, "rivals": [], "ckpt_path": None, "resume_schedule": None, "dropout_passes": 0, "logger": {}}


def trainer_of(model: TrainedModel, directory: Path, command: str) -> Callable[[SeriesSet, Fold], Trained]:
    """A function that trains the model of a run anew on the rows before a fold, in a run directory of its own.

    The settings are those in the run's ``config.yaml``. Of the rows before the fold, the last ones are the validation
    part, as many as the run had. Parameters, statistics, calibration and random numbers are new.

    Raises InputError if the run has no such file, and if whole series were its parts.
    """
    file = None if model.checkpoint is None else model.checkpoint.absolute().parent.parent / CONFIG
    if file is None or not file.is_file():
        raise InputError(f"refit trains a run again, and {model.checkpoint} lies in no run directory with {CONFIG}.")
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    if config.data.split_by != "time":
        raise InputError("refit trains on the rows before each fold, but data.split_by of the run is series.")

    def train(series: SeriesSet, fold: Fold) -> Trained:
        known, steps = rows_before(series, fold.end, list(config.data.split), int(config.data.fold))
        if not len(known) or int(known.lengths.max()) <= steps:
            raise InputError(
                f"fold {fold.number} has no rows before it to train on, apart from the {pluralise(steps, 'step')} of"
                " the validation part; evaluate later rows, or fewer with last=."
            )
        folder = directory / f"fold_{fold.number}"
        echo(f"Fold {fold.number}: training on {pluralise(len(known.values), 'row')} before it, in {folder.name}")
        with redirect_stdout(StringIO()):
            run, _ = run_training(_repeat(config, folder, steps), folder, model.name, command, _resume, {}, path=known)
        made = run.trained()
        assert isinstance(made.encoder, RowEncoder)
        return made.model, made.encoder, made.calibration

    return train


def _repeat(config: DictConfig, folder: Path, steps: int) -> DictConfig:
    """The settings of the run, for rows that end with a validation part of ``steps``."""
    made = config.copy()
    with open_dict(made):
        for key, value in BARE.items():
            made[key] = value
        made.data.split, made.data.fold = [-steps], 0
        for name in [*made.callbacks]:
            node: Any = made.callbacks[name]
            if name in ("figures", "progress", "scalars"):
                made.callbacks[name] = None
            elif node and "dirpath" in node:
                node.dirpath = str(folder / "checkpoints")
    return made


def _resume(checkpoint: Path) -> str:
    return "the same command, which trains all folds again"
