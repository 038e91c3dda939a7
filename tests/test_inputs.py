"""Tables as people have them are opened without preparation: files, directories, data frames, layouts and columns."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from datamodules.series import SeriesSet
from datamodules.table import Table
from datamodules.tables.reader import read_table
from seqmodels.window import InputError

ROWS = "t,y\n2020-01-01,1\n2020-01-02,2\n"
MORE = "t,y\n2020-01-03,3\n2020-01-04,4\n"


def write(folder: Path, **files: str) -> None:
    """Files of these texts; two underscores in a name stand for a directory, and .csv is added."""
    for name, text in files.items():
        path = folder.joinpath(*f"{name}.csv".split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def refusal(path: Any, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, **settings)
    message = str(caught.value)
    assert "\n" not in message and message.endswith("."), "a refusal is one sentence"
    return message


def values(series: SeriesSet) -> list[float]:
    assert series.values.shape[1] == 1
    return series.values[:, 0].tolist()


# Files


def test_a_data_frame_needs_no_name() -> None:
    frame = pl.DataFrame({"y": [1.0, 2.0, 3.0]})
    assert values(Table(frame, target="y", past_steps=1, horizon=1).read()) == [1, 2, 3]


def test_a_list_of_files_is_one_table(tmp_path: Path) -> None:
    write(tmp_path, january=ROWS, february=MORE)
    series = read_table([tmp_path / "february.csv", str(tmp_path / "january.csv")], target="y", time="t")
    assert values(series) == [1, 2, 3, 4] and series.source == "february.csv and january.csv"
    assert series.notes[1:] == ("february.csv and january.csv: 4 rows were not in time order: sorted.",)


def test_kinds_of_files_may_be_mixed_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    pl.DataFrame({"y": [3.0], "t": ["2020-01-03"]}).write_parquet(tmp_path / "b.parquet")
    series = read_table([tmp_path / "a.csv.gz", tmp_path / "b.parquet"], target="y", time="t")
    assert values(series) == [1, 2, 3]


@pytest.mark.parametrize("folder", ["sales", "."])
def test_a_directory_is_read_in_the_order_of_names(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "sales", **{"b": "t,y\n3,NA\n4,4\n", "a": "y,t\n1,1\n2,2\n", "_not": "x\n1\n", ".part__a": "x\n"})
    (tmp_path / "sales" / "README.md").write_text("about")
    (tmp_path / "sales" / "_SUCCESS").touch()
    monkeypatch.chdir(tmp_path / "sales" if folder == "." else tmp_path)
    series = read_table(folder, target="y", time="t", layout="long")
    assert values(series) == [1, 2, 0, 4] and series.source == "sales"
    assert series.notes == (
        "sales: files that are not tables are ignored: README.md.",
        "sales: 1 missing value in column 'y' (first: b.csv, line 2).",
    )


def test_partitions_are_columns(tmp_path: Path) -> None:
    """As Hive, Spark, pandas and polars write them; one column of numbers, one of texts, one with null and a blank."""
    for region, year, area, y in (("north", 2020, "A", 1.0), ("south", 2020, "a b", 2.0), ("north", 2021, None, 3.0)):
        area = "__HIVE_DEFAULT_PARTITION__" if area is None else area.replace(" ", "%20")
        folder = tmp_path / "sales" / f"region={region}" / f"year={year}" / f"area={area}"
        folder.mkdir(parents=True)
        pl.DataFrame({"month": [1, 2], "y": [y, y + 0.5]}).write_parquet(folder / "part-0.parquet")
    series = read_table(
        tmp_path / "sales", target="y", time=["year", "month"], series_id="region", past_covariates=["area"]
    )
    assert series.names == ("north", "south") and series.offsets.tolist() == [0, 14, 16]
    assert series.values[[0, 1, 12, 13, 14, 15], 0].tolist() == [1, 1.5, 3, 3.5, 2, 2.5]
    assert series.time is not None and str(series.time[12])[:10] == "2021-01-01" and series.frequency == "month"
    assert series.categories == {"area": ("A", "a b")} and series.past_covariates is not None
    assert series.past_covariates[[0, 13, 15], 0].tolist() == [1, 0, 2]
    year = read_table(tmp_path / "sales", target="y", series_id="region", past_covariates=["year"]).past_covariates
    assert year is not None and year[:, 0].tolist() == [2020, 2020, 2021, 2021, 2020, 2020]


def test_a_damaged_file_of_a_directory_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pl.DataFrame({"t": range(9), "y": range(9)}).write_parquet(tmp_path / f"{name}.parquet")
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    content[4:60] = bytes(56)
    (tmp_path / "b.parquet").write_bytes(content)
    assert f"{tmp_path.name}/b.parquet cannot be read" in refusal(tmp_path, target="y", time="t")


BAD_DIRECTORIES: dict[str, tuple[dict[str, str], list[str]]] = {
    "text": ({"a": ROWS, "b": "t,y\n2020-01-03,x\n"}, ["sales/b.csv, line 2", "'x'", "'y'", "not a number"]),
    "another text": ({"a": "t,y\n2020-01-03,x\n", "b": ROWS}, ["sales/a.csv, line 2", "'x'", "not a number"]),
    "more columns": ({"a": ROWS, "b": "t,y,z\n2020-01-03,1,1\n"}, ["sales/b.csv", "'z'", "sales/a.csv lacks"]),
    "fewer columns": ({"a": ROWS, "b": "t\n2020-01-03\n"}, ["sales/b.csv", "lacks", "'y'", "sales/a.csv"]),
    "long row": ({"a": ROWS, "b": "t,y\n2020-01-03,1,1\n"}, ["sales/b.csv, line 2", "3 fields"]),
    "empty file": ({"a": ROWS, "b": ""}, ["sales/b.csv", "empty"]),
    "same time": ({"a": ROWS, "b": "t,y\n2020-01-02,9\n"}, ["sales/b.csv, line 2", "a.csv, line 3", "same time"]),
    "partitions": ({"k=1__a": ROWS, "b": MORE}, ["sales/k=1/a.csv", "k", "sales/b.csv", "no column"]),
    "other partitions": ({"k=1__a": ROWS, "m=2__b": MORE}, ["sales/m=2/b.csv", "for m,", "sales/k=1/a.csv", "for k"]),
    "no rows": ({"a": "t,y\n", "b": "t,y\n"}, ["sales", "no rows"]),
}


@pytest.mark.parametrize("name", BAD_DIRECTORIES)
def test_bad_directories(tmp_path: Path, name: str) -> None:
    files, parts = BAD_DIRECTORIES[name]
    write(tmp_path / "sales", **files)
    message = refusal(tmp_path / "sales", target="y", time="t")
    assert [part for part in parts if part not in message] == [], message


def test_kinds_and_types_are_not_mixed_in_a_directory(tmp_path: Path) -> None:
    write(tmp_path, a=ROWS)
    pl.DataFrame({"t": [1], "y": [1]}).write_parquet(tmp_path / "b.parquet")
    assert "CSV and Parquet files (a.csv and b.parquet)" in refusal(tmp_path, target="y", time="t")
    (tmp_path / "a.csv").unlink()
    pl.DataFrame({"t": ["2020-01-01"], "y": [1.5]}).write_parquet(tmp_path / "c.parquet")
    message = refusal(tmp_path, target="y", time="t")
    assert "c.parquet: column 't' holds String, but Int64 in" in message and "b.parquet" in message
    pl.DataFrame({"t": [2], "y": [1.5]}).write_parquet(tmp_path / "c.parquet")
    assert values(read_table(tmp_path, target="y", time="t")) == [1, 1.5], "kinds of numbers may differ"


def test_a_file_counts_once(tmp_path: Path) -> None:
    write(tmp_path, a=ROWS)
    assert "a.csv more than once" in refusal([tmp_path / "a.csv"] * 2, target="y", time="t")


# Data frames

DAYS = pd.date_range("2020-01-01", periods=3, name="day")
FRAMES: dict[str, Callable[[], Any]] = {
    "polars": lambda: pl.DataFrame({"day": DAYS.to_numpy(), "y": [1.0, None, 3.0], "k": ["b", "a", None]}),
    "polars, lazy": lambda: FRAMES["polars"]().lazy(),
    "pandas": lambda: FRAMES["polars"]().to_pandas(),
    "pandas with a named index": lambda: FRAMES["pandas"]().set_index("day"),
    "pandas with an index of times": lambda: pd.DataFrame(
        {"y": [1.0, np.nan, 3.0], "k": pd.Categorical(["b", "a", None])}, index=DAYS.rename(None)
    ),
    "pyarrow": lambda: FRAMES["polars"]().to_arrow(),
}


@pytest.mark.parametrize("name", FRAMES)
def test_data_frames(name: str) -> None:
    if not name.startswith("polars"):
        pytest.importorskip("pyarrow")  # through which polars takes the texts of pandas
    times = {} if name == "pandas with an index of times" else {"time": "day"}
    frame = FRAMES[name]()
    series = read_table(frame, target=["y"], past_covariates="k", layout="long", **times)
    assert values(series) == [1, 0, 3] and series.missing == 1 and series.frequency == "day"
    assert series.time is not None and str(series.time[0])[:10] == "2020-01-01"
    assert series.categories == {"k": ("a", "b")} and series.past_covariates is not None
    assert series.past_covariates[:, 0].tolist() == [2, 1, 0] and series.source == "the data frame"
    assert series.notes[-2:] == (
        "the data frame: 1 missing value in column 'y' (first: row 2).",
        "the data frame: 1 missing value in column 'k' (first: row 3).",
    )
    assert len(series.notes) == (2 if times else 3)


def test_a_pandas_index_of_series_and_times() -> None:
    pytest.importorskip("pyarrow")
    index = pd.MultiIndex.from_product([["a", "b"], DAYS], names=["shop", "day"])
    series = read_table(pd.DataFrame({"y": range(6)}, index=index), target="y", time="day", series_id="shop")
    assert series.names == ("a", "b") and values(series) == [0, 1, 2, 3, 4, 5]


def test_refusals_name_the_row_of_the_data_frame() -> None:
    frame = pl.DataFrame({"t": range(17), "y": [1.0] * 16 + [float("inf")], "x": ["a"] * 17})
    assert refusal(frame, target="y", time="t").startswith("row 17 of the data frame: 'inf' in column 'y'")
    assert "the data frame has no column 'z'" in refusal(frame, target="z")
    assert "no rows" in refusal(frame.clear(), target="y")
    assert "row 1 of the data frame: 'a'" in refusal(frame, target="x")
    assert "data frame" in refusal({"y": [1, 2]}, target="y") and "data frame" in refusal([frame], target="y")
    assert "pandas data frame cannot be read" in refusal(pd.DataFrame({"y": [1, "a", {}]}), target="y")
    assert "cannot be read" in refusal(pl.scan_parquet("absent.parquet"), target="y")


def test_a_table_takes_a_data_frame() -> None:
    data = Table(path=pl.DataFrame({"y": np.arange(40.0)}), target="y", past_steps=4, horizon=2)
    data.setup()
    assert data.windows == {"train": 23, "validation": 5, "test": 5}


# Layouts


def test_auto_takes_the_layout_that_the_columns_tell_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, data="V1,V2,V3\n1,10,100\n2,20,200\n3,30,\n")
    path = tmp_path / "data.csv"
    by_roles: dict[str, dict[str, Any]] = {
        "long: one row per step": {"target": ["V2", "V3"], "time": "V1"},
        "long: one row per step and series": {"target": "V2", "series_id": "V1"},
        "wide: one column per series": {"target": "*", "time": "V1"},
        "rows: one row per series, its steps side by side": {"target": ["*"], "series_id": "V1"},
    }
    for told, roles in by_roles.items():
        series, asked = read_table(path, **roles), read_table(path, layout=told.partition(":")[0], **roles)
        assert series.notes[0] == f"data.csv: taken as {told} (data.layout)." and series.notes[1:] == asked.notes
        assert series.values.tolist() == asked.values.tolist() and series.names == asked.names
    assert series.names == ("1", "2", "3") and values(series) == [10, 100, 20, 200, 30]


def test_one_series_per_row_ends_at_its_last_number(tmp_path: Path) -> None:
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


def test_rows_of_one_id_go_on_in_the_next_file(tmp_path: Path) -> None:
    write(tmp_path, train="id,a,b,c\nx,1,2,\ny,3,4,5\n", test="id,a\ny,7\nx,6\n")
    series = read_table([tmp_path / "train.csv", tmp_path / "test.csv"], target="*", series_id="id")
    assert values(series) == [1, 2, 6, 3, 4, 5, 7] and series.offsets.tolist() == [0, 3, 7] and series.observed is None


BAD_ROWS: dict[str, tuple[str, str, list[str]]] = {
    "text": ("id,a,b\nx,1,2\ny,3,4;5\n", "id,a\ny,7\nx,6\n", ["train.csv, line 3", "'4;5'", "'b'", "not a number"]),
    "absent": ("id,a\nx,1\ny,2\n", "id,a\nx,7\n", ["test.csv has no row of series 'y'", "train.csv, line 3"]),
    "new": ("id,a\nx,1\n", "id,a\nx,7\ny,7\n", ["test.csv, line 3", "'y'", "not in train.csv"]),
    "twice": ("id,a\nx,1\ny,2\nx,3\n", "id,a\nx,7\n", ["train.csv, line 4", "'x'", "line 2", "one row"]),
    "no number": ("id,a\nx,1\ny,\n", "id,a\ny,\nx,7\n", ["train.csv, line 3", "'y'", "no number at all"]),
    "no id": ("id,a\n,1\n", "id,a\nx,7\n", ["train.csv, line 2", "id column 'id'", "no value"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows(tmp_path: Path, name: str) -> None:
    train, test, parts = BAD_ROWS[name]
    write(tmp_path, train=train, test=test)
    message = refusal([tmp_path / "train.csv", tmp_path / "test.csv"], target="*", series_id="id", layout="rows")
    assert [part for part in parts if part not in message] == [], message


def test_rows_without_id(tmp_path: Path) -> None:
    write(tmp_path, data="a,b\n1,2\n3,\n", more="a,b\n1,2\n3,\n")
    series = read_table(tmp_path / "data.csv", target="*", layout="rows")
    assert values(series) == [1, 2, 3] and series.names == ("row 1", "row 2")
    both = [tmp_path / "data.csv", tmp_path / "more.csv"]
    assert "data.id" in refusal(both, target="*", layout="rows")


# Columns


@pytest.mark.parametrize(
    ("header", "cells", "settings", "expected"),
    [
        ("year,month,day,hour", "2010,1,2,3", {}, "2010-01-02T03:00"),
        ("hour,Day,Month,YEAR", "3,2,1,2010", {}, "2010-01-02T03:00"),
        ("year,month", "2010,07", {}, "2010-07-01T00:00"),
        ("yr,mnth,day,hr,min", "2010,1,2,3,4", {}, "2010-01-02T03:04"),
        ("year,month,day,hour,minute,second", "2010,1,2,3.0,4,0", {}, "2010-01-02T03:04"),
        ("date,hr", "2010-01-31,9", {}, "2010-01-31T09:00"),
        ("hour,Day", "9,31.01.2010", {}, "2010-01-31T09:00"),
        ("date,hour,minute", "31.01.2010,9,30", {}, "2010-01-31T09:30"),
        ("date,hour", "02/01/2010,9", {"time_format": "%d/%m/%Y"}, "2010-01-02T09:00"),
        ("date,clock", "2010-01-02,17:05", {}, "2010-01-02T17:05"),
        ("Date,Time", "02/01/2010,17.05.00", {"time_format": "%d/%m/%Y %H.%M.%S"}, "2010-01-02T17:05"),
    ],
)
def test_time_in_several_columns(tmp_path: Path, header: str, cells: str, settings: dict, expected: str) -> None:
    write(tmp_path, data=f"{header},y\n{cells},1\n")
    series = read_table(tmp_path / "data.csv", target="y", time=header.split(","), **settings)
    assert series.time is not None and series.time.astype("datetime64[m]").astype(str).tolist() == [expected]


def test_time_in_several_columns_of_a_data_frame() -> None:
    days = pl.Series(DAYS.to_numpy()).dt.date()
    frame = pl.DataFrame({"day": days, "hour": pl.Series([1, 1, 1], dtype=pl.Int8), "y": [1, 2, 3]})
    series = read_table(frame, target="y", time=["day", "hour"], layout="long")
    assert series.time is not None and series.frequency == "day"
    assert series.time.astype("datetime64[h]").astype(str).tolist() == [f"2020-01-0{day}T01" for day in (1, 2, 3)]


BAD_TIMES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "no year": ("month,day\n1,2", {}, ["data.csv, line 2", "'1 2'", "'month + day'", "not a date"]),
    "not a date": ("hour,minute\n1,2", {}, ["data.time=hour,minute", "year"]),
    "no day": ("year,hour\n2010,2", {}, ["data.time=year,hour", "leaving out only the last"]),
    "no hour": ("date,minute\n2010-01-01,2", {}, ["data.time=date,minute", "leaving out only the last"]),
    "two hours": ("date,hour,hr\n2010-01-01,2,3", {}, ["data.time=date,hour,hr"]),
    "half": ("year,month\n2010,1.5", {}, ["data.csv, line 2", "'1.5'", "'month'", "whole number"]),
    "text": ("date,hour\n2010-01-01,noon", {}, ["data.csv, line 2", "'noon'", "'hour'", "whole number"]),
    "month 13": ("year,month\n2010,13", {}, ["data.csv, line 2", "'2010-13'", "'year + month'"]),
    "hour 24": ("date,hour\n2010-01-01,24", {}, ["data.csv, line 2", "'2010-01-01 24:00'", "'date + hour'"]),
    "year 0": ("yr,month\n0,1", {}, ["data.csv, line 2", "'0000-01'"]),
    "missing": ("date,hour\n2010-01-01,NA", {}, ["data.csv, line 2", "'date + hour'", "no value"]),
    "format": ("year,month\n2010,1", {"time_format": "%Y"}, ["data.time_format=%Y", "numbers"]),
}


@pytest.mark.parametrize("name", BAD_TIMES)
def test_bad_times_in_several_columns(tmp_path: Path, name: str) -> None:
    text, settings, parts = BAD_TIMES[name]
    header, _, cells = text.partition("\n")
    write(tmp_path, data=f"{header},y\n{cells},1\n")
    message = refusal(tmp_path / "data.csv", target="y", time=header.split(","), **settings)
    assert [part for part in parts if part not in message] == [], message


def test_series_named_by_several_columns(tmp_path: Path) -> None:
    write(tmp_path, data="t,shop,article,y\n1,b,7,1\n1,a,7,2\n1,b,8,3\n2,b,7,4\n2,a,7,5\n2,b,8,6\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", series_id=["shop", "article"])
    assert series.names == ("b/7", "a/7", "b/8") and values(series) == [1, 4, 2, 5, 3, 6]
    write(tmp_path, data="t,shop,article,y\n1,b,7,1\n1,a,,2\n")
    message = refusal(tmp_path / "data.csv", target="y", time="t", series_id=["shop", "article"])
    assert message.startswith("data.csv, line 3: id column 'article' has no value here")


def test_two_series_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, data="t,a,b,c,y\n1,x,y/z,1,1\n1,x/y,z,2,2\n2,x,y/z,1,3\n2,x/y,z,2,4\n")
    message = refusal(tmp_path / "data.csv", target="y", time="t", series_id=["a", "b"])
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


def test_a_static_that_changes_is_refused(tmp_path: Path) -> None:
    write(tmp_path, data="t,s,y,region\n1,a,1,north\n1,b,1,south\n2,b,1,south\n2,a,1,west\n")
    settings: dict[str, Any] = {"target": "y", "time": "t", "series_id": "s", "statics": "region"}
    message = refusal(tmp_path / "data.csv", **settings)
    assert message.startswith("data.csv, line 5: 'west' in column 'region', but 'north' in line 2 of series 'a':")
    assert "data.statics" in message
    single = refusal(tmp_path / "data.csv", target="y", statics="region")
    assert "line 3: 'south' in column 'region', but 'north' in line 2: a column of data.statics" in single


def test_any_number_of_categories(tmp_path: Path) -> None:
    rows = [f"{row},{row},article {row % 200:03}" for row in range(1000)]
    write(tmp_path, data="t,y,c\n" + "\n".join(rows) + "\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", known_covariates="c")
    assert series.categories == {"c": tuple(f"article {number:03}" for number in range(200))}
    assert series.known_covariates is not None and series.known_covariate_names == ("c",)
    assert series.known_covariates[:, 0].tolist() == [row % 200 + 1 for row in range(1000)]


MARKS = ([-999, "n.a."], ["-999", "n.a."], {"y": [-999], "x": [-999, "n.a."], "c": ["n.a.", -999]})
MARKED = "t,y,x,c\n1,-999,n.a.,n.a.\n2,-999.0,5,b\n3,3, -999 ,-999\n4,-99,6,a\n"
ALL_MARKS = (
    "data.csv: 2 missing values in column 'y' (first: line 2; 2 by data.missing_values).",
    "data.csv: 2 missing values in column 'x' (first: line 2; 2 by data.missing_values).",
    "data.csv: 2 missing values in column 'c' (first: line 2; 2 by data.missing_values).",
)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "marks", [[-999, "n.a."], ["-999", "n.a."], {"y": [-999], "x": [-999, "n.a."], "c": ["n.a.", -999]}]
)
def test_further_cells_that_mean_no_value(tmp_path: Path, kind: str, marks: Any) -> None:
    write(tmp_path, data=MARKED)
    if kind == "parquet":
        pl.read_csv(tmp_path / "data.csv").write_parquet(tmp_path / "data.parquet")
    settings: dict[str, Any] = {"target": "y", "time": "t", "past_covariates": ["x", "c"], "layout": "long"}
    series = read_table(tmp_path / f"data.{kind}", missing_values=marks, **settings)
    assert values(series) == [0, 0, 3, -99] and series.missing == 2 and series.past_covariates is not None
    np.testing.assert_array_equal(series.past_covariates, [[np.nan, 0], [5, 2], [np.nan, 0], [6, 1]])
    assert series.categories == {"c": ("a", "b")}
    told = tuple(note.replace("data.parquet", "data.csv").replace("row 1", "line 2") for note in series.notes)
    assert told == ALL_MARKS


def test_marks_by_column_leave_other_columns_alone(tmp_path: Path) -> None:
    write(tmp_path, data="t,y,x\n1,-1,-1\n2,2,2\n")
    series = read_table(
        tmp_path / "data.csv", target="y", time="t", past_covariates="x", layout="long", missing_values={"y": [-1]}
    )
    assert series.missing == 1 and series.past_covariates is not None and series.past_covariates[0, 0] == -1
    write(tmp_path, data="t,y\n1,-1\n2,\n3,3\n")
    series = read_table(tmp_path / "data.csv", target="y", time="t", layout="long", missing_values=[-1, float("inf")])
    assert series.notes == ("data.csv: 2 missing values in column 'y' (first: line 2; 1 by data.missing_values).",)


def test_marks_in_a_table_of_one_series_per_row(tmp_path: Path) -> None:
    write(tmp_path, data="id,a,b,c,d\nx,1,-9,3,-9\ny,4,5,-9,-9\n")
    series = read_table(tmp_path / "data.csv", target="*", series_id="id", layout="rows", missing_values=[-9])
    assert values(series) == [1, 0, 3, 4, 5]
    assert series.notes == ("data.csv: 1 missing value (first: line 2, column 'b'; 4 cells by data.missing_values).",)


@pytest.mark.parametrize(
    ("marks", "said"),
    [([-99, "n.a."], "-99, n.a. are"), ({"y": [-99]}, "-99 is"), ([-99, 7], None), ([-99, 8], None), ([], None)],
)
@pytest.mark.parametrize("layout", ["long", "rows"])
def test_marks_that_are_nowhere_are_told(tmp_path: Path, marks: Any, said: str | None, layout: str) -> None:
    write(tmp_path, data="id,y,z,s\na,1,2,8\nb,7,3,9\n")
    settings: dict[str, Any] = {"target": ["y", "z"], "statics": "s", "series_id": "id", "layout": layout}
    series = read_table(tmp_path / "data.csv", missing_values=marks, **settings)
    told = [note for note in series.notes if note.startswith("data.missing_values")]
    assert told == ([f"data.missing_values: {said} in no cell that is read from data.csv."] if said else [])


def test_marks_in_a_column_of_categories() -> None:
    frame = pl.DataFrame({"y": [1, 2, 3], "c": pl.Series(["b", "n.a.", "a"], dtype=pl.Categorical), "d": [-9, 8, 9]})
    series = read_table(frame, target="y", past_covariates=["c", "d"], missing_values=["n.a.", -9])
    assert series.categories == {"c": ("a", "b")} and series.past_covariates is not None
    np.testing.assert_array_equal(series.past_covariates, [[2, np.nan], [0, 8], [1, 9]])


def test_a_category_that_looks_like_a_number_in_one_file_stays_a_text(tmp_path: Path) -> None:
    write(tmp_path, a="t,y,c\n1,1,07\n2,NA,1\n", b="t,y,c\n3,3,x\n4,4,z\n5,5,07\n")
    series = read_table([tmp_path / "a.csv", tmp_path / "b.csv"], target="y", time="t", past_covariates="c")
    assert series.categories == {"c": ("07", "1", "x", "z")} and values(series) == [1, 0, 3, 4, 5]


def test_a_column_whose_type_says_categories_holds_them_even_if_they_look_like_numbers() -> None:
    frame = pl.DataFrame({"y": [1, 2, 3], "store": pl.Series(["10", "2", "10"], dtype=pl.Categorical)})
    series = read_table(frame, target="y", past_covariates="store")
    assert series.categories == {"store": ("10", "2")} and series.past_covariates is not None
    assert series.past_covariates[:, 0].tolist() == [1, 2, 1]
