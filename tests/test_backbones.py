"""Invalid options and parameter counts of all backbones."""

from functools import partial

import pytest
import zoo

from seqmodels.backbones.bidirectional import BidirectionalGru, BidirectionalLstm
from seqmodels.backbones.cells import RnnCell
from seqmodels.backbones.conv_front import Convolutional
from seqmodels.backbones.mlp import Linear, Mlp
from seqmodels.backbones.recurrent import CustomRecurrent, Gru, Lstm, Rnn
from seqmodels.backbones.tcn import Tcn
from seqmodels.backbones.wavenet import GatedWaveNet, WaveNet
from seqmodels.errors import InputError

CONV_GRU = partial(Convolutional, recurrent=Gru)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        (Lstm, {"hidden": 0}, "hidden is 0; it must be at least 1"),
        (Gru, {"layers": 0}, "layers is 0"),
        (partial(CustomRecurrent, cell=RnnCell), {"layers": 0}, "layers is 0"),
        (Rnn, {"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and less than 1"),
        (Gru, {"input_dropout": -0.1}, "input_dropout is -0.1"),
        (Lstm, {"recurrent_dropout": 1.0}, "recurrent_dropout is 1.0"),
        (Rnn, {"zoneout": 1.5}, "zoneout is 1.5"),
        (Rnn, {"activation": "gelu"}, "activation is 'gelu'; it must be one of tanh, relu"),
        (Lstm, {"normalise": "group"}, "normalise is 'group'; it must be one of none, batch, layer"),
        (Gru, {"initial": "ones"}, "initial is 'ones'; it must be one of zeros, learned, random"),
        (Rnn, {"hidden": 0, "layer_norm": True}, "hidden is 0"),
        (Rnn, {"hidden": 1, "layer_norm": True}, "layer_norm needs hidden of at least 2"),
        (Lstm, {"hidden": 1, "normalise": "layer"}, "normalise=layer needs hidden of at least 2"),
        (
            Lstm,
            {"layers": 3, "hidden": [20, 1, 20], "normalise": "layer"},
            "normalise=layer needs hidden of at least 2",
        ),
        (
            Lstm,
            {"layers": 3, "hidden": [20, 1]},
            "hidden=.* gives the units of 2 layers, and model.backbone.layers is 3",
        ),
        (Lstm, {"layers": 3, "hidden": [20, 0, 1]}, "hidden is 0"),
        (
            Lstm,
            {"layers": 3, "hidden": [20, 20, 1], "residual": True},
            "residual adds the input .*hidden is .20, 20, 1",
        ),
        (BidirectionalLstm, {"hidden": 0}, "hidden is 0"),
        (BidirectionalGru, {"dropout": 1.0}, "dropout is 1.0"),
        (WaveNet, {"dilations": []}, "dilations is \\[\\]"),
        (WaveNet, {"dilations": [1, 0]}, "dilations is \\[1, 0\\]; it must hold one or more numbers of at least 1"),
        (GatedWaveNet, {"kernel": 0}, "kernel is 0"),
        (GatedWaveNet, {"stacks": 0}, "stacks is 0"),
        (Tcn, {"filters": 0}, "filters is 0"),
        (Tcn, {"kernel": 0}, "kernel is 0"),
        (Tcn, {"dilations": []}, "dilations is \\[\\]"),
        (Tcn, {"dilations": [2, 0]}, "dilations is \\[2, 0\\]"),
        (Tcn, {"dropout": 1.0}, "dropout is 1.0"),
        (CONV_GRU, {"stride": 5}, "stride=5 and kernel=4"),
        (CONV_GRU, {"kernel": 30}, "stride=2 and kernel=30 must satisfy .* data.past_steps=20"),
        (CONV_GRU, {"stride": 0}, "stride=0"),
        (CONV_GRU, {"activation": "gelu"}, "activation is 'gelu'; it must be one of linear, relu"),
        (CONV_GRU, {"padding": "same"}, "padding is 'same'; it must be one of valid, causal"),
        (CONV_GRU, {"filters": 0}, "filters is 0"),
        (Convolutional, {"recurrent": partial(Gru, hidden=0)}, "recurrent.hidden is 0"),
        (
            Convolutional,
            {"recurrent": partial(Linear, lags=15)},
            "recurrent.lags is 15; it must be between 1 and the number of outputs of the convolution, 9",
        ),
        (Linear, {"lags": 21}, "lags is 21; it must be between 1 and data.past_steps=20"),
        (Mlp, {"lags": 21}, "lags is 21"),
        (Mlp, {"units": []}, "units is \\[\\]"),
        (Mlp, {"units": [3, 0]}, "units is \\[3, 0\\]"),
        (Mlp, {"dropout": -0.1}, "dropout is -0.1"),
        (Mlp, {"activation": "linear"}, "activation is 'linear'; it must be one of relu, tanh"),
    ],
)
def test_invalid_options_are_refused(backbone, options, message):
    with pytest.raises(InputError, match=f"model.backbone.{message}"):
        backbone(features=1, past_steps=20, **options)


def test_parameter_counts_equal_the_published_ones():
    """The counts of Keras, plus torch's second bias vector (4 gates x 20 units x 2 layers, 20 units x 2 layers)."""
    counts = {"lstm": 5250 + 160, "gru": 4110, "rnn": 1470 + 40, "wavenet": 6010, "conv_gru": 5350}
    spec = zoo.SPEC._replace(
        past_steps=50, horizon=10, channels=("y",), target_statistics=zoo.Statistics((0.0,), (1.0,))
    )
    sizes = {"lstm": Lstm, "gru": Gru, "rnn": Rnn}
    for name, count in counts.items():
        backbone = (
            zoo.partial(sizes[name], hidden=20, layers=2)
            if name in sizes
            else {"wavenet": WaveNet, "conv_gru": zoo.partial(Convolutional, recurrent=Gru)}[name]
        )
        model = zoo.Forecaster(spec, zoo.affine.StandardScaler, backbone, zoo.direct.SeqToSeq, zoo.Point())
        assert sum(p.numel() for p in model.parameters()) == count, name
