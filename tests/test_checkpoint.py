"""Checkpoints that an earlier version wrote, and files that are damaged, of another origin, or malicious."""

import json
import os
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
import zoo

from seqmodels.checkpoint import load, read
from seqmodels.config.build import build
from seqmodels.config.targets import current_name
from seqmodels.errors import InputError

EARLIER = Path(__file__).parent / "checkpoints"
# Classes that conf/model named before they were renamed or moved.
EARLIER_NAMES = """
    seqmodels.backbones.bidirectional.BidirectionalGru
    seqmodels.backbones.bidirectional.BidirectionalLstm
    seqmodels.backbones.convolutional.Convolutional
    seqmodels.backbones.linear.Linear
    seqmodels.backbones.mlp.Mlp
    seqmodels.backbones.recurrent.Gru
    seqmodels.backbones.recurrent.Lstm
    seqmodels.backbones.recurrent.Rnn
    seqmodels.backbones.tcn.Tcn
    seqmodels.backbones.wavenet.GatedWaveNet
    seqmodels.backbones.wavenet.WaveNet
    seqmodels.baselines.DifferencedMovingAverage
    seqmodels.baselines.MovingAverage
    seqmodels.baselines.Naive
    seqmodels.baselines.SeasonalNaive
    seqmodels.forecaster.Forecaster
    seqmodels.heads.Point
    seqmodels.heads.negative_binomial.NegativeBinomial
    seqmodels.label_baselines.NearestNeighbour
    seqmodels.label_baselines.Prior
    seqmodels.readouts.decoder.EncoderDecoder
    seqmodels.readouts.direct.Iterated
    seqmodels.readouts.direct.SeqToSeq
    seqmodels.readouts.direct.SeqToVector
    seqmodels.ridge.Ridge
    seqmodels.scalers.affine.Identity
    seqmodels.scalers.affine.Standard
    seqmodels.scalers.affine.Window
    seqmodels.scalers.affine.automatic
    seqmodels.scalers.difference.Difference
""".split()


def test_a_checkpoint_of_an_earlier_version_forecasts_the_same():
    """An LSTM of four units on daily ridership, trained and evaluated by the earlier version."""
    recorded, model = json.loads((EARLIER / "lstm.json").read_text()), load(EARLIER / "lstm.ckpt")
    inputs = model.spec.zeros(2)._replace(past_target=torch.tensor(recorded["past_target"]))
    expected = torch.tensor(recorded["forecast"])
    torch.testing.assert_close(model(inputs).forecast, expected, rtol=1e-6, atol=0)
    assert expected.std() > 1000, "the two windows differ"


@pytest.mark.parametrize("name", EARLIER_NAMES)
def test_every_earlier_name_leads_to_a_class_of_today(name):
    today = current_name(name)
    target = resolve_name(today)
    assert f"{target.__module__}.{target.__qualname__}" == today == current_name(today)


def test_configs_with_earlier_names_build_the_same_at_every_depth():
    parts = {"scaler": "affine.Standard", "backbone": "linear.Linear", "readout": "direct.SeqToVector"}
    earlier = {name: {"_target_": f"seqmodels.{name}s.{target}", "_partial_": True} for name, target in parts.items()}
    config = {"_target_": "seqmodels.forecaster.Forecaster", **earlier, "head": {"_target_": "seqmodels.heads.Point"}}
    model = build(config, "model", spec=zoo.SPEC)
    built = [type(part).__qualname__ for part in (model.scaler, model.backbone, model.readout, model.head)]
    assert built == ["StandardScaler", "Linear", "SeqToVector", "Point"]
    assert earlier["backbone"]["_target_"] == "seqmodels.backbones.linear.Linear"


def test_files_other_than_checkpoints_are_refused(tmp_path):
    with pytest.raises(InputError, match="missing.ckpt: there is no such checkpoint file"):
        read(tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(InputError, match="text.ckpt: cannot be read as a checkpoint"):
        read(tmp_path / "text.ckpt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="other.ckpt: is a file of tensors, but not a checkpoint of this project"):
        read(tmp_path / "other.ckpt")
    torch.save({"forecaster": {"format": 99}, "state_dict": {}}, tmp_path / "future.ckpt")
    with pytest.raises(InputError, match="has checkpoint format 99.*update first"):
        read(tmp_path / "future.ckpt")


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"forecaster": Payload(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="evil.ckpt: cannot be read"):
        read(tmp_path / "evil.ckpt")
    described = {"format": 1, "model": {"_target_": "os.mkdir"}, "spec": zoo.SPEC.to_dict()}
    torch.save({"forecaster": described, "state_dict": {}}, tmp_path / "config.ckpt")
    with pytest.raises(InputError, match="config.ckpt: model._target_=os.mkdir: only a subclass of"):
        load(tmp_path / "config.ckpt")
    assert not (tmp_path / "ran").exists()


def small_checkpoint(path: Path, **weights: torch.Tensor) -> Path:
    """A checkpoint of a GRU of 3 units; ``weights`` replace its own."""
    model = build(CONFIG, "model", spec=zoo.SPEC)
    state = {f"forecaster.{name}": weight for name, weight in model.state_dict().items()}
    assert set(weights) <= set(state)
    described = {"format": 1, "model": CONFIG, "spec": zoo.SPEC.to_dict()}
    torch.save({"forecaster": described, "state_dict": state | weights, "epoch": 3}, path)
    return path


CONFIG = {
    "_target_": "seqmodels.forecaster.Forecaster",
    "scaler": {"_target_": "seqmodels.scalers.affine.choose_scaler", "_partial_": True},
    "backbone": {"_target_": "seqmodels.backbones.recurrent.Gru", "_partial_": True, "hidden": 3, "layers": 1},
    "readout": {"_target_": "seqmodels.readouts.direct.SeqToSeq", "_partial_": True},
    "head": {"_target_": "seqmodels.heads.point.Point"},
}
LAST = "forecaster.readout.linear.bias"


def test_a_single_wrong_bit_is_refused_or_changes_nothing(tmp_path):
    path = small_checkpoint(tmp_path / "a.ckpt")
    whole, content = read(path), path.read_bytes()
    assert load(path).spec == zoo.SPEC
    refused, random = 0, np.random.default_rng(0)
    for bit in random.integers(0, 8 * len(content), 400):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        try:
            now = read(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: cannot be read as a checkpoint; it is damaged")
            refused += 1
        else:
            assert now["forecaster"] == whole["forecaster"] and now["epoch"] == whole["epoch"]
            assert all(torch.equal(now["state_dict"][name], one) for name, one in whole["state_dict"].items())
    assert 150 < refused < 400, "the others fell into bytes that mean nothing"


@pytest.mark.parametrize("end", [0, 10, 200, -1])
def test_half_a_checkpoint_is_refused(end, tmp_path):
    path = small_checkpoint(tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(InputError, match="a.ckpt: cannot be read as a checkpoint; it is damaged"):
        load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    path = small_checkpoint(tmp_path / "a.ckpt", **{LAST: torch.tensor([0.0, value, 0.0, 0.0, 0.0, 0.0])})
    with pytest.raises(InputError, match="a.ckpt: .*readout.linear.bias holds weights that are"):
        load(path)


def test_a_checkpoint_whose_weights_or_description_do_not_fit_is_refused_in_one_sentence(tmp_path):
    path = small_checkpoint(tmp_path / "a.ckpt", **{LAST: torch.zeros(7)})
    with pytest.raises(InputError, match=r"a.ckpt: its model cannot be built \(RuntimeError: .*size mismatch"):
        load(path)
    for wrong in (
        {"model": {"_target_": "seqmodels.forecaster.Forecaster"}},
        {"model": CONFIG | {"inititialisation": "glorot"}},
        {"model": CONFIG | {"initialisation": 3}},
        {"model": CONFIG | {"head": "point"}},
        {"model": 3},
        {"model": None},
        {"spec": {}},
        {"spec": {"past_steps": "many", "horizon": 2}},
        {"spec": {"path": "x"}},
        {"format": "1"},
        {"format": None},
    ):
        described = {"format": 1, "model": CONFIG, "spec": zoo.SPEC.to_dict()} | wrong
        torch.save({"forecaster": described, "state_dict": {}}, path)
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
