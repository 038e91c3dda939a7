"""Files, directories and data frames are opened as one table without any preparation."""

import gzip
from collections.abc import Callable, Iterator
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tables import contains_all, error_of, values, write

from datamodules.table import Table
from datamodules.tables.reader import read_table

ROWS = "t,y\n2020-01-01,1\n2020-01-02,2\n"
MORE = "t,y\n2020-01-03,3\n2020-01-04,4\n"


def test_the_data_frame_may_be_a_positional_argument() -> None:
    frame = pl.DataFrame({"y": [1.0, 2.0, 3.0]})
    assert values(Table(frame, target="y", past_steps=1, horizon=1).read()) == [1, 2, 3]


def test_a_list_of_files_is_one_table(tmp_path: Path) -> None:
    write(tmp_path, january=ROWS, february=MORE)
    series = read_table([tmp_path / "february.csv", str(tmp_path / "january.csv")], target="y", time="t")
    assert values(series) == [1, 2, 3, 4] and series.source == "february.csv and january.csv"
    assert series.notes[1:] == ("february.csv and january.csv: 1 row was earlier than the row before: sorted by time.",)


def test_a_list_may_mix_csv_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    pl.DataFrame({"y": [3.0], "t": ["2020-01-03"]}).write_parquet(tmp_path / "b.parquet")
    series = read_table([tmp_path / "a.csv.gz", tmp_path / "b.parquet"], target="y", time="t")
    assert values(series) == [1, 2, 3]


@pytest.mark.parametrize("folder", ["sales", "."])
def test_a_directory_is_read_in_the_order_of_its_file_names(
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


def test_hive_partitions_become_columns(tmp_path: Path) -> None:
    """As written by Hive, Spark, pandas and polars: a numeric one, a text, and one with null and a blank."""
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


def test_an_error_names_the_damaged_file_of_a_directory(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pl.DataFrame({"t": range(9), "y": range(9)}).write_parquet(tmp_path / f"{name}.parquet")
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    content[4:60] = bytes(56)
    (tmp_path / "b.parquet").write_bytes(content)
    assert f"{tmp_path.name}/b.parquet cannot be read" in error_of(tmp_path, target="y", time="t")


DIRECTORY_ERRORS: dict[str, tuple[dict[str, str], list[str]]] = {
    "text": ({"a": ROWS, "b": "t,y\n2020-01-03,x\n"}, ["sales/b.csv, line 2", "'x'", "'y'", "not a number"]),
    "text in the first file": ({"a": "t,y\n2020-01-03,x\n", "b": ROWS}, ["sales/a.csv, line 2", "'x'", "not a number"]),
    "extra column": ({"a": ROWS, "b": "t,y,z\n2020-01-03,1,1\n"}, ["sales/b.csv", "'z'", "sales/a.csv lacks"]),
    "missing column": ({"a": ROWS, "b": "t\n2020-01-03\n"}, ["sales/b.csv", "lacks", "'y'", "sales/a.csv"]),
    "long row": ({"a": ROWS, "b": "t,y\n2020-01-03,1,1\n"}, ["sales/b.csv, line 2", "3 fields"]),
    "empty file": ({"a": ROWS, "b": ""}, ["sales/b.csv", "empty"]),
    "conflicting duplicate": (
        {"a": ROWS, "b": "t,y\n2020-01-02,9\n"},
        ["sales/b.csv, line 2", "a.csv, line 3", "same time"],
    ),
    "one partition": ({"k=1__a": ROWS, "b": MORE}, ["sales/k=1/a.csv", "k", "sales/b.csv", "no column"]),
    "two partitions": ({"k=1__a": ROWS, "m=2__b": MORE}, ["sales/m=2/b.csv", "for m,", "sales/k=1/a.csv", "for k"]),
    "no rows": ({"a": "t,y\n", "b": "t,y\n"}, ["sales", "no rows"]),
}


@pytest.mark.parametrize("name", DIRECTORY_ERRORS)
def test_errors_in_directories(tmp_path: Path, name: str) -> None:
    files, parts = DIRECTORY_ERRORS[name]
    write(tmp_path / "sales", **files)
    message = error_of(tmp_path / "sales", target="y", time="t")
    assert contains_all(message, parts)


def test_a_directory_must_not_mix_kinds_of_files_or_types_of_columns(tmp_path: Path) -> None:
    write(tmp_path, a=ROWS)
    pl.DataFrame({"t": [1], "y": [1]}).write_parquet(tmp_path / "b.parquet")
    assert "CSV and Parquet files (a.csv and b.parquet)" in error_of(tmp_path, target="y", time="t")
    (tmp_path / "a.csv").unlink()
    pl.DataFrame({"t": ["2020-01-01"], "y": [1.5]}).write_parquet(tmp_path / "c.parquet")
    message = error_of(tmp_path, target="y", time="t")
    assert "c.parquet: column 't' holds String, but Int64 in" in message and "b.parquet" in message
    pl.DataFrame({"t": [2], "y": [1.5]}).write_parquet(tmp_path / "c.parquet")
    assert values(read_table(tmp_path, target="y", time="t")) == [1, 1.5], "kinds of numbers may differ"


def test_a_list_must_not_repeat_a_file(tmp_path: Path) -> None:
    write(tmp_path, a=ROWS)
    assert "a.csv more than once" in error_of([tmp_path / "a.csv"] * 2, target="y", time="t")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of a web server for the files in ``tmp_path``."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any):
            super().__init__(*given, directory=str(tmp_path))

        def log_message(self, *given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_of_the_web_are_downloaded_once(tmp_path: Path, address: str) -> None:
    write(tmp_path, **{"a b": ROWS})
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(MORE.encode()))
    pl.DataFrame({"t": [1, 2], "y": [1.5, 2.5]}).write_parquet(tmp_path / "d.parquet")
    both = [f"{address}/a%20b.csv?token=1", f"{address}/c.csv.gz"]
    series = read_table(both, target="y", time="t")
    assert values(series) == [1, 2, 3, 4] and series.source == "a b.csv and c.csv.gz"
    assert values(read_table(f"{address}/d.parquet", target="y", time="t")) == [1.5, 2.5]
    (tmp_path / "c.csv.gz").unlink()
    assert values(read_table(both, target="y", time="t")) == [1, 2, 3, 4]
    message = error_of(f"{address}/e.csv", target="y", time="t")
    assert contains_all(message, [f"data.path={address}/e.csv", "cannot be downloaded (File not found)"])


def test_spreadsheets_are_read_by_polars_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    if find_spec("fastexcel") is None:
        message = error_of(tmp_path / "a.xlsx", target="y", time="t")
        assert contains_all(message, ["a.xlsx", "fastexcel", "pip install 'seqmodels[excel]'", "CSV"])
    frame = pl.DataFrame({"t": [date(2020, 1, 1), date(2020, 1, 2)], "y": ["1,5", "x"]})
    monkeypatch.setattr(pl, "read_excel", lambda path: frame.head(1 if "one" in path.name else 2))
    assert error_of(tmp_path / "a.xlsx", target="y", time="t").startswith("row 2 of a.xlsx: 'x' in column 'y' is not")
    (tmp_path / "one.xlsx").write_bytes(b"PK")
    series = read_table(tmp_path / "one.xlsx", target="y", time="t")
    assert values(series) == [1.5] and series.notes[0] == "one.xlsx: the first sheet is read."


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
def test_data_frames_of_all_libraries(name: str) -> None:
    if not name.startswith("polars"):
        pytest.importorskip("pyarrow")  # polars needs it to convert pandas texts
    time = {} if name == "pandas with an index of times" else {"time": "day"}
    frame = FRAMES[name]()
    series = read_table(frame, target=["y"], past_covariates="k", layout="long", **time)
    assert values(series) == [1, 0, 3] and series.missing == 1 and series.frequency == "day"
    assert series.time is not None and str(series.time[0])[:10] == "2020-01-01"
    assert series.categories == {"k": ("a", "b")} and series.past_covariates is not None
    assert series.past_covariates[:, 0].tolist() == [2, 1, 0] and series.source == "the data frame"
    assert series.notes[-2:] == (
        "the data frame: 1 missing value in column 'y' (first: row 2).",
        "the data frame: 1 missing value in column 'k' (first: row 3).",
    )
    assert len(series.notes) == (2 if time else 3)


def test_a_pandas_multiindex_becomes_columns() -> None:
    pytest.importorskip("pyarrow")
    index = pd.MultiIndex.from_product([["a", "b"], DAYS], names=["shop", "day"])
    series = read_table(pd.DataFrame({"y": range(6)}, index=index), target="y", time="day", series_id="shop")
    assert series.names == ("a", "b") and values(series) == [0, 1, 2, 3, 4, 5]


def test_errors_name_the_row_of_the_data_frame() -> None:
    frame = pl.DataFrame({"t": range(17), "y": [1.0] * 16 + [float("inf")], "x": ["a"] * 17})
    assert error_of(frame, target="y", time="t").startswith("row 17 of the data frame: 'inf' in column 'y'")
    assert "the data frame has no column 'z'" in error_of(frame, target="z")
    assert "no rows" in error_of(frame.clear(), target="y")
    assert "row 1 of the data frame: 'a'" in error_of(frame, target="x")
    assert "data frame" in error_of({"y": [1, 2]}, target="y") and "data frame" in error_of([frame], target="y")
    assert "pandas data frame cannot be read" in error_of(pd.DataFrame({"y": [1, "a", {}]}), target="y")
    assert "cannot be read" in error_of(pl.scan_parquet("absent.parquet"), target="y")


def test_windows_from_a_data_frame() -> None:
    data = Table(path=pl.DataFrame({"y": np.arange(40.0)}), target="y", past_steps=4, horizon=2)
    data.setup()
    assert data.windows == {"train": 23, "validation": 5, "test": 5}
