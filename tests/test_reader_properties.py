"""A table is read as it was written: rows in any order, any gaps, long and wide, CSV and Parquet.

The expected series are computed step by step in plain Python, independent of the reader.
"""

import math
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.series import SeriesSet
from datamodules.tables.reader import read_table

NUMBER = st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)
CATEGORY = st.none() | st.sampled_from(["west", "east", "äöü", 'with "quotes"', "two\nlines", "a,b;c"])
FULL = 30  # steps of a series without gaps, which makes one step the most common difference


class Cells(NamedTuple):
    """One row of a long table: two targets, a past covariate and a known category."""

    y: float | None
    z: float | None
    number: float | None
    kind: str | None


ROW = st.builds(Cells, NUMBER, NUMBER, NUMBER, CATEGORY)
SERIES = st.lists(st.none() | ROW, max_size=6).map(
    lambda steps: [Cells(1, 2, 3, "west"), *steps, Cells(4, 5, 6, "east")]
)
PANEL = st.dictionaries(st.sampled_from(["a", "NA", "7", "ü b"]), SERIES, max_size=4)
UNITS = {
    "hour": lambda step: datetime(2020, 2, 28, 22) + timedelta(hours=step),
    "15 minutes": lambda step: datetime(2021, 12, 31, 23, 30) + timedelta(minutes=15 * step),
    "day": lambda step: datetime(2020, 2, 27) + timedelta(days=step),
    "month": lambda step: datetime(2019 + step // 12, step % 12 + 1, 1),
    "": lambda step: 100 + 3 * step,
}
PLAIN = settings(max_examples=60, deadline=None)


def save(frame: pl.DataFrame, parquet: bool, folder: str) -> str:
    path = Path(folder) / ("data.parquet" if parquet else "data.csv")
    frame.write_parquet(path) if parquet else frame.write_csv(path)
    return str(path)


def shuffle(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Shuffle rows and columns."""
    columns = frame.columns
    Random(seed).shuffle(columns)
    return frame.select(columns).sample(fraction=1, shuffle=True, seed=seed)


def observed(series: SeriesSet) -> np.ndarray:
    return np.ones(series.values.shape, bool) if series.observed is None else series.observed


def to_numpy(time: datetime | int) -> np.datetime64 | int:
    return np.datetime64(time, "us") if isinstance(time, datetime) else time


def fill(steps: list[Cells | None]) -> Iterator[tuple[Cells, bool]]:
    """Cells of every step, those of the previous row if it is absent, and True if it is present."""
    last = Cells(None, None, None, None)
    for cells in steps:
        last = last if cells is None else cells
        yield last, cells is not None


@PLAIN
@given(
    panel=PANEL, unit=st.sampled_from(list(UNITS)), seed=st.integers(0, 999), parquet=st.booleans(), twice=st.booleans()
)
def test_long_tables(panel: dict[str, list[Cells | None]], unit: str, seed: int, parquet: bool, twice: bool) -> None:
    panel = panel | {"full": [Cells(step, step, step, "west") for step in range(FULL)]}
    rows = [
        (name, UNITS[unit](step), *cells) for name, steps in panel.items() for step, cells in enumerate(steps) if cells
    ]
    kind = pl.Datetime("us") if unit else pl.Int64
    schema = {"s": pl.String, "t": kind, "y": pl.Float32, "z": pl.Float32, "number": pl.Float32, "kind": pl.String}
    frame = pl.DataFrame(rows + rows[::3] * twice, schema, orient="row")
    frame = shuffle(frame, seed)
    with tempfile.TemporaryDirectory() as folder:
        series = read_table(
            save(frame, parquet, folder), target=["y", "z"], time="t", series_id="s",
            past_covariates="number", known_covariates="kind",
        )  # fmt: skip
    assert series.names == tuple(frame["s"].unique(maintain_order=True)) and series.frequency == unit
    kinds = series.categories["kind"]
    assert kinds == tuple(sorted({cells.kind for steps in panel.values() for cells in steps if cells and cells.kind}))
    assert series.time is not None and series.past_covariates is not None and series.known_covariates is not None
    for index, name in enumerate(series.names):
        part, steps = slice(*series.offsets[index : index + 2]), panel[name]
        expected = list(fill(steps))
        assert (
            series.time[part].tolist() == np.array([to_numpy(UNITS[unit](step)) for step in range(len(steps))]).tolist()
        )
        targets = [[cells.y, cells.z] if there else [None, None] for cells, there in expected]
        assert observed(series)[part].tolist() == [[number is not None for number in pair] for pair in targets]
        # A CSV file holds the shortest text of a float32, which is read as float64.
        assert series.values[part].astype(np.float32).tolist() == [
            [number or 0.0 for number in pair] for pair in targets
        ]
        numbers = [math.nan if cells.number is None else cells.number for cells, _ in expected]
        np.testing.assert_array_equal(series.past_covariates[part, 0], np.array(numbers, np.float32))
        codes = [0 if cells.kind is None else kinds.index(cells.kind) + 1 for cells, _ in expected]
        assert series.known_covariates[part, 0].tolist() == codes
    assert sum("exact duplicate" in note for note in series.notes) == twice


@PLAIN
@given(
    columns=st.dictionaries(st.sampled_from("abcd"), st.lists(NUMBER, min_size=FULL, max_size=FULL), max_size=3),
    absent=st.sets(st.integers(1, FULL - 2), max_size=8),
    unit=st.sampled_from(list(UNITS)),
    seed=st.integers(0, 999),
    parquet=st.booleans(),
)
def test_wide_tables(
    columns: dict[str, list[float | None]], absent: set[int], unit: str, seed: int, parquet: bool
) -> None:
    kept = [step for step in range(FULL) if step not in absent]
    wanted = {name: cells for name, cells in columns.items() if any(cells[step] is not None for step in kept)}
    wanted |= {"full": [float(step) for step in range(FULL)]}
    frame = pl.DataFrame(
        {"t": [UNITS[unit](step) for step in kept], "plan": pl.Series(kept, dtype=pl.Float32)}
        | {name: pl.Series([cells[step] for step in kept], dtype=pl.Float32) for name, cells in wanted.items()}
    )
    frame = shuffle(frame, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = save(frame, parquet, folder)
        series = read_table(path, target="*", time="t", known_covariates="plan", layout="wide")
    assert series.names == tuple(name for name in frame.columns if name in wanted) and series.channels == ("value",)
    assert series.known_covariates is not None and series.time is not None
    for index, name in enumerate(series.names):
        part = slice(*series.offsets[index : index + 2])
        cells = [wanted[name][step] if step in kept else None for step in range(FULL)]
        seen = [step for step in range(FULL) if cells[step] is not None]
        steps = range(seen[0], seen[-1] + 1)
        assert series.values[part, 0].astype(np.float32).tolist() == [cells[step] or 0.0 for step in steps]
        assert observed(series)[part, 0].tolist() == [cells[step] is not None for step in steps]
        assert series.known_covariates[part, 0].tolist() == [max(k for k in kept if k <= step) for step in steps]
        assert series.time[part].tolist() == np.array([to_numpy(UNITS[unit](step)) for step in steps]).tolist()


@PLAIN
@given(cells=st.lists(NUMBER, min_size=1, max_size=20), parquet=st.booleans())
def test_tables_without_times(cells: list[float | None], parquet: bool) -> None:
    """Rows are steps in file order; because of a second column, no line is blank."""
    cells = [1.5, *cells]
    frame = pl.DataFrame({"y": pl.Series(cells, dtype=pl.Float32), "z": pl.Series([2.0] * len(cells))})
    with tempfile.TemporaryDirectory() as folder:
        series = read_table(save(frame, parquet, folder), target=["y", "z"])
    assert series.time is None and series.values[:, 0].astype(np.float32).tolist() == [cell or 0.0 for cell in cells]
    assert observed(series)[:, 0].tolist() == [cell is not None for cell in cells]
