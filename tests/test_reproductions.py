"""Figures that must be reached: exact ones of the baselines, and (slow) those of all recorded experiments."""

from collections import Counter
from pathlib import Path

import pytest
import results
from data import real
from published import ROWS, TITLES, Row

from datamodules.synthetic import TrendSeason
from datamodules.table import Table
from seqmodels.baselines import rules as baselines
from seqmodels.metrics import ForecastErrors

SPLIT = ["2016-01-01", "2019-01-01", "2019-06-01", "2021-12-01"]
WEEK_1 = {"slope": 0.01, "noise": 2.0, "knee": 0.1, "frequency": 7.0, "decay": 5.0, "split": [1100, 361]}


def validation_mae(data, model) -> tuple[int, float]:
    """Windows and mean absolute error of a model on the validation windows."""
    errors = ForecastErrors(data.spec)
    for window in data.val_dataloader():
        errors.update(model(window.inputs).forecast[:, -1, ..., 0], window.inputs, window.targets)
    return int(errors.windows), errors.compute().summary()["mae"]


@pytest.mark.parametrize(
    ("target", "horizon", "season", "windows", "mae"),
    [
        ("rail_boardings", 14, 7, 82, 39_756.0),
        ("rail_boardings", 1, 7, 95, 41_274.3),
        ("rail_boardings", 1, 1, 95, 126_443.7),
        ("bus", 1, 7, 95, 43_441.6),
    ],
)
def test_seasonal_naive_on_ridership(target, horizon, season, windows, mae):
    data = Table(
        path=str(real("ridership/ridership.csv")), time="service_date", target=target, past_steps=56, horizon=horizon,
        split=SPLIT, context="inside", season=season,
    )  # fmt: skip
    data.setup()
    assert validation_mae(data, baselines.SeasonalNaive(data.spec)) == (windows, pytest.approx(mae, abs=0.051))


@pytest.mark.parametrize(
    ("series", "model", "settings", "mae"),
    [
        ({}, baselines.Naive, {}, 5.9379),
        ({}, baselines.MovingAverage, {"steps": 30}, 7.1424),
        ({}, baselines.DifferencedMovingAverage, {"steps": 50}, 5.8393),
        ({}, baselines.DifferencedMovingAverage, {"steps": 30}, 5.9032),
        ({}, baselines.DifferencedMovingAverage, {"steps": 50, "smooth": 10}, 4.5694),
        ({}, baselines.DifferencedMovingAverage, {"steps": 50, "smooth": 11}, 4.5669),
        (WEEK_1, baselines.DifferencedMovingAverage, {"steps": 50}, 2.3272),
        (WEEK_1, baselines.DifferencedMovingAverage, {"steps": 50, "smooth": 10}, 2.2034),
    ],
)
def test_hand_made_baselines_on_the_course_series(series, model, settings, mae):
    data = TrendSeason(**{"past_steps": 415, "horizon": 1, "season": 365, "split": [1000, 461], **series})
    data.setup()
    assert validation_mae(data, model(data.spec, **settings)) == (data.split[1], pytest.approx(mae, abs=5.1e-5))


def test_every_experiment_has_a_row_and_a_unique_name():
    repeated = [name for name, count in Counter(row.name for row in ROWS).items() if count > 1]
    assert repeated == []
    assert {row.experiment.split("/")[0] for row in ROWS} == set(TITLES)
    assert {row.experiment for row in ROWS} == {
        path.relative_to(results.CONF).with_suffix("").as_posix() for path in results.CONF.rglob("*.yaml")
    }
    assert set(results.load_figures()) <= {row.name for row in ROWS}, "figures of rows that no longer exist"


def test_page_and_headers_show_the_recorded_figures():
    kept = results.load_figures()
    assert results.PAGE.read_text(encoding="utf-8") == results.render_page(kept), "docs/results.md was edited by hand"
    for experiment in {row.experiment for row in ROWS}:
        text = (results.CONF / f"{experiment}.yaml").read_text(encoding="utf-8")
        assert results.update_header(text, experiment, kept) == text, f"the header of {experiment} was edited by hand"


def test_recorded_figures_reach_their_limits():
    kept = results.load_figures()
    broken = {
        row.name: results.decisive_figure(row, kept[row.name])
        for row in ROWS
        if row.name in kept and results.decisive_figure(row, kept[row.name]) > allowed(row)
    }
    assert broken == {}


@pytest.fixture(scope="module")
def sweeps() -> dict[str, Path]:
    """Directories of the runs by command, as rows may differ only in the channel they show."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_experiment_reaches_its_figure(row: Row, sweeps, tmp_path):
    files = [real(file) for file in results.data_files(row)]
    if row.command not in sweeps:
        results.run_experiment(row, tmp_path / "sweep", files)
        sweeps[row.command] = tmp_path / "sweep"
    figures = results.read_figures(row, sweeps[row.command], files)
    results.save_figures(row, figures)
    assert len(figures["values"]) == len(row.seeds)
    assert results.decisive_figure(row, figures) <= allowed(row)
    if not row.trained:
        assert results.decisive_figure(row, figures) == pytest.approx(row.limit, rel=1e-4)


def allowed(row: Row) -> float:
    """The limit; that of an exact figure has only the printed digits."""
    return row.limit if row.trained else row.limit * 1.0001
