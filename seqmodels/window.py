"""The contract between data and models: windows, and the description of all of them.

Legend, one for the whole project: B windows in a batch, T past steps, H horizon, C target channels,
U covariates known only up to now, K covariates known ahead, V static numbers, F encoded input
features, D backbone width, S origins that carry a forecast, P numbers per predicted value.
Layout is batch, time, channel everywhere. This file depends on torch and ``seqmodels.errors`` only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError


class Statistics(NamedTuple):
    """Mean and standard deviation per column over the training span; the deviation is never 0.

    ``shift`` is subtracted from covariates too large for float32 before they become that, and from their ``mean``;
    empty where there are none.
    """

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    @property
    def raw_mean(self) -> tuple[float, ...]:
        """Mean of the columns in raw units."""
        return tuple(map(sum, zip(self.mean, self.shift, strict=True))) if self.shift else self.mean


ONE_HOT = 20  # a category of more values than this is embedded


class Category(NamedTuple):
    """A covariate that names one of ``values``: a window holds the number of the value, from 1 on, as a float32.

    0 says that the value is unknown: not given, or never seen in the training span.
    """

    column: str
    values: tuple[str, ...]
    shares: tuple[float, ...]  # how often each value occurs in the training span, of all its rows

    @property
    def width(self) -> int:
        """Numbers that stand for one value in the input: one for each value, or the size of an embedding.

        The size is the rule of fast.ai's tabular models, 1.6 n^0.56, at most 50.
        """
        return len(self.values) if len(self.values) <= ONE_HOT else min(50, round(1.6 * len(self.values) ** 0.56))


class WindowSpec(NamedTuple):
    """Description of the data that a model is built from, before it sees a window; primitives only.

    ``season``: the seasonal period in steps (1 = no season). ``missing``: True if values of the target may be
    unobserved; models then get the mask as further input features. ``stateful``: True if training windows continue one
    another where ``Inputs.reset`` is False; evaluation then gives ``ConsecutiveWindows``. ``sizes_differ``: True if the
    seasonal errors of the series lie more than tenfold apart. ``levels``: True if ``Inputs.level`` may differ from 0.
    ``kind``: position of the targets, see ``ALIGNED``. ``labels``: names of the predicted values if it is not "ahead",
    numbers, or the number of a category, from 1 on: one value of each for a whole "sequence", or for each "step"; if it
    is "next", the value of the channels of the same names one step later. If it is "past", targets are hidden values of
    the window itself, H = T, and all covariates are ``past_covariates``. ``ragged``: True if sequences of different
    length share a batch, padded on the right with unobserved steps; each ends with its last observed step.
    A channel in ``categories`` holds symbols: the number of a category, from 1 on, 0 where unknown.
    ``season_error`` and ``mean_error`` are mean absolute errors in the training rows, in units of the error of the last
    value: of the last season over the horizon, of the mean over a window; 0 = not measured, as by earlier versions.
    """

    past_steps: int
    horizon: int
    channels: tuple[str, ...] = ("y",)
    past_covariates: tuple[str, ...] = ()
    known_covariates: tuple[str, ...] = ()
    statics: tuple[str, ...] = ()
    series: int = 1
    season: int = 1
    missing: bool = False
    stateful: bool = False
    sizes_differ: bool = False
    levels: bool = False
    season_error: float = 0.0
    mean_error: float = 0.0
    clock: bool = False  # True if times tell the number of each step, see ``Inputs.clock``
    nonnegative: tuple[bool, ...] = ()  # True for channels without a negative value in the training rows
    categories: tuple[Category, ...] = ()  # those of the covariates and statics that are no numbers
    target_statistics: Statistics = Statistics((0.0,), (1.0,))
    past_statistics: Statistics = Statistics()
    known_statistics: Statistics = Statistics()
    static_statistics: Statistics = Statistics()
    kind: str = "ahead"
    labels: tuple[str, ...] = ()
    label_statistics: Statistics = Statistics()  # 0 and 1 for categories
    ragged: bool = False

    @property
    def ahead(self) -> bool:
        """True if the targets are the next values of the channels: a forecast."""
        return self.kind == "ahead"

    @property
    def per_step(self) -> bool:
        """True if each past step has targets of its own, (B, T, L)."""
        return self.kind in PER_STEP

    @property
    def beyond(self) -> bool:
        """True if targets lie after their origin, so that the model must not see the steps after it."""
        return self.kind in BEYOND

    @property
    def predicted(self) -> tuple[str, ...]:
        """Names of the predicted values: the channels, or labels."""
        return self.labels or self.channels

    @property
    def symbols(self) -> tuple[bool, ...]:
        """True for each channel that holds the number of a category."""
        names = {category.column for category in self.categories}
        return tuple(channel in names for channel in self.channels)

    @property
    def classes(self) -> tuple[tuple[str, ...], ...]:
        """Classes of each label; of a number, and without labels, none."""
        values = {category.column: category.values for category in self.categories}
        return tuple(values.get(label, ()) for label in self.labels)

    def aligned(self, past: Tensor, targets: Tensor, origins: "Origins") -> Tensor:
        """Targets of each origin, (B, S, H, predicted); values and masks alike."""
        return ALIGNED[self.kind](past, targets, origins)

    @property
    def features(self) -> int:
        """F, the number of encoded input features per time step (see ``seqmodels.features``)."""
        mask = len(self.channels) if self.missing else 0
        columns = (self.channels, self.past_covariates, self.known_covariates, self.statics)
        return mask + sum(map(self.encoded, columns))

    @property
    def shifts(self) -> dict[str, float]:
        """Numbers subtracted from covariates before they become float32, by name."""
        columns = (self.past_covariates, self.known_covariates, self.statics)
        statistics = (self.past_statistics, self.known_statistics, self.static_statistics)
        pairs = (zip(names, one.shift, strict=False) for names, one in zip(columns, statistics, strict=True))
        return {name: shift for both in pairs for name, shift in both if shift}

    def encoded(self, columns: tuple[str, ...]) -> int:
        """Number of input features of these columns; a category takes its ``width``."""
        widths = {category.column: category.width for category in self.categories}
        return sum(widths.get(column, 1) for column in columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of lists and primitives, as a checkpoint stores it."""
        plain = self._asdict()
        for key, value in plain.items():
            if isinstance(value, Statistics):
                plain[key] = {name: list(numbers) for name, numbers in value._asdict().items()}
            elif isinstance(value, tuple):
                plain[key] = list(value)
        plain["categories"] = [
            {"column": one.column, "values": list(one.values), "shares": list(one.shares)} for one in self.categories
        ]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "WindowSpec":
        """Inverse of ``to_dict``."""
        fields: dict[str, Any] = {}
        for key, value in plain.items():
            if isinstance(value, dict):
                value = Statistics(**{name: tuple(numbers) for name, numbers in value.items()})
            fields[key] = tuple(value) if isinstance(value, list) else value
        fields["categories"] = tuple(
            Category(one["column"], tuple(one["values"]), tuple(one["shares"])) for one in plain.get("categories", ())
        )
        return cls(**fields)

    def zeros(self, batch: int = 1) -> "Inputs":
        """Legal inputs of this spec: all zero, everything observed, fresh state."""
        past, horizon, channels = self.past_steps, self.horizon, len(self.channels)
        return Inputs(
            past_target=torch.zeros(batch, past, channels),
            level=torch.zeros(1, 1, dtype=torch.float64).expand(batch, channels),
            past_observed=torch.ones(batch, past, channels, dtype=torch.bool),
            past_covariates=torch.zeros(batch, past, len(self.past_covariates)),
            known_covariates=torch.zeros(batch, past + horizon, len(self.known_covariates)),
            static=torch.zeros(batch, len(self.statics)),
            seasonal_error=torch.ones(batch, channels),
            series=torch.zeros(batch, dtype=torch.int64),
            reset=torch.ones(batch, dtype=torch.bool),
            clock=torch.zeros(batch, dtype=torch.int64),
            identity=torch.zeros(batch, dtype=torch.int64),
        )


class Inputs(NamedTuple):
    """Input of a model at forecast time, in raw units; absent parts have width 0, never None.

    ``level`` is a constant of each window and channel that was subtracted from its past and targets before these became
    float32, so that 1e9 + 70 keeps its last digits. Models forecast without it; whoever shows or writes a value adds
    it, in float64. It is 0 where float32 holds the changes from step to step well.
    """

    past_target: Tensor  # (B, T, C) float32, finite, less ``level``; 0 where not observed
    level: Tensor  # (B, C) float64
    past_observed: Tensor  # (B, T, C) bool, True = measured; False also before the beginning of a short series
    past_covariates: Tensor  # (B, T, U) float32, known up to the origin; a category is its number
    known_covariates: Tensor  # (B, T+H, K) float32, the only thing from the future
    static: Tensor  # (B, V) float32
    seasonal_error: Tensor  # (B, C) float32, mean |y(t) - y(t - season)| of the series, never 0
    series: Tensor  # (B,) int64, index of the series
    reset: Tensor  # (B,) bool, True = forget state before this window
    clock: Tensor  # (B,) int64, number of the time step of the last past step, on a clock that all tables of the data
    # share; counted from the first row of each series where ``WindowSpec.clock`` is False
    identity: Tensor  # (B,) int64, index of the series in the training data; -1 for one that training has not seen


class Targets(NamedTuple):
    """The future, in raw units less ``Inputs.level``; seen by loss and metrics only."""

    target: Tensor  # (B, H, C) float32, 0 where not observed; labels: (B, 1, L), or (B, T, L) of each step
    observed: Tensor  # (B, H, C) bool, True = counts


class Window(NamedTuple):
    """One batch of windows; ``origin`` is the row of the last past step: provenance, never a feature."""

    inputs: Inputs
    targets: Targets
    origin: Tensor  # (B,) int64


class Rows(NamedTuple):
    """The whole series that windows are cut from, for models that read more than their windows.

    Series i is rows ``offsets[i]:offsets[i + 1]``, and ``start[i]:stop[i]`` of them may be used to fit a model.
    """

    target: Tensor  # (rows, C) in raw units, with the level; 0 where not observed
    observed: Tensor  # (rows, C) bool
    known_covariates: Tensor  # (rows, K)
    time: Tensor  # (rows,) int64, ascending; the number of the row within its series where there is no time
    offsets: Tensor  # (series + 1,) int64
    start: Tensor  # (series,) int64
    stop: Tensor  # (series,) int64
    trained: Tensor  # (series,) int64, number of the series in the training data, -1 if it was not in it


class ConsecutiveWindows(NamedTuple):
    """Evaluation with a carried state: consecutive origins of each series, in blocks that continue one another.

    The last n past steps are the origins. Before them come, in the first block of a series, the steps that the state
    has not read yet, in others the T - 1 steps that complete the window of the first origin, which the state has read.
    """

    inputs: Inputs  # past of any length P, the same for all series; reset is True in the first block
    targets: Targets  # the H steps after the last origin
    new: int  # how many of the P past steps, at their end, the state has not read yet
    counted: Tensor  # (B, n) bool; False behind the last origin of a series, where values are only there to fill
    origin: Tensor  # (B, n) int64, as in Window


class Origins(NamedTuple):
    """The past steps from which forecasts start: ``range(first, past_steps, stride)``.

    A valid convolution of kernel k and stride s before the backbone gives first = k - 1 and
    stride = s, so its targets are the book's ``Y[:, k-1::s]``; this rule is the only crop there is.
    """

    first: int
    stride: int

    def of(self, steps: int) -> range:
        """The time indices within a window of ``steps`` past steps."""
        return range(self.first, steps, self.stride)


class Output(NamedTuple):
    """Result of a model: of ``forward``, ``loss`` and ``step`` alike."""

    forecast: Tensor | None = None  # (B, S, H, C, P) in raw units less the level; from ``loss`` only if asked for
    state: Any = None  # after the last past step, without gradient; None for models that carry no state
    loss: Tensor | None = None  # scalar
    weight: Tensor | int = 0  # number of values that the loss is the mean of
    members: Tensor | None = None  # (M, B, S, H, C, P), forecasts of the members of an ensemble; None for one model


class AbstractForecaster(nn.Module, ABC):
    """Contract of everything that can be trained, measured and drawn: raw windows in, forecasts in raw units out.

    Both are less ``Inputs.level``.
    """

    spec: WindowSpec
    head: Any  # a ``seqmodels.heads.base.Head``: ``model.head.mean(output.forecast)`` gives (B, S, H, C)
    progress: float = 0.0  # share of the training that is done, set before each step
    rows: Rows | None = None  # what the windows of ``forecast_windows`` and a fit in closed form are cut from
    notes: tuple[str, ...] = ()  # remarks for the user on the forecasts so far
    origins: Origins  # the past steps that carry a forecast; the last one is always the last past step
    kinds: tuple[str, ...] = ("ahead",)  # of targets, see ``ALIGNED``
    why_stateless: str = "it reads each window by itself"  # why no state can be carried; "" if one can

    @property
    def singles(self) -> "list[AbstractForecaster]":
        """The members of an ensemble; a single model is its only one."""
        return [self]

    @property
    def nonnegative(self) -> tuple[bool, ...]:
        """True for each channel whose forecasts are at least 0 where they leave the model; empty: none."""
        return self.spec.nonnegative

    @abstractmethod
    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        """Forecasts from every origin; ``state`` continues earlier windows where the model can carry one."""

    def forecast_windows(self, window: Window) -> Output:
        """Forecasts of windows from ``rows``; a model may read all rows before each origin."""
        return self(window.inputs)

    @abstractmethod
    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        """Training loss, the mean over all observed values; also the forecasts if ``forecast``.

        ``mask`` (B, S) bool: origins that count; None: all of them.
        """

    def seen(self, inputs: Inputs) -> Inputs:
        """Inputs as the parts that are fitted in closed form read them."""
        return inputs

    def draw(self, inputs: Inputs, generator: torch.Generator | None = None) -> Tensor:
        """One possible future of each window, (B, H, C); by default, each lead is drawn by itself."""
        return self.head.sample(self(inputs).forecast[:, -1], 1, generator)[0]


Sample = Callable[[str, int], Iterable[Window]]  # (stage, most) -> batches of at most so many windows of the stage


@runtime_checkable
class ClosedForm(Protocol):
    """A forecaster without weights to train step by step, whose buffers one pass over training windows determines."""

    def fit_closed_form(self, sample: Sample) -> None:
        """Fit to windows of the stage "train"; those of "validation" may choose settings."""


def every_step(past: Tensor, future: Tensor, origins: Origins) -> Tensor:
    """The next H values seen from every origin: (B,T,C), (B,H,C) -> (B,S,H,C), a view without copies.

    At origin t it holds the values at t+1 ... t+H; works for values and masks alike.
    """
    horizon = future.shape[1]
    windows = torch.cat([past, future], dim=1).unfold(1, horizon, 1)  # (B, T+1, C, H)
    return windows[:, origins.first + 1 :: origins.stride].transpose(2, 3)


def in_place(past: Tensor, targets: Tensor, origins: Origins) -> Tensor:
    """Labels of whole sequences (B, 1, L), or the window itself (B, T, C), beside the only origin: (B, 1, H, ...)."""
    return targets.unsqueeze(1)


def labels_of_steps(past: Tensor, targets: Tensor, origins: Origins) -> Tensor:
    """The labels of each step, (B, T, L), beside the origin at that step: (B, S, 1, L)."""
    return targets[:, origins.first :: origins.stride].unsqueeze(2)


# Where the targets lie, by ``WindowSpec.kind``: (past, targets, origins) -> (B, S, H, predicted)
ALIGNED: dict[str, Callable[[Tensor, Tensor, Origins], Tensor]] = {
    "ahead": every_step,
    "sequence": in_place,
    "past": in_place,
    "step": labels_of_steps,
    "next": labels_of_steps,
}
PER_STEP = ("step", "next")  # kinds with targets beside each past step
BEYOND = ("ahead", "next")  # kinds whose targets lie after their origin


def measured(values: Tensor, window: Window, spec: WindowSpec) -> tuple[Tensor, Inputs, Targets]:
    """Values and truth to be measured: (B, S, H, ...) -> (B, H, ...) of the last origin, and the targets of each
    window.

    Where each step has targets, each labelled step counts as a window of its own, (N, 1, ...).
    """
    inputs, targets, _ = window
    if not spec.per_step:
        return values[:, -1], inputs, targets
    batch, step = targets.observed.any(dim=-1).nonzero(as_tuple=True)
    chosen = Targets(targets.target[batch, step].unsqueeze(1), targets.observed[batch, step].unsqueeze(1))
    return values[batch, step], Inputs(*(field[batch] for field in inputs)), chosen


def check(window: Window, spec: WindowSpec) -> None:
    """Raise ``InputError`` unless every field of the window has the shape, type and values promised."""
    inputs, targets, origin = window
    batch = len(origin)
    zeros = spec._replace(past_steps=inputs.past_target.shape[1]).zeros(batch) if spec.ragged else spec.zeros(batch)
    for name, wanted in zeros._asdict().items():
        given = getattr(inputs, name)
        if given.shape != wanted.shape or given.dtype != wanted.dtype:
            raise InputError(
                f"inputs.{name} is {given.dtype}{tuple(given.shape)};"
                f" the spec wants {wanted.dtype}{tuple(wanted.shape)}."
            )
        if given.dtype.is_floating_point and not torch.isfinite(given).all():
            raise InputError(
                f"inputs.{name} holds a value that is not finite; unobserved values must be 0 with a False mask."
            )
    steps = inputs.past_target.shape[1] if spec.per_step else spec.horizon
    shape = (batch, steps, len(spec.predicted))
    if targets.target.shape != shape or targets.observed.shape != shape:
        raise InputError(
            f"targets are {tuple(targets.target.shape)} and {tuple(targets.observed.shape)}; the spec wants {shape}."
        )
    if not torch.isfinite(targets.target).all():
        raise InputError(
            "targets.target holds a value that is not finite; unobserved values must be 0 with a False mask."
        )
    if (inputs.seasonal_error <= 0).any():
        raise InputError("inputs.seasonal_error must be greater than 0: it is a unit of measurement.")
