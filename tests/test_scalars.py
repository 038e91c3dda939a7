"""TensorBoard and CSV files of a run, read back from disk."""

import csv
import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from small_runs import Recorder, fit, fit_waves, flat_weights, small_module, small_waves
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from seqmodels.errors import InputError
from seqmodels.metrics import ErrorTable
from seqmodels.training.callbacks.scalars import (
    ScalarLogger,
    TensorBoard,
    errors_by_lead,
    log_config,
    log_hyperparameters,
)
from seqmodels.training.module import IntervalSums

BLOCK = ["loss/train", "optimizer/gradient_norm", "optimizer/learning_rate", "optimizer/update_ratio",
         "speed/windows_per_second"]  # fmt: skip


def board(directory: Path) -> TensorBoard:
    return TensorBoard(str(directory))


def events(directory: Path) -> EventAccumulator:
    everything = dict.fromkeys(("scalars", "tensors", "histograms", "images"), 0)
    return EventAccumulator(str(directory), size_guidance=everything).Reload()


def steps(found: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in found.Scalars(tag)]


def test_blocks_and_validations_share_the_axis_of_optimizer_steps(tmp_path: Path) -> None:
    fit_waves(ScalarLogger(every_n_steps=2), logger=board(tmp_path))
    found = events(tmp_path)
    for tag in BLOCK:
        assert steps(found, tag) == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    assert steps(found, "loss/validation") == steps(found, "validation/mae") == [5, 10, 15]
    assert "epoch" not in found.Tags()["scalars"] and "step" not in found.Tags()["scalars"]


def test_the_loss_of_a_block_is_the_mean_over_its_steps(tmp_path: Path) -> None:
    recorder = Recorder()
    fit_waves(recorder, ScalarLogger(every_n_steps=3), logger=board(tmp_path), max_epochs=1)
    written = [event.value for event in events(tmp_path).Scalars("loss/train")]
    assert written == pytest.approx([sum(recorder.losses[:3]) / 3, sum(recorder.losses[3:]) / 2])


def test_a_block_is_logged_when_training_stops_within_an_epoch(tmp_path: Path) -> None:
    fit_waves(ScalarLogger(every_n_steps=50), logger=board(tmp_path), max_epochs=-1, max_steps=8)
    assert steps(events(tmp_path), "loss/train") == [5, 8]


def test_gradient_accumulation_counts_optimizer_steps(tmp_path: Path) -> None:
    fit_waves(ScalarLogger(1), logger=board(tmp_path), accumulate_grad_batches=2, max_epochs=2)
    assert steps(events(tmp_path), "loss/train") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_update_ratio_is_measured_at_the_last_step_of_a_block(accumulate: int, tmp_path: Path) -> None:
    weights, copied = {}, []
    scalars = ScalarLogger(every_n_steps=2)

    class Record(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:
            weights[trainer.global_step] = flat_weights(module).double()
            if scalars.weights_before:
                copied.append(trainer.global_step)

        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            weights[trainer.global_step] = flat_weights(module).double()

    settings = {"logger": board(tmp_path), "max_epochs": 1, "accumulate_grad_batches": accumulate}
    fit_waves(scalars, Record(), **settings)
    ends = [2, 4, 5] if accumulate == 1 else [2, 3]
    ratios = [(weights[k] - weights[k - 1]).norm() / weights[k - 1].norm() for k in ends]
    found = events(tmp_path).Scalars("optimizer/update_ratio")
    assert [event.step for event in found] == ends
    assert [event.value for event in found] == pytest.approx([float(ratio) for ratio in ratios], rel=1e-4)
    assert set(copied) == {end - 1 for end in ends}, "no copies at other steps"


def test_speed_excludes_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("seqmodels.training.callbacks.scalars.time.perf_counter", lambda: now[0])

    class Clock(pl.Callback):
        """Makes a training batch take one second, and a validation a hundred."""

        def on_train_batch_end(self, *arguments) -> None:
            now[0] += 1

        def on_validation_epoch_end(self, *arguments) -> None:
            now[0] += 100

    settings = {"logger": board(tmp_path), "val_check_interval": 2, "max_epochs": 2}
    fit_waves(Clock(), ScalarLogger(every_n_steps=50), **settings)
    speeds = [event.value for event in events(tmp_path).Scalars("speed/windows_per_second")]
    assert speeds == pytest.approx([140 / 5, 140 / 5])


def test_nothing_is_read_from_the_device_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_waves()
    module = small_module(data)
    calls = []

    def interval() -> dict[str, float]:
        calls.append(module.global_step)
        module.gathered = IntervalSums()
        return {}

    monkeypatch.setattr(module, "interval", interval)
    fit(module, data, [ScalarLogger(every_n_steps=4)], max_epochs=1)
    assert calls == [4, 5]


def test_errors_by_lead_and_layout(tmp_path: Path) -> None:
    trainer = fit_waves(ScalarLogger(), logger=board(tmp_path))
    found = events(tmp_path)
    table = trainer.lightning_module.results["validation"]["model"]
    for lead in (1, 2, 4, 5):
        mean = found.Scalars(f"validation_by_step/mae_{lead:02d}")[-1].value
        assert mean == pytest.approx(table.absolute[lead - 1, 0])
    layout = layout_pb2.Layout.FromString(found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = [chart for category in layout.category for chart in category.chart]
    assert [chart.title for chart in charts] == ["huber of scaled values", "MAE", "RMSE", "MASE", "MAE"]
    for pattern in (pattern for chart in charts for pattern in chart.multiline.tag):
        assert sum(bool(re.match(pattern, tag)) for tag in found.Tags()["scalars"]) == 1, "it selects one curve"


def test_naive_errors_are_flat_curves_beside_the_models(tmp_path: Path) -> None:
    trainer = fit_waves(ScalarLogger(), logger=board(tmp_path))
    found = events(tmp_path)
    naive = trainer.lightning_module.results["validation"]["naive"].summary()
    for measure in ("mae", "rmse", "mase"):
        drawn = found.Scalars(f"validation/{measure}_naive")
        assert [event.step for event in drawn] == [5, 10, 15] == steps(found, f"validation/{measure}")
        assert [event.value for event in drawn] == pytest.approx([naive[measure]] * 3)


def test_losses_are_named_with_their_unit(tmp_path: Path) -> None:
    fit_waves(ScalarLogger(), logger=board(tmp_path))
    texts = {tag: one.summary_description for tag, one in events(tmp_path).summary_metadata.items()}
    for tag in ("loss/train", "loss/validation"):
        assert "huber of scaled values" in texts[tag]
    assert "data's own units" in texts["validation/mae"] and "squared" in texts["validation/mse"]


def test_one_event_file_and_no_other(tmp_path: Path) -> None:
    trainer = fit_waves(ScalarLogger(), logger=board(tmp_path))
    log_config(trainer.loggers, "seed: 0", {})
    log_hyperparameters(trainer.loggers, {"lr": 0.01}, {"validation/mae": 0.5}, 15)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("events.out")
    found = events(tmp_path)
    assert found.Scalars("loss/train") and found.Scalars("with_best_weights/validation_mae")[0].step == 15


def test_channels_are_weighted_by_their_observed_values() -> None:
    absolute = torch.tensor([[1.0, 4.0], [2.0, float("nan")], [float("nan"), float("nan")]])
    observed = torch.tensor([[3.0, 1.0], [5.0, 0.0], [0.0, 0.0]])
    values = errors_by_lead(ErrorTable(absolute, absolute**2, absolute, observed, observed, absolute, absolute))
    assert values["validation_by_step/mae_01"] == pytest.approx((3 * 1 + 4) / 4)
    assert values["validation_by_step/mae_02"] == 2
    assert "validation_by_step/mae_03" not in values


def test_a_long_horizon_has_four_curves() -> None:
    def shown(horizon: int) -> list[int]:
        names = errors_by_lead(ErrorTable(*(torch.ones(horizon, 1),) * 7))
        return [int(name.rpartition("_")[2]) for name in names]

    assert shown(1) == [1] and shown(3) == [1, 2, 3] and shown(14) == [1, 5, 10, 14]
    for horizon in (4, 49, 96, 720):
        leads = shown(horizon)
        assert len(set(leads)) == 4 and leads[0] == 1 and leads[-1] == horizon


def test_hyperparameters_are_logged_once_with_results(tmp_path: Path) -> None:
    trainer = fit_waves(ScalarLogger(), logger=board(tmp_path), max_epochs=1)
    log_config(trainer.loggers, "seed: 0\n", {"python": "3.11", "packages": {"torch": "2.13"}})
    log_hyperparameters(
        trainer.loggers, {"model": {"filters": 4}, "lr": 0.01}, {"validation/mae": 0.5, "test/mae": 0.25}
    )
    found = events(tmp_path)
    data_of = {tag: found.summary_metadata[tag].plugin_data for tag in found.summary_metadata}
    started = [tag for tag, plugin in data_of.items() if plugin.plugin_name == "hparams" and "start" in tag]
    (tag,) = started
    content = plugin_data_pb2.HParamsPluginData.FromString(data_of[tag].content).session_start_info
    assert {name: value.number_value for name, value in content.hparams.items()} == {"model.filters": 4, "lr": 0.01}
    assert found.Scalars("with_best_weights/validation_mae")[0].value == 0.5
    assert found.Scalars("with_best_weights/test_mae")[0].value == 0.25
    assert max(found.Tags()["scalars"]) == "with_best_weights/validation_mae", "below all curves"
    assert "hp_metric" not in found.Tags()["scalars"]
    (text,) = found.Tensors("config/yaml/text_summary")
    assert text.tensor_proto.string_val[0].decode() == "```yaml\nseed: 0\n```"
    (text,) = found.Tensors("config/environment/text_summary")
    assert b"| packages.torch | 2.13 |" in text.tensor_proto.string_val[0]


def test_csv_files_hold_the_same_and_a_logger_is_optional(tmp_path: Path) -> None:
    for logger in (CSVLogger(tmp_path, name="", version="logs"), None, False):
        trainer = fit_waves(ScalarLogger(), logger=logger or False)
        log_config(trainer.loggers, "seed: 0", {})
        log_hyperparameters(trainer.loggers, {"lr": 0.01}, {"validation/mae": 0.5})
    with open(tmp_path / "logs" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["loss/train"]] == [5, 10, 15]
    assert [int(row["step"]) for row in rows if row["loss/validation"]] == [5, 10, 15]


def test_a_nan_loss_ends_the_run() -> None:
    data = small_waves()
    module = small_module(data)
    with torch.no_grad():
        next(module.forecaster.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="training loss became nan at step 1, in epoch 1"):
        fit(module, data, [ScalarLogger(every_n_steps=2)], num_sanity_val_steps=0)


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_a_resumed_run_continues_the_curve(tmp_path: Path) -> None:
    for epochs, path in ((1, None), (2, str(tmp_path / "last.ckpt"))):
        data = small_waves()
        checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, save_last=True, save_top_k=1, monitor="validation/mae",
                                              filename="best", enable_version_counter=False)  # fmt: skip
        module = small_module(data)
        module.scheduler = None  # one-cycle needs a fixed length
        fit(module, data, [ScalarLogger(3), checkpoint], path, logger=board(tmp_path), max_epochs=epochs)
    # Two files written in the same second may be read in either order.
    assert sorted(steps(events(tmp_path), "loss/train")) == [3, 5, 8, 10]
