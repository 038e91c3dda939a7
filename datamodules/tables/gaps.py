"""Steps of the grid that no row stands for: knows how to find them, refuse too many of them and make them explicit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datamodules.arrays import chunks
from datamodules.frequency import Grid, IntegerGrid, every, find_grid, listed, plural
from datamodules.tables.rows import Rows
from datamodules.tables.source import Source
from seqmodels.window import InputError

# A wrong year among the stamps must not become millions of rows.
MOST_ABSENT_PER_ROW, MOST_ABSENT = 10, 1000
FEWEST_STAMPS = 6  # of a series whose own step is believed
MOST_TRIED = 200  # series whose own step is looked for


@dataclass(frozen=True)
class Jumps:
    """The rows that do not follow the row before them in their series by one step, and by how many they do."""

    rows: np.ndarray  # (jumps,) int64, ascending
    steps: np.ndarray  # (jumps,) int64, 0 where the row stands on no grid point

    @property
    def absent(self) -> int:
        """Steps without a row."""
        return int((self.steps - 1).sum())


def fill_gaps(table: Source, rows: Rows, grid: Grid | None = None) -> tuple[Rows, Grid | None, list[str]]:
    """Rows with every step of the grid: absent ones are unobserved zeros whose covariates repeat the row before.

    The rows given are ordered, and used up. Without a ``grid`` it is found. Raises ``InputError`` for a stamp that
    lies on no grid point, for series of different steps, and where far more rows would be absent than present.
    """
    grid = None if rows.time is None else grid or find_grid(rows.time, rows.starts, rows.zone)
    if rows.time is None or grid is None:
        return rows, None, []
    jumps = _jumps(rows.time, rows.starts, grid)
    if len(jumps.rows) == 0:
        return rows, grid, []
    _refuse_other_steps(table, rows, grid, jumps)
    _refuse_irregular(table, rows, grid, jumps)
    _refuse_too_many(table, rows, jumps)
    count = jumps.absent
    labels = _insert(rows, grid, jumps)
    note = f"{table.name}: {plural(grid.name, count)} made explicit as missing: {listed(labels, count=count)}."
    return rows, grid, [note]


def _jumps(time: np.ndarray, starts: np.ndarray, grid: Grid) -> Jumps:
    rows, steps = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part in chunks(len(time) - 1):
        after = slice(part.start + 1, part.stop + 1)
        count = grid.count(time[part], time[after])
        first, last = np.searchsorted(starts, (after.start, after.stop))
        count[starts[first:last] - after.start] = 1
        found = np.flatnonzero(count != 1)
        rows.append(after.start + found)
        steps.append(count[found])
    return Jumps(np.concatenate(rows), np.concatenate(steps))


def _refuse_other_steps(table: Source, rows: Rows, grid: Grid, jumps: Jumps) -> None:
    """Raise where series never go by the step of the others, but regularly by one of their own."""
    assert rows.offsets is not None
    gaps = np.diff(rows.offsets) - 1
    jumping = np.bincount(np.searchsorted(rows.offsets, jumps.rows, side="right") - 1, minlength=len(gaps))
    strange = jumping == gaps
    if strange.all():
        return
    tried = np.flatnonzero(strange & (gaps >= FEWEST_STAMPS - 1))[:MOST_TRIED]
    own = {int(index): step for index in tried if (step := _own_step(rows, int(index))) not in (None, every(grid))}
    if not own or 2 * len(own) < len(tried):  # few of many: sales of every other day are no other step
        return
    index, step = next(iter(own.items()))
    usual = rows.names[int(np.argmin(strange))]
    raise InputError(
        f"{table.place(rows.line(int(rows.offsets[index])))}: series {rows.names[index]!r} has a row every {step}, but"
        f" series {usual!r} and most others every {every(grid)}: all series need the same step, so give those of"
        " another step a file of their own."
    )


def _own_step(rows: Rows, index: int) -> str | None:
    """The step of one series, where it goes by it and seldom leaves one out."""
    assert rows.offsets is not None and rows.time is not None
    time = rows.time[rows.offsets[index] : rows.offsets[index + 1]]
    grid = find_grid(time, np.zeros(1, np.int64), rows.zone)
    steps = np.zeros(1, np.int64) if grid is None else grid.count(time[:-1], time[1:])
    return every(grid) if grid is not None and steps.min() > 0 and (steps == 1).mean() > 0.5 else None


def _refuse_irregular(table: Source, rows: Rows, grid: Grid, jumps: Jumps) -> None:
    off = jumps.rows[jumps.steps < 1]
    if len(off) == 0:
        return
    row, step = int(off[0]), f"step {every(grid)}" if isinstance(grid, IntegerGrid) else grid.name
    others = [table.where(rows.line(int(one))) for one in off[1:6]]
    more = f"; {len(off):,} rows do not (also {listed(others, count=len(off) - 1)})" if others else ""
    raise InputError(
        f"{table.place(rows.line(row))}: time {rows.label(row)} is no whole number of steps ({step}, the most"
        f" common one) after {rows.label(row - 1)}: rows must lie on a regular grid{more}."
    )


def _refuse_too_many(table: Source, rows: Rows, jumps: Jumps) -> None:
    present, absent = len(rows.values), jumps.absent
    if absent > MOST_ABSENT_PER_ROW * present + MOST_ABSENT:
        largest = int(jumps.steps.argmax())
        row, steps = int(jumps.rows[largest]), int(jumps.steps[largest])
        raise InputError(
            f"{table.place(rows.line(row))}: time {rows.label(row)} lies {steps:,} steps after "
            f"{rows.label(row - 1)}, and in all {absent:,} steps are absent beside {present:,} rows: "
            "check the times, or leave out data.time to count rows."
        )


def _insert(rows: Rows, grid: Grid, jumps: Jumps) -> list[str]:
    """Add the absent rows, in place; gives the labels of the first of them."""
    assert rows.time is not None and rows.offsets is not None
    present, absent = len(rows.values), np.concatenate([[0], np.cumsum(jumps.steps - 1)])
    rows.lines = None
    if rows.observed is None:
        rows.observed = np.ones(rows.values.shape, bool)
    rows.change(lambda array: _repeated(array, jumps))
    for place, beyond in _pieces(present, jumps):
        new = place.start + np.flatnonzero(beyond)
        rows.values[new], rows.observed[new] = 0, False
        rows.time[new] = grid.advance(rows.time[new], beyond[new - place.start])
    rows.offsets = rows.offsets + absent[np.searchsorted(jumps.rows, rows.offsets)]
    few = zip(jumps.rows[:5].tolist(), absent[:-1][:5].tolist(), jumps.steps[:5].tolist(), strict=True)
    first = [row for jump, before, steps in few for row in range(jump + before, jump + before + min(steps - 1, 5))]
    return [rows.label(row) for row in first[:5]]


def _repeated(array: np.ndarray, jumps: Jumps) -> np.ndarray:
    """Each row, and again for each absent step after it."""
    result = np.empty((len(array) + jumps.absent, *array.shape[1:]), array.dtype)
    for (place, _), part in zip(_pieces(len(array), jumps), chunks(len(array)), strict=True):
        result[place] = np.repeat(array[part], _repeats(jumps, part), axis=0)
    return result


def _repeats(jumps: Jumps, part: slice) -> np.ndarray:
    """How often each row of a part stands in the result."""
    repeats = np.ones(part.stop - part.start, np.int64)
    first, last = np.searchsorted(jumps.rows, (part.start + 1, part.stop + 1))
    repeats[jumps.rows[first:last] - 1 - part.start] = jumps.steps[first:last]
    return repeats


def _pieces(rows: int, jumps: Jumps) -> Iterator[tuple[slice, np.ndarray]]:
    """Where the rows of each part come to stand, and for each of these places how many steps behind its row it is."""
    begin = 0
    for part in chunks(rows):
        repeats = _repeats(jumps, part)
        own = np.cumsum(repeats) - repeats
        length = int(repeats.sum())
        yield slice(begin, begin + length), np.arange(length) - np.repeat(own, repeats)
        begin += length
