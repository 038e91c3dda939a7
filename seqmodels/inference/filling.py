"""Estimates of all missing values of a table, with bands, beside the measured values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from datamodules.hidden import CoveringIndex, GapEncoder, find_gaps, observed_of
from datamodules.series import SeriesSet
from seqmodels.errors import InputError
from seqmodels.inference.calibration import Calibration
from seqmodels.inference.prediction import predict
from seqmodels.report.future import row_times
from seqmodels.report.gap_plots import Gap, plot_gaps
from seqmodels.report.output import format_number, pluralise, to_text
from seqmodels.window import AbstractForecaster

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAND = (0.1, 0.9)
SHOWN, DRAWN = 10, 6  # gaps in the terminal, and in the picture


@dataclass(frozen=True, eq=False)
class Filled:
    """A table without gaps: measured values as they were, and estimates of the others.

    ``values`` (rows, C) float64; ``filled`` (rows, C) bool, True where they are estimates; ``quantiles``
    (rows, C, levels), NaN where they are not, and where there are no bands. A value that no window sees anything around
    stays NaN. ``notes`` has one line per repair of the rows.
    """

    series: SeriesSet
    values: np.ndarray
    filled: np.ndarray
    quantiles: np.ndarray
    levels: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per time step: id, time (or step), and of each channel value, True if it is filled, and quantiles.

        There is no id for a single series without a name, and no quantile if there are no bands.
        """
        series, times = self.series, row_times(self.series)
        columns: dict[str, Any] = {}
        if series.names:
            owner = np.repeat(np.arange(len(series)), series.lengths)
            columns["id"] = pl.Series(series.names, dtype=pl.String).gather(owner)
        columns[times.name] = times
        for index, name in enumerate(series.channels):
            columns[name] = self.values[:, index]
            columns[f"{name} filled"] = self.filled[:, index]
            if np.isfinite(self.quantiles).any():
                columns |= {f"{name} q{level:g}": self.quantiles[:, index, at] for at, level in enumerate(self.levels)}
        return pl.DataFrame(columns, nan_to_null=True)

    @cached_property
    def gaps(self) -> list[tuple[int, int, int]]:
        """Channel, first row and end of each gap, the longest first."""
        found, offsets = [], self.series.offsets
        for channel in range(self.filled.shape[1]):
            lacking = ~observed_of(self.series)[:, channel]
            starts = np.flatnonzero(
                lacking & ~np.append(False, lacking[:-1]) | lacking & np.isin(np.arange(len(lacking)), offsets)
            )
            runs = np.append(~lacking, True)
            ends = np.minimum(
                [int(start + runs[start:].argmax()) for start in starts],
                offsets[np.searchsorted(offsets, starts, "right")],
            )
            found += [(channel, int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
        return sorted(found, key=lambda gap: gap[1] - gap[2])

    def plot(self) -> "Figure":
        """The longest gaps, with their surroundings and bands."""
        drawn = [self._panel(*gap) for gap in self.gaps[:DRAWN]]
        return plot_gaps(drawn, f"The longest of {pluralise(len(self.gaps), 'gap')}")

    def _panel(self, channel: int, start: int, end: int) -> Gap:
        owner = int(np.searchsorted(self.series.offsets, start, "right")) - 1
        around = max(10, end - start)
        rows = slice(
            max(start - around, int(self.series.offsets[owner])), min(end + around, int(self.series.offsets[owner + 1]))
        )
        measured, filled = observed_of(self.series)[rows, channel], self.filled[rows, channel]
        values, quantiles = self.values[rows, channel], self.quantiles[rows, channel]
        return Gap(
            self._title(channel, start, end),
            np.where(measured, values, np.nan),
            np.where(filled, values, np.nan),
            None,
            quantiles[:, 0],
            quantiles[:, -1],
        )

    def _title(self, channel: int, start: int, end: int) -> str:
        series, times = self.series, row_times(self.series)
        name = f"{series.name(int(np.searchsorted(series.offsets, start, 'right')) - 1)}, " if len(series) > 1 else ""
        until = f" ... {times[end - 1]}" if end > start + 1 else ""
        return f"{name}{series.channels[channel]}: {times[start]}{until}"

    def __rich__(self) -> RenderableType:
        table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
        for heading in ("", "steps", "from", "to"):
            table.add_column(heading, no_wrap=True, justify="right" if heading else "left")
        for channel, start, end in self.gaps[:SHOWN]:
            values = self.values[start:end, channel]
            known = values[np.isfinite(values)]
            limits = (known.min(), known.max()) if len(known) else (np.nan, np.nan)
            table.add_row(f" {self._title(channel, start, end)}", f"{end - start:,}", *map(format_number, limits))
        lacking = int((~observed_of(self.series)).sum())
        count = (
            f" {pluralise(int(self.filled.sum()), 'value')} of {lacking:,} missing filled"
            if lacking
            else " There is no gap"
        )
        rest = f", {len(self.gaps) - SHOWN:,} more gaps" if len(self.gaps) > SHOWN else ""
        return Group(table, Text(f"{count}{rest}.", style="dim"))

    def __repr__(self) -> str:
        return to_text(self)


@torch.no_grad()
def fill_gaps(
    model: AbstractForecaster,
    encoder: GapEncoder,
    calibration: Calibration | None,
    series: SeriesSet,
    levels: Sequence[float],
) -> Filled:
    """Fill all that is missing in the series, as far as windows see anything around it.

    Raises InputError for a channel without any value, and for estimates that are not finite.
    """
    observed, steps = observed_of(series), model.spec.past_steps
    for name, seen in zip(series.channels, observed.T, strict=True):
        if not seen.any():
            raise InputError(f"{series.source}: column {name!r} is empty: there is nothing to fill it from.")
    values = np.where(observed, series.values.astype(np.float64), np.nan)
    filled, quantiles = np.zeros(observed.shape, bool), np.full((*observed.shape, len(levels)), np.nan)
    loader = encoder.windows(series)
    position = 0
    for window in loader:
        inputs, indices = window.inputs, torch.arange(position, position + len(window.origin))
        position += len(indices)
        output = model(inputs).forecast
        assert output is not None
        mean, bands = predict(model, output[:, -1], inputs, calibration, levels)
        estimates = (mean.double() + inputs.level[:, None]).numpy()
        assert isinstance(loader.index, CoveringIndex)
        chosen = (loader.index.owns(indices, steps)[..., None] & inputs.past_observed.any(dim=1, keepdim=True)).numpy()
        window_rows = window.origin[:, None].numpy() + np.arange(1 - steps, 1)
        places = np.nonzero(chosen & ~observed[np.maximum(window_rows, 0)])
        cells = window_rows[places[0], places[1]], places[2]
        if not np.isfinite(estimates[places]).all():
            raise InputError("an estimate is not a finite number; look at the values around the gaps and at the model.")
        values[cells], filled[cells] = estimates[places], True
        if bands is not None:
            quantiles[cells] = bands.numpy()[places]
    wide = "the bands are those of the head, and wide: too few hidden values of validation to calibrate them."
    uncalibrated = [wide] if calibration is None and model.head.distribution and filled.any() else []
    notes = [*uncalibrated, *series.notes, *_notes(series, observed, filled)]
    return Filled(series, values, filled, quantiles, tuple(levels), tuple(notes))


def _notes(series: SeriesSet, observed: np.ndarray, filled: np.ndarray) -> list[str]:
    whole = [name for name, seen in zip(series.channels, observed.T, strict=True) if seen.all()]
    notes = [f"{series.source}: column {name!r} has no gap." for name in whole]
    left = ~(observed | filled)
    if left.any():
        longest, count = max(map(len, find_gaps(~left))), pluralise(int(left.sum()), "value")
        notes.append(
            f"{series.source}: {count} in gaps of up to {longest:,} steps stay empty, as a"
            f" window of the model sees nothing around them: train with data.past_steps={2 * longest}."
        )
    return notes
