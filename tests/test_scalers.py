"""Properties of scalers: exact inverses, nothing from the future, and differences that add up."""

from functools import partial

import numpy as np
import pytest
import torch
import zoo
from data import integers, prepare

from seqmodels.errors import InputError
from seqmodels.scalers.affine import IdentityScaler, StandardScaler, WindowScaler, choose_scaler
from seqmodels.scalers.base import Scaler
from seqmodels.scalers.difference import DifferenceScaler
from seqmodels.window import Inputs, Origins, Statistics, Targets, WindowSpec, every_step

HEAD = zoo.Point()


@pytest.mark.parametrize("name", zoo.SCALERS)
@pytest.mark.parametrize("spec", ["plain", "ahead"])
@pytest.mark.parametrize("first", [10, 19])
def test_the_inverse_transform_is_exact(name, spec, first):
    """A model that described every scaled target without error would forecast the truth, at every origin and lead."""
    spec, origins = zoo.SPECS[spec]._replace(horizon=9), Origins(first, 1)
    inputs, targets, _ = zoo.window(spec)
    scaling = zoo.SCALERS[name](spec)(inputs, origins)
    scaled = scaling.transform_targets(inputs, targets, origins)
    decoded = HEAD.mean(scaling.inverse_transform(scaled.unsqueeze(-1), HEAD))
    observed = every_step(inputs.past_observed, targets.observed, origins)
    truth = every_step(inputs.past_target, targets.target, origins)
    assert decoded.shape == truth.shape == (3, 20 - first, 9, 2)
    torch.testing.assert_close(decoded[observed], truth[observed], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("lag", "order"), [(1, 1), (1, 2), (1, 3), (4, 1), (4, 2), (7, 1)])
def test_differences_equal_numpy_and_add_up_beyond_one_season(lag, order):
    spec = WindowSpec(past_steps=30, horizon=17, season=4)
    inputs, targets, _ = zoo.window(spec)
    scaler, origins = DifferenceScaler(spec, lag, order), Origins(29, 1)
    scaling = scaler(inputs, origins)
    past, values = inputs.past_target[..., 0].double().numpy(), None
    values = np.concatenate([past, targets.target[..., 0].double().numpy()], 1)
    expected = values
    for _ in range(order):
        expected = expected[:, lag:] - expected[:, :-lag]
    encoded = scaling.transform(inputs.past_target)[..., 0]
    assert not encoded[:, : lag * order].any()
    np.testing.assert_allclose(encoded[:, lag * order :], expected[:, : 30 - lag * order], atol=1e-4)
    np.testing.assert_allclose(
        scaling.transform_targets(inputs, targets, origins)[:, 0, :, 0], expected[:, 30 - lag * order :], atol=1e-4
    )
    flat = torch.zeros(3, 1, 17, 1, 1)
    kept = scaling.inverse_transform(flat, HEAD)[:, 0, :, 0, 0].double().numpy()
    if order == 1:  # without any change the last season repeats
        np.testing.assert_allclose(kept, np.stack([past[:, 30 - lag + h % lag] for h in range(17)], 1), rtol=1e-5)


def test_a_polynomial_trend_of_degree_d_vanishes_after_d_differences():
    spec = WindowSpec(past_steps=30, horizon=5)
    time = torch.arange(35.0)
    trend = (0.02 * time**2 - time)[None, :, None]
    inputs = spec.zeros()._replace(past_target=trend[:, :30])
    scaling = DifferenceScaler(spec, 1, 2)(inputs, Origins(29, 1))
    encoded = scaling.transform(inputs.past_target)[0, 2:, 0]
    torch.testing.assert_close(encoded, torch.full((28,), 0.04), rtol=1e-3, atol=1e-4)
    forecast = scaling.inverse_transform(torch.full((1, 1, 5, 1, 1), 0.04), HEAD)
    torch.testing.assert_close(forecast[0, 0, :, :, 0], trend[0, 30:], rtol=1e-4, atol=1e-3)


def test_missing_values_count_as_the_value_before_them():
    spec = WindowSpec(past_steps=6, horizon=2, missing=True)
    past = torch.tensor([0.0, 100, 103, 0, 104, 0])[None, :, None]
    inputs = spec.zeros()._replace(past_target=past, past_observed=past != 0)
    scaling = DifferenceScaler(spec)(inputs, Origins(5, 1))
    assert scaling.transform(past)[0, :, 0].tolist() == [
        0,
        0,
        3,
        0,
        1,
        0,
    ]  # no jump where the series begins, nor at a gap
    targets = Targets(torch.tensor([[[106.0], [107.0]]]), torch.ones(1, 2, 1, dtype=torch.bool))
    assert scaling.transform_targets(inputs, targets, Origins(5, 1))[0, 0, :, 0].tolist() == [2, 1]


@pytest.mark.parametrize("name", zoo.SCALERS)
def test_windows_without_early_values_are_scaled_moderately_and_come_back_exactly(name):
    """Where nothing was observed yet, the training mean stands in: no unit of almost nothing, no lost level."""
    spec = zoo.AHEAD._replace(horizon=9, target_statistics=Statistics((500.0, -40.0), (5.0, 2.0)))
    inputs, targets, _ = zoo.window(spec)
    level = torch.tensor([500.0, -40.0])
    observed = torch.ones_like(inputs.past_observed)
    observed[0, :12] = False
    inputs = inputs._replace(past_target=(inputs.past_target + level) * observed, past_observed=observed)
    targets = Targets(targets.target + level, torch.ones_like(targets.observed))
    scaler = zoo.SCALERS[name](spec)
    origins = Origins(max(0, scaler.burn_in(spec) - 1), 1)
    scaling = scaler(inputs, origins)
    scaled = scaling.transform_targets(inputs, targets, origins)
    decoded = HEAD.mean(scaling.inverse_transform(scaled.unsqueeze(-1), HEAD))
    begun = (observed.cumsum(1) > 0)[:, origins.first :].unsqueeze(2)  # the loss leaves out what came before
    counts = every_step(observed, targets.observed, origins) & begun
    truth = every_step(inputs.past_target, targets.target, origins)
    torch.testing.assert_close(decoded[counts], truth[counts], rtol=1e-4, atol=1e-2)
    if name != "identity":
        assert scaled[counts].abs().max() < 30


def test_a_quiet_beginning_does_not_blow_up_the_rest():
    spec = WindowSpec(past_steps=20, horizon=2)
    inputs, targets, _ = zoo.window(spec)
    inputs.past_target[0, :6] = 0.0
    scaling = WindowScaler(spec)(inputs, Origins(6, 1))
    assert float(scaling.past_scale[0]) == pytest.approx(0.1 * float(inputs.seasonal_error[0]))


@pytest.mark.parametrize("name", zoo.SCALERS)
def test_values_under_a_false_mask_make_no_difference(name):
    """Windows of different length in one batch: padded in front and masked."""
    spec = zoo.AHEAD
    model = zoo.Forecaster(spec, zoo.SCALERS[name], zoo.BACKBONES["rnn"], zoo.direct.SeqToSeq, HEAD).eval()
    inputs, targets, _ = zoo.window(spec)
    observed = inputs.past_observed.clone()
    observed[0, :12] = observed[1, :5] = False
    padded = inputs._replace(past_target=inputs.past_target * observed, past_observed=observed)
    garbage = padded._replace(past_target=torch.where(observed, padded.past_target, 1e4))
    torch.testing.assert_close(model(garbage).forecast, model(padded).forecast)
    torch.testing.assert_close(model.loss(garbage, targets).loss, model.loss(padded, targets).loss)


def short(spec: WindowSpec, begin: int, level: float = 0.0) -> tuple[Inputs, Targets]:
    """Random walks around a level that begin at step ``begin``: nothing but zeros before it."""
    inputs, targets, _ = zoo.window(spec._replace(missing=False, statics=()))
    observed = (torch.arange(spec.past_steps) >= begin)[None, :, None].expand_as(inputs.past_observed)
    past = (inputs.past_target + level) * observed
    return inputs._replace(past_target=past, past_observed=observed), Targets(targets.target + level, targets.observed)


@pytest.mark.parametrize("name", [name for name in zoo.SCALERS if name.startswith("window")])
@pytest.mark.parametrize("readout", [zoo.direct.SeqToVector, zoo.direct.SeqToSeq])
def test_a_short_series_of_another_level_is_scaled_by_what_was_observed_of_it(name, readout):
    """The steps that give the statistics may all lie before its beginning: then its first value stands in."""
    spec, level = zoo.SPEC._replace(missing=True), 1e5
    inputs, targets = short(spec, 14, level)
    model = zoo.Forecaster(spec, zoo.SCALERS[name], zoo.BACKBONES["rnn"], readout, HEAD).eval()
    scaling = model.scaler(inputs, model.supervised)
    counts = model._observed(inputs, targets)
    assert scaling.transform(inputs.past_target)[:, 14:].abs().max() < 20
    assert scaling.transform_targets(inputs, targets, model.supervised)[counts].abs().max() < 20
    expected = 1 if readout is zoo.direct.SeqToVector else 6  # origins at or after the first value
    assert counts.sum() == 3 * expected * 3 * 2 == model.loss(inputs, targets).weight
    assert model.loss(inputs, targets).loss < 20
    forecast = model.head.mean(model(inputs).forecast)
    assert (forecast[:, -expected:] - level).abs().max() < 100
    assert forecast[:, :-expected].abs().max() < 100 if expected == 6 else True  # around the training mean of 3 and -1


@pytest.mark.parametrize("name", zoo.SCALERS)
def test_windows_without_any_observation_have_no_loss_per_window_and_finite_gradients(name):
    spec = zoo.SPEC._replace(missing=True)
    inputs, targets = short(spec, 20)
    model = zoo.Forecaster(spec, zoo.SCALERS[name], zoo.BACKBONES["rnn"], zoo.direct.SeqToSeq, HEAD)
    loss = model.loss(inputs, targets).loss
    loss.backward()
    assert (
        all(weight.grad.isfinite().all() for weight in model.parameters()) and model(inputs).forecast.isfinite().all()
    )
    assert (loss == 0) == model.scaler.per_window


def test_a_whole_season_without_values_is_centred_on_the_last_value_before_it():
    spec = WindowSpec(past_steps=6, horizon=1, season=3, missing=True)
    past = torch.tensor([0.0, 40, 50, 0, 0, 0])[None, :, None]
    inputs = spec.zeros()._replace(past_target=past, past_observed=past != 0)
    assert WindowScaler(spec, centre="season")(inputs, Origins(5, 1)).past_centre.item() == 50


@pytest.mark.parametrize("scale", ["deviation", "mean_absolute"])
def test_a_single_value_has_no_spread(scale):
    spec = WindowSpec(past_steps=6, horizon=1, missing=True)
    inputs, _ = short(spec, 5)
    torch.testing.assert_close(
        WindowScaler(spec, scale=scale)(inputs, Origins(5, 1)).past_scale[:, 0], inputs.seasonal_error
    )


def test_seasonal_differences_of_less_than_a_season_continue_from_the_first_value():
    """A season of 4 of which 2 values are known: 50, 53. The missing phases count as 50, not as the training mean."""
    spec = WindowSpec(past_steps=6, horizon=5, season=4, missing=True)
    past = torch.tensor([0.0, 0, 0, 0, 50, 53])[None, :, None]
    inputs = spec.zeros()._replace(past_target=past, past_observed=past != 0)
    scaling = DifferenceScaler(spec, lag=None)(inputs, Origins(5, 1))
    assert scaling.inverse_transform(torch.zeros(1, 1, 5, 1, 1), HEAD).flatten().tolist() == [50, 50, 50, 53, 50]
    assert not scaling.transform(past).any()


@pytest.mark.parametrize("readout", [zoo.direct.SeqToVector, zoo.direct.SeqToSeq])
def test_asinh_of_corrections_of_the_last_season_equals_numpy(readout):
    """The past minus its last value, the target minus the last season, both in seasonal errors: asinh of these."""
    spec = WindowSpec(past_steps=12, horizon=6, season=4)
    inputs, targets, _ = zoo.window(spec)
    scaler = WindowScaler(spec, centre="season", past_centre="last", scale="seasonal_error", asinh=True)
    origins = Origins(11, 1) if readout is zoo.direct.SeqToVector else Origins(scaler.burn_in(spec) - 1, 1)
    scaling = scaler(inputs, origins)
    past, error = inputs.past_target.double().numpy(), inputs.seasonal_error.double().numpy()[:, None]
    newest = past[:, -1:] if readout is zoo.direct.SeqToVector else past[:, 3:4]
    encoded = scaling.transform(inputs.past_target).double().numpy()
    np.testing.assert_allclose(encoded, np.arcsinh((past - newest) / error), rtol=1e-4, atol=1e-5)
    last_season = np.stack([past[:, 8 + lead % 4] for lead in range(6)], axis=1)
    expected = np.arcsinh((targets.target.double().numpy() - last_season) / error)
    scaled = scaling.transform_targets(inputs, targets, origins)[:, -1]
    np.testing.assert_allclose(scaled.double().numpy(), expected, rtol=1e-4, atol=1e-4)
    nothing = scaling.inverse_transform(torch.zeros(3, len(origins.of(12)), 6, 1, 1), HEAD)[:, -1, ..., 0]
    np.testing.assert_allclose(nothing.double().numpy(), last_season, rtol=1e-6)


@pytest.mark.parametrize("centre", ["mean", "last", "season"])
@pytest.mark.parametrize("past_centre", ["mean", "last", "season"])
def test_the_past_is_centred_otherwise_than_forecasts_where_asked(centre, past_centre):
    spec = WindowSpec(past_steps=6, horizon=1, season=2)
    past = torch.tensor([1.0, 2, 4, 8, 16, 32])[None, :, None]
    inputs = spec.zeros()._replace(past_target=past)
    scaling = WindowScaler(spec, centre=centre, past_centre=past_centre)(inputs, Origins(5, 1))
    assert scaling.past_centre.item() == {"mean": 10.5, "last": 32, "season": 24}[past_centre]
    assert scaling.centre.item() == {"mean": 10.5, "last": 32, "season": 16}[centre]


def test_the_output_scale_multiplies_forecasts_only():
    spec = WindowSpec(past_steps=4, horizon=1)
    inputs, targets, _ = zoo.window(spec)
    scaling = IdentityScaler(spec, output_scale=200.0)(inputs, Origins(3, 1))
    assert torch.equal(scaling.transform(inputs.past_target), inputs.past_target)
    torch.testing.assert_close(scaling.transform_targets(inputs, targets, Origins(3, 1))[:, 0], targets.target / 200)
    assert scaling.inverse_transform(torch.ones(3, 1, 1, 1, 1), HEAD).unique().tolist() == [200.0]


@pytest.mark.parametrize(
    ("scaler", "message"),
    [
        (partial(IdentityScaler, output_scale=0.0), "output_scale is 0.0; it must be greater than 0"),
        (partial(WindowScaler, past_centre="first"), "past_centre is 'first'; it must be one of mean, last, season"),
        (
            partial(WindowScaler, past_centre="season", steps=3),
            "steps is 3; it must be between 4 and .*20 .a centre of a sea",
        ),
        (partial(DifferenceScaler, lag=0), "lag is 0; it must be at least 1"),
        (partial(DifferenceScaler, order=0), "order is 0; it must be at least 1"),
        (
            partial(DifferenceScaler, lag=10, order=2),
            "lag=10 times model.scaler.order=2 is 20 steps; it must be less than",
        ),
    ],
)
def test_invalid_settings_are_refused(scaler, message):
    with pytest.raises(InputError, match=message):
        scaler(zoo.SPEC)


@pytest.mark.parametrize("scaler", [DifferenceScaler, partial(WindowScaler, asinh=True)])
def test_what_is_not_in_the_units_of_the_data_is_refused_with_heads_that_need_them(scaler):
    build = partial(zoo.Forecaster, zoo.SPEC, backbone=zoo.BACKBONES["rnn"], readout=zoo.direct.SeqToSeq)
    with pytest.raises(InputError, match="mape is relative to the data's own values"):
        build(scaler=scaler, head=zoo.Point(loss="mape"))
    with pytest.raises(InputError, match="describes each value by 2 numbers, which model.scaler cannot bring back"):
        build(scaler=scaler, head=zoo.Normal())
    build(scaler=StandardScaler, head=zoo.Point(loss="mape"))
    build(scaler=WindowScaler, head=zoo.Normal())


def test_the_automatic_scaler_follows_the_sizes_of_the_series() -> None:
    plain = WindowSpec(past_steps=8, horizon=2, series=3)
    assert isinstance(choose_scaler(plain), StandardScaler)
    assert isinstance(choose_scaler(plain._replace(sizes_differ=True)), WindowScaler)
    assert isinstance(choose_scaler(plain._replace(sizes_differ=True, stateful=True)), StandardScaler)


def test_the_automatic_scaler_of_checkpoints_without_measured_errors_is_that_of_their_time() -> None:
    seasonal = WindowSpec(past_steps=8, horizon=2, season=4)
    plain = {key: value for key, value in seasonal.to_dict().items() if key not in ("season_error", "mean_error")}
    assert str(choose_scaler(WindowSpec.from_dict(plain))) == str(WindowScaler(seasonal, "season", "seasonal_error"))
    assert isinstance(choose_scaler(seasonal._replace(season=1)), StandardScaler)


STEPS = np.arange(1_000)
NOISE = np.random.default_rng(3).normal(size=(3, len(STEPS)))
WEEK = 5 * np.sin(2 * np.pi * STEPS / 7) + 100
CHOICES = {  # by what is known of the process
    "random walk": (np.cumsum(NOISE[0]), 1, "last"),
    "random walk of days": (np.cumsum(NOISE[0]), 7, "last"),
    "random walk of differences that last": (np.cumsum(np.cumsum(NOISE[0]) * 0.1 + NOISE[1]), 7, "last"),
    "short random walk": (np.cumsum(NOISE[0])[:150], 7, "last"),
    "exponential growth": (np.exp(STEPS / 200 + 0.02 * NOISE[0]), 1, "last"),
    "trend without season": (0.05 * STEPS + NOISE[0], 7, "last"),
    "falling trend": (100 - 0.05 * STEPS + NOISE[0], 1, "last"),
    "season": (WEEK + NOISE[0], 7, "season"),
    "season on a trend": (WEEK + 0.05 * STEPS + NOISE[0], 7, "season"),
    "season on a random walk": (WEEK + 0.3 * np.cumsum(NOISE[0]), 7, "season"),
    "white noise": (NOISE[0], 7, "standard"),
    "noise around a level": (1_000 + NOISE[0], 1, "standard"),
    "smooth waves": (np.sin(STEPS / 5) + np.sin(STEPS / 7) + 0.1 * NOISE[0], 7, "standard"),
}


@pytest.mark.parametrize("horizon", [1, 14])
@pytest.mark.parametrize("name", CHOICES)
def test_the_automatic_scaler_follows_season_and_drift(name: str, horizon: int) -> None:
    values, season, wanted = CHOICES[name]
    observed = NOISE[2, : len(values)] < 1.5  # some are missing
    for count in (1, 3):
        series = integers(*[len(values)] * count, observed=np.tile(observed, count)[:, None])
        series.values[:, 0] = np.tile(np.where(observed, values, 0), count)
        spec = prepare(series, past_steps=28, horizon=horizon, season=season).spec
        assert describe(choose_scaler(spec)) == wanted, (spec.season_error, spec.mean_error)
        assert isinstance(choose_scaler(spec._replace(stateful=True)), StandardScaler)


def describe(scaler: Scaler) -> str:
    if isinstance(scaler, StandardScaler):
        return "standard"
    assert isinstance(scaler, WindowScaler) and (scaler.centre, scaler.scale) == ("season", "seasonal_error")
    return "last" if scaler.season == 1 else "season"


def test_measured_errors_equal_the_formula_and_use_training_rows_only() -> None:
    values = np.random.default_rng(0).normal(size=200).cumsum().astype(np.float32)
    series = integers(200)
    series.values[:, 0] = values
    spec = prepare(series, past_steps=10, horizon=3, season=4, split=[120, 40, 40]).spec
    rows = values[:120].astype(np.float64)

    def error(*lags: int) -> float:
        return float(np.mean([np.abs(rows[lag:] - rows[:-lag]).mean() for lag in lags]))

    far = error(1, 3, 6, 8, 11, 13)  # 1, 3.4, 5.8, 8.2, 10.6 and 13
    assert spec.season_error == pytest.approx(error(4) / error(1, 2, 3))
    assert spec.mean_error == pytest.approx(np.abs(rows - rows.mean()).mean() / far)
    series.values[120:] = 7e5
    assert prepare(series, past_steps=10, horizon=3, season=4, split=[120, 40, 40]).spec == spec


def test_a_season_of_one_step_is_the_last_value_of_every_origin() -> None:
    spec = WindowSpec(past_steps=6, horizon=3, season=3)
    past = torch.arange(6.0).square().reshape(1, 6, 1)
    inputs = spec.zeros()._replace(past_target=past)
    scaling = WindowScaler(spec, "season", "seasonal_error", season=1)(inputs, Origins(0, 1))
    assert torch.equal(scaling.centre[0, :, :, 0], past[0].expand(-1, 3))
    with pytest.raises(InputError, match="model.scaler.season is 0; it must be at least 1"):
        WindowScaler(spec, season=0)
