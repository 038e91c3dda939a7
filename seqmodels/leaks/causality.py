"""Whether a model's forecasts depend on what comes after their origin: proofs by changed steps and by gradients."""

import copy
from typing import Any, NamedTuple

import torch

from seqmodels.leaks.finding import Finding
from seqmodels.report.formatting import format_number, pluralise
from seqmodels.window import AbstractForecaster, Inputs

ORIGINS = 8  # tried, spread over the window
ROUNDING = 1e-6  # of the largest forecast
NORMALISED = (
    "in training, forecasts from step {} change by {} with later steps, in evaluation they do not: batch normalisation"
    " takes its statistics from all steps; model.backbone.normalise=layer does not."
)


class Seen(NamedTuple):
    """How much the forecasts up to an origin answer to the steps after it."""

    origin: int
    change: float  # of a forecast, in the data's own units
    gradient: float


def causality(model: AbstractForecaster, inputs: Inputs) -> Finding:
    """Changes the past of windows (B, T) after each of several origins, and the other windows of the batch.

    The weights may be random: what a network is not connected to it cannot see, trained or not. Training mode is
    looked at apart, for batch normalisation mixes all steps there: a warning, since forecasts are made without.
    """
    model, steps = copy.deepcopy(model).eval(), inputs.past_target.shape[1]
    tried = origins_of(model, steps)
    seen = [one for one in (look_back(model, inputs, *pair) for pair in tried) if one.change or one.gradient]
    others = difference(model, inputs, nudged(inputs, 0, slice(1, None)), slice(1))
    leaks = [_sentence(model, seen, steps)] if seen else []
    if others:
        leaks.append(
            f"forecasts of a window change by {format_number(others)} with the other windows of its batch; the model"
            " must treat each window alone."
        )
    warnings = [] if seen else in_training(model, inputs, tried)
    if difference(model, inputs, nudged(inputs, steps // 2)) == 0:
        warnings.append("no forecast depends on the newer half of its window, so that nothing is proved.")
    largest = max([others, *(max(one.change, one.gradient) for one in seen)])
    done = (
        f"steps after {pluralise(len(tried), 'origin')} of a window changed: forecasts before it, and their gradients"
    )
    if not tried:
        done = "other windows of a batch changed; the one forecast of a window is made at its last step"
    return Finding("causality", done, largest, tuple(leaks), tuple(warnings))


def origins_of(model: AbstractForecaster, steps: int) -> list[tuple[int, int]]:
    """Number and step of some origins with steps behind them."""
    all_of_them = [pair for pair in enumerate(model.origins.of(steps)) if pair[1] < steps - 1]
    chosen = torch.linspace(0, len(all_of_them) - 1, min(ORIGINS, len(all_of_them))).round().int()
    return [all_of_them[i] for i in chosen.tolist()]


def look_back(model: AbstractForecaster, inputs: Inputs, index: int, origin: int) -> Seen:
    """What the forecasts up to an origin, number ``index``, see of the steps after it."""
    first = slice(index + 1)
    change = difference(model, inputs, nudged(inputs, origin + 1), origins=first)
    return Seen(origin, change, slope(model, inputs, first, origin + 1))


def difference(
    model: AbstractForecaster, one: Inputs, other: Inputs, windows: slice = slice(None), origins: slice = slice(None)
) -> float:
    """The largest difference in the forecasts of some windows and origins, 0 where it is no more than rounding."""
    forecasts = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for inputs in (one, other):
            torch.manual_seed(0)  # the same noise, where there is any
            forecasts.append(model(inputs)[windows, origins])
    size = float((forecasts[1] - forecasts[0]).abs().max())
    return size if size > ROUNDING * float(forecasts[0].abs().max()) else 0.0


def slope(model: AbstractForecaster, inputs: Inputs, origins: slice, since: int) -> float:
    """The largest gradient of some forecasts with respect to the past since a step; 0 for a model without any."""
    past = [field.clone().requires_grad_() for field in (inputs.past_target, inputs.past_covariates)]
    forecast = model(inputs._replace(past_target=past[0], past_covariates=past[1]))[:, origins]
    if not forecast.requires_grad:
        return 0.0
    weights = torch.rand(forecast.shape, generator=torch.Generator().manual_seed(0))  # a sum may cancel out
    found = torch.autograd.grad((forecast * weights).sum(), past, allow_unused=True)
    sizes = [part[:, since:].nan_to_num(0, 0, 0).abs() for part in found if part is not None]
    return max((float(size.max()) for size in sizes if size.numel()), default=0.0)


def nudged(inputs: Inputs, since: int, windows: slice = slice(None)) -> Inputs:
    """Other values, and where some are missing other ones missing, in the past since a step; known columns stay."""
    part = (windows, slice(since, None))
    target, observed, covariates = (
        field.clone() for field in (inputs.past_target, inputs.past_observed, inputs.past_covariates)
    )
    if not observed.all():
        observed[part] = ~observed[part]
    spread = float(target.std()) if target.numel() > 1 else 0.0
    target[part] = (target[part] + 2 * spread + 1) * observed[part]
    covariates[part] = covariates[part].roll(1, dims=1).flip(0)  # in another order: categories stay legal numbers
    return inputs._replace(past_target=target, past_observed=observed, past_covariates=covariates)


def in_training(model: AbstractForecaster, inputs: Inputs, tried: list[tuple[int, int]]) -> list[str]:
    """One sentence where training mode alone sees ahead; of a copy, since normalisation learns from what it sees."""
    taught = copy.deepcopy(model).train()
    for index, origin in tried:
        size = difference(taught, inputs, nudged(inputs, origin + 1), origins=slice(index + 1))
        if size:
            return [NORMALISED.format(origin + 1, format_number(size))]
    return []


def _sentence(model: AbstractForecaster, seen: list[Seen], steps: int) -> str:
    worst = max(seen, key=lambda one: max(one.change, one.gradient))
    backbone: Any = getattr(model, "backbone", None)
    if backbone is not None and sees_ahead(backbone, model.spec.features, steps):
        culprit = f"model.backbone ({type(backbone).__name__}) reads steps after its own"
        mend = "use a causal one, or model/readout=seq_to_vector."
    else:
        culprit = "model.scaler or model.readout looks at the whole window"
        mend = "take its statistics from the beginning of the window, or use model/readout=seq_to_vector."
    return (
        f"forecasts from step {worst.origin + 1} of {steps:,} change by {format_number(worst.change)} (gradient"
        f" {format_number(worst.gradient)}) when only later steps do: {culprit}; {mend}"
    )


def sees_ahead(backbone: Any, features: int, steps: int) -> bool:
    """Whether the first output of a backbone depends on input steps after its own."""
    x = torch.randn(2, steps, features, generator=torch.Generator().manual_seed(0)).requires_grad_()
    first = backbone(x)[:, 0]
    weights = torch.rand(first.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((first * weights).sum(), x)
    return bool(gradient[:, backbone.offset + 1 :].abs().sum() > 0)
