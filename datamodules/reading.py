"""One table on its way to a ``SeriesSet``: knows in which order columns are read, and what is kept of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from datamodules.across import read_across
from datamodules.cells import Source
from datamodules.clock import read_clock
from datamodules.covariates import Encoded, read_covariates, read_statics
from datamodules.encode import MissingValues, note_missing, to_target, without_marks
from datamodules.files import check_same_columns
from datamodules.frames import Frame
from datamodules.frequency import Grid
from datamodules.keys import read_series, read_stamps
from datamodules.roles import LAYOUTS, Roles, find_layout
from datamodules.rows import Rows
from datamodules.series import SeriesSet
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
        if marks and not self.marked and not self.source.is_part:
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
