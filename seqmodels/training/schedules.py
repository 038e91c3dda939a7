"""Learning-rate schedules with a linear warm-up, made of torch's schedulers."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from seqmodels.errors import InputError, require_fraction


def warm_up(
    optimizer: Optimizer, total_steps: int, share_of_warm_up: float = 0.05, start_factor: float = 0.01
) -> LinearLR:
    """Linear warm-up over a share of all steps, then a constant learning rate.

    At step k of the n steps of the warm-up, the factor is start + (1 - start) k / n.

    Raises InputError unless ``share_of_warm_up`` lies in [0, 1) and ``start_factor`` in (0, 1].
    """
    if not 0 < start_factor <= 1:
        raise InputError(f"scheduler.start_factor is {start_factor}; it must be greater than 0 and at most 1.")
    return LinearLR(optimizer, start_factor, total_iters=count_warm_up_steps(total_steps, share_of_warm_up))


def warm_up_cosine(
    optimizer: Optimizer,
    total_steps: int,
    share_of_warm_up: float = 0.05,
    start_factor: float = 0.01,
    eta_min: float = 0.0,
) -> SequentialLR:
    """Linear warm-up as in ``warm_up``, then cosine decay to ``eta_min`` over the remaining steps.

    Raises InputError unless ``share_of_warm_up`` lies in [0, 1) and ``start_factor`` in (0, 1].
    """
    steps = count_warm_up_steps(total_steps, share_of_warm_up)
    rise = warm_up(optimizer, total_steps, share_of_warm_up, start_factor)
    decay = CosineAnnealingLR(optimizer, T_max=max(1, total_steps - steps), eta_min=eta_min)
    schedule = SequentialLR(optimizer, [rise, decay], milestones=[steps])
    # Kept in checkpoints, so that no run is resumed beyond the last step, where the cosine would rise again.
    schedule.total_steps = total_steps  # type: ignore[attr-defined]  # state_dict saves every attribute
    return schedule


def count_warm_up_steps(total_steps: int, share: float) -> int:
    """Steps of the warm-up, at least one."""
    require_fraction("scheduler", share_of_warm_up=share)
    return max(1, round(share * total_steps))
