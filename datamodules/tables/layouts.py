"""Layouts other than long: one series per column ("wide"), or one series per row ("rows"), as in the M4 competition."""

import os
import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from datamodules.tables.roles import Roles
from datamodules.tables.rows import Rows
from datamodules.tables.source import Source, plural
from datamodules.tables.values import ColumnReader, read_series_ids, to_numbers
from seqmodels.errors import InputError


@dataclass
class Sheet:
    """A file with one series per row; ``order`` maps series to rows of the file."""

    table: Source
    steps: tuple[str, ...]  # names of the columns
    names: tuple[str, ...]
    cells: np.ndarray  # (series, steps) float64, NaN where missing
    order: np.ndarray  # (series,) int64
    masked: int = 0  # cells that data.missing_values names


def read_series_per_row(table: Source, roles: Roles, reader: ColumnReader) -> Rows:
    """Read a table with one series per row; return sorted rows without time.

    The series of a second file continue those of the first one with the same id. In each file a series ends at its
    last number, and it begins at its first number. Raises ``InputError`` for a series that a file holds twice or
    lacks, and for one without any number.
    """
    if len(table.parts) > 1 and not roles.id:
        raise InputError(f"{table.name}: data.layout=rows joins several files by series id; set data.id.")
    first, *others = table.parts
    sheets = [_read_sheet(first, _find_steps(first, roles, reader), reader)]
    for part in others:  # only the first file needs the statics
        statics = tuple(name for name in roles.statics if name in part.columns)
        sheet = _read_sheet(part, _find_steps(part, replace(roles, statics=statics), reader), reader)
        sheets.append(_align(sheet, sheets[0]))
    spans = [_up_to_last_number(sheet.cells) for sheet in sheets]
    spans[0] &= np.logical_or.accumulate(~np.isnan(sheets[0].cells), axis=1)
    for sheet, span in zip(sheets, spans, strict=True):
        reader.notes += _notes(sheet, span)
    inside = np.concatenate(spans, axis=1)
    lengths = inside.sum(axis=1)
    if not lengths.all():
        row = int(sheets[0].order[lengths.argmin()])
        raise InputError(f"{sheets[0].table.place(row)}: series {sheets[0].names[row]!r} holds no number at all.")
    values = np.concatenate([sheet.cells for sheet in sheets], axis=1)[inside][:, None]
    missing = np.isnan(values)
    values[missing] = 0
    none = np.empty((len(values), 0), np.float32)
    return Rows(
        values=values,
        time=None,
        codes=None,
        names=sheets[0].names,
        observed=~missing if missing.any() else None,
        past=none,
        known=none,
        offsets=np.concatenate([[0], lengths.cumsum()]),
        static=reader.read_statics(first, roles.statics, np.arange(len(lengths)), sheets[0].names),
    )


MONTH = "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|(sep|oct|nov|dec)(t?ember|t|ober|ember)?"


def _find_steps(part: Source, roles: Roles, reader: ColumnReader) -> Roles:
    """Resolve the roles; a target ``*`` leaves out columns such as a sum, named otherwise than the steps.

    Raises ``InputError`` for two kinds of step names.
    """
    found = roles.resolve(part)
    if not roles.has_patterns:
        return found
    steps, left = _split_steps(part, found.target) if "*" in roles.target else (found.target, [])
    order = "" if _numbers_increase(steps) else ", not in the order of their numbers"
    note = f"{part.name}: {plural(len(steps), 'step')}, {steps[0]!r} ... {steps[-1]!r}{order}"
    if left:
        more = f" and {len(left) - 5:,} more" if len(left) > 5 else ""
        note += f"; left out, whose names differ from these: {', '.join(map(repr, left[:5]))}{more}"
        note += """ ('data.target=["**"]' takes all)"""
    reader.notes.append(f"{note}.")
    return replace(found, target=steps)


def _split_steps(part: Source, columns: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """The columns whose names differ only in numbers and months, and the others; all columns if these are not most."""
    kinds: dict[str, list[str]] = {}
    for name in columns:
        kinds.setdefault(_pattern(name), []).append(name)
    kinds.pop("", None)
    first, second = (*sorted(kinds.values(), key=len, reverse=True), [], [])[:2]
    if len(second) > 2 and 2 * len(second) >= len(first):
        ways = [f"{names[0]!r} ... {names[-1]!r}" for names in (first, second)]
        raise InputError(
            f"{part.name}: the columns {ways[0]} and {ways[1]} are two kinds of steps, but data.layout=rows has one:"
            f""" choose, like 'data.target=["{os.path.commonprefix(first)}*"]', or take all, 'data.target=["**"]'."""
        )
    if len(first) < 3 or 2 * len(first) < len(columns):
        return columns, []
    kept = set(first)
    return tuple(first), [name for name in columns if name not in kept]


def _pattern(name: str) -> str:
    """The name with 0 in place of each number and month, "" without any."""
    text = re.sub(
        r"\d+(?:st|nd|rd|th|\s?[ap]m)?(?![a-z])|\d+", "0", re.sub(rf"(?<![a-z])({MONTH})(?![a-z])", "0", name.lower())
    )
    return text if "0" in text else ""


def _numbers_increase(steps: tuple[str, ...]) -> bool:
    """False if each name ends in its only number and these numbers do not increase."""
    numbers = [re.fullmatch(r"\D*(\d+)", name) for name in steps]
    known = [int(found[1]) for found in numbers if found and _pattern(found[0]).count("0") == 1]
    return len(known) < len(steps) or all(one < other for one, other in pairwise(known))


def _read_sheet(part: Source, roles: Roles, reader: ColumnReader) -> Sheet:
    part.load(roles.numbers, roles.texts, steps=False)
    codes, names = read_series_ids(part, roles.id, reader.notes)
    if codes is not None and len(names) < len(codes):
        row = int((codes != np.arange(len(codes))).argmax())
        other = part.where(int((codes == codes[row]).argmax()))
        name = names[codes[row]]
        raise InputError(
            f"{part.place(row)}: series {name!r} is already in {other}; data.layout=rows allows one row per series."
        )
    columns, masked = [], 0
    for name in roles.target:
        column, count = reader.read_cells(part, name)
        columns.append(to_numbers(part, column))
        masked += count
    cells = np.stack(columns, axis=1)
    names = names or tuple(f"row {row + 1}" for row in range(len(cells)))
    return Sheet(part, roles.target, names, cells, np.arange(len(cells)), masked)


def _align(sheet: Sheet, first: Sheet) -> Sheet:
    """Put the series of a sheet into the order of the first sheet, which must have the same ones."""
    known = {name: row for row, name in enumerate(first.names)}
    for row, name in enumerate(sheet.names):
        if name not in known:
            raise InputError(f"{sheet.table.place(row)}: series {name!r} is not in {first.table.name}; ids must agree.")
    if len(sheet.names) < len(first.names):
        absent = min(known.keys() - set(sheet.names), key=lambda name: known[name])
        raise InputError(
            f"{sheet.table.name} has no row of series {absent!r}, which is in {first.table.place(known[absent])};"
            " ids must agree."
        )
    order = np.argsort([known[name] for name in sheet.names])
    return replace(sheet, names=first.names, cells=sheet.cells[order], order=order)


def _up_to_last_number(cells: np.ndarray) -> np.ndarray:
    """True for each cell at or before the last number of its row, (series, steps) bool."""
    return np.logical_or.accumulate(~np.isnan(cells[:, ::-1]), axis=1)[:, ::-1]


def _notes(sheet: Sheet, span: np.ndarray) -> list[str]:
    """A note if cells are missing within series."""
    missing = span & np.isnan(sheet.cells)
    if not missing.any():
        return []
    series, step = np.unravel_index(int(missing.argmax()), missing.shape)
    where = f"{sheet.table.where(int(sheet.order[series]))}, column {sheet.steps[step]!r}"
    by_setting = f"; {plural(sheet.masked, 'cell')} by data.missing_values" if sheet.masked else ""
    count = plural(int(np.count_nonzero(missing)), "missing value")
    return [f"{sheet.table.name}: {count} (first: {where}{by_setting})."]


def split_columns(rows: Rows, columns: tuple[str, ...], open_end: bool = False) -> Rows:
    """Make each column a series of its own, from its first to its last observed value, or to the last row."""
    spans = [_observed_span(rows, index) for index in range(len(columns))]
    if open_end:
        spans = [slice(span.start, len(rows.values)) for span in spans]

    def repeat(array: np.ndarray) -> np.ndarray:
        """(rows, ...) -> (all rows, ...), the part of each series."""
        return np.concatenate([array[span] for span in spans])

    def stack(matrix: np.ndarray) -> np.ndarray:
        """(rows, columns) -> (all rows, 1), the column of each series."""
        return np.concatenate([matrix[span, index] for index, span in enumerate(spans)])[:, None]

    observed = None if rows.observed is None else stack(rows.observed)
    return Rows(
        values=stack(rows.values),
        time=None if rows.time is None else repeat(rows.time),
        codes=None,
        names=columns,
        observed=None if observed is None or observed.all() else observed,
        past=repeat(rows.past),
        known=repeat(rows.known),
        zone=rows.zone,
        offsets=np.cumsum([0, *(span.stop - span.start for span in spans)], dtype=np.int64),
    )


def _observed_span(rows: Rows, column: int) -> slice:
    """Slice from the first to the last observed value of a column, which has at least one."""
    if rows.observed is None:
        return slice(0, len(rows.values))
    seen = rows.observed[:, column]
    return slice(int(seen.argmax()), len(seen) - int(seen[::-1].argmax()))
