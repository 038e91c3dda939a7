"""One table of everything that can be combined; every property test runs over all of it.

Sizes are small and differ from one another, so that no swapped dimension goes unseen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from seqmodels import baselines, heads, readouts, scalers
from seqmodels.backbones import conv_gru, linear, recurrent, wavenet
from seqmodels.forecaster import Forecaster
from seqmodels.window import Inputs, Statistics, Targets, Window, WindowSpec

BACKBONES: dict[str, Callable[..., Any]] = {
    "linear": linear.Linear,
    "linear_short": partial(linear.Linear, lags=5),
    "rnn": partial(recurrent.Rnn, hidden=7, layers=2),
    "lstm": partial(recurrent.Lstm, hidden=7, layers=2),
    "gru": partial(recurrent.Gru, hidden=7, layers=2),
    "conv_gru": partial(conv_gru.ConvGru, filters=5, hidden=7),
    "conv_gru_uneven": partial(conv_gru.ConvGru, filters=5, kernel=5, stride=3, activation="relu", hidden=7, layers=1),
    "wavenet": partial(wavenet.WaveNet, filters=6),
    "wavenet_kernel_1": partial(wavenet.WaveNet, filters=6, kernel=1),
    "wavenet_kernel_3": partial(wavenet.WaveNet, filters=6, kernel=3, dilations=(1, 2), stacks=1),
    "wavenet_gated": partial(wavenet.GatedWaveNet, filters=6),
}
READOUTS = {"seq_to_vector": readouts.SeqToVector, "seq_to_seq": readouts.SeqToSeq}
HEADS = {loss: partial(heads.Point, loss=loss) for loss in heads.LOSSES}
SCALERS: dict[str, Callable[..., Any]] = {
    "identity": scalers.Identity,
    "standard": scalers.Standard,
    "window_mean": scalers.Window,
    "window_last": partial(scalers.Window, centre="last", scale="mean_absolute"),
    "window_season": partial(scalers.Window, centre="season", scale="seasonal_error"),
}
BASELINES: dict[str, Callable[..., Any]] = {
    "naive": baselines.Naive,
    "seasonal_naive": baselines.SeasonalNaive,
    "moving_average": partial(baselines.MovingAverage, steps=4),
}

SPEC = WindowSpec(
    past_steps=20,
    horizon=3,
    channels=("a", "b"),
    series=4,
    season=4,
    target_statistics=Statistics((3.0, -1.0), (2.0, 0.5)),
)
RICH = SPEC._replace(
    missing=True,
    past_covariates=("wind",),
    known_covariates=("holiday", "open"),
    past_statistics=Statistics((1.0,), (2.0,)),
    known_statistics=Statistics((0.0, 0.5), (1.0, 0.5)),
)
SPECS = {"plain": SPEC, "rich": RICH}
# Not the full product: six pairs of scaler and spec reach every scaler, with and without missing values.
FORECASTERS = [
    (backbone, readout, scaler, spec)
    for backbone in BACKBONES
    for readout in READOUTS
    for scaler in SCALERS
    for spec in SPECS
    if (scaler, spec) in {("standard", "plain"), ("standard", "rich"), ("identity", "plain"), ("window_mean", "plain"),
                          ("window_last", "plain"), ("window_season", "rich")}
]  # fmt: skip


def forecaster(backbone: str, readout: str, scaler: str, spec: str, head: str = "huber", seed: int = 0) -> Forecaster:
    """A member of the zoo, built reproducibly, ready for evaluation."""
    torch.manual_seed(seed)
    return Forecaster(SPECS[spec], SCALERS[scaler], BACKBONES[backbone], READOUTS[readout], HEADS[head]()).eval()


def window(spec: WindowSpec, batch: int = 3, seed: int = 0) -> Window:
    """A random batch that keeps the contract; a tenth of the values is missing where the spec allows it."""
    random = torch.Generator().manual_seed(seed)
    zeros = spec.zeros(batch)
    steps, channels = spec.past_steps + spec.horizon, len(spec.channels)
    observed = torch.ones(batch, steps, channels, dtype=torch.bool)
    if spec.missing:
        observed = torch.rand(batch, steps, channels, generator=random) > 0.1
    values = torch.randn(batch, steps, channels, generator=random).cumsum(1) * observed
    past = spec.past_steps
    inputs = Inputs(
        past_target=values[:, :past],
        past_observed=observed[:, :past],
        past_covariates=torch.randn(zeros.past_covariates.shape, generator=random),
        known_covariates=torch.randn(zeros.known_covariates.shape, generator=random),
        static=torch.randn(zeros.static.shape, generator=random),
        seasonal_error=torch.rand(batch, channels, generator=random) + 0.5,
        series=torch.arange(batch) % spec.series,
        fresh=zeros.fresh,
    )
    return Window(inputs, Targets(values[:, past:], observed[:, past:]), torch.full((batch,), past - 1))
