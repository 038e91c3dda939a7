"""A table of any size piece by piece, each read as ``read_table`` reads a whole one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from datamodules.dividing import batches, divide, is_on_disk, open_part, scanned
from datamodules.encode import kinds_of
from datamodules.files import check_same_columns
from datamodules.frequency import Grid, find_grid
from datamodules.pieces import Piece
from datamodules.roles import Roles, find_layout, names
from datamodules.series import SeriesSet
from datamodules.table import open_source, read_table

ROLES = ("target", "time", "series_id", "past_covariates", "known_covariates", "statics")


def read_pieces(path: Any, folder: Path, rows: int, done: int, **settings: Any) -> Iterator[Piece]:
    """All pieces but the first ``done`` of the table that ``read_table`` would read with these settings.

    A table that is not long, stands in no file, or has no more than ``rows`` rows is one piece. The grid of the steps
    is that of the first piece in which a series has two rows. What is put into ``folder`` may be removed in the end.
    """
    source, roles = open_source(path), Roles(*(names(settings[role]) for role in ROLES))
    if find_layout(settings["layout"], roles) != "long" or not is_on_disk(source) or _height(source) <= rows:
        if not done:
            yield Piece(read_table(source, **settings))
        return
    check_same_columns(source)
    continues = divide(source, roles.of(source), folder, rows)
    covariates = [*roles.past_covariates, *roles.known_covariates, *roles.statics]
    kinds = kinds_of(batches(source, covariates), settings["missing_values"]) if covariates else {}
    grid: Grid | None = None
    for number in range(len(continues)):
        if number < done and grid is not None:
            continue
        series = read_table(open_part(source, folder, number, kinds), grid=grid, **settings)
        grid = grid or _grid_of(series)
        if number >= done:
            yield Piece(_named(series, grid), continues[number], grid)


def _height(source: Any) -> int:
    return sum(scanned(part).select(pl.len()).collect(engine="streaming").item() for part in source.parts)


def _grid_of(series: SeriesSet) -> Grid | None:
    return None if series.time is None else find_grid(series.time, series.offsets[:-1], series.zone)


def _named(series: SeriesSet, grid: Grid | None) -> SeriesSet:
    """The frequency of the whole table also where a piece has too few rows to show it."""
    return series if grid is None else replace(series, frequency=grid.name, season=grid.season)
