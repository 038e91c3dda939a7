"""Scalers that shift and divide: by the training span, by nothing, or by the past of each window."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_choice
from seqmodels.naive import begun, masked_mean, nearest_observed, seasonal_naive
from seqmodels.scalers.base import Scaler, Units
from seqmodels.window import Inputs, Origins, Targets, WindowSpec, every_step


class Affine(NamedTuple):
    """Scaled = (raw - centre) / scale; forecasts may be centred and scaled otherwise than the past they come from.

    With a ``season`` forecasts are centred on the seasonal naive one. Where they are fed back, that of a lead beyond
    the season is the forecast one season before it, just as in training it was the value. With ``asinh`` the inverse
    hyperbolic sine of all that is taken, which shrinks large values.
    """

    past_centre: Tensor  # (B or 1, 1, C)
    past_scale: Tensor  # (B or 1, 1, C), greater than 0
    centre: Tensor  # of forecasts: (B or 1, S or 1, H or 1, C)
    unit: Tensor  # of forecasts: (B or 1, 1, 1, C), greater than 0
    season: int = 0
    asinh: bool = False
    season_fed_back: int = 0

    def encode(self, past: Tensor) -> Tensor:
        return self._shrunk((past - self.past_centre) / self.past_scale)

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        if self.centre.shape[1:3] == (1, 1):  # alike for all origins and leads: once, rather than S x H times
            centre, unit = self.centre[:, 0], self.unit[:, 0]
            past, future = (self._shrunk((part - centre) / unit) for part in (inputs.past_target, targets.target))
            return every_step(past, future, origins)
        target = every_step(inputs.past_target, targets.target, origins)
        return self._shrunk((target - self.centre) / self.unit)

    def decode(self, parameters: Tensor, head: Units) -> Tensor:
        parameters = self._stretched(parameters)
        centre = self.centre if self.centre.shape[2] == 1 else self.centre[:, :, : parameters.shape[2]]
        if self.season_fed_back:
            centre = centre + earlier(head.mean(parameters), self.season_fed_back) * self.unit
        return head.rescale(parameters, centre, self.unit)

    def fed_back(self) -> "Affine":
        return self._replace(centre=self.centre[:, -1:], season_fed_back=self.season)

    def as_inputs(self, values: Tensor) -> Tensor:
        return self.encode(self._stretched(values) * self.unit[:, 0] + self.centre[:, -1])

    def next_input(self, values: Sequence[Tensor]) -> Tensor:
        lead, season = len(values), self.season_fed_back or len(values)
        total = sum(map(self._stretched, values[lead - 1 :: -season]), torch.zeros_like(values[-1]))
        centre = self.centre[:, -1, min(lead, self.centre.shape[2]) - 1]
        return self._shrunk((total * self.unit[:, 0, 0] + centre - self.past_centre[:, 0]) / self.past_scale[:, 0])

    def _shrunk(self, values: Tensor) -> Tensor:
        return values.asinh() if self.asinh else values

    def _stretched(self, values: Tensor) -> Tensor:
        return values.sinh() if self.asinh else values


def earlier(values: Tensor, season: int) -> Tensor:
    """Of forecasts (B, S, H, C), for each lead the sum of those one, two, ... seasons before it."""
    horizon = values.shape[2]
    blocks = nn.functional.pad(values, (0, 0, 0, -horizon % season)).unflatten(2, (-1, season))
    return (blocks.cumsum(dim=2) - blocks).flatten(2, 3)[:, :, :horizon]


CENTRES = ("mean", "last", "season")
SCALES = ("deviation", "mean_absolute", "seasonal_error")
LEAST = 0.1  # of the seasonal error: below it, what is left of a quiet beginning would blow up everything after it


class Standard(Scaler):
    """Subtract the mean of the training span and divide by its deviation, per channel, the same for all series."""

    centre: Tensor
    scale: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__()
        mean, deviation = spec.target_statistics
        self.register_buffer("centre", torch.tensor(mean).reshape(1, 1, -1), persistent=False)
        self.register_buffer("scale", torch.tensor(deviation).reshape(1, 1, -1), persistent=False)

    def forward(self, inputs: Inputs, origins: Origins) -> Affine:
        return Affine(self.centre, self.scale, self.centre.unsqueeze(1), self.scale.unsqueeze(1))


class Identity(Scaler):
    """Raw units throughout: for data that already lie around 0 with a deviation around 1.

    ``output_scale`` multiplies what the network gives, so that units near 1 reach forecasts of that size (the
    course's x 100 and x 200). The loss sees what the network gives, before it is multiplied.
    """

    one: Tensor

    def __init__(self, spec: WindowSpec, output_scale: float = 1.0):
        super().__init__()
        if not output_scale > 0:
            raise InputError(f"model.scaler.output_scale is {output_scale}; it must be greater than 0.")
        self.output_scale = output_scale
        self.register_buffer("one", torch.ones(1, 1, len(spec.channels)), persistent=False)

    def forward(self, inputs: Inputs, origins: Origins) -> Affine:
        centre = 0 * self.one
        return Affine(centre, self.one, centre.unsqueeze(1), self.output_scale * self.one.unsqueeze(1))


class Window(Scaler):
    """Scale each window by its own past, so that series of every level and size look alike.

    ``centre`` of forecasts: "mean" or "last" observed value, or "season": the seasonal naive forecast of each origin,
    which the model then only corrects. ``past_centre``, what is subtracted from the past: the same, where "season" is
    the mean of one season; null: as ``centre``.
    ``scale``: "deviation", "mean_absolute" (of the centred past), or the series' "seasonal_error", the unit of MASE.
    ``asinh``: of what is scaled the inverse hyperbolic sine is taken, which leaves small values as they are and makes
    logarithms of large ones; only for heads of one number per value.

    With forecasts from every step, statistics come from the first ``steps`` steps, and forecasts start behind them;
    with one forecast, from the whole past. Default for ``steps``: a quarter of the window and at least one season,
    or just a season where nothing else is asked of the window (season, seasonal_error). What was not observed takes no
    part; where nothing was, the first observed value after them is the centre, and before it the training mean.
    """

    per_window = True
    mean: Tensor

    def __init__(
        self,
        spec: WindowSpec,
        centre: str = "mean",
        scale: str = "deviation",
        steps: int | None = None,
        past_centre: str | None = None,
        asinh: bool = False,
    ):
        super().__init__()
        self.centre, self.past_centre, self.scale, self.asinh = centre, past_centre or centre, scale, asinh
        require_choice(CENTRES, "model.scaler", centre=centre, past_centre=self.past_centre)
        require_choice(SCALES, "model.scaler", scale=scale)
        self.in_own_units = not asinh
        self.season, self.horizon, self.missing = spec.season, spec.horizon, spec.missing
        self.steps = self._least(spec) if steps is None else steps
        seasonal = "season" in (centre, self.past_centre)
        fewest = spec.season if seasonal else 1
        if not fewest <= self.steps <= spec.past_steps:
            raise InputError(
                f"model.scaler.steps is {self.steps}; it must be between {fewest} and data.past_steps={spec.past_steps}"
                + (" (a centre of a season needs a whole one)." if seasonal else ".")
            )
        self.register_buffer("mean", torch.tensor(spec.target_statistics.mean), persistent=False)

    def extra_repr(self) -> str:
        past = f", past_centre={self.past_centre}" if self.past_centre != self.centre else ""
        return f"centre={self.centre}{past}, scale={self.scale}" + (", asinh" if self.asinh else "")

    def burn_in(self, spec: WindowSpec) -> int:
        return self.steps

    def forward(self, inputs: Inputs, origins: Origins) -> Affine:
        last_only = origins.first >= inputs.past_target.shape[1] - 1
        steps = inputs.past_target.shape[1] if last_only else self.steps
        past_centre = self._centre(self.past_centre, inputs, steps)
        scale = self._scale(inputs, steps, past_centre)
        centre = self._reference(inputs, origins, steps, past_centre)
        season = self.season if self.centre == "season" else 0
        return Affine(past_centre, scale, centre, scale.unsqueeze(1), season, self.asinh)

    def _least(self, spec: WindowSpec) -> int:
        """Steps that give the statistics, unless the user says otherwise."""
        only_season = self.centre == "season" and self.past_centre != "mean" and self.scale == "seasonal_error"
        return spec.season if only_season else min(spec.past_steps, max(2, spec.season, spec.past_steps // 4))

    def _reference(self, inputs: Inputs, origins: Origins, steps: int, past_centre: Tensor) -> Tensor:
        """What forecasts are centred on, (B, S or 1, H or 1, C); before the first observed value, the training mean."""
        if self.centre == "season":
            reference = seasonal_naive(inputs, self.season, self.horizon, origins, self.missing)
        elif self.centre == self.past_centre:
            reference = past_centre.unsqueeze(1)
        else:
            reference = self._centre(self.centre, inputs, steps).unsqueeze(1)
        return torch.where(begun(inputs.past_observed, origins), reference, self.mean) if self.missing else reference

    def _centre(self, kind: str, inputs: Inputs, steps: int) -> Tensor:
        """(B, 1, C) from the observed values among the first ``steps`` steps."""
        past, observed = inputs.past_target[:, :steps], inputs.past_observed[:, :steps]
        if not self.missing and kind == "last":
            return past[:, -1:]
        span = slice(-self.season, None) if kind == "season" else slice(None)
        mean = masked_mean(past[:, span], observed[:, span])
        if not self.missing:
            return mean
        nearest = nearest_observed(inputs.past_target, inputs.past_observed, steps, self.mean)
        return nearest if kind == "last" else torch.where(observed[:, span].any(dim=1, keepdim=True), mean, nearest)

    def _scale(self, inputs: Inputs, steps: int, centre: Tensor) -> Tensor:
        """(B, 1, C), at least a tenth of the seasonal error of the series: a constant window must not divide by 0."""
        error = inputs.seasonal_error.unsqueeze(1)
        if self.scale == "seasonal_error":
            return error
        past, observed = inputs.past_target[:, :steps], inputs.past_observed[:, :steps]
        if self.scale == "mean_absolute":
            size = masked_mean((past - centre).abs(), observed)
        else:
            mean = masked_mean(past, observed)
            size = masked_mean((past - mean).square(), observed).sqrt()
        if self.missing:
            size = torch.where(observed.sum(dim=1, keepdim=True) > 1, size, error)  # a single value has no spread
        return torch.maximum(size, LEAST * error)


def automatic(spec: WindowSpec) -> Scaler:
    """Correct the seasonal naive forecast where the data have a season that fits into the window, else standardise: by
    the whole training span, or each window by its own past where series differ in size.

    Seasonal data seldom keep their level: a model that says what to add to the last season follows a shift at once,
    where one that learned the level of the training span does not. Where a state is carried from window to window,
    always standardise: the same value must mean the same in each of them.
    """
    if not spec.stateful and 1 < spec.season < spec.past_steps:
        return Window(spec, centre="season", scale="seasonal_error")
    if not spec.stateful and spec.sizes_differ:
        return Window(spec, scale="mean_absolute")
    return Standard(spec)
