"""A table is read as it was written, and each repair is made and noted."""

import gzip
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import times

from datamodules.series import SeriesSet
from datamodules.tables.reader import read_table
from datamodules.tables.source import MISSING


def read(folder: Path, text: str | bytes, name: str = "data.csv", layout: str = "long", **arguments: Any) -> SeriesSet:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return read_table(str(folder / name), layout=layout, **arguments)


def test_plain_csv(tmp_path: Path) -> None:
    series = read(tmp_path, "t,y,z\n2020-01-01,1.5,4\n2020-01-02,2.5,5\n", target=["z", "y"], time="t")
    assert series.values.tolist() == [[4, 1.5], [5, 2.5]] and series.values.dtype == np.float64
    assert series.values.flags.writeable and series.offsets.tolist() == [0, 2]
    assert series.channels == ("z", "y") and series.source == "data.csv" and series.notes == ()
    assert series.observed is None and series.past_covariates is None and series.known_covariates is None
    assert series.time is not None and series.time.dtype == np.dtype("datetime64[us]")
    assert (series.frequency, series.season, series.names) == ("day", 7, ())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"\xef\xbb\xbft,y\n1,2\n2,3\n"),
        ("a.CSV", b"t,y\r\n1,2\r\n2,3"),
        ("a.csv.gz", gzip.compress(b"t,y\n1,2\n2,3\n", mtime=0)),
        ("a.csv.gz", gzip.compress(b"t,unused,y\n1,9,2\n2,9,3\n", mtime=0)),
        ("a[1]*.csv", b't,"a,b",y\n1,"8,9",2\n2,"8,9",3\n'),
        ("a.csv", b"t,y\n\n 1 , 2\n2,3 \n\n"),
    ],
)
def test_csv_variants(tmp_path: Path, name: str, content: bytes) -> None:
    series = read(tmp_path, content, name, target="y", time="t")
    assert series.values.tolist() == [[2], [3]] and series.notes == ()
    assert series.time is not None and series.time.tolist() == [1, 2] and series.time.dtype == np.int64


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("\t", r"'\t'")])
def test_other_separators_are_noted(tmp_path: Path, separator: str, shown: str) -> None:
    series = read(tmp_path, "t,y\n1,2\n".replace(",", separator), target="y", time="t")
    assert series.values.tolist() == [[2]] and series.notes == (f"data.csv: columns are separated by {shown}.",)


@pytest.mark.parametrize(
    ("first", "second", "expected", "detected"),
    [
        ("2020-01-31", "2020-02-01", "2020-01-31T00:00", None),
        ("2020/1/31", "2020/2/1", "2020-01-31T00:00", None),
        ("2020-01", "2020-02", "2020-01-01T00:00", None),
        ("2020-01-31 05:30", "2020-02-01 05:30", "2020-01-31T05:30", None),
        ("2020-01-31T05:30:00", "2020-02-01T05:30:00.000", "2020-01-31T05:30", None),
        ("2020-01-31T05:30:00Z", "2020-02-01T05:30:00Z", "2020-01-31T05:30", None),
        ("2020-01-31 05:30:00+02:00", "2020-02-01 05:30:00+02:00", "2020-01-31T03:30", None),
        ("01/31/2020", "02/01/2020", "2020-01-31T00:00", "%m/%d/%Y"),
        ("31.1.2020", "1.2.2020", "2020-01-31T00:00", "%d.%m.%Y"),
        ("1/31/2020 5:30 PM", "2/1/2020 5:30 PM", "2020-01-31T17:30", "%m/%d/%Y %I:%M %p"),
        ("20200131", "20200201", "2020-01-31T00:00", "%Y%m%d"),
    ],
)
def test_detected_time_formats(tmp_path: Path, first: str, second: str, expected: str, detected: str | None) -> None:
    series = read(tmp_path, f"t,y\n{first},1\n{second},2\n", target="y", time="t")
    assert times(series)[0] == expected
    assert series.notes == ((f"data.csv: time format detected: {detected}.",) if detected else ())


@pytest.mark.parametrize(
    ("cell", "time_format", "expected"),
    [
        ("02/01/2020", "%d/%m/%Y", "2020-01-02T00:00"),
        ("Jan 2020", "%b %Y", "2020-01-01T00:00"),
        ("2020-01-02 07", "%Y-%m-%d %H", "2020-01-02T07:00"),
        ("2020", "%Y", "2020-01-01T00:00"),
    ],
)
def test_given_time_formats(tmp_path: Path, cell: str, time_format: str, expected: str) -> None:
    assert times(read(tmp_path, f"t,y\n{cell},1\n", target="y", time="t", time_format=time_format)) == [expected]


def test_missing_cells_are_unobserved_zeros_and_counted(tmp_path: Path) -> None:
    cells = [f'"{cell}"' for cell in MISSING]
    text = "t,y,z\n0,1,1\n" + "".join(f"{row},{cell},3\n" for row, cell in enumerate(cells, start=1))
    series = read(tmp_path, text, target=["y", "z"], time="t")
    assert series.observed is not None and series.missing == len(MISSING)
    assert series.observed[:, 1].all() and series.observed[:, 0].tolist() == [True] + [False] * len(MISSING)
    assert series.values[:, 0].tolist() == [1] + [0] * len(MISSING)
    assert series.notes == (f"data.csv: {len(MISSING)} missing values in column 'y' (first: line 3).",)


def test_sorting_and_dropping_duplicates_are_noted(tmp_path: Path) -> None:
    text = "t,y\n2020-01-03,3\n2020-01-01,1\n2020-01-03,3\n2020-01-02,\n2020-01-02,\n"
    series = read(tmp_path, text, target="y", time="t")
    assert series.values.tolist() == [[1], [0], [3]] and series.missing == 1
    assert series.notes[1:] == (
        "data.csv: 2 rows were earlier than the row before: sorted by time.",
        "data.csv: 2 exact duplicate rows dropped (first: line 4, 2020-01-03).",
    )


def test_interleaved_series_are_grouped_in_order_of_appearance(tmp_path: Path) -> None:
    text = "t,s,y,c\n1,NA,1,5\n1,7,10,6\n2,NA,2,7\n2,7,20,8\n3,7,30,9\n"
    series = read(tmp_path, text, target="y", time="t", series_id="s", known_covariates="c")
    assert series.names == ("NA", "7") and series.offsets.tolist() == [0, 2, 5] and series.notes == ()
    assert series.values[:, 0].tolist() == [1, 2, 10, 20, 30] and series.known_covariates is not None
    assert series.known_covariates[:, 0].tolist() == [5, 7, 6, 8, 9]


def test_absent_days_are_inserted_in_each_series(tmp_path: Path) -> None:
    text = "t,s,y,c\n2020-01-01,a,1,5\n2020-01-02,a,2,6\n2020-01-05,a,5,7\n2020-03-01,b,1,8\n2020-03-02,b,2,9\n"
    series = read(tmp_path, text, target="y", time="t", series_id="s", past_covariates=["c"])
    assert series.offsets.tolist() == [0, 5, 7] and series.observed is not None and series.past_covariates is not None
    assert series.values[:, 0].tolist() == [1, 2, 0, 0, 5, 1, 2]
    assert series.observed[:, 0].tolist() == [True, True, False, False, True, True, True]
    assert series.past_covariates[:, 0].tolist() == [5, 6, 6, 6, 7, 8, 9]
    assert times(series)[2:4] == ["2020-01-03T00:00", "2020-01-04T00:00"]
    where = "2020-01-03 of series 'a', 2020-01-04 of series 'a'"
    assert series.notes == (f"data.csv: 2 absent days made explicit as missing: {where}.",)


def test_an_absent_row_is_missing_in_every_channel(tmp_path: Path) -> None:
    series = read(tmp_path, "t,y,z\n0,1,\n1,2,5\n3,,6\n", target=["y", "z"], time="t")
    assert series.observed is not None and series.values.tolist() == [[1, 0], [2, 5], [0, 0], [0, 6]]
    assert series.observed.tolist() == [[True, False], [True, True], [False, False], [False, True]]
    assert series.notes[-1] == "data.csv: 1 absent step made explicit as missing: 2."


def test_categories_and_booleans(tmp_path: Path) -> None:
    text = "t,y,kind,open,holiday\n1,1,W,true,0\n2,2,A,False,a\n3,3,W,TRUE,0\n"
    series = read(tmp_path, text, target="y", time="t", past_covariates=["kind", "open"], known_covariates="holiday")
    assert series.past_covariate_names == ("kind", "open") and series.known_covariate_names == ("holiday",)
    assert series.categories == {"kind": ("A", "W"), "holiday": ("0", "a")} and series.notes == ()
    assert series.past_covariates is not None and series.known_covariates is not None
    assert series.past_covariates.tolist() == [[2, 1], [1, 0], [2, 1]]
    assert series.known_covariates.tolist() == [[1], [2], [1]]


def test_missing_covariates_are_nan_or_category_0_and_noted(tmp_path: Path) -> None:
    text = "t,y,x,kind,open\n1,1,NA,,true\n2,2,5,b,\n3,3,,a,false\n4,4,7,-,true\n"
    series = read(tmp_path, text, target="y", time="t", past_covariates=["x", "kind"], known_covariates=["open"])
    assert series.past_covariates is not None and series.known_covariates is not None
    np.testing.assert_array_equal(series.past_covariates, [[np.nan, 0], [5, 2], [np.nan, 1], [7, 0]])
    np.testing.assert_array_equal(series.known_covariates[:, 0], [1, np.nan, 0, 1])
    assert series.categories == {"kind": ("a", "b")} and series.observed is None
    assert series.notes == (
        "data.csv: 2 missing values in column 'x' (first: line 2).",
        "data.csv: 2 missing values in column 'kind' (first: line 2).",
        "data.csv: 1 missing value in column 'open' (first: line 3).",
    )


def test_wide_columns_become_series_of_their_own_length(tmp_path: Path) -> None:
    text = "t,a,b,c,k\n2020-01-01,1,,7,1\n2020-01-02,,5,8,2\n2020-01-03,3,6,,3\n"
    series = read(tmp_path, text, target="*", time="t", layout="wide", known_covariates="k")
    assert series.names == ("a", "b", "c") and series.channels == ("value",)
    assert series.offsets.tolist() == [0, 3, 5, 7] and series.values[:, 0].tolist() == [1, 0, 3, 5, 6, 7, 8]
    assert series.observed is not None and series.observed[:, 0].tolist() == [True, False] + [True] * 5
    assert series.known_covariates is not None and series.known_covariates[:, 0].tolist() == [1, 2, 3, 2, 3, 1, 2]
    assert [time[8:10] for time in times(series)] == ["01", "02", "03", "02", "03", "01", "02"]


def test_without_time_rows_are_steps_in_file_order(tmp_path: Path) -> None:
    series = read(tmp_path, "y\n3\n\n1\n\n\n", target="y")
    assert series.values[:, 0].tolist() == [3, 0, 1] and series.missing == 1
    assert series.time is None and (series.frequency, series.season) == ("", 1)
    panel = read(tmp_path, "s,y\na,3\nb,9\na,1\n", target="y", series_id="s")
    assert panel.values[:, 0].tolist() == [3, 1, 9] and panel.offsets.tolist() == [0, 2, 3]


def test_parquet_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "day": [date(2020, 1, 1), date(2020, 1, 2)],
            "zoned": pl.Series([datetime(2020, 1, 1, 12), datetime(2020, 1, 2, 12)]).dt.replace_time_zone("Asia/Tokyo"),
            "whole": pl.Series([4, 5], dtype=pl.UInt16),
            "text": ["1.5", "NA"],
            "kind": pl.Series(["b", "a"], dtype=pl.Categorical),
            "open": [True, False],
            "y": [1.0, float("nan")],
        }
    )
    frame.write_parquet(tmp_path / "data.parquet")
    path = str(tmp_path / "data.parquet")
    series = read_table(path, target=["y", "text", "whole"], time="day", past_covariates=["kind", "open"])
    assert series.values.tolist() == [[1, 1.5, 4], [0, 0, 5]] and series.missing == 2
    assert series.past_covariates is not None and series.past_covariates.tolist() == [[2, 1], [1, 0]]
    assert series.categories == {"kind": ("a", "b")}
    assert series.notes[1] == "data.parquet: 1 missing value in column 'y' (first: row 2)."
    zoned = read_table(path, target="whole", time="zoned")
    assert times(zoned)[0] == "2020-01-01T03:00"
    assert zoned.notes[1:] == ("data.parquet: time converted from Asia/Tokyo to UTC.",)


NUMBERS = st.floats(-1e38, 1e38)
CELLS = st.lists(st.tuples(st.none() | NUMBERS, NUMBERS), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(panel=st.dictionaries(st.sampled_from("abc"), CELLS, min_size=1), shuffle=st.randoms(), suffix=st.booleans())
def test_what_is_read_is_what_was_written(tmp_path: Path, panel: dict[str, list], shuffle: Any, suffix: bool) -> None:
    """Any order of rows, any missing values, CSV and Parquet; the second channel has no missing values."""
    hours = {name: [datetime(2020, 1, 1 + step // 24, step % 24) for step in range(len(panel[name]))] for name in panel}
    rows = [(name, *pair) for name in panel for pair in zip(hours[name], panel[name], strict=True)]
    rows.append(("full", datetime(2020, 1, 1), (1.0, 1.0)))
    shuffle.shuffle(rows)
    frame = pl.DataFrame(
        [(name, hour, cells[0], cells[1]) for name, hour, cells in rows],
        schema={"s": pl.String, "t": pl.Datetime("us"), "y": pl.Float64, "z": pl.Float64}, orient="row",
    )  # fmt: skip
    path = tmp_path / ("data.parquet" if suffix else "data.csv")
    frame.write_parquet(path) if suffix else frame.write_csv(path)
    series = read_table(str(path), target=["y", "z"], time="t", series_id="s")
    assert sorted(series.names) == sorted([*panel, "full"]) and len(series.values) == len(rows)
    for index, name in enumerate(series.names):
        part = slice(*series.offsets[index : index + 2])
        expected = panel[name] if name in panel else [(1.0, 1.0)]
        assert series.values[part].tolist() == [[0.0 if y is None else y, z] for y, z in expected]
        seen = np.ones((len(expected), 2), bool) if series.observed is None else series.observed[part]
        assert seen.tolist() == [[y is not None, True] for y, _ in expected]
