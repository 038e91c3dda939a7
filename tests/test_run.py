"""Settings of a run: checks before it starts, number of epochs, threads and secrets."""

import math

import pytest
import torch
from data import build_data
from omegaconf import OmegaConf
from small_runs import small_module, small_waves
from torch import nn

from seqmodels.checkpoint import describe, read
from seqmodels.cli import assemble, environment
from seqmodels.cli.launch import mask_override
from seqmodels.errors import InputError
from seqmodels.metrics import MODEL
from seqmodels.report import output
from seqmodels.report.results import result_table
from seqmodels.report.summary import summarise_data
from seqmodels.training.module import ForecastModule
from seqmodels.training.run import check_weights

SETTINGS = {
    "seed": 0, "threads": "auto", "kernels": "auto", "optimizer_steps": 4400, "dropout_passes": 0,
    "monitor": "validation/mase", "ckpt_path": None, "forecast": True, "resume_schedule": None,
    "rivals": ["ridge", "nearest_neighbour", "dtw"], "ensemble": 1, "combine": "mean",
    "trainer": {"precision": "32-true", "devices": 1, "gradient_clip_val": 1.0, "limit_val_batches": 1.0,
                "max_epochs": None, "max_steps": -1, "limit_train_batches": 1.0, "accumulate_grad_batches": 1},
}  # fmt: skip


def settings(**changes):
    config = OmegaConf.create(SETTINGS)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296; it must be less"),
        ({"seed": True}, "seed is True"),
        ({"optimizer_steps": 0}, "optimizer_steps is 0"),
        ({"dropout_passes": 1}, "dropout_passes is 1; it must be 0, for none, or at least 2"),
        (
            {"monitor": "val_loss"},
            "monitor is 'val_loss'; it must be one of validation/mae, .*/mase, .*loss/validation",
        ),
        (
            {"rivals": ["ridge", "arima"]},
            r"rivals holds 'arima'; it may hold ridge, auto_ets, .*, and",
        ),
        ({"rivals": "lasso"}, "rivals holds 'lasso'"),
        ({"rivals": 3}, "rivals is 3; it must be a list"),
        ({"trainer__precision": "16-mixed"}, "trainer.precision is 16-mixed; it must be one of 32-true"),
        ({"trainer__devices": 2}, "trainer.devices is 2"),
        ({"trainer__gradient_clip_val": -1}, "trainer.gradient_clip_val is -1"),
        ({"trainer__limit_val_batches": 0}, "trainer.limit_val_batches is 0"),
        ({"trainer__limit_test_batches": 0}, "trainer.limit_test_batches is 0; it must be greater than 0"),
        ({"trainer__limit_train_batches": 0.0}, "trainer.limit_train_batches is 0"),
        ({"trainer__val_check_interval": 0}, "trainer.val_check_interval is 0"),
        ({"trainer__max_epochs": 0}, "trainer.max_epochs is 0; it must be at least 1, or -1 for no limit"),
        ({"trainer__max_epochs": -2}, "trainer.max_epochs is -2"),
        ({"trainer__max_steps": 0}, "trainer.max_steps is 0"),
        ({"trainer__accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches is 0; it must be at least 1."),
        ({"trainer__accumulate_grad_batches": -1}, "trainer.accumulate_grad_batches is -1"),
        ({"trainer__check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch is 0"),
        ({"trainer__num_nodes": 2}, "trainer.num_nodes is 2; training runs on one device, so it must be 1"),
        ({"optimizer__lr": 0}, "optimizer.lr is 0; it must be a number greater than 0"),
        ({"optimizer__lr": -0.1}, "optimizer.lr is -0.1"),
        ({"optimizer__lr": [1, 2]}, r"optimizer.lr is \[1, 2\]; it must be a number greater than 0"),
        ({"scheduler__max_lr": 0.0}, "scheduler.max_lr is 0.0"),
    ],
)
def test_invalid_settings_are_errors(change, words):
    assemble.read_plan(settings())
    with pytest.raises(InputError, match=words):
        assemble.read_plan(settings(**change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"trainer__check_val_every_n_epoch": 4},
            "trainer.check_val_every_n_epoch is 4; it must be at most the 3 epochs",
        ),
        ({"trainer__val_check_interval": 11}, "trainer.val_check_interval is 11; it must be at most the 10 batches"),
        ({"trainer__limit_train_batches": 0.05}, "trainer.limit_train_batches is 0.05, which leaves no batch"),
    ],
)
def test_a_run_without_training_or_validation_is_an_error(change, words):
    plain = {"trainer__check_val_every_n_epoch": 1, "trainer__val_check_interval": 1.0}
    assemble.check_validation(settings(**plain), 10, 3)
    assemble.check_validation(settings(**plain | {"trainer__check_val_every_n_epoch": 3}), 10, None)
    with pytest.raises(InputError, match=words):
        assemble.check_validation(settings(**plain | change), 10, 3)


@pytest.mark.parametrize("name", ["EarlyStopping", "ModelCheckpoint"])
@pytest.mark.parametrize(("monitor", "mode"), [("validation/mae", "max"), ("validation/skill", "min")])
def test_callbacks_that_would_keep_the_worst_weights_are_warned_of(name, monitor, mode, capsys):
    node = {"_target_": f"lightning.pytorch.callbacks.{name}", "monitor": monitor, "mode": mode}
    good = node | {"mode": "min" if mode == "max" else "max"}
    output.warn_once.cache_clear()
    assert len(assemble.build_callbacks(OmegaConf.create({"callbacks": {"mine": good, "none": None}}))) == 1
    assert capsys.readouterr().out == ""
    assemble.build_callbacks(OmegaConf.create({"callbacks": {"mine": node}}))
    assert f"warning: callbacks.mine.mode is {mode}, but the best {monitor} has mode=" in capsys.readouterr().out


def test_a_negative_patience_is_an_error():
    node = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "validation/mae", "patience": -1}
    with pytest.raises(InputError, match="callbacks.mine.patience is -1; it must be at least 0"):
        assemble.build_callbacks(OmegaConf.create({"callbacks": {"mine": node}}))


def test_a_checkpoint_of_other_data_is_an_error(tmp_path):
    module = small_module(small_waves())
    other = small_module(small_waves(data_seed=7))
    file = str(tmp_path / "last.ckpt")
    torch.save({"forecaster": describe({}, module.spec), "state_dict": module.state_dict()}, file)
    check_weights(file, read(file), module)
    with pytest.raises(InputError, match="written on other data: target_statistics was"):
        check_weights(file, read(file), other)


def test_secrets_in_overrides_are_masked():
    assert mask_override("+logger.comet.api_key=abc=1") == "+logger.comet.api_key=***"
    assert mask_override("data.horizon=3") == "data.horizon=3"


def test_a_season_longer_than_the_window_is_noted_and_not_compared():
    data = build_data(100, split=[60, 20, 20], season=6, past_steps=5)
    module = small_module(build_data(200, split=[120, 40, 40], season=30, past_steps=20))
    assert list(module.rows) == [MODEL, "naive"]
    assert "a season of 6 steps does not fit into 5 past steps" in str(summarise_data(data).renderables[1])


def test_the_skill_of_perfectly_periodic_data_is_undefined():
    data = build_data(200, split=[120, 40, 40], season=1, past_steps=20)
    module: ForecastModule = small_module(data)
    errors = module.errors[MODEL]
    window = data.examples("validation", 3)
    errors.update(window.targets.target, window.inputs, window.targets)
    perfect = errors.compute()
    assert math.isnan(perfect.summary(perfect)["skill"])
    assert result_table({"validation": {MODEL: perfect, "naive": perfect}}, {"validation": 3}, "x") is not None


@pytest.mark.parametrize(
    ("layer", "batch", "threads"),
    [
        (nn.LSTM(3, 64), 32, 1),
        (nn.LSTM(3, 128), 32, 4),
        (nn.LSTM(3, 128), 1, 1),  # one window has nothing to share
        (nn.Linear(500, 14), 256, 1),  # long, but not wide
        (nn.Linear(500, 100), 256, 4),
        (nn.Identity(), 32, 1),
    ],
)
def test_only_wide_models_use_several_threads(monkeypatch, layer, batch, threads):
    monkeypatch.setattr(environment, "count_cores", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flush: None)  # it would last beyond this test
    assert environment.set_threads("auto", layer, batch) == threads
    assert environment.set_threads(3, layer, batch) == 3
