"""How sure a model is of itself: many forecasts of the same window with dropout left on; knows torch only."""

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
    """Evaluation in everything but dropout: batch norm, for one, keeps its running statistics.

    Raises InputError for a model that drops nothing.
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
    """Share of what a dropout module drops."""
    return float(getattr(module, "p", getattr(module, "dropout", 0.0)))


@torch.no_grad()
def monte_carlo(model: AbstractForecaster, inputs: Inputs, passes: int = 100, seed: int = 0) -> Spread:
    """Forecast every window ``passes`` times in one batch, each time with another dropout mask.

    Reproducible by ``seed``; other random numbers stay as they are, except that on CUDA dropout between torch's fused
    layers has a state of its own, which begins anew. The deviation is that of the mean value, from not knowing the
    weights; it holds no noise of the data. Source: Gal & Ghahramani 2016.

    Raises InputError for a model without dropout, or fewer than two passes.
    """
    require_at_least(2, "", dropout_passes=passes)
    repeated = Inputs(*[field.repeat_interleave(passes, dim=0) for field in inputs])
    with dropout_on(model), torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        values = model.head.mean(model(repeated).forecast).unflatten(0, (-1, passes))
    return Spread(values.mean(dim=1), values.std(dim=1))
