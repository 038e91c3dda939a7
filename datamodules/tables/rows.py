"""The rows of a table as arrays: grouped by series, sorted by time, each time once, in little memory.

Rows with the same series and time follow ``data.duplicates``. ``refuse``: exact duplicates are dropped, others raise an
error. ``first`` and ``last``: the first or last row of the file is kept, including its missing cells. ``mean`` and
``sum`` are over the observed values of all these rows, including equal ones, because each of them counts in a sum;
covariates are those of the first row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from datamodules.arrays import CHUNK, chunks, delete_rows, take_rows
from datamodules.tables.source import Source, plural
from datamodules.timezones import are_dates, format_time, utc_to_local
from seqmodels.errors import InputError


@dataclass
class Rows:
    """Parallel arrays with one entry per row.

    Before ``sort_rows``, in file order, series codes tell the series apart; afterwards ``offsets`` do. Arrays are
    replaced one at a time, so that only one of them exists twice; this requires that no other reference to them is
    kept.
    """

    values: np.ndarray  # (rows, C) float64
    time: np.ndarray | None  # (rows,) datetime64[us] in UTC, or int64
    codes: np.ndarray | None  # (rows,) of an integer type, number of the series by first appearance; None: one series
    names: tuple[str, ...]
    observed: np.ndarray | None  # (rows, C) bool
    past: np.ndarray  # (rows, U) float32 or float64, NaN where missing
    known: np.ndarray  # (rows, K) float32 or float64, NaN where missing
    source_rows: np.ndarray | None = None  # (rows,) of an integer type, row of the source; None: in its order
    zone: str = ""  # time zone of displayed times
    offsets: np.ndarray | None = None  # (series + 1,) int64, series i is rows offsets[i]:offsets[i + 1]
    static: np.ndarray | None = None  # (series, V) float32 or float64

    @property
    def starts(self) -> np.ndarray:
        """First row of each series, (series,) int64; needs sorted rows."""
        assert self.offsets is not None, "the rows are not sorted yet"
        return self.offsets[:-1]

    def apply(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace each array of one entry per row by what the function returns for it."""
        for name in ("values", "past", "known", "time", "observed", "codes", "source_rows"):
            if getattr(self, name) is not None:
                setattr(self, name, function(getattr(self, name)))

    def reorder(self, index: np.ndarray) -> None:
        """Move row ``index[i]`` to row i; ``index`` (rows,) of an integer type."""
        self.apply(lambda array: take_rows(array, index))
        if self.source_rows is None:
            self.source_rows = index

    def drop(self, rows: np.ndarray) -> None:
        """Remove the ascending ``rows``; each series must keep at least one."""
        if self.source_rows is None:
            self.source_rows = np.arange(len(self.values), dtype=_index_type(len(self.values)))
        self.apply(lambda array: delete_rows(array, rows))
        if self.offsets is not None:
            self.offsets = self.offsets - np.searchsorted(rows, self.offsets)

    def source_row(self, row: int) -> int:
        """Row of the source from which ``row`` comes."""
        return int(row if self.source_rows is None else self.source_rows[row])

    def label(self, row: int) -> str:
        """Local time of a row and, if there are several, its series, for messages."""
        label = "" if self.time is None else format_time(utc_to_local(self.time[row : row + 1], self.zone)[0])
        return f"{label} of series {self.name(row)!r}" if self.names else label

    def name(self, row: int) -> str:
        """Name of the series of a row, "" for a single series without a name."""
        if not self.names:
            return ""
        if self.offsets is not None:
            return self.names[int(np.searchsorted(self.offsets, row, side="right")) - 1]
        return self.names[0 if self.codes is None else int(self.codes[row])]


def _index_type(rows: int) -> type[np.unsignedinteger]:
    """Smallest usual integer type for row numbers."""
    return np.uint32 if rows <= np.iinfo(np.uint32).max else np.uint64


def sort_rows(table: Source, rows: Rows) -> list[str]:
    """Sort rows by series, in order of first appearance, and by time, in place; return a note if that changed them.

    The order of rows of one series and time is kept, and without time that of all rows of a series. A large table
    needs little more memory than its largest array once more.
    """
    _group_by_series(rows)
    early = 0 if rows.time is None else _sort_by_time(rows)
    were = "1 row was" if early == 1 else f"{early:,} rows were"
    return [f"{table.name}: {were} earlier than the row before: sorted by time."] if early else []


def _group_by_series(rows: Rows) -> None:
    """Put the rows of each series together; ``offsets`` replace ``codes``."""
    codes = rows.codes
    if codes is None:
        rows.offsets = np.array([0, len(rows.values)], np.int64)
        return
    if not all((codes[part][1:] >= codes[part][:-1]).all() for part in _overlapping_chunks(0, len(codes))):
        rows.reorder(_counting_sort(codes))
    assert rows.codes is not None
    numbers = np.arange(int(rows.codes[-1]) + 2, dtype=rows.codes.dtype)
    rows.offsets = np.searchsorted(rows.codes, numbers).astype(np.int64)
    rows.codes = None


def _counting_sort(codes: np.ndarray) -> np.ndarray:
    """Stable order by code, (rows,), in chunks: the index is never sorted as a whole."""
    free = np.zeros(int(codes.max()) + 2, np.int64)  # position of the next row of each series
    for part in chunks(len(codes)):
        free[1:] += np.bincount(codes[part], minlength=len(free) - 1)
    free = free.cumsum()
    order = np.empty(len(codes), _index_type(len(codes)))
    narrow = np.min_scalar_type(len(free))  # 16-bit numbers are sorted by radix
    for part in chunks(len(codes)):
        own = np.argsort(codes[part].astype(narrow), kind="stable")
        counts = np.bincount(codes[part], minlength=len(free) - 1)
        series = np.flatnonzero(counts)
        begin = np.cumsum(counts[series]) - counts[series]
        order[np.repeat(free[series] - begin, counts[series]) + np.arange(len(own))] = part.start + own
        free[series] += counts[series]
    return order


def _overlapping_chunks(begin: int, end: int) -> Iterator[slice]:
    """Chunks of ``begin:end`` that overlap by one row, so that each pair of neighbours is within a chunk."""
    for part in chunks(end - begin):
        yield slice(begin + part.start, min(begin + part.stop + 1, end))


def _sort_by_time(rows: Rows) -> int:
    """Sort each series by time, stably; return the number of rows that were earlier than the row before."""
    time, offsets = rows.time, rows.offsets
    assert time is not None and offsets is not None
    counts = {(block.start, block.stop): _count_early(time, offsets, block) for block in _blocks(offsets)}
    blocks = [slice(*block) for block, count in counts.items() if count]
    if not blocks:
        return 0
    order = np.arange(len(time), dtype=_index_type(len(time)))
    for block in blocks:
        order[block] = block.start + _time_order(time[block], offsets, block)
    rows.reorder(order)
    return sum(counts.values())


def _blocks(offsets: np.ndarray) -> list[slice]:
    """Blocks of whole series with about a million rows each, or of one longer series."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1] + CHUNK, CHUNK))
    borders = np.unique(offsets[np.minimum(cuts, len(offsets) - 1)])
    return [slice(int(begin), int(end)) for begin, end in zip(borders[:-1], borders[1:], strict=True)]


def _count_early(time: np.ndarray, offsets: np.ndarray, block: slice) -> int:
    """Number of rows of the block that are earlier than the previous one of their series."""
    count = 0
    for part in _overlapping_chunks(block.start, block.stop):
        early = part.start + 1 + np.flatnonzero(time[part][1:] < time[part][:-1])
        count += int(np.count_nonzero(offsets[np.searchsorted(offsets, early, side="right") - 1] != early))
    return count


def _time_order(time: np.ndarray, offsets: np.ndarray, block: slice) -> np.ndarray:
    """Stable order by series and time within a block of whole series, (rows of the block,) int64."""
    first, last = np.searchsorted(offsets, (block.start, block.stop))
    if last - first == 1:
        return np.argsort(time, kind="stable")
    numbers = np.arange(last - first).astype(np.min_scalar_type(last - first))  # 16-bit ones are sorted by radix
    return np.lexsort((time, np.repeat(numbers, np.diff(offsets[first : last + 1]))))


MERGED = {"mean": "their means are taken", "sum": "they are added up"}
KEPT = {"first": "the first in the file is kept", "last": "the last in the file is kept"}
DUPLICATES = ("refuse", *KEPT, *MERGED)


def check_duplicates(duplicates: str) -> None:
    """Raise ``InputError`` for an unknown rule."""
    if duplicates not in DUPLICATES:
        raise InputError(f"data.duplicates={duplicates} is unknown; it must be one of {', '.join(DUPLICATES)}.")


def drop_duplicates(
    table: Source,
    rows: Rows,
    columns: tuple[str, ...],
    duplicates: str = "refuse",
    find_key: Callable[[], str] | None = None,
) -> list[str]:
    """Keep one row per series and time of the sorted ``rows``, in place; return a note if there were more.

    ``columns`` are the names of targets, past and known covariates, for messages; ``find_key`` looks for the setting
    that tells such rows apart, such as data.id=city. Raises ``InputError`` for rows that differ under the rule
    ``refuse``.
    """
    later = _find_repeated(rows)
    if len(later) == 0:
        return []
    conflict = None if duplicates in MERGED else _find_conflict(rows, later)
    if conflict is not None and duplicates == "refuse":
        raise _refusal(table, rows, columns, conflict, find_key() if find_key else "")
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


def _refusal(table: Source, rows: Rows, columns: tuple[str, ...], row: int, key: str) -> InputError:
    """Error for ``row`` and the previous one: their places, and a column in which they differ."""
    first, second = sorted((rows.source_row(row), rows.source_row(row - 1)))
    return InputError(
        f"{table.place(second)} and {table.where(first)} have the same time {rows.label(row)} but different values"
        f" ({_difference(table, rows, columns, row)}): only one row per series and time is allowed;"
        f" {_hint(rows, row, key)}set data.duplicates to {', '.join(DUPLICATES[1:-1])} or {DUPLICATES[-1]}."
    )


def _hint(rows: Rows, row: int, key: str) -> str:
    """Settings whose absence may be the cause: of several series, or of an hour that clocks show twice."""
    assert rows.time is not None
    if key:
        return f"set {key}, which tells such rows apart, or "
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
