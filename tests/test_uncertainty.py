"""Monte Carlo dropout: dropout stays on, everything else is evaluation, and a seed repeats it."""

from functools import partial

import pytest
import torch
import zoo

from seqmodels.backbones import recurrent
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.inference.monte_carlo import dropout_on, monte_carlo
from seqmodels.readouts.direct import SeqToVector
from seqmodels.scalers.affine import StandardScaler

KINDS = {
    "between layers": {"dropout": 0.3},
    "input": {"input_dropout": 0.3},
    "recurrent": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": 0.3},
}


def built(**settings) -> Forecaster:
    torch.manual_seed(0)
    net = partial(recurrent.Gru, hidden=7, layers=2, normalise="batch", **settings)
    return Forecaster(zoo.SPEC, StandardScaler, net, SeqToVector, zoo.Point()).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dropout_spreads_the_forecasts_reproducibly(kind):
    model, inputs = built(**KINDS[kind]), zoo.window(zoo.SPEC).inputs
    torch.manual_seed(3)
    before, state = model(inputs).forecast, torch.get_rng_state()
    spread = monte_carlo(model, inputs, passes=50, seed=1)
    assert spread.mean.shape == spread.deviation.shape == (3, 1, 3, 2)
    assert bool((spread.deviation > 0).all())
    again, other = monte_carlo(model, inputs, 50, seed=1), monte_carlo(model, inputs, 50, seed=2)
    assert torch.equal(again.mean, spread.mean) and not torch.equal(other.mean, spread.mean)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(model(inputs).forecast, before)
    assert not any(module.training for module in model.modules())


def test_mean_and_deviation_are_those_of_single_passes():
    model, inputs = built(recurrent_dropout=0.3), zoo.window(zoo.SPEC, batch=1).inputs
    spread = monte_carlo(model, inputs, passes=400, seed=1)
    torch.manual_seed(5)
    with dropout_on(model), torch.no_grad():
        singles = torch.stack([model.head.mean(model(inputs).forecast) for _ in range(400)])
    torch.testing.assert_close(spread.mean, singles.mean(0), rtol=0, atol=float(4 * singles.std() / 20))
    torch.testing.assert_close(spread.deviation, singles.std(0), rtol=0.2, atol=0)


def test_batch_norm_keeps_its_statistics():
    model, inputs = built(dropout=0.3), zoo.window(zoo.SPEC).inputs
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monte_carlo(model.train(), inputs, 10)
    assert any("running_mean" in name for name in before) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_dropout_and_a_single_pass_are_refused():
    with pytest.raises(InputError, match="needs a model with dropout; set model.backbone.dropout"):
        monte_carlo(built(), zoo.window(zoo.SPEC).inputs)
    with pytest.raises(InputError, match="dropout_passes is 1; it must be at least 2"):
        monte_carlo(built(dropout=0.1), zoo.window(zoo.SPEC).inputs, passes=1)
