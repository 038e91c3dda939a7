"""A resumed run ends with the same weights as one that was never interrupted."""

import random
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from small_runs import Stop, StopAt, fit, fit_waves, flat_weights, small_module, small_waves

from seqmodels.training.callbacks.resume import RandomState


def checkpoint_callback(directory: Path, every: int | None) -> pl.callbacks.ModelCheckpoint:
    """Checkpoint callback that writes last.ckpt every ``every`` steps; after each validation if None."""
    best = {"save_top_k": 0} if every else {"save_top_k": 1, "monitor": "validation/mase", "filename": "best"}
    return pl.callbacks.ModelCheckpoint(
        directory, save_last=True, every_n_train_steps=every, enable_version_counter=False, **best
    )


def run(directory: Path, every: int | None, stop: int | None, restores: bool = True, resume: bool = False, **trainer):
    """Final weights and number of steps; ``resume`` continues from last.ckpt."""
    callbacks = [checkpoint_callback(directory, every), *([RandomState()] if restores else []), StopAt(stop)]
    path = str(directory / "last.ckpt") if resume else None
    done = fit_waves(*callbacks, dropout=0.3, ckpt_path=path, **trainer)
    return flat_weights(done.lightning_module), done.global_step


@pytest.mark.parametrize(
    ("every", "stop", "trainer"),
    [
        (1, 7, {}),  # within the second epoch
        (1, 5, {}),  # at the last batch of an epoch, before its validation
        (1, 10, {}),
        (None, 5, {}),  # after the validation that ends an epoch
        (None, 12, {}),
        (1, 4, {"accumulate_grad_batches": 2}),
        (1, 8, {"val_check_interval": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_resumed_run_ends_with_the_same_weights(every: int | None, stop: int, trainer: dict, tmp_path: Path) -> None:
    whole, steps = run(tmp_path / "whole", every, None, **trainer)
    with pytest.raises(Stop):
        run(tmp_path / "parts", every, stop, **trainer)
    resumed, resumed_steps = run(tmp_path / "parts", every, None, resume=True, **trainer)
    assert resumed_steps == steps
    assert torch.equal(resumed, whole)


def test_without_the_random_state_the_weights_differ(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", 1, None, restores=False)
    with pytest.raises(Stop):
        run(tmp_path / "parts", 1, 7, restores=False)
    resumed, _ = run(tmp_path / "parts", 1, None, restores=False, resume=True)
    assert not torch.equal(resumed, whole)


def test_a_second_fit_reads_all_windows_again() -> None:
    data = small_waves()
    for _ in range(2):
        assert fit(small_module(data), data, [], max_epochs=1).global_step == 5


def test_a_file_of_primitives_restores_all_generators(tmp_path: Path) -> None:
    def draws() -> tuple:
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()

    random.gauss(0, 1)  # draws come in pairs: the second one is pending
    np.random.randn()
    torch.save(RandomState().state_dict(), tmp_path / "state")
    expected = draws()
    state = RandomState()
    state.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    draws()
    state.on_train_start(None, None)
    assert draws() == expected
