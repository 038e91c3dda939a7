"""Predictions of a trained model: mean, quantiles and sample paths, within the range of the data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqmodels.errors import InputError, require_at_least
from seqmodels.inference.calibration import Calibration, centre_and_unit
from seqmodels.window import AbstractForecaster, Inputs

MOST_WINDOWS = 8192  # copies of windows that are forecast at once


def predict(
    model: AbstractForecaster,
    forecast: Tensor,
    inputs: Inputs,
    calibration: Calibration | None,
    levels: Sequence[float],
) -> tuple[Tensor, Tensor | None]:
    """Mean (B, H, C), less the level, and quantiles (B, H, C, Q) in float64, with the level.

    ``forecast`` (B, H, C, P): from the last origin. With a ``calibration``, quantiles are conformal; without one they
    are those of the head, and None for a point forecast. Nothing is below 0 where ``model.nonnegative`` says so.
    """
    level, head = inputs.level[:, None], model.head
    mean, quantiles = head.mean(forecast), None
    if calibration is not None:
        centre, unit = centre_and_unit(head, forecast, inputs)
        quantiles = calibration.quantiles(centre.double() + level, unit.double(), levels)
    elif head.distribution:
        if not all(0 < one < 1 for one in levels):
            raise InputError(f"levels holds {list(levels)}; a level must lie between 0 and 1.")
        quantiles = head.quantiles(forecast, levels).double() + level[..., None]
    return clip(model, mean, level), None if quantiles is None else clip_quantiles(model, quantiles)


def clip(model: AbstractForecaster, values: Tensor, level: Tensor | float = 0.0) -> Tensor:
    """Values (..., C), less the level, of at least 0 with it in the channels that are ``nonnegative``."""
    if not any(model.nonnegative):
        return values
    cut = torch.tensor(model.nonnegative, device=values.device)
    floor = torch.where(cut, 0.0 - torch.as_tensor(level, device=values.device), -torch.inf)  # 0, not -0
    return torch.maximum(values, floor.to(values))


def clip_quantiles(model: AbstractForecaster, quantiles: Tensor) -> Tensor:
    """The same for quantiles (B, H, C, Q), with the level."""
    return clip(model, quantiles.transpose(-1, -2)).transpose(-1, -2)


@torch.no_grad()
def sample_paths(model: AbstractForecaster, inputs: Inputs, count: int = 100, seed: int = 0) -> Tensor:
    """Draw possible futures of each window: (count, B, H, C), in the data's own units less ``inputs.level``.

    Readouts that feed forecasts back (iterated, encoder_decoder) are fed their own draws, so that the leads of a path
    belong together, as far as the model has learned it. The others draw each lead by itself: single leads are
    distributed as the model says, but sums or maxima over leads are not.

    Reproducible by ``seed``, and without effect on other random numbers.

    Raises InputError for a point forecast.
    """
    require_at_least(1, "", count=count)
    generator = torch.Generator(inputs.past_target.device).manual_seed(seed)
    together = max(1, MOST_WINDOWS // len(inputs.past_target))
    parts = []
    for done in range(0, count, together):
        copies = min(together, count - done)
        repeated = Inputs(*[field.repeat(copies, *[1] * (field.dim() - 1)) for field in inputs])
        parts.append(clip(model, model.draw(repeated, generator), repeated.level[:, None]).unflatten(0, (copies, -1)))
    return torch.cat(parts)
