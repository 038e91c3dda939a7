"""Rows of one channel each, and mirrored ones: shared weights, forecasts that know no other channel, odd forecasts."""

import pytest
import torch
import zoo
from data import prepare
from test_ridge import noisy

from seqmodels.backbones.base import tree_leaves
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.quantile import Quantile
from seqmodels.inference.monte_carlo import monte_carlo
from seqmodels.inference.prediction import sample_paths
from seqmodels.training.stateful import CarriedState
from seqmodels.window import Inputs, Statistics, WindowSpec

ALIKE = Statistics((0.0, 0.0), (1.0, 1.0))
PLAIN = zoo.SPEC._replace(target_statistics=ALIKE)


def build(readout="seq_to_seq", spec=PLAIN, backbone="lstm", scaler="standard", head="mae", **rows) -> Forecaster:
    torch.manual_seed(0)
    parts = zoo.SCALERS[scaler], zoo.BACKBONES[backbone], zoo.READOUTS[readout], zoo.HEADS[head]()
    return Forecaster(spec, *parts, **rows).eval()


def one_channel(inputs: Inputs, channel: int) -> Inputs:
    names = ("past_target", "past_observed", "level", "seasonal_error")
    return inputs._replace(**{name: getattr(inputs, name)[..., channel : channel + 1] for name in names})


@pytest.mark.parametrize("readout", ["seq_to_vector", "seq_to_seq", "iterated", "attention"])
@pytest.mark.parametrize("scaler", ["standard", "window_mean", "difference"])
@pytest.mark.parametrize("spec", ["plain", "ahead"])
def test_independent_channels_are_forecast_as_if_each_were_alone_with_the_same_weights(readout, scaler, spec):
    given = zoo.SPECS[spec]._replace(target_statistics=ALIKE)
    model = build(readout, given, scaler=scaler, channels="independent")
    alone = build(readout, given._replace(channels=("y",), target_statistics=Statistics((0.0,), (1.0,))), scaler=scaler)
    alone.load_state_dict(model.state_dict())
    inputs, targets, _ = zoo.window(given)
    forecast = model(inputs).forecast
    for channel in range(2):
        theirs = alone(one_channel(inputs, channel)).forecast
        torch.testing.assert_close(forecast[..., channel : channel + 1, :], theirs, rtol=1e-4, atol=1e-5)


def test_a_single_channel_is_independent_anyway():
    spec = PLAIN._replace(channels=("y",), target_statistics=Statistics((0.0,), (1.0,)))
    one, other = build(spec=spec), build(spec=spec, channels="independent")
    inputs = zoo.window(spec).inputs
    assert torch.equal(one(inputs).forecast, other(inputs).forecast)


@pytest.mark.parametrize("readout", ["seq_to_vector", "seq_to_seq", "iterated", "encoder_decoder"])
@pytest.mark.parametrize("head", ["mae", "quantile", "student_t"])
def test_a_mirrored_window_has_the_mirrored_forecast(readout, head):
    model = build(readout, head=head, flip=True)
    inputs = zoo.window(PLAIN).inputs
    forecast, levels = model(inputs).forecast, [0.1, 0.5, 0.8]
    mirrored = model(inputs._replace(past_target=-inputs.past_target)).forecast
    quantile = getattr(model.head, "quantiles", None) if head != "mae" else None
    torch.testing.assert_close(model.head.mean(mirrored), -model.head.mean(forecast), rtol=1e-4, atol=1e-5)
    if quantile is not None:
        torch.testing.assert_close(
            quantile(mirrored, levels), -quantile(forecast, [1 - one for one in levels]), rtol=1e-4, atol=1e-4
        )
    plain = build(readout, head=head)
    plain.load_state_dict(model.state_dict())
    half = [plain(one).forecast for one in (inputs, inputs._replace(past_target=-inputs.past_target))]
    if readout != "iterated" and readout != "encoder_decoder":  # there each row is fed the mean of both
        mean = (model.head.mean(half[0]) - model.head.mean(half[1])) / 2
        torch.testing.assert_close(model.head.mean(forecast), mean, rtol=1e-4, atol=1e-5)


def test_heads_without_a_mirror_image_are_refused():
    with pytest.raises(InputError, match="model.flip=true turns the sign of forecasts, which model.head cannot"):
        build(head="negative_binomial", flip=True)
    with pytest.raises(InputError, match=r"levels that lie evenly around 0.5.*is \[0.1, 0.5\]"):
        Forecaster(PLAIN, zoo.SCALERS["standard"], zoo.BACKBONES["gru"], zoo.direct.SeqToSeq, Quantile([0.1, 0.5]),
                   flip=True)  # fmt: skip
    with pytest.raises(InputError, match="model.channels is 'separate'; it must be one of joint, independent"):
        build(channels="separate")


@pytest.mark.parametrize(
    "rows", [{"channels": "independent"}, {"flip": True}, {"channels": "independent", "flip": True}]
)
@pytest.mark.parametrize("readout", ["seq_to_seq", "iterated"])
def test_paths_are_drawn_in_the_order_of_the_channels(rows, readout):
    model = build(readout, head="normal", spec=zoo.SPEC, **rows)
    inputs = zoo.window(zoo.SPEC).inputs
    paths = sample_paths(model, inputs, 400, seed=1)
    first = model.head.mean(model(inputs).forecast)[:, -1, 0]
    assert paths.shape == (400, 3, 3, 2)
    spread = model.head.spread(model(inputs).forecast)[:, -1, 0]
    assert ((paths.mean(0)[:, 0] - first).abs() < 0.25 * spread).all()


def test_a_state_is_carried_for_every_row():
    model = build(channels="independent", flip=True)
    inputs, zeros = zoo.window(PLAIN).inputs, torch.zeros(3, dtype=torch.bool)
    cut = {name: getattr(inputs, name) for name in ("past_target", "past_observed", "past_covariates")}
    parts = [
        inputs._replace(**{key: value[:, span] for key, value in cut.items()}, reset=zeros)
        for span in (slice(0, 12), slice(12, 20))
    ]
    first = model(parts[0])
    assert all(len(leaf) == 12 for leaf in zoo_leaves(first.state))
    both = torch.cat([first.forecast, model(parts[1], first.state).forecast], dim=1)
    torch.testing.assert_close(both, model(inputs).forecast, rtol=1e-4, atol=1e-5)
    CarriedState(model)


def zoo_leaves(state: tuple) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(state) if leaf.numel()]


def test_dropout_passes_and_training_go_with_rows():
    data = prepare(noisy(300, 3, holes=0.1), past_steps=8, horizon=2)
    spec: WindowSpec = data.spec
    net = zoo.partial(zoo.recurrent.Gru, hidden=8, layers=1, dropout=0.3)
    model = Forecaster(spec, zoo.SCALERS["standard"], net, zoo.direct.SeqToVector, zoo.Point(), "glorot", "auto",
                       "independent", True)  # fmt: skip
    window = next(iter(data.train_dataloader()))
    losses, optimizer = [], torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = model.loss(window.inputs, window.targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert monte_carlo(model.eval(), window.inputs, passes=4).mean.shape == (len(window.origin), 1, 2, 3)
