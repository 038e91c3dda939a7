"""The state of a model, carried from one batch of windows to the next: in training, and through an evaluation."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from seqmodels.errors import InputError
from seqmodels.window import AbstractForecaster, ConsecutiveWindows, Inputs, Origins, Output, Targets, Window


class CarriedState:
    """The state of a forecaster between batches, without gradient; no module, so that no checkpoint holds it.

    Raises InputError for a forecaster that cannot carry a state from window to window.
    """

    def __init__(self, forecaster: AbstractForecaster):
        if forecaster.why_stateless:
            raise InputError(
                "data.lanes carries the state of the model from window to window, and"
                f" {forecaster.why_stateless}, or data.lanes=null."
            )
        self.forecaster = forecaster
        self.state: Any = None

    def drop(self) -> None:
        """Let the next windows start from the initial state, for any ``reset``."""
        self.state = None

    def loss(self, window: Window) -> Output:
        """Training loss of windows that continue the last ones where ``reset`` is False.

        Gradients end between windows, and dropout masks are drawn again for each (as in Merity et al. 2018).
        """
        output = self.forecaster.loss(window.inputs, window.targets, self.state)
        self.state = output.state
        return output

    def evaluate(self, windows: ConsecutiveWindows) -> Output:
        """Loss and forecasts of all origins that count, each from the state after all steps before it.

        The forecasts are (origins that count, 1, H, C, P), in the order of ``as_windows``.
        """
        steps, origins = windows.inputs.past_target.shape[1], windows.counted.shape[1]
        state = None if windows.new == steps else self.state
        for span in spans(steps - windows.new, steps - origins, self.forecaster.spec.past_steps):
            state = self.forecaster(cut(windows, span)[0], state).state
        whole = self.forecaster.origins == Origins(0, 1)  # else only the last step of each part has a forecast
        outputs = []
        for span in spans(steps - origins, steps, origins if whole else 1):
            inputs, targets = cut(windows, span)
            mask = windows.counted[:, span.start - steps + origins : span.stop - steps + origins]
            outputs.append(self.forecaster.loss(inputs, targets, state, mask, forecast=True))
            state = outputs[-1].state
        self.state = state
        forecasts, _, losses, counts, members = zip(*outputs, strict=True)
        count = torch.stack(counts)
        loss = (torch.stack(losses) * count).sum() / count.sum().clamp(min=1)
        forecast = torch.cat(forecasts, dim=1)[windows.counted].unsqueeze(1)
        each = None if members[0] is None else torch.cat(members, dim=2)[:, windows.counted].unsqueeze(2)
        return Output(forecast, state, loss, count.sum(), each)


def spans(start: int, stop: int, longest: int) -> Iterator[slice]:
    """The steps from ``start`` to ``stop`` in spans of at most ``longest``; a shorter one comes first."""
    while start < stop:
        length = (stop - start - 1) % longest + 1
        yield slice(start, start + length)
        start += length


def cut(windows: ConsecutiveWindows, steps: slice) -> tuple[Inputs, Targets]:
    """Some past steps as windows of their own, with the H steps after them as targets; only the first may reset."""
    inputs, targets = windows.inputs, windows.targets
    horizon = targets.target.shape[1]
    ahead = slice(steps.stop, steps.stop + horizon)
    values = torch.cat([inputs.past_target, targets.target], dim=1)
    observed = torch.cat([inputs.past_observed, targets.observed], dim=1)
    part = inputs._replace(
        past_target=values[:, steps],
        past_observed=observed[:, steps],
        past_covariates=inputs.past_covariates[:, steps],
        known_covariates=inputs.known_covariates[:, steps.start : ahead.stop],
        reset=inputs.reset & (steps.start == 0),
        clock=inputs.clock - (inputs.past_target.shape[1] - steps.stop),
    )
    return part, Targets(values[:, ahead], observed[:, ahead])


def as_windows(consecutive: ConsecutiveWindows, past_steps: int) -> Window:
    """One window of T past steps for each origin that counts, series by series: (origins that count, ...).

    With them, models that carry no state are measured at exactly the same origins.
    """
    inputs, targets, _, counted, origin = consecutive
    first = inputs.past_target.shape[1] - counted.shape[1] - past_steps + 1
    length = past_steps + targets.target.shape[1]
    series, place = torch.nonzero(counted).T

    def unfold(values: Tensor, steps: int) -> Tensor:
        return values[:, first:].unfold(1, steps, 1).transpose(2, 3)[counted]

    values = unfold(torch.cat([inputs.past_target, targets.target], dim=1), length)
    observed = unfold(torch.cat([inputs.past_observed, targets.observed], dim=1), length)
    seen = Inputs(
        past_target=values[:, :past_steps],
        level=inputs.level[series],
        past_observed=observed[:, :past_steps],
        past_covariates=unfold(inputs.past_covariates, past_steps),
        known_covariates=unfold(inputs.known_covariates, length),
        static=inputs.static[series],
        seasonal_error=inputs.seasonal_error[series],
        series=inputs.series[series],
        reset=torch.ones_like(series, dtype=torch.bool),
        clock=inputs.clock[series] + place - (counted.shape[1] - 1),
        identity=inputs.identity[series],
    )
    return Window(seen, Targets(values[:, past_steps:], observed[:, past_steps:]), origin[counted])
