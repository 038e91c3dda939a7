"""Ensemble: models of one architecture that differ in their first weights, trained at once and averaged."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from seqmodels.errors import InputError, require_choice
from seqmodels.forecaster import OVER_TIME
from seqmodels.window import AbstractForecaster, Inputs, Origins, Output, Targets, WindowSpec

COMBINATIONS = ("mean", "median")
DIFFERENT_LENGTHS = "the members read windows of different lengths; set ensemble to their number"


class Ensemble(AbstractForecaster):
    """Forecasts of several ``members``, each with weights of its own, combined into one.

    ``model`` takes ``spec``. ``members``: their number, or a list with the past steps that each of them reads, of at
    most those of the windows. Member i is initialised from ``seed`` + i, the first one from the state of the random
    numbers as it is.

    ``combine``: "mean" or "median" over the members of each parameter of the forecast. Of quantiles, and of
    distributions with a location and a scale, the mean averages the quantile functions (Vincent 1912), which keeps the
    shape and is sharper than the mixture of the members; see Lichtendahl, Grushka-Cockayne and Winkler 2013.
    Of classes, the probabilities are averaged (Lakshminarayanan, Pritzel and Blundell 2017).

    The loss is the mean over the members, and its gradient that of their sum: each member learns as if it were alone.

    Raises InputError for members that cannot be combined.
    """

    def __init__(
        self,
        spec: WindowSpec,
        model: Callable[..., AbstractForecaster],
        members: int | Sequence[int] = 5,
        seed: int = 0,
        combine: str = "mean",
    ):
        super().__init__()
        check_members(members, combine)
        steps = [spec.past_steps] * members if isinstance(members, int) else list(members)
        if max(steps) > spec.past_steps:
            raise InputError(
                f"ensemble holds {max(steps)} past steps, and a window has data.past_steps={spec.past_steps}; raise"
                " data.past_steps."
            )
        if min(steps) < spec.past_steps and not spec.ahead:
            raise InputError(
                f"ensemble is {list(steps)}, and sequences with labels are read whole; give the number of members, such"
                f" as {len(steps)}."
            )
        self.spec, self.seed, self.combine = spec, seed, combine
        self.members = nn.ModuleList([self._build(model, number, one) for number, one in enumerate(steps)])
        first = self.singles[0]
        if not any(parameter.requires_grad for parameter in first.parameters()):
            raise InputError(
                f"ensemble is {members}, but {type(first).__name__} has no weights that are trained by steps, so that"
                " all members would be the same; leave ensemble out."
            )
        self.head = first.head
        self.alike = all(one == spec.past_steps for one in steps)
        self.origins = first.origins if self.alike else Origins(spec.past_steps - 1, 1)
        self.why_stateless = first.why_stateless if self.alike else DIFFERENT_LENGTHS

    def _build(self, model: Callable[..., AbstractForecaster], number: int, steps: int) -> AbstractForecaster:
        spec = self.spec._replace(past_steps=steps)
        if number == 0:
            return model(spec=spec)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed((self.seed + number) % 2**32)
            return model(spec=spec)

    @property
    def singles(self) -> list[AbstractForecaster]:
        return list(self.members)  # type: ignore[arg-type]  # a ModuleList forgets the type

    @property
    def nonnegative(self) -> tuple[bool, ...]:
        return self.singles[0].nonnegative

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        """As ``Forecaster.forward``; the state is a tuple with that of each member."""
        return self._join([model(*one) for model, one in self._each(inputs, state)])

    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        """As ``Forecaster.loss``."""
        outputs = []
        for model, (seen, own) in self._each(inputs, state):
            model.progress = self.progress
            outputs.append(model.loss(seen, targets, own, mask, forecast))
        losses = torch.stack([output.loss for output in outputs if output.loss is not None])
        total = losses.sum()
        shown = total + (losses.detach().mean() - total.detach())  # the value of the mean, the gradient of the sum
        return self._join(outputs)._replace(loss=shown, weight=outputs[0].weight)

    def step(self, value: Tensor, state: Any = None, **known: Tensor | None) -> Output:
        """As ``Forecaster.step``."""
        if self.why_stateless:
            raise InputError(f"this model cannot read values one by one: {self.why_stateless}.")
        states = [None] * len(self.members) if state is None else state
        steps: list[Any] = [one.step for one in self.members]
        return self._join([step(value, own, **known) for step, own in zip(steps, states, strict=True)])

    def draw(self, inputs: Inputs, generator: Generator | None = None) -> Tensor:
        """As ``Forecaster.draw``, each window from one member, chosen at random: paths spread as their mixture."""
        count, device = len(inputs.past_target), inputs.past_target.device
        chosen = torch.randint(len(self.members), (count,), generator=generator, device=device)
        drawn = inputs.past_target.new_empty(count, self.spec.horizon, len(self.spec.predicted))
        for number, (model, (seen, _)) in enumerate(self._each(inputs, None)):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                drawn[rows] = model.draw(Inputs(*(field[rows] for field in seen)), generator)
        return drawn

    def _each(self, inputs: Inputs, state: Any) -> list[tuple[AbstractForecaster, tuple[Inputs, Any]]]:
        """Each member with the windows and the state that it reads."""
        if state is not None and not self.alike:
            raise InputError(f"this model cannot continue from a state: {self.why_stateless}.")
        states = [None] * len(self.members) if state is None else state
        pairs = zip(self.singles, states, strict=True)
        return [(model, (newest(inputs, inputs.past_target.shape[1], self, model), own)) for model, own in pairs]

    def _join(self, outputs: list[Output]) -> Output:
        """One forecast and one state from those of the members."""
        states = tuple(output.state for output in outputs)
        state = None if any(one is None for one in states) else states
        forecasts = [output.forecast for output in outputs if output.forecast is not None]
        if not forecasts:
            return Output(None, state)
        members = torch.stack([one if self.alike else one[:, -1:] for one in forecasts])
        pooled = self.head.pool(members, partial(average, combine=self.combine))
        return Output(pooled, state, members=members if len(members) > 1 else None)


def newest(inputs: Inputs, length: int, ensemble: Ensemble, model: AbstractForecaster) -> Inputs:
    """The windows of ``length`` past steps without the oldest ones, which the member does not read."""
    extra = length - model.spec.past_steps
    if ensemble.alike or extra <= 0:
        return inputs
    return inputs._replace(**{name: getattr(inputs, name)[:, extra:] for name in OVER_TIME})


def average(members: Tensor, combine: str) -> Tensor:
    """Mean or median over the first dimension; the median of an even number is the mean of the middle two."""
    if combine == "mean" or len(members) < 3:
        return members.mean(dim=0)
    middle, ordered = len(members) // 2, members.sort(dim=0).values
    return ordered[middle - 1 + len(members) % 2 : middle + 1].mean(dim=0)


def check_members(members: int | Sequence[int], combine: str) -> None:
    """Raise InputError for an ``ensemble`` that holds no number of members, and no past steps of each."""
    require_choice(COMBINATIONS, "", combine=combine)
    counts = members if isinstance(members, Sequence) and not isinstance(members, str) else [members]
    if not counts or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in counts):
        raise InputError(
            f"ensemble is {members!r}; it must be the number of members, such as 5, or a list of the past steps that"
            " each of them reads, such as [48, 96]."
        )


def model_node(model: dict[str, Any], ensemble: int | Sequence[int], seed: int, combine: str) -> dict[str, Any]:
    """The node from which a checkpoint builds an ensemble of the ``model``; for ``ensemble`` = 1 that of the model."""
    if ensemble == 1:
        return model
    target = f"{Ensemble.__module__}.{Ensemble.__qualname__}"
    members = ensemble if isinstance(ensemble, int) else list(ensemble)
    return {"_target_": target, "model": {**model, "_partial_": True}, "members": members, "seed": seed,
            "combine": combine}  # fmt: skip
