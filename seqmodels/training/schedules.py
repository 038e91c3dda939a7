"""Learning rates that warm up: what torch offers, put together for a training of known length."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from seqmodels.errors import InputError, require_fraction


def warm_up(
    optimizer: Optimizer, total_steps: int, share_of_warm_up: float = 0.05, start_factor: float = 0.01
) -> LinearLR:
    """From ``start_factor`` times the rate straight up to the rate, and on with it.

    At step k of n, the first ``share_of_warm_up`` of all steps, the factor is start + (1 - start) k / n.

    Raises InputError unless ``share_of_warm_up`` lies in [0, 1) and ``start_factor`` in (0, 1].
    """
    return LinearLR(optimizer, start_factor=_factor(start_factor), total_iters=_warming(total_steps, share_of_warm_up))


def warm_up_cosine(
    optimizer: Optimizer,
    total_steps: int,
    share_of_warm_up: float = 0.05,
    start_factor: float = 0.01,
    eta_min: float = 0.0,
) -> SequentialLR:
    """``warm_up``, then half a cosine from the rate down to ``eta_min`` over the steps that remain.

    Raises InputError unless ``share_of_warm_up`` lies in [0, 1) and ``start_factor`` in (0, 1].
    """
    steps = _warming(total_steps, share_of_warm_up)
    rising = warm_up(optimizer, total_steps, share_of_warm_up, start_factor)
    falling = CosineAnnealingLR(optimizer, T_max=max(1, total_steps - steps), eta_min=eta_min)
    schedule = SequentialLR(optimizer, [rising, falling], milestones=[steps])
    # Goes into checkpoints, so that no run is resumed beyond it: there the cosine would rise again.
    schedule.total_steps = total_steps  # type: ignore[attr-defined]  # the others that have an end declare it
    return schedule


def _warming(total_steps: int, share: float) -> int:
    """Steps of the warm-up, at least one."""
    require_fraction("scheduler", share_of_warm_up=share)
    return max(1, round(share * total_steps))


def _factor(start_factor: float) -> float:
    if not 0 < start_factor <= 1:
        raise InputError(f"scheduler.start_factor is {start_factor}; it must be greater than 0 and at most 1.")
    return start_factor
