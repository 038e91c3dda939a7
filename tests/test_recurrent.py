"""Recurrent cells and layers, compared with formulas in float64 and with torch's layers; dropout and zoneout."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import zoo
from formulas import assert_agree
from torch import nn

from seqmodels.backbones.base import tree_leaves, tree_map
from seqmodels.backbones.bidirectional import BidirectionalLstm
from seqmodels.backbones.cells import Cell, GatedCell, GruCell, LstmCell, RnnCell
from seqmodels.backbones.recurrent import (
    CellLayer,
    CustomRecurrent,
    FusedLstm,
    Gru,
    Lstm,
    Recurrent,
    RecurrentState,
    Rnn,
    has_bfloat16_lstm,
)
from seqmodels.dropout import DROPOUT_MODULES
from seqmodels.report.summary import summarise_model
from seqmodels.window import Origins

KINDS = pytest.mark.parametrize("kind", [Rnn, Lstm, Gru])
DOUBLE = torch.float64


def rnn(x, w, u, b, c):
    h, out = torch.zeros(x.shape[0], u.shape[1], dtype=x.dtype), []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ w.T + b + h @ u.T + c)
        out.append(h)
    return torch.stack(out, 1)


def lstm(x, w, u, b, c):
    size = u.shape[1]
    h = cell = torch.zeros(x.shape[0], size, dtype=x.dtype)
    out = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w.T + b + h @ u.T + c).split(size, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        out.append(h)
    return torch.stack(out, 1)


def gru(x, w, u, b, c):
    size = u.shape[1]
    h, out = torch.zeros(x.shape[0], size, dtype=x.dtype), []
    for t in range(x.shape[1]):
        xr, xz, xn = (x[:, t] @ w.T + b).split(size, dim=1)
        hr, hz, hn = (h @ u.T + c).split(size, dim=1)
        z = torch.sigmoid(xz + hz)
        h = (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h
        out.append(h)
    return torch.stack(out, 1)


def layer_norm(x, gain, offset):
    """Layer normalisation by the formula of the paper, with torch's epsilon."""
    centred = x - x.sum(-1, keepdim=True) / x.shape[-1]
    return centred / torch.sqrt((centred**2).sum(-1, keepdim=True) / x.shape[-1] + 1e-5) * gain + offset


def layer_norm_rnn(x, cell):
    h, out = torch.zeros(x.shape[0], cell.size, dtype=DOUBLE), []
    for t in range(x.shape[1]):
        total = x[:, t] @ cell.weight_ih.T + h @ cell.weight_hh.T + cell.bias_hh
        h = torch.tanh(layer_norm(total, cell.norm.weight, cell.norm.bias))
        out.append(h)
    return torch.stack(out, 1)


def layer_norm_lstm(x, cell):
    h = c = torch.zeros(x.shape[0], cell.size, dtype=DOUBLE)
    out = []
    for t in range(x.shape[1]):
        sums = (x[:, t] @ cell.weight_ih.T + h @ cell.weight_hh.T + cell.bias_hh).split(cell.size, 1)
        i, f, g, o = (layer_norm(sums[k], cell.norm.gain[k], cell.norm.offset[k]) for k in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(layer_norm(c, cell.cell_norm.weight, cell.cell_norm.bias))
        out.append(h)
    return torch.stack(out, 1)


def layer_norm_gru(x, cell):
    h, out = torch.zeros(x.shape[0], cell.size, dtype=DOUBLE), []
    for t in range(x.shape[1]):
        wr, wz, wn = (x[:, t] @ cell.weight_ih.T).split(cell.size, 1)
        ur, uz, un = (h @ cell.weight_hh.T + cell.bias_hh).split(cell.size, 1)
        r = torch.sigmoid(layer_norm(wr + ur, cell.norm.gain[0], cell.norm.offset[0]))
        z = torch.sigmoid(layer_norm(wz + uz, cell.norm.gain[1], cell.norm.offset[1]))
        n = torch.tanh(layer_norm(wn + r * un, cell.candidate_norm.weight, cell.candidate_norm.bias))
        h = (1 - z) * n + z * h
        out.append(h)
    return torch.stack(out, 1)


def perturb(module: nn.Module) -> nn.Module:
    """Convert to float64 and add noise to all parameters, so that no term vanishes."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def run_cell(cell: Cell, x: torch.Tensor) -> torch.Tensor:
    """Outputs (B, T, size) of a cell from its initial state."""
    return CellLayer(cell, 0.0)(x, cell.initial_state(x))[0]


@pytest.mark.parametrize(("backbone", "cell"), [(Rnn, rnn), (Lstm, lstm), (Gru, gru)])
def test_recurrent_layers_equal_their_formula(backbone, cell):
    torch.manual_seed(0)
    net = backbone(features=3, past_steps=9, hidden=5, layers=2).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    expected = x
    for layer in range(2):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        expected = cell(expected, *(getattr(net.layers, f"{name}_l{layer}") for name in names))
    assert_agree(net(x), expected, list(net.parameters()))


@pytest.mark.parametrize(("cell", "formula"), [(RnnCell, rnn), (LstmCell, lstm), (GruCell, gru)])
def test_cells_equal_their_formula(cell: type[GatedCell], formula: Callable) -> None:
    torch.manual_seed(0)
    ours, x = perturb(cell(3, 5)), torch.randn(2, 9, 3, dtype=DOUBLE)
    assert_agree(run_cell(ours, x), formula(x, *ours.parameters()), list(ours.parameters()))


@pytest.mark.parametrize(
    ("cell", "formula"), [(RnnCell, layer_norm_rnn), (LstmCell, layer_norm_lstm), (GruCell, layer_norm_gru)]
)
def test_layer_norm_cells_equal_their_formula(cell: type[GatedCell], formula: Callable) -> None:
    torch.manual_seed(0)
    ours, x = perturb(cell(3, 5, layer_norm=True)), torch.randn(2, 9, 3, dtype=DOUBLE)
    assert_agree(run_cell(ours, x), formula(x, ours), list(ours.parameters()))


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (RnnCell(3, 5), nn.RNNCell(3, 5)),
        (RnnCell(3, 5, activation="relu"), nn.RNNCell(3, 5, nonlinearity="relu")),
        (LstmCell(3, 5), nn.LSTMCell(3, 5)),
        (GruCell(3, 5), nn.GRUCell(3, 5)),
    ],
)
def test_cells_equal_those_of_torch_with_the_same_weights(ours: GatedCell, reference: nn.RNNCellBase) -> None:
    torch.manual_seed(0)
    ours.load_state_dict(reference.state_dict())
    x, hidden, outputs = torch.randn(2, 9, 3), None, []
    for t in range(9):
        hidden = reference(x[:, t], hidden)
        outputs.append(hidden[0] if isinstance(hidden, tuple) else hidden)
    torch.testing.assert_close(run_cell(ours, x), torch.stack(outputs, 1), rtol=1e-6, atol=1e-6)


@KINDS
def test_fused_layers_equal_the_loop_over_cells(kind: type[Recurrent]) -> None:
    torch.manual_seed(0)
    fused, looped = kind(3, 9, hidden=5).double(), kind(3, 9, hidden=5, recurrent_dropout=0.5).double()
    assert isinstance(fused.layers, nn.RNNBase)
    with torch.no_grad():
        for number, layer in enumerate(looped.layers):
            for name, parameter in layer.cell.named_parameters():
                parameter.copy_(getattr(fused.layers, f"{name}_l{number}"))
    x = torch.randn(2, 9, 3, dtype=DOUBLE)
    torch.testing.assert_close(looped.eval()(x), fused.eval()(x), rtol=1e-9, atol=1e-11)


@KINDS
def test_fused_layers_are_used_unless_an_option_needs_a_loop_over_steps(kind: type[Recurrent]) -> None:
    loops = {"layer_norm": True, "recurrent_dropout": 0.1, "zoneout": 0.1}
    for name, value in loops.items():
        assert [type(layer) for layer in kind(3, 9, **{name: value}).layers] == [CellLayer] * 2
    for change in ({}, {"dropout": 0.1}, {"initial": "learned"}):
        assert isinstance(kind(3, 9, **change).layers, nn.RNNBase)
    for change in ({"normalise": "batch"}, {"residual": True}, {"input_dropout": 0.1}):
        assert all(isinstance(layer, nn.RNNBase) for layer in kind(3, 9, **change).layers)


@KINDS
def test_input_dropout_has_one_mask_per_sequence(kind: type[Recurrent]) -> None:
    torch.manual_seed(0)
    net, x = kind(8, 9, hidden=6, layers=2, input_dropout=0.25), torch.randn(50, 9, 8)
    state = net.initial_state(x)
    assert [mask.shape for mask in state.masks] == [(50, 8), (50, 6)]
    values = state.masks[0].unique()
    torch.testing.assert_close(values, torch.tensor([0, 1 / 0.75]))
    assert 0.15 < float((state.masks[0] == 0).float().mean()) < 0.35
    first, second = net.layers
    expected = first(x * state.masks[0][:, None])[0]
    expected = second(expected * state.masks[1][:, None])[0]
    torch.testing.assert_close(net.unroll(x, state)[0], expected)
    net.eval()
    assert [mask.shape for mask in net.initial_state(x).masks] == [(50, 0), (50, 0)]
    torch.testing.assert_close(net(x), second(first(x)[0])[0])


@pytest.mark.parametrize(("cell", "formula"), [(RnnCell, rnn), (LstmCell, lstm)])
def test_recurrent_dropout_masks_the_hidden_state_before_the_product(cell, formula) -> None:
    """A constant mask is the same as scaled columns of the recurrent weights, other ones for each sequence."""
    torch.manual_seed(0)
    ours, x = perturb(cell(3, 8, recurrent_dropout=0.5)), torch.randn(4, 9, 3, dtype=DOUBLE)
    state = ours.initial_state(x)
    assert set(state.mask.unique().tolist()) == {0.0, 2.0} and not torch.equal(state.mask[0], state.mask[1])
    given = CellLayer(ours, 0.0)(x, state)[0]
    for row in range(4):
        w, u, b, c = ours.parameters()
        expected = formula(x[row : row + 1], w, u * state.mask[row], b, c)
        torch.testing.assert_close(given[row : row + 1], expected, rtol=1e-9, atol=1e-11)


def test_recurrent_dropout_of_a_gru_does_not_drop_what_the_update_gate_keeps() -> None:
    torch.manual_seed(0)
    ours = perturb(GruCell(3, 8, recurrent_dropout=0.5))
    with torch.no_grad():
        ours.bias_ih[8:16] = 100.0  # z = 1: the state does not change
    state = ours.initial_state(torch.zeros(4, 9, 3, dtype=DOUBLE))._replace(hidden=torch.randn(4, 8, dtype=DOUBLE))
    assert (state.mask == 0).any()
    projected = ours.project_inputs(torch.randn(4, 1, 3, dtype=DOUBLE))[:, 0]
    torch.testing.assert_close(ours.step(projected, state)[0], state.hidden)


@KINDS
def test_chunks_and_steps_share_the_mask_of_their_sequence(kind: type[Recurrent]) -> None:
    torch.manual_seed(0)
    net, x = kind(3, 12, hidden=5, input_dropout=0.3, recurrent_dropout=0.3, layer_norm=True), torch.randn(4, 12, 3)
    state = net.initial_state(x)
    whole, _ = net.unroll(x, state)
    chunk, after = net.unroll(x[:, :5], state)
    steps = []
    for t in range(5, 12):
        features, after = net.step(x[:, t], after)
        steps.append(features)
    torch.testing.assert_close(torch.cat([chunk, torch.stack(steps, 1)], 1), whole)
    torch.manual_seed(7)
    first, second = net(x), net(x)
    torch.manual_seed(7)
    assert torch.equal(net(x), first) and not torch.equal(first, second)


@KINDS
def test_dropout_is_off_in_evaluation_and_can_be_turned_on_alone(kind: type[Recurrent]) -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(4, 12, 3), {"dropout": 0.3, "input_dropout": 0.3, "normalise": "batch"}
    for change in ({"dropout": 0.3}, noise, {"recurrent_dropout": 0.3}, {"zoneout": 0.3}):
        net = kind(3, 12, hidden=5, **change).eval()
        assert torch.equal(net(x), net(x))
        for module in net.modules():
            if isinstance(module, DROPOUT_MODULES):
                module.train()
        assert not torch.equal(net(x), net(x)), change
        assert not any(norm.training for norm in net.modules() if isinstance(norm, nn.BatchNorm1d))


def test_dropout_between_fused_layers_can_be_turned_on_alone() -> None:
    net, x = Lstm(3, 12, hidden=5, dropout=0.5).eval(), torch.randn(4, 12, 3)
    for module in net.modules():
        if isinstance(module, DROPOUT_MODULES) and module is not net.dropout:
            module.train()
    assert not torch.equal(net(x), net(x))


@KINDS
def test_zoneout_keeps_units_in_training_and_uses_the_expectation_in_evaluation(kind: type[Recurrent]) -> None:
    torch.manual_seed(0)
    net = kind(3, 12, hidden=200, layers=1, zoneout=0.3)
    x, start = torch.randn(2, 3), net.initial_state(torch.zeros(2, 1, 3))
    before = net.step(torch.randn(2, 3), start)[1]
    (old,) = before.layers
    cell = net.layers[0].cell
    _, new = cell.step(cell.project_inputs(x[:, None])[:, 0], old)
    features, after = net.step(x, before)
    for name in set(new._fields) - {"mask"}:
        given, kept = getattr(after.layers[0], name), getattr(old, name)
        stayed = given == kept
        assert (torch.isclose(given, getattr(new, name), rtol=1e-4, atol=1e-6) | stayed).all()
        assert 0.2 < float(stayed.float().mean()) < 0.4
    assert torch.equal(features, after.layers[0].hidden), "the output is the hidden state after zoneout"
    features, after = net.eval().step(x, before)
    for name in set(new._fields) - {"mask"}:
        expected = 0.3 * getattr(old, name) + 0.7 * getattr(new, name)
        torch.testing.assert_close(getattr(after.layers[0], name), expected)
    assert torch.equal(features, after.layers[0].hidden)


def test_zoneout_of_an_lstm_has_separate_masks_for_hidden_and_cell_state() -> None:
    net = Lstm(3, 12, hidden=200, layers=1, zoneout=0.5)
    old = net.step(torch.randn(2, 3), net.initial_state(torch.zeros(2, 1, 3)))[1]
    new = net.step(torch.randn(2, 3), old)[1]
    hidden, cell = ((getattr(new.layers[0], n) == getattr(old.layers[0], n)) for n in ("hidden", "cell"))
    assert 0.3 < float((hidden == cell).float().mean()) < 0.7


@KINDS
@pytest.mark.parametrize("loop", [False, True])
def test_layers_with_batch_normalisation_and_residual_equal_their_formula(kind: type[Recurrent], loop: bool) -> None:
    torch.manual_seed(0)
    net = kind(3, 9, hidden=5, layers=3, normalise="batch", residual=True, layer_norm=loop)
    net, x = perturb(net), torch.randn(4, 9, 3, dtype=DOUBLE)

    def through(layer, values):
        return run_cell(layer.cell, values) if loop else layer(values)[0]

    flat, expected = (4 * 9, 5), through(net.layers[0], x)
    for layer, norm in zip(net.layers[1:], net.between, strict=True):
        values = expected.reshape(flat)
        mean, variance = values.mean(0), values.var(0, unbiased=False)
        scaled = (values - mean) / torch.sqrt(variance + 1e-5) * norm.weight + norm.bias
        expected = expected + through(layer, scaled.reshape(4, 9, 5))
    assert_agree(net(x), expected, list(net.parameters()))
    mean = through(net.layers[0], x).reshape(flat).mean(0)
    torch.testing.assert_close(net.between[0].running_mean, 0.1 * mean)


def test_layer_normalisation_between_layers_is_per_step() -> None:
    torch.manual_seed(0)
    net = perturb(Lstm(3, 9, hidden=5, normalise="layer"))
    x = torch.randn(4, 9, 3, dtype=DOUBLE)
    inner = net.layers[0](x)[0]
    expected = net.layers[1](layer_norm(inner, net.between[0].weight, net.between[0].bias))[0]
    assert_agree(net(x), expected, list(net.parameters()))


@KINDS
@pytest.mark.parametrize("loop", [False, True])
def test_a_learned_initial_state_begins_with_zeros_and_is_trained(kind: type[Recurrent], loop: bool) -> None:
    torch.manual_seed(0)
    net, x = kind(3, 9, hidden=5, initial="learned", layer_norm=loop), torch.randn(4, 9, 3)
    zeros = kind(3, 9, hidden=5, layer_norm=loop)
    zeros.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(net(x), zeros(x))
    net(x).square().sum().backward()
    parts = 2 if kind is Lstm else 1
    assert len(list(net.starts.parameters())) == 2 * parts
    for parameter in net.starts.parameters():
        assert parameter.shape == (5,) and parameter.grad.abs().sum() > 0
    with torch.no_grad():
        net.starts[1].values[0].copy_(torch.arange(5.0))
    state = net.initial_state(x)
    assert state.layers[1].hidden.tolist() == [[0, 1, 2, 3, 4]] * 4 and not state.layers[0].hidden.any()


@KINDS
@pytest.mark.parametrize("loop", [False, True])
def test_layers_of_different_sizes_equal_single_layers_in_sequence(kind: type[Recurrent], loop: bool) -> None:
    changes = {"zoneout": 1e-12} if loop else {}  # practically none, but requires the loop over steps
    net = kind(3, 9, hidden=[6, 4, 1], layers=3, **changes).double().eval()
    assert net.size == 1
    x = torch.randn(5, 9, 3, dtype=DOUBLE)
    y = x
    for layer, width in zip(net.layers, (6, 4, 1), strict=True):
        alone = kind(y.shape[2], 9, hidden=width, layers=1).double()
        given = layer.cell if loop else layer
        weights = [
            getattr(given, name if loop else f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        for parameter, weight in zip(alone.layers.parameters(), weights, strict=True):
            parameter.data.copy_(weight)
        y = alone(y)
    torch.testing.assert_close(net(x), y, rtol=0, atol=1e-11)
    state, steps = net.initial_state(x), []
    for t in range(9):
        features, state = net.step(x[:, t], state)
        steps.append(features)
    torch.testing.assert_close(torch.stack(steps, 1), y, rtol=0, atol=1e-11)


@KINDS
@pytest.mark.parametrize("loop", [False, True])
def test_a_random_initial_state_is_sampled_per_sequence_and_only_in_training(kind: type[Recurrent], loop: bool) -> None:
    torch.manual_seed(0)
    net = kind(3, 9, hidden=50, initial="random", layer_norm=loop)
    x = torch.randn(40, 9, 3)
    state = net.initial_state(x)
    for layer in state.layers:
        for name in set(layer._fields) - {"mask"}:
            part = getattr(layer, name)
            assert part.shape == (40, 50) and 0.09 < float(part.std()) < 0.11 and abs(float(part.mean())) < 0.01
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert not any(layer.hidden.any() for layer in net.initial_state(x).layers)


@KINDS
def test_a_single_layer_may_have_a_single_unit(kind: type[Recurrent]) -> None:
    for change in ({}, {"zoneout": 0.1}, {"recurrent_dropout": 0.1, "initial": "learned"}):
        net = kind(1, 9, hidden=1, layers=1, **change)
        features, state = net.unroll(torch.randn(2, 9, 1), net.initial_state(torch.zeros(2, 9, 1)))
        assert features.shape == (2, 9, 1) and net.step(torch.randn(2, 1), state)[0].shape == (2, 1)


class LeakState(NamedTuple):
    total: torch.Tensor


class LeakCell(Cell):
    """A user-defined cell: leaky integration of a linear function of the input."""

    def __init__(self, inputs: int, size: int, leak: float):
        super().__init__()
        self.inputs, self.size, self.leak = inputs, size, leak
        self.linear = nn.Linear(inputs, size)

    def initial_state(self, x: torch.Tensor) -> LeakState:
        return LeakState(x.new_ones(x.shape[0], self.size))

    def step(self, x: torch.Tensor, state: LeakState) -> tuple[torch.Tensor, LeakState]:
        total = self.leak * state.total + self.linear(x)
        return torch.tanh(total), LeakState(total)


def test_a_custom_cell_becomes_a_backbone() -> None:
    torch.manual_seed(0)
    net = CustomRecurrent(3, 9, partial(LeakCell, leak=0.5), hidden=4, layers=2).double()
    x = torch.randn(2, 9, 3, dtype=DOUBLE)
    expected = x
    for layer in net.layers:
        total, out = torch.ones(2, 4, dtype=DOUBLE), []
        for t in range(9):
            total = 0.5 * total + expected[:, t] @ layer.cell.linear.weight.T + layer.cell.linear.bias
            out.append(torch.tanh(total))
        expected = torch.stack(out, 1)
    assert_agree(net(x), expected, list(net.parameters()))
    state, steps = net.initial_state(x), []
    for t in range(9):
        features, state = net.step(x[:, t], state)
        steps.append(features)
    torch.testing.assert_close(torch.stack(steps, 1), expected)


def test_a_custom_cell_has_the_options_of_recurrent_layers() -> None:
    torch.manual_seed(0)
    options = {"zoneout": 0.2, "input_dropout": 0.2, "normalise": "layer", "residual": True, "initial": "learned"}
    net, x = CustomRecurrent(3, 9, partial(LeakCell, leak=0.5), hidden=4, **options), torch.randn(2, 9, 3)
    assert len(list(net.starts.parameters())) == 2
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x)) and net(x).shape == (2, 9, 4)
    assert isinstance(net.initial_state(x), RecurrentState)


def test_a_warning_before_training_advises_against_relu_in_an_rnn() -> None:
    assert Rnn(3, 9).warnings == ()
    backbone = Rnn(3, 9, activation="relu")
    (warning,) = backbone.warnings
    forecaster = nn.Module()
    forecaster.backbone, forecaster.origins, forecaster.nonnegative = backbone, Origins(0, 1), ()
    forecaster.singles, forecaster.spec = [forecaster], zoo.SPEC
    shown = summarise_model(forecaster, 9, "rnn")
    assert [str(line) for line in shown.renderables[1:]] == [f"warning: {warning}"]
    assert "relu" in warning and warning.endswith(".") and ". " not in warning, "one sentence"


@KINDS
@pytest.mark.parametrize("change", [{}, {"layer_norm": True}, {"recurrent_dropout": 0.2, "zoneout": 0.1}])
def test_mixed_precision_continues_from_any_state(kind: type[Recurrent], change: dict[str, Any]) -> None:
    net, x = kind(3, 9, hidden=5, **change), torch.randn(2, 9, 3)
    with torch.autocast("cpu", torch.bfloat16):
        features, state = net.unroll(x, net.initial_state(x))
        features, _ = net.unroll(x, state)
        features.float().sum().backward()
    assert torch.isfinite(features).all()


def gradients(net: nn.Module, outputs: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(outputs.float().square().sum(), list(net.parameters())))


@pytest.mark.parametrize("kind", [Lstm, BidirectionalLstm])
def test_without_a_bfloat16_lstm_mixed_precision_computes_in_float32(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.backbones.recurrent.has_bfloat16_lstm", lambda: False)
    net, x = kind(3, 9, hidden=5), torch.randn(2, 9, 3).bfloat16()  # as a convolution before it gives under autocast
    with torch.autocast("cpu", torch.bfloat16):
        features = net(x)
        assert torch.is_autocast_enabled("cpu"), "switched off for the layer only"
    expected = net(x.float())
    assert features.dtype == torch.float32 and torch.equal(features, expected)
    for given, wanted in zip(gradients(net, features), gradients(net, expected), strict=True):
        assert torch.equal(given, wanted)


def test_without_a_bfloat16_lstm_a_state_of_another_processor_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.backbones.recurrent.has_bfloat16_lstm", lambda: False)
    net, x = Lstm(3, 9, hidden=5), torch.randn(2, 9, 3)
    state = net.unroll(x, net.initial_state(x))[1]
    with torch.autocast("cpu", torch.bfloat16):
        _, after = net.unroll(x, tree_map(torch.Tensor.bfloat16, state))
    rounded = tree_map(lambda part: part.bfloat16().float(), state)
    for given, wanted in zip(tree_leaves(after), tree_leaves(net.unroll(x, rounded)[1]), strict=True):
        assert torch.equal(given.float(), wanted)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_without_kernels_a_fused_lstm_is_that_of_torch_bit_by_bit(precision: str, monkeypatch) -> None:
    monkeypatch.setattr("seqmodels.kernels.build.choice", "torch")
    if precision == "bfloat16" and not has_bfloat16_lstm():
        pytest.skip("this processor has no bfloat16 LSTM")
    dtype = DOUBLE if precision == "float64" else torch.float32
    ours, reference = (kind(3, 5, 2, batch_first=True).to(dtype) for kind in (FusedLstm, nn.LSTM))
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(4, 9, 3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        given, wanted = ours(x)[0], reference(x)[0]
    assert given.dtype == wanted.dtype == getattr(torch, precision) and torch.equal(given, wanted)
    for one, other in zip(gradients(ours, given), gradients(reference, wanted), strict=True):
        assert torch.equal(one, other)


def test_trying_a_bfloat16_lstm_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    with torch.inference_mode():
        found = has_bfloat16_lstm.__wrapped__()
        assert torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    assert found == has_bfloat16_lstm.__wrapped__() == has_bfloat16_lstm()
    assert torch.equal(torch.get_rng_state(), before)
