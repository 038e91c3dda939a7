"""A table that cannot be read without guessing raises an error of one sentence: what, where and why."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tables import contains_all, error_of

TIMED: dict[str, Any] = {"target": "y", "time": "t"}
DAYS = "t,y\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n"

# name: (content, arguments, parts of the message)
CELL_ERRORS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "text": ("t,y\n1,5\n2,abc\n", TIMED, ["data.csv, line 3", "'abc'", "'y'", "not a number"]),
    "decimal comma or thousands": ('t,y\n1,5555\n2,"1,555"\n', TIMED, ["line 3: '1,555'", "'y'", "1555 or 1.555"]),
    "bad cell among missing ones": ("t,y\n1,NA\n2,\n3,4x\n", TIMED, ["line 4", "'4x'", "not a number"]),
    "bad cell after a blank line": ("t,y\n1,5\n\n2,abc\n", TIMED, ["line 4", "'abc'"]),
    "bad cell after a quoted newline": ('t,note,y\n1,"a\nb",5\n2,c,abc\n', TIMED, ["line 4", "'abc'"]),
    "infinity": ("t,y\n1,5\n2,inf\n", TIMED, ["line 3", "'inf'", "'y'", "finite"]),
    "beyond float32": ("t,y\n1,5\n2,-1e39\n", TIMED, ["line 3", "'-1e39'", "'y'", "3.4e38"]),
    "no number at all": ("t,y\n1,\n2,NA\n", TIMED, ["data.csv", "'y'", "no number at all"]),
    "only empty cells": ("y,z\n,1\n,2\n", {"target": "y"}, ["data.csv", "only empty cells", "'y'"]),
    "missing time": ("t,y\n2020-01-01,1\n,2\n", TIMED, ["line 3", "'t'", "no value"]),
    "missing series": ("t,s,y\n1,a,1\n1,,2\n", {**TIMED, "series_id": "s"}, ["line 3", "'s'", "no value"]),
    "typing error in a covariate": (
        "t,y,c\n1,1,5\n2,2,6\n3,3,x7\n", {**TIMED, "past_covariates": ["c"]}, ["line 4", "'x7'", "not a number"]),
    "month 13": ("t,y\n2020-01-01,1\n2020-13-01,2\n", TIMED, ["line 3", "'2020-13-01'", "'t'", "%Y-%m-%d"]),
    "two digits of a year": ("t,y\n01/02/20,1\n01/03/20,2\n", TIMED, ["line 2", "'01/02/20'", "data.time_format"]),
    "short year later": ("t,y\n01/22/2020,1\n01/23/20,2\n", TIMED, ["line 3", "'01/23/20'", "%m/%d/%Y"]),
    "wrong format given": (
        "t,y\n2020-01-01,1\n", {**TIMED, "time_format": "%m/%d/%Y"}, ["line 2", "'2020-01-01'", "%m/%d/%Y"]),
    "ambiguous day and month": (
        "t,y\n01/02/2020,1\n02/02/2020,2\n", TIMED, ["'01/02/2020'", "%m/%d/%Y", "%d/%m/%Y", "data.time_format"]),
    "both orders at once": ("t,y\n13/01/2020,1\n01/14/2020,2\n01/15/2020,3\n", TIMED, ["line 2", "'13/01/2020'"]),
    "date among whole numbers": ("t,y\n1,1\n2020-01-01,2\n", TIMED, ["line 3", "'2020-01-01'", "like the first"]),
    "conflicting duplicates": (
        "t,y\n2020-01-01,1\n2020-01-02,2\n2020-01-01,9\n", TIMED, ["line 4 and line 2", "2020-01-01", "data.id"]),
    "conflict in a covariate": (
        "t,s,y,c\n1,a,1,5\n1,a,1,6\n", {**TIMED, "series_id": "s", "past_covariates": "c"},
        ["line 3 and line 2", "'a'"]),
    "zero and missing at once": ("t,y\n1,0\n2,5\n2,0\n2,\n", TIMED, ["line 4 and line 3"]),
    "missing value against zero": ("t,y\n1,0\n1,\n2,5\n", TIMED, ["line 3 and line 2", "1", "different values"]),
    "known covariate": ("t,y,c\n1,1,5\n1,1,6\n", {**TIMED, "known_covariates": "c"}, ["line 3 and line 2"]),
    "irregular hours": (
        "t,y\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 02:00,3\n2020-01-01 02:20,4\n", TIMED,
        ["line 5", "2020-01-01 02:20", "hour", "2020-01-01 02:00", "regularly spaced"]),
    "irregular month": (
        "t,y\n2020-01-31,1\n2020-02-29,2\n2020-03-30,3\n2020-04-30,4\n", TIMED, ["line 4", "2020-03-30", "month"]),
    "irregular whole numbers": ("t,y\n0,1\n5,2\n10,3\n12,4\n", TIMED, ["line 5", "12", "step 5"]),
    "wrong year": (DAYS + "2920-01-04,4\n", TIMED, ["line 5", "2920-01-04", "absent", "check the times"]),
    "long row": ("t,y\n1,1\n2,2,3\n", TIMED, ["data.csv, line 3", "3 fields", "2 columns"]),
    "long row beside unused columns": ("t,z,y\n1,1,1\n2,2,2,3\n", TIMED, ["data.csv, line 3", "4 fields", "3 columns"]),
    "column named twice": ("t,y,y\n1,1,1\n", TIMED, ["data.target: data.csv", "'y' more than once", "'y_2', 'y_3'"]),
    "header only": ("t,y\n", TIMED, ["data.csv", "no rows"]),
    "empty file": ("", TIMED, ["data.csv", "empty"]),
    "blank lines": ("\n\n", TIMED, ["data.csv, line 1", "empty"]),
    "open quote": ('t,y\n"1,1\n2,2\n', TIMED, ["data.csv", "cannot be read as CSV"]),
}  # fmt: skip

SETTING_ERRORS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown target": ({"target": "rail", "time": "t"}, ["data.target", "'rail'", "nearest: 'rails'"]),
    "unknown covariate": ({**TIMED, "past_covariates": ["bux"]}, ["data.past_covariates", "'bux'", "'bus'"]),
    "nothing near": ({"target": "qqqq"}, ["data.target", "'qqqq'", "'t', 'y', 'rails', 'bus'"]),
    "target twice": ({"target": ["y", "y"], "time": "t"}, ["data.target", "'y'", "already"]),
    "target is time": ({"target": "t", "time": "t"}, ["data.time", "'t'", "already in data.target"]),
    "target is series": ({"target": "y", "series_id": "y"}, ["data.id", "'y'", "already in data.target"]),
    "covariate twice": (
        {**TIMED, "past_covariates": "bus", "known_covariates": "bus"},
        ["data.known_covariates", "'bus'", "already in data.past_covariates"],
    ),
    "no target": ({"target": []}, ["data.target", "at least one"]),
    "layout": ({**TIMED, "layout": "tall"}, ["data.layout=tall", "long, wide"]),
    "wide with series": ({"target": "y", "layout": "wide", "series_id": "bus"}, ["data.id=bus", "wide"]),
    "star in a long table": ({"target": "*", "layout": "long"}, ["data.target=*", "data.layout=wide"]),
    "star with id and time": ({**TIMED, "target": "*", "series_id": "bus"}, ["data.id=bus", "wide"]),
    "wide with statics": ({"target": "y", "layout": "wide", "statics": "bus"}, ["data.statics=bus", "wide"]),
    "rows with time": ({**TIMED, "layout": "rows"}, ["data.time=t", "data.layout=rows", "one row per series"]),
    "rows with known covariates": (
        {"target": "y", "layout": "rows", "known_covariates": ["bus"]},
        ["known_covariates=bus", "rows"],
    ),
    "format without time": ({"target": "y", "time_format": "%Y"}, ["data.time_format=%Y", "data.time"]),
    "zone without time": ({"target": "y", "time_zone": "Europe/Berlin"}, ["data.time_zone=Europe/Berlin", "data.time"]),
    "missing values of a column without role": (
        {**TIMED, "missing_values": {"bus": [-1]}},
        ["data.missing_values", "'bus'", "'y'"],
    ),
}

PATH_ERRORS: dict[str, tuple[Any, bytes | None, list[str]]] = {
    "URL": ("http://127.0.0.1:9/data.csv", None, ["http://127.0.0.1:9/data.csv", "cannot be downloaded"]),
    "other URL": ("ftp://example.org/data.csv", None, ["ftp://example.org/data.csv", "URL", "http(s)"]),
    "missing file": ("absent.csv", None, ["absent.csv", "does not exist"]),
    "empty directory": (".", None, ["data.path=.", "directory", ".parquet"]),
    "nothing": ([], None, ["data.path", "no file"]),
    "directory in a list": (["."], None, ["data.path=.", "directory", "list"]),
    "no path": (7, None, ["data.path", "int", "data frame"]),
    "number in a list": ([7], None, ["data.path", "int", "list of files"]),
    "suffix": ("data.txt", b"x", ["data.txt", ".csv, .csv.gz, .parquet, .xlsx"]),
    "not Parquet": ("data.parquet", b"PAR1 nonsense PAR1", ["data.parquet", "cannot be read as Parquet"]),
    "not UTF-8": ("data.csv", b"t,y\n1,2\n3,\xff\n", ["data.csv", "UTF-8"]),
    "UTF-16 header": ("data.csv", "t,y\n1,2\n".encode("utf-16"), ["data.csv", "UTF-8"]),
    "cut gzip": ("data.csv.gz", gzip.compress(DAYS.encode() * 99)[:-20], ["data.csv.gz", "cannot be read as CSV"]),
    "not gzip": ("data.csv.gz", DAYS.encode(), ["data.csv.gz", "cannot be read as CSV"]),
}


@pytest.mark.parametrize("name", CELL_ERRORS)
def test_errors_in_cells(tmp_path: Path, name: str) -> None:
    text, settings, parts = CELL_ERRORS[name]
    (tmp_path / "data.csv").write_text(text)
    assert contains_all(error_of(tmp_path / "data.csv", **settings), parts)


@pytest.mark.parametrize("name", SETTING_ERRORS)
def test_errors_in_settings(tmp_path: Path, name: str) -> None:
    settings, parts = SETTING_ERRORS[name]
    (tmp_path / "data.csv").write_text("t,y,rails,bus\n1,1,1,1\n")
    assert contains_all(error_of(tmp_path / "data.csv", **settings), parts)


@pytest.mark.parametrize("name", PATH_ERRORS)
def test_errors_in_paths(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content, parts = PATH_ERRORS[name]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(path).write_bytes(content)
    assert contains_all(error_of(path, **TIMED), parts)


def test_errors_in_parquet_name_the_row(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    frame = {"t": [1, 2, 3], "y": [1.0, 2.0, 1e39], "z": [[1], [2], [3]], "f": [0.5, 1.5, 2.5], "n": [1, None, 3]}
    pl.DataFrame(frame).write_parquet(path)
    assert contains_all(error_of(path, target="y", time="t"), ["data.parquet, row 3", "1e+39", "'y'", "3.4e38"])
    assert contains_all(
        error_of(path, target="z", time="t"), ["data.parquet", "'z'", "List(Int64)", "numbers are needed"]
    )
    assert contains_all(error_of(path, target="n", time="f"), ["data.parquet", "'f'", "whole number", "data.time=none"])
    assert contains_all(error_of(path, target="t", time="n"), ["data.parquet, row 2", "'n'", "no value"])
