"""Values left to the data: patches, scaler, batch size and length of training follow its size and season."""

import pytest
import zoo
from data import build_data
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from test_run import settings

from datamodules.base import choose_batch_size
from seqmodels.backbones.conv_front import choose_patch
from seqmodels.cli import launch, recipe  # noqa: F401  # the first registers the resolvers of the configs
from seqmodels.config.build import build
from seqmodels.config.compose import packaged_folder
from seqmodels.forecaster import Forecaster
from seqmodels.report.output import to_text
from seqmodels.window import WindowSpec


@pytest.fixture(scope="module")
def auto() -> DictConfig:
    with initialize_config_dir(str(packaged_folder()), job_name="train", version_base="1.3"):
        return compose("train", overrides=["model=auto"])


@pytest.mark.parametrize(
    ("season", "steps", "patch"),
    [
        (7, 56, 7),
        (7, 28, 7),  # four seasons
        (24, 168, 24),
        (24, 72, 12),  # three seasons, so halves of them
        (24, 24, 6),
        (168, 336, 84),
        (12, 60, 12),
        (7, 14, 1),  # 7 has no parts
        (365, 730, 73),
        (24, 20, 1),  # no season fits, and the window is short
        (1, 20, 1),
        (1, 336, 21),
        (365, 100, 6),
        (1, 1, 1),
    ],
)
def test_a_patch_is_a_season_or_a_part_of_it(season: int, steps: int, patch: int) -> None:
    assert choose_patch(season, steps) == patch


def test_the_patch_follows_the_data_unless_it_is_given(auto: DictConfig) -> None:
    spec = zoo.SPEC._replace(past_steps=168, season=24)
    backbone = build(auto.model, spec=spec).backbone
    assert (backbone.kernel, backbone.stride, backbone.size) == (24, 24, 128)
    given = OmegaConf.merge(auto, {"model": {"backbone": {"kernel": 8, "stride": 4}}})
    backbone = build(given.model, spec=spec).backbone
    assert (backbone.kernel, backbone.stride) == (8, 4)


SPECS = {
    "season": (
        {"season": 7, "season_error": 0.3, "mean_error": 0.8},
        "deviation",
        7,
        "0.30 of the error of the last value",
    ),
    "drift": ({"season": 7, "season_error": 1.2, "mean_error": 3.0}, "season", 7, "the level drifts"),
    "noise": ({"season": 1, "season_error": 1.0, "mean_error": 0.7}, "StandardScaler", 3, "return to their mean"),
    "panel": ({"mean_error": 0.7, "sizes_differ": True}, "mean_absolute", 3, "the series differ in size"),
}


@pytest.mark.parametrize("name", SPECS)
def test_what_was_chosen_is_an_ordinary_config_that_builds_the_same_model(name: str, auto: DictConfig) -> None:
    change, scaler, patch, reason = SPECS[name]
    data = build_data(300, past_steps=56, season=change.get("season", 1), batch_size="auto", jitter="auto")
    spec: WindowSpec = data.spec._replace(**change)
    config = auto.copy()
    model = build(config.model, spec=spec)
    told = to_text(recipe.settle(config, data, model))
    assert config.data.batch_size == 32 and f"32 windows, as there are {data.windows['train']} training windows" in told
    assert config.data.jitter == data.augmentation.jitter > 0
    assert f"{config.data.jitter} seasonal errors of noise" in told
    assert config.model.backbone.kernel == config.model.backbone.stride == patch
    assert scaler in str(config.model.scaler) and reason in " ".join(told.split())
    assert config.model.readout.corrects == "linear" and "ridge regression" in told
    assert config.callbacks.early_stopping.patience == 80 and len(data.train_dataloader()) == 5, "400 steps"
    assert not {"auto", "choose_scaler"} & {
        *map(str, config.model.backbone.values()),
        config.model.scaler._target_.split(".")[-1],
    }
    again = build(config.model, spec=spec)
    assert isinstance(again, Forecaster) and str(again) == str(model)
    settled = OmegaConf.to_yaml(config)
    recipe.settle(config, data, again)
    assert OmegaConf.to_yaml(config) == settled


def test_only_what_was_left_open_is_settled(auto: DictConfig) -> None:
    """Models without patches keep their config, which runs of earlier versions are compared with."""
    data = build_data(300, past_steps=56, season=7)
    with initialize_config_dir(str(packaged_folder()), job_name="train", version_base="1.3"):
        config = compose("train", overrides=["model=lstm"])
        recorded = compose("train", overrides=["experiment=ridership/rnn", "data.path=a.csv"])
        chosen = compose("train", overrides=["model=auto", "data.batch_size=64", "optimizer.lr=0.1"])
    before = config.copy()
    assert recipe.settle(config, data, build(config.model, spec=data.spec)).row_count == 0 and config == before
    assert (recorded.data.batch_size, recorded.optimizer.lr, recorded.optimizer_steps) == (32, 0.01, 4400)
    assert (auto.data.batch_size, auto.optimizer.lr, auto.optimizer_steps) == ("auto", 0.003, 8000)
    assert (chosen.data.batch_size, chosen.optimizer.lr) == (64, 0.1)


@pytest.mark.parametrize(
    ("windows", "size"), [(1, 32), (1024, 32), (2047, 32), (2048, 64), (5278, 128), (8192, 256), (10**6, 256)]
)
def test_the_batch_size_is_a_power_of_two_with_many_batches_in_an_epoch(windows: int, size: int) -> None:
    assert choose_batch_size(windows) == size


@pytest.mark.parametrize(
    ("change", "batches", "epochs"),
    [
        ({}, 219, 20),
        ({}, 33, 133),
        ({}, 1, 500),
        ({}, 880, 5),
        ({}, 900, 5),  # 4.9 passes
        ({}, 100_000, 1),
        ({"trainer__max_epochs": 7}, 219, 7),
        ({"trainer__max_steps": 100}, 219, None),
        ({"trainer__accumulate_grad_batches": 4}, 220, 80),
        ({"trainer__limit_train_batches": 44}, 219, 100),
        ({"trainer__limit_train_batches": 0.5}, 88, 100),
    ],
)
def test_number_of_epochs_follows_the_optimizer_steps(change, batches, epochs):
    assert recipe.count_epochs(settings(**change), batches) == epochs


@pytest.mark.parametrize(
    ("change", "steps", "cut", "epochs"),
    [
        ({}, 1000, None, 10),  # ten passes
        ({}, 460, None, 5),  # as near to five passes as whole ones come
        ({}, 200, 80, 10),  # two passes: ten epochs of 20 batches of 4
        ({}, 7, 4, 7),
        ({}, 1, 4, 1),
        ({"accumulate_grad_batches": 3}, 50, 60, 10),
        ({"limit_train_batches": 50}, 100, None, 2),
        ({"max_epochs": 2}, 200, None, 2),
        ({"max_steps": 20}, 200, None, None),
    ],
)
def test_few_passes_are_cut_into_ten_epochs(change: dict, steps: int, cut: int | None, epochs: int | None) -> None:
    data = build_data(500, split=[406, 40, 54], batch_size=4)  # 400 windows, 100 batches
    given = settings(optimizer_steps=steps, **{f"trainer__{key}": value for key, value in change.items()})
    given.data = {"epoch_windows": None}
    assert data.windows["train"] == 400
    assert recipe.plan_epochs(given, data) == epochs
    assert given.data.epoch_windows == data.epoch_windows == cut
    batches = len(data.train_dataloader())
    assert batches == (100 if cut is None else cut // 4)
    if cut is not None:
        done = epochs * batches / given.trainer.accumulate_grad_batches
        assert abs(done - steps) <= 1
        orders = [data.train_dataloader().sampler.indices(epoch, 0, batches).tolist() for epoch in range(2)]
        assert len(set(orders[0])) == cut and orders[0] != orders[1]
    again = given.copy()
    assert recipe.plan_epochs(again, data) == epochs and again == given  # what config.yaml says gives the same run


@pytest.mark.parametrize("order", [{"shuffle": False}, {"lanes": 2}, {"epoch_windows": 399}])
def test_epochs_are_not_cut_where_the_order_or_the_length_is_given(order: dict) -> None:
    data = build_data(500, split=[406, 40, 54], **{"batch_size": 4, **order})
    given = settings(optimizer_steps=1)
    given.data = {"epoch_windows": data.epoch_windows}
    assert recipe.plan_epochs(given, data) == 1
    assert given.data.epoch_windows == data.epoch_windows == order.get("epoch_windows")


def test_the_length_of_training_is_said() -> None:
    data = build_data(500, split=[406, 40, 54], batch_size=4)
    given = settings(optimizer_steps=200)
    given.data = {"epoch_windows": None}
    epochs = recipe.plan_epochs(given, data)
    told = recipe.describe_length(given, data, epochs)
    assert told.startswith("Training for 200 steps in 10 epochs, 2.0 times through the training windows")
