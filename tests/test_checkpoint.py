"""Checkpoints that an earlier version wrote, and files that are damaged, of another origin, or malicious."""

import json
import os
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
import zoo

from seqmodels.checkpoint import current_name, load, read, update_names
from seqmodels.errors import InputError

EARLIER = Path(__file__).parent / "checkpoints"
# Every class that conf/model named before modules and scalers were renamed.
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
    seqmodels.readouts.decoder.EncoderDecoder
    seqmodels.readouts.direct.Iterated
    seqmodels.readouts.direct.SeqToSeq
    seqmodels.readouts.direct.SeqToVector
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


def test_names_are_updated_at_every_depth_and_nothing_else_is():
    decoder = {"_target_": "seqmodels.backbones.linear.Linear", "lags": None}
    config = {
        "readout": {"_target_": "seqmodels.readouts.direct.SeqToSeq", "parts": [decoder, "seqmodels.heads.Point"]}
    }
    updated = update_names(config)
    assert updated["readout"]["parts"] == [
        {"_target_": "seqmodels.backbones.mlp.Linear", "lags": None},
        "seqmodels.heads.Point",
    ]
    assert config["readout"]["parts"][0] is decoder and decoder["_target_"].endswith("linear.Linear")


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
