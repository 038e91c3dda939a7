"""Losses against their formulas, and what weights do."""

import math
from functools import partial

import pytest
import torch
import zoo

from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.readouts.direct import SeqToVector
from seqmodels.scalers.affine import IdentityScaler, WindowScaler
from seqmodels.window import every_step

ERRORS = [-30.0, -1.5, -0.2, 0.0, 0.4, 1.0, 90.0]


@pytest.mark.parametrize(
    ("head", "formula"),
    [
        (Point("mse"), lambda e: e * e),
        (Point("mae"), abs),
        (Point("huber", delta=0.5), lambda e: 0.5 * e * e if abs(e) <= 0.5 else 0.5 * (abs(e) - 0.25)),
        (Point("log_cosh"), lambda e: math.log(math.cosh(e))),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_losses_equal_their_formula(head, formula):
    target = torch.tensor(ERRORS, dtype=torch.float64).reshape(1, 1, 7, 1)
    cost = head.loss(torch.zeros(1, 1, 7, 1, 1, dtype=torch.float64), target)
    assert cost.flatten().tolist() == pytest.approx([formula(error) for error in ERRORS], abs=1e-12)


def test_log_cosh_neither_overflows_nor_loses_its_gradient():
    forecast = torch.tensor([1e4, -1e4, 1e-3]).reshape(1, 1, 3, 1, 1).requires_grad_()
    Point("log_cosh").loss(forecast, torch.zeros(1, 1, 3, 1)).sum().backward()
    assert forecast.grad.flatten().tolist() == pytest.approx([1, -1, 1e-3], rel=1e-3)


def test_mape_is_relative_to_the_raw_truth_and_guarded_near_zero():
    model = Forecaster(zoo.SPEC, IdentityScaler, zoo.BACKBONES["rnn"], SeqToVector, Point("mape", floor=0.5)).eval()
    inputs, targets, _ = zoo.window(zoo.SPEC)
    targets.target[0, 0, 0] = 0.0
    error = (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs()
    expected = (error / targets.target.abs().clamp(min=0.5)).mean()
    torch.testing.assert_close(model.loss(inputs, targets).loss, expected)


def test_leads_count_by_their_weight():
    build = partial(Forecaster, zoo.SPEC, IdentityScaler, zoo.BACKBONES["rnn"], SeqToVector)
    torch.manual_seed(0)
    model = build(Point("mae", lead_weights=[1, 2, 0])).eval()
    inputs, targets, _ = zoo.window(zoo.SPEC)
    error = (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs()
    expected = (error * torch.tensor([1.0, 2, 0])[:, None]).mean()
    torch.testing.assert_close(model.loss(inputs, targets).loss, expected)
    with pytest.raises(InputError, match="lead_weights holds 2 numbers; it must hold one for each of the 3 leads"):
        build(Point(lead_weights=[1, 2]))


def test_windows_count_by_their_size():
    model = Forecaster(
        zoo.SPEC, WindowScaler, zoo.BACKBONES["rnn"], SeqToVector, Point("mae", sample_weights="size")
    ).eval()
    inputs, targets, _ = zoo.window(zoo.SPEC)
    error = (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs()  # in the data's own units
    expected = (error / torch.tensor(zoo.SPEC.target_statistics.deviation)).mean()
    torch.testing.assert_close(model.loss(inputs, targets).loss, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "rmse"}, "loss is 'rmse'; it must be one of mse, mae, huber, log_cosh, mape"),
        ({"delta": 0.0}, "delta is 0.0; it must be greater than 0"),
        ({"floor": -1.0}, "floor is -1.0; it must be greater than 0"),
        ({"lead_weights": [0, 0]}, r"lead_weights is \[0, 0\]"),
        ({"lead_weights": [1, -1]}, r"lead_weights is \[1, -1\]"),
        ({"sample_weights": "recent"}, "sample_weights is 'recent'; it must be one of equal, size"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Point(**settings)


def test_a_point_forecast_has_neither_quantiles_nor_samples():
    with pytest.raises(InputError, match="model.head is a point forecast, which has no quantiles; train with a head"):
        Point().quantiles(torch.zeros(3, 1), [0.5])
    with pytest.raises(InputError, match="model.head is a point forecast, which has no samples; train with a head"):
        Point().sample(torch.zeros(3, 1), 10)


PAIRS = [(backbone, readout) for backbone in zoo.BACKBONES for readout in zoo.READOUTS if zoo.fits(backbone, readout)]


# Each head with every readout, and a sixth of the backbones.
WITH_HEADS = [(*pair, zoo.DISTRIBUTIONS[number % len(zoo.DISTRIBUTIONS)]) for number, pair in enumerate(PAIRS)]


@pytest.mark.parametrize(("backbone", "readout", "head"), WITH_HEADS)
def test_a_distribution_trains_with_every_backbone_and_readout(backbone, readout, head):
    """Nothing else knows of it: its own loss, and quantiles and samples in the data's own units."""
    model = zoo.forecaster(backbone, readout, "standard", "plain", head=head).train()
    inputs, targets, _ = zoo.window(zoo.SPEC, batch=16)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=2e-3), []
    for _ in range(15):
        torch.manual_seed(1)  # the same noise, so that losses can be compared
        losses.append(model.loss(inputs, targets).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(weight.grad.isfinite().all() for weight in model.parameters())
        optimizer.step()
    assert losses[-1] < losses[0]
    origins = len(model.origins.of(20))
    forecast = model.eval()(inputs).forecast
    assert forecast.shape == (16, origins, 3, 2, model.head.parameters_per_value)
    assert model.head.quantiles(forecast, [0.1, 0.5, 0.9]).shape == (16, origins, 3, 2, 3)
    assert model.head.sample(forecast, 5).shape == (5, 16, origins, 3, 2)


@pytest.mark.parametrize("scaler", ["identity", "standard", "window_mean", "window_season"])
@pytest.mark.parametrize("readout", ["seq_to_vector", "seq_to_seq", "encoder_decoder"])
def test_the_loss_of_a_normal_head_is_the_likelihood_of_what_it_forecasts(readout, scaler):
    """In the data's own units by torch's own distribution; a change of unit adds its logarithm."""
    model = zoo.forecaster("lstm", readout, scaler, "plain", head="own")
    inputs, targets, _ = zoo.window(zoo.SPEC)
    mean, log_deviation = model(inputs).forecast.unbind(-1)
    truth = every_step(inputs.past_target, targets.target, model.origins)
    likelihood = torch.distributions.Normal(mean, log_deviation.exp()).log_prob(truth)
    unit = model.scaler(inputs, model.origins).unit
    torch.testing.assert_close(model.loss(inputs, targets).loss, -(likelihood + unit.log()).mean())


def test_quantiles_and_samples_of_a_normal_head_follow_the_units_of_the_data():
    model = zoo.forecaster("lstm", "seq_to_vector", "standard", "plain", head="own")
    inputs = zoo.window(zoo.SPEC).inputs
    forecast, (centre, scale, _) = model(inputs).forecast, zoo.SPEC.target_statistics
    scaled = model.readout(model._encode(inputs, model.scaler(inputs, model.supervised)))
    torch.testing.assert_close(
        model.head.mean(forecast), model.head.mean(scaled) * torch.tensor(scale) + torch.tensor(centre)
    )
    torch.testing.assert_close(forecast[..., 1].exp(), scaled[..., 1].exp() * torch.tensor(scale))
    levels = [0.1, 0.5, 0.9]
    expected = torch.distributions.Normal(forecast[..., 0], forecast[..., 1].exp())
    wanted = torch.stack([expected.icdf(torch.tensor(level)) for level in levels], dim=-1)
    torch.testing.assert_close(model.head.quantiles(forecast, levels), wanted, rtol=1e-5, atol=1e-5)
    samples = model.head.sample(forecast, 4000, torch.Generator().manual_seed(0))
    assert ((samples.mean(0) - expected.mean).abs() < 5 * expected.stddev / 4000**0.5).all()
    torch.testing.assert_close(samples.std(0), expected.stddev, rtol=0.06, atol=0)


def test_every_head_weighs_leads():
    head = zoo.Normal(lead_weights=[1, 2, 0])
    cost = torch.ones(2, 1, 3, 2)
    weighed = head.weigh(cost, torch.ones(1, 1, 1, 2), torch.ones(2))
    assert weighed[0, 0, :, 0].tolist() == [1, 2, 0]
    with pytest.raises(InputError, match="lead_weights holds 3 numbers; it must hold one for each of the 2 leads"):
        head.expect(2)
