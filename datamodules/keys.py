"""What tells the rows of a table apart: the series and the time of each, also where several columns hold them."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.cells import Source
from datamodules.encode import clean
from seqmodels.window import InputError

# How the columns of parts of a time are called, in the order in which parts are written
_PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mnth", "mon"),
    "day": ("day", "mday", "day_of_month"),
    "hour": ("hour", "hr", "hours"),
    "minute": ("minute", "min", "minutes"),
    "second": ("second", "sec", "seconds"),
}
_DATE, _CLOCK = tuple(_PARTS)[:3], tuple(_PARTS)[3:]


def read_series(table: Source, columns: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Number of the series of each row, (rows,) int32 in order of first appearance, and the names of the series.

    Several columns make a name such as ``Agency_22/SKU_01``; 'NA' is a name like any other. Without columns there is
    one series without a name, and the numbers are None. Raises ``InputError`` for an empty cell, and where two series
    would have the same name.
    """
    if not columns:
        return None, ()
    codes, names = _series(table, columns[0])
    for column in columns[1:]:
        more, labels = _series(table, column)
        pairs, count = codes.astype(np.int64), len(labels)
        pairs *= count
        pairs += more
        codes, kept = _numbered(pl.Series(pairs))
        names = tuple(f"{names[pair // count]}/{labels[pair % count]}" for pair in kept)
    if len(columns) > 1:
        _refuse_equal_names(table, columns, codes, names)
    return codes, names


def _refuse_equal_names(table: Source, columns: Sequence[str], codes: np.ndarray, names: tuple[str, ...]) -> None:
    """'x/y' with 'z' and 'x' with 'y/z' are two series that nobody could tell apart."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (other := first.setdefault(name, number)) != number:
            here, there = (table.place(int((codes == one).argmax())) for one in (number, other))
            raise InputError(
                f"{here}: id columns {', '.join(map(repr, columns))} make the series {name!r}, as other values of"
                f" them do in {there}; each series needs a name of its own."
            )


def _series(table: Source, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    cells = table.column(column, keys=True)
    if cells.null_count():
        raise _no_series(table, column, cells.is_null().to_numpy())
    codes, values = _numbered(cells)
    names = tuple(values.cast(pl.String))
    if "" in names:
        raise _no_series(table, column, codes == names.index(""))
    return codes, names


def _no_series(table: Source, column: str, empty: np.ndarray) -> InputError:
    place = table.place(int(empty.argmax()))
    return InputError(f"{place}: id column {column!r} has no value here; every row needs its series.")


def _numbered(cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Number of the value of each cell, (n,) int32, and the values, in order of first appearance."""
    runs = cells.rle().struct.unnest()  # in most tables the rows of a series stand together
    values = runs["value"].unique(maintain_order=True)
    known, sought = values.to_physical().to_numpy(), runs["value"].to_physical().to_numpy()
    order = np.argsort(known).astype(np.int32)
    numbers = np.empty(len(sought), np.int32)
    for part in chunks(len(sought)):
        numbers[part] = order[np.searchsorted(known[order], sought[part])]
    return np.repeat(numbers, runs["len"].to_numpy()), values


def read_stamps(table: Source, columns: Sequence[str], time_format: str | None) -> tuple[pl.Series, str | None]:
    """The column of times and the format of its texts (None: to be detected), also where several columns hold them.

    Columns with the names of ``_PARTS`` are numbers: either all that make the time, from the year on, or the hour,
    minute and second of a date in another column, which alone ``time_format`` then describes. Other columns, which
    without a year a ``day`` is too, are texts such as date and clock time, joined by a blank.
    Raises ``InputError`` for parts that make no time.
    """
    if len(columns) == 1:
        return table.column(columns[0]), time_format
    meant = {column: part for column in columns for part, known in _PARTS.items() if column.lower() in known}
    if "year" not in meant.values():
        meant = {column: part for column, part in meant.items() if part in _CLOCK}
    texts = [column for column in columns if column not in meant]
    _check_parts(columns, texts, list(meant.values()), time_format)
    parts = {part: column for column, part in meant.items()}
    date = [_whole(table, parts[part], digits=4 if part == "year" else 2) for part in _DATE if part in parts]
    clock = [_whole(table, parts[part], digits=2) for part in _CLOCK if part in parts]
    clock = [clock[0] + ":00"] if len(clock) == 1 else clock
    pieces = [*(_text(table, column) for column in texts), _joined(date, "-"), _joined(clock, ":")]
    if time_format is not None and clock:
        time_format += " %H:%M:%S" if "second" in parts else " %H:%M"
    return _joined([piece for piece in pieces if len(piece)], " ").alias(" + ".join(columns)), time_format


def _check_parts(columns: Sequence[str], texts: list[str], parts: list[str], time_format: str | None) -> None:
    """Each part once and none left out before another; dates in texts want no parts but those of the clock."""
    order = _CLOCK if texts else tuple(_PARTS)
    if sorted(parts) != sorted(order[: len(parts)]):
        wanted = f"year, month, day, hour, minute, second, or a date and {', '.join(_CLOCK)}"
        raise InputError(f"data.time={','.join(columns)} makes no time; it must name columns of {wanted}, in full.")
    if not texts and time_format is not None:
        raise InputError(f"data.time_format={time_format} does not go with data.time={','.join(columns)}: all numbers.")


def _joined(pieces: list[pl.Series], separator: str) -> pl.Series:
    return reduce(lambda one, other: one + separator + other, pieces) if pieces else pl.Series(dtype=pl.String)


def _text(table: Source, column: str) -> pl.Series:
    """Dates and clock times as texts, null where there is none."""
    cells = table.column(column)
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return cells.dt.strftime("%Y-%m-%d")
    return clean(cells.cast(pl.String))


def _whole(table: Source, column: str, digits: int) -> pl.Series:
    """Whole numbers as texts of so many digits, null where there is none."""
    text = clean(table.column(column).cast(pl.String))
    numbers = text.cast(pl.Float64, strict=False)
    whole = numbers.cast(pl.Int64, strict=False)
    wrong = (text.is_not_null() & ((whole.cast(pl.Float64) != numbers) | whole.is_null())).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{table.place(row)}: {text[row]!r} in column {column!r} (data.time) is not a whole number.")
    return whole.cast(pl.String).str.zfill(digits)
