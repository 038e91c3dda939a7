"""A run that stops and resumes ends with the very same weights as one that never stopped."""

import random
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from small_runs import fit, small_module, small_waves

from seqmodels.training.callbacks.resume import RandomState


class Stop(Exception):
    """Ends a run as a crash would."""


class StopAt(pl.Callback):
    """Raises after so many optimizer steps, behind all other callbacks of that moment."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if trainer.global_step == self.step:
            raise Stop


def keeper(directory: Path, every: int | None) -> pl.callbacks.ModelCheckpoint:
    """Writes last.ckpt every so many steps; with None after each validation."""
    best = {"save_top_k": 0} if every else {"save_top_k": 1, "monitor": "validation/mase", "filename": "best"}
    return pl.callbacks.ModelCheckpoint(
        directory, save_last=True, every_n_train_steps=every, enable_version_counter=False, **best
    )


def weights(module: pl.LightningModule) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.forecaster.parameters()])


def run(directory: Path, every: int | None, stop: int | None, restores: bool = True, resume: bool = False, **trainer):
    """The weights at the end, and how many steps it took; ``resume`` continues from last.ckpt."""
    data = small_waves()
    module = small_module(data, dropout=0.3)
    callbacks = [keeper(directory, every), *([RandomState()] if restores else []), *([StopAt(stop)] if stop else [])]
    path = str(directory / "last.ckpt") if resume else None
    done = fit(module, data, callbacks, path, **trainer)
    return weights(module), done.global_step


@pytest.mark.parametrize(
    ("every", "stop", "trainer"),
    [
        (1, 7, {}),  # amid the second epoch
        (1, 5, {}),  # at the last batch of an epoch, before its validation
        (1, 10, {}),
        (None, 5, {}),  # after the validation that ends an epoch
        (None, 12, {}),
        (1, 4, {"accumulate_grad_batches": 2}),
        (1, 8, {"val_check_interval": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_resuming_changes_nothing(every: int | None, stop: int, trainer: dict, tmp_path: Path) -> None:
    whole, steps = run(tmp_path / "whole", every, None, **trainer)
    with pytest.raises(Stop):
        run(tmp_path / "parts", every, stop, **trainer)
    resumed, resumed_steps = run(tmp_path / "parts", every, None, resume=True, **trainer)
    assert resumed_steps == steps
    assert torch.equal(resumed, whole)


def test_without_the_random_state_it_would(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", 1, None, restores=False)
    with pytest.raises(Stop):
        run(tmp_path / "parts", 1, 7, restores=False)
    resumed, _ = run(tmp_path / "parts", 1, None, restores=False, resume=True)
    assert not torch.equal(resumed, whole)


def test_a_second_fit_reads_all_windows_again() -> None:
    data = small_waves()
    for _ in range(2):
        assert fit(small_module(data), data, [], max_epochs=1).global_step == 5


def test_state_of_all_generators_survives_a_file_of_primitives(tmp_path: Path) -> None:
    def draws() -> tuple:
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()

    random.gauss(0, 1)  # an odd number of draws leaves one kept back
    np.random.randn()
    torch.save(RandomState().state_dict(), tmp_path / "state")
    expected = draws()
    state = RandomState()
    state.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    draws()
    state.on_train_start(None, None)
    assert draws() == expected
