"""The laws of the contract between data and models, as properties over the whole zoo."""

from collections.abc import Iterator

import pytest
import torch
import zoo
from torch import Tensor

from seqmodels.backbones.base import Backbone, tree_leaves
from seqmodels.backbones.causal_conv import CausalConv
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.window import Inputs, Output, Statistics, Targets, WindowSpec, every_step

MEMBERS = pytest.mark.parametrize(("backbone", "readout", "scaler", "spec"), zoo.FORECASTERS)


def test_the_table_holds_every_combination_it_promises():
    causal, strided, all_of_them = len(zoo.CAUSAL), len(zoo.STRIDED), len(zoo.BACKBONES)
    unstrided = len([name for name in zoo.CAUSAL if name not in zoo.STRIDED])
    single = sum(not zoo.fits(name, "attention") for name in zoo.BACKBONES)
    decoders = (3 * all_of_them - single) * len(zoo.FEW)
    direct = (all_of_them + causal) * len(zoo.MANY) + unstrided * len(zoo.FED_BACK)
    panels = 3 * 5 * len(zoo.PANELS) + 2 * len(zoo.PANELS_FED_BACK)
    print(f"{len(zoo.FORECASTERS)} forecasters keep the laws")
    added = len(zoo.CORRECTING) + len(zoo.FOLDED)
    correcting = (added - 2) * 3 * len(zoo.CENTRED) + 2 * 2 * len(zoo.CENTRED_FED_BACK)
    assert strided >= 4 and len(zoo.FORECASTERS) == direct + decoders + panels + correcting >= 593 + 54 + 200


def nudge(inputs: Inputs, after: int, other: Inputs) -> Inputs:
    """Change everything that belongs to past steps after ``after``; what is known ahead stays.

    ``other``: a window of the same spec that the covariates are taken from.
    """
    past = inputs.past_target.clone()
    past[:, after + 1 :] += 7.0 * inputs.past_observed[:, after + 1 :]
    observed = inputs.past_observed.clone()
    if not observed.all():  # where values may be missing, other ones are
        observed[:, after + 1 :] = ~observed[:, after + 1 :]
    covariates = inputs.past_covariates.clone()
    covariates[:, after + 1 :] = other.past_covariates[:, after + 1 :]
    return inputs._replace(past_target=past, past_observed=observed, past_covariates=covariates)


@MEMBERS
def test_law_1_no_forecast_depends_on_what_comes_after_its_origin(backbone, readout, scaler, spec):
    model = zoo.forecaster(backbone, readout, scaler, spec)
    inputs, other = zoo.window(zoo.SPECS[spec]).inputs, zoo.window(zoo.SPECS[spec], seed=1).inputs
    forecast = model(inputs).forecast
    for number, origin in enumerate(model.origins.of(inputs.past_target.shape[1])):
        changed = model(nudge(inputs, origin, other)).forecast
        torch.testing.assert_close(changed[:, : number + 1], forecast[:, : number + 1], rtol=0, atol=0)


@MEMBERS
def test_law_2_every_lead_depends_on_the_newest_observation(backbone, readout, scaler, spec):
    model = zoo.forecaster(backbone, readout, scaler, spec)
    inputs = zoo.window(zoo.SPECS[spec]).inputs
    inputs = inputs._replace(past_observed=torch.ones_like(inputs.past_observed))
    past = inputs.past_target.clone().requires_grad_()
    forecast = model(inputs._replace(past_target=past)).forecast[:, -1]
    for lead in range(zoo.SPECS[spec].horizon):
        gradient = torch.autograd.grad(forecast[:, lead].sum(), past, retain_graph=True)[0]
        # Over the batch: the ReLUs of so few filters may all be closed for one window.
        assert gradient[:, -1].abs().sum() > 0, f"lead {lead + 1} does not see the newest value"


@pytest.mark.parametrize("name", zoo.CAUSAL)
@pytest.mark.parametrize("pieces", [(1,) * 20, (7, 1, 12), (2, 3, 5, 10)])
def test_law_3_reading_in_pieces_equals_reading_at_once(name, pieces):
    net = backbone_of(name)
    x = torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(1))
    whole = net(x)
    state, parts, start = net.initial_state(x[:, :0]), [], 0
    for size in pieces:
        part, state = net.unroll(x[:, start : start + size], state)
        parts.append(part)
        start += size
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("name", zoo.CAUSAL)
def test_law_3_step_equals_forward_in_constant_memory(name):
    net = backbone_of(name)
    x = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(1))
    # A longer sequence of whole strides begins with the same padding, so outputs stay where they are.
    x = x[:, : 20 + (20 // net.stride) * net.stride]
    whole, state, sizes = net(x), net.initial_state(x[:, :0]), []
    for time in range(x.shape[1]):
        features, state = net.step(x[:, time], state)
        sizes.append(sum(part.numel() for part in tree_leaves(state)))
        number, rest = divmod(time - net.offset, net.stride)
        if time >= net.offset and rest == 0:
            torch.testing.assert_close(features, whole[:, number])
    assert max(sizes[20:]) <= max(sizes[:20]), "the state must not grow with the steps read"


def step_by_step(model: Forecaster, inputs: Inputs) -> Iterator[Output]:
    """Forecasts of ``step`` for one value of a window after another."""
    state, horizon, columns, last = None, model.spec.horizon, {}, inputs.past_target.shape[1] - 1
    for time in range(last + 1):
        columns["identity"] = inputs.identity
        if model.scaler.clocked:
            columns |= {"seasonal_error": inputs.seasonal_error, "clock": inputs.clock - last + time}
        if model.spec.missing:
            columns["observed"] = inputs.past_observed[:, time]
        if model.spec.past_covariates:
            columns["past_covariates"] = inputs.past_covariates[:, time]
        if model.spec.known_covariates:
            columns["known_covariates"] = inputs.known_covariates[:, time : time + 1 + horizon]
        if model.spec.statics:
            columns["static"] = inputs.static
        output = model.step(inputs.past_target[:, time], state, **columns)
        state = output.state
        yield output


def until(inputs: Inputs, time: int, horizon: int) -> Inputs:
    """The part of a window up to one of its steps."""
    past = {name: getattr(inputs, name)[:, : time + 1] for name in ("past_target", "past_observed", "past_covariates")}
    clock = inputs.clock - inputs.past_target.shape[1] + 1 + time
    return inputs._replace(**past, known_covariates=inputs.known_covariates[:, : time + 1 + horizon], clock=clock)


@MEMBERS
def test_law_3_a_forecaster_that_reads_values_one_by_one_equals_one_that_reads_them_at_once(
    backbone, readout, scaler, spec
):
    model, inputs = zoo.forecaster(backbone, readout, scaler, spec), zoo.window(zoo.SPECS[spec]).inputs
    if model.why_stateless:
        with pytest.raises(InputError, match="cannot read values one by one: model"):
            model.step(inputs.past_target[:, 0])
        with pytest.raises(InputError, match="cannot continue from a state: model"):
            model(inputs, model(inputs).state or ())
        return
    horizon, sizes = model.spec.horizon, set()
    with torch.no_grad():
        whole = model(inputs).forecast
        for time, output in enumerate(step_by_step(model, inputs)):
            once = whole[:, time : time + 1]
            if len(model.origins.of(20)) == 1:
                once = model(until(inputs, time, horizon)).forecast
            torch.testing.assert_close(output.forecast, once, rtol=1e-4, atol=1e-4)
            sizes.add(sum(part.numel() for part in tree_leaves(output.state)))
    assert time == 19 and len(sizes) == 1, "the state must not grow with the steps read"


def test_law_3_holds_for_more_than_a_few():
    stateful = [member for member in zoo.FORECASTERS if not zoo.forecaster(*member).why_stateless]
    backbones, readouts = {member[0] for member in stateful}, {member[1] for member in stateful}
    known = {"seq_to_vector", "seq_to_seq", "iterated", "encoder_decoder", "segments"}
    folded = {"channels_seq_to_seq", "channels_segments", "channels_flipped_iterated"}
    assert len(backbones) >= 16 and readouts >= known | folded | {"corrects_naive"}


@pytest.mark.parametrize("name", ["past_covariates", "known_covariates", "static"])
def test_a_step_without_the_columns_of_the_spec_is_refused(name):
    inputs = zoo.window(zoo.PANEL).inputs
    columns = {
        "past_covariates": inputs.past_covariates[:, 0],
        "known_covariates": inputs.known_covariates[:, :4],
        "static": inputs.static,
    }
    model = zoo.forecaster("lstm", "seq_to_seq", "standard", "panel")
    assert model.step(inputs.past_target[:, 0], **columns).forecast.shape == (3, 1, 3, 2, 1)
    del columns[name]
    with pytest.raises(InputError, match=f"step needs {name}, since the model was built for the columns"):
        model.step(inputs.past_target[:, 0], **columns)


@pytest.mark.parametrize("backbone", ["lstm", "gru_noisy", "wavenet"])
def test_windows_that_reset_begin_anew_and_the_others_continue(backbone):
    model = zoo.forecaster(backbone, "seq_to_seq", "standard", "plain")
    first, second = zoo.window(zoo.SPEC).inputs, zoo.window(zoo.SPEC, seed=1).inputs
    anew = model(second).forecast
    both = first._replace(past_target=torch.cat([first.past_target, second.past_target], dim=1))
    both = both._replace(past_observed=torch.ones_like(both.past_target, dtype=torch.bool))
    continued = model(both).forecast[:, 20:]
    reset = torch.tensor([True, False, True])
    forecast = model(second._replace(reset=reset), model(first).state).forecast
    torch.testing.assert_close(forecast[reset], anew[reset])
    torch.testing.assert_close(forecast[~reset], continued[~reset], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", zoo.BACKBONES)
def test_the_receptive_field_is_what_the_backbone_says(name):
    """None: unbounded, so that the last output depends on the first step of a window of any length."""
    net = backbone_of(name)
    steps = max(20, (net.receptive_field or 0) + 5)
    x = torch.randn(1, steps, 2, generator=torch.Generator().manual_seed(3), requires_grad=True)
    features = net(x)
    gradient = torch.autograd.grad(features[:, -1].square().sum(), x)[0][0].abs().sum(-1)
    newest = net.offset + (features.shape[1] - 1) * net.stride
    reach = newest + 1 - int(torch.nonzero(gradient)[0])
    assert reach == (newest + 1 if net.receptive_field is None else net.receptive_field)


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 4])
def test_law_4_causal_convolution_equals_torch_with_left_padding(kernel, dilation):
    torch.manual_seed(0)
    layer = CausalConv(3, 5, kernel, dilation).double()
    x = torch.randn(2, 11, 3, dtype=torch.float64, requires_grad=True)
    ours, _ = layer(x, x.new_zeros(2, layer.left_context, 3))
    weight = layer.taps.weight.reshape(5, kernel, 3).transpose(1, 2)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (layer.left_context, 0))
    theirs = torch.nn.functional.conv1d(padded, weight, layer.taps.bias, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    seed = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad(ours, [x, layer.taps.weight], seed, retain_graph=True),
        torch.autograd.grad(theirs, [x, layer.taps.weight], seed),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_law_5_a_backbone_that_sees_the_future_is_refused_at_every_step():
    class Reversed(zoo.recurrent.Rnn):
        causal = False

    with pytest.raises(InputError, match="sees the future.*seq_to_seq.*seq_to_vector"):
        Forecaster(zoo.SPEC, zoo.affine.StandardScaler, Reversed, zoo.direct.SeqToSeq, zoo.Point())
    Forecaster(zoo.SPEC, zoo.affine.StandardScaler, Reversed, zoo.direct.SeqToVector, zoo.Point())


@MEMBERS
def test_forecasts_have_the_one_output_shape_and_finite_gradients(backbone, readout, scaler, spec):
    model = zoo.forecaster(backbone, readout, scaler, spec)
    window, known = zoo.window(zoo.SPECS[spec]), zoo.SPECS[spec]
    origins = len(model.origins.of(known.past_steps))
    assert model(window.inputs).forecast.shape == (3, origins, known.horizon, len(known.channels), 1)
    model.loss(window.inputs, window.targets).loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("backbone", "readout", "scaler", "spec"),
    [m for m in zoo.FORECASTERS if not m[1].endswith("iterated") and zoo.SCALERS[m[2]](zoo.SPEC).in_own_units],
)
def test_the_loss_is_the_masked_mean_over_all_origins(backbone, readout, scaler, spec):
    """Of those that a scaler can serve: by its own past a window cannot be scaled before it has begun."""
    model = zoo.forecaster(backbone, readout, scaler, spec, head="mae")
    inputs, targets, _ = zoo.window(zoo.SPECS[spec])
    forecast, steps, total, count = model.head.mean(model(inputs).forecast), zoo.SPECS[spec].past_steps, 0.0, 0
    values, observed = (
        torch.cat([inputs.past_target, targets.target], 1),
        torch.cat([inputs.past_observed, targets.observed], 1),
    )
    scale = model.scaler(inputs, model.origins).unit.expand(3, 1, 1, 2)[:, 0]
    for number, origin in enumerate(model.origins.of(steps)):
        for lead in range(zoo.SPECS[spec].horizon):
            at = origin + 1 + lead
            counts = observed[:, at]
            if model.scaler.per_window:
                counts = counts & observed[:, : origin + 1].any(dim=1)
            total += ((forecast[:, number, lead] - values[:, at]).abs() / scale[:, 0] * counts).sum()
            count += int(counts.sum())
    torch.testing.assert_close(model.loss(inputs, targets).loss, total / count, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", zoo.BACKBONES)
@pytest.mark.parametrize("scaler", ["standard", "window_mean", "window_last"])
def test_forecasts_follow_the_units_of_the_data(backbone, scaler):
    """Scaling and shifting the data scales and shifts the forecasts: a y + b in, a f + b out."""
    a, b = 250.0, -40.0
    model = zoo.forecaster(backbone, "seq_to_vector", scaler, "plain")
    inputs = zoo.window(zoo.SPEC).inputs
    mean, deviation, _ = zoo.SPEC.target_statistics
    moved = zoo.SPEC._replace(
        target_statistics=zoo.Statistics(tuple(a * m + b for m in mean), tuple(a * d for d in deviation))
    )
    torch.manual_seed(0)
    other = Forecaster(moved, zoo.SCALERS[scaler], zoo.BACKBONES[backbone], zoo.direct.SeqToVector, zoo.Point())
    other.load_state_dict(model.state_dict())
    theirs = other.eval()(
        inputs._replace(past_target=a * inputs.past_target + b, seasonal_error=a * inputs.seasonal_error)
    ).forecast
    torch.testing.assert_close(theirs, a * model(inputs).forecast + b, rtol=1e-3, atol=0.05)


@pytest.mark.parametrize(
    ("backbone", "readout", "scaler", "spec"), [member for member in zoo.FORECASTERS if member[2] != "identity"]
)
def test_law_8_forecasts_and_loss_do_not_depend_on_the_part_of_a_value_in_its_level(backbone, readout, scaler, spec):
    """At 1e9, whose steps of 64 float32 cannot split, a model does what it does at 0."""
    high, window, model = 1e9, zoo.window(zoo.SPECS[spec]), zoo.forecaster(backbone, readout, scaler, spec)
    moved, part = at_level(zoo.SPECS[spec], high), torch.tensor([[0.5, -2.0], [3.25, 0.0], [-1.5, 0.75]])
    other = zoo.build(backbone, readout, scaler, moved, model.head).eval()
    other.load_state_dict(model.state_dict())
    forecast, loss = model(window.inputs).forecast, model.loss(window.inputs, window.targets).loss
    for less in (torch.zeros(3, 2), part):
        inputs, targets = in_level(window.inputs, window.targets, high, less)
        theirs = other(inputs).forecast + less[:, None, None, :, None]
        torch.testing.assert_close(theirs, forecast, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.loss(inputs, targets).loss, loss, rtol=1e-4, atol=1e-4)


def at_level(spec: WindowSpec, high: float) -> WindowSpec:
    """The spec of data that lie higher."""
    mean, deviation, _ = spec.target_statistics
    return spec._replace(levels=True, target_statistics=Statistics(tuple(one + high for one in mean), deviation))


def in_level(inputs: Inputs, targets: Targets, high: float, less: Tensor) -> tuple[Inputs, Targets]:
    """The same windows ``high`` higher, with ``less`` (B, C) more of each value in its level."""
    past = (inputs.past_target - less[:, None]) * inputs.past_observed
    target = (targets.target - less[:, None]) * targets.observed
    return inputs._replace(past_target=past, level=high + less.double()), targets._replace(target=target)


def test_steps_one_by_one_forecast_without_the_level_too():
    model = zoo.forecaster("lstm", "seq_to_seq", "standard", "plain")
    other = Forecaster(at_level(zoo.SPEC, 1e9), zoo.SCALERS["standard"], zoo.BACKBONES["lstm"], zoo.direct.SeqToSeq,
                       model.head).eval()  # fmt: skip
    other.load_state_dict(model.state_dict())
    window, state = zoo.window(zoo.SPEC), None
    inputs, _ = in_level(window.inputs, window.targets, 1e9, torch.full((3, 2), 1.25))
    for time in range(zoo.SPEC.past_steps):
        output = other.step(inputs.past_target[:, time], state, level=inputs.level)
        state = output.state
    expected = model(window.inputs).forecast[:, -1:]
    torch.testing.assert_close(output.forecast + 1.25, expected, rtol=1e-4, atol=1e-4)


def test_identity_refuses_values_that_float32_cannot_hold():
    with pytest.raises(InputError, match="model/scaler=standard, window or difference"):
        zoo.SCALERS["identity"](at_level(zoo.SPEC, 1e9))


def test_a_relative_loss_divides_by_values_with_their_level():
    spec = at_level(zoo.SPEC, 1000.0)
    model = Forecaster(
        spec, zoo.SCALERS["standard"], zoo.BACKBONES["linear"], zoo.direct.SeqToVector, zoo.Point("mape")
    )
    window = zoo.window(spec)
    inputs, targets = in_level(window.inputs, window.targets, 1000.0, torch.full((3, 2), 2.0))
    truth = targets.target.double() + inputs.level[:, None]
    forecast = model(inputs).forecast[:, -1, ..., 0].double() + inputs.level[:, None]
    expected = ((forecast - truth) / truth).abs().mean()
    assert model.loss(inputs, targets).loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("name", zoo.BASELINES)
def test_baselines_keep_the_contract(name):
    model = zoo.BASELINES[name](zoo.RICH)
    inputs, targets, _ = zoo.window(zoo.RICH)
    assert model(inputs).forecast.shape == (3, 1, 3, 2, 1)
    assert torch.isfinite(model.loss(inputs, targets).loss)


def test_every_step_targets_are_the_next_values():
    past, future = torch.arange(10.0).reshape(1, 10, 1), torch.arange(10.0, 13).reshape(1, 3, 1)
    seen = every_step(past, future, zoo.forecaster("conv_gru", "seq_to_seq", "standard", "plain").origins)
    assert seen[0, 0, :, 0].tolist() == [4, 5, 6]  # kernel 4, stride 2: the book's Y[:, 3::2]
    assert seen[0, 1, :, 0].tolist() == [6, 7, 8]


def backbone_of(name: str) -> Backbone:
    torch.manual_seed(0)
    return zoo.BACKBONES[name](features=2, past_steps=20).eval()
