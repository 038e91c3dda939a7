"""What the backbone sees of covariates, categories and statics, against formulas written cell by cell."""

from functools import partial

import pytest
import torch
import zoo
from small_runs import trained

from seqmodels.features import Columns, Features
from seqmodels.forecaster import Forecaster
from seqmodels.scalers import affine
from seqmodels.training.stateful import part
from seqmodels.window import Category, ConsecutiveWindows, Inputs, Statistics, Targets, WindowSpec

GRU = partial(zoo.recurrent.Gru, hidden=8, layers=1)
MANY = Category("city", tuple(f"city {i:02}" for i in range(30)), (1 / 30,) * 30)
FEW = Category("city", ("Athens", "Bern", "Cairo"), (0.5, 0.3, 0.1))
ONE = Statistics((0.0,), (1.0,))


def cells(spec: WindowSpec, features: Features, inputs: Inputs, row: int, step: int) -> list[float]:
    """The features of one step as the contract says them, number by number."""

    def column(name: str, value: float, statistics: Statistics, place: int, rows) -> list[float]:
        category = next((one for one in spec.categories if one.column == name), None)
        if category is None:
            return [(value - statistics.mean[place]) / statistics.deviation[place]]
        if len(category.values) > 20:
            return rows.weight[int(value)].tolist()
        spread = [(share * (1 - share)) ** 0.5 for share in category.shares]
        each = [((number == value) - share) for number, share in enumerate(category.shares, 1)]
        return [x / s if value else 0.0 for x, s in zip(each, spread, strict=True)]

    out = [*inputs.past_target[row, step].tolist(), *inputs.past_observed[row, step].float().tolist()]
    for names, values, statistics, learned in (
        (spec.past_covariates, inputs.past_covariates[row, step], spec.past_statistics, features.past_columns),
        (spec.known_covariates, inputs.known_covariates[row, step + 1], spec.known_statistics, features.known_columns),
        (spec.statics, inputs.static[row], spec.static_statistics, features.static_columns),
    ):
        for place, name in enumerate(names):
            out += column(name, values[place].item(), statistics, place, learned.tables[0])
    return out


def test_every_number_of_every_step_equals_the_formula():
    inputs, features = zoo.window(zoo.PANEL).inputs, Features(zoo.PANEL)
    seen = features(inputs, inputs.past_target, features.known(inputs))
    expected = torch.tensor([[cells(zoo.PANEL, features, inputs, row, t) for t in range(20)] for row in range(3)])
    torch.testing.assert_close(seen, expected)
    # target and mask of two channels; wind, weather; open, promotion of 23 values: 1.6 * 23^0.56 = 9.3; size, city
    assert seen.shape == (3, 20, zoo.PANEL.features) and zoo.PANEL.features == 4 + (1 + 2) + (1 + 9) + (1 + 3)


def test_a_category_of_few_values_has_mean_0_and_deviation_1_over_the_training_span():
    numbers = torch.tensor([1.0] * 5 + [2.0] * 3 + [3.0] * 2)
    shares = (0.5, 0.3, 0.2)
    encoded = Columns(("city",), ONE, (FEW._replace(shares=shares),))(numbers[:, None])
    torch.testing.assert_close(encoded.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(encoded.std(0, correction=0), torch.ones(3))


def test_a_value_that_is_always_there_says_nothing():
    columns = Columns(("city",), ONE, (Category("city", ("Athens",), (1.0,)),))
    assert columns(torch.tensor([[1.0], [0.0]])).tolist() == [[0.0], [0.0]]


def test_categories_stand_where_their_columns_stand():
    columns = Columns(("a", "city", "b", "c"), Statistics((1.0, 0, 2, 0), (2.0, 1, 4, 1)), (FEW,))
    encoded = columns(torch.tensor([5.0, 0.0, 10.0, 7.0]))
    assert encoded.tolist() == [2.0, 0.0, 0.0, 0.0, 2.0, 7.0]


def test_an_embedding_begins_like_standardised_numbers_and_keeps_zeros_for_what_is_unknown():
    spec = WindowSpec(6, 2, statics=("city",), static_statistics=ONE, categories=(MANY,))
    for scheme in ("glorot", "torch"):
        torch.manual_seed(0)
        model = Forecaster(spec, affine.Standard, GRU, zoo.direct.SeqToVector, zoo.heads.Point(), scheme)
        weight = model.describe.static_columns.tables[0].weight
        assert weight.shape == (31, 11) and not weight[0].any()  # 1.6 * 30^0.56 = 10.7
        assert weight[1:].std().item() == pytest.approx(1.0, abs=0.1)
    inputs, targets, _ = zoo.window(spec._replace(categories=()))
    inputs = inputs._replace(static=torch.tensor([[0.0], [1.0], [30.0]]))
    before, optimizer = weight.detach().clone(), torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model.loss(inputs, targets).backward()
    optimizer.step()
    changed = (weight - before * (1 - 0.01)).abs().sum(1) > 1e-3  # by more than the decay
    assert not weight[0].any() and changed.nonzero().flatten().tolist() == [1, 30]


def test_without_categories_nothing_is_drawn_nor_learnt():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    features = Features(zoo.RICH)
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(features.parameters()) and not features.state_dict()


@pytest.mark.parametrize("spec", ["panel_ahead", "ahead", "plain"])
def test_the_steps_ahead_are_described_like_those_of_the_past(spec):
    """The features of the third step ahead, of a window that ends here and of one that ends three steps later."""
    spec = zoo.SPECS[spec]
    inputs, targets, _ = zoo.window(spec)
    features = Features(spec)
    values = torch.cat([inputs.past_target, targets.target], 1)
    later = inputs._replace(
        past_target=values,
        past_observed=torch.ones_like(values, dtype=torch.bool),
        known_covariates=torch.cat([inputs.known_covariates, inputs.known_covariates[:, -1:]], 1),
    )
    ahead = features.ahead(inputs, features.known(inputs))
    expected = features(later, values, features.known(later))
    for lead in (1, 2):
        torch.testing.assert_close(ahead(targets.target[:, lead - 1], lead), expected[:, 19 + lead])


@pytest.mark.parametrize("backbone", ["lstm", "wavenet"])
def test_law_3_a_panel_read_in_pieces_is_forecast_like_one_that_is_read_at_once(backbone):
    model, window = zoo.forecaster(backbone, "seq_to_seq", "standard", "panel"), zoo.window(zoo.PANEL)
    stretch = ConsecutiveWindows(window.inputs, window.targets, 20, torch.ones(3, 20, dtype=torch.bool), window.origin)
    forecasts, state = [], None
    for piece in (slice(0, 1), slice(1, 8), slice(8, 18), slice(18, 20)):
        forecast, state = model.go_on(part(stretch, piece)[0], state)
        forecasts.append(forecast)
    torch.testing.assert_close(torch.cat(forecasts, 1), model(window.inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("category", [FEW, MANY])
def test_the_level_that_a_category_sets_is_learnt_for_series_that_have_no_past_yet(category):
    """Nothing was observed of these series: only the category can tell their level."""
    count = len(category.values)
    levels = torch.cat([torch.zeros(1), torch.linspace(-20, 40, count)[torch.randperm(count)]])
    statistics = Statistics((levels[1:].mean().item(),), (levels[1:].std().item(),))
    spec = WindowSpec(6, 2, statics=("city",), static_statistics=ONE, categories=(category,), missing=True)._replace(
        target_statistics=statistics
    )
    torch.manual_seed(0)
    model = Forecaster(spec, affine.Standard, zoo.BACKBONES["mlp"], zoo.direct.SeqToVector, zoo.heads.Point())

    def batch(_) -> tuple[Inputs, Targets]:
        city = torch.randint(1, count + 1, (128, 1))
        inputs = spec.zeros(128)._replace(static=city.float(), past_observed=torch.zeros(128, 6, 1, dtype=torch.bool))
        target = levels[city][:, None].expand(-1, 2, -1) + torch.randn(128, 2, 1)
        return inputs, Targets(target, torch.ones(128, 2, 1, dtype=torch.bool))

    trained(model, batch, 300, lr=1e-2)
    inputs = spec.zeros(count)._replace(
        static=torch.arange(1.0, count + 1)[:, None], past_observed=torch.zeros(count, 6, 1, dtype=torch.bool)
    )
    error = (model.mean(model(inputs))[:, 0, 0, 0] - levels[1:]).abs().max()
    assert error < 2.0 < statistics.deviation[0] / 5
