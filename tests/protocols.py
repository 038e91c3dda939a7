"""Figures that a field reports in its own way, from the checkpoint of a run: what others print can be compared."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import WindowDataModule
from datamodules.sequences import Sequences
from datamodules.table import Table
from seqmodels.baselines.labels import NearestNeighbour
from seqmodels.baselines.rules import SeasonalNaive
from seqmodels.checkpoint import load
from seqmodels.inference.forecast import load as load_trained
from seqmodels.window import AbstractForecaster


class Reported(NamedTuple):
    """A model, the seasonal naive forecast, and the number of windows."""

    value: float
    naive: float
    windows: int


def errors(data: WindowDataModule, model: AbstractForecaster) -> tuple[Tensor, Tensor]:
    """Forecast minus truth of every test window, (windows, H), and the series of each."""
    found, series = [], []
    model.eval()
    with torch.no_grad():
        for window in data.test_dataloader():
            forecast = model.head.mean(model(window.inputs).forecast)[:, -1, :, 0]
            found.append((forecast - window.targets.target[:, :, 0]).double())
            series.append(window.inputs.series)
    return torch.cat(found), torch.cat(series)


def scaled_mse(checkpoint: Path, files: Sequence[Path]) -> Reported:
    """ETTh1: mean over test windows, leads and channels of squared errors over the training variance (Zhou 2021)."""
    model = load(checkpoint)
    data = Table(
        path=files[0], time="date", target="*", layout="wide", past_steps=model.spec.past_steps, horizon=96,
        split=[8640, 2880, 2880],
    )  # fmt: skip
    data.setup()
    starts, stops = data.spans["train"]
    variance = [data.series.values[a:b].astype(np.float64).var() for a, b in zip(starts, stops, strict=True)]
    unit = torch.tensor(variance)[:, None]

    def figure(model: AbstractForecaster) -> float:
        error, series = errors(data, model)
        return float((error**2 / unit[series]).mean())

    return Reported(figure(model), figure(SeasonalNaive(data.spec)), data.windows["test"])


def m4_mase(checkpoint: Path, files: Sequence[Path]) -> Reported:
    """M4: absolute errors over the in-sample error of repeating the last season, of all that came before the test."""
    model = load(checkpoint)
    data = Table(
        path=files, id="V1", target="*", layout="rows", past_steps=model.spec.past_steps, horizon=48, season=24,
        split=[-96, -48],
    )  # fmt: skip
    data.setup()
    starts = data.series.offsets[:-1]
    stops = data.spans["test"].start
    in_sample = [_seasonal_error(data.series.values[a:b, 0]) for a, b in zip(starts, stops, strict=True)]
    unit = torch.tensor(in_sample)

    def figure(model: AbstractForecaster) -> float:
        error, series = errors(data, model)
        return float((error.abs().mean(dim=1) / unit[series]).mean())

    return Reported(figure(model), figure(SeasonalNaive(data.spec)), data.windows["test"])


def _seasonal_error(values: np.ndarray) -> float:
    return float(np.abs(values[24:].astype(np.float64) - values[:-24]).mean())


def wrong_labels(checkpoint: Path, files: Sequence[Path]) -> Reported:
    """Test sequences with a wrong class, in per cent: of the model, and of the nearest one by time warping."""
    made = load_trained(checkpoint).predict(files[1])
    assert made.results is not None
    data = Sequences(files[0], test_path=files[1])
    data.setup()
    nearest = NearestNeighbour(data.spec, distance="dtw")
    nearest.fit_closed_form(lambda _, most: (w for part in ("train", "validation") for w in data.sample(part, most)))
    window = next(iter(data.test_dataloader()))
    wrong = nearest.head.mean(nearest(window.inputs).forecast)[:, 0, 0] != window.targets.target[:, 0]
    return Reported(
        100 * (1 - made.results["model"].summary()["accuracy"]), 100 * float(wrong.double().mean()), len(made.series)
    )


def wrong_symbols(checkpoint: Path, files: Sequence[Path]) -> Reported:
    """Wrong predictions of the run on its test part, in per cent: of the model, and of the last row of its table."""
    kept = json.loads((checkpoint.parent.parent / "metrics.json").read_bytes())
    rows = [row for row in kept["rows"] if row["stage"] == "test" and row["row"] != "single member"]
    wrong = [100 * (1 - row["accuracy"]) for row in rows]
    return Reported(wrong[0], wrong[-1], rows[0]["windows"])


PROTOCOLS: dict[str, Callable[[Path, Sequence[Path]], Reported]] = {
    "scaled MSE": scaled_mse,
    "M4 MASE": m4_mase,
    "wrong labels": wrong_labels,
    "wrong symbols": wrong_symbols,
}
