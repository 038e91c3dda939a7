"""Clock times of a zone in a table become instants: knows what happens to a column of them when clocks are changed."""

import numpy as np

from datamodules.arrays import chunks
from datamodules.cells import Source
from datamodules.timezones import instant, show
from seqmodels.window import InputError


def localised(
    table: Source, column: str, wall: np.ndarray, zone: str, codes: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """UTC of naive labels (rows,) that are clock times of ``zone``, in file order, and notes.

    Of two equal hours of a series, when clocks are set back, the one of summer time comes first; in a file whose times
    descend it comes last. Raises ``InputError`` for a time that the clock jumps over, for three equal ones, and for two
    in a file without order.
    """
    time, doubtful = np.empty_like(wall), []
    for part in chunks(len(wall)):
        time[part] = instant(wall[part], zone)
        _refuse_skipped(table, column, wall, time, part, zone)
        doubtful.append(part.start + np.flatnonzero(instant(wall[part], zone, "latest") != time[part]))
    twice = np.concatenate(doubtful)
    if len(twice) == 0:
        return time, []
    series = np.zeros(len(twice), np.int64) if codes is None else codes[twice]
    place = _places(wall[twice], series)
    _refuse_third(table, column, wall, zone, twice[place > 1])
    paired = _paired(place, wall[twice], series)
    winter = paired & (place == (0 if _backwards(table, column, wall, zone, twice[paired]) else 1))
    time[twice[winter]] = instant(wall[twice[winter]], zone, "latest")
    return time, [_note(table, wall, zone, twice, paired)]


def _refuse_skipped(table: Source, column: str, wall: np.ndarray, time: np.ndarray, part: slice, zone: str) -> None:
    skipped = np.isnat(time[part])
    if skipped.any():
        row = part.start + int(skipped.argmax())
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} does not exist in {zone}, where clocks jump"
            " over it; for a clock that is never changed give data.time_zone a fixed offset such as Etc/GMT-1."
        )


def _refuse_third(table: Source, column: str, wall: np.ndarray, zone: str, third: np.ndarray) -> None:
    if len(third):
        row = int(third[0])
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} stands here for the third time; when clocks in"
            f" {zone} are set back an hour comes twice (data.time_zone)."
        )


def _places(wall: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Of each label, how many equal ones of its series stand before it, (n,) int64."""
    order = np.lexsort((wall, series))
    again = np.zeros(len(wall), bool)
    again[1:] = (np.diff(wall[order]) == np.timedelta64(0)) & (np.diff(series[order]) == 0)
    numbers = np.arange(len(wall))
    places = np.empty(len(wall), np.int64)
    places[order] = numbers - np.maximum.accumulate(np.where(again, 0, numbers))
    return places


def _paired(place: np.ndarray, wall: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Whether each label is one of two equal ones of its series, (n,) bool."""
    return (place + _places(wall[::-1], series[::-1])[::-1]) > 0


def _backwards(table: Source, column: str, wall: np.ndarray, zone: str, paired: np.ndarray) -> bool:
    """Whether the later one of two equal clock times comes first in the file."""
    backwards = _descends(wall)
    if backwards is None and len(paired):
        row = int(paired[0])
        raise InputError(
            f"{table.place(row)}: {show(wall[row])} in column {column!r} comes twice because clocks in {zone} are set"
            " back (data.time_zone), and the rows are in no order of time that would tell which is which."
        )
    return bool(backwards)


def _descends(wall: np.ndarray) -> bool | None:
    """Whether times mostly go back from row to row; None where they mostly do neither that nor go on."""
    balance = changes = 0
    for part in chunks(len(wall) - 1):
        sign = np.sign((wall[part.start + 1 : part.stop + 1] - wall[part]).astype(np.int64))
        balance, changes = balance + int(sign.sum()), changes + int(np.count_nonzero(sign))
    return None if 2 * abs(balance) < changes else balance < 0


def _note(table: Source, wall: np.ndarray, zone: str, twice: np.ndarray, paired: np.ndarray) -> str:
    first = f"(first: {table.where(int(twice[0]))}, {show(wall[twice[0]])})"
    pairs, alone = int(paired.sum()), int((~paired).sum())
    parts = [f"{pairs:,} are told apart by their order, summer time first"] if pairs else []
    parts += [f"{alone:,} stand alone and are taken as summer time"] if alone else []
    rows = "1 row lies" if len(twice) == 1 else f"{len(twice):,} rows lie"
    return f"{table.name}: {rows} in an hour that clocks in {zone} show twice {first}: {', '.join(parts)}."
