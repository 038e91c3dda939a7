"""State of all random number generators in checkpoints, so that a resumed run ends with the same weights bit by bit."""

import random
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from seqmodels.report.output import echo


class RandomState(pl.Callback):
    """Saves the generators of torch, NumPy and Python as tensors and primitives, and restores them on resuming.

    They are restored when training starts, because building and the sanity check may draw numbers. CUDA generators
    are restored only on as many devices as before.

    Checkpoint callbacks go on with the best checkpoint that lies beside the one resumed from, wherever it was moved: a
    run that continues in another directory gets a copy. If it is absent, the best is counted anew, which is said.
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
