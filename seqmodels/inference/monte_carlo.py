"""Monte Carlo dropout: uncertainty from many forecasts of the same window with dropout left on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.dropout import DROPOUT_MODULES
from seqmodels.errors import InputError, require_at_least
from seqmodels.window import AbstractForecaster, Inputs


class Spread(NamedTuple):
    """Mean and standard deviation of the forecasts, (B, S, H, C) each, in the data's own units."""

    mean: Tensor
    deviation: Tensor


@contextmanager
def dropout_on(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for everything but dropout: batch norm, for example, keeps its running statistics.

    Raises InputError for a model without dropout.
    """
    before = {module: module.training for module in model.modules()}
    model.eval()
    dropping = [module for module in before if isinstance(module, DROPOUT_MODULES) and rate(module) > 0]
    if not dropping:
        raise InputError("dropout_passes needs a model with dropout; set model.backbone.dropout, such as 0.1.")
    for module in dropping:
        module.training = True
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def rate(module: nn.Module) -> float:
    """The probability of a dropout module."""
    return float(getattr(module, "p", getattr(module, "dropout", 0.0)))


@torch.no_grad()
def monte_carlo(model: AbstractForecaster, inputs: Inputs, passes: int = 100, seed: int = 0) -> Spread:
    """Forecast every window ``passes`` times in one batch, each time with another dropout mask.

    Reproducible by ``seed``, and without effect on other random numbers, except that on CUDA the dropout between
    torch's fused layers restarts its own generator. The deviation measures the uncertainty about the weights; it does
    not include the noise of the data. Source: Gal & Ghahramani 2016.

    Raises InputError for a model without dropout, fewer than two passes, or forecasts that are not finite.
    """
    require_at_least(2, "", dropout_passes=passes)
    repeated = Inputs(*[field.repeat_interleave(passes, dim=0) for field in inputs])
    with dropout_on(model), torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        values = model.head.mean(model(repeated).forecast).unflatten(0, (-1, passes))
    if not values.isfinite().all():
        raise InputError("dropout_passes: a forecast with dropout is nan or infinite; lower model.backbone.dropout.")
    return Spread(values.mean(dim=1), values.std(dim=1))
