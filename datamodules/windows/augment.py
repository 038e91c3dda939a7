"""Augmentation: random changes of training windows, a pure function of seed, epoch and position."""

import numpy as np
import torch
from torch import Tensor

from seqmodels.errors import InputError, require_fraction
from seqmodels.window import Inputs, Targets, Window

JITTER = 0.3  # seasonal errors, what "auto" begins with; trials of 0 to 0.5 are in docs/log.md


class Augmentation:
    """Changes of training windows, drawn for each; 0 for none.

    ``mask``: the largest share of the past that is hidden, one stretch of steps in each window, of all channels, before
    its last step. Hidden values are missing where the model reads masks, else a straight line takes their place.
    ``jitter``: deviation of the noise that is added to the past, in seasonal errors.
    ``mix``: parameter a of the Beta(a, a) distribution from which the share of another window of the batch is drawn, at
    most a half; it is added about the mean of the window, in seasonal errors, to past and targets. Covariates stay.

    Raises InputError for values out of range.

    Source: stretches: DeVries and Taylor 2017 (cutout), in forecasting Das et al. 2024 (TimesFM); noise: Um et al.
    2017; mixing: Zhang et al. 2018 (mixup), of series: Ansari et al. 2024 (Chronos).
    """

    def __init__(self, mask: float, jitter: float, mix: float, seed: int):
        require_fraction("data", mask=mask)
        for name, value in (("jitter", jitter), ("mix", mix)):
            if not value >= 0:
                raise InputError(f"data.{name} is {value}; it must be at least 0.")
        self.mask, self.jitter, self.mix, self.seed = mask, jitter, mix, seed % 2**63

    def __bool__(self) -> bool:
        return self.mask > 0 or self.jitter > 0 or self.mix > 0

    def __call__(self, window: Window, missing: bool, epoch: int, position: int) -> Window:
        """The changed batch whose first window stands at ``position`` of the epoch; ``missing``: as in the spec."""
        random = np.random.default_rng([self.seed, epoch, position])
        inputs, targets, origin = window
        if self.mix:
            inputs, targets = self._mix(inputs, targets, random)
        if self.jitter:
            inputs = self._shake(inputs, random)
        if self.mask:
            inputs = self._hide(inputs, missing, random)
        return Window(inputs, targets, origin)

    def _mix(self, inputs: Inputs, targets: Targets, random: np.random.Generator) -> tuple[Inputs, Targets]:
        batch, past = len(inputs.past_target), inputs.past_target
        other = torch.from_numpy(random.permutation(batch)).to(past.device)
        drawn = random.beta(self.mix, self.mix, batch)
        share = torch.from_numpy(np.minimum(drawn, 1 - drawn)).to(past)[:, None, None]
        observed = inputs.past_observed
        mean = ((past * observed).sum(dim=1) / observed.sum(dim=1).clamp(min=1))[:, None]
        unit = (inputs.seasonal_error / inputs.seasonal_error[other])[:, None]

        def blend(values: Tensor, known: Tensor) -> Tensor:
            mixed = (1 - share) * values + share * ((values[other] - mean[other]) * unit + mean)
            return torch.where(known & known[other], mixed, values)

        target = blend(targets.target, targets.observed)
        return inputs._replace(past_target=blend(past, observed)), targets._replace(target=target)

    def _shake(self, inputs: Inputs, random: np.random.Generator) -> Inputs:
        past = inputs.past_target
        noise = torch.from_numpy(random.standard_normal(past.shape, dtype=np.float32)).to(past)
        noise = self.jitter * noise * inputs.seasonal_error[:, None]
        return inputs._replace(past_target=past + noise * inputs.past_observed)

    def _hide(self, inputs: Inputs, missing: bool, random: np.random.Generator) -> Inputs:
        """Hide the steps ``start:stop``."""
        past = inputs.past_target
        batch, steps = past.shape[:2]
        most = min(steps - 1, int(self.mask * steps))
        length = random.integers(0, most + 1, batch)
        start = (random.random(batch) * (steps - length)).astype(np.int64)  # the last step stays
        first, stop = (torch.from_numpy(one).to(past.device)[:, None] for one in (start, start + length))
        step = torch.arange(steps, device=past.device)
        hidden = ((step >= first) & (step < stop))[..., None]
        if missing:
            observed = inputs.past_observed & ~hidden
            return inputs._replace(past_target=past * observed, past_observed=observed)
        after = past.gather(1, stop.clamp(max=steps - 1)[..., None].expand(-1, -1, past.shape[2]))
        before = past.gather(1, (first - 1).clamp(min=0)[..., None].expand(-1, -1, past.shape[2]))
        before = torch.where(first[..., None] > 0, before, after)
        along = ((step - first + 1) / (stop - first + 1)).clamp(0, 1)[..., None]
        return inputs._replace(past_target=torch.where(hidden, before + along * (after - before), past))


def choose_jitter(season_error: float) -> float:
    """JITTER of the error of the last season or of the last value, the smaller one, in units of the former.

    ``season_error``: as in ``WindowSpec``.
    """
    return round(JITTER / max(1.0, season_error), 3)


def check_augmentation(augmentation: Augmentation, lanes: int | None) -> None:
    """Raise InputError for windows that continue one another, which have to stay as they are."""
    if augmentation and lanes is not None:
        raise InputError(
            f"data.mask, data.jitter and data.mix change windows at random, but data.lanes is {lanes}, and its windows"
            " continue one another; set them to 0, or data.lanes=null."
        )
