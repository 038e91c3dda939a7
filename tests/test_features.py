"""Input features, compared with formulas computed element by element."""

from functools import partial

import pytest
import torch
import zoo
from small_runs import trained

from seqmodels.features import ColumnEncoder, FeatureEncoder
from seqmodels.forecaster import Forecaster
from seqmodels.scalers import affine
from seqmodels.training.stateful import cut
from seqmodels.window import Category, ConsecutiveWindows, Inputs, Statistics, Targets, WindowSpec

GRU = partial(zoo.recurrent.Gru, hidden=8, layers=1)
MANY = Category("city", tuple(f"city {i:02}" for i in range(30)), (1 / 30,) * 30)
FEW = Category("city", ("Athens", "Bern", "Cairo"), (0.5, 0.3, 0.1))
ONE = Statistics((0.0,), (1.0,))


def expected_features(spec: WindowSpec, encoder: FeatureEncoder, inputs: Inputs, row: int, step: int) -> list[float]:
    """Features of one step, computed element by element."""

    def encode(name: str, value: float, statistics: Statistics, position: int, table) -> list[float]:
        category = next((one for one in spec.categories if one.column == name), None)
        if category is None:
            return [(value - statistics.mean[position]) / statistics.deviation[position]]
        if len(category.values) > 20:
            return table.weight[int(value)].tolist()
        spread = [(share * (1 - share)) ** 0.5 for share in category.shares]
        centred = [((number == value) - share) for number, share in enumerate(category.shares, 1)]
        return [x / s if value else 0.0 for x, s in zip(centred, spread, strict=True)]

    out = [*inputs.past_target[row, step].tolist(), *inputs.past_observed[row, step].float().tolist()]
    for names, values, statistics, columns in (
        (spec.past_covariates, inputs.past_covariates[row, step], spec.past_statistics, encoder.past_columns),
        (spec.known_covariates, inputs.known_covariates[row, step + 1], spec.known_statistics, encoder.known_columns),
        (spec.statics, inputs.static[row], spec.static_statistics, encoder.static_columns),
    ):
        for position, name in enumerate(names):
            out += encode(name, values[position].item(), statistics, position, columns.tables[0])
    return out


def test_all_features_equal_their_formula():
    inputs, encoder = zoo.window(zoo.PANEL).inputs, FeatureEncoder(zoo.PANEL)
    features = encoder(inputs, inputs.past_target, encoder.encode_known(inputs))
    expected = [[expected_features(zoo.PANEL, encoder, inputs, row, t) for t in range(20)] for row in range(3)]
    torch.testing.assert_close(features, torch.tensor(expected))
    # target and mask of two channels; wind, weather; open, promotion of 23 values: 1.6 * 23^0.56 = 9.3; size, city
    assert features.shape == (3, 20, zoo.PANEL.features) and zoo.PANEL.features == 4 + (1 + 2) + (1 + 9) + (1 + 3)


def test_a_one_hot_category_has_mean_0_and_deviation_1_over_the_training_span():
    numbers = torch.tensor([1.0] * 5 + [2.0] * 3 + [3.0] * 2)
    shares = (0.5, 0.3, 0.2)
    encoded = ColumnEncoder(("city",), ONE, (FEW._replace(shares=shares),))(numbers[:, None])
    torch.testing.assert_close(encoded.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(encoded.std(0, correction=0), torch.ones(3))


def test_a_category_with_a_single_value_is_encoded_as_zero():
    columns = ColumnEncoder(("city",), ONE, (Category("city", ("Athens",), (1.0,)),))
    assert columns(torch.tensor([[1.0], [0.0]])).tolist() == [[0.0], [0.0]]


def test_encoded_categories_keep_the_position_of_their_columns():
    columns = ColumnEncoder(("a", "city", "b", "c"), Statistics((1.0, 0, 2, 0), (2.0, 1, 4, 1)), (FEW,))
    encoded = columns(torch.tensor([5.0, 0.0, 10.0, 7.0]))
    assert encoded.tolist() == [2.0, 0.0, 0.0, 0.0, 2.0, 7.0]


def test_embeddings_begin_with_deviation_1_and_unknown_values_stay_zero():
    spec = WindowSpec(6, 2, statics=("city",), static_statistics=ONE, categories=(MANY,))
    for scheme in ("glorot", "torch"):
        torch.manual_seed(0)
        model = Forecaster(spec, affine.StandardScaler, GRU, zoo.direct.SeqToVector, zoo.Point(), scheme)
        weight = model.describe.static_columns.tables[0].weight
        assert weight.shape == (31, 11) and not weight[0].any()  # 1.6 * 30^0.56 = 10.7
        assert weight[1:].std().item() == pytest.approx(1.0, abs=0.1)
    inputs, targets, _ = zoo.window(spec._replace(categories=()))
    inputs = inputs._replace(static=torch.tensor([[0.0], [1.0], [30.0]]))
    before, optimizer = weight.detach().clone(), torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model.loss(inputs, targets).loss.backward()
    optimizer.step()
    changed = (weight - before * (1 - 0.01)).abs().sum(1) > 1e-3  # by more than the decay
    assert not weight[0].any() and changed.nonzero().flatten().tolist() == [1, 30]


def test_without_categories_there_are_no_parameters_and_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    encoder = FeatureEncoder(zoo.RICH)
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(encoder.parameters()) and not encoder.state_dict()


@pytest.mark.parametrize("spec", ["panel_ahead", "ahead", "plain"])
def test_future_steps_are_encoded_like_past_ones(spec):
    """Compares the first two future steps of a window with the same steps in the past of a later window."""
    spec = zoo.SPECS[spec]
    inputs, targets, _ = zoo.window(spec)
    encoder = FeatureEncoder(spec)
    values = torch.cat([inputs.past_target, targets.target], 1)
    later = inputs._replace(
        past_target=values,
        past_observed=torch.ones_like(values, dtype=torch.bool),
        known_covariates=torch.cat([inputs.known_covariates, inputs.known_covariates[:, -1:]], 1),
    )
    encode = encoder.future_encoder(inputs, encoder.encode_known(inputs))
    expected = encoder(later, values, encoder.encode_known(later))
    for lead in (1, 2):
        torch.testing.assert_close(encode(targets.target[:, lead - 1], lead), expected[:, 19 + lead])


@pytest.mark.parametrize("backbone", ["lstm", "wavenet"])
def test_law_3_forecasts_of_a_panel_read_in_chunks_equal_those_of_whole_windows(backbone):
    model, window = zoo.forecaster(backbone, "seq_to_seq", "standard", "panel"), zoo.window(zoo.PANEL)
    consecutive = ConsecutiveWindows(
        window.inputs, window.targets, 20, torch.ones(3, 20, dtype=torch.bool), window.origin
    )
    forecasts, state = [], None
    for chunk in (slice(0, 1), slice(1, 8), slice(8, 18), slice(18, 20)):
        forecast, state, *_ = model(cut(consecutive, chunk)[0], state)
        forecasts.append(forecast)
    torch.testing.assert_close(torch.cat(forecasts, 1), model(window.inputs).forecast, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("category", [FEW, MANY])
def test_a_category_determines_the_level_of_series_without_a_past(category):
    """No past value is observed, so only the category determines the level."""
    count = len(category.values)
    levels = torch.cat([torch.zeros(1), torch.linspace(-20, 40, count)[torch.randperm(count)]])
    statistics = Statistics((levels[1:].mean().item(),), (levels[1:].std().item(),))
    spec = WindowSpec(6, 2, statics=("city",), static_statistics=ONE, categories=(category,), missing=True)._replace(
        target_statistics=statistics
    )
    torch.manual_seed(0)
    model = Forecaster(spec, affine.StandardScaler, zoo.BACKBONES["mlp"], zoo.direct.SeqToVector, zoo.Point())

    def batch(_) -> tuple[Inputs, Targets]:
        city = torch.randint(1, count + 1, (128, 1))
        inputs = spec.zeros(128)._replace(static=city.float(), past_observed=torch.zeros(128, 6, 1, dtype=torch.bool))
        target = levels[city][:, None].expand(-1, 2, -1) + torch.randn(128, 2, 1)
        return inputs, Targets(target, torch.ones(128, 2, 1, dtype=torch.bool))

    trained(model, batch, 300, lr=1e-2)
    inputs = spec.zeros(count)._replace(
        static=torch.arange(1.0, count + 1)[:, None], past_observed=torch.zeros(count, 6, 1, dtype=torch.bool)
    )
    error = (model.head.mean(model(inputs).forecast)[:, 0, 0, 0] - levels[1:]).abs().max()
    assert error < 2.0 < statistics.deviation[0] / 5
