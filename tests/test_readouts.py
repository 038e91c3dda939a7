"""Readouts that go step by step: iterated forecasts, the decoder, its teacher and its attention."""

import math
from functools import partial

import pytest
import torch
import zoo
from small_runs import trained
from torch.nn import functional

from seqmodels.backbones import mlp, recurrent, wavenet
from seqmodels.backbones.base import tree_leaves
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.readouts.decoder import EncoderDecoder
from seqmodels.readouts.direct import Direct, Iterated, SeqToSeq, SeqToVector
from seqmodels.scalers import affine
from seqmodels.window import Inputs, Statistics, Targets, WindowSpec

LSTM = partial(recurrent.Lstm, hidden=7, layers=2)


def build_model(readout, backbone=LSTM, spec=zoo.SPEC, scaler=affine.StandardScaler) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(spec, scaler, backbone, readout, zoo.Point(loss="mse")).eval()


def longer(inputs: Inputs, value: torch.Tensor) -> Inputs:
    """The same past with one more observed step."""
    seen = torch.ones(len(value), 1, value.shape[-1], dtype=torch.bool)
    return inputs._replace(
        past_target=torch.cat([inputs.past_target, value[:, None]], 1),
        past_observed=torch.cat([inputs.past_observed, seen], 1),
    )


@pytest.mark.parametrize("backbone", [LSTM, partial(wavenet.GatedWaveNet, filters=6)])
@pytest.mark.parametrize("scaler", [affine.StandardScaler, affine.WindowScaler])
@pytest.mark.parametrize("spec", [zoo.SPEC, zoo.AHEAD, zoo.KNOWN_AHEAD])
def test_iterated_forecasts_equal_reading_everything_again(backbone, scaler, spec):
    """Each forecast appended to the past and the whole sequence read anew: what carrying the state must give."""
    model = build_model(Iterated, backbone, spec, scaler)
    inputs = zoo.window(spec).inputs
    forecast, steps = model.head.mean(model(inputs).forecast)[:, 0], inputs
    for lead in range(spec.horizon):
        ahead = inputs.known_covariates[:, : spec.past_steps + lead + 1]  # one step ahead of the past so far
        steps = steps._replace(known_covariates=ahead)
        scaling = model.scaler(steps, model.supervised)
        if scaler is affine.WindowScaler:  # statistics of the first steps, whatever the length
            assert torch.equal(scaling.past_centre, model.scaler(inputs, model.supervised).past_centre)
        encoded = model._encode(steps, scaling)
        again = scaling.for_feedback().inverse_transform(model.readout(encoded)[:, -1:], model.head)[:, 0, 0, :, 0]
        torch.testing.assert_close(forecast[:, lead], again, rtol=1e-4, atol=1e-5)
        steps = longer(steps, again)


@pytest.mark.parametrize("asinh", [False, True])
def test_iterated_corrections_of_a_season_add_up_beyond_it(asinh):
    """A ramp with a season of 4: each value is the one a season ago plus 4, also where that one was forecast."""
    spec = WindowSpec(past_steps=12, horizon=11, season=4)
    model = build_model(
        Iterated, LSTM, spec, partial(affine.WindowScaler, centre="season", scale="seasonal_error", asinh=asinh)
    )
    torch.nn.init.zeros_(model.readout.linear.weight)
    torch.nn.init.constant_(model.readout.linear.bias, math.asinh(2.0) if asinh else 2.0)
    past = torch.arange(12.0)[None, :, None]
    inputs = spec.zeros()._replace(past_target=past, seasonal_error=torch.full((1, 1), 2.0))
    torch.testing.assert_close(model(inputs).forecast[0, 0, :, 0, 0], torch.arange(12.0, 23))
    seen, step = [], model.backbone.step
    model.backbone.step = lambda x, state: (seen.append(x.item()), step(x, state))[1]
    with torch.no_grad():
        model(inputs)
    centre = model.scaler(inputs, model.supervised).past_centre
    expected = (torch.arange(12.0, 22) - centre.flatten()) / 2
    torch.testing.assert_close(torch.tensor(seen), expected.asinh() if asinh else expected)


def test_iterated_is_trained_one_step_ahead_at_every_step():
    model = build_model(Iterated)
    inputs, targets, _ = zoo.window(zoo.SPEC)
    encoded = model._encode(inputs, scaling := model.scaler(inputs, model.supervised))
    one = model.readout(encoded)
    assert one.shape == (3, 20, 1, 2, 1)
    truth = torch.cat([inputs.past_target[:, 1:], targets.target[:, :1]], 1)
    scaled = (truth - scaling.past_centre) / scaling.past_scale
    torch.testing.assert_close(model.loss(inputs, targets).loss, functional.mse_loss(one[:, :, 0, :, 0], scaled))


def test_iterated_refuses_what_it_cannot_feed_back():
    with pytest.raises(InputError, match=r"data.past_covariates=\['wind'\] are not forecast"):
        build_model(Iterated, spec=zoo.RICH)
    with pytest.raises(InputError, match="features every 2 steps.*stride of 1"):
        build_model(Iterated, zoo.BACKBONES["conv_gru"])


@pytest.mark.parametrize("name", ["seq_to_vector", "seq_to_seq"])
@pytest.mark.parametrize("backbone", ["lstm", "conv_gru_uneven"])
def test_each_lead_adds_what_is_known_for_it_by_the_formula(name, backbone):
    """Origin by origin and lead by lead: W relu(A features + B known(t + h) + bias(h)) on top of the linear layer."""
    model = zoo.forecaster(backbone, name, "standard", "rich")
    inputs, own = zoo.window(zoo.RICH).inputs, model.readout.correction
    encoded = model._encode(inputs, model.scaler(inputs, model.supervised))
    torch.nn.init.normal_(own.bias)
    known = (inputs.known_covariates - torch.tensor([0.0, 0.5])) / torch.tensor([1.0, 0.5])
    forecast, linear = model.readout(encoded)[..., 0], model.readout.read(encoded.features)[..., 0]
    for number, origin in enumerate(model.origins.of(20)):
        for lead in range(3):
            hidden = encoded.features[:, number] @ own.features.weight.T + own.bias[lead]
            hidden = (hidden + known[:, origin + 1 + lead] @ own.known.weight.T).clamp(min=0)
            expected = linear[:, number, lead] + hidden @ own.weight.T
            torch.testing.assert_close(forecast[:, number, lead], expected)


def test_a_forecast_depends_on_what_is_known_for_its_own_lead_only():
    model = zoo.forecaster("lstm", "seq_to_vector", "standard", "rich")
    inputs = zoo.window(zoo.RICH).inputs
    known = inputs.known_covariates.clone().requires_grad_()
    forecast = model(inputs._replace(known_covariates=known)).forecast[:, 0]
    for lead in range(3):
        gradient = torch.autograd.grad(forecast[:, lead].sum(), known, retain_graph=True)[0][:, 20:].abs().sum((0, 2))
        seen = [True, False, False] if lead == 0 else [True, lead == 1, lead == 2]  # the backbone sees the next step's
        assert (gradient > 0).tolist() == seen


@pytest.mark.parametrize(
    ("spec", "settings"), [(zoo.SPEC, {}), (zoo.RICH._replace(horizon=1), {}), (zoo.RICH, {"known_hidden": 0})]
)
def test_where_nothing_is_known_beyond_the_next_step_there_is_one_linear_layer(spec, settings):
    """And the same weights from the same seed as if there were no other way."""

    class OneLayer(SeqToVector):
        def __init__(self, spec, size, parameters, state=None):
            super(Direct, self).__init__(spec, size, parameters)
            self.linear, self.correction = torch.nn.Linear(size, self.leads * self.channels * parameters), None

    ours, plain = build_model(partial(SeqToVector, **settings), spec=spec), build_model(OneLayer, spec=spec)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict(), rtol=0, atol=0)
    inputs = zoo.window(spec).inputs
    assert torch.equal(ours(inputs).forecast, plain(inputs).forecast)


def test_training_begins_with_what_the_features_alone_give():
    model = build_model(SeqToVector, spec=zoo.RICH)
    inputs = zoo.window(zoo.RICH).inputs
    encoded = model._encode(inputs, model.scaler(inputs, model.supervised))
    assert torch.equal(model.readout(encoded), model.readout.read(encoded.features))
    with pytest.raises(InputError, match="model.readout.known_hidden is -1; it must be at least 0"):
        build_model(partial(SeqToVector, known_hidden=-1))


@pytest.mark.parametrize("readout", [SeqToVector, SeqToSeq])
def test_a_target_that_is_known_ahead_is_learnt_at_every_lead(readout):
    """y(t) = x(t) with x drawn at random: nothing else than x(t + h) can tell."""
    spec = WindowSpec(8, 5, known_covariates=("x",), known_statistics=Statistics((0.0,), (1.0,)))
    model = build_model(readout, partial(mlp.Linear, lags=3), spec)
    random = torch.Generator().manual_seed(0)

    def batch(_):
        known = torch.randn(64, 13, 1, generator=random)
        inputs = spec.zeros(64)._replace(past_target=known[:, :8], known_covariates=known)
        return inputs, Targets(known[:, 8:], torch.ones(64, 5, 1, dtype=torch.bool))

    trained(model, batch, 250, lr=2e-2)
    inputs, targets = batch(0)
    error = (model.head.mean(model(inputs).forecast)[:, -1] - targets.target).abs().mean(dim=(0, 2))
    naive = (inputs.past_target[:, -1:] - targets.target).abs().mean(dim=(0, 2))
    assert (error < 0.05).all() and (naive > 0.9).all(), (error, naive)


def test_the_decoder_takes_the_state_of_an_encoder_of_the_same_sizes_and_bridges_to_others():
    like = build_model(partial(EncoderDecoder, decoder=LSTM))
    assert like.readout.bridge is None
    other = build_model(partial(EncoderDecoder, decoder=partial(recurrent.Gru, hidden=5, layers=1)))
    assert other.readout.bridge is not None and other.readout.bridge.out_features == 5
    encoded = like._encode(zoo.window(zoo.SPEC).inputs, like.scaler(zoo.window(zoo.SPEC).inputs, like.supervised))
    given = zip(tree_leaves(like.readout._first_state(encoded)), tree_leaves(encoded.state), strict=True)
    assert all(mine is theirs for mine, theirs in given if mine.numel())


@pytest.mark.parametrize("encoder", [LSTM, partial(recurrent.Gru, hidden=5)])
def test_a_decoder_with_dropout_draws_its_own_masks(encoder):
    """Masks are no memory: neither a bridge nor the encoder's state may take their place."""
    net = partial(recurrent.Lstm, hidden=7, layers=2, recurrent_dropout=0.5, input_dropout=0.5)
    model = build_model(partial(EncoderDecoder, decoder=net), encoder).train()
    inputs = zoo.window(zoo.SPEC).inputs
    encoded = model._encode(inputs, model.scaler(inputs, model.supervised))
    begin, own = model.readout._first_state(encoded), model.readout.decoder.initial_state(encoded.last_value[:, None])
    for mine, drawn, kept in zip(tree_leaves(begin), tree_leaves(own), tree_leaves(model.readout.initial), strict=True):
        assert mine.shape == drawn.shape
        assert kept.numel() or set(mine.unique().tolist()) <= {0.0, 2.0}
    assert model(inputs).forecast.isfinite().all()


def test_the_decoder_without_a_teacher_equals_the_formula():
    model = build_model(partial(EncoderDecoder, decoder=LSTM), spec=zoo.AHEAD._replace(missing=False))
    inputs = zoo.window(model.spec).inputs
    scaling = model.scaler(inputs, model.supervised)
    encoded = model._encode(inputs, scaling)
    net, state = model.readout.decoder.layers, encoded.state
    value, leads = scaling.transform(inputs.past_target)[:, -1], []
    hidden = tuple(
        torch.stack(parts) for parts in zip(*[(layer.hidden, layer.cell) for layer in state.layers], strict=True)
    )
    known = (inputs.known_covariates - torch.tensor([0.0, 0.5])) / torch.tensor([1.0, 0.5])
    for lead in range(3):
        out, hidden = net(torch.cat([value, known[:, 20 + lead]], -1)[:, None], hidden)
        value = model.readout.linear(out[:, 0])
        leads.append(value)
    torch.testing.assert_close(model.readout(encoded)[:, 0, ..., 0], torch.stack(leads, 1))


def test_teacher_forcing_shows_the_truth_and_never_in_evaluation():
    model = build_model(partial(EncoderDecoder, decoder=LSTM, schedule="constant"))
    inputs, targets, _ = zoo.window(zoo.SPEC)
    other = Targets(targets.target * 3 + 1, targets.observed)
    encoded = model._encode(inputs, model.scaler(inputs, model.supervised))
    teacher = torch.randn(3, 3, 2)
    forced = model.readout(encoded, teacher)
    assert torch.equal(forced[:, :, 0], model.readout(encoded, teacher + 1)[:, :, 0])  # the first lead saw none of it
    assert not torch.equal(forced[:, :, 1], model.readout(encoded, teacher + 1)[:, :, 1])
    torch.testing.assert_close(
        forced[:, :, 2], model.readout(encoded, teacher + torch.tensor([0, 0, 9.0])[:, None])[:, :, 2]
    )
    forecasts = [model.loss(inputs, given, forecast=True).forecast for given in (targets, other)]
    assert torch.equal(forecasts[0], forecasts[1]) and torch.equal(forecasts[0], model(inputs).forecast)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("constant", 1.0), ("linear", 0.6), ("exponential", 0.2607), ("inverse_sigmoid", 0.6)]
)
def test_the_share_of_truth_follows_the_schedule(schedule, middle):
    readout = build_model(partial(EncoderDecoder, decoder=LSTM, schedule=schedule, teacher_forcing_end=0.2)).readout
    assert readout.share(0.0) == 1.0
    assert readout.share(0.5) == pytest.approx(middle, abs=1e-3)
    assert readout.share(1.0) == pytest.approx(1.0 if schedule == "constant" else 0.2)


def test_scheduled_sampling_mixes_truth_and_own_forecasts_reproducibly():
    model = build_model(partial(EncoderDecoder, decoder=LSTM, teacher_forcing=0.5, schedule="constant"))
    inputs, _, _ = zoo.window(zoo.SPEC, batch=64)
    encoded, teacher = model._encode(inputs, model.scaler(inputs, model.supervised)), torch.full((64, 3, 2), 5.0)
    torch.manual_seed(1)
    mixed = model.readout(encoded, teacher)
    torch.manual_seed(1)
    assert torch.equal(mixed, model.readout(encoded, teacher))
    forced = build_model(partial(EncoderDecoder, decoder=LSTM, schedule="constant")).readout(encoded, teacher)
    free = model.readout(encoded)
    second = [torch.isclose(mixed[:, 0, 1], other[:, 0, 1]).all(dim=(1, 2)) for other in (forced, free)]
    assert bool((second[0] ^ second[1]).all()) and 16 < int(second[0].sum()) < 48


def test_attention_equals_the_formula():
    model = build_model(partial(EncoderDecoder, decoder=LSTM, attention=True))
    layer, outputs, features = model.readout.attention, torch.randn(2, 3, 7), torch.randn(2, 20, 7)
    scores = layer.query(outputs) @ layer.key(features).transpose(1, 2) / 7**0.5
    context = scores.softmax(-1) @ layer.value(features)
    torch.testing.assert_close(layer(outputs, features), torch.tanh(layer.mix(torch.cat([outputs, context], -1))))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "cosine"}, "schedule is 'cosine'"),
        ({"teacher_forcing": 1.5}, "teacher_forcing is 1.5; it must lie between 0 and 1"),
        ({"decoder": partial(mlp.Linear, lags=2)}, "decoder must give features at every step"),
    ],
)
def test_invalid_decoder_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        build_model(partial(EncoderDecoder, **({"decoder": LSTM} | settings)))


@pytest.mark.parametrize("attention", [False, True])
def test_an_encoder_decoder_learns_to_repeat_a_sequence_backwards(attention):
    """Every one of the 64 sequences of six signs that it must recall in reverse order: 100 %."""
    spec = WindowSpec(past_steps=6, horizon=6)
    net = partial(recurrent.Lstm, hidden=32, layers=1)
    model = build_model(partial(EncoderDecoder, decoder=net, attention=attention), net, spec, affine.IdentityScaler)
    signs = (torch.arange(64)[:, None] >> torch.arange(6) & 1).float() * 2 - 1
    known = torch.ones(64, 6, 1, dtype=torch.bool)

    def batch(rows):
        inputs = spec.zeros(len(rows))._replace(past_target=signs[rows, :, None])
        return inputs, Targets(signs[rows].flip(1)[..., None], known[: len(rows)])

    random = torch.Generator().manual_seed(0)
    trained(model, lambda step: batch(torch.randint(64, (32,), generator=random)), 300)
    inputs, targets = batch(torch.arange(64))
    recalled = model.head.mean(model(inputs).forecast)[:, 0].sign()
    assert (recalled == targets.target).float().mean() == 1.0


def test_vector_to_sequence_draws_a_curve_from_two_numbers():
    """The decoder alone, from static numbers: height and slope in, a line of eight values out."""
    spec = WindowSpec(
        past_steps=1, horizon=8, statics=("height", "slope"), static_statistics=Statistics((0.0, 0.0), (1.0, 1.0))
    )
    decoder = partial(EncoderDecoder, decoder=partial(recurrent.Gru, hidden=32, layers=1), schedule="constant")
    model = build_model(decoder, partial(mlp.Linear, lags=1), spec, affine.IdentityScaler)
    random = torch.Generator().manual_seed(0)

    def batch(_):
        numbers = torch.rand(128, 2, generator=random) * 2 - 1
        line = numbers[:, :1] + numbers[:, 1:] * torch.arange(8) / 8
        inputs = spec.zeros(128)._replace(static=numbers)
        return inputs, Targets(line[..., None], torch.ones(128, 8, 1, dtype=torch.bool))

    trained(model, batch, 500)
    inputs, targets = batch(0)
    assert (model.head.mean(model(inputs).forecast)[:, 0] - targets.target).abs().mean() < 0.05
    assert targets.target.abs().mean() > 0.4


@pytest.mark.parametrize("name", zoo.CAUSAL)
@pytest.mark.parametrize("steps", [17, 33])
def test_windows_of_another_length_are_read_too(name, steps):
    """Trained on one length, run on another: the forecast still stands at the newest step."""
    if name in ("linear", "mlp") and steps < 20:
        pytest.skip("these see the whole window, so it cannot be shorter")
    model = build_model(SeqToVector, zoo.BACKBONES[name])
    inputs = zoo.window(zoo.SPEC._replace(past_steps=steps)).inputs
    past = inputs.past_target.clone().requires_grad_()
    forecast = model(inputs._replace(past_target=past)).forecast
    assert forecast.shape == (3, 1, 3, 2, 1)
    assert torch.autograd.grad(forecast.sum(), past)[0][:, -1].abs().sum() > 0


def test_the_decoder_begins_with_nothing_where_the_newest_value_is_missing():
    spec = WindowSpec(6, 2, missing=True, target_statistics=Statistics((1000.0,), (10.0,)))
    model = build_model(partial(EncoderDecoder, decoder=LSTM), spec=spec)
    inputs = spec.zeros()._replace(past_target=torch.full((1, 6, 1), 1000.0))
    inputs.past_target[:, -1], inputs.past_observed[:, -1] = 0, False
    assert model._encode(inputs, model.scaler(inputs, model.supervised)).last_value.item() == 0


@pytest.mark.parametrize("scaler", ["window_season", "window_asinh"])
def test_the_decoder_sees_forecasts_and_truth_as_the_encoder_sees_the_past(scaler):
    """With forecasts centred on last season's values, what goes into the decoder is centred as the past is."""
    spec = WindowSpec(8, 4, season=2)
    model = build_model(partial(EncoderDecoder, decoder=LSTM), LSTM, spec, zoo.SCALERS[scaler])
    inputs, targets, _ = zoo.window(spec)
    scaling = model.scaler(inputs, model.supervised)
    scaled = scaling.transform_targets(inputs, targets, model.supervised)[:, -1]
    torch.testing.assert_close(scaling.as_past(scaled), scaling.transform(targets.target))
    for lead in range(1, 5):
        fed = scaling.feedback([scaled[:, i] for i in range(lead)])
        torch.testing.assert_close(fed, scaling.transform(targets.target)[:, lead - 1])


@pytest.mark.parametrize("extra", [{"input_dropout": 0.1}, {"recurrent_dropout": 0.1}])
def test_dropout_of_the_encoder_alone_does_not_keep_its_state_from_the_decoder(extra):
    model = build_model(
        partial(EncoderDecoder, decoder=LSTM), partial(recurrent.Lstm, hidden=7, layers=2, **extra)
    ).train()
    assert model.readout.bridge is None
    assert model.loss(*zoo.window(zoo.SPEC)[:2]).loss.isfinite()


def test_attention_over_a_single_feature_is_refused():
    with pytest.raises(InputError, match="gives only those of the last step; set it to false"):
        build_model(partial(EncoderDecoder, decoder=LSTM, attention=True), zoo.BACKBONES["linear"])


def test_a_window_shorter_than_the_statistics_need_is_refused():
    short = zoo.window(zoo.SPEC._replace(past_steps=3)).inputs
    for scaler in ("window_mean", "window_season", "difference_season"):
        for readout in (SeqToVector, Iterated):
            with pytest.raises(InputError, match="3 past steps is too short for model.scaler"):
                build_model(readout, LSTM, scaler=zoo.SCALERS[scaler])(short)


def test_a_window_that_is_too_short_is_refused():
    model = build_model(SeqToVector, zoo.BACKBONES["linear"])
    with pytest.raises(InputError, match="17 past steps is too short"):
        model(zoo.window(zoo.SPEC._replace(past_steps=17)).inputs)
