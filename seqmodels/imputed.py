"""A model whose inputs are filled by another one before it reads them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from seqmodels.errors import InputError
from seqmodels.window import AbstractForecaster, Inputs, Output, Targets, WindowSpec

MISSING = " missing"  # ends the name of a covariate that tells where another one was missing


class Imputed(AbstractForecaster):
    """``model``, which reads windows whose missing inputs are estimates of a trained ``imputer``; targets stay.

    The imputer sees the window up to its origin and nothing else, whatever its direction, so that nothing of the future
    gets in. It fills the targets and past covariates that are channels of ``gaps``, its own spec as a dictionary, from
    the first observed step on. Its weights are frozen and a part of the checkpoint.

    Raises InputError for a model or an imputer of another kind, and for columns that the data lack.
    """

    why_stateless = "data.impute fills each window by itself"

    def __init__(
        self,
        spec: WindowSpec,
        model: Callable[..., AbstractForecaster],
        imputer: Callable[..., AbstractForecaster],
        gaps: dict[str, Any],
    ):
        super().__init__()
        self.spec, self.model = spec, model(spec=spec)
        self.imputer = imputer(spec=WindowSpec.from_dict(gaps)).requires_grad_(False)
        self.head, self.origins = self.model.head, self.model.origins
        own = self.imputer.spec
        if own.kind != "past":
            raise InputError("data.impute names a model that fills no gaps; train one with data=gaps model=fill.")
        readout = getattr(self.model.singles[0], "readout", None)
        if not spec.ahead or spec.stateful or readout is None:
            raise InputError("data.impute fills the windows of a network that forecasts: of no other model or state.")
        if readout.every_step:
            raise InputError(
                "data.impute fills a window with what is known at its end, and model.readout forecasts from earlier"
                " steps too; use model/readout=seq_to_vector."
            )
        self.targets = {name: own.channels.index(name) for name in spec.channels if name in own.channels}
        self.covariates = {name: own.channels.index(name) for name in spec.past_covariates if name in own.channels}
        self._check(own)

    def _check(self, own: WindowSpec) -> None:
        """Raise InputError unless the data have all columns that the imputer reads."""
        kinds = {one.column: one.values for one in self.spec.categories}
        absent = [name for name in own.channels if name not in self.targets and name not in self.covariates]
        absent += [name for name in own.past_covariates if name not in self.spec.past_covariates]
        absent += [one.column for one in own.categories if kinds.get(one.column) != one.values]
        if absent or own.statics != self.spec.statics:
            name = absent[0] if absent else (*own.statics, *self.spec.statics)[0]
            raise InputError(
                f"data.impute reads the column {name!r}, which is no target or past covariate of the same kind here;"
                " train the model that fills gaps on columns of these data."
            )

    @property
    def singles(self) -> list[AbstractForecaster]:
        return self.model.singles

    @property
    def nonnegative(self) -> tuple[bool, ...]:
        return self.model.nonnegative

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        return self.model(self.seen(inputs), state)

    def loss(
        self, inputs: Inputs, targets: Targets, state: Any = None, mask: Tensor | None = None, forecast: bool = False
    ) -> Output:
        self.model.progress = self.progress
        return self.model.loss(self.seen(inputs), targets, state, mask, forecast)

    def draw(self, inputs: Inputs, generator: Generator | None = None) -> Tensor:
        return self.model.draw(self.seen(inputs), generator)

    @torch.no_grad()
    def seen(self, inputs: Inputs) -> Inputs:
        """Inputs with estimates of what is missing, which counts as observed then."""
        gaps = self._gaps(inputs)
        self.imputer.eval()
        estimates = self.imputer.head.mean(self.imputer(gaps).forecast)[:, -1]
        begun = (inputs.past_observed.any(dim=2, keepdim=True).cumsum(dim=1) > 0) & ~gaps.past_observed
        holes = begun & gaps.past_observed.any(dim=1, keepdim=True)
        values, observed = inputs.past_target.clone(), inputs.past_observed.clone()
        for name, channel in self.targets.items():
            place, hole = self.spec.channels.index(name), holes[..., channel]
            values[..., place] = torch.where(hole, estimates[..., channel], values[..., place])
            observed[..., place] |= hole
        covariates = inputs.past_covariates.clone()
        for name, channel in self.covariates.items():
            place = self.spec.past_covariates.index(name)
            covariates[..., place] = torch.where(holes[..., channel], estimates[..., channel], covariates[..., place])
        return inputs._replace(past_target=values, past_observed=observed, past_covariates=covariates)

    def _gaps(self, inputs: Inputs) -> Inputs:
        """The windows as the imputer reads them."""
        spec, own = self.spec, self.imputer.spec
        names, statistics = spec.past_covariates, spec.past_statistics
        parts = []
        for name in own.channels:
            if name in self.targets:
                at = spec.channels.index(name)
                part = [inputs.past_target[..., at], inputs.past_observed[..., at], inputs.level[:, at]]
                parts.append([*part, inputs.seasonal_error[:, at]])
            else:
                at, values = names.index(name), inputs.past_covariates[..., names.index(name)]
                missing = (
                    inputs.past_covariates[..., names.index(name + MISSING)] > 0 if name + MISSING in names else None
                )
                known = torch.ones_like(values, dtype=torch.bool) if missing is None else ~missing
                unit = values.new_full((len(values),), statistics.deviation[at])
                parts.append([values * known, known, inputs.level.new_zeros(len(values)), unit])
        target, observed, level, error = (torch.stack(one, dim=-1) for one in zip(*parts, strict=True))
        chosen = [names.index(name) for name in own.past_covariates]
        return inputs._replace(
            past_target=target,
            past_observed=observed,
            level=level,
            seasonal_error=error,
            past_covariates=inputs.past_covariates[..., chosen],
            known_covariates=target[..., :0].repeat(1, 2, 1),
        )
