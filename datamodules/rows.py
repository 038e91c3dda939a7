"""The rows of a table as arrays: knows how to order them, drop duplicates, fill gaps and split columns into series."""

from dataclasses import dataclass, replace

import numpy as np

from datamodules.cells import TableFile
from datamodules.grid import Grid, find_grid, listed, plural, spacing
from seqmodels.window import InputError

# A wrong year among the stamps must not become millions of rows.
MOST_ABSENT_PER_ROW, MOST_ABSENT = 10, 1000


@dataclass(frozen=True)
class Rows:
    """Parallel arrays, one entry per row; ``codes`` is None for one series, ``lines`` is None while in file order."""

    values: np.ndarray  # (rows, C) float32
    time: np.ndarray | None  # (rows,) datetime64[us] or int64
    codes: np.ndarray | None  # (rows,) int64, number of the series
    names: tuple[str, ...]
    observed: np.ndarray | None  # (rows, C) bool
    past: np.ndarray  # (rows, U) float32
    known: np.ndarray  # (rows, K) float32
    past_names: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()
    lines: np.ndarray | None = None  # (rows,) int64, row of the file

    @property
    def starts(self) -> np.ndarray:
        """First row of each series, (series,) int64; the rows of a series are adjacent."""
        if self.codes is None:
            return np.zeros(1, np.int64)
        return np.flatnonzero(np.diff(self.codes, prepend=-1))

    @property
    def offsets(self) -> np.ndarray:
        """``starts`` and the end, (series + 1,) int64."""
        return np.append(self.starts, len(self.values))

    def take(self, index: np.ndarray) -> "Rows":
        """These rows in this order; ``index`` is (n,) int64 or a mask."""
        lines = np.arange(len(self.values)) if self.lines is None else self.lines
        return replace(
            self,
            values=self.values[index],
            time=None if self.time is None else self.time[index],
            codes=None if self.codes is None else self.codes[index],
            observed=None if self.observed is None else self.observed[index],
            past=self.past[index],
            known=self.known[index],
            lines=lines[index],
        )

    def line(self, row: int) -> int:
        """Row of the file from which ``row`` comes."""
        return int(row if self.lines is None else self.lines[row])

    def label(self, row: int) -> str:
        """Time of a row as people write it, with its series where there are several."""
        label = "" if self.time is None else show(self.time[row])
        return label if self.codes is None else f"{label} of series {self.names[self.codes[row]]!r}"


def show(label: np.generic) -> str:
    """A time label without the parts that are zero: '2011-10-01', '2011-10-01 05:00'."""
    text = str(label).replace("T", " ").removesuffix(".000000")
    return text.removesuffix(" 00:00:00").removesuffix(":00") if " " in text else text


def order_rows(table: TableFile, rows: Rows, columns: list[str]) -> tuple[Rows, list[str]]:
    """Rows grouped by series in order of first appearance, ascending in time, without exact duplicates; and notes.

    Raises ``InputError`` for two rows of the same series and time with different cells.
    """
    notes = []
    keys = [key for key in (rows.time, rows.codes) if key is not None]
    if not _ascending(keys):
        before = len(rows.values)
        by_series = rows if rows.codes is None else rows.take(np.argsort(rows.codes, kind="stable"))
        if not _ascending([key for key in (by_series.time, by_series.codes) if key is not None]):
            notes.append(f"{table.name}: {before:,} rows were not in time order: sorted.")
        rows = rows.take(np.lexsort(keys))
    if rows.time is None:
        return rows, notes
    rows, more = _drop_duplicates(table, rows)
    return rows, notes + more


def _ascending(keys: list[np.ndarray]) -> bool:
    """Whether rows are in order of the last key, within it of the one before it."""
    if not keys:
        return True
    *minor, major = keys
    if not (major[1:] >= major[:-1]).all():
        return False
    return not minor or bool(((minor[0][1:] >= minor[0][:-1]) | (major[1:] > major[:-1])).all())


def _drop_duplicates(table: TableFile, rows: Rows) -> tuple[Rows, list[str]]:
    assert rows.time is not None
    again = np.zeros(len(rows.time), bool)
    again[1:] = rows.time[1:] == rows.time[:-1]
    again[rows.starts] = False
    later = np.flatnonzero(again)
    if len(later) == 0:
        return rows, []
    _refuse_conflict(table, rows, later)
    first = int(later[(later if rows.lines is None else rows.lines[later]).argmin()])
    where = table.place(rows.line(first)).split(", ")[-1]
    note = f"{table.name}: {len(later):,} exact duplicate rows dropped (first: {where}, {rows.label(first)})."
    return rows.take(~again), [note]


def _refuse_conflict(table: TableFile, rows: Rows, later: np.ndarray) -> None:
    """Raise if a row of ``later`` differs in any used cell from the row before it, which has the same time."""
    differs = np.zeros(len(later), bool)
    for cells in (rows.values, rows.observed, rows.past, rows.known):
        if cells is not None:
            differs |= (cells[later] != cells[later - 1]).any(axis=1)
    if differs.any():
        row = int(later[differs.argmax()])
        other = table.place(rows.line(row - 1)).split(", ")[-1]
        hint = " (data.id may be missing)" if rows.codes is None else ""
        raise InputError(
            f"{table.place(rows.line(row))} and {other} have the same time {rows.label(row)} but different values: "
            f"one row per series and time is allowed{hint}."
        )


def fill_gaps(table: TableFile, rows: Rows) -> tuple[Rows, Grid | None, list[str]]:
    """Rows with every step of the grid: absent ones are unobserved zeros whose covariates repeat the row before.

    Raises ``InputError`` for a stamp that lies on no grid point, and where far more rows would be absent than present.
    """
    grid = None if rows.time is None else find_grid(rows.time, rows.starts)
    if rows.time is None or grid is None:
        return rows, None, []
    steps = np.ones(len(rows.time), np.int64)  # from the row before; 1 at the start of a series
    steps[1:] = grid.count(rows.time[:-1], rows.time[1:])
    steps[rows.starts] = 1
    if (steps == 1).all():
        return rows, grid, []
    _check_steps(table, rows, grid, steps)
    position = np.cumsum(steps) - 1
    present = np.zeros(position[-1] + 1, bool)
    present[position] = True
    filled = _insert(rows, grid, position, present)
    absent = np.flatnonzero(~present)
    labels = [filled.label(row) for row in absent[:5]] + [""] * (len(absent) - 5)
    note = f"{table.name}: {plural(grid.name, len(absent))} made explicit as missing: {listed(labels)}."
    return filled, grid, [note]


def _insert(rows: Rows, grid: Grid, position: np.ndarray, present: np.ndarray) -> Rows:
    source = np.cumsum(present) - 1
    absent = np.flatnonzero(~present)
    filled = rows.take(source)
    assert filled.time is not None
    filled.time[absent] = grid.advance(filled.time[absent], absent - position[source[absent]])
    filled.values[absent] = 0
    observed = present[:, None].repeat(filled.values.shape[1], axis=1) if filled.observed is None else filled.observed
    observed[absent] = False
    return replace(filled, observed=observed, lines=None)


def _check_steps(table: TableFile, rows: Rows, grid: Grid, steps: np.ndarray) -> None:
    off = steps < 1
    if off.any():
        row = int(off.argmax())
        raise InputError(
            f"{table.place(rows.line(row))}: time {rows.label(row)} is no whole number of steps "
            f"({spacing(grid)}, the most common one) "
            f"after {rows.label(row - 1)}: rows must lie on a regular grid."
        )
    absent = int(steps.sum()) - len(steps)
    if absent > MOST_ABSENT_PER_ROW * len(steps) + MOST_ABSENT:
        row = int(steps.argmax())
        raise InputError(
            f"{table.place(rows.line(row))}: time {rows.label(row)} lies {steps[row]:,} steps after "
            f"{rows.label(row - 1)}, and in all {absent:,} steps are absent beside {len(steps):,} rows: "
            "check the times, or leave out data.time to count rows."
        )


def split_columns(rows: Rows, columns: tuple[str, ...]) -> Rows:
    """Each column becomes a series of its own, from its first to its last observed value."""
    spans = []
    for index in range(len(columns)):
        seen = np.arange(len(rows.values)) if rows.observed is None else np.flatnonzero(rows.observed[:, index])
        spans.append(np.arange(seen[0], seen[-1] + 1))
    row = np.concatenate(spans)
    column = np.repeat(np.arange(len(columns)), [len(span) for span in spans])
    observed = None if rows.observed is None else rows.observed[row, column, None]
    return Rows(
        values=rows.values[row, column, None],
        time=None if rows.time is None else rows.time[row],
        codes=column,
        names=columns,
        observed=None if observed is None or observed.all() else observed,
        past=rows.past[row],
        known=rows.known[row],
        past_names=rows.past_names,
        known_names=rows.known_names,
    )
