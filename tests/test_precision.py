"""Values that float32 cannot hold: naive errors, statistics, windows, stores and models are those of float64."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from data import SeriesData
from matplotlib.figure import Figure

from datamodules.encoder import RowEncoder
from datamodules.precision import choose_precision
from datamodules.series import SeriesSet
from datamodules.store.convert import Conversion
from datamodules.stored import Stored
from datamodules.table import Table
from datamodules.tables.reader import read_table
from seqmodels.backbones.mlp import Linear
from seqmodels.baselines.rules import Naive, SeasonalNaive
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.leaks.check import LeakCheck
from seqmodels.metrics import ErrorTable, ForecastErrors
from seqmodels.readouts.direct import SeqToVector
from seqmodels.report.output import format_among
from seqmodels.report.plotting import style_axes
from seqmodels.scalers.affine import StandardScaler
from seqmodels.window import check

PAST, HORIZON, SEASON, ROWS, SPLIT = 20, 5, 7, 600, (400, 100, 100)
WINDOWS: dict[str, Any] = {"past_steps": PAST, "horizon": HORIZON, "season": SEASON, "split": SPLIT}


def noise(scale: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, ROWS)


LARGE = {
    "small changes at 1e9": 1e9 + np.random.default_rng(0).integers(70, 130, ROWS),
    "negative": -4e9 + np.round(noise(3), 2),
    "energy meter": 1_234_568_665 + np.random.default_rng(1).integers(200, 1200, ROWS).cumsum(),
    "degrees of a position": 52.5 + np.round(noise(1e-5).cumsum(), 7),
    "grid frequency": np.round(50 + noise(0.001), 4),
    "unix seconds": 1.7e9 + 3600.0 * np.arange(ROWS) + np.round(noise(30)),
    "counter that grows from 0": np.concatenate([np.arange(300) * 0.7, 1e9 + np.arange(300) * 0.7]) + noise(0.1),
    "whole numbers that float32 holds": 16_000_000.0 + np.random.default_rng(2).integers(0, 6, ROWS),
    "outages to zero": np.where(np.arange(ROWS) % 97 == 5, 0.0, 1e9 + np.round(noise(5), 1)),
    "idle most of the time": 3e9 + (np.random.default_rng(3).integers(0, 10, ROWS) == 0).cumsum() * 3.0,
    "microseconds": 1.7e15 + 1e6 * np.arange(ROWS) + np.round(noise(2e3)),
}
ORDINARY = {
    "air pressure": np.round(1013.25 + noise(0.3).cumsum(), 1),
    "riders": np.round(300_000 + noise(20_000)),
    "prices": np.round(4000 + noise(20).cumsum(), 2),
    "exponential growth": 1.05 ** np.arange(ROWS),
    "constant": np.full(ROWS, 0.1),
    "wave": 20 + 10 * np.sin(np.arange(ROWS) / 10),
    "counts with zeros": np.random.default_rng(4).poisson(0.3, ROWS).astype(float),
}


def table(values: np.ndarray, **settings: Any) -> Table:
    data = Table(pl.DataFrame({"y": values}), target="y", layout="long", **WINDOWS | settings)
    data.setup()
    return data


def measured(data: Any, forecaster: Any) -> ErrorTable:
    errors = ForecastErrors(data.spec)
    for window in data.test_dataloader():
        check(window, data.spec)
        errors.update(forecaster(window.inputs).forecast[:, -1, ..., 0], window.inputs, window.targets)
    return errors.compute()


def naive_errors(y: np.ndarray, season: int) -> np.ndarray:
    """Errors of y(t + h - season) for all windows of the test part, in float64: (windows, horizon)."""
    origins = np.arange(SPLIT[0] + SPLIT[1] - 1, ROWS - HORIZON)
    lead = np.arange(1, HORIZON + 1)
    ahead = origins[:, None] + lead
    return np.abs(y[ahead] - y[ahead - season * -(-lead // season)])


@pytest.mark.parametrize("name", LARGE)
def test_naive_errors_are_those_of_float64(name: str) -> None:
    y, data = LARGE[name], table(LARGE[name])
    unit = np.abs(y[SEASON : SPLIT[0]] - y[: SPLIT[0] - SEASON]).mean()
    last = np.abs(y[np.arange(SPLIT[0] + SPLIT[1] - 1, ROWS - HORIZON)[:, None] + np.arange(1, HORIZON + 1)]
                  - y[np.arange(SPLIT[0] + SPLIT[1] - 1, ROWS - HORIZON)][:, None])  # fmt: skip
    for model, errors in ((Naive(data.spec), last), (SeasonalNaive(data.spec), naive_errors(y, SEASON))):
        (found,) = measured(data, model).mean()
        assert found.absolute == pytest.approx(errors.mean(), rel=1e-7)
        assert found.squared == pytest.approx(np.square(errors).mean(), rel=2e-7)
        assert found.scaled == pytest.approx(errors.mean() / unit, rel=1e-7)
    notes = [note for note in data.series.notes if "kept in float64" in note]
    assert len(notes) == 1 and "values of 'y' around" in notes[0] and data.spec.levels
    mean, deviation, _ = data.spec.target_statistics
    assert mean[0] == pytest.approx(y[: SPLIT[0]].mean(), rel=1e-15)
    assert deviation[0] == pytest.approx(y[: SPLIT[0]].std(), rel=1e-6)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_values_stay_float32_without_a_level(name: str) -> None:
    data = table(ORDINARY[name])
    window = data.examples("train", 8)
    assert data.series.values.dtype == np.float32 and not data.spec.levels
    assert not window.inputs.level.any() and not any("float64" in note for note in data.series.notes)
    assert window.inputs.level.untyped_storage().nbytes() == 8, "one element seen from everywhere"
    values = torch.cat([window.inputs.past_target, window.targets.target], 1)[..., 0]
    rows = window.origin[:, None] + torch.arange(1 - PAST, HORIZON + 1)
    assert torch.equal(values, torch.from_numpy(ORDINARY[name].astype(np.float32))[rows])


def test_windows_plus_level_are_the_values_and_the_level_is_past() -> None:
    y = LARGE["energy meter"]
    data = table(y)
    for stage in ("train", "validation", "test"):
        window = data.examples(stage, 20)
        rows = (window.origin[:, None] + torch.arange(1 - PAST, HORIZON + 1)).numpy()
        values = (
            torch.cat([window.inputs.past_target, window.targets.target], 1).double() + window.inputs.level[:, None]
        )
        assert np.array_equal(values[..., 0].numpy(), y[rows])
        assert np.array_equal(window.inputs.level[:, 0].numpy(), y[window.origin.numpy()])


def test_the_level_of_a_window_without_values_is_the_last_value_before_it() -> None:
    y = LARGE["small changes at 1e9"].astype(float).copy()
    y[440:470] = np.nan
    y[:30] = np.nan
    data = table(y)
    window = data.examples("validation", 96)
    empty = ~window.inputs.past_observed.any(dim=1)[:, 0]
    assert empty.any() and (window.inputs.level[empty, 0] == y[439]).all()
    assert not window.inputs.past_target[~window.inputs.past_observed].any()
    assert not window.targets.target[~window.targets.observed].any()
    first = data.examples("train", 10_000)
    unseen = (first.origin < 30).numpy()
    assert unseen.any() and (first.inputs.level[unseen, 0] == data.spec.target_statistics.mean[0]).all()


def test_a_level_only_for_series_and_channels_that_need_one() -> None:
    small, large = np.round(noise(1), 2), LARGE["small changes at 1e9"]
    frame = pl.DataFrame({"s": ["a"] * ROWS + ["b"] * ROWS, "y": [*small, *large], "z": [*small, *small]})
    data = Table(frame, target=["y", "z"], id="s", layout="long", **WINDOWS)
    data.setup()
    window = data.examples("test", 10_000)
    needs = window.inputs.level != 0
    assert needs[window.inputs.series == 1][:, 0].all() and needs.sum() == (window.inputs.series == 1).sum()
    (note,) = (note for note in data.series.notes if "float64" in note)
    assert "'y'" in note and "of 1 of 2 series" in note
    alone = table(small)
    same = data.examples("test", 10_000).inputs.past_target[(window.inputs.series == 0).numpy(), :, 1]
    assert torch.equal(same, alone.examples("test", 10_000).inputs.past_target[..., 0])


def test_a_model_learns_the_same_from_values_a_billion_higher() -> None:
    """Same weights, same loss and same errors of `linear` after a short training from the same seed."""
    results = []
    base = np.round(noise(3), 2) + 10 * np.sin(2 * np.pi * np.arange(ROWS) / SEASON)
    for high in (0.0, 1e9):
        data, loss = table(base + high), torch.zeros(())
        torch.manual_seed(0)
        model = Forecaster(data.spec, StandardScaler, Linear, SeqToVector, Point())
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(2):
            for window in data.train_dataloader():
                optimizer.zero_grad()
                loss = model.loss(window.inputs, window.targets).loss
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            (errors,) = measured(data, model.eval()).mean()
        results.append((loss.item(), *errors[:3]))
    assert results[1] == pytest.approx(results[0], rel=1e-4)


@pytest.mark.parametrize("context", ["inside", "across"])
def test_lanes_read_on_across_levels(context: str) -> None:
    y = LARGE["energy meter"]
    data = table(y, lanes=4, context=context)
    for block in data.test_dataloader():
        inputs, targets = block.inputs, block.targets
        rows = block.origin[:, -1:].numpy() + np.arange(1 - inputs.past_target.shape[1], HORIZON + 1)
        values = torch.cat([inputs.past_target, targets.target], 1).double() + inputs.level[:, None]
        assert np.array_equal(values[..., 0].numpy(), y[rows.clip(max=ROWS - 1)])


@pytest.mark.parametrize("large", [True, False])
def test_a_store_holds_large_targets_whatever_shard_they_are_in(tmp_path: Path, large: bool) -> None:
    """Shards of 60 rows; only the last series has values that need float64."""
    values = np.concatenate([np.round(noise(5), 1), LARGE["energy meter"] if large else np.round(noise(5, 1), 1)])
    frame = pl.DataFrame({"s": ["a"] * ROWS + ["b"] * ROWS, "t": [*range(ROWS)] * 2, "y": values})
    frame.write_csv(tmp_path / "data.csv")
    settings = {"target": "y", "id": "s", "time": "t"}
    csv = Table(str(tmp_path / "data.csv"), **settings, **WINDOWS)
    list(Conversion(output=str(tmp_path / "a.store"), part_rows=150).run(csv, settings))
    stored = Stored(path=str(tmp_path / "a.store"), verify=True, **WINDOWS)
    csv.setup(), stored.setup()
    assert stored.series.values.dtype == (np.float64 if large else np.float32)
    assert np.array_equal(stored.series.values[:ROWS], csv.series.values[:ROWS].astype(np.float32))
    assert np.array_equal(stored.series.values[ROWS:], csv.series.values[ROWS:])
    for one, other in zip(csv.test_dataloader(), stored.test_dataloader(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0)


def test_a_conversion_that_meets_large_values_can_be_interrupted(tmp_path: Path) -> None:
    frame = pl.DataFrame({"s": ["a"] * ROWS + ["b"] * ROWS, "y": [*np.round(noise(5), 1), *LARGE["energy meter"]]})
    frame.write_csv(tmp_path / "data.csv")
    settings = {"target": "y", "id": "s"}
    data = Table(str(tmp_path / "data.csv"), **settings, **WINDOWS)
    for shards in (1, 2, 3):  # stop after so many
        steps = Conversion(output=str(tmp_path / "a.store"), part_rows=300).run(data, settings)
        for _ in range(shards):
            next(steps)
        steps.close()
    list(Conversion(output=str(tmp_path / "a.store"), part_rows=300).run(data, settings))
    stored = Stored(path=str(tmp_path / "a.store"), verify=True, **WINDOWS)
    assert np.array_equal(stored.read().values[ROWS:, 0], frame["y"].to_numpy()[ROWS:])


COLUMNS = {"past_covariates": "past_covariates", "known_covariates": "known_covariates"}


@pytest.mark.parametrize("role", COLUMNS)
def test_covariates_too_large_for_float32_are_seen_less_their_training_mean(role: str) -> None:
    x = LARGE["small changes at 1e9"].astype(float).copy()
    x[50] = np.nan
    frame = pl.DataFrame({"y": noise(1), "x": x, "w": np.round(noise(2), 1)})
    data = Table(frame, target="y", layout="long", **{role: ["x", "w"]}, **WINDOWS)
    data.setup()
    statistics = getattr(data.spec, role.replace("covariates", "statistics"))
    filled = np.where(np.isnan(x), x[49], x)
    assert statistics.shift[1:] == (0.0, 0.0) and statistics.raw_mean[0] == pytest.approx(
        filled[:400].mean(), rel=1e-12
    )
    assert statistics.deviation[0] == pytest.approx(filled[:400].std(), rel=1e-6)
    window = data.examples("train", 5)
    seen = getattr(window.inputs, role)[:, :PAST, 0].numpy().astype(float) + statistics.shift[0]
    rows = window.origin[:, None].numpy() + np.arange(1 - PAST, 1)
    assert np.abs(seen - filled[rows]).max() < 1e-4
    (note,) = (note for note in data.series.notes if "training mean" in note and "imputed" not in note)
    assert "column 'x': values around 1,000,000," in note
    encoder = RowEncoder.from_dict(data.encoder().to_dict(), data.spec)
    again = encoder.encode(encoder.read(frame), np.array([ROWS])).series
    assert np.array_equal(getattr(again, role), getattr(data.series, role))


@pytest.mark.parametrize("settings", [{"lags": 7}, {"rolling": "mean_3"}, {"rolling": "deviation_5"}, {"lags": 1}])
def test_lags_and_rolling_features_of_large_targets_keep_their_digits(settings: dict[str, Any]) -> None:
    base = np.round(noise(3), 2)
    high, low = table(base + 1e9, **settings), table(base, **settings)
    for name, part in (("past_covariates", "past_statistics"), ("known_covariates", "known_statistics")):
        features = []
        for data in (high, low):
            values, statistics = getattr(data.series, name), getattr(data.spec, part)
            if values is not None:
                number = (values[10:, 0].astype(float) - statistics.mean[0]) / statistics.deviation[0]
                features.append(number)
        if features:
            assert np.abs(features[0] - features[1]).max() < 1e-4


def test_a_store_refuses_covariates_that_float32_would_lose(tmp_path: Path) -> None:
    pl.DataFrame({"y": noise(1), "x": LARGE["small changes at 1e9"]}).write_csv(tmp_path / "data.csv")
    settings = {"target": "y", "past_covariates": "x", "layout": "long"}
    data = Table(str(tmp_path / "data.csv"), **settings, **WINDOWS)
    with pytest.raises(InputError, match="column 'x' are too large .* data=csv"):
        list(Conversion(output=str(tmp_path / "a.store")).run(data, settings))


def test_statics_too_large_for_float32(tmp_path: Path) -> None:
    frame = pl.concat([pl.DataFrame({"s": [f"{i}"] * ROWS, "y": noise(1, i), "x": [1e9 + i] * ROWS}) for i in range(4)])
    data = Table(frame, target="y", id="s", statics="x", layout="long", **WINDOWS)
    data.setup()
    statistics = data.spec.static_statistics
    assert statistics.raw_mean == (1e9 + 1.5,) and statistics.deviation[0] == pytest.approx(np.std(range(4)))
    assert data.series.static[:, 0].tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_winsorised_large_values_keep_their_digits() -> None:
    y = LARGE["negative"]
    data = table(y, winsorise=0.05)
    low, high = np.sort(y[:400])[[20, -21]]
    assert np.array_equal(data.series.values[:400, 0], y[:400].clip(low, high))


def test_markers_of_missing_values_are_compared_in_float64() -> None:
    frame = pl.DataFrame({"y": [999_999_990.0, 999_999_999.0, 999_999_980.0]})
    series = read_table(frame, target="y", missing_values=[999_999_999])
    assert series.observed[:, 0].tolist() == [True, False, True]


@pytest.mark.parametrize("lanes", [None, 4])
def test_the_leak_check_finds_nothing_in_large_values(lanes: int | None) -> None:
    y = LARGE["energy meter"]

    def make() -> Table:
        return Table(pl.DataFrame({"y": y}), target="y", layout="long", lanes=lanes, **WINDOWS)

    data = make()
    data.setup()
    torch.manual_seed(0)
    model = Forecaster(data.spec, StandardScaler, partial(zoo.recurrent.Gru, hidden=5), zoo.direct.SeqToSeq, Point())
    assert [finding.leaks for finding in LeakCheck().run(make, model)] == [()] * 6


def test_series_of_float64_from_python_are_narrowed_or_kept() -> None:
    for values, dtype in ((ORDINARY["riders"], np.float32), (LARGE["energy meter"], np.float64)):
        given = SeriesSet(values=values[:, None], offsets=np.array([0, ROWS]), channels=("y",))
        data = SeriesData(given, **WINDOWS)
        data.setup()
        assert data.series.values.dtype == dtype and choose_precision(data.series).values.dtype == dtype


@pytest.mark.parametrize(
    ("written", "noted"),
    [("9007199254740993", True), ("-12345678901234567891", True), ("9007199254740000", False), ("1e20", False)],
)
def test_numbers_beyond_float64_are_noted(tmp_path: Path, written: str, noted: bool) -> None:
    (tmp_path / "a.csv").write_text(f"y,x\n1,2\n{written},3\n5,4\n")
    notes = read_table(str(tmp_path / "a.csv"), target="y", layout="long").notes
    (note,) = notes if noted else ("a.csv: 1 number in column 'y' beyond 2^53",)
    assert "column 'y' beyond 2^53" in note and len(notes) == noted
    assert not noted or f"first: '{written}' in line 3" in note


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(7e5, 8e5, "750k"), (1e9 + 70, 1e9 + 130, "105"), (0, 130, "120")],
)
def test_ticks_of_large_values_differ(low: float, high: float, ticks: str) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([low, high])
    style_axes(axes)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert ticks in labels and len(set(labels)) == len(labels)


def test_summaries_tell_close_values_apart() -> None:
    values = ((52.500033, 5.7e-5), (1e9 + 78, 10.9), (1013.25, 8.0), (1e9 + 0.25, 0.1), (math.nan, 1.0), (5.0, 0.0))
    expected = ["52.500033", "1,000,000,078", "1,013.2", "1,000,000,000.25", "-", "5"]
    assert [format_among(*pair) for pair in values] == expected
