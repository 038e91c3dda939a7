"""A learned cycle as a scaler: the effect of each phase of the season is subtracted, and added back."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError
from seqmodels.scalers.affine import AffineScaling, Cycle
from seqmodels.scalers.base import Scaler
from seqmodels.window import Inputs, Origins, WindowSpec, every_step

GAIN = 10.0  # seasonal errors per unit of a table: 100 steps of Adam at 0.003 move a phase by up to three of them
MOST_OWN = 100_000  # numbers in tables of which each series has its own


class CycleScaler(Scaler):
    """Subtract a learned value for each phase of one or several ``seasons``, then scale by another ``scaler``.

    The tables begin with zeros and are trained with the network, in units of the training deviation, in panels of GAIN
    seasonal errors of the series. Their phases are those of ``Inputs.clock``.

    ``seasons``: steps, one number or several, such as [24, 168], whose tables add up; None for that of the data.
    ``shared``: True for one table of all series; False for one of each series (zero for a series that training has not
    seen); None: False if that makes at most MOST_OWN numbers.

    Raises InputError for data without times, and for a ``scaler`` that has no centre.

    Source: Lin et al. 2024, "CycleNet: Enhancing time series forecasting through modeling periodic patterns"; there
    ``scaler`` is a normalisation of each window.
    """

    clocked = True
    deviation: Tensor

    def __init__(
        self,
        spec: WindowSpec,
        scaler: Callable[..., Scaler],
        seasons: int | Sequence[int] | None = None,
        shared: bool | None = None,
    ):
        super().__init__()
        given = spec.season if seasons is None else seasons
        self.seasons = [given] if isinstance(given, int) else list(given)
        if not spec.clock:
            raise InputError(
                "model/scaler=cycle needs the phase of each window, and the data have no times that tell it: set"
                " data.time, or use model/scaler=season, which repeats the season of the window itself."
            )
        if not self.seasons or min(self.seasons) < 2:
            raise InputError(
                f"model.scaler.seasons is {self.seasons}; it must hold numbers of at least 2 steps, such as [24, 168]"
                f"{', as data.season is 1' * (seasons is None)}."
            )
        self.horizon = spec.horizon
        self.inner = scaler(spec=spec)
        if not self.inner.centres:
            raise InputError(
                "model.scaler.scaler must have a centre, to which the cycle is added: use standard, window or season."
            )
        for name in ("per_window", "in_own_units", "of_one_value", "levels"):
            setattr(self, name, getattr(self.inner, name))
        own = spec.series * sum(self.seasons) * len(spec.channels) <= MOST_OWN if shared is None else not shared
        self.several = spec.series > 1
        self.own = own and self.several
        self.register_buffer("deviation", torch.tensor([spec.target_statistics.deviation]), persistent=False)
        shape = spec.series if self.own else 1
        sizes = [(shape, season, len(spec.channels)) for season in self.seasons]
        self.tables = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)

    def __repr__(self) -> str:
        return f"CycleScaler(seasons={self.seasons}, {'one of each series' if self.own else 'shared'}, {self.inner})"

    def burn_in(self, spec: WindowSpec) -> int:
        return self.inner.burn_in(spec)

    def forward(self, inputs: Inputs, origins: Origins) -> AffineScaling:
        past = inputs.past_target
        cycle = self._look_up(inputs)
        before, ahead = cycle.split([past.shape[1], self.horizon], dim=1)
        scaling = self.inner(inputs._replace(past_target=(past - before) * inputs.past_observed), origins)
        assert isinstance(scaling, AffineScaling)
        centre = scaling.centre + every_step(before, ahead, origins)
        return scaling._replace(centre=centre, cycle=Cycle(before, ahead))

    def _look_up(self, inputs: Inputs) -> Tensor:
        """The sum of the cycles at each step of the past and the horizon, (B, T + H, C), in raw units."""
        known = inputs.identity >= 0
        row = inputs.identity.clamp(min=0) if self.own else torch.zeros_like(inputs.identity)
        lead = torch.arange(1 - inputs.past_target.shape[1], self.horizon + 1, device=row.device)
        step = inputs.clock[:, None] + lead
        phases = [table[row[:, None], step % table.shape[1]] for table in self.tables]
        unit = GAIN * inputs.seasonal_error * (known[:, None] if self.own else 1) if self.several else self.deviation
        return torch.stack(phases).sum(dim=0) * unit[:, None]
