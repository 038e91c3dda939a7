"""Distribution functions that torch lacks, by SciPy: on the CPU, in float64, without gradient."""

from typing import Any

import torch
from torch import Tensor


def student_t_cdf(value: Tensor, degrees: Tensor) -> Tensor:
    """Probability of at most ``value`` under Student's t distribution."""
    from scipy.special import stdtr

    return _call(stdtr, degrees, value)


def student_t_quantile(level: Tensor, degrees: Tensor) -> Tensor:
    """Inverse of ``student_t_cdf``."""
    from scipy.special import stdtrit

    return _call(stdtrit, degrees, level)


def negative_binomial_quantile(level: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """The smallest count with at least that probability at or below it; the variance is mean + dispersion mean^2."""
    from scipy.stats import nbinom

    shape = 1 / dispersion.double()
    return _call(nbinom.ppf, level, shape, shape / (shape + mean.double()))


def _call(function: Any, *arguments: Tensor) -> Tensor:
    """The function of broadcast arguments, with the type and on the device of the first one."""
    like = arguments[-1]
    result = function(*(argument.detach().cpu().double().numpy() for argument in arguments))
    return torch.as_tensor(result).to(like)
