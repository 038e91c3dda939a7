"""Reading a table into a ``SeriesSet``, one column after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np

from datamodules.frequency import Frequency
from datamodules.series import SeriesSet
from datamodules.tables.duplicates import check_duplicates, drop_duplicates
from datamodules.tables.files import check_same_columns, open_files
from datamodules.tables.gaps import fill_gaps
from datamodules.tables.layouts import read_series_per_row, split_columns
from datamodules.tables.roles import LAYOUTS, Names, Roles, find_layout, to_tuple
from datamodules.tables.rows import Rows, sort_rows
from datamodules.tables.series_ids import read_series_ids
from datamodules.tables.source import Frame, Source, open_frame
from datamodules.tables.timestamps import read_timestamps
from datamodules.tables.values import (
    Matrix,
    MissingValues,
    mask_missing_values,
    note_missing,
    read_covariates,
    read_statics,
    to_target,
)
from datamodules.timezones import check_zone
from seqmodels.errors import InputError


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
    frequency: Frequency | None = None,
) -> SeriesSet:
    """Read the given columns of a table; values keep their units.

    ``path`` is a ``.csv``, ``.csv.gz`` or ``.parquet`` file, a list of such files, or a directory of them, in which a
    directory ``region=north`` adds a column ``region`` to its files; all must have the same columns. It may also be a
    data frame of polars, pandas (an index with names or times counts as columns) or pyarrow.

    ``layout="long"`` has one row per step and series; the ``target`` columns are channels, and ``series_id``, one or
    several columns, identifies the series. ``"wide"`` has one series per ``target`` column (``"*"``: every column
    without another role) with the single channel ``value``; empty cells before its first and after its last number do
    not belong to a series. ``"rows"`` has one series per row, see ``datamodules.tables.layouts``. ``"auto"`` chooses
    ``rows`` for the target ``*`` with an id and without time, ``wide`` for any other ``*``, else ``long``.

    ``time`` holds dates, datetimes (``time_format`` in strptime notation, otherwise detected) or whole numbers, in one
    column or in parts, see ``datamodules.tables.timestamps``, also for ``time_zone``; without it rows are steps in
    file order. Rows are sorted, exact duplicates dropped, other duplicates treated by the rule ``duplicates`` (see
    ``datamodules.tables.duplicates``), and absent steps inserted as unobserved; ``notes`` tell what was done. The
    ``frequency`` is inferred unless it is given.

    ``values.MISSING`` and ``missing_values``, for all columns or by column, mean "no value": an unobserved zero in a
    target, NaN in a covariate. Covariates and ``statics``, which are constant within a series, may be texts: see
    ``SeriesSet.categories``.

    Raises ``InputError``, with file, line, column, value and rule, for everything that cannot be read without guessing.
    """
    roles = Roles(*map(to_tuple, (target, time, series_id, past_covariates, known_covariates, statics)))
    _check_settings(roles, time_format, time_zone, duplicates)
    reader = _Reader(open_source(path), roles, missing_values)
    layout = reader.find_layout(layout)
    if layout == "rows":
        return reader.to_series(reader.read_series_per_row(), ("value",))
    rows, channels, source = reader.read_rows(time_format, time_zone), reader.roles.target, reader.source
    reader.notes += sort_rows(source, rows)
    reader.notes += drop_duplicates(source, rows, channels, duplicates)
    frequency, notes = fill_gaps(source, rows, frequency)
    reader.notes += notes
    if layout == "wide":
        rows, channels = split_columns(rows, channels), ("value",)
    return reader.to_series(rows, channels, frequency)


def open_source(path: Any) -> Source:
    """Open files or a data frame as a table; an open table is returned as it is."""
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


@dataclass
class _Reader:
    """A table being read: its columns become arrays, everything else is collected here."""

    source: Source
    roles: Roles
    missing_values: MissingValues
    notes: list[str] = field(default_factory=list)  # in the order of the steps
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    static: np.ndarray | None = None
    masked: int = 0  # cells that data.missing_values names

    def __post_init__(self) -> None:
        self.notes += self.source.notes
        if isinstance(self.source, Frame) and self.source.index and not self.roles.time:
            self.roles = replace(self.roles, time=(self.source.index,))
            self.notes.append(f"{self.source.name}: its index {self.source.index!r} is used as data.time.")

    def find_layout(self, layout: str) -> str:
        """Find and note the layout, and check the columns; afterwards the roles name existing columns."""
        found = find_layout(layout, self.roles)
        if layout == "auto":
            series = " and series" if found == "long" and self.roles.id else ""
            self.notes.append(f"{self.source.name}: taken as {found}: {LAYOUTS[found]}{series} (data.layout).")
        if found != "rows":
            check_same_columns(self.source)
            self.roles = self.roles.resolve(self.source)
        self._check_missing_values()
        return found

    def read_series_per_row(self) -> Rows:
        """Read a table with one series per row."""
        rows, notes, self.masked = read_series_per_row(self.source, self.roles, self.missing_values)
        self.notes += notes
        self._read_statics(self.source.parts[0], np.arange(len(rows.names)), rows.names)
        self._note_unused_missing_values()
        return rows

    def read_rows(self, time_format: str | None, time_zone: str | None) -> Rows:
        """Read a table with one row per step, in file order."""
        source, roles = self.source, self.roles
        source.load(roles.numbers, roles.texts, steps=not roles.texts)
        codes, series = read_series_ids(source, roles.id)
        time, zone = None, ""
        if roles.time:
            time, zone, notes = read_timestamps(source, roles.time, time_format, time_zone, codes)
            self.notes += notes
        self._read_statics(source, codes, series)
        values, observed = self._read_targets()
        past, known = (
            self._add(read_covariates(source, columns, len(values), self.missing_values))
            for columns in (roles.past_covariates, roles.known_covariates)
        )
        self._note_unused_missing_values()
        covariates = roles.past_covariates, roles.known_covariates
        return Rows(values, time, codes, series, observed, past, known, *covariates, zone=zone)

    def to_series(self, rows: Rows, channels: tuple[str, ...], frequency: Frequency | None = None) -> SeriesSet:
        """Combine sorted rows with everything that was collected."""
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
            frequency=frequency.name if frequency else "",
            season=frequency.season if frequency else 1,
            source=self.source.name,
            notes=tuple(self.notes),
        )

    def _read_targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Values (rows, C), 0 if missing, and the mask of observed values, None if all are."""
        columns = self.roles.target
        values, observed = np.empty((0, 0), np.float32), None
        for index, name in enumerate(columns):
            cells, masked = mask_missing_values(self.source.column(name), self.missing_values)
            numbers = to_target(self.source, cells)
            if index == 0:
                values = np.empty((len(numbers), len(columns)), np.float32)
            values[:, index] = numbers
            self.masked += masked
            missing = np.isnan(numbers)
            if missing.any():
                observed = np.ones(values.shape, bool) if observed is None else observed
                observed[:, index] = ~missing
                values[missing, index] = 0
                self.notes += note_missing(self.source, name, missing, masked)
        return values, observed

    def _read_statics(self, source: Source, codes: np.ndarray | None, series: tuple[str, ...]) -> None:
        if self.roles.statics:
            self.static = self._add(read_statics(source, self.roles.statics, codes, series, self.missing_values))

    def _add(self, matrix: Matrix) -> np.ndarray:
        self.notes += matrix.notes
        self.categories |= matrix.categories
        self.masked += matrix.masked
        return matrix.values

    def _check_missing_values(self) -> None:
        """Raise ``InputError`` for a column that cannot have missing values."""
        if isinstance(self.missing_values, Mapping) and not self.roles.all_targets:
            unknown = next((name for name in self.missing_values if name not in self.roles.numbers), None)
            if unknown is not None:
                raise InputError(
                    f"data.missing_values: {unknown!r} is not a target, covariate or static of {self.source.name};"
                    f" these are {', '.join(map(repr, self.roles.numbers))}."
                )

    def _note_unused_missing_values(self) -> None:
        """Note ``missing_values`` without any effect; a shard cannot tell."""
        given = self.missing_values
        markers = [one for markers in given.values() for one in markers] if isinstance(given, Mapping) else list(given)
        if markers and not self.masked and not self.source.is_shard:
            different = list(dict.fromkeys(map(str, markers)))
            verb = "is" if len(different) == 1 else "are"
            where = f"in no cell that is read from {self.source.name}"
            self.notes.append(f"data.missing_values: {', '.join(different)} {verb} {where}.")
