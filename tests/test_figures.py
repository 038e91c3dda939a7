"""Figures: their curves, labels, sizes and times, and that none stays open."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib import pyplot
from matplotlib.figure import Figure
from small_runs import fit_waves, small_module, small_waves
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet
from seqmodels.metrics import ErrorTable
from seqmodels.report.plotting import Panel, plot_errors, plot_forecasts, render, save_figure
from seqmodels.training.callbacks.figures import ForecastFigures, draw_errors, draw_forecasts, save_final_figures


class DailySeries(WindowDataModule):
    """Two daily series of two channels that count upwards by one and by ten; every ninth value is missing."""

    def read(self) -> SeriesSet:
        rows = np.arange(400, dtype=np.float32)
        values = np.stack([rows, 10 * rows], axis=1)
        observed = np.ones_like(values, dtype=bool)
        observed[::9] = False
        time = np.datetime64("2020-01-01", "us") + np.tile(np.arange(200), 2) * np.timedelta64(1, "D")
        return SeriesSet(
            np.where(observed, values, 0).astype(np.float32), np.array([0, 200, 400]), ("a", "b"), observed, time,
            ("first", "second"), frequency="day", season=7,
        )  # fmt: skip


def lines(figure: Figure, panel: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves (x, y) of one panel by label."""
    drawn = figure.axes[panel].get_lines()
    return {str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in drawn}


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG file."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_curves_are_the_windows_of_the_data() -> None:
    data = DailySeries(past_steps=60, horizon=3, context="across")
    module = small_module(data)
    figure = draw_forecasts(module, data, "validation", 4, "heading")
    window = data.examples("validation", 4)
    assert len(figure.axes) == 4
    for panel in range(4):
        found, origin = lines(figure, panel), int(window.origin[panel])
        x, past = found["past"]
        assert x.tolist() == list(range(-55, 1))
        rows = np.arange(origin - 55, origin + 1)
        assert np.array_equal(past, np.where(rows % 9, rows, np.nan), equal_nan=True)
        x, truth = found["truth"]
        rows = np.arange(origin, origin + 4)
        assert x.tolist() == [0, 1, 2, 3]
        assert np.array_equal(truth, np.where(rows % 9, rows, np.nan), equal_nan=True)
        with torch.no_grad():
            expected = module.forecaster.eval()(window.inputs).forecast[panel, -1, :, 0, 0]
        x, forecast = found["model"]
        assert x.tolist() == [1, 2, 3]
        assert forecast == pytest.approx(expected.numpy())
        leads = origin + np.arange(1, 4) - 7
        assert found["seasonal naive"][1] == pytest.approx(np.where(leads % 9, leads, leads - 7))


def test_titles_and_labels() -> None:
    data = DailySeries(past_steps=60, horizon=3)
    figure = draw_forecasts(small_module(data), data, "test", 2, "Test forecasts")
    window = data.examples("test", 2)
    first = np.datetime64("2020-01-01") + np.timedelta64(int(window.origin[0]), "D")
    assert figure.axes[0].get_title(loc="left") == f"first, {first}"
    assert figure.axes[0].get_ylabel() == "a" and figure.axes[1].get_ylabel() == ""
    assert figure.axes[0].get_xlabel() == "days from the origin"
    waves = small_waves()
    figure = draw_forecasts(small_module(waves), waves, "test", 1, "Test forecasts")
    assert figure.axes[0].get_title(loc="left") == "series 180, step 19"
    assert {"past", "truth", "naive", "model"} <= set(lines(figure))


@pytest.mark.parametrize(("count", "size"), [(1, (700, 1200)), (6, (700, 1200)), (9, (1050, 1200))])
def test_size_for_any_number_of_windows(count: int, size: tuple[int, int]) -> None:
    panel = Panel("title", np.arange(5.0), np.ones(1), np.zeros(1), np.full(1, np.nan))
    picture = render(plot_forecasts([panel] * count, "heading", "step", "value", "model", "naive"))
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8
    assert len(np.unique(picture)) > 10


@pytest.mark.parametrize(("share", "steps"), [(1.0, [5, 25, 35]), (0.0, [5, 35])])
def test_figures_are_drawn_at_the_first_every_fifth_and_the_last_validation(
    share: float, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth is skipped if drawing takes more than its share of the time."""
    monkeypatch.setattr("seqmodels.training.callbacks.figures.MAX_TIME_SHARE", share)
    fit_waves(ForecastFigures(windows=1), logger=TensorBoardLogger(tmp_path, name="", version=""), max_epochs=7)
    found = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert [event.step for event in found.Images("forecast/validation")] == steps
    assert found.Images("forecast/validation")[0].width == 1200


def test_a_run_without_tensorboard_keeps_the_latest_figure(tmp_path: Path) -> None:
    fit_waves(ForecastFigures(windows=1, directory=str(tmp_path)), max_epochs=1)
    assert png_size(tmp_path / "forecast_validation.png") == (1200, 700)
    fit_waves(ForecastFigures(windows=1), max_epochs=1)


def test_drawing_changes_neither_training_nor_random_numbers() -> None:
    data = small_waves()
    module = small_module(data, dropout=0.5).train()
    before = torch.get_rng_state()
    draw_forecasts(module, data, "validation", 2, "heading")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training for part in module.forecaster.modules())


def test_final_figures(tmp_path: Path) -> None:
    data = small_waves()
    module = small_module(data)
    files = save_final_figures(module, data, tmp_path)
    assert [file.name for file in files] == ["forecast_validation.png", "forecast_test.png"]
    table = ErrorTable(*(torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64),) * 5)
    worse = table._replace(absolute=table.absolute * 4)
    module.results = {"validation": {"model": table, "naive": worse}, "test": {"model": worse, "naive": table}}
    files = save_final_figures(module, data, tmp_path)
    assert files[-1] == tmp_path / "error_by_step.png" and png_size(files[-1]) == (1200, 420)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file.name for file in files)
    figure = draw_errors(module)
    assert lines(figure, 0)["model"][1].tolist() == [1, 2, 3]
    assert lines(figure, 1)["model"][1].tolist() == [4, 8, 12]
    low, high = figure.axes[1].get_ylim()
    assert low == 0 and high > 12


def test_no_figure_stays_open(tmp_path: Path) -> None:
    figure = plot_errors({"test": {"model": np.ones(3)}}, "MAE", "model")
    render(figure)
    save_figure(figure, tmp_path / "figure.png")
    alive = weakref.ref(figure)
    del figure
    gc.collect()
    assert alive() is None
    assert pyplot.get_fignums() == []
