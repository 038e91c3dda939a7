"""Layouts: one series per row, one series per column, and the automatic choice."""

import re
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
        "data.csv: 4 steps, 'a' ... 'd'.",
        "data.csv: 1 missing value (first: line 2, column 'c').",
        "data.csv: column 'size' has no value for 1 series (first: 'y').",
    )


STEPS: dict[str, tuple[str, list[str], str, int]] = {
    "summaries": ("id,W0,W1,W2,MIN,SUM,MAX", ["*"], "3 steps, 'W0' ... 'W2'; .*: 'MIN', 'SUM', 'MAX' ", 3),
    "summaries first": ("id,mean,h1,h2,h3", ["*"], "3 steps, 'h1' ... 'h3'; .*: 'mean' ", 3),
    "days": ("id,Lat,Long,1/22/20,1/23/20,1/24/20", ["*"], "3 steps, '1/22/20' ... '1/24/20'; .*: 'Lat', 'Long' ", 3),
    "months": ("id,Jan,Feb,March,Apr,Sept,December,Total", ["*"], "6 steps, 'Jan' ... 'December'; .*: 'Total' ", 6),
    "months of years": ("id,Jan-20,Feb-20,Mar-20,Year", ["*"], "3 steps, 'Jan-20' ... 'Mar-20'; .*: 'Year' ", 3),
    "years": ("id,code,1960,1961,1962,1963", ["*"], "4 steps, '1960' ... '1963'; .*: 'code' ", 4),
    "hours": ("id,9am,10am,12pm,1pm,2pm,sum", ["*"], "5 steps, '9am' ... '2pm'; .*: 'sum' ", 5),
    "quarters between months": (
        "id,Jan,Feb,Mar,Q1,Apr,May,Jun,Q2", ["*"], "6 steps, 'Jan' ... 'Jun'; .*: 'Q1', 'Q2' ", 6),
    "no pattern": ("id,a,b,c,d9", ["*"], "4 steps, 'a' ... 'd9'[.]$", 4),
    "too few": ("id,a1,a2,b", ["*"], "3 steps, 'a1' ... 'b'[.]$", 3),
    "backwards": ("id,2022,2021,2020", ["*"], "3 steps, '2022' ... '2020', not in the order of their numbers[.]$", 3),
    "as text": ("id,w1,w10,w11,w2", ["*"], ".*'w2', not in the order of their numbers", 4),
    "all": ("id,W0,W1,W2,W3,MIN", ["**"], "5 steps, 'W0' ... 'MIN'[.]$", 5),
    "chosen": ("id,W0,W1,W2,X1,X2,X3", ["X*"], "3 steps, 'X1' ... 'X3'[.]$", 3),
    "chosen out": ("id,W0,W1,W2,X1,X2,X3", ["*", "!X*"], "3 steps, 'W0' ... 'W2'[.]$", 3),
    "only out": ("id,a,b,c", ["!b"], "2 steps, 'a' ... 'c'[.]$", 2),
    "in and out": ("id,W1,W2,W3,MIN", ["W*", "!W2", "MIN"], "3 steps, 'W1' ... 'MIN'[.]$", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_a_pattern_are_told_from_other_columns(tmp_path: Path, name: str) -> None:
    header, target, note, steps = STEPS[name]
    fields = header.count(",")
    write(tmp_path, data=f"{header}\n" + "".join(f"{row}{',7' * fields}\n" for row in "xyz"))
    series = read_table(tmp_path / "data.csv", target=target, series_id="id")
    assert re.search(f"^data.csv: {note}", series.notes[1]), series.notes
    assert series.offsets.tolist() == [0, steps, 2 * steps, 3 * steps]


def test_two_kinds_of_steps_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    header = "id,W0,W1,W2,MIN,Normalized 0,Normalized 1,Normalized 2"
    write(tmp_path, data=f"{header}\na,1,2,3,1,4,5,6\n")
    message = error_of(tmp_path / "data.csv", target="*", series_id="id")
    parts = ["data.csv", "'W0' ... 'W2' and 'Normalized 0' ... 'Normalized 2'", """like 'data.target=["W*"]'"""]
    assert contains_all(message, parts)
    for target, expected in (("W*", [1, 2, 3]), ("Norm*", [4, 5, 6]), ("**", [1, 2, 3, 1, 4, 5, 6])):
        assert values(read_table(tmp_path / "data.csv", target=target, series_id="id")) == expected


def test_patterns_in_other_layouts(tmp_path: Path) -> None:
    write(tmp_path, data="t,s,load_a,load_b,load_total\n1,x,1,2,3\n2,x,4,5,9\n")
    path, target = tmp_path / "data.csv", ["load_*", "!load_total"]
    wide = read_table(path, target=target, time="t")
    assert wide.names == ("load_a", "load_b") and values(wide) == [1, 4, 2, 5]
    long = read_table(path, target=target, time="t", series_id="s")
    assert long.channels == ("load_a", "load_b") and long.values.tolist() == [[1, 2], [4, 5]]
    message = error_of(path, target=["load_*", "!lod_total"], time="t")
    assert contains_all(message, ["data.target", "no column '!lod_total'", "'load_total'"])
    assert contains_all(error_of(path, target="rail_*", time="t"), ["data.target", "no column 'rail_*'"])


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
