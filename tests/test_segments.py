"""The parallel decoder against the paper's equations, its segments, and its embeddings of positions and series."""

from functools import partial

import pytest
import torch
import zoo

from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.readouts.segments import Segments, choose_segment

GRU = partial(zoo.recurrent.Gru, hidden=8, layers=1)


def build(spec=zoo.SPEC, **arguments) -> Forecaster:
    torch.manual_seed(0)
    readout = partial(Segments, **{"segment": 2, **arguments})
    return Forecaster(spec, zoo.SCALERS["standard"], GRU, readout, zoo.Point("mae")).eval()


@pytest.mark.parametrize(
    ("season", "horizon", "steps"),
    [(24, 96, 24), (24, 48, 24), (24, 24, 12), (24, 47, 12), (7, 14, 7), (7, 10, 1), (1, 10, 3), (1, 1, 1), (24, 1, 1)],
)  # fmt: skip
def test_a_segment_is_a_part_of_the_season_that_fits_twice(season, horizon, steps):
    assert choose_segment(season, horizon) == steps


def test_it_equals_the_equations_of_the_paper():
    """For each segment i: h = GRU([position i, series], h of the encoder); its values: W h + b."""
    model = build()
    inputs = zoo.window(zoo.SPEC).inputs
    encoded = model._encode(inputs, model.scaler(inputs, model.supervised))
    readout, start = model.readout, encoded.features[:, -1]
    cell, values = readout.cell, []
    for position in readout.position:
        read = torch.cat([position.expand(3, -1), readout.series.weight[inputs.identity + 1]], dim=-1)
        (ri, zi, ni), (rh, zh, nh) = (
            (x @ weight.T + bias).chunk(3, dim=-1)
            for x, weight, bias in ((read, cell.weight_ih, cell.bias_ih), (start, cell.weight_hh, cell.bias_hh))
        )
        r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        hidden = (1 - z) * torch.tanh(ni + r * nh) + z * start
        values.append(readout.linear(hidden).unflatten(-1, (2, 2)))
    expected = torch.cat(values, dim=1)[:, :3]  # two segments of two steps for three leads
    torch.testing.assert_close(readout(encoded)[:, 0, ..., 0], expected, rtol=1e-4, atol=1e-5)


def test_an_unseen_series_has_no_embedding_and_channels_have_one_each():
    model, inputs = build(), zoo.window(zoo.SPEC).inputs
    assert model.readout.series.weight.shape == (5, 4) and not model.readout.series.weight[0].any()
    same = inputs._replace(past_target=inputs.past_target[:1].expand(3, -1, -1), identity=torch.tensor([0, 1, -1]))
    forecast = model(same).forecast
    assert not torch.allclose(forecast[0], forecast[1])
    model.readout.series.weight.data[1:] = 0
    torch.testing.assert_close(model(same).forecast[0], forecast[2])
    torch.manual_seed(0)
    parts = zoo.SCALERS["standard"], GRU, Segments, zoo.Point()
    apart = Forecaster(zoo.SPEC._replace(series=1), *parts, channels="independent")
    assert apart.readout.series.weight.shape == (3, 4)
    assert build(zoo.SPEC._replace(series=1)).readout.series is None


def test_segments_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="segment is 4; it must be at most data.horizon=3"):
        build(segment=4)
    with pytest.raises(InputError, match="segment is 0; it must be at least 1"):
        build(segment=0)
    with pytest.raises(InputError, match="model.readout.dropout is 1; it must be at least 0 and less than 1"):
        build(dropout=1)
