"""State of all random number generators in checkpoints, so that a resumed run ends with the same weights bit by bit."""

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch


class RandomState(pl.Callback):
    """Saves the generators of torch, NumPy and Python as tensors and primitives, and restores them on resuming.

    They are restored when training starts, because building and the sanity check may draw numbers. CUDA generators
    are restored only on as many devices as before.

    If the run directory was moved, the paths that checkpoint callbacks remember are changed to the new one: otherwise
    they would forget their best score.

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
        directory = str(Path(str(trainer.ckpt_path)).resolve().parent)
        for name, state in checkpoint["callbacks"].items():
            if isinstance(state, dict) and state.get("dirpath"):
                checkpoint["callbacks"][name] = replace_directory(state, state["dirpath"], directory)

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


def replace_directory(value: Any, old: str, new: str) -> Any:
    """Replace ``old`` at the beginning of each path, in dictionaries to any depth."""
    if isinstance(value, dict):
        return {replace_directory(key, old, new): replace_directory(inner, old, new) for key, inner in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value
