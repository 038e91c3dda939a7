"""Rows with the same series and time: exact duplicates are dropped, others treated by the rule ``data.duplicates``.

``refuse``: rows that differ raise an error. ``first`` and ``last``: the first or last row of the file is kept,
including its missing cells. ``mean`` and ``sum`` are over the observed values of all these rows, including equal ones,
because each of them counts in a sum; covariates are those of the first row.
"""

import numpy as np

from datamodules.arrays import chunks
from datamodules.tables.rows import Rows
from datamodules.tables.source import Source, plural
from datamodules.timezones import are_dates
from seqmodels.errors import InputError

MERGED = {"mean": "their means are taken", "sum": "they are added up"}
KEPT = {"first": "the first in the file is kept", "last": "the last in the file is kept"}
DUPLICATES = ("refuse", *KEPT, *MERGED)


def check_duplicates(duplicates: str) -> None:
    """Raise ``InputError`` for an unknown rule."""
    if duplicates not in DUPLICATES:
        raise InputError(f"data.duplicates={duplicates} is unknown; it must be one of {', '.join(DUPLICATES)}.")


def drop_duplicates(table: Source, rows: Rows, columns: tuple[str, ...], duplicates: str = "refuse") -> list[str]:
    """Keep one row per series and time of the sorted ``rows``, in place; return a note if there were more.

    ``columns`` are the names of targets, past and known covariates, for messages. Raises ``InputError`` for rows that
    differ under the rule ``refuse``.
    """
    later = _find_repeated(rows)
    if len(later) == 0:
        return []
    conflict = None if duplicates in MERGED else _find_conflict(rows, later)
    if conflict is not None and duplicates == "refuse":
        raise _refusal(table, rows, columns, conflict)
    note = _note(table, rows, later, duplicates if duplicates in MERGED or conflict is not None else "refuse")
    if duplicates in MERGED:
        _merge(table, rows, later, mean=duplicates == "mean")
    rows.drop(later - 1 if duplicates == "last" else later)
    return [note]


def _find_repeated(rows: Rows) -> np.ndarray:
    """Rows with the series and time of the previous row, (n,) int64, ascending."""
    found = [np.empty(0, np.int64)]
    if rows.time is None or rows.offsets is None:
        return found[0]
    for part in chunks(len(rows.time) - 1):
        after = slice(part.start + 1, part.stop + 1)
        found.append(after.start + np.flatnonzero(rows.time[after] == rows.time[part]))
    again = np.concatenate(found)
    return again[rows.offsets[np.searchsorted(rows.offsets, again, side="right") - 1] != again]


def _find_conflict(rows: Rows, later: np.ndarray) -> int | None:
    """First row that differs from the previous one in any column; missing cells are equal."""
    for part in chunks(len(later)):
        row, differs = later[part], np.zeros(part.stop - part.start, bool)
        for cells in (rows.values, rows.observed, rows.past, rows.known):
            if cells is not None:
                differs |= _unequal(cells[row], cells[row - 1]).any(axis=1)
        if differs.any():
            return int(row[differs.argmax()])
    return None


def _unequal(cells: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (cells != others) & ((cells == cells) | (others == others))  # NaN is not equal to itself


def _refusal(table: Source, rows: Rows, columns: tuple[str, ...], row: int) -> InputError:
    """Error for ``row`` and the previous one: their places, and a column in which they differ."""
    first, second = sorted((rows.source_row(row), rows.source_row(row - 1)))
    return InputError(
        f"{table.place(second)} and {table.where(first)} have the same time {rows.label(row)} but different values"
        f" ({_difference(table, rows, columns, row)}): only one row per series and time is allowed;"
        f" {_hint(rows, row)}set data.duplicates to {', '.join(DUPLICATES[1:-1])} or {DUPLICATES[-1]}."
    )


def _hint(rows: Rows, row: int) -> str:
    """Settings whose absence may be the cause: of several series, or of an hour that clocks show twice."""
    assert rows.time is not None
    has_clock_time = rows.time.dtype.kind == "M" and not are_dates(rows.time[row : row + 1])
    absent = [] if rows.names else ["data.id"]
    absent += ["data.time_zone"] if has_clock_time and not rows.zone else []
    return f"{' or '.join(absent)} may be missing, or " if absent else ""


def _difference(table: Source, rows: Rows, columns: tuple[str, ...], row: int) -> str:
    """First column in which a row differs from the previous one, with both cells as written in the table."""
    differs = [_unequal(cells[row - 1], cells[row]) for cells in (rows.values, rows.past, rows.known)]
    if rows.observed is not None:
        differs[0] |= _unequal(rows.observed[row - 1], rows.observed[row])
    name = columns[int(np.concatenate(differs).argmax())]
    first, second = (table.cell(rows.source_row(one), name) for one in (row - 1, row))
    return f"{name!r} is {first!r} and {second!r}"


def _note(table: Source, rows: Rows, later: np.ndarray, rule: str) -> str:
    first = int(later[(later if rows.source_rows is None else rows.source_rows[later]).argmin()])
    where = f"(first: {table.where(rows.source_row(first))}, {rows.label(first)})"
    if rule == "refuse":
        return f"{table.name}: {plural(len(later), 'exact duplicate row')} dropped {where}."
    rows_have = "1 row has" if len(later) == 1 else f"{len(later):,} rows have"
    treatment = f"{(KEPT | MERGED)[rule]} (data.duplicates={rule})"
    return f"{table.name}: {rows_have} the same time as another {where}: {treatment}."


def _merge(table: Source, rows: Rows, later: np.ndarray, mean: bool) -> None:
    """Replace the first row of each time by the mean or sum of the observed values of its rows."""
    if not rows.values.flags.writeable:
        rows.values = rows.values.copy()
    runs = np.flatnonzero(np.diff(later, prepend=-2) != 1)  # rows of one time are consecutive in ``later``
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
            f"{table.place(rows.source_row(row))}: the sum of the rows of time {rows.label(row)} is beyond 3.4e38"
            " (float32); choose another rule for data.duplicates."
        )
