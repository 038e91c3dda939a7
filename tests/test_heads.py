"""Losses against their formulas, and what weights do."""

import math
from functools import partial

import pytest
import torch
import zoo

from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads import Point
from seqmodels.readouts.direct import SeqToVector
from seqmodels.scalers.affine import Identity, Window

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
    model = Forecaster(zoo.SPEC, Identity, zoo.BACKBONES["rnn"], SeqToVector, Point("mape", floor=0.5)).eval()
    inputs, targets, _ = zoo.window(zoo.SPEC)
    targets.target[0, 0, 0] = 0.0
    error = (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs()
    expected = (error / targets.target.abs().clamp(min=0.5)).mean()
    torch.testing.assert_close(model.loss(inputs, targets).loss, expected)


def test_leads_count_by_their_weight():
    build = partial(Forecaster, zoo.SPEC, Identity, zoo.BACKBONES["rnn"], SeqToVector)
    torch.manual_seed(0)
    model = build(Point("mae", lead_weights=[1, 2, 0])).eval()
    inputs, targets, _ = zoo.window(zoo.SPEC)
    error = (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs()
    expected = (error * torch.tensor([1.0, 2, 0])[:, None]).mean()
    torch.testing.assert_close(model.loss(inputs, targets).loss, expected)
    with pytest.raises(InputError, match="lead_weights holds 2 numbers; it must hold one for each of the 3 leads"):
        build(Point(lead_weights=[1, 2]))


def test_windows_count_by_their_size():
    model = Forecaster(zoo.SPEC, Window, zoo.BACKBONES["rnn"], SeqToVector, Point("mae", sample_weights="size")).eval()
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
def test_heads_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Point(**settings)
