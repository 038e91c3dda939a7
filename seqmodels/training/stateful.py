"""The state of a model, carried from one batch of windows to the next: in training, and through an evaluation."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.states import handed_over, remembered, renewed
from seqmodels.window import ConsecutiveWindows, Inputs, Origins, Targets, Window, every_step


class Evaluated(NamedTuple):
    """What comes of one stretch."""

    loss: Tensor  # scalar, mean over what counts
    forecast: Tensor  # (origins that count, 1, H, C, P), in the order of ``ordinary``
    weight: Tensor  # number of values that the loss is the mean of


class Carried:
    """One state of a forecaster, without gradient; no module, so that no checkpoint holds it.

    Raises InputError for a forecaster whose state cannot be carried on: without one, without a feature for every
    step, or with a scaler or attention that see each window by itself.
    """

    def __init__(self, forecaster: Forecaster):
        refuse(forecaster)
        self.forecaster = forecaster
        self.memory = remembered(forecaster.backbone, forecaster.spec.features)
        self.state: Any = None

    def drop(self) -> None:
        """The next windows begin anew, whether ``reset`` is True or not."""
        self.state = None

    def loss(self, window: Window) -> Tensor:
        """Training loss of windows that continue the last ones where ``reset`` is False.

        Gradients end between windows, and dropout masks are drawn anew for each (as in Merity et al. 2018).
        """
        inputs, targets, _ = window
        state = begin = self.forecaster.initial_state(inputs)
        if self.state is not None:
            kept = handed_over(self.memory, self.state, begin)
            state = renewed(inputs.reset, begin, kept)
        loss, self.state = self.forecaster.loss_and_state(inputs, targets, state)
        return loss

    def evaluate(self, stretch: ConsecutiveWindows) -> Evaluated:
        """Loss and forecasts of all origins that count, each from the state that all steps before it have left."""
        steps, origins = stretch.inputs.past_target.shape[1], stretch.counted.shape[1]
        state = None if stretch.new == steps else self.state
        for piece in pieces(steps - stretch.new, steps - origins, self.forecaster.spec.past_steps):
            state = self.forecaster.read(part(stretch, piece)[0], state)
        whole = self.forecaster.origins == Origins(0, 1)  # else only the last step of what it reads has a forecast
        losses, weights, forecasts = [], [], []
        for piece in pieces(steps - origins, steps, origins if whole else 1):
            inputs, targets = part(stretch, piece)
            counted = stretch.counted[:, piece.start - steps + origins : piece.stop - steps + origins]
            loss, forecast, state = self.forecaster.follow(inputs, targets, state, counted)
            losses.append(loss)
            observed = every_step(inputs.past_observed, targets.observed, Origins(0, 1))
            weights.append((observed[:, :, : self.forecaster.readout.leads] & counted[:, :, None, None]).sum())
            forecasts.append(forecast)
        self.state = state
        weight = torch.stack(weights)
        loss = (torch.stack(losses) * weight).sum() / weight.sum().clamp(min=1)
        return Evaluated(loss, torch.cat(forecasts, dim=1)[stretch.counted].unsqueeze(1), weight.sum())


def refuse(forecaster: Forecaster) -> None:
    """Raise InputError, in one sentence, where carrying a state makes no sense."""
    rule = "data.lanes carries the state of the model from window to window"
    if not forecaster.backbone.causal:
        raise InputError(f"{rule}, and model.backbone sees the future, so that it has none; set data.lanes=null.")
    if forecaster.available != Origins(0, 1):
        first, stride = forecaster.available
        raise InputError(
            f"{rule}, and model.backbone has no feature for each step (the first after {first + 1}, then every"
            f" {stride}); use a recurrent one, wavenet or tcn, and stride=1 with padding=causal for a convolution."
        )
    if forecaster.scaler.per_window:
        raise InputError(
            f"{rule}, and model.scaler scales each window by itself, so that the state would mean something else in"
            " the next one; use model/scaler=standard, or data.lanes=null."
        )
    if forecaster.readout.attends:
        raise InputError(
            f"{rule}, and model.readout.attention looks back over one window only; set it to false, or data.lanes=null."
        )


def pieces(start: int, stop: int, longest: int) -> Iterator[slice]:
    """The steps from ``start`` to ``stop`` in pieces of at most ``longest``; a shorter one comes first."""
    while start < stop:
        length = (stop - start - 1) % longest + 1
        yield slice(start, start + length)
        start += length


def part(stretch: ConsecutiveWindows, steps: slice) -> tuple[Inputs, Targets]:
    """Some past steps as windows of their own, with the H steps that follow them as targets."""
    inputs, targets = stretch.inputs, stretch.targets
    horizon = targets.target.shape[1]
    ahead = slice(steps.stop, steps.stop + horizon)
    values = torch.cat([inputs.past_target, targets.target], dim=1)
    observed = torch.cat([inputs.past_observed, targets.observed], dim=1)
    cut = inputs._replace(
        past_target=values[:, steps],
        past_observed=observed[:, steps],
        past_covariates=inputs.past_covariates[:, steps],
        known_covariates=inputs.known_covariates[:, steps.start : ahead.stop],
    )
    return cut, Targets(values[:, ahead], observed[:, ahead])


def ordinary(stretch: ConsecutiveWindows, past_steps: int) -> Window:
    """The window of T past steps of each origin that counts, series by series: (origins that count, ...).

    So everything that carries no state is measured at exactly the same origins, and sees as much as anywhere else.
    """
    inputs, targets, _, counted, origin = stretch
    first = inputs.past_target.shape[1] - counted.shape[1] - past_steps + 1
    length = past_steps + targets.target.shape[1]
    series = torch.nonzero(counted)[:, 0]

    def windows(values: Tensor, steps: int) -> Tensor:
        return values[:, first:].unfold(1, steps, 1).transpose(2, 3)[counted]

    values = windows(torch.cat([inputs.past_target, targets.target], dim=1), length)
    observed = windows(torch.cat([inputs.past_observed, targets.observed], dim=1), length)
    seen = Inputs(
        past_target=values[:, :past_steps],
        past_observed=observed[:, :past_steps],
        past_covariates=windows(inputs.past_covariates, past_steps),
        known_covariates=windows(inputs.known_covariates, length),
        static=inputs.static[series],
        seasonal_error=inputs.seasonal_error[series],
        series=inputs.series[series],
        reset=torch.ones_like(series, dtype=torch.bool),
    )
    return Window(seen, Targets(values[:, past_steps:], observed[:, past_steps:]), origin[counted])
