"""Training and evaluation with a carried state: what is carried, where gradients end, and what is counted."""

from functools import partial

import numpy as np
import pytest
import torch
import zoo
from data import SeriesData
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import fit

from datamodules.series import SeriesSet
from seqmodels.backbones import recurrent, wavenet
from seqmodels.backbones.base import tree_leaves
from seqmodels.baselines import rules as baselines
from seqmodels.checkpoint import read
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.metrics import MODEL
from seqmodels.readouts import decoder, direct
from seqmodels.scalers import affine
from seqmodels.training.module import ForecastModule
from seqmodels.training.stateful import CarriedState, cut, spans
from seqmodels.window import ConsecutiveWindows, Origins, Statistics, Targets, Window, WindowSpec

RNN = partial(recurrent.Rnn, hidden=7)
EVERY_STEP = [
    name
    for name in zoo.CAUSAL
    for built in [zoo.BACKBONES[name](features=1, past_steps=zoo.SPEC.past_steps)]
    if (built.offset, built.stride) == (0, 1)
]


def random_walks(*lengths: int, observed: bool = True, **windows) -> SeriesData:
    """Random walks of those lengths, set up."""
    random = np.random.default_rng(3)
    values = random.normal(size=(sum(lengths), 1)).cumsum(axis=0).astype(np.float32)
    mask = None if observed else random.random(values.shape) > 0.2
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    series = SeriesSet(values if mask is None else values * mask, offsets, ("y",), mask, source="walks")
    data = SeriesData(series, **{"past_steps": 5, "horizon": 2, "split": [0.6, 0.2, 0.2], "lanes": 2, **windows})
    data.setup()
    return data


def model(
    spec: WindowSpec, backbone=RNN, readout=direct.SeqToSeq, scaler=affine.StandardScaler, loss="mse"
) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(spec, scaler, backbone, readout, Point(loss))


def build_module(data: SeriesData, backbone=RNN, readout=direct.SeqToSeq, lr: float = 1e-2) -> ForecastModule:
    optimizer = partial(torch.optim.Adam, lr=lr)
    return ForecastModule(model(data.spec, backbone, readout), data.spec, {}, optimizer)


def double(window: Window) -> Window:
    inputs = window.inputs._replace(past_target=window.inputs.past_target.double())
    inputs = inputs._replace(
        past_covariates=inputs.past_covariates.double(), known_covariates=inputs.known_covariates.double()
    )
    return window._replace(inputs=inputs, targets=window.targets._replace(target=window.targets.target.double()))


@pytest.mark.parametrize("spec", ["plain", "rich"])
@pytest.mark.parametrize("backbone", EVERY_STEP)
def test_reading_a_past_in_parts_gives_the_forecasts_of_reading_it_at_once(backbone, spec):
    whole = double(zoo.window(zoo.SPECS[spec]))
    forecaster = zoo.forecaster(backbone, "seq_to_seq", "standard", spec).double()
    steps, horizon = zoo.SPECS[spec].past_steps, zoo.SPECS[spec].horizon
    stretch = ConsecutiveWindows(
        whole.inputs, whole.targets, steps, torch.ones(3, steps, dtype=torch.bool), whole.origin
    )
    forecasts, state = [], None
    for piece in (slice(0, 1), slice(1, 8), slice(8, steps - 2), slice(steps - 2, steps)):
        forecast, state, *_ = forecaster(cut(stretch, piece)[0], state)
        assert not any(tensor.requires_grad for tensor in tree_leaves(state))
        forecasts.append(forecast)
    expected = forecaster(whole.inputs).forecast
    assert forecasts[0].shape[2] == horizon
    torch.testing.assert_close(torch.cat(forecasts, dim=1), expected, rtol=1e-9, atol=1e-9)
    after = forecaster(whole.inputs).state
    for mine, theirs in zip(tree_leaves(state), tree_leaves(after), strict=True):
        assert mine.shape == theirs.shape


def pair(batch: int = 2, steps: int = 5) -> tuple[WindowSpec, Window, Window]:
    """Two batches, the second of which continues the first; in its row 1 a new series begins."""
    statistics = Statistics((0.25,), (1.5,))
    spec = WindowSpec(steps, 1, target_statistics=statistics, past_statistics=Statistics(), stateful=True)
    values = torch.randn(batch, 2 * steps + 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    windows = []
    for start in (0, steps):
        inputs = spec.zeros(batch)._replace(past_target=values[:, start : start + steps])
        end = start + steps
        windows.append(Window(inputs, Targets(values[:, end : end + 1], torch.ones(batch, 1, 1).bool()), inputs.series))
    reset = torch.tensor([False, True])
    return spec, windows[0], windows[1]._replace(inputs=windows[1].inputs._replace(reset=reset))


def test_training_is_truncated_backpropagation_through_time():
    """Against torch's own RNN, its hidden state detached between the two batches, row by row."""
    spec, first, second = pair()
    forecaster = model(spec).double()
    carried = CarriedState(forecaster)
    losses = [carried.loss(first).loss, carried.loss(second).loss]
    losses[1].backward()
    found = [parameter.grad.clone() for parameter in forecaster.parameters()]

    network, linear = forecaster.backbone.layers, forecaster.readout.linear
    forecaster.zero_grad()

    def cost(window, hidden):
        every = (torch.cat([window.inputs.past_target, window.targets.target], dim=1) - 0.25) / 1.5
        features, hidden = network(every[:, :-1], hidden)
        return torch.square(linear(features) - every[:, 1:]).mean(), hidden

    expected, hidden = cost(first, torch.zeros(2, 2, 7, dtype=torch.float64))
    torch.testing.assert_close(losses[0], expected, rtol=1e-9, atol=0)
    hidden = hidden.detach()
    hidden[:, 1] = 0.0
    expected, _ = cost(second, hidden)
    expected.backward()
    torch.testing.assert_close(losses[1], expected, rtol=1e-9, atol=0)
    for mine, parameter in zip(found, forecaster.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-9, atol=1e-15)


def test_each_window_draws_its_own_dropout_masks_and_keeps_the_memory():
    spec, first, second = pair()
    forecaster = model(spec, partial(recurrent.Gru, hidden=7, input_dropout=0.5)).double().train()
    carried = CarriedState(forecaster)
    second, masks, losses = second._replace(inputs=second.inputs._replace(reset=torch.zeros(2).bool())), [], []
    carried.loss(first)
    masks.append(torch.cat(carried.state.masks, dim=1))
    for memory in (carried.state, None):
        carried.state = memory
        torch.manual_seed(5)
        losses.append(float(carried.loss(second).loss.detach()))
        masks.append(torch.cat(carried.state.masks, dim=1))
    assert masks[0].shape == (2, 8) and not torch.equal(masks[0], masks[1])
    assert torch.equal(masks[1], masks[2]), "drawn by the same seed"
    assert losses[0] != pytest.approx(losses[1], rel=1e-3), "so that the difference is what was remembered"


def test_without_a_state_windows_begin_anew_whatever_their_reset():
    """As after a run is resumed amid an epoch."""
    spec, first, second = pair()
    carried = CarriedState(model(spec).double())
    carried.loss(first)
    carried.drop()
    resumed = carried.loss(second).loss
    assert torch.equal(resumed, carried.forecaster.loss(second.inputs, second.targets).loss)


READOUTS = {
    "seq_to_seq": direct.SeqToSeq,
    "seq_to_vector": direct.SeqToVector,
    "iterated": direct.Iterated,
    "encoder_decoder": partial(decoder.EncoderDecoder, decoder=partial(recurrent.Gru, hidden=5)),
}
BACKBONES = {"rnn": RNN, "lstm": partial(recurrent.Lstm, hidden=4), "wavenet": partial(wavenet.WaveNet, filters=4)}


@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_forecast_of_an_evaluation_sees_its_series_from_the_beginning(backbone, readout, observed):
    """Against one pass over all rows from the first one read up to the origin."""
    data = random_walks(50, 73, 61, observed=observed, evaluation_batch_size=9)
    forecaster = model(data.spec, BACKBONES[backbone], READOUTS[readout]).eval()
    carried, seen = CarriedState(forecaster), 0
    begin = torch.from_numpy(data.series.offsets)
    with torch.no_grad():
        for stretch in data.val_dataloader():
            forecasts = carried.evaluate(stretch).forecast
            places = [(row, int(number)) for row in range(len(stretch.counted)) for number in stretch.origin[row]]
            places = [place for place, counts in zip(places, stretch.counted.flatten().tolist(), strict=True) if counts]
            for forecast, (row, origin) in zip(forecasts, places, strict=True):
                series = stretch.inputs.series[row : row + 1]
                whole = int(data.spans["validation"].start[series] - begin[series]) // 5 * 5
                first = int(data.spans["validation"].start[series]) - whole
                window = data.val_dataloader().tensors.gather_rows(torch.arange(first, origin + 3)[None], series)
                torch.testing.assert_close(
                    forecast[-1], forecaster(window.inputs).forecast[0, -1], rtol=1e-4, atol=1e-5
                )
                seen += 1
    assert seen == data.windows["validation"] == 9 + 14 + 11


@pytest.mark.parametrize("size", [4, 1024])
@pytest.mark.parametrize("readout", ["seq_to_seq", "seq_to_vector"])
@pytest.mark.parametrize("observed", [True, False])
def test_the_loss_of_an_evaluation_is_the_mean_over_all_origins_that_count(readout, observed, size):
    data = random_walks(50, 73, observed=observed, evaluation_batch_size=size, horizon=1)
    forecaster = model(data.spec, readout=READOUTS[readout]).eval()
    carried, deviation = CarriedState(forecaster), data.spec.target_statistics.deviation[0]
    with torch.no_grad():
        for stretch in data.val_dataloader():
            forecast, _, loss, *_ = carried.evaluate(stretch)
            rows = torch.from_numpy(data.series.values)[stretch.origin[stretch.counted] + 1, 0]
            mask = np.ones(len(data.series.values), bool) if observed else data.series.observed[:, 0]
            counts = torch.from_numpy(mask)[stretch.origin[stretch.counted] + 1]
            expected = torch.square((forecast.flatten() - rows) / deviation)[counts]
            torch.testing.assert_close(loss, expected.mean() if len(expected) else torch.zeros(()))


def test_the_model_and_the_naive_forecast_are_evaluated_at_the_same_origins():
    data = random_walks(150, horizon=1, split=[100, 30, 20], season=1)
    module = build_module(data)
    trainer = fit(module, data, [], max_epochs=1)
    for module.stage in ("validation", "test"):
        trainer.test(module, dataloaders=data.loaders[module.stage], verbose=False)
    series = data.series.values[:, 0].astype(np.float64)
    for stage, (start, stop) in {"validation": (100, 130), "test": (130, 150)}.items():
        assert module.measured[stage] == data.windows[stage] == stop - start
        naive = np.abs(np.diff(series))[start - 1 : stop - 1].mean()
        assert module.results[stage]["naive"].summary()["mae"] == pytest.approx(naive, rel=1e-6)
        # The state of the test part, too, comes from the whole series before it.
        forecast = forecast_at_once(module.forecaster, data, start, stop)
        expected = np.abs(forecast - series[start:stop]).mean()
        assert module.results[stage][MODEL].summary()["mae"] == pytest.approx(expected, rel=1e-5)


def forecast_at_once(forecaster: Forecaster, data: SeriesData, start: int, stop: int) -> np.ndarray:
    """One step ahead for rows start ... stop - 1, after all rows before."""
    rows = torch.arange(stop)[None]
    window = data.val_dataloader().tensors.gather_rows(rows, torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        return forecaster.head.mean(forecaster.eval()(window.inputs).forecast)[0, start - 1 :, 0, 0].double().numpy()


def test_baselines_have_the_same_errors_with_and_without_lanes():
    results = []
    for lanes in (None, 3):
        data = random_walks(90, 70, lanes=lanes, season=3, observed=False)
        module = ForecastModule(baselines.SeasonalNaive(data.spec), data.spec, {}, torch.optim.Adam)
        assert module.training_state is None
        trainer = fit(build_module(data), data, [], max_epochs=1)
        trainer.test(module, dataloaders=data.loaders["test"], verbose=False)
        results.append({row: table.summary() for row, table in module.results["test"].items()})
    for row in (MODEL, "naive", "seasonal naive"):
        assert results[0][row] == pytest.approx(results[1][row])


def weights(module: ForecastModule) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.forecaster.parameters()])


@pytest.mark.parametrize("fast", [True, False])
def test_neither_a_sanity_check_nor_a_validation_touches_the_state_of_training(fast):
    trained = []
    for settings in ({"limit_val_batches": 0}, {"num_sanity_val_steps": 2, "val_check_interval": 2}):
        data = random_walks(120, 150)
        module = build_module(data)
        fit(module, data, [], fast=fast, **settings)
        trained.append(weights(module))
    assert torch.equal(*trained)


def test_every_epoch_begins_with_a_fresh_state():
    """With a learning rate of 0 all epochs have the same losses, batch by batch."""
    data = random_walks(120, 150)
    module, losses = build_module(data, lr=0.0), []

    class Losses(ModelCheckpoint):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            losses.append(float(outputs["loss"]))

    fit(module, data, [Losses(save_top_k=0)], max_epochs=3)
    batches = len(data.train_dataloader())
    assert losses[:batches] == losses[batches : 2 * batches] == losses[2 * batches :]
    window = list(data.train_dataloader())[1]
    module.train()
    with torch.no_grad():
        alone = float(module.forecaster.loss(window.inputs, window.targets).loss)
    assert losses[1] != pytest.approx(alone, rel=1e-6), "the second batch does depend on the first"


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_no_checkpoint_holds_a_state(tmp_path):
    data = random_walks(120, 150)
    module = build_module(data)
    fit(module, data, [ModelCheckpoint(tmp_path, filename="last", save_top_k=1)], max_epochs=1)
    assert module.training_state.state is not None
    checkpoint = read(tmp_path / "last.ckpt")
    assert set(checkpoint["state_dict"]) == {f"forecaster.{name}" for name in module.forecaster.state_dict()}
    elsewhere = ("state_dict", "optimizer_states", "callbacks")  # weights, their moments and the best score
    kept = [value for key, value in checkpoint.items() if key not in elsewhere]
    assert not any(isinstance(leaf, torch.Tensor) for leaf in leaves(kept))
    assert WindowSpec.from_dict(checkpoint["forecaster"]["spec"]).stateful


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize(
    ("backbone", "readout", "scaler", "words"),
    [
        ("bidirectional_gru", "seq_to_vector", "standard", "model.backbone sees the future"),
        ("conv_gru", "seq_to_seq", "standard", "no feature for each step .the first after 4, then every 2"),
        ("rnn", "seq_to_seq", "window_mean", "model.scaler scales each window by itself"),
        ("rnn", "seq_to_seq", "difference", "model.scaler scales each window by itself"),
        ("rnn", "attention", "standard", "model.readout.attention looks back over one window"),
    ],
)
def test_models_that_cannot_carry_a_state_are_refused_in_one_sentence(backbone, readout, scaler, words):
    spec = zoo.SPEC._replace(stateful=True)
    torch.manual_seed(0)
    parts = (zoo.SCALERS[scaler], zoo.BACKBONES[backbone], zoo.READOUTS[readout], Point())
    with pytest.raises(InputError, match=words) as refusal:
        ForecastModule(Forecaster(spec, *parts), spec, {}, torch.optim.Adam)
    assert "data.lanes" in str(refusal.value) and "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


@pytest.mark.parametrize("backbone", EVERY_STEP)
def test_every_other_backbone_trains(backbone):
    data = random_walks(150, 170, past_steps=zoo.SPEC.past_steps, horizon=1)
    module = build_module(data, zoo.BACKBONES[backbone])
    before = weights(module)
    fit(module, data, [], max_epochs=1)
    assert torch.isfinite(weights(module)).all() and not torch.equal(before, weights(module))
    assert np.isfinite(module.results["validation"][MODEL].summary()["mae"])


def test_a_strided_backbone_refuses_a_state():
    forecaster = zoo.forecaster("conv_gru", "seq_to_seq", "standard", "plain")
    inputs = zoo.window(zoo.SPEC).inputs
    with pytest.raises(InputError, match="cannot continue from a state: model.backbone has no feature for each step"):
        forecaster(inputs, forecaster(inputs).state)


def test_the_automatic_scaler_of_stateful_data_is_the_same_for_all_windows():
    season = {"past_steps": 10, "horizon": 1, "season": 4}
    assert isinstance(affine.choose_scaler(WindowSpec(**season)), affine.WindowScaler)
    assert isinstance(affine.choose_scaler(WindowSpec(**season, stateful=True)), affine.StandardScaler)


def test_the_loss_of_one_forecast_per_window_is_that_of_the_last_step_in_windows_of_any_length():
    spec = WindowSpec(5, 2)
    forecaster = model(spec, readout=direct.SeqToVector).eval()
    for steps in (1, 5, 9):
        window = zoo.window(spec._replace(past_steps=steps))
        forecast = forecaster.head.mean(forecaster(window.inputs).forecast)[:, 0]
        expected = torch.square(forecast - window.targets.target).mean()
        torch.testing.assert_close(forecaster.loss(window.inputs, window.targets).loss, expected)


def test_spans_cover_every_step_once_with_the_shorter_span_first():
    assert list(spans(3, 10, 3)) == [slice(3, 4), slice(4, 7), slice(7, 10)]
    assert list(spans(3, 9, 3)) == [slice(3, 6), slice(6, 9)]
    assert list(spans(3, 3, 3)) == []
    assert model(WindowSpec(5, 2)).origins == Origins(0, 1)
