"""Averaged weights: their formula, and their use in validation, checkpoints, tests and resumed runs."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from command_line import forked, metrics, only_run
from omegaconf import OmegaConf
from small_runs import Stop, StopAt, fit_waves, flat_weights

from datamodules.synthetic import Waves
from seqmodels.checkpoint import load, read
from seqmodels.errors import InputError
from seqmodels.training.callbacks.ema import AveragedWeights
from seqmodels.training.callbacks.resume import RandomState

DECAY = 0.8


def weights(module: torch.nn.Module) -> torch.Tensor:
    return flat_weights(module).double()


class Record(pl.Callback):
    """Records the weights after each optimizer step, during validation, and at its end."""

    def __init__(self) -> None:
        self.trained: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []
        self.drawn: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.trained.append(weights(module))

    def on_validation_batch_start(self, trainer, module, batch, index, dataloader_idx=0) -> None:
        self.validated.append(weights(module))

    def on_validation_end(self, trainer, module) -> None:
        self.drawn.append(weights(module))


def expected_averages(trained: list[torch.Tensor]) -> list[torch.Tensor]:
    """The formula, in float64."""
    averages = [trained[0]]
    for now in trained[1:]:
        averages.append(DECAY * averages[-1] + (1 - DECAY) * now)
    return averages


def checkpoint_callback(directory: Path, every: int | None = None) -> pl.callbacks.ModelCheckpoint:
    """Checkpoint callback that writes last.ckpt every ``every`` steps; after each validation if None."""
    return pl.callbacks.ModelCheckpoint(
        directory, "last", save_top_k=1, every_n_train_steps=every, enable_version_counter=False
    )


def close(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.allclose(given, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fast", [True, False])
def test_the_average_is_validated_and_kept_while_training_continues_unchanged(fast: bool, tmp_path: Path) -> None:
    record, plain = Record(), Record()
    callbacks = [record, AveragedWeights(DECAY), checkpoint_callback(tmp_path)]
    module = fit_waves(*callbacks, fast=fast, max_epochs=2).lightning_module
    fit_waves(plain, fast=fast, max_epochs=2)
    assert all(map(torch.equal, record.trained, plain.trained)) and len(record.trained) == 10
    wanted = expected_averages(record.trained)
    assert not close(wanted[-1], record.trained[-1])
    validated = record.validated[-2:]
    assert close(validated[0], wanted[4]) and close(validated[1], wanted[9])
    assert all(map(torch.equal, record.drawn[-2:], validated)), "figures show the weights that are measured"
    assert close(weights(module), wanted[9])
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    kept = torch.cat([last["state_dict"][name].double().flatten() for name, _ in module.named_parameters()])
    assert torch.equal(kept, weights(module))


@pytest.mark.parametrize(("every", "stop"), [(1, 7), (1, 5), (None, 5)])
@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_resumed_run_ends_with_the_same_weights(every: int | None, stop: int, tmp_path: Path) -> None:
    def run(name: str, stop: int | None = None, resume: bool = False) -> torch.Tensor:
        callbacks = [StopAt(stop), AveragedWeights(DECAY), checkpoint_callback(tmp_path / name, every), RandomState()]
        path = str(tmp_path / name / "last.ckpt") if resume else None
        return weights(fit_waves(*callbacks, dropout=0.3, ckpt_path=path).lightning_module)

    whole = run("whole")
    with pytest.raises(Stop):
        run("parts", stop)
    assert torch.equal(run("parts", resume=True), whole)


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="callbacks.ema.decay is 1.0; it must be at least 0 and less than 1"):
        AveragedWeights(1.0)


SMALL = {"series": 200, "past_steps": 20, "horizon": 3}
COMMAND = (*(f"data.{key}={value}" for key, value in SMALL.items()), "logger=none", "trainer.max_epochs=2")


def test_the_average_is_tested_and_loaded(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    ended = forked(place, *COMMAND, "callbacks=ema", "callbacks.ema.decay=0.9", "model=lstm")
    assert (ended.code, ended.err) == (0, "")
    run = only_run(place)
    checkpoint = read(run / "checkpoints/best.ckpt")
    name = "forecaster.readout.linear.weight"
    assert not torch.equal(checkpoint["state_dict"][name], checkpoint["current_model_state"][name])
    data = Waves(**SMALL, split=[0.7, 0.2, 0.1], split_by="series")
    data.setup()
    window = next(iter(data.test_dataloader()))
    model = load(run / "checkpoints/best.ckpt")
    with torch.no_grad():
        error = (model.head.mean(model(window.inputs).forecast)[:, -1] - window.targets.target).abs().mean()
    row = next(row for row in metrics(run)["rows"] if (row["stage"], row["row"]) == ("test", "lstm"))
    assert len(window.origin) == row["windows"] == 20 and row["mae"] == pytest.approx(float(error), rel=1e-5)


def test_a_misspelt_key_is_refused_and_the_callback_comes_last(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    ended = forked(place, *COMMAND, "callbacks=ema", "+callbacks.ema.decai=0.9")
    assert ended.code == 2 and "callbacks.ema.decai" in ended.err and "Nearest: decay" in ended.err
    order = OmegaConf.load(Path(__file__).parent.parent / "conf/callbacks/ema.yaml")
    assert list(order) == ["defaults", "ema"] and list(order.defaults) == ["default"]
