"""Layouts other than long: one series per column (wide), and one series per row, as in the M4 competition."""

from dataclasses import dataclass, replace

import numpy as np

from datamodules.tables.roles import Roles
from datamodules.tables.rows import Rows
from datamodules.tables.series_ids import read_series
from datamodules.tables.source import Source
from datamodules.tables.values import MissingValues, to_numbers, without_marks
from seqmodels.window import InputError


@dataclass
class Sheet:
    """One file whose row i holds series i; ``order`` maps the series to rows of the file."""

    table: Source
    steps: tuple[str, ...]  # names of the columns
    names: tuple[str, ...]
    cells: np.ndarray  # (series, steps) float32, NaN where there is no number
    order: np.ndarray  # (series,) int64
    marked: int = 0  # cells that data.missing_values names


def read_across(table: Source, roles: Roles, missing_values: MissingValues) -> tuple[Rows, list[str], int]:
    """The rows of the table as series without time, notes, and how many cells ``missing_values`` names.

    The rows of one id in several files are joined in their order.

    Each file ends a series at its last number, and blanks before the first number of a series do not belong to it.
    Raises ``InputError`` for a series twice in one file, one that not all files have, and one without any number.
    """
    if len(table.parts) > 1 and not roles.id:
        raise InputError(
            f"{table.name}: data.layout=rows joins the rows of several files by data.id; name that column."
        )
    first, *others = table.parts
    sheets = [_read_sheet(first, roles.of(first), missing_values)]
    sheets += [_read_sheet(part, _with_statics_of(part, roles).of(part), missing_values) for part in others]
    sheets = [sheets[0], *(_rearranged(sheet, sheets[0]) for sheet in sheets[1:])]
    spans = [_to_last_number(sheet.cells) for sheet in sheets]
    spans[0] &= np.logical_or.accumulate(~np.isnan(sheets[0].cells), axis=1)
    notes = [note for sheet, span in zip(sheets, spans, strict=True) for note in _notes(sheet, span)]
    inside = np.concatenate(spans, axis=1)
    lengths = inside.sum(axis=1)
    if not lengths.all():
        row = int(sheets[0].order[lengths.argmin()])
        raise InputError(f"{sheets[0].table.place(row)}: series {sheets[0].names[row]!r} holds no number at all.")
    values = np.concatenate([sheet.cells for sheet in sheets], axis=1)[inside][:, None]
    missing = np.isnan(values)
    values[missing] = 0
    rows = Rows(
        values=values,
        time=None,
        codes=None,
        names=sheets[0].names,
        observed=~missing if missing.any() else None,
        past=np.empty((len(values), 0), np.float32),
        known=np.empty((len(values), 0), np.float32),
        offsets=np.concatenate([[0], lengths.cumsum()]),
    )
    return rows, notes, sum(sheet.marked for sheet in sheets)


def _with_statics_of(part: Source, roles: Roles) -> Roles:
    """Statics are those of the first file: others need not repeat them."""
    return replace(roles, statics=tuple(name for name in roles.statics if name in part.columns))


def _read_sheet(part: Source, roles: Roles, missing_values: MissingValues) -> Sheet:
    part.load(roles.numbers, roles.texts, steps=False)
    codes, names = read_series(part, roles.id)
    if codes is not None and len(names) < len(codes):
        row = int((codes != np.arange(len(codes))).argmax())
        other = part.where(int((codes == codes[row]).argmax()))
        name = names[codes[row]]
        raise InputError(f"{part.place(row)}: series {name!r} stands in {other} too; data.layout=rows wants one row.")
    columns, marked = [], 0
    for name in roles.target:
        column, more = without_marks(part.column(name), missing_values)
        columns.append(to_numbers(part, column))
        marked += more
    cells = np.stack(columns, axis=1)
    names = names or tuple(f"row {row + 1}" for row in range(len(cells)))
    return Sheet(part, roles.target, names, cells, np.arange(len(cells)), marked)


def _rearranged(sheet: Sheet, first: Sheet) -> Sheet:
    """The sheet with its series in the order of the first one; both must have the same."""
    known = {name: row for row, name in enumerate(first.names)}
    for row, name in enumerate(sheet.names):
        if name not in known:
            raise InputError(f"{sheet.table.place(row)}: series {name!r} is not in {first.table.name}; ids must agree.")
    if len(sheet.names) < len(first.names):
        absent = min(known.keys() - set(sheet.names), key=lambda name: known[name])
        raise InputError(
            f"{sheet.table.name} has no row of series {absent!r}, which stands in"
            f" {first.table.place(known[absent])}; ids must agree."
        )
    order = np.empty(len(known), np.int64)
    order[[known[name] for name in sheet.names]] = np.arange(len(known))
    return Sheet(sheet.table, sheet.steps, first.names, sheet.cells[order], order, sheet.marked)


def _to_last_number(cells: np.ndarray) -> np.ndarray:
    """Whether each cell stands at or before the last number of its row, (series, steps) bool."""
    return np.logical_or.accumulate(~np.isnan(cells[:, ::-1]), axis=1)[:, ::-1]


def _notes(sheet: Sheet, span: np.ndarray) -> list[str]:
    """One line where cells are missing within series, or ``missing_values`` says so."""
    missing = span & np.isnan(sheet.cells)
    if not missing.any():
        return []
    series, step = np.unravel_index(int(missing.argmax()), missing.shape)
    where = f"{sheet.table.where(int(sheet.order[series]))}, column {sheet.steps[step]!r}"
    by_mark = f"; {sheet.marked:,} cells by data.missing_values" if sheet.marked else ""
    return [f"{sheet.table.name}: {np.count_nonzero(missing):,} missing values (first: {where}{by_mark})."]


def split_columns(rows: Rows, columns: tuple[str, ...]) -> Rows:
    """Each column becomes a series of its own, from its first to its last observed value."""
    spans = [_span(rows, index) for index in range(len(columns))]
    offsets = np.cumsum([0, *(span.stop - span.start for span in spans)], dtype=np.int64)

    def joined(array: np.ndarray) -> np.ndarray:
        """The rows of each span one after the other; of a column its own where it is a matrix of all columns."""
        result = np.empty((offsets[-1], *array.shape[1:]), array.dtype)
        for span, begin, end in zip(spans, offsets[:-1], offsets[1:], strict=True):
            result[begin:end] = array[span]
        return result

    def own(matrix: np.ndarray) -> np.ndarray:
        """(rows, columns) -> (all rows, 1)."""
        return np.concatenate([matrix[span, index] for index, span in enumerate(spans)])[:, None]

    observed = None if rows.observed is None else own(rows.observed)
    return Rows(
        values=own(rows.values),
        time=None if rows.time is None else joined(rows.time),
        codes=None,
        names=columns,
        observed=None if observed is None or observed.all() else observed,
        past=joined(rows.past),
        known=joined(rows.known),
        past_names=rows.past_names,
        known_names=rows.known_names,
        zone=rows.zone,
        offsets=offsets,
    )


def _span(rows: Rows, column: int) -> slice:
    """From the first to the last observed value of a column, which has at least one."""
    if rows.observed is None:
        return slice(0, len(rows.values))
    seen = rows.observed[:, column]
    return slice(int(seen.argmax()), len(seen) - int(seen[::-1].argmax()))
