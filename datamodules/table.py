"""The reader that turns a table into a ``SeriesSet``: knows the user's settings and the order of the steps."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from datamodules.cells import Source
from datamodules.duplicates import check_duplicates
from datamodules.encode import MissingValues
from datamodules.frames import open_frame
from datamodules.frequency import Grid
from datamodules.gaps import fill_gaps
from datamodules.opening import open_files
from datamodules.reading import Reading
from datamodules.roles import Names, Roles, names
from datamodules.rows import split_columns
from datamodules.series import SeriesSet
from datamodules.sorting import order_rows
from datamodules.timezones import check_zone
from seqmodels.window import InputError


def read_table(
    path: Any,
    *,
    target: str | Sequence[str],
    time: Names = None,
    time_format: str | None = None,
    time_zone: str | None = None,
    series_id: Names = None,
    layout: str = "auto",
    past_covariates: Names = (),
    known_covariates: Names = (),
    statics: Names = (),
    missing_values: MissingValues = (),
    duplicates: str = "refuse",
    grid: Grid | None = None,
) -> SeriesSet:
    """Read the named columns of a table; values keep their units.

    ``path`` names a ``.csv``, ``.csv.gz`` or ``.parquet`` file, a list of such files, or a directory of them, in which
    a directory ``region=north`` gives its files a column ``region``; all must have the same columns. It may also be a
    data frame of polars, pandas (an index with names or times counts as columns) or pyarrow.

    ``layout="long"`` has one row per step and series; the ``target`` columns are the channels and ``series_id``, one
    column or several, tells the series apart. ``"wide"`` has one series per ``target`` column (``"*"``: every column
    without another role); its one channel is called ``value``, and empty cells before and after the numbers of a
    column do not belong to its series. ``"rows"`` has one series per row, see ``datamodules.across``. ``"auto"`` takes
    ``rows`` for the target ``*`` with an id and no time, ``wide`` for ``*`` without an id, and else ``long``.

    ``time`` holds dates, date-times (``time_format`` in strptime form, otherwise detected) or whole numbers; several
    columns may hold its parts, see ``datamodules.keys``; without it rows are steps in file order. ``time_zone``: see
    ``datamodules.clock``. Rows are put in order, exact duplicates dropped, others treated as ``duplicates`` says (see
    ``datamodules.duplicates``), absent steps of the grid made explicit as unobserved; ``notes`` says what was done.
    A ``grid`` that is known from elsewhere is not looked for.

    ``encode.MISSING`` and ``missing_values``, for all columns or by column, mean that there is no value: an unobserved
    zero in a target, NaN in a covariate. Covariates and ``statics``, which do not change within a series, may be texts:
    see ``SeriesSet.categories``.

    Raises ``InputError`` for everything that cannot be read without guessing, with file, line, column, value and rule.
    """
    roles = Roles(*map(names, (target, time, series_id, past_covariates, known_covariates, statics)))
    _check_settings(roles, time_format, time_zone, duplicates)
    table = Reading(open_source(path), roles, missing_values)
    layout = table.find_layout(layout)
    if layout == "rows":
        return table.series(table.across(), ("value",))
    channels = table.roles.target
    rows, notes = order_rows(table.source, table.rows(time_format, time_zone), list(channels), duplicates)
    rows, grid, more = fill_gaps(table.source, rows, grid)
    table.notes += notes + more
    if layout == "wide":
        rows, channels = split_columns(rows, channels), ("value",)
    return table.series(rows, channels, grid)


def open_source(path: Any) -> Source:
    """The table that ``path`` names or is."""
    if isinstance(path, Source):
        return path
    return open_files(path) if isinstance(path, (str, PathLike, list, tuple)) else open_frame(path)


def _check_settings(roles: Roles, time_format: str | None, time_zone: str | None, duplicates: str) -> None:
    for key, value in {"time_format": time_format, "time_zone": time_zone}.items():
        if value is not None and not roles.time:
            raise InputError(f"data.{key}={value} needs data.time, the column that it describes.")
    if time_zone is not None:
        check_zone(time_zone)
    check_duplicates(duplicates)
