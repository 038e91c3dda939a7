"""The state of all random number generators, kept in checkpoints so that a resumed run repeats the other bit by bit."""

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch


class RandomState(pl.Callback):
    """Saves the generators of torch, NumPy and Python as tensors and primitives, and restores them as training starts.

    Restoring waits for the start of training since what comes before (building, a sanity check) may draw numbers.
    CUDA generators are restored only where there are as many devices as before. Where the run directory was moved
    since, the paths that checkpoint callbacks remember follow it, or they would forget their best score.
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
        folder = str(Path(str(trainer.ckpt_path)).resolve().parent)
        for name, state in checkpoint["callbacks"].items():
            if isinstance(state, dict) and state.get("dirpath"):
                checkpoint["callbacks"][name] = moved(state, state["dirpath"], folder)

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


def moved(value: Any, old: str, new: str) -> Any:
    """The same with every path below folder ``old`` now below ``new``."""
    if isinstance(value, dict):
        return {moved(key, old, new): moved(inner, old, new) for key, inner in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value
