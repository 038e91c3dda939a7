"""Figures: their curves, labels, sizes and times, and that none stays open."""

import gc
import io
import weakref
from dataclasses import replace
from itertools import product
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
from seqmodels.report.plotting import Panel, plot_errors, plot_forecasts, png, render, save_figure
from seqmodels.training.callbacks.figures import (
    ForecastFigures,
    build_panels,
    draw_errors,
    draw_forecasts,
    drawn_channels,
    predict,
    save_final_figures,
)


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
    window = data.examples("validation", 3)
    assert len(figure.axes) == 6  # a row for each of two channels, a column for each of three windows
    for panel, channel in product(range(3), range(2)):
        found, origin, unit = lines(figure, 3 * channel + panel), int(window.origin[panel]), 10**channel
        x, past = found["past"]
        assert x.tolist() == list(range(-55, 1))
        rows = np.arange(origin - 55, origin + 1)
        assert np.array_equal(past, np.where(rows % 9, unit * rows, np.nan), equal_nan=True)
        x, truth = found["truth"]
        rows = np.arange(origin, origin + 4)
        assert x.tolist() == [0, 1, 2, 3]
        assert np.array_equal(truth, np.where(rows % 9, unit * rows, np.nan), equal_nan=True)
        with torch.no_grad():
            expected = module.forecaster.eval()(window.inputs).forecast[panel, -1, :, channel, 0]
        x, forecast = found["model"]
        assert x.tolist() == [1, 2, 3]
        assert forecast == pytest.approx(expected.numpy())
        leads = origin + np.arange(1, 4) - 7
        assert found["seasonal naive"][1] == pytest.approx(unit * np.where(leads % 9, leads, leads - 7))


def test_titles_and_labels() -> None:
    data = DailySeries(past_steps=60, horizon=3)
    figure = draw_forecasts(small_module(data), data, "test", 2, "Test forecasts")
    window = data.examples("test", 2)
    first = np.datetime64("2020-01-01") + np.timedelta64(int(window.origin[0]), "D")
    assert figure.axes[0].get_title(loc="left") == f"first, {first}"
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "", "b", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", *["days from the origin"] * 2]
    waves = small_waves()
    figure = draw_forecasts(small_module(waves), waves, "test", 1, "Test forecasts")
    assert figure.axes[0].get_title(loc="left") == "series 180, step 19"
    assert {"past", "truth", "naive", "model"} <= set(lines(figure))


@pytest.mark.parametrize(("count", "size"), [(1, (700, 1200)), (6, (700, 1200)), (9, (1050, 1200))])
def test_size_for_any_number_of_windows(count: int, size: tuple[int, int]) -> None:
    panel = Panel("title", "value", np.arange(5.0), np.ones(1), np.zeros(1), np.full(1, np.nan))
    picture = render(plot_forecasts([panel] * count, "heading", "step", "model", "naive"))
    assert picture.shape == (*size, 4) and picture.dtype == np.uint8
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
    table = ErrorTable(*(torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64),) * 7)
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


def test_many_channels_are_taken_evenly_and_counted() -> None:
    assert drawn_channels("ab") == [0, 1] and drawn_channels([""] * 8) == list(range(8))
    drawn = drawn_channels([""] * 321)
    assert len(drawn) == 8 and drawn[0] == 0 and drawn[-1] == 320

    class Wide(DailySeries):
        def read(self) -> SeriesSet:
            series = super().read()
            values = np.repeat(series.values[:, :1], 12, axis=1)
            names = tuple(f"channel {number}" for number in range(12))
            observed = np.ones_like(values, dtype=bool)
            return replace(series, values=values, observed=observed, channels=names)

    data = Wide(past_steps=60, horizon=3)
    figure = draw_forecasts(small_module(data), data, "test", 6, "Test forecasts")
    assert len(figure.axes) == 8 * 3 and figure.get_suptitle() == "Test forecasts; 8 of 12 channels"


@pytest.mark.parametrize("name", ["x" * 200, "load of the station " * 9 + "A", "wörtlich_" * 20, "short"])
def test_long_names_fit_their_row(name: str) -> None:
    panel = Panel("title", name, np.arange(5.0), np.ones(3), np.zeros(3), np.zeros(3))
    for figure in (
        plot_forecasts([panel] * 4, "heading", "step", "model", "naive", columns=2),
        plot_errors({name: {"test": {"model": np.ones(3)}}, "b": {"test": {"model": np.ones(3)}}}, "model"),
    ):
        render(figure)
        for axes in figure.axes[::2]:
            assert axes.yaxis.label.get_window_extent().height <= 1.15 * axes.get_window_extent().height
    assert name != "short" or figure.axes[0].get_ylabel() == "short"


def test_values_that_differ_little_from_a_large_one_have_different_ticks() -> None:
    far = 1e9 + np.arange(5.0)
    figure = plot_forecasts([Panel("title", "meter", far, far, far, far)], "heading", "step", "model", "naive")
    render(figure)
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(ticks)) == len(ticks) > 2


def test_the_level_of_a_window_is_added_to_its_curves() -> None:
    data = DailySeries(past_steps=60, horizon=3)
    module = small_module(data)
    window = data.examples("test", 1)
    lifted = window._replace(inputs=window.inputs._replace(level=window.inputs.level + 1e12))
    zero = predict(module, "naive", window)
    for plain, high in zip(
        build_panels(window, zero, zero, None, data, [0, 1]),
        build_panels(lifted, zero, zero, None, data, [0, 1]),
        strict=True,
    ):
        for name in ("past", "truth", "forecast", "naive"):
            assert np.array_equal(getattr(high, name) - 1e12, getattr(plain, name), equal_nan=True)


def test_no_figure_stays_open(tmp_path: Path) -> None:
    figure = plot_errors({"rides": {"test": {"model": np.ones(3)}}}, "model")
    render(figure)
    save_figure(figure, tmp_path / "figure.png")
    alive = weakref.ref(figure)
    del figure
    gc.collect()
    assert alive() is None
    assert pyplot.get_fignums() == []


def test_a_file_of_pixels_is_what_matplotlib_would_write() -> None:
    def drawn() -> Figure:
        panel = Panel("title", "value", np.arange(5.0), np.ones(3), np.zeros(3), np.zeros(3))
        return plot_forecasts([panel] * 2, "heading", "step", "model", "naive")

    written = io.BytesIO()
    drawn().savefig(written, format="png")
    assert png(drawn()) == written.getvalue()
