"""Several rows of one series at one time: knows which of them are the same, and what may be made of the others.

``refuse``: exact duplicates are dropped, different ones refused. ``first`` and ``last``: the first or last row in the
order of the file stays, missing cells and all. ``mean`` and ``sum`` are those of the observed values of all these rows,
equal ones too, for who adds up rows means each of them; covariates are those of the first row.
"""

import numpy as np

from datamodules.arrays import chunks
from datamodules.tables.rows import Rows
from datamodules.tables.source import Source
from datamodules.timezones import whole_days
from seqmodels.window import InputError

MERGED = {"mean": "their means are taken", "sum": "they are added up"}
KEPT = {"first": "the first in the file is kept", "last": "the last in the file is kept"}
DUPLICATES = ("refuse", *KEPT, *MERGED)


def check_duplicates(duplicates: str) -> None:
    """Raise ``InputError`` for a rule that does not exist."""
    if duplicates not in DUPLICATES:
        raise InputError(f"data.duplicates={duplicates} is unknown; it must be one of {', '.join(DUPLICATES)}.")


def drop_duplicates(table: Source, rows: Rows, columns: list[str], duplicates: str) -> list[str]:
    """Keep one row of each series and time, in place, by the rule ``duplicates``; one note if there were more.

    ``rows`` are ordered; ``columns`` names their channels. Raises ``InputError`` for a conflict under ``refuse``.
    """
    check_duplicates(duplicates)
    later = _later(rows)
    if len(later) == 0:
        return []
    conflict = None if duplicates in MERGED else _conflict(rows, later)
    if conflict is not None and duplicates == "refuse":
        raise _refusal(table, rows, columns, conflict)
    note = _note(table, rows, later, duplicates if duplicates in MERGED or conflict is not None else "refuse")
    if duplicates in MERGED:
        _merge(table, rows, later, mean=duplicates == "mean")
    rows.drop(later - 1 if duplicates == "last" else later)
    return [note]


def _later(rows: Rows) -> np.ndarray:
    """The rows with the series and time of the row before them, (n,) int64, ascending."""
    assert rows.time is not None and rows.offsets is not None
    found = [np.empty(0, np.int64)]
    for part in chunks(len(rows.time) - 1):
        after = slice(part.start + 1, part.stop + 1)
        found.append(after.start + np.flatnonzero(rows.time[after] == rows.time[part]))
    again = np.concatenate(found)
    return again[rows.offsets[np.searchsorted(rows.offsets, again, side="right") - 1] != again]


def _conflict(rows: Rows, later: np.ndarray) -> int | None:
    """The first of the rows that differs in any used cell from the row before it; missing cells are equal."""
    for part in chunks(len(later)):
        row, differs = later[part], np.zeros(part.stop - part.start, bool)
        for cells in (rows.values, rows.observed, rows.past, rows.known):
            if cells is not None:
                differs |= _unlike(cells[row], cells[row - 1]).any(axis=1)
        if differs.any():
            return int(row[differs.argmax()])
    return None


def _unlike(cells: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (cells != others) & ((cells == cells) | (others == others))  # NaN is not equal to itself


def _refusal(table: Source, rows: Rows, columns: list[str], row: int) -> InputError:
    """What to say of ``row`` and the one before it: where they stand, and in which column they differ."""
    lines = sorted((rows.line(row), rows.line(row - 1)))
    other = table.where(lines[0])
    return InputError(
        f"{table.place(lines[1])} and {other} have the same time {rows.label(row)} but different values"
        f" ({_difference(table, rows, columns, row)}): one row per series and time is allowed;"
        f" {_hint(rows, row)}data.duplicates says what is made of more."
    )


def _hint(rows: Rows, row: int) -> str:
    """What else may be the reason: rows of several series, or an hour that comes twice as clocks are set back."""
    assert rows.time is not None
    of_a_day = rows.time.dtype.kind == "M" and not whole_days(rows.time[row : row + 1])
    absent = [] if rows.names else ["data.id"]
    absent += ["data.time_zone"] if of_a_day and not rows.zone else []
    return f"{' or '.join(absent)} may be missing, or " if absent else ""


def _difference(table: Source, rows: Rows, columns: list[str], row: int) -> str:
    """The first column in which a row differs from the one before, with both cells as they are written."""
    unlike = [_unlike(cells[row - 1], cells[row]) for cells in (rows.values, rows.past, rows.known)]
    if rows.observed is not None:
        unlike[0] |= _unlike(rows.observed[row - 1], rows.observed[row])
    name = (*columns, *rows.past_names, *rows.known_names)[int(np.concatenate(unlike).argmax())]
    first, second = (table.cell(rows.line(one), name) for one in (row - 1, row))
    return f"{name!r} is {first!r} and {second!r}"


def _note(table: Source, rows: Rows, later: np.ndarray, rule: str) -> str:
    first = int(later[(later if rows.lines is None else rows.lines[later]).argmin()])
    where = f"(first: {table.where(rows.line(first))}, {rows.label(first)})"
    if rule == "refuse":
        return f"{table.name}: {len(later):,} exact duplicate rows dropped {where}."
    what = {**KEPT, **MERGED}[rule]
    rows_have = "1 row has" if len(later) == 1 else f"{len(later):,} rows have"
    return f"{table.name}: {rows_have} the time of another {where}: {what} (data.duplicates={rule})."


def _merge(table: Source, rows: Rows, later: np.ndarray, mean: bool) -> None:
    """Put mean or sum of the observed values of each time into the first of its rows."""
    if not rows.values.flags.writeable:
        rows.values = rows.values.copy()
    runs = np.flatnonzero(np.diff(later, prepend=-2) != 1)  # rows of one time follow one another in ``later``
    heads, ends = later[runs] - 1, np.append(runs[1:], len(later))
    for part in chunks(len(heads)):
        members = np.sort(np.concatenate([heads[part], later[runs[part.start] : ends[part.stop - 1]]]))
        first = np.searchsorted(members, heads[part])
        seen = np.ones((len(members), rows.values.shape[1]), bool) if rows.observed is None else rows.observed[members]
        counts = np.add.reduceat(seen, first, axis=0, dtype=np.int64)
        total = np.add.reduceat(np.where(seen, rows.values[members], 0), first, axis=0, dtype=np.float64)
        merged = total / np.maximum(counts, 1) if mean else total
        _refuse_overflow(table, rows, heads[part], merged)
        rows.values[heads[part]] = merged
        if rows.observed is not None:
            rows.observed[heads[part]] = counts > 0


def _refuse_overflow(table: Source, rows: Rows, heads: np.ndarray, merged: np.ndarray) -> None:
    large = (np.abs(merged) > np.finfo(np.float32).max).any(axis=1)
    if large.any():
        row = int(heads[large.argmax()])
        raise InputError(
            f"{table.place(rows.line(row))}: the sum of the rows of {rows.label(row)} is beyond 3.4e38 (float32);"
            " choose another data.duplicates."
        )
