"""Columns that a table has but no setting names: its times, and the ids of its series."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, islice

import polars as pl

from datamodules.tables.roles import Roles
from datamodules.tables.source import NO_TIME, Source, clean
from datamodules.tables.timestamps import PARTS, holds_times
from seqmodels.errors import InputError

SAMPLE = 1000  # first rows in which times are looked for
MOST_ROWS = 1_000_000  # first rows in which ids are looked for
TIME_OF_DAY = [name for part in ("hour", "minute") for name in PARTS[part]]
MOST_CANDIDATES = 8  # columns of which pairs are tried as ids
_SPELLED_NUMBER = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")


def refuse_forgotten_time(source: Source, roles: Roles) -> None:
    """Raise ``InputError`` if a column without a role holds times, so that rows in file order may be a mistake.

    ``roles`` have no time. The message also names the column that tells series apart where times repeat.
    """
    everything = roles.target == ("*",)
    taken = {*roles.id, *(() if everything else roles.numbers)}
    others = [name for name in source.columns if name not in taken]
    sample = _first_rows(source, others, SAMPLE)
    time = _find_times(sample, spelled_only=everything)
    if not time:
        return
    more = "" if everything else find_missing_key(source, replace(roles, time=time))
    settings = [more] if more.startswith("data.time") else [f"data.time={_list(time)}", *([more] if more else [])]
    otherwise = "name the other columns in data.target" if everything else NO_TIME
    verb = "holds" if len(time) == 1 else "hold"
    raise InputError(
        f"{source.name}: {_columns(time)} {verb} times ({_first(sample, time)!r} in the first row), but data.time names"
        f" none: set {' and '.join(settings)}, or {otherwise}."
    )


def find_missing_key(source: Source, roles: Roles) -> str:
    """Setting by which no two rows of one series and time differ, such as data.id=city; "" if none is found."""
    found = _find_key(source, roles)
    if len(found) == 1 and found[0].lower() in TIME_OF_DAY:
        return f"data.time={_list((*roles.time, *found))}"
    return f"data.id={_list((*roles.id, *found))}" if found else ""


def _find_key(source: Source, roles: Roles) -> tuple[str, ...]:
    """The column, or the two, that differ between rows of equal times and ids but different values."""
    taken = {*roles.texts, *roles.target, *roles.past_covariates, *roles.known_covariates}
    others = [name for name in source.columns if name not in taken]
    values = [name for name in roles.numbers if name in source.columns and name not in roles.statics]
    frame = _first_rows(source, list(dict.fromkeys([*roles.texts, *values, *others])), MOST_ROWS)
    known = list(roles.texts)
    if frame.is_empty() or not _conflicts(frame, known, values):
        return ()
    rows = frame.group_by(known).len()["len"]  # of each time
    if 2 * int(rows.filter(rows > 1).sum()) < len(frame):  # an hour that clocks show twice, or single faults
        return ()
    together = rows.max()
    assert isinstance(together, int)
    distinct = {name: frame[name].n_unique() for name in others if _may_be_id(frame[name])}
    candidates = [name for name in sorted(distinct, key=distinct.__getitem__) if 1 < distinct[name] <= 3 * together]
    pairs = islice(combinations(candidates, 2), MOST_CANDIDATES * (MOST_CANDIDATES - 1) // 2)
    clocks = [name for name in candidates if name.lower() in TIME_OF_DAY]
    tried = [*((name,) for name in [*clocks, *candidates]), *pairs]
    return next((names for names in tried if not _conflicts(frame, [*known, *names], values)), ())


def _first_rows(source: Source, columns: Sequence[str], rows: int) -> pl.DataFrame:
    """The first rows as they are stored; empty for a damaged file, which the reader reports."""
    try:
        return source.scan().select(columns).head(rows).collect()
    except (pl.exceptions.PolarsError, OSError):
        return pl.DataFrame()


def _find_times(sample: pl.DataFrame, spelled_only: bool) -> tuple[str, ...]:
    """The first column of times, or those of the parts of a time.

    With ``spelled_only`` numbers are no times, because any of them could be a value.
    """
    parts = {} if spelled_only else _find_parts(sample)
    found = next((cells.name for cells in sample if holds_times(cells, spelled_only)), None)
    if found is not None:
        return (found,)
    return tuple(parts.values()) if len(parts) > 1 and [*parts] == [*PARTS][: len(parts)] else ()


def _find_parts(sample: pl.DataFrame) -> dict[str, str]:
    """Columns of whole numbers by the part of a time that their names say, from the year on without a hole."""
    whole = [cells.name for cells in sample if _text(cells).str.contains(r"^\d{1,4}(\.0+)?$").all()]
    named = {part: name for part, names in PARTS.items() for name in whole if name.lower() in names}
    return {part: named[part] for part in PARTS if part in named}


def _text(cells: pl.Series) -> pl.Series:
    return clean(cells.cast(pl.String, strict=False)).drop_nulls()


def _may_be_id(cells: pl.Series) -> bool:
    """True for texts and whole numbers with at least one repeated value."""
    if cells.dtype.is_float() or cells.dtype.is_temporal() or cells.n_unique() == len(cells):
        return False
    return cells.dtype != pl.String or not cells.str.contains(_SPELLED_NUMBER.pattern).any()


def _conflicts(frame: pl.DataFrame, keys: list[str], values: list[str]) -> bool:
    """True if rows with the same keys have different values."""
    return frame.n_unique([*keys, *values]) > frame.n_unique(keys)


def _first(sample: pl.DataFrame, names: tuple[str, ...]) -> str:
    return " ".join(str(sample[name][0]) for name in names)


def _columns(names: tuple[str, ...]) -> str:
    return f"column{'' if len(names) == 1 else 's'} {', '.join(map(repr, names))}"


def _list(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"
