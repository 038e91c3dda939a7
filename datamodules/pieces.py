"""A data set some series at a time: what is handed over when it is too large to be read as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from datamodules.frequency import Grid
from datamodules.series import SeriesSet
from datamodules.tables.gaps import MOST_ABSENT, MOST_ABSENT_PER_ROW
from datamodules.timezones import local, show
from seqmodels.errors import InputError


class Piece(NamedTuple):
    """Consecutive series of a data set. Where it ``continues``, its one series is the rest of the last one before."""

    series: SeriesSet
    continues: bool = False
    grid: Grid | None = None


@runtime_checkable
class Divisible(Protocol):
    """Data that can be had piece by piece."""

    def files(self) -> Sequence[Path]:
        """The files in which they stand."""

    def pieces(self, folder: Path, rows: int, done: int) -> Iterator[Piece]:
        """All pieces but the first ``done``, of about so many rows each, always the same ones.

        What it takes to make them may be kept in ``folder`` until all of them are done.
        """


def bridged(piece: Piece, last: SeriesSet) -> SeriesSet:
    """The series of a piece that continues the one of which ``last`` is the last row, with the steps absent between.

    They are unobserved zeros with the covariates of the row before. Raises ``InputError`` where the piece does not
    come later, or stands on no grid point.
    """
    series = piece.series
    if last.time is None or series.time is None:
        return series
    steps = _steps(piece, last)
    if steps == 1:
        return series
    assert piece.grid is not None
    zeros = np.zeros_like(last.values).repeat(steps - 1, axis=0)
    times = piece.grid.advance(last.time.repeat(steps - 1), np.arange(1, steps))
    mask = np.ones(series.values.shape, bool) if series.observed is None else series.observed
    return replace(
        series,
        values=np.concatenate([zeros, series.values]),
        observed=np.concatenate([zeros.astype(bool), mask]),
        time=np.concatenate([times, series.time]),
        past_covariates=_after(last.past_covariates, steps, series.past_covariates),
        known_covariates=_after(last.known_covariates, steps, series.known_covariates),
        offsets=np.array([0, len(series.values) + steps - 1]),
    )


def _after(row: np.ndarray | None, steps: int, rows: np.ndarray | None) -> np.ndarray | None:
    if row is None or rows is None:
        return rows
    return np.concatenate([row.repeat(steps - 1, axis=0), rows])


def _steps(piece: Piece, last: SeriesSet) -> int:
    """From the last row before to the first one of the piece; 1 where they are neighbours."""
    series = piece.series
    assert series.time is not None and last.time is not None
    before, after = (show(local(time, series.zone)[0]) for time in (last.time, series.time[:1]))
    place = f"{series.source}: time {after} of {series.name(0) if series.names else 'the one series'}"
    if series.time[0] <= last.time[0]:
        raise InputError(
            f"{place} comes later in the table than {before}; a series of more rows than conversion.part_rows must"
            " stand in the order of time, each time once: sort the table first, or raise conversion.part_rows."
        )
    steps = 1 if piece.grid is None else int(piece.grid.count(last.time, series.time[:1])[0])
    if steps < 1:
        raise InputError(f"{place} is no whole number of steps after {before}: rows must lie on a regular grid.")
    if steps > MOST_ABSENT_PER_ROW * len(series.values) + MOST_ABSENT:
        raise InputError(f"{place} lies {steps:,} steps after {before}: check the times.")
    return steps
