"""Checkpoints that a run resumes from bit by bit: whole files, saved after a signal too, with all random states."""

import random
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from seqmodels.checkpoint import write
from seqmodels.errors import InputError
from seqmodels.report.output import echo
from seqmodels.signals import Interrupted, handled_by


class RandomState(pl.Callback):
    """Saves the generators of torch, NumPy and Python as tensors and primitives, and restores them on resuming.

    They are restored when training starts, because building and the sanity check may draw numbers. CUDA generators
    are restored only on as many devices as before.

    Checkpoint callbacks continue with the best checkpoint beside the one resumed from, even if both were moved: a run
    that continues in another directory gets a copy. If it is absent, a message says that the best is counted anew.
    Early stopping has the patience of the resumed run.

    Checkpoints hold the state under the name of this class: do not rename it.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        name, keys, *rest = np.random.get_state(legacy=True)
        version, internal, gauss = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
            "python": [version, torch.tensor(internal), gauss],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        source, states = Path(str(trainer.ckpt_path)).resolve().parent, checkpoint["callbacks"]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            state = states.get(callback.state_key)
            if isinstance(callback, EarlyStopping) and state:
                state["patience"] = callback.patience
            if isinstance(callback, ModelCheckpoint) and state and state.get("dirpath"):
                moved = take_along(state, source, Path(str(callback.dirpath)))
                states[callback.state_key] = moved
                if state["best_model_path"] and not moved and callback.monitor:
                    echo(f"{source} holds no best checkpoint: the best of {callback.monitor} is counted anew.")

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.loaded is None:
            return
        state, self.loaded = self.loaded, None
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal.tolist()), gauss))


def take_along(state: dict[str, Any], source: Path, target: Path) -> dict[str, Any]:
    """The state of a checkpoint callback, its files copied from ``source`` to ``target``; {} if the best is absent."""
    best = Path(state["best_model_path"]).name
    if not best or not (source / best).is_file():
        return {}
    if source != target.resolve():
        target.mkdir(parents=True, exist_ok=True)
        for name in {best, *(Path(path).name for path in state["best_k_models"])}:
            if (source / name).is_file():
                shutil.copy2(source / name, target / name)
    return replace_directory(state, state["dirpath"], str(target))


def replace_directory(value: Any, old: str, new: str) -> Any:
    """Replace ``old`` at the beginning of each path, in dictionaries to any depth."""
    if isinstance(value, dict):
        return {replace_directory(key, old, new): replace_directory(inner, old, new) for key, inner in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value


class StopOnSignal(pl.callbacks.Checkpoint):
    """Saves ``path`` after the step during which a signal came, and raises ``Interrupted``; a second signal at once.

    A run resumed from ``path`` ends with the same weights as an uninterrupted one, so training stops only where no
    state is lost: before the first step of an epoch, or after an optimizer step that no validation follows. A model
    whose state is carried from batch to batch stops between epochs.
    """

    def __init__(self, path: Path):
        self.path = path
        self.number: int | None = None  # of the signal that came
        self.handlers = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals over, after Lightning, whose handler would end an epoch without a checkpoint."""
        self.number = None
        self.handlers.enter_context(handled_by(self._note))

    def _note(self, number: int, frame: Any) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number = number

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.number is not None:
            reset_counters(trainer.fit_loop.epoch_loop)
            self._stop(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if self.number is not None and getattr(module, "training_state", None) is None and is_between_steps(trainer):
            self._stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.handlers.close()
        if self.number is not None:
            raise Interrupted(self.number)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.handlers.close()

    def _stop(self, trainer: pl.Trainer) -> None:
        assert self.number is not None
        if not getattr(trainer, "fast_dev_run", False):
            trainer.save_checkpoint(self.path)
        raise Interrupted(self.number)


def reset_counters(loop: Any) -> None:
    """Start the batches of an epoch from 0, which Lightning does only after its first hook."""
    for counter in (loop.batch_progress, loop.scheduler_progress, loop.automatic_optimization.optim_progress):
        counter.reset_on_run()


def is_between_steps(trainer: Any) -> bool:
    """True if no gradients are being accumulated and neither a validation nor the end of the epoch comes next."""
    loop = trainer.fit_loop.epoch_loop
    ends = loop._is_training_done or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
    return not (ends or loop._should_accumulate())


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there, so that the one before it is kept until then.

    Lightning writes to the directory of temporary files, which may be on another file system: moving a file from there
    copies it, and leaves half of it if the process or the disk space ends.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        try:
            write(Path(path), checkpoint)
        except OSError as error:
            kept = (
                f"; the one before it is kept, and ckpt_path={path} continues from it" if Path(path).is_file() else ""
            )
            raise InputError(f"{path}: the checkpoint cannot be written ({error.strerror}){kept}.") from error


def check_writable(trainer: pl.Trainer) -> None:
    """Raise InputError unless a file can be created in each directory that checkpoint callbacks write to."""
    for callback in () if getattr(trainer, "fast_dev_run", False) else trainer.checkpoint_callbacks:
        folder = getattr(callback, "dirpath", None)
        if folder is None:
            continue
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(f"{folder}: checkpoints cannot be written there ({error.strerror}).") from error
