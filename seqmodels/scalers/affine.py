"""Scalers that shift and divide: by the training span, by nothing, or by the past of each window."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.naive import masked_mean, nearest_observed, observed_by, seasonal_naive
from seqmodels.scalers.base import RescalingHead, Scaler, mean_tensor
from seqmodels.window import ALIGNED, Inputs, Origins, Targets, WindowSpec, every_step


class Cycle(NamedTuple):
    """Cycle that is subtracted from each step in addition to a centre, in raw units."""

    past: Tensor  # (B, T, C)
    ahead: Tensor  # (B, H, C), of the leads from the last origin


class AffineScaling(NamedTuple):
    """Scaled = (raw - centre) / scale, with a centre and scale for the past and others for the forecasts.

    ``season``: forecasts are centred on the seasonal naive forecast. When they are fed back, the centre of a lead
    beyond the season is the forecast one season earlier (in training it was the true value). ``asinh``: also takes
    the inverse hyperbolic sine of the scaled value, which compresses large values. ``cycle``: part of ``centre`` too.
    ``aligned``: where the targets lie, see ``seqmodels.window.ALIGNED``.
    """

    past_centre: Tensor  # (B or 1, 1, C)
    past_scale: Tensor  # (B or 1, 1, C), greater than 0
    centre: Tensor  # of forecasts: (B or 1, S or 1, H or 1, C)
    unit: Tensor  # of forecasts: (B or 1, 1, 1, C), greater than 0
    season: int = 0
    asinh: bool = False
    feedback_season: int = 0
    cycle: Cycle | None = None
    aligned: Callable[[Tensor, Tensor, Origins], Tensor] = every_step

    def transform(self, past: Tensor) -> Tensor:
        return self._scale(past, None if self.cycle is None else self.cycle.past)

    def _scale(self, values: Tensor, cycle: Tensor | None) -> Tensor:
        """Raw values -> on the scale of the past."""
        centred = values - self.past_centre if cycle is None else values - self.past_centre - cycle
        return self._compress(centred / self.past_scale)

    def transform_targets(self, inputs: Inputs, targets: Targets, origins: Origins) -> Tensor:
        if self.centre.shape[1:3] == (1, 1):  # one for all origins and leads: scale once, not S x H times
            centre, unit = self.centre[:, 0], self.unit[:, 0]
            past, future = (self._compress((part - centre) / unit) for part in (inputs.past_target, targets.target))
            return self.aligned(past, future, origins)
        target = self.aligned(inputs.past_target, targets.target, origins)
        return self._compress((target - self.centre) / self.unit)

    def inverse_transform(self, parameters: Tensor, head: RescalingHead) -> Tensor:
        if head.in_data_units and self.feedback_season:
            return self._rescale_by_season(parameters, head)
        parameters = self._expand(parameters)
        centre = self.centre if self.centre.shape[2] == 1 else self.centre[:, :, : parameters.shape[2]]
        if self.feedback_season:
            centre = centre + sum_earlier_seasons(head.mean(parameters), self.feedback_season) * self.unit
        return head.rescale(parameters, centre, self.unit)

    def centred(self, forecast: Tensor, season: int) -> "AffineScaling":
        return self._replace(centre=forecast, season=season)

    def for_feedback(self) -> "AffineScaling":
        return self._replace(centre=self.centre[:, -1:], feedback_season=self.season)

    def as_past(self, values: Tensor) -> Tensor:
        raw = self._expand(values) * self.unit[:, 0] + self.centre[:, -1]
        return self._scale(raw, None if self.cycle is None else self.cycle.ahead[:, : raw.shape[1]])

    def feedback(self, values: Sequence[Tensor]) -> Tensor:
        lead, season = len(values), self.feedback_season or len(values)
        total = sum(map(self._expand, values[lead - 1 :: -season]), torch.zeros_like(values[-1]))
        centre = self.centre[:, -1, min(lead, self.centre.shape[2]) - 1]
        raw = (total * self.unit[:, 0, 0] + centre)[:, None]
        return self._scale(raw, None if self.cycle is None else self.cycle.ahead[:, lead - 1 : lead])[:, 0]

    def next_centre(self, values: Sequence[Tensor]) -> Tensor:
        lead, season = len(values), self.feedback_season
        centre = self.centre[:, -1, min(lead + 1, self.centre.shape[2]) - 1]
        return centre + sum(values[lead - season :: -season]) * self.unit[:, 0, 0] if 0 < season <= lead else centre

    def _rescale_by_season(self, parameters: Tensor, head: RescalingHead) -> Tensor:
        """Season by season, each centred on the forecasts of the season before."""
        centre, parts, season = self.centre, list[Tensor](), self.feedback_season
        for number, part in enumerate(parameters.split(season, dim=2), 1):
            parts.append(head.rescale(part, centre[:, :, : part.shape[2]], self.unit))
            centre = head.mean(parts[-1])
            if self.cycle is not None:  # the season before had other phases of a longer cycle
                now, before = (self.cycle.ahead[:, k * season : (k + 1) * season] for k in (number, number - 1))
                centre = centre[:, :, : now.shape[1]] + (now - before[:, : now.shape[1]])[:, None]
        return torch.cat(parts, dim=2)

    def _compress(self, values: Tensor) -> Tensor:
        return values.asinh() if self.asinh else values

    def _expand(self, values: Tensor) -> Tensor:
        return values.sinh() if self.asinh else values


def sum_earlier_seasons(values: Tensor, season: int) -> Tensor:
    """For each lead of forecasts (B, S, H, C), the sum of the forecasts one, two, ... seasons before it."""
    horizon = values.shape[2]
    blocks = nn.functional.pad(values, (0, 0, 0, -horizon % season)).unflatten(2, (-1, season))
    return (blocks.cumsum(dim=2) - blocks).flatten(2, 3)[:, :, :horizon]


CENTRES = ("mean", "last", "season")
SCALES = ("deviation", "mean_absolute", "seasonal_error")
SMALLEST_SCALE = 0.1  # in seasonal errors: a smaller scale, from a quiet beginning, would blow up all later values


class StandardScaler(Scaler):
    """Subtract the mean of the training span and divide by its deviation, per channel; the same for all series."""

    centres = True
    centre: Tensor
    scale: Tensor

    def __init__(self, spec: WindowSpec):
        super().__init__()
        self.levels, self.aligned = spec.levels, ALIGNED[spec.kind]
        self.register_buffer("centre", mean_tensor(spec), persistent=False)
        scale = torch.tensor(spec.target_statistics.deviation).reshape(1, 1, -1)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, inputs: Inputs, origins: Origins) -> AffineScaling:
        centre = self.less_level(self.centre, inputs)
        return AffineScaling(centre, self.scale, centre.unsqueeze(1), self.scale.unsqueeze(1), aligned=self.aligned)


class IdentityScaler(Scaler):
    """No scaling, for data that already lie around 0 with a deviation around 1.

    ``output_scale`` multiplies the outputs of the network, so that outputs near 1 give forecasts of that size (the
    course's x 100 and x 200). The loss is taken before the multiplication.

    Raises InputError for values that have a level, because a float32 cannot hold them as they are.
    """

    centres = True
    one: Tensor

    def __init__(self, spec: WindowSpec, output_scale: float = 1.0):
        super().__init__()
        if not output_scale > 0:
            raise InputError(f"model.scaler.output_scale is {output_scale}; it must be greater than 0.")
        if spec.levels:
            raise InputError(
                "model/scaler=identity shows values to the model as they are, and float32 cannot hold the small changes"
                " of these large ones; use model/scaler=standard, window or difference."
            )
        self.output_scale, self.aligned = output_scale, ALIGNED[spec.kind]
        self.register_buffer("one", torch.ones(1, 1, len(spec.channels)), persistent=False)

    def forward(self, inputs: Inputs, origins: Origins) -> AffineScaling:
        centre = 0 * self.one
        unit = self.output_scale * self.one.unsqueeze(1)
        return AffineScaling(centre, self.one, centre.unsqueeze(1), unit, aligned=self.aligned)


class WindowScaler(Scaler):
    """Scale each window by its own past, so that series of every level and size look alike.

    ``centre`` of the forecasts: "mean" or "last" observed value, or "season", the seasonal naive forecast of each
    origin, which the model then only corrects. ``past_centre`` of the past: the same choices, where "season" is the
    mean of one season; null: as ``centre``.
    ``season``: steps of the season of a centre, None for that of the data; with 1, it is the last value of each origin.
    ``scale``: "deviation", "mean_absolute" (of the centred past), or "seasonal_error" of the series, the unit of MASE.
    ``asinh``: the inverse hyperbolic sine of the scaled values, which keeps small values and takes the logarithm of
    large ones; only for heads whose parameters are values: point and quantile.

    With a forecast from every step, the statistics come from the first ``steps`` steps, and forecasts start after
    them; with one forecast, from the whole past. Default for ``steps``: a quarter of the window and at least one
    season, or exactly one season if the window needs no other statistics (season, seasonal_error). Missing values are
    left out. If none of these steps was observed, the centre is the first observed value after them, and before that
    value the training mean.
    """

    per_window = True
    centres = True
    mean: Tensor

    def __init__(
        self,
        spec: WindowSpec,
        centre: str = "mean",
        scale: str = "deviation",
        steps: int | None = None,
        past_centre: str | None = None,
        asinh: bool = False,
        season: int | None = None,
    ):
        super().__init__()
        self.centre, self.past_centre, self.scale, self.asinh = centre, past_centre or centre, scale, asinh
        require_choice(CENTRES, "model.scaler", centre=centre, past_centre=self.past_centre)
        require_choice(SCALES, "model.scaler", scale=scale)
        self.in_own_units = not asinh
        if season is not None:
            require_at_least(1, "model.scaler", season=season)
        self.own_season = season is not None
        self.season, self.horizon, self.missing = season or spec.season, spec.horizon, spec.missing
        self.levels, self.aligned = spec.levels, ALIGNED[spec.kind]
        self.steps = self._default_steps(spec) if steps is None else steps
        seasonal = "season" in (centre, self.past_centre)
        fewest = self.season if seasonal else 1
        if not fewest <= self.steps <= spec.past_steps:
            raise InputError(
                f"model.scaler.steps is {self.steps}; it must be between {fewest} and data.past_steps={spec.past_steps}"
                + (" (a centre of a season needs a whole one)." if seasonal else ".")
            )
        self.register_buffer("mean", mean_tensor(spec), persistent=False)

    def extra_repr(self) -> str:
        past = f", past_centre={self.past_centre}" if self.past_centre != self.centre else ""
        season = f", season={self.season}" if self.own_season else ""
        return f"centre={self.centre}{past}, scale={self.scale}{season}" + (", asinh" if self.asinh else "")

    def burn_in(self, spec: WindowSpec) -> int:
        return self.steps

    def forward(self, inputs: Inputs, origins: Origins) -> AffineScaling:
        last_only = origins.first >= inputs.past_target.shape[1] - 1
        steps = inputs.past_target.shape[1] if last_only else self.steps
        past_centre = self._centre(self.past_centre, inputs, steps)
        scale = self._scale(inputs, steps, past_centre)
        centre = self._forecast_centre(inputs, origins, steps, past_centre)
        season = self.season if self.centre == "season" else 0
        return AffineScaling(past_centre, scale, centre, scale.unsqueeze(1), season, self.asinh, aligned=self.aligned)

    def _default_steps(self, spec: WindowSpec) -> int:
        """Number of steps for the statistics if ``steps`` is not given."""
        only_season = self.centre == "season" and self.past_centre != "mean" and self.scale == "seasonal_error"
        return self.season if only_season else min(spec.past_steps, max(2, self.season, spec.past_steps // 4))

    def _forecast_centre(self, inputs: Inputs, origins: Origins, steps: int, past_centre: Tensor) -> Tensor:
        """Centre of the forecasts, (B, S or 1, H or 1, C); the training mean before the first observed value."""
        if self.centre == "season":
            centre = seasonal_naive(inputs, self.season, self.horizon, origins, self.missing)
        elif self.centre == self.past_centre:
            centre = past_centre.unsqueeze(1)
        else:
            centre = self._centre(self.centre, inputs, steps).unsqueeze(1)
        if not self.missing:
            return centre
        mean = self.less_level(self.mean, inputs).unsqueeze(1)
        return torch.where(observed_by(inputs.past_observed, origins), centre, mean)

    def _centre(self, kind: str, inputs: Inputs, steps: int) -> Tensor:
        """(B, 1, C) from the observed values among the first ``steps`` steps."""
        past, observed = inputs.past_target[:, :steps], inputs.past_observed[:, :steps]
        if not self.missing and kind == "last":
            return past[:, -1:]
        span = slice(-self.season, None) if kind == "season" else slice(None)
        mean = masked_mean(past[:, span], observed[:, span])
        if not self.missing:
            return mean
        otherwise = self.less_level(self.mean, inputs)
        nearest = nearest_observed(inputs.past_target, inputs.past_observed, steps, otherwise)
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
        return torch.maximum(size, SMALLEST_SCALE * error)


SEASONAL = 0.95  # error of the last season, in units of that of the last value, below which it is the better centre
DRIFTING = 0.95  # error of the training mean, in the same units, above which values do not come back to it


class ScalerChoice(NamedTuple):
    """A class of scalers with its arguments, and the reason."""

    kind: type[Scaler]
    arguments: dict[str, Any]
    reason: str

    def node(self) -> dict[str, Any]:
        """The scaler as a node of a config."""
        return {"_target_": f"{self.kind.__module__}.{self.kind.__qualname__}", "_partial_": True, **self.arguments}


def choose_scaler(spec: WindowSpec, corrected: bool = False) -> Scaler:
    """The scaler that suits the data; ``corrected``: True if the readout names the forecast to be corrected.

    If a season of the data fits into the window and forecasts the training rows better than the last value, the model
    corrects the seasonal naive forecast, or, where another forecast is corrected, sees each window standardised by its
    own mean and deviation. Otherwise, if the level drifts, as that of a random walk or of a trend, it
    corrects the last value. Otherwise values are standardised: each window by its own past if the series differ in
    size, else by the whole training span.

    Seasonal data seldom keep their level: a model that corrects the last season follows a shift at once, a model that
    learned the level of the training span does not. If a state is carried from window to window, values are always
    standardised by the training span, because the same value must mean the same in every window.
    """
    chosen = suitable_scaler(spec, corrected)
    return chosen.kind(spec, **chosen.arguments)


def suitable_scaler(spec: WindowSpec, corrected: bool = False) -> ScalerChoice:
    """The choice of ``choose_scaler``."""
    if spec.stateful:
        return ScalerChoice(StandardScaler, {}, "a state is kept from window to window")
    if spec.labels:
        return ScalerChoice(StandardScaler, {}, "the level of a sequence may tell its label")
    if spec.kind == "past":
        return ScalerChoice(WindowScaler, {}, "a gap is filled from what is around it")
    if 1 < spec.season < spec.past_steps and spec.season_error < SEASONAL:
        reason = f"the last season forecasts with {spec.season_error:.2f} of the error of the last value"
        seasonal = {"centre": "season", "scale": "seasonal_error"}
        return ScalerChoice(WindowScaler, {"scale": "deviation"} if corrected else seasonal, reason)
    if spec.mean_error > DRIFTING:
        reason = f"the level drifts: the mean forecasts with {spec.mean_error:.2f} times the error of the last value"
        return ScalerChoice(WindowScaler, {"centre": "season", "scale": "seasonal_error", "season": 1}, reason)
    reason = f"values return to their mean, which forecasts with {spec.mean_error:.2f} of the error of the last value"
    if spec.sizes_differ:
        return ScalerChoice(WindowScaler, {"scale": "mean_absolute"}, f"{reason}, and the series differ in size")
    return ScalerChoice(StandardScaler, {}, reason)
