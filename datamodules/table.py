"""The reader that turns one CSV or Parquet file into a ``SeriesSet``: knows layouts, columns and what rows may be."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import polars as pl

from datamodules.cells import TableFile, open_table
from datamodules.clock import read_clock
from datamodules.encode import to_covariates, to_target
from datamodules.grid import Grid
from datamodules.rows import Rows, fill_gaps, order_rows, split_columns
from datamodules.series import SeriesSet
from seqmodels.window import InputError

LAYOUTS = ("long", "wide")
KEYS = {"series_id": "id"}  # config keys where they are not the arguments' names


def read_table(
    path: str,
    *,
    target: str | Sequence[str],
    time: str | None = None,
    time_format: str | None = None,
    series_id: str | None = None,
    layout: str = "long",
    past_covariates: Sequence[str] = (),
    known_covariates: Sequence[str] = (),
) -> SeriesSet:
    """Read the named columns of a local ``.csv``, ``.csv.gz`` or ``.parquet`` file; values keep their units.

    ``layout="long"`` has one row per series and time; the ``target`` columns are the channels and ``series_id``
    (optional) tells the series apart. ``layout="wide"`` has one series per ``target`` column (``"*"``: every column
    without another role); its one channel is called ``value``, and empty cells before and after the numbers of a
    column do not belong to its series.

    ``time`` holds dates, date-times (``time_format`` in strptime form, otherwise detected) or whole numbers; without
    it rows are steps in file order. Rows are put in order, exact duplicates dropped, absent steps of the grid made
    explicit as unobserved; ``notes`` says what was done. Missing values (``encode.MISSING``) are unobserved zeros.

    Raises ``InputError`` for everything that cannot be read without guessing, with file, line, column, value and rule.
    """
    roles = {
        "target": _names(target),
        "time": _names(time),
        "series_id": _names(series_id),
        "past_covariates": _names(past_covariates),
        "known_covariates": _names(known_covariates),
    }
    _check_settings(layout, series_id, time, time_format)
    table = open_table(path)
    _expand_star(table, roles, layout)
    _check_columns(table, roles)
    rows, notes = _read_rows(table, roles, time_format)
    rows, more = order_rows(table, rows, roles["target"])
    notes += more
    rows, grid, more = fill_gaps(table, rows)
    notes += more
    channels = tuple(roles["target"])
    if layout == "wide":
        rows, channels = split_columns(rows, channels), ("value",)
    return _series_set(table, rows, channels, grid, notes)


def _series_set(
    table: TableFile, rows: Rows, channels: tuple[str, ...], grid: Grid | None, notes: list[str]
) -> SeriesSet:
    return SeriesSet(
        values=rows.values,
        offsets=rows.offsets,
        channels=channels,
        observed=rows.observed,
        time=rows.time,
        names=rows.names,
        past_covariates=rows.past if rows.past_names else None,
        known_covariates=rows.known if rows.known_names else None,
        past_covariate_names=rows.past_names,
        known_covariate_names=rows.known_names,
        frequency=grid.name if grid else "",
        season=grid.season if grid else 1,
        source=table.name,
        notes=tuple(notes),
    )


def _names(given: str | Sequence[str] | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _check_settings(layout: str, series_id: str | None, time: str | None, time_format: str | None) -> None:
    if layout not in LAYOUTS:
        raise InputError(f"data.layout={layout} is unknown; it must be one of {', '.join(LAYOUTS)}.")
    if layout == "wide" and series_id is not None:
        raise InputError(f"data.id={series_id} does not go with data.layout=wide: each column is a series.")
    if time is None and time_format is not None:
        raise InputError(f"data.time_format={time_format} needs data.time, the column that it describes.")


def _expand_star(table: TableFile, roles: dict[str, list[str]], layout: str) -> None:
    """Replace the target ``*`` of a wide table by all columns without another role."""
    if roles["target"] != ["*"]:
        return
    if layout != "wide":
        raise InputError("data.target=* means one series per column and needs data.layout=wide.")
    taken = {name for role, names in roles.items() if role != "target" for name in names}
    roles["target"] = [name for name in table.columns if name not in taken]


def _check_columns(table: TableFile, roles: dict[str, list[str]]) -> None:
    """Every role names columns that exist, and no column has two roles."""
    if not roles["target"]:
        raise InputError(f"data.target names no column of {table.name}; at least one is needed.")
    seen: dict[str, str] = {}
    for role, names in roles.items():
        key = KEYS.get(role, role)
        for name in names:
            if name not in table.columns:
                near = get_close_matches(name, table.columns, n=3, cutoff=0.5) or list(table.columns[:10])
                raise InputError(
                    f"data.{key}: {table.name} has no column {name!r}; nearest: {', '.join(map(repr, near))}."
                )
            if name in seen:
                raise InputError(f"data.{key}: column {name!r} is already in data.{seen[name]}; one role per column.")
            seen[name] = key


def _read_rows(table: TableFile, roles: dict[str, list[str]], time_format: str | None) -> tuple[Rows, list[str]]:
    """The rows of the file as arrays, in file order, with notes about formats and missing values."""
    numbers = [*roles["target"], *roles["past_covariates"], *roles["known_covariates"]]
    frame = table.read(numbers, [*roles["time"], *roles["series_id"]])
    notes = [] if table.separator in (",", None) else [f"{table.name}: columns are separated by {table.separator!r}."]
    frame = table.drop_blank(frame, inside=bool(roles["time"] or roles["series_id"]))
    time: np.ndarray | None = None
    if roles["time"]:
        time, more = read_clock(table, frame[roles["time"][0]], time_format)
        notes += more
    codes, names = _codes(table, frame[roles["series_id"][0]]) if roles["series_id"] else (None, ())
    values, observed, more = _targets(table, frame, roles["target"])
    past, past_names = _covariates(table, frame, roles["past_covariates"])
    known, known_names = _covariates(table, frame, roles["known_covariates"])
    return Rows(values, time, codes, names, observed, past, known, past_names, known_names), notes + more


def _codes(table: TableFile, cells: pl.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of the series of each row, in order of first appearance, and the names; 'NA' is a name like any other."""
    cells = cells.cast(pl.String)
    empty = cells.is_null() | (cells == "")
    if empty.any():
        row = int(empty.arg_true()[0])
        raise InputError(
            f"{table.place(row)}: series_id column {cells.name!r} has no value here; every row needs its series."
        )
    names = cells.unique(maintain_order=True)
    return cells.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy(), tuple(names)


def _targets(
    table: TableFile, frame: pl.DataFrame, columns: list[str]
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Values (rows, C) with 0 where missing, the mask (None if all observed) and one note per column with holes."""
    values = np.empty((frame.height, len(columns)), np.float32)
    observed: np.ndarray | None = None
    notes = []
    for index, column in enumerate(columns):
        values[:, index] = to_target(table, frame[column])
        missing = np.isnan(values[:, index])
        if missing.any():
            observed = np.ones(values.shape, bool) if observed is None else observed
            observed[:, index] = ~missing
            values[missing, index] = 0
            where = table.place(int(missing.argmax())).split(", ")[-1]
            notes.append(f"{table.name}: {missing.sum():,} missing values in column {column!r} (first: {where}).")
    return values, observed, notes


def _covariates(table: TableFile, frame: pl.DataFrame, columns: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(rows, number of encoded columns) float32 and the names of these columns."""
    encoded: dict[str, np.ndarray] = {}
    for column in columns:
        encoded |= to_covariates(table, frame[column])
    if not encoded:
        return np.empty((frame.height, 0), np.float32), ()
    return np.stack(list(encoded.values()), axis=1), tuple(encoded)
