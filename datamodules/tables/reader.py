"""Reading a table into a ``SeriesSet``, one column after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

from datamodules.frequency import Frequency
from datamodules.series import SeriesSet
from datamodules.tables.files import append_future, check_same_columns, open_files
from datamodules.tables.forgotten import find_missing_key, refuse_forgotten_time
from datamodules.tables.gaps import fill_gaps
from datamodules.tables.layouts import read_series_per_row, split_columns
from datamodules.tables.roles import LAYOUTS, Names, Roles, find_layout, to_times, to_tuple
from datamodules.tables.rows import Rows, check_duplicates, drop_duplicates, sort_rows
from datamodules.tables.source import Frame, Source, drop_footer, open_frame
from datamodules.tables.timestamps import read_timestamps
from datamodules.tables.values import CATEGORIES, ColumnReader, MissingValues, read_series_ids
from datamodules.timezones import check_zone
from seqmodels.errors import InputError


def read_table(
    path: Any,
    *,
    target: str | Sequence[str],
    time: Names = "auto",
    time_format: str | None = None,
    time_zone: str | None = None,
    series_id: Names = None,
    layout: str = "auto",
    past_covariates: Names = (),
    known_covariates: Names = (),
    statics: Names = (),
    missing_values: MissingValues = (),
    decimal: str | None = None,
    duplicates: str = "refuse",
    frequency: Frequency | None = None,
    future: Any = None,
    categorical: Sequence[str] = (),
    open_end: bool = False,
    symbols: bool = False,
) -> SeriesSet:
    """Read the given columns of a table; values keep their units.

    ``path`` is a ``.csv``, ``.csv.gz`` or ``.parquet`` file, a list of such files, or a directory of them, in which a
    directory ``region=north`` adds a column ``region`` to its files; all must have the same columns. It may also be a
    data frame of polars, pandas (an index with names or times counts as columns) or pyarrow.

    ``layout="long"`` has one row per step and series; the ``target`` columns are channels, and ``series_id``, one or
    several columns, identifies the series. ``"wide"`` has one series per ``target`` column with the single channel
    ``value``; empty cells before its first and after its last number do not belong to a series. ``"rows"`` has one
    series per row, see ``datamodules.tables.layouts``. ``target`` may hold patterns: ``"*"``, every column without
    another role, ``"load_*"`` some of them, and ``"!load_total"`` takes one out. ``"auto"`` chooses ``rows`` for
    patterns with an id and without time, ``wide`` for others, except with an id and time, else ``long``.

    ``time`` holds dates, datetimes (``time_format`` in strptime notation, otherwise detected) or whole numbers, in one
    column or in parts, see ``datamodules.tables.timestamps``, also for ``time_zone``. With None or "none" rows are
    steps in file order, and with "auto" too, but then no other column may hold times. Rows are sorted, exact duplicates
    dropped, other duplicates treated by the rule ``duplicates`` (see ``datamodules.tables.rows``), and absent steps
    inserted as unobserved; ``notes`` report the repairs. The ``frequency`` is inferred unless it is given.

    ``future``: a second table, of rows after those of ``path``, which may lack targets and past covariates.
    ``categorical`` names text columns that are categories whatever these rows hold. ``open_end`` keeps the rows after
    the last number of a column in the layout "wide". With ``symbols``, targets may be texts too, as categories.

    ``values.MISSING`` and ``missing_values``, for all columns or by column, mean "no value": an unobserved zero in a
    target, NaN in a covariate. Covariates and ``statics``, which are constant within a series, may be texts: see
    ``SeriesSet.categories``. Numbers may be texts with decimal commas, thousands separators or units, see
    ``datamodules.tables.numerals``; ``decimal`` tells what 1,507 is if the table does not.

    Raises ``InputError``, with file, line, column, value and rule, for everything that cannot be read without guessing.
    """
    named = (target, to_times(time), series_id, past_covariates, known_covariates, statics)
    roles = Roles(*map(to_tuple, named))
    _check_settings(roles, time_format, time_zone, duplicates, decimal)
    source = _open_with_future(path, future, roles, categorical, decimal)
    reader = ColumnReader(missing_values, [*source.notes], symbols=symbols)
    if isinstance(source, Frame) and source.index and time in ("auto", None):
        roles = replace(roles, time=(source.index,))
        reader.notes.append(f"{source.name}: its index {source.index!r} is used as data.time.")
    roles, layout = _find_layout(source, roles, layout, reader, find_time=time == "auto")
    if layout == "rows":
        rows = read_series_per_row(source, roles, reader)
        reader.note_unused(source)
    else:
        rows = _read_rows(source, roles, reader, time_format, time_zone)
        frequency = _make_regular(source, roles, rows, reader, duplicates, frequency)
    if layout == "wide":
        rows = split_columns(rows, roles.target, open_end)
    for part in (source, *(part for part in source.parts if part is not source)):
        reader.note_formats(part)
    channels = roles.target if layout == "long" else ("value",)
    return _to_series(source, roles, rows, channels, reader, frequency)


def open_source(path: Any) -> Source:
    """Open files or a data frame as a table; an open table is returned as it is."""
    if isinstance(path, Source):
        return path
    return open_files(path) if isinstance(path, (str, PathLike, list, tuple)) else open_frame(path)


def _open_with_future(path: Any, future: Any, roles: Roles, categorical: Sequence[str], decimal: str | None) -> Source:
    """Open the table, followed by the rows of ``future``, with the given kinds of columns and decimal mark."""
    source = open_source(path)
    if future is not None:
        source = append_future(source, open_source(future), (*roles.texts, *roles.known_covariates))
    source.kinds = {**source.kinds, **dict.fromkeys(categorical, CATEGORIES)}
    for part in (source, *source.parts):
        part.decimal = decimal
    return source


def _check_settings(
    roles: Roles, time_format: str | None, time_zone: str | None, duplicates: str, decimal: str | None
) -> None:
    for key, value in {"time_format": time_format, "time_zone": time_zone}.items():
        if value is not None and not roles.time:
            raise InputError(f"data.{key}={value} needs data.time, the column that it describes.")
    if time_zone is not None:
        check_zone(time_zone)
    check_duplicates(duplicates)
    if decimal not in (None, ".", ","):
        raise InputError(f"data.decimal={decimal} is unknown; it must be '.' or ','.")


def _find_layout(source: Source, roles: Roles, layout: str, reader: ColumnReader, find_time: bool) -> tuple[Roles, str]:
    """Find and note the layout; return also the roles, with existing columns unless each file must resolve them."""
    found, given = find_layout(layout, roles), roles
    everything = roles.target == ("*",)
    find_time = find_time and not roles.time and not source.is_shard and (found != "rows" or everything)
    if layout == "auto":
        series = " and series" if found == "long" and roles.id else ""
        reader.notes.append(f"{source.name}: taken as {found}: {LAYOUTS[found]}{series} (data.layout).")
    if found != "rows":
        check_same_columns(source)
        roles = roles.resolve(source)
    if find_time:
        refuse_forgotten_time(source, given if everything else roles)
    named = reader.missing_values if isinstance(reader.missing_values, Mapping) and not roles.has_patterns else ()
    unknown = next((name for name in named if name not in roles.numbers), None)
    if unknown is not None:
        raise InputError(
            f"data.missing_values: {unknown!r} is not a target, covariate or static of {source.name};"
            f" these are {', '.join(map(repr, roles.numbers))}."
        )
    return roles, found


def _read_rows(
    source: Source, roles: Roles, reader: ColumnReader, time_format: str | None, time_zone: str | None
) -> Rows:
    """Read a table with one row per step, in file order."""
    source.load(roles.numbers, roles.texts, steps=not roles.texts)
    for part in source.parts if roles.time else ():
        reader.notes += drop_footer(part, roles.time[0])
    codes, names = read_series_ids(source, roles.id, reader.notes)
    time, zone = None, ""
    if roles.time:
        time, zone, notes = read_timestamps(source, roles.time, time_format, time_zone, codes)
        reader.notes += notes
    static = reader.read_statics(source, roles.statics, codes, names)
    values, observed = reader.read_targets(source, roles.target)
    past = reader.read_covariates(source, roles.past_covariates, len(values))
    known = reader.read_covariates(source, roles.known_covariates, len(values))
    reader.note_unused(source)
    return Rows(values, time, codes, names, observed, past, known, zone=zone, static=static)


def _make_regular(
    source: Source, roles: Roles, rows: Rows, reader: ColumnReader, duplicates: str, frequency: Frequency | None
) -> Frequency | None:
    """Sort the rows, drop duplicates and insert absent steps, in place; return the frequency."""
    columns = (*roles.target, *roles.past_covariates, *roles.known_covariates)
    reader.notes += sort_rows(source, rows)
    find = None if source.is_shard else partial(find_missing_key, source, roles)
    drop = partial(drop_duplicates, source, rows, columns, duplicates, find)
    reader.notes += drop()
    frequency, notes = fill_gaps(source, rows, frequency, drop)
    reader.notes += notes
    return frequency


def _to_series(
    source: Source,
    roles: Roles,
    rows: Rows,
    channels: tuple[str, ...],
    reader: ColumnReader,
    frequency: Frequency | None,
) -> SeriesSet:
    assert rows.offsets is not None
    return SeriesSet(
        values=rows.values,
        offsets=rows.offsets,
        channels=channels,
        observed=rows.observed,
        time=rows.time,
        names=rows.names,
        past_covariates=rows.past if roles.past_covariates else None,
        known_covariates=rows.known if roles.known_covariates else None,
        past_covariate_names=roles.past_covariates,
        known_covariate_names=roles.known_covariates,
        static=rows.static,
        static_names=roles.statics,
        categories=reader.categories,
        zone=rows.zone,
        frequency=frequency.name if frequency else "",
        season=frequency.season if frequency else 1,
        source=source.name,
        notes=tuple(reader.notes),
    )
