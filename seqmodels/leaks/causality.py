"""Leak check of a model, by perturbed steps and gradients: forecasts must not depend on steps after their origin."""

import copy
from typing import NamedTuple

import torch

from seqmodels.backbones.base import Backbone
from seqmodels.leaks.finding import Finding
from seqmodels.report.output import format_number, pluralise
from seqmodels.window import AbstractForecaster, Inputs

MAX_ORIGINS = 8  # checked, spread over the window
FORECAST_ROUNDING = 1e-6  # of the largest forecast


class Dependence(NamedTuple):
    """Largest influence of the steps after an origin on the forecasts up to it; 0 for a causal model."""

    origin: int
    change: float  # of a forecast, in the data's own units
    gradient: float

    @property
    def size(self) -> float:
        """The larger one of change and gradient."""
        return max(self.change, self.gradient)


def check_causality(model: AbstractForecaster, inputs: Inputs) -> Finding:
    """Perturb the past of windows (B, T) after each of several origins, and the other windows of the batch.

    The weights may be random: a network cannot depend on what it is not connected to. Training mode is checked apart,
    as batch normalisation mixes all steps there; this is a warning, since forecasts are made in evaluation mode.
    """
    model, steps = copy.deepcopy(model).eval(), inputs.past_target.shape[1]
    origins = choose_origins(model, steps)
    found = [one for one in (measure_dependence(model, inputs, *pair) for pair in origins) if one.size]
    others = forecast_difference(model, inputs, perturb_past(inputs, 0, slice(1, None)), slice(1))
    leaks = [_causality_sentence(model, found, steps)] if found else []
    if others:
        leaks.append(
            f"forecasts of a window change by {format_number(others)} with the other windows of its batch; the model"
            " must treat each window alone."
        )
    warnings = [] if found else check_training_mode(model, inputs, origins)
    if forecast_difference(model, inputs, perturb_past(inputs, steps // 2)) == 0:
        warnings.append("no forecast depends on the newer half of its window, so nothing is proved.")
    count = pluralise(len(origins), "origin")
    done = f"steps after {count} of a window changed: forecasts up to the origin, and their gradients"
    if not origins:
        done = "other windows of a batch changed; the one forecast of a window is made at its last step"
    return Finding("causality", done, max([others, *(one.size for one in found)]), tuple(leaks), tuple(warnings))


def choose_origins(model: AbstractForecaster, steps: int) -> list[tuple[int, int]]:
    """Index and step of some origins that have later steps in the window."""
    origins = [pair for pair in enumerate(model.origins.of(steps)) if pair[1] < steps - 1]
    chosen = torch.linspace(0, len(origins) - 1, min(MAX_ORIGINS, len(origins))).round().int()
    return [origins[i] for i in chosen.tolist()]


def measure_dependence(model: AbstractForecaster, inputs: Inputs, index: int, origin: int) -> Dependence:
    """Dependence of the forecasts up to an origin, the one with this index, on the steps after it."""
    first = slice(index + 1)
    change = forecast_difference(model, inputs, perturb_past(inputs, origin + 1), origins=first)
    return Dependence(origin, change, largest_gradient(model, inputs, first, origin + 1))


def forecast_difference(
    model: AbstractForecaster, one: Inputs, other: Inputs, windows: slice = slice(None), origins: slice = slice(None)
) -> float:
    """The largest difference in the forecasts of some windows and origins, 0 if it may be rounding."""
    forecasts = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for inputs in (one, other):
            torch.manual_seed(0)  # the same noise in both, if there is any
            forecasts.append(model(inputs).forecast[windows, origins])
    size = float((forecasts[1] - forecasts[0]).abs().max())
    return size if size > FORECAST_ROUNDING * float(forecasts[0].abs().max()) else 0.0


def largest_gradient(model: AbstractForecaster, inputs: Inputs, origins: slice, since: int) -> float:
    """The largest gradient of some forecasts with respect to the past since a step; 0 without gradients."""
    past = [field.clone().requires_grad_() for field in (inputs.past_target, inputs.past_covariates)]
    forecast = model(inputs._replace(past_target=past[0], past_covariates=past[1])).forecast[:, origins]
    if not forecast.requires_grad:
        return 0.0
    weights = torch.rand(forecast.shape, generator=torch.Generator().manual_seed(0))  # a sum may cancel out
    gradients = torch.autograd.grad((forecast * weights).sum(), past, allow_unused=True)
    sizes = [part[:, since:].nan_to_num(0, 0, 0).abs() for part in gradients if part is not None]
    return max((float(size.max()) for size in sizes if size.numel()), default=0.0)


def perturb_past(inputs: Inputs, since: int, windows: slice = slice(None)) -> Inputs:
    """Change target, mask and covariates of the past since a step; covariates known ahead stay."""
    part = (windows, slice(since, None))
    target, observed, covariates = (
        field.clone() for field in (inputs.past_target, inputs.past_observed, inputs.past_covariates)
    )
    if not observed.all():
        observed[part] = ~observed[part]
    deviation = float(target.std()) if target.numel() > 1 else 0.0
    target[part] = (target[part] + 2 * deviation + 1) * observed[part]
    covariates[part] = covariates[part].roll(1, dims=1).flip(0)  # reordered, so that categories stay valid
    return inputs._replace(past_target=target, past_observed=observed, past_covariates=covariates)


def check_training_mode(model: AbstractForecaster, inputs: Inputs, origins: list[tuple[int, int]]) -> list[str]:
    """One warning if forecasts see ahead in training mode; on a copy, as normalisation updates its statistics."""
    model = copy.deepcopy(model).train()
    for index, origin in origins:
        size = forecast_difference(model, inputs, perturb_past(inputs, origin + 1), origins=slice(index + 1))
        if size:
            return [
                f"in training mode, forecasts from step {origin + 1} change by {format_number(size)} with later steps,"
                " in evaluation mode they do not: batch normalisation takes its statistics from all steps; use"
                " model.backbone.normalise=layer."
            ]
    return []


def _causality_sentence(model: AbstractForecaster, found: list[Dependence], steps: int) -> str:
    worst = max(found, key=lambda one: one.size)
    backbone: Backbone | None = getattr(model, "backbone", None)
    if backbone is not None and sees_ahead(backbone, model.spec.features, steps):
        culprit = f"model.backbone ({type(backbone).__name__}) reads steps after its own"
        remedy = "use a causal one, or model/readout=seq_to_vector."
    else:
        culprit = "model.scaler or model.readout looks at the whole window"
        remedy = "take its statistics from the beginning of the window, or use model/readout=seq_to_vector."
    return (
        f"forecasts from step {worst.origin + 1} of {steps:,} change by {format_number(worst.change)} (gradient"
        f" {format_number(worst.gradient)}) when only later steps do: {culprit}; {remedy}"
    )


def sees_ahead(backbone: Backbone, features: int, steps: int) -> bool:
    """True if the first output of a backbone depends on input steps after its own."""
    x = torch.randn(2, steps, features, generator=torch.Generator().manual_seed(0)).requires_grad_()
    first = backbone(x)[:, 0]
    weights = torch.rand(first.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((first * weights).sum(), x)
    return bool(gradient[:, backbone.offset + 1 :].abs().sum() > 0)
