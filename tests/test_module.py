"""Training around a model: what is summed, clipped, kept, restored and refused."""

from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
import zoo
from data import build_data
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.windows.loader import split_window
from seqmodels.checkpoint import load
from seqmodels.errors import InputError
from seqmodels.metrics import MODEL
from seqmodels.training import loop
from seqmodels.training.module import ForecastModule, IntervalSums

CONFIG = {
    "_target_": "seqmodels.forecaster.Forecaster",
    "scaler": {"_target_": "seqmodels.scalers.affine.StandardScaler", "_partial_": True},
    "backbone": {"_target_": "seqmodels.backbones.recurrent.Gru", "_partial_": True, "hidden": 5, "dropout": 0.1},
    "readout": {"_target_": "seqmodels.readouts.direct.SeqToSeq", "_partial_": True},
    "head": {"_target_": "seqmodels.heads.point.Point", "loss": "mse"},
    "initialisation": "glorot",
}


def module_for(data, scheduler=None, lr=1e-2, config=CONFIG):
    from seqmodels.config.build import build

    torch.manual_seed(0)
    forecaster = build(config, "model", spec=data.spec)
    return ForecastModule(forecaster, data.spec, config, partial(torch.optim.Adam, lr=lr), scheduler)


def trainer_for(directory, epochs=2, callbacks=(), **settings):
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, default_root_dir=directory, callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks), **settings,
    )  # fmt: skip


def test_the_interval_holds_the_mean_loss_and_the_norm_before_clipping(tmp_path):
    data = build_data(100, split=[60, 20, 20], batch_size=16)
    module = module_for(data, lr=0.0)
    norms = []

    class Norms(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            norms.append(torch.cat([p.grad.flatten() for p in module.forecaster.parameters()]).norm())

    module.forecaster.backbone.dropout.p = module.forecaster.backbone.layers.dropout = 0.0
    trainer_for(tmp_path, epochs=1, callbacks=[Norms()], gradient_clip_val=1e-3).fit(module, datamodule=data)
    means = module.interval()
    module.train()
    losses = [float(module.forecaster.loss(w.inputs, w.targets).loss.detach()) for w in data.loaders["train"]]
    assert means["loss/train"] == pytest.approx(sum(losses) / 4, rel=1e-5)
    assert means["optimizer/gradient_norm"] == pytest.approx(float(sum(norms)) / 4, rel=1e-4)
    assert means["optimizer/gradient_norm"] > 1e-2, "the norm from before clipping to 0.001"
    assert not module.gathered.losses


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped(tmp_path, algorithm):
    data = build_data(100, split=[60, 20, 20])
    seen = []

    class Clipped(pl.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            if module.forecaster.readout.linear.weight.grad is not None:
                gradient = torch.cat([p.grad.flatten() for p in module.forecaster.parameters()])
                seen.append(float(gradient.norm() if algorithm == "norm" else gradient.abs().max()))

    settings = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    trainer_for(tmp_path, callbacks=[Clipped()], **settings).fit(module_for(data), datamodule=data)
    assert seen and max(seen) <= 1e-3 * 1.001


def test_a_loss_that_is_not_finite_is_refused_with_the_keys_to_change():
    module = module_for(build_data(100, split=[60, 20, 20]))
    module._trainer = SimpleNamespace(global_step=7, current_epoch=1, precision="32-true")
    bad, good = torch.tensor(float("nan")), torch.tensor(1.0)
    module.gathered = IntervalSums(4)
    module.gathered.losses, module.gathered.norms = [good, bad, bad], [good] * 3
    words = "training loss became nan at step 6, in epoch 2; lower optimizer.lr"
    with pytest.raises(InputError, match=words):
        module.interval()


def test_naive_forecasts_are_measured_on_exactly_the_same_windows(tmp_path):
    data = build_data(100, split=[60, 20, 20], season=5)
    module = module_for(data)
    trainer = trainer_for(tmp_path)
    trainer.test(module, dataloaders=data.test_dataloader(), verbose=False)
    tables = module.results["test"]
    assert list(tables) == [MODEL, "naive", "seasonal naive"]
    assert {float(table.observed.sum()) for table in tables.values()} == {data.windows["test"] * 2.0}
    assert tables["seasonal naive"].summary()["mae"] == 5.0 and tables["naive"].summary()["mae"] == 1.5


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "plateau", "constant"])
def test_schedules_from_conf_reach_their_end(tmp_path, name):
    from omegaconf import OmegaConf

    from seqmodels.config.build import build

    node = OmegaConf.load(f"conf/scheduler/{name}.yaml")
    node = OmegaConf.create({"optimizer": {"lr": 1e-2}, "scheduler": node}).scheduler
    used = []

    class Rates(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            used.append(optimizer.param_groups[0]["lr"])

    data = build_data(100, split=[60, 20, 20], batch_size=8)
    trainer_for(tmp_path, epochs=4, callbacks=[Rates()]).fit(module_for(data, build(node)), datamodule=data)
    assert len(used) == 28
    expected = {"constant": (1e-2, 1e-2), "plateau": (1e-2, 1e-2), "cosine": (1e-2, 0.0), "one_cycle": (4e-4, 0.0)}[
        name
    ]
    assert (used[0], used[-1]) == pytest.approx(expected, abs=5e-5)
    assert max(used) == pytest.approx(1e-2, rel=0.01)


def test_a_checkpoint_loads_without_lightning_and_forecasts_the_same(tmp_path):
    data = build_data(100, split=[60, 20, 20])
    module = module_for(data)
    keep = ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="validation/mase")
    trainer_for(tmp_path, epochs=3, callbacks=[keep]).fit(module, datamodule=data)
    checkpoint = torch.load(keep.best_model_path, weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    model = load(keep.best_model_path)
    window = data.examples("test", 5)
    assert model.spec == data.spec and not model.training
    with torch.no_grad():
        ours, theirs = model(window.inputs).forecast, module.eval().forecaster(window.inputs).forecast
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for _ in range(2):
        data = build_data(100, split=[60, 20, 20])
        pl.seed_everything(3, verbose=False)
        module = module_for(data)
        trainer_for(tmp_path).fit(module, datamodule=data)
        weights.append([p.detach().clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_measuring_before_fitting_changes_nothing(tmp_path):
    data = build_data(100, split=[60, 20, 20])
    tables = []
    for measures_first in (True, False):
        module = module_for(data)
        trainer = trainer_for(tmp_path)
        if measures_first:
            for loop in (trainer.validate, trainer.test):
                loop(module, dataloaders=data.val_dataloader(), verbose=False)
        pl.seed_everything(0, verbose=False)
        trainer.fit(module, datamodule=data)
        tables.append(module.results["validation"][MODEL].summary())
    assert tables[0] == tables[1]


def test_the_gradient_norm_is_a_mean_over_optimizer_steps(tmp_path):
    data = build_data(100, split=[60, 20, 20], batch_size=16)  # 4 batches
    norms = []

    class Norms(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            norms.append(float(torch.cat([p.grad.flatten() for p in module.forecaster.parameters()]).norm()))

    module = module_for(data)
    trainer_for(tmp_path, epochs=1, callbacks=[Norms()], accumulate_grad_batches=2).fit(module, datamodule=data)
    assert len(norms) == 2 and len(module.gathered.losses) == 4
    assert module.interval()["optimizer/gradient_norm"] == pytest.approx(sum(norms) / 2, rel=1e-5)
    assert not module.gathered.norms


def test_the_validation_loss_does_not_depend_on_how_windows_are_batched():
    """With missing targets a batch counts as much as it holds values."""

    class Data:
        spec = zoo.AHEAD

    window = zoo.window(Data.spec, batch=8)
    window.targets.observed[:6] = False  # most of the first windows count for nothing
    window.inputs.past_observed[:5] = False
    losses = []
    for sizes in ([8], [3, 3, 2], [1] * 8):
        module = module_for(Data).eval()
        module.on_validation_epoch_start()
        for part in split_window(window, sizes):
            with torch.no_grad():
                module.validation_step(part, 0)
        losses.append(float(module.validation_loss / module.validation_count))
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)


def test_an_optimizer_that_asks_for_the_loss_again_takes_the_long_way(tmp_path):
    data = build_data(100, split=[60, 20, 20], batch_size=60)
    module = module_for(data)
    module.forecaster.backbone.dropout.p = 0.0
    module.optimizer = partial(torch.optim.LBFGS, lr=0.1, max_iter=4)
    trainer = trainer_for(tmp_path, epochs=2)
    loop.install(trainer)
    inputs, targets, _ = next(iter(data.loaders["train"]))
    with torch.no_grad():
        before = module.forecaster.loss(inputs, targets).loss
    trainer.fit(module, datamodule=data)
    with torch.no_grad():
        assert module.forecaster.loss(inputs, targets).loss < before


def test_without_gradients_nothing_is_clipped():
    module = module_for(build_data(100, split=[60, 20, 20]))
    module.configure_gradient_clipping(module.new_optimizer(), 1.0, "norm")
    assert not module.gathered.norms
