"""One table of everything that can be combined; every property test runs over all of it.

Sizes are small and differ from one another, so that no swapped dimension goes unseen.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from seqmodels.backbones import bidirectional, conv_front, inception, linear_recurrent, mlp, recurrent, tcn, wavenet
from seqmodels.baselines import ridge, rules
from seqmodels.forecaster import Forecaster
from seqmodels.heads import distributions, quantile
from seqmodels.heads.base import Head
from seqmodels.heads.point import LOSSES, Point
from seqmodels.readouts import decoder, direct, segments
from seqmodels.scalers import affine, cycle, difference
from seqmodels.window import Category, Inputs, Statistics, Targets, Window, WindowSpec


class Normal(Head):
    """A head of a user: normal, by the mean and the logarithm of the deviation; the loss is the likelihood."""

    parameters_per_value = 2

    def loss(self, parameters: torch.Tensor, target: torch.Tensor, magnitude: torch.Tensor | None = None):
        mean, log_deviation = parameters[..., 0], parameters[..., 1].clamp(min=-5)  # else it may run away
        return 0.5 * math.log(2 * math.pi) + log_deviation + 0.5 * ((target - mean) / log_deviation.exp()).square()

    def mean(self, parameters: torch.Tensor) -> torch.Tensor:
        return parameters[..., 0]

    def quantiles(self, parameters: torch.Tensor, levels: Sequence[float]) -> torch.Tensor:
        standard = torch.special.ndtri(parameters.new_tensor(levels))
        return parameters[..., :1] + parameters[..., 1:].exp() * standard

    def sample(self, parameters: torch.Tensor, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        mean, log_deviation = parameters.unbind(-1)
        noise = torch.randn(count, *mean.shape, generator=generator, dtype=mean.dtype)
        return mean + log_deviation.exp() * noise

    def rescale(self, parameters: torch.Tensor, centre: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        mean, log_deviation = parameters.unbind(-1)
        return torch.stack([mean * scale + centre, log_deviation + scale.log()], dim=-1)


BACKBONES: dict[str, Callable[..., Any]] = {
    "linear": mlp.Linear,
    "linear_short": partial(mlp.Linear, lags=5),
    "rnn": partial(recurrent.Rnn, hidden=7, layers=2),
    "lstm": partial(recurrent.Lstm, hidden=7, layers=2),
    "gru": partial(recurrent.Gru, hidden=7, layers=2),
    "layer_norm_rnn": partial(recurrent.Rnn, hidden=7, layers=2, layer_norm=True),
    "layer_norm_lstm": partial(recurrent.Lstm, hidden=7, layers=2, layer_norm=True),
    "layer_norm_gru": partial(recurrent.Gru, hidden=7, layers=2, layer_norm=True),
    "rnn_residual": partial(recurrent.Rnn, hidden=7, layers=3, activation="relu", residual=True, normalise="layer"),
    "lstm_noisy": partial(recurrent.Lstm, hidden=7, layers=2, recurrent_dropout=0.2, zoneout=0.2, initial="learned"),
    "gru_noisy": partial(recurrent.Gru, hidden=7, layers=2, input_dropout=0.2, normalise="batch", initial="random"),
    "bidirectional_lstm": partial(bidirectional.BidirectionalLstm, hidden=4),
    "bidirectional_gru": partial(bidirectional.BidirectionalGru, hidden=4),
    "inception": partial(inception.Inception, filters=3, kernels=(2, 5), blocks=2),
    "mlp": partial(mlp.Mlp, units=(9, 6)),
    "mlp_short": partial(mlp.Mlp, lags=5, units=(8,), activation="tanh"),
    "conv_gru": partial(conv_front.Convolutional, recurrent=partial(recurrent.Gru, hidden=7), filters=5),
    "conv_gru_uneven": partial(
        conv_front.Convolutional,
        recurrent=partial(recurrent.Gru, hidden=7, layers=1),
        filters=5,
        kernel=5,
        stride=3,
        activation="relu",
    ),
    "conv_lstm": partial(
        conv_front.Convolutional,
        recurrent=partial(recurrent.Lstm, hidden=7),
        filters=5,
        stride=1,
        padding="causal",
        activation="relu",
    ),
    "conv_bidirectional_gru": partial(
        conv_front.Convolutional, recurrent=partial(bidirectional.BidirectionalGru, hidden=4), filters=5
    ),
    "conv_conv_mlp": partial(
        conv_front.Convolutional,
        recurrent=partial(
            conv_front.Convolutional, recurrent=partial(mlp.Mlp, lags=2, units=(6,), activation="tanh"), filters=5
        ),
        filters=5,
        kernel=3,
        padding="causal",
    ),
    "patch_gru": partial(
        conv_front.Convolutional,
        recurrent=partial(recurrent.Gru, hidden=7, layers=1),
        filters=5,
        kernel="auto",
        stride=None,
        season=4,  # as in the spec below
    ),
    "tcn": partial(tcn.Tcn, filters=6, dilations=(1, 2)),
    "tcn_plain": partial(tcn.Tcn, filters=6, kernel=2, dilations=(1, 3), weight_norm=False),
    "mingru": partial(linear_recurrent.MinGru, hidden=6),
    "lru": partial(linear_recurrent.Lru, hidden=6),
    "wavenet": partial(wavenet.WaveNet, filters=6),
    "wavenet_kernel_1": partial(wavenet.WaveNet, filters=6, kernel=1),
    "wavenet_kernel_3": partial(wavenet.WaveNet, filters=6, kernel=3, dilations=(1, 2), stacks=1),
    "wavenet_gated": partial(wavenet.GatedWaveNet, filters=6),
}
STATED = {name: make(features=2, past_steps=20) for name, make in BACKBONES.items()}
SEE_THE_FUTURE = {name for name, net in STATED.items() if not net.causal}  # these carry one forecast per window
CAUSAL = [name for name, net in STATED.items() if net.causal]
STRIDED = {name for name, net in STATED.items() if net.stride > 1}
DECODER = partial(recurrent.Gru, hidden=5, layers=1)
READOUTS: dict[str, Callable[..., Any]] = {
    "seq_to_vector": direct.SeqToVector,
    "seq_to_seq": direct.SeqToSeq,
    "iterated": direct.Iterated,
    "encoder_decoder": partial(decoder.EncoderDecoder, decoder=partial(recurrent.Lstm, hidden=7)),
    "segments": segments.Segments,
    "attention": partial(decoder.EncoderDecoder, decoder=DECODER, attention=True),
}
CORRECTING: dict[str, Callable[..., Any]] = {
    "corrects_naive": partial(direct.SeqToVector, corrects="naive"),
    "corrects_season_every_step": partial(direct.SeqToSeq, corrects="seasonal"),
    "corrects_linear": partial(direct.SeqToVector, corrects="linear"),
    "corrects_linear_every_step": partial(direct.SeqToSeq, corrects="linear"),
    "corrects_season_iterated": partial(direct.Iterated, corrects="seasonal"),
    "corrects_linear_decoder": partial(
        decoder.EncoderDecoder, decoder=partial(recurrent.Lstm, hidden=7), corrects="linear"
    ),
}
READOUTS.update(CORRECTING)
FOLDED: dict[str, dict[str, Any]] = {
    "channels_seq_to_seq": {"readout": "seq_to_seq", "channels": "independent"},
    "channels_segments": {"readout": "segments", "channels": "independent"},
    "channels_decoder": {"readout": "attention", "channels": "independent"},
    "channels_flipped_iterated": {"readout": "iterated", "channels": "independent", "flip": True},
    "flipped_corrects_linear": {"readout": "corrects_linear", "flip": True},
}
HEADS: dict[str, Callable[..., Head]] = {
    **{loss: partial(Point, loss=loss) for loss in LOSSES},
    "own": Normal,
    "quantile": quantile.Quantile,
    "normal": distributions.Normal,
    "laplace": distributions.Laplace,
    "student_t": distributions.StudentT,
    "negative_binomial": distributions.NegativeBinomial,
}
DISTRIBUTIONS = [name for name in HEADS if name not in LOSSES]


def learned_cycle(spec: WindowSpec, **arguments: Any) -> cycle.CycleScaler:
    """A scaler whose tables are not zero, as they are at first."""
    scaler = cycle.CycleScaler(spec, **arguments)
    generator = torch.Generator().manual_seed(2)
    for table in scaler.tables:
        torch.nn.init.normal_(table, std=0.05, generator=generator)
    return scaler


SCALERS: dict[str, Callable[..., Any]] = {
    "identity": affine.IdentityScaler,
    "standard": affine.StandardScaler,
    "window_mean": affine.WindowScaler,
    "window_last": partial(affine.WindowScaler, centre="last", scale="mean_absolute"),
    "window_season": partial(affine.WindowScaler, centre="season", scale="seasonal_error"),
    "window_asinh": partial(
        affine.WindowScaler, centre="season", past_centre="last", scale="seasonal_error", asinh=True
    ),
    "cycle_standard": partial(learned_cycle, scaler=affine.StandardScaler, seasons=[4, 5]),
    "cycle_season": partial(
        learned_cycle,
        scaler=partial(affine.WindowScaler, centre="season", past_centre="last", scale="seasonal_error", asinh=True),
        seasons=6,
        shared=True,
    ),
    "difference": difference.DifferenceScaler,
    "difference_season": partial(difference.DifferenceScaler, lag=None, order=2),
}
BASELINES: dict[str, Callable[..., Any]] = {
    "naive": rules.Naive,
    "seasonal_naive": rules.SeasonalNaive,
    "moving_average": partial(rules.MovingAverage, steps=4),
    "differenced_moving_average": partial(rules.DifferencedMovingAverage, smooth=2),
    "ridge": ridge.Ridge,
}

SPEC = WindowSpec(
    past_steps=20,
    horizon=3,
    channels=("a", "b"),
    series=4,
    season=4,
    clock=True,
    target_statistics=Statistics((3.0, -1.0), (2.0, 0.5)),
)
RICH = SPEC._replace(
    missing=True,
    past_covariates=("wind",),
    known_covariates=("holiday", "open"),
    past_statistics=Statistics((1.0,), (2.0,)),
    known_statistics=Statistics((0.0, 0.5), (1.0, 0.5)),
)
AHEAD = RICH._replace(past_covariates=(), past_statistics=Statistics())
# Series of different length and kind: a category of few values in the past, one of many ahead, one for each series.
KNOWN_AHEAD = RICH._replace(
    past_covariates=(),
    past_statistics=Statistics(),
    known_covariates=("open", "promotion"),
    known_statistics=Statistics((0.5, 0.0), (0.5, 1.0)),
    statics=("size", "city"),
    static_statistics=Statistics((10.0, 0.0), (4.0, 1.0)),
    categories=(
        Category("promotion", tuple(f"number {i}" for i in range(23)), (1 / 23,) * 23),
        Category("city", ("Athens", "Bern", "Cairo"), (0.5, 0.3, 0.1)),
    ),
)
PANEL = KNOWN_AHEAD._replace(
    past_covariates=("wind", "weather"),
    past_statistics=Statistics((1.0, 0.0), (2.0, 1.0)),
    categories=(*KNOWN_AHEAD.categories, Category("weather", ("dry", "wet"), (0.8, 0.2))),
)
# Sequences of different length, with two labels of three and two classes
LABELLED = SPEC._replace(
    horizon=1,
    kind="sequence",
    labels=("kind", "mood"),
    label_statistics=Statistics((0.0, 0.0), (1.0, 1.0)),
    categories=(Category("kind", ("x", "y", "z"), (0.5, 0.3, 0.2)), Category("mood", ("bad", "good"), (0.25, 0.75))),
    past_covariates=("wind",),
    past_statistics=Statistics((1.0,), (2.0,)),
    statics=("age",),
    static_statistics=Statistics((30.0,), (9.0,)),
    ragged=True,
)
# The next of four letters and of thirty words, which are embedded, at every step
SYMBOLS = WindowSpec(
    past_steps=12,
    horizon=1,
    channels=("letter", "word"),
    kind="next",
    labels=("letter", "word"),
    ragged=True,
    categories=(
        Category("letter", tuple("abcd"), (0.4, 0.3, 0.2, 0.1)),
        Category("word", tuple(f"w{number:02}" for number in range(30)), (1 / 30,) * 30),
    ),
    target_statistics=Statistics((0.0, 0.0), (1.0, 1.0)),
    label_statistics=Statistics((0.0, 0.0), (1.0, 1.0)),
)
GAPS = SPEC._replace(
    horizon=20, kind="past", missing=True, past_covariates=("wind",), past_statistics=Statistics((1.0,), (2.0,))
)
SPECS = {"plain": SPEC, "rich": RICH, "ahead": AHEAD, "panel": PANEL, "panel_ahead": KNOWN_AHEAD}
# Not the full product: these pairs of scaler and spec reach every scaler, with and without missing values.
MANY = {
    ("standard", "plain"),
    ("standard", "rich"),
    ("identity", "plain"),
    ("window_mean", "plain"),
    ("window_last", "plain"),
    ("window_season", "rich"),
    ("difference", "rich"),
    ("difference_season", "plain"),
}
FEW = {("standard", "rich"), ("window_season", "plain"), ("difference", "plain")}
FED_BACK = {("standard", "plain"), ("window_season", "ahead"), ("difference", "ahead")}
# Panels with a few models only: one that keeps a state, one with strides, one that sees a few steps.
IN_PANELS = ("lstm", "conv_gru", "tcn")
PANELS = {
    (scaler, "panel")
    for scaler in ("standard", "window_mean", "window_asinh", "difference", "cycle_standard", "cycle_season")
}
PANELS_FED_BACK = {
    (scaler, "panel_ahead")
    for scaler in ("standard", "window_asinh", "difference_season", "cycle_standard", "cycle_season")
}
CENTRED = {("standard", "plain"), ("window_mean", "rich"), ("window_asinh", "panel"), ("identity", "ahead")}
CENTRED_FED_BACK = {("standard", "ahead"), ("window_last", "plain"), ("window_asinh", "panel_ahead")}
PAIRS = {"seq_to_vector": MANY, "seq_to_seq": MANY, "iterated": FED_BACK}
PAIRS |= dict.fromkeys(("encoder_decoder", "attention", "segments"), FEW)


def fits(backbone: str, readout: str) -> bool:
    """True if the Forecaster accepts the two together, and the table includes them."""
    if (readout in CORRECTING or readout in FOLDED) and backbone not in IN_PANELS:
        return False
    if readout in ("seq_to_seq", "iterated") and backbone in SEE_THE_FUTURE:
        return False
    if readout == "attention" and len(range(STATED[backbone].offset, 20, STATED[backbone].stride)) == 1:
        return False  # one feature per window leaves nothing to choose from
    return not readout.endswith("iterated") or backbone not in STRIDED


def pairs(backbone: str, readout: str) -> list[tuple[str, str]]:
    """The scalers and specs that the two are tried with."""
    panels = PANELS_FED_BACK if readout == "iterated" else PANELS
    if readout in CORRECTING or readout in FOLDED:
        return sorted(CENTRED_FED_BACK if readout.endswith("iterated") else CENTRED)
    return sorted(PAIRS[readout] | (panels if backbone in IN_PANELS else set()))


FORECASTERS = [
    (backbone, readout, scaler, spec)
    for backbone in BACKBONES
    for readout in (*READOUTS, *FOLDED)
    for scaler, spec in pairs(backbone, readout)
    if fits(backbone, readout)
]


def build(backbone: str, readout: str, scaler: str, spec: WindowSpec, head: Head) -> Forecaster:
    """A member of the zoo for any spec; ``readout`` may name a way to fold the rows too."""
    rows = dict(FOLDED.get(readout, {}))
    readout = rows.pop("readout", readout)
    return Forecaster(spec, SCALERS[scaler], BACKBONES[backbone], READOUTS[readout], head, **rows)


def forecaster(backbone: str, readout: str, scaler: str, spec: str, head: str = "huber", seed: int = 0) -> Forecaster:
    """A member of the zoo, built reproducibly, ready for evaluation."""
    torch.manual_seed(seed)
    model = build(backbone, readout, scaler, SPECS[spec], HEADS[head]())
    if getattr(model.readout, "correction", None) is not None:  # it begins with nothing and would keep any law
        torch.nn.init.normal_(model.readout.correction.weight)
    if model.reference is not None:
        torch.nn.init.normal_(model.readout.linear.weight)
        if model.reference.ridge is not None:
            randomise(model.reference.ridge)
    return model.eval()


def randomise(model: ridge.Ridge) -> None:
    """Give a ridge regression random weights, always the same."""
    generator = torch.Generator().manual_seed(0)
    for weights in (model.window_weights, model.ahead_weights):
        weights.copy_(torch.randn(weights.shape, generator=generator, dtype=torch.float64) / 4)


def window(spec: WindowSpec, batch: int = 3, seed: int = 0) -> Window:
    """A random batch that keeps the contract; a tenth of the values is missing where the spec allows it.

    Where there are statics, each window begins seven steps later than the one before: there is nothing in front.
    """
    random = torch.Generator().manual_seed(seed)
    zeros = spec.zeros(batch)
    steps, channels = spec.past_steps + spec.horizon, len(spec.channels)
    observed = torch.ones(batch, steps, channels, dtype=torch.bool)
    if spec.missing:
        observed = torch.rand(batch, steps, channels, generator=random) > 0.1
    begin = 7 * torch.arange(batch)[:, None] * bool(spec.statics)
    inside = (torch.arange(steps) >= begin)[..., None]
    observed &= inside
    values = torch.randn(batch, steps, channels, generator=random).cumsum(1) * observed
    if any(spec.symbols):
        values = columns(spec, spec.channels, values, random) * observed
    past = spec.past_steps
    inputs = Inputs(
        past_target=values[:, :past],
        level=zeros.level,
        past_observed=observed[:, :past],
        past_covariates=columns(spec, spec.past_covariates, zeros.past_covariates, random) * inside[:, :past],
        known_covariates=columns(spec, spec.known_covariates, zeros.known_covariates, random) * inside,
        static=columns(spec, spec.statics, zeros.static, random),
        seasonal_error=torch.rand(batch, channels, generator=random) + 0.5,
        series=torch.arange(batch) % spec.series,
        reset=zeros.reset,
        clock=torch.randint(1000, (batch,), generator=random),
        identity=torch.arange(batch) % spec.series,
    )
    return Window(inputs, Targets(values[:, past:], observed[:, past:]), torch.full((batch,), past - 1))


def columns(spec: WindowSpec, names: tuple[str, ...], like: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Random numbers of the shape of ``like``; for a category, numbers of its values and of none."""
    values = torch.randn(like.shape, generator=random)
    for category in spec.categories:
        if category.column in names:
            kinds = torch.randint(len(category.values) + 1, like.shape[:-1], generator=random)
            values[..., names.index(category.column)] = kinds.float()
    return values
