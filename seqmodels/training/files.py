"""Checkpoint files that appear whole or not at all; a directory that cannot hold them is refused before training."""

import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import TorchCheckpointIO

from seqmodels.checkpoint import write
from seqmodels.errors import InputError


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there, so that the one before it is kept until then.

    Lightning writes to the directory of temporary files, which may be on another file system: moving a file from there
    copies it, and leaves half of it if the process or the disk space ends.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        try:
            write(Path(path), checkpoint)
        except OSError as error:
            kept = f"; the one before it is kept, and ckpt_path={path} goes on from it" if Path(path).is_file() else ""
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
