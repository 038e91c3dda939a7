"""Layouts: one series per row, one series per column, and the automatic choice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import FILE, contains_all, error_of, make_rows, series_of, values, write

from datamodules.tables.layouts import split_columns
from datamodules.tables.reader import read_table
from datamodules.tables.rows import sort_rows


def test_auto_chooses_the_layout_from_the_roles_and_notes_it(tmp_path: Path) -> None:
    write(tmp_path, data="V1,V2,V3\n1,10,100\n2,20,200\n3,30,\n")
    path = tmp_path / "data.csv"
    by_roles: dict[str, dict[str, Any]] = {
        "long: one row per step": {"target": ["V2", "V3"], "time": "V1"},
        "long: one row per step and series": {"target": "V2", "series_id": "V1"},
        "wide: one column per series": {"target": "*", "time": "V1"},
        "rows: one row per series, its steps side by side": {"target": ["*"], "series_id": "V1"},
    }
    for layout, roles in by_roles.items():
        series, given = read_table(path, **roles), read_table(path, layout=layout.partition(":")[0], **roles)
        assert series.notes[0] == f"data.csv: taken as {layout} (data.layout)." and series.notes[1:] == given.notes
        assert series.values.tolist() == given.values.tolist() and series.names == given.names
    assert series.names == ("1", "2", "3") and values(series) == [10, 100, 20, 200, 30]


def test_a_series_in_a_row_ends_at_its_last_number(tmp_path: Path) -> None:
    write(tmp_path, data="id,size,a,b,c,d\nx,5,,1,NA,3\ny,,4,,,\n\nz,7,5,6,7,8\n")
    series = read_table(tmp_path / "data.csv", target="*", series_id="id", statics="size", layout="rows")
    assert series.names == ("x", "y", "z") and series.offsets.tolist() == [0, 3, 4, 8]
    assert values(series) == [1, 0, 3, 4, 5, 6, 7, 8] and series.channels == ("value",)
    assert series.observed is not None and np.flatnonzero(~series.observed).tolist() == [1] and series.time is None
    assert series.static is not None and series.static_names == ("size",)
    np.testing.assert_array_equal(series.static[:, 0], [5, np.nan, 7])
    assert series.notes == (
        "data.csv: 1 missing value (first: line 2, column 'c').",
        "data.csv: column 'size' has no value for 1 series (first: 'y').",
    )


def test_the_next_file_continues_the_series_of_the_same_id(tmp_path: Path) -> None:
    write(tmp_path, train="id,a,b,c\nx,1,2,\ny,3,4,5\n", test="id,a\ny,7\nx,6\n")
    series = read_table([tmp_path / "train.csv", tmp_path / "test.csv"], target="*", series_id="id")
    assert values(series) == [1, 2, 6, 3, 4, 5, 7] and series.offsets.tolist() == [0, 3, 7] and series.observed is None


ROW_ERRORS: dict[str, tuple[str, str, list[str]]] = {
    "text": ("id,a,b\nx,1,2\ny,3,4;5\n", "id,a\ny,7\nx,6\n", ["train.csv, line 3", "'4;5'", "'b'", "not a number"]),
    "missing": ("id,a\nx,1\ny,2\n", "id,a\nx,7\n", ["test.csv has no row of series 'y'", "train.csv, line 3"]),
    "new": ("id,a\nx,1\n", "id,a\nx,7\ny,7\n", ["test.csv, line 3", "'y'", "not in train.csv"]),
    "twice": ("id,a\nx,1\ny,2\nx,3\n", "id,a\nx,7\n", ["train.csv, line 4", "'x'", "line 2", "one row"]),
    "no number": ("id,a\nx,1\ny,\n", "id,a\ny,\nx,7\n", ["train.csv, line 3", "'y'", "no number at all"]),
    "no id": ("id,a\n,1\n", "id,a\nx,7\n", ["train.csv, line 2", "id column 'id'", "no value"]),
}


@pytest.mark.parametrize("name", ROW_ERRORS)
def test_errors_in_series_per_row(tmp_path: Path, name: str) -> None:
    train, test, parts = ROW_ERRORS[name]
    write(tmp_path, train=train, test=test)
    message = error_of([tmp_path / "train.csv", tmp_path / "test.csv"], target="*", series_id="id", layout="rows")
    assert contains_all(message, parts)


def test_series_per_row_need_no_id_in_a_single_file(tmp_path: Path) -> None:
    write(tmp_path, data="a,b\n1,2\n3,\n", more="a,b\n1,2\n3,\n")
    series = read_table(tmp_path / "data.csv", target="*", layout="rows")
    assert values(series) == [1, 2, 3] and series.names == ("row 1", "row 2")
    both = [tmp_path / "data.csv", tmp_path / "more.csv"]
    assert "data.id" in error_of(both, target="*", layout="rows")


def test_wide_columns_become_series_from_their_first_to_their_last_value() -> None:
    rows = make_rows([[1, np.nan, 3], [np.nan, 2, 4], [5, 6, np.nan]], np.array([7, 8, 9]))
    rows.known = np.array([[1], [2], [3]], np.float32)
    sort_rows(FILE, rows)
    result = split_columns(rows, ("a", "b", "c"))
    assert series_of(result) == {"a": [(7, 1, 0), (8, 0, 1), (9, 5, 2)], "b": [(8, 2, 3), (9, 6, 4)],
                                 "c": [(7, 3, 5), (8, 4, 6)]}  # fmt: skip
    assert result.observed is not None and np.flatnonzero(~result.observed).tolist() == [1]
    assert result.known[:, 0].tolist() == [1, 2, 3, 2, 3, 1, 2] and result.names == ("a", "b", "c")
    sort_rows(FILE, single := make_rows([[1, 2]], np.array([7])))
    full = split_columns(single, ("a", "b"))
    assert full.observed is None and full.values.tolist() == [[1], [2]]
