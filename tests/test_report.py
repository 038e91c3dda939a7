"""Summaries, tables, formatting, and files of results."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data import integers, prepare
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from small_runs import fit, small_module, small_waves

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet
from seqmodels.baselines.rules import Naive
from seqmodels.metrics import MEASURES, ErrorTable, Measure
from seqmodels.report import output, results
from seqmodels.report.output import format_duration, format_number, format_time
from seqmodels.report.summary import receptive_field_warning, summarise_data, summarise_model
from seqmodels.training.callbacks.scalars import ScalarLogger
from seqmodels.training.run import Plan, Run, monitors


def text_of(renderable) -> str:
    """Output on 100 columns without colour."""
    file = io.StringIO()
    Console(file=file, width=output.WIDTH, color_system=None).print(renderable)
    return file.getvalue()


def table_of(absolute: list, squared: list, observed: list | None = None) -> ErrorTable:
    """Errors (H, C); the scaled error is half of the absolute one."""
    errors = torch.tensor(absolute, dtype=torch.float64)
    count = torch.ones_like(errors) if observed is None else torch.tensor(observed, dtype=torch.float64)
    return ErrorTable(
        errors, torch.tensor(squared, dtype=torch.float64), errors / 2, count, count, errors * math.nan, errors
    )


MODEL_ERRORS = table_of([[1.0, 10.0], [3.0, 30.0]], [[4.0, 100.0], [12.0, 300.0]])
NAIVE_ERRORS = table_of([[4.0, 40.0], [4.0, 40.0]], [[16.0, 1600.0], [16.0, 1600.0]])
RESULTS = {"test": {"model": MODEL_ERRORS, "naive": NAIVE_ERRORS}}


class Monthly(WindowDataModule):
    """Two named monthly series with a missing value and two notes."""

    def read(self) -> SeriesSet:
        observed = np.ones((120, 1), dtype=bool)
        observed[5] = False
        months = np.arange("2000-01", "2005-01", dtype="datetime64[M]").astype("datetime64[us]")
        return SeriesSet(
            np.ones((120, 1), dtype=np.float32) * observed, np.array([0, 60, 120]), ("sales",), observed,
            np.tile(months, 2), ("north", "south"), frequency="month", season=12, source="shop.csv",
            notes=("shop.csv: 2 duplicate rows dropped.", "shop.csv: sorted."),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (39756.0, "39,756.0"), (0.0202, "0.0202"), (0.123456, "0.1235"), (12.3456, "12.35"), (999.94, "999.9"),
        (999.96, "1,000.0"), (1234567.8, "1,234,568"), (2.5e13, "2.5e+13"), (0.0, "0"), (-0.5, "-0.5"),
        (float("nan"), "-"), (float("inf"), "inf"), (3.2e-7, "3.2e-07"),
    ],
)  # fmt: skip
def test_format_of_numbers_by_magnitude(value: float, text: str) -> None:
    assert format_number(value) == text


def test_format_of_times_and_durations() -> None:
    assert format_time(np.datetime64("2019-01-31T00:00", "us")) == "2019-01-31"
    assert format_time(np.datetime64("2019-01-31T06:30", "us")) == "2019-01-31 06:30"
    assert format_time(np.int64(7)) == "7"
    assert [format_duration(seconds) for seconds in (0, 61.9, 3723)] == ["0:00", "1:01", "1:02:03"]


def test_summary_of_data() -> None:
    data = Monthly(past_steps=12, horizon=3, split=["2003-01-01", "2004-01-01"])
    data.setup()
    text = text_of(summarise_data(data))
    for said in (
        "shop.csv", "2 series, 120 rows (60 each)", "sales", "2000-01-01 ... 2004-12-01, one step per month",
        "12 past steps -> 3 steps ahead, season of 12 steps", "train       44 windows, 2000-01-01 ... 2002-12-01",
        "validation  20 windows, 2003-01-01 ... 2003-12-01", "test        20 windows, 2004-01-01 ... 2004-12-01",
        "across", "1 target value (0.83%)", "2 duplicate rows dropped", "shop.csv: sorted.",
    ):  # fmt: skip
        assert said in text
    waves = small_waves()
    waves.setup()
    text = text_of(summarise_data(waves))
    assert "validation  40 windows, 40 series: series 140 ... series 179" in text
    assert "time" not in text and "missing" not in text and "notes" not in text


@pytest.mark.parametrize(
    ("shift", "split", "words"),
    [
        (10, [-10, -5], "training rows of 1 series lie after the first test date 2000-05-06,"),
        (10, [-20], "training rows of 1 series lie after the first validation date 2000-04-21,"),
        (0, [-10, -5], None),
        (10, [0.7, 0.2, 0.1], None),
    ],
)
def test_the_summary_says_where_parts_overlap_in_time(shift: int, split: list, words: str | None) -> None:
    days = np.datetime64("2000-04-01", "us") + np.arange(60) * np.timedelta64(1, "D")
    series = replace(integers(40, 40), time=np.concatenate([days[:40], days[shift : shift + 40]]), source="shop.csv")
    text = " ".join(text_of(summarise_data(prepare(series, split=split))).split())
    assert words is None or f"warning: {words}" in text
    assert (words is None) == ("lie after" not in text)
    dated = "give dates in data.split, such as [2000-05-06,2000-05-11]."
    assert (dated in text) == (words is not None and len(split) == 2), text
    common = "data.split=[0.7, 0.2, 0.1] are fractions of all rows, cut at the same times in all series"
    assert (common in text) == (split[0] == 0.7)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sampling": "series"}, "44 windows, 44 drawn an epoch, every series as often, 2000"),
        ({"sampling": "length", "epoch_windows": 2000}, "44 windows, 2,000 drawn an epoch, series in proportion to"),
        ({"epoch_windows": 5}, "44 windows, 5 drawn an epoch, each at most once, 2000"),
    ],
)
def test_summary_of_sampling(asked: dict[str, Any], said: str) -> None:
    data = Monthly(past_steps=12, horizon=3, split=["2003-01-01", "2004-01-01"], **asked)
    data.setup()
    text = text_of(summarise_data(data))
    assert said in text and text.count("drawn") == 1


def test_summary_of_a_model() -> None:
    module = small_module(small_waves())
    text = text_of(summarise_model(module.forecaster, 20, "wavenet"))
    backbone = 4 * (2 * 1) + 4 + 4 * (2 * 4) + 4  # two convolutions of kernel 2 to 4 filters, with biases
    readout = 4 * 5 + 5
    parts = f"(backbone: WaveNet {backbone} parameters, readout: SeqToSeq {readout} parameters)"
    assert f"{backbone + readout} {parts}" in text
    assert "4 steps; the window has 20" in text and "20 forecasts per window" in text
    assert "warning: the model sees 4 steps, less than half of the window's 20" in text
    text = text_of(summarise_model(Naive(module.spec), 20, "naive"))
    assert "model       naive" in text and "parameters  0" in text and "1 forecast per window" in text


def test_receptive_field_warning() -> None:
    assert receptive_field_warning(None, 20) == receptive_field_warning(10, 20) == receptive_field_warning(20, 20) == ""
    assert (
        receptive_field_warning(31, 20)
        == "the model sees 31 steps, the window has 20: the first layers see padding only."
    )
    assert "less than half" in receptive_field_warning(9, 20)


def test_rows_hold_every_measure_by_channel() -> None:
    rows = results.result_rows(RESULTS, {"test": 7}, "wavenet", ("bus", "rail"))
    assert [(row["row"], row["channel"]) for row in rows] == [
        (name, channel) for channel in ("all", "bus", "rail") for name in ("wavenet", "naive")
    ]
    everything, _, bus, _, rail, naive_rail = rows
    assert everything == {
        "stage": "test", "row": "wavenet", "channel": "all", "mae": 11.0, "rmse": math.sqrt(104), "mse": 104.0,
        "mase": 5.5, "wql": pytest.approx(math.nan, nan_ok=True), "skill": 0.5, "windows": 7,
    }  # fmt: skip
    assert (bus["mae"], bus["mse"], rail["mae"], rail["mse"]) == (2, 8, 20, 200)
    assert naive_rail["skill"] == 0


def test_skill_compares_with_seasonal_naive_if_there_is_a_season() -> None:
    seasonal = table_of([[2.0]], [[4.0]])
    rows = {"model": table_of([[1.0]], [[1.0]]), "naive": table_of([[4.0]], [[16.0]]), "seasonal naive": seasonal}
    found = {row["row"]: row["skill"] for row in results.result_rows({"test": rows}, {"test": 1})}
    assert found == {"model": 0.5, "naive": -1.0, "seasonal naive": 0.0}
    perfect = table_of([[0.0]], [[0.0]])
    (row, _) = results.result_rows({"test": {"model": perfect, "naive": perfect}}, {"test": 1})
    assert math.isnan(row["skill"])


def test_unobserved_values_have_no_weight() -> None:
    nan = float("nan")
    table = table_of([[1.0], [3.0], [nan]], [[1.0], [9.0], [nan]], [[1], [3], [0]])
    (row, _) = results.result_rows({"test": {"model": table, "naive": table}}, {"test": 1})
    assert row["mae"] == 2.5 and row["mse"] == 7.0


def test_the_table_fits_into_100_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # a pipe is as wide as we say
    huge = table_of([[1e8, 1e8], [1e8, 1e8]], [[1e17, 1e17], [1e17, 1e17]])
    measured = {stage: {"model": MODEL_ERRORS, "naive": huge} for stage in ("validation", "test")}
    table = results.result_table(measured, {"validation": 2000, "test": 7}, "wavenet", ("bus", "rail"))
    output.show(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100 and not any("\x1b" in line or "…" in line for line in lines)
    assert lines[0].split() == ["MAE", "RMSE", "MSE", "MASE", "skill"]
    assert lines[1].strip() == "validation, all"
    assert lines[2].split() == ["wavenet", "11", "10.2", "104", "5.5", "1"]
    assert [line.strip() for line in lines if line.startswith(" test")] == ["test, all", "test, bus", "test, rail"]
    assert "2,000 validation and 7 test windows" in " ".join(lines)


def test_echo_does_not_wrap_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.echo("a path [of] " + "x" * 300)
    assert capsys.readouterr().out == "a path [of] " + "x" * 300 + "\n"


def test_files_hold_primitives(tmp_path: Path) -> None:
    rows = results.result_rows(RESULTS, {"test": 7})
    rows[0]["mase"] = float("nan")
    summary = {"monitor": {"value": torch.tensor(0.5)}, "best": np.float32(0.25), "worst": math.inf, "at": Path("a")}
    results.write_results(tmp_path / "run", summary, rows)
    content = (tmp_path / "run" / "metrics.json").read_text()
    found = json.loads(content, parse_constant=pytest.fail)
    rest = {name: value for name, value in found.items() if name != "rows"}
    assert rest == {"monitor": {"value": 0.5}, "best": 0.25, "worst": None, "at": "a"}
    assert found["rows"][0]["mase"] is None and found["rows"][0]["mae"] == 11
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["row"] for row in written] == [row["row"] for row in rows]
    assert written[0]["mase"] == "" and float(written[1]["mae"]) == rows[1]["mae"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output.write_file(tmp_path / "metrics.json", b"old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("seqmodels.report.output.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        output.write_file(tmp_path / "metrics.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_bytes() == b"old"


def test_a_naive_model_has_one_row() -> None:
    season = table_of([[2.0]], [[4.0]])
    rows = {"model": season, "naive": table_of([[4.0]], [[16.0]]), "seasonal naive": season}
    names = [row["row"] for row in results.result_rows({"test": rows}, {"test": 1}, "seasonal_naive")]
    assert names == ["seasonal_naive", "naive"]
    rows["model"] = season._replace(quantile=season.absolute, size=season.absolute)  # bands of more errors
    names = [row["row"] for row in results.result_rows({"test": rows}, {"test": 1}, "seasonal_naive")]
    assert names == ["seasonal_naive", "naive"]
    other = {**rows, "model": table_of([[3.0]], [[9.0]])}  # with a season of its own
    names = [row["row"] for row in results.result_rows({"test": other}, {"test": 1}, "seasonal_naive")]
    assert names == ["seasonal_naive", "naive", "seasonal naive"]


def test_a_measure_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more entry of the table of measures reaches the printed table, both files, the logs and ``monitor``."""
    monkeypatch.setitem(MEASURES, "rmae", Measure("RMAE", lambda errors: errors.absolute**0.5))
    monkeypatch.setitem(MEASURES, "gain", Measure("gain", lambda errors, naive: naive.absolute - errors.absolute, True))
    data = small_waves(season=4)
    module = small_module(data)
    logger = CSVLogger(tmp_path, name="", version="logs")
    trainer = fit(module, data, [ScalarLogger()], logger=logger, max_epochs=1)
    assert "validation/rmae" in monitors() and "validation/gain" not in monitors()
    run = Run("wavenet", tmp_path, data, module, trainer, Plan(monitor="validation/rmae"))
    run.evaluate()
    value = run.write({})
    found = json.loads((tmp_path / "metrics.json").read_text())
    own, naive = found["rows"][0], next(row for row in found["rows"] if row["row"] == "seasonal naive")
    assert own["rmae"] == value == found["monitor"]["value"] == pytest.approx(own["mae"] ** 0.5)
    assert own["gain"] == pytest.approx(naive["mae"] - own["mae"])
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert float(next(csv.DictReader(file))["rmae"]) == own["rmae"]
    with open(tmp_path / "logs/metrics.csv", newline="") as file:
        logged = {name: float(value) for row in csv.DictReader(file) for name, value in row.items() if value}
    for name in ("rmae", "gain"):
        assert logged[f"validation/{name}"] == pytest.approx(own[name], rel=1e-5)
        assert logged[f"with_best_weights/validation_{name}"] == own[name]
    heading, _, first, *_ = text_of(results.result_table(module.results, module.measured, "wavenet")).splitlines()
    assert heading.split()[-3:] == ["skill", "RMAE", "gain"]
    assert first.split()[-2:] == [format_number(own["rmae"]), format_number(own["gain"])]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_file_is_a_formula(start, tmp_path):
    formula, harmless = f"{start}HYPERLINK(A1)", [f"a{start}b", "", "-0.5", "+1e3", "-inf", -0.5, -3, None]
    output.write_csv(tmp_path / "some.csv", [[formula], harmless])
    with (tmp_path / "some.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    formula, harmless[0] = formula.replace("\r", " "), harmless[0].replace("\r", " ")
    assert rows == [[f"'{formula}"], [harmless[0], "", "-0.5", "+1e3", "-inf", "-0.5", "-3", ""]]


def test_a_channel_named_like_a_formula_is_escaped_in_metrics_csv(tmp_path):
    rows = results.result_rows(RESULTS, {"test": 3}, "=model()", ("=1+1", "@sum"))
    results.write_results(tmp_path, {}, rows)
    text = (tmp_path / "metrics.csv").read_text()
    assert "'=model()" in text and ",'=1+1," in text and ",'@sum," in text and ",=" not in text
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"][2]["channel"] == "=1+1"
