"""What scalers promise: there and back exactly, nothing from the future, and differences that add up."""

from functools import partial

import numpy as np
import pytest
import torch
import zoo

from seqmodels.errors import InputError
from seqmodels.scalers.affine import Identity, Standard
from seqmodels.scalers.difference import Difference
from seqmodels.window import Origins, Targets, WindowSpec, every_step

HEAD = zoo.heads.Point()


@pytest.mark.parametrize("name", zoo.SCALERS)
@pytest.mark.parametrize("spec", ["plain", "ahead"])
@pytest.mark.parametrize("first", [10, 19])
def test_what_is_encoded_comes_back_exactly(name, spec, first):
    """A model that described every scaled target without error would forecast the truth, at every origin and lead."""
    spec, origins = zoo.SPECS[spec]._replace(horizon=9), Origins(first, 1)
    inputs, targets, _ = zoo.window(spec)
    view = zoo.SCALERS[name](spec)(inputs, origins)
    scaled = view.encode_targets(inputs, targets, origins)
    decoded = HEAD.mean(view.decode(scaled.unsqueeze(-1), HEAD.rescale))
    observed = every_step(inputs.past_observed, targets.observed, origins)
    truth = every_step(inputs.past_target, targets.target, origins)
    assert decoded.shape == truth.shape == (3, 20 - first, 9, 2)
    torch.testing.assert_close(decoded[observed], truth[observed], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("lag", "order"), [(1, 1), (1, 2), (1, 3), (4, 1), (4, 2), (7, 1)])
def test_differences_equal_numpy_and_add_up_beyond_one_season(lag, order):
    spec = WindowSpec(past_steps=30, horizon=17, season=4)
    inputs, targets, _ = zoo.window(spec)
    scaler, origins = Difference(spec, lag, order), Origins(29, 1)
    view = scaler(inputs, origins)
    past, values = inputs.past_target[..., 0].double().numpy(), None
    values = np.concatenate([past, targets.target[..., 0].double().numpy()], 1)
    expected = values
    for _ in range(order):
        expected = expected[:, lag:] - expected[:, :-lag]
    encoded = view.encode(inputs.past_target)[..., 0]
    assert not encoded[:, : lag * order].any()
    np.testing.assert_allclose(encoded[:, lag * order :], expected[:, : 30 - lag * order], atol=1e-4)
    np.testing.assert_allclose(
        view.encode_targets(inputs, targets, origins)[:, 0, :, 0], expected[:, 30 - lag * order :], atol=1e-4
    )
    flat = torch.zeros(3, 1, 17, 1, 1)
    kept = view.decode(flat, HEAD.rescale)[:, 0, :, 0, 0].double().numpy()
    if order == 1:  # without any change the last season repeats
        np.testing.assert_allclose(kept, np.stack([past[:, 30 - lag + h % lag] for h in range(17)], 1), rtol=1e-5)


def test_a_polynomial_trend_of_degree_d_vanishes_after_d_differences():
    spec = WindowSpec(past_steps=30, horizon=5)
    time = torch.arange(35.0)
    trend = (0.02 * time**2 - time)[None, :, None]
    inputs = spec.zeros()._replace(past_target=trend[:, :30])
    view = Difference(spec, 1, 2)(inputs, Origins(29, 1))
    encoded = view.encode(inputs.past_target)[0, 2:, 0]
    torch.testing.assert_close(encoded, torch.full((28,), 0.04), rtol=1e-3, atol=1e-4)
    forecast = view.decode(torch.full((1, 1, 5, 1, 1), 0.04), HEAD.rescale)
    torch.testing.assert_close(forecast[0, 0, :, :, 0], trend[0, 30:], rtol=1e-4, atol=1e-3)


def test_missing_values_count_as_the_value_before_them():
    spec = WindowSpec(past_steps=5, horizon=2, missing=True)
    past = torch.tensor([1.0, 3, 0, 4, 0])[None, :, None]
    inputs = spec.zeros()._replace(past_target=past, past_observed=past != 0)
    view = Difference(spec)(inputs, Origins(4, 1))

    targets = Targets(torch.tensor([[[6.0], [7.0]]]), torch.ones(1, 2, 1, dtype=torch.bool))
    assert view.encode_targets(inputs, targets, Origins(4, 1))[0, 0, :, 0].tolist() == [2, 1]


def test_the_output_scale_multiplies_forecasts_only():
    spec = WindowSpec(past_steps=4, horizon=1)
    inputs, targets, _ = zoo.window(spec)
    view = Identity(spec, output_scale=200.0)(inputs, Origins(3, 1))
    assert torch.equal(view.encode(inputs.past_target), inputs.past_target)
    torch.testing.assert_close(view.encode_targets(inputs, targets, Origins(3, 1))[:, 0], targets.target / 200)
    assert view.decode(torch.ones(3, 1, 1, 1, 1), HEAD.rescale).unique().tolist() == [200.0]


@pytest.mark.parametrize(
    ("scaler", "message"),
    [
        (partial(Identity, output_scale=0.0), "output_scale is 0.0; it must be greater than 0"),
        (partial(Difference, lag=0), "lag is 0; it must be at least 1"),
        (partial(Difference, order=0), "order is 0; it must be at least 1"),
        (partial(Difference, lag=10, order=2), "lag=10 times model.scaler.order=2 is 20 steps; it must be less than"),
    ],
)
def test_scalers_that_make_no_sense_are_refused(scaler, message):
    with pytest.raises(InputError, match=message):
        scaler(zoo.SPEC)


def test_differences_are_refused_with_a_relative_loss():
    build = partial(zoo.Forecaster, zoo.SPEC, backbone=zoo.BACKBONES["rnn"], readout=zoo.direct.SeqToSeq)
    with pytest.raises(InputError, match="mape is relative to the data's own values"):
        build(scaler=Difference, head=zoo.heads.Point(loss="mape"))
    build(scaler=Standard, head=zoo.heads.Point(loss="mape"))
