"""The reader that turns a table into a ``SeriesSet``, one column after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np

from datamodules.frequency import Grid
from datamodules.series import SeriesSet
from datamodules.tables.duplicates import check_duplicates
from datamodules.tables.files import check_same_columns, open_files
from datamodules.tables.gaps import fill_gaps
from datamodules.tables.layouts import read_across, split_columns
from datamodules.tables.roles import LAYOUTS, Names, Roles, find_layout, names
from datamodules.tables.rows import Rows
from datamodules.tables.series_ids import read_series
from datamodules.tables.sorting import order_rows
from datamodules.tables.source import Frame, Source, open_frame
from datamodules.tables.timestamps import read_clock, read_stamps
from datamodules.tables.values import (
    Encoded,
    MissingValues,
    note_missing,
    read_covariates,
    read_statics,
    to_target,
    without_marks,
)
from datamodules.timezones import check_zone
from seqmodels.window import InputError


@dataclass
class Reading:
    """What is being read, what is known of it beside its rows, and notes in the order in which they were made."""

    source: Source
    roles: Roles
    missing_values: MissingValues
    notes: list[str] = field(default_factory=list)
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    static: np.ndarray | None = None
    marked: int = 0  # cells that data.missing_values names

    def __post_init__(self) -> None:
        self.notes += self.source.notes
        if isinstance(self.source, Frame) and self.source.index and not self.roles.time:
            self.roles = replace(self.roles, time=(self.source.index,))
            self.notes.append(f"{self.source.name}: its index {self.source.index!r} is taken as data.time.")

    def find_layout(self, layout: str) -> str:
        """The layout, of which a note tells where it was not asked for; from now on the roles name columns."""
        found = find_layout(layout, self.roles)
        if layout == "auto":
            series = " and series" if found == "long" and self.roles.id else ""
            self.notes.append(f"{self.source.name}: taken as {found}: {LAYOUTS[found]}{series} (data.layout).")
        if found != "rows":
            check_same_columns(self.source)
            self.roles = self.roles.of(self.source)
        _check_missing_values(self.missing_values, self.source, self.roles)
        return found

    def across(self) -> Rows:
        """The rows of a table of one series per row."""
        rows, notes, self.marked = read_across(self.source, self.roles, self.missing_values)
        self.notes += notes
        self._read_statics(self.source.parts[0], np.arange(len(rows.names)), rows.names)
        self._note_unmarked()
        return rows

    def rows(self, time_format: str | None, time_zone: str | None) -> Rows:
        """The rows of a table of one row per step, in the order of the table; one column after the other is read."""
        source, roles = self.source, self.roles
        source.load(roles.numbers, roles.texts, steps=not roles.texts)
        codes, series = read_series(source, roles.id)
        labels, zone = None, ""
        if roles.time:
            labels, zone, more = read_clock(source, *read_stamps(source, roles.time, time_format), time_zone, codes)
            self.notes += more
        self._read_statics(source, codes, series)
        values, observed = self._targets()
        past = self._covariates(roles.past_covariates, len(values))
        known = self._covariates(roles.known_covariates, len(values))
        self._note_unmarked()
        covariates = roles.past_covariates, roles.known_covariates
        return Rows(values, labels, codes, series, observed, past, known, *covariates, zone=zone)

    def series(self, rows: Rows, channels: tuple[str, ...], grid: Grid | None = None) -> SeriesSet:
        """All that has been read, once the rows stand in order."""
        assert rows.offsets is not None
        return SeriesSet(
            values=rows.values,
            offsets=rows.offsets,
            channels=channels,
            observed=rows.observed,
            time=rows.time,
            names=rows.names,
            past_covariates=rows.past if rows.past_names else None,
            known_covariates=rows.known if rows.known_names else None,
            past_covariate_names=rows.past_names,
            known_covariate_names=rows.known_names,
            static=self.static,
            static_names=self.roles.statics,
            categories=self.categories,
            zone=rows.zone,
            frequency=grid.name if grid else "",
            season=grid.season if grid else 1,
            source=self.source.name,
            notes=tuple(self.notes),
        )

    def _targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Values (rows, C) with 0 where missing, and the mask, None if all are observed."""
        columns = self.roles.target
        values, observed = np.empty((0, 0), np.float32), None
        for index, name in enumerate(columns):
            numbers, marked = self._target(name)
            if index == 0:
                values = np.empty((len(numbers), len(columns)), np.float32)
            values[:, index] = numbers
            missing = np.isnan(numbers)
            if missing.any():
                observed = np.ones(values.shape, bool) if observed is None else observed
                observed[:, index] = ~missing
                values[missing, index] = 0
                self.notes += note_missing(self.source, name, missing, marked)
        return values, observed

    def _target(self, name: str) -> tuple[np.ndarray, int]:
        cells, marked = without_marks(self.source.column(name), self.missing_values)
        self.marked += marked
        return to_target(self.source, cells), marked

    def _covariates(self, columns: Sequence[str], rows: int) -> np.ndarray:
        return self._taken(read_covariates(self.source, columns, rows, self.missing_values))

    def _read_statics(self, source: Source, codes: np.ndarray | None, series: tuple[str, ...]) -> None:
        if self.roles.statics:
            self.static = self._taken(read_statics(source, self.roles.statics, codes, series, self.missing_values))

    def _taken(self, encoded: Encoded) -> np.ndarray:
        self.notes += encoded.notes
        self.categories |= encoded.categories
        self.marked += encoded.marked
        return encoded.values

    def _note_unmarked(self) -> None:
        """Say so where ``missing_values`` is of no effect at all; a part of a table cannot tell."""
        given = self.missing_values
        marks = [one for marks in given.values() for one in marks] if isinstance(given, Mapping) else list(given)
        if marks and not self.marked and not self.source.is_shard:
            different = list(dict.fromkeys(map(str, marks)))
            verb = "is" if len(different) == 1 else "are"
            said = f"{', '.join(different)} {verb} in no cell that is read from {self.source.name}"
            self.notes.append(f"data.missing_values: {said}.")


def _check_missing_values(missing_values: MissingValues, source: Source, roles: Roles) -> None:
    """Each column that is named must be one that may lack values."""
    if isinstance(missing_values, Mapping):
        unknown = next((name for name in missing_values if name not in roles.numbers and not roles.every), None)
        if unknown is not None:
            raise InputError(
                f"data.missing_values: {unknown!r} is no target, covariate or static of {source.name};"
                f" these are {', '.join(map(repr, roles.numbers))}."
            )


def read_table(
    path: Any,
    *,
    target: str | Sequence[str],
    time: Names = None,
    time_format: str | None = None,
    time_zone: str | None = None,
    series_id: Names = None,
    layout: str = "auto",
    past_covariates: Names = (),
    known_covariates: Names = (),
    statics: Names = (),
    missing_values: MissingValues = (),
    duplicates: str = "refuse",
    grid: Grid | None = None,
) -> SeriesSet:
    """Read the named columns of a table; values keep their units.

    ``path`` names a ``.csv``, ``.csv.gz`` or ``.parquet`` file, a list of such files, or a directory of them, in which
    a directory ``region=north`` gives its files a column ``region``; all must have the same columns. It may also be a
    data frame of polars, pandas (an index with names or times counts as columns) or pyarrow.

    ``layout="long"`` has one row per step and series; the ``target`` columns are the channels and ``series_id``, one
    column or several, tells the series apart. ``"wide"`` has one series per ``target`` column (``"*"``: every column
    without another role); its one channel is called ``value``, and empty cells before and after the numbers of a
    column do not belong to its series. ``"rows"`` has one series per row, see ``datamodules.tables.layouts``.
    ``"auto"`` takes ``rows`` for the target ``*`` with an id and no time, ``wide`` for ``*`` without an id, and else
    ``long``.

    ``time`` holds dates, date-times (``time_format`` in strptime form, otherwise detected) or whole numbers; several
    columns may hold its parts, see ``datamodules.tables.series_ids``; without it rows are steps in file order.
    ``time_zone``: see ``datamodules.tables.timestamps``. Rows are put in order, exact duplicates dropped, others
    treated as ``duplicates`` says (see ``datamodules.tables.duplicates``), absent steps of the grid made explicit as
    unobserved; ``notes`` says what was done. A ``grid`` that is known from elsewhere is not looked for.

    ``encode.MISSING`` and ``missing_values``, for all columns or by column, mean that there is no value: an unobserved
    zero in a target, NaN in a covariate. Covariates and ``statics``, which do not change within a series, may be texts:
    see ``SeriesSet.categories``.

    Raises ``InputError`` for everything that cannot be read without guessing, with file, line, column, value and rule.
    """
    roles = Roles(*map(names, (target, time, series_id, past_covariates, known_covariates, statics)))
    _check_settings(roles, time_format, time_zone, duplicates)
    table = Reading(open_source(path), roles, missing_values)
    layout = table.find_layout(layout)
    if layout == "rows":
        return table.series(table.across(), ("value",))
    channels = table.roles.target
    rows, notes = order_rows(table.source, table.rows(time_format, time_zone), list(channels), duplicates)
    rows, grid, more = fill_gaps(table.source, rows, grid)
    table.notes += notes + more
    if layout == "wide":
        rows, channels = split_columns(rows, channels), ("value",)
    return table.series(rows, channels, grid)


def open_source(path: Any) -> Source:
    """The table that ``path`` names or is."""
    if isinstance(path, Source):
        return path
    return open_files(path) if isinstance(path, (str, PathLike, list, tuple)) else open_frame(path)


def _check_settings(roles: Roles, time_format: str | None, time_zone: str | None, duplicates: str) -> None:
    for key, value in {"time_format": time_format, "time_zone": time_zone}.items():
        if value is not None and not roles.time:
            raise InputError(f"data.{key}={value} needs data.time, the column that it describes.")
    if time_zone is not None:
        check_zone(time_zone)
    check_duplicates(duplicates)
