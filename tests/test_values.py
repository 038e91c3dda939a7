"""Cells of a table: series ids, statics, categories and missing values."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tables import error_of, values, write

from datamodules.tables.reader import read_table


def test_several_id_columns_are_joined_to_a_name(tmp_path: Path) -> None:
    write(tmp_path, data="t,shop,article,y\n1,b,7,1\n1,a,7,2\n1,b,8,3\n2,b,7,4\n2,a,7,5\n2,b,8,6\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", series_id=["shop", "article"])
    assert series.names == ("b/7", "a/7", "b/8") and values(series) == [1, 4, 2, 5, 3, 6]


@pytest.mark.parametrize("blank", ["", '""', "  "])
def test_a_blank_part_of_an_id_leaves_the_name_to_the_other_parts(tmp_path: Path, blank: str) -> None:
    write(tmp_path, data=f"t,land,city,area,y\n1,no,{blank},1,1\n1,{blank},b,2,2\n1,ca,q,{blank},3\n1,ca,q,3,4\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", series_id=["land", "city", "area"])
    assert series.names == ("no/1", "b/2", "ca/q", "ca/q/3") and values(series) == [1, 2, 3, 4]
    assert series.notes[1:] == (
        "data.csv: id columns 'land', 'city', 'area' are blank in some rows: the other id columns name these.",
    )
    write(tmp_path, data=f"t,land,city,y\n1,a,b,1\n1,{blank},{blank},2\n")
    message = error_of(tmp_path / "data.csv", target="y", time="t", series_id=["land", "city"])
    assert message.startswith("data.csv, line 3: id columns 'land', 'city' have no value here")
    write(tmp_path, data=f"t,land,city,y\n1,a,{blank},1\n1,{blank},a,2\n")
    message = error_of(tmp_path / "data.csv", target="y", time="t", series_id=["land", "city"])
    assert "line 3: id columns 'land', 'city' give the series name 'a', as do other values" in message
    write(tmp_path, data=f"t,land,y\n1,a,1\n1,{blank},2\n")
    message = error_of(tmp_path / "data.csv", target="y", time="t", series_id="land")
    assert message.startswith("data.csv, line 3: id column 'land' has no value here")


def test_two_series_must_not_have_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, data="t,a,b,c,y\n1,x,y/z,1,1\n1,x/y,z,2,2\n2,x,y/z,1,3\n2,x/y,z,2,4\n")
    message = error_of(tmp_path / "data.csv", target="y", time="t", series_id=["a", "b"])
    assert message == (
        "data.csv, line 3: id columns 'a', 'b' give the series name 'x/y/z', as do other values in"
        " data.csv, line 2; each series needs a unique name."
    )
    series = read_table(tmp_path / "data.csv", target="y", time="t", series_id=["a", "b", "c"])
    assert series.names == ("x/y/z/1", "x/y/z/2") and values(series) == [1, 3, 2, 4]


def test_statics_are_constant_numbers_or_categories(tmp_path: Path) -> None:
    rows = ["1,a,1,north,,5", "1,b,2,south,,", "2,a,3,north,x,5", "2,b,4,,,", "1,c,5,,,6", "2,c,6,,,6"]
    write(tmp_path, data="t,s,y,region,kind,size\n" + "\n".join(rows) + "\n")
    statics = ["size", "region", "kind"]
    series = read_table(tmp_path / "data.csv", target="y", time="t", series_id="s", statics=statics, layout="long")
    assert series.static_names == ("size", "region", "kind") and series.static is not None
    np.testing.assert_array_equal(series.static, [[5, 1, 1], [np.nan, 2, 0], [6, 0, 0]])
    assert series.static.dtype == np.float32
    assert series.categories == {"region": ("north", "south"), "kind": ("x",)}
    assert series.notes == (
        "data.csv: column 'size' has no value for 1 series (first: 'b').",
        "data.csv: column 'region' has no value for 1 series (first: 'c').",
        "data.csv: column 'kind' has no value for 2 series (first: 'b').",
    )


def test_a_static_must_not_change_within_a_series(tmp_path: Path) -> None:
    write(tmp_path, data="t,s,y,region\n1,a,1,north\n1,b,1,south\n2,b,1,south\n2,a,1,west\n")
    settings: dict[str, Any] = {"target": "y", "time": "t", "series_id": "s", "statics": "region"}
    message = error_of(tmp_path / "data.csv", **settings)
    assert message.startswith("data.csv, line 5: 'west' in column 'region', but 'north' in line 2 of series 'a':")
    assert "data.statics" in message
    single = error_of(tmp_path / "data.csv", target="y", statics="region")
    assert "line 3: 'south' in column 'region', but 'north' in line 2: a column of data.statics" in single


def test_there_may_be_many_categories(tmp_path: Path) -> None:
    rows = [f"{row},{row},article {row % 200:03}" for row in range(1000)]
    write(tmp_path, data="t,y,c\n" + "\n".join(rows) + "\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", known_covariates="c")
    assert series.categories == {"c": tuple(f"article {number:03}" for number in range(200))}
    assert series.known_covariates is not None and series.known_covariate_names == ("c",)
    assert series.known_covariates[:, 0].tolist() == [row % 200 + 1 for row in range(1000)]


MARKERS = ([-999, "n.a."], ["-999", "n.a."], {"y": [-999], "x": [-999, "n.a."], "c": ["n.a.", -999]})
MARKED = "t,y,x,c\n1,-999,n.a.,n.a.\n2,-999.0,5,b\n3,3, -999 ,-999\n4,-99,6,a\n"
NOTES = (
    "data.csv: 2 missing values in column 'y' (first: line 2; 2 by data.missing_values).",
    "data.csv: 2 missing values in column 'x' (first: line 2; 2 by data.missing_values).",
    "data.csv: 2 missing values in column 'c' (first: line 2; 2 by data.missing_values).",
)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("markers", MARKERS)
def test_cells_named_by_missing_values_are_missing(tmp_path: Path, kind: str, markers: Any) -> None:
    write(tmp_path, data=MARKED)
    if kind == "parquet":
        pl.read_csv(tmp_path / "data.csv").write_parquet(tmp_path / "data.parquet")
    settings: dict[str, Any] = {"target": "y", "time": "t", "past_covariates": ["x", "c"], "layout": "long"}
    series = read_table(tmp_path / f"data.{kind}", missing_values=markers, **settings)
    assert values(series) == [0, 0, 3, -99] and series.missing == 2 and series.past_covariates is not None
    np.testing.assert_array_equal(series.past_covariates, [[np.nan, 0], [5, 2], [np.nan, 0], [6, 1]])
    assert series.categories == {"c": ("a", "b")}
    notes = tuple(note.replace("data.parquet", "data.csv").replace("row 1", "line 2") for note in series.notes)
    assert notes == NOTES


def test_missing_values_by_column_leave_other_columns_alone(tmp_path: Path) -> None:
    write(tmp_path, data="t,y,x\n1,-1,-1\n2,2,2\n")
    series = read_table(
        tmp_path / "data.csv", target="y", time="t", past_covariates="x", layout="long", missing_values={"y": [-1]}
    )
    assert series.missing == 1 and series.past_covariates is not None and series.past_covariates[0, 0] == -1
    write(tmp_path, data="t,y\n1,-1\n2,\n3,3\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", layout="long", missing_values=[-1, float("inf")])
    assert series.notes == ("data.csv: 2 missing values in column 'y' (first: line 2; 1 by data.missing_values).",)


def test_missing_values_with_one_series_per_row(tmp_path: Path) -> None:
    write(tmp_path, data="id,a,b,c,d\nx,1,-9,3,-9\ny,4,5,-9,-9\n")
    series = read_table(tmp_path / "data.csv", target="*", series_id="id", layout="rows", missing_values=[-9])
    assert values(series) == [1, 0, 3, 4, 5]
    assert series.notes[1:] == (
        "data.csv: 1 missing value (first: line 2, column 'b'; 4 cells by data.missing_values).",
    )


@pytest.mark.parametrize(
    ("markers", "noted"),
    [([-99, "n.a."], "-99, n.a. are"), ({"y": [-99]}, "-99 is"), ([-99, 7], None), ([-99, 8], None), ([], None)],
)
@pytest.mark.parametrize("layout", ["long", "rows"])
def test_unused_missing_values_are_noted(tmp_path: Path, markers: Any, noted: str | None, layout: str) -> None:
    write(tmp_path, data="id,y,z,s\na,1,2,8\nb,7,3,9\n")
    settings: dict[str, Any] = {"target": ["y", "z"], "statics": "s", "series_id": "id", "layout": layout}
    series = read_table(tmp_path / "data.csv", missing_values=markers, **settings)
    notes = [note for note in series.notes if note.startswith("data.missing_values")]
    assert notes == ([f"data.missing_values: {noted} in no cell that is read from data.csv."] if noted else [])


def test_missing_values_in_a_column_of_categories() -> None:
    frame = pl.DataFrame({"y": [1, 2, 3], "c": pl.Series(["b", "n.a.", "a"], dtype=pl.Categorical), "d": [-9, 8, 9]})
    series = read_table(frame, target="y", past_covariates=["c", "d"], missing_values=["n.a.", -9])
    assert series.categories == {"c": ("a", "b")} and series.past_covariates is not None
    np.testing.assert_array_equal(series.past_covariates, [[2, np.nan], [0, 8], [1, 9]])


def test_a_category_that_looks_like_a_number_stays_a_text(tmp_path: Path) -> None:
    write(tmp_path, a="t,y,c\n1,1,07\n2,NA,1\n", b="t,y,c\n3,3,x\n4,4,z\n5,5,07\n")
    series = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], target="y", time="t", past_covariates="c")
    assert series.categories == {"c": ("07", "1", "x", "z")} and values(series) == [1, 0, 3, 4, 5]


def test_a_categorical_column_holds_categories_even_if_they_look_like_numbers() -> None:
    frame = pl.DataFrame({"y": [1, 2, 3], "store": pl.Series(["10", "2", "10"], dtype=pl.Categorical)})
    series = read_table(frame, target="y", past_covariates="store")
    assert series.categories == {"store": ("10", "2")} and series.past_covariates is not None
    assert series.past_covariates[:, 0].tolist() == [1, 2, 1]
