"""Rows one series after the other, ascending in time: knows how to find out that they are, and how to sort them."""

from collections.abc import Iterator

import numpy as np

from datamodules.arrays import CHUNK, chunks
from datamodules.tables.duplicates import drop_duplicates
from datamodules.tables.rows import Rows, index_type
from datamodules.tables.source import Source


def order_rows(table: Source, rows: Rows, columns: list[str], duplicates: str = "refuse") -> tuple[Rows, list[str]]:
    """Rows grouped by series in order of first appearance, ascending in time, each time once; and notes.

    ``columns`` names the channels, for messages; ``duplicates`` is explained in ``datamodules.tables.duplicates``. The
    rows given are used up. Raises ``InputError`` for rows of the same series and time that are not to be merged.
    """
    _group(rows)
    notes = []
    if rows.time is not None:
        count = len(rows.values)
        if _sort_within(rows):
            notes.append(f"{table.name}: {count:,} rows were not in time order: sorted.")
        notes += drop_duplicates(table, rows, columns, duplicates)
    return rows, notes


def _group(rows: Rows) -> None:
    """Series one after the other, each in file order; ``codes`` give way to ``offsets``."""
    codes = rows.codes
    if codes is None:
        rows.offsets = np.array([0, len(rows.values)], np.int64)
        return
    if not _ascends(codes):
        order = _grouping(codes)
        rows.reorder(order)
    assert rows.codes is not None
    numbers = np.arange(int(rows.codes[-1]) + 2, dtype=rows.codes.dtype)
    rows.offsets = np.searchsorted(rows.codes, numbers).astype(np.int64)
    rows.codes = None


def _grouping(codes: np.ndarray) -> np.ndarray:
    """The stable order by code, (rows,): counted first, then placed piece by piece, never sorted as a whole."""
    free = np.zeros(int(codes.max()) + 2, np.int64)  # where the next row of each series goes
    for part in chunks(len(codes)):
        free[1:] += np.bincount(codes[part], minlength=len(free) - 1)
    free = free.cumsum()
    order = np.empty(len(codes), index_type(len(codes)))
    narrow = np.min_scalar_type(len(free))  # numbers of 16 bits are sorted by radix
    for part in chunks(len(codes)):
        piece = np.argsort(codes[part].astype(narrow), kind="stable")
        counts = np.bincount(codes[part], minlength=len(free) - 1)
        series = np.flatnonzero(counts)
        begin = np.cumsum(counts[series]) - counts[series]
        order[np.repeat(free[series] - begin, counts[series]) + np.arange(len(piece))] = part.start + piece
        free[series] += counts[series]
    return order


def _ascends(numbers: np.ndarray) -> bool:
    return all((numbers[part][1:] >= numbers[part][:-1]).all() for part in _linked(0, len(numbers)))


def _linked(begin: int, end: int) -> Iterator[slice]:
    """Pieces of ``begin:end`` that share a row with the next one, so that every two neighbours lie within a piece."""
    for part in chunks(end - begin):
        yield slice(begin + part.start, min(begin + part.stop + 1, end))


def _sort_within(rows: Rows) -> bool:
    """Sort each series by time, keeping the order of equal times; whether there was anything to do."""
    time, offsets = rows.time, rows.offsets
    assert time is not None and offsets is not None
    blocks = [block for block in _blocks(offsets) if _goes_back(time, offsets, block)]
    if not blocks:
        return False
    order = np.arange(len(time), dtype=index_type(len(time)))
    for block in blocks:
        order[block] = block.start + _by_series_and_time(time[block], offsets, block)
    rows.reorder(order)
    return True


def _blocks(offsets: np.ndarray) -> list[slice]:
    """Whole series, about a million rows together; a longer series stands alone."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1] + CHUNK, CHUNK))
    borders = np.unique(offsets[np.minimum(cuts, len(offsets) - 1)])
    return [slice(int(begin), int(end)) for begin, end in zip(borders[:-1], borders[1:], strict=True)]


def _goes_back(time: np.ndarray, offsets: np.ndarray, block: slice) -> bool:
    """Whether a row of the block is earlier than the one before it in its series."""
    for part in _linked(block.start, block.stop):
        earlier = part.start + 1 + np.flatnonzero(time[part][1:] < time[part][:-1])
        if (offsets[np.searchsorted(offsets, earlier, side="right") - 1] != earlier).any():
            return True
    return False


def _by_series_and_time(time: np.ndarray, offsets: np.ndarray, block: slice) -> np.ndarray:
    """The stable order within a block of whole series, (rows of the block,) int64."""
    order = np.argsort(time, kind="stable")
    first, last = np.searchsorted(offsets, (block.start, block.stop))
    if last - first == 1:
        return order
    numbers = np.arange(last - first).astype(np.min_scalar_type(last - first))
    series = np.repeat(numbers, np.diff(offsets[first : last + 1]))
    return order[np.argsort(series[order], kind="stable")]
