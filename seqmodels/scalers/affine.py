"""Scalers that shift and divide: by the training span, by nothing, or by each window's own past."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError
from seqmodels.references import last_observed, masked_mean, seasonal_naive
from seqmodels.scalers.base import Scaler, Units
from seqmodels.window import Inputs, Origins, Targets, WindowSpec, every_step

CENTRES = ("mean", "last", "season")
SCALES = ("deviation", "mean_absolute", "seasonal_error")
LEAST = 0.1  # of the seasonal error: below it, what is left of a quiet beginning would blow up everything after it


class Affine(NamedTuple):
    """Scaled = (raw - centre) / scale; forecasts may be centred and scaled otherwise than the past they come from.

    With a ``season`` forecasts are centred on the seasonal naive one. Where they are fed back, that of a lead beyond
    the season is the forecast one season before it, just as in training it was the value.
    """

    past_centre: Tensor  # (B or 1, 1, C)
    past_scale: Tensor  # (B or 1, 1, C), greater than 0
    centre: Tensor  # of forecasts: (B or 1, S or 1, H or 1, C)
    unit: Tensor  # of forecasts: (B or 1, 1, 1, C), greater than 0
    season: int = 0
    season_fed_back: int = 0

    def encode(self, past: Tensor) -> Tensor:
        return (past - self.past_centre) / self.past_scale

    def encode_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        target = every_step(inputs.past_target, targets.target, origins)
        return (target - self.centre) / self.unit

    def decode(self, parameters: Tensor, head: Units) -> Tensor:
        centre = self.centre if self.centre.shape[2] == 1 else self.centre[:, :, : parameters.shape[2]]
        if self.season_fed_back:
            centre = centre + earlier(head.mean(parameters), self.season_fed_back) * self.unit
        return head.rescale(parameters, centre, self.unit)

    def fed_back(self) -> "Affine":
        return self._replace(centre=self.centre[:, -1:], season_fed_back=self.season)

    def as_inputs(self, values: Tensor) -> Tensor:
        return self.encode(values * self.unit[:, 0] + self.centre[:, -1])

    def next_input(self, values: Sequence[Tensor]) -> Tensor:
        lead, season = len(values), self.season_fed_back or len(values)
        total = sum(values[lead - 1 :: -season], torch.zeros_like(values[-1]))
        centre = self.centre[:, -1, min(lead, self.centre.shape[2]) - 1]
        return (total * self.unit[:, 0, 0] + centre - self.past_centre[:, 0]) / self.past_scale[:, 0]


def earlier(values: Tensor, season: int) -> Tensor:
    """Of forecasts (B, S, H, C), for each lead the sum of those one, two, ... seasons before it."""
    horizon = values.shape[2]
    blocks = nn.functional.pad(values, (0, 0, 0, -horizon % season)).unflatten(2, (-1, season))
    return (blocks.cumsum(dim=2) - blocks).flatten(2, 3)[:, :, :horizon]


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

    ``centre``: "mean" or "last" observed value; "season": the mean of one season for the past, and for the forecasts
    the seasonal naive forecast of each origin, which the model then only corrects.
    ``scale``: "deviation", "mean_absolute" (of the centred values), or the series' "seasonal_error", the unit of MASE.

    With forecasts from every step, statistics come from the first ``steps`` steps, and forecasts start behind them;
    with one forecast, from the whole past. Default for ``steps``: a quarter of the window and at least one season,
    or just a season where nothing else is asked of the window (season, seasonal_error).
    """

    per_window = True
    mean: Tensor

    def __init__(self, spec: WindowSpec, centre: str = "mean", scale: str = "deviation", steps: int | None = None):
        super().__init__()
        for name, value, choices in (("centre", centre, CENTRES), ("scale", scale, SCALES)):
            if value not in choices:
                raise InputError(f"model.scaler.{name} is {value!r}; it must be one of {', '.join(choices)}.")
        self.season, self.horizon, self.missing = spec.season, spec.horizon, spec.missing
        self.centre, self.scale = centre, scale
        only_season = centre == "season" and scale == "seasonal_error"
        least = spec.season if only_season else min(spec.past_steps, max(2, spec.season, spec.past_steps // 4))
        self.steps = least if steps is None else steps
        fewest = spec.season if centre == "season" else 1
        if not fewest <= self.steps <= spec.past_steps:
            raise InputError(
                f"model.scaler.steps is {self.steps}; it must be between {fewest} and data.past_steps={spec.past_steps}"
                + (" (model.scaler.centre=season needs a whole season)." if centre == "season" else ".")
            )
        self.register_buffer("mean", torch.tensor(spec.target_statistics.mean), persistent=False)

    def extra_repr(self) -> str:
        return f"centre={self.centre}, scale={self.scale}"

    def burn_in(self, spec: WindowSpec) -> int:
        return self.steps

    def forward(self, inputs: Inputs, origins: Origins) -> Affine:
        last_only = origins.first >= inputs.past_target.shape[1] - 1
        steps = inputs.past_target.shape[1] if last_only else self.steps
        past, observed = inputs.past_target[:, :steps], inputs.past_observed[:, :steps]
        centre = self._centre(past, observed)
        scale = self._scale(past, observed, centre, inputs)
        if self.centre != "season":
            return Affine(centre, scale, centre.unsqueeze(1), scale.unsqueeze(1))
        return Affine(centre, scale, self._seasonal(inputs, origins), scale.unsqueeze(1), self.season)

    def _seasonal(self, inputs: Inputs, origins: Origins) -> Tensor:
        """The seasonal naive forecast, (B, S, H, C); before the first observed value, the training mean."""
        forecast = seasonal_naive(inputs, self.season, self.horizon, origins, self.missing)
        if not self.missing:
            return forecast
        known = (inputs.past_observed.cumsum(dim=1) > 0)[:, origins.first :: origins.stride]
        return torch.where(known.unsqueeze(2), forecast, self.mean)

    def _centre(self, past: Tensor, observed: Tensor) -> Tensor:
        """(B, 1, C) from the observed values among ``past``; the training mean where there is none."""
        if self.centre == "last":
            value = (last_observed(past, observed) if self.missing else past)[:, -1:]
        else:
            span = self.season if self.centre == "season" else past.shape[1]
            past, observed = past[:, -span:], observed[:, -span:]
            value = masked_mean(past, observed)
        return torch.where(observed.any(dim=1, keepdim=True), value, self.mean) if self.missing else value

    def _scale(self, past: Tensor, observed: Tensor, centre: Tensor, inputs: Inputs) -> Tensor:
        """(B, 1, C), at least a tenth of the seasonal error of the series: a constant window must not divide by 0."""
        error = inputs.seasonal_error.unsqueeze(1)
        if self.scale == "seasonal_error":
            return error
        if self.scale == "mean_absolute":
            size = masked_mean((past - centre).abs(), observed)
        else:
            mean = masked_mean(past, observed)
            size = masked_mean((past - mean).square(), observed).sqrt()
        if self.missing:
            size = torch.where(observed.any(dim=1, keepdim=True), size, error)
        return torch.maximum(size, LEAST * error)


def automatic(spec: WindowSpec) -> Scaler:
    """Correct the seasonal naive forecast where the data have a season that fits into the window, else standardise.

    Seasonal data seldom keep their level: a model that says what to add to the last season follows a shift at once,
    where one that learned the level of the training span does not. Where a state is carried from window to window,
    always standardise: the same value must mean the same in each of them.
    """
    if not spec.stateful and 1 < spec.season < spec.past_steps:
        return Window(spec, centre="season", scale="seasonal_error")
    return Standard(spec)
