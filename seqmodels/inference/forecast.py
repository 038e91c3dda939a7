"""Forecasts of the future: a trained model applied to the rows of a table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from rich.console import RenderableType
from torch import Tensor

from datamodules.encoder import EncodedRows, RowEncoder, parse_origin
from datamodules.hidden import GapEncoder
from datamodules.labelled import SequenceEncoder
from datamodules.series import SeriesSet
from seqmodels import checkpoint
from seqmodels.errors import InputError
from seqmodels.inference.backtest import Evaluation, Refit, evaluate
from seqmodels.inference.calibration import Calibration
from seqmodels.inference.filling import BAND, Filled, fill_gaps
from seqmodels.inference.generation import Generated, generate
from seqmodels.inference.labels import Prediction, predict_labels
from seqmodels.inference.prediction import clip, predict
from seqmodels.metrics import MODEL
from seqmodels.report.future import future_table, plot_future, row_times
from seqmodels.report.output import to_text, write_table
from seqmodels.report.plotting import save_figure
from seqmodels.window import AbstractForecaster, Inputs, Output, WindowSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENCODERS: dict[str, type[RowEncoder] | type[SequenceEncoder]] = {
    "ahead": RowEncoder,
    **dict.fromkeys(("sequence", "step", "next"), SequenceEncoder),
    "past": GapEncoder,
}
# What a model does and the command for it, by ``WindowSpec.kind``
USE = {
    "ahead": ("forecasts steps", "forecast"),
    "past": ("fills gaps", "fill"),
    "sequence": ("labels whole sequences", "predict"),
    "step": ("labels steps of sequences", "predict"),
    "next": ("predicts the next symbol of sequences", "predict or generate"),
}
LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts of the steps after the last row of each series, in the data's own units.

    ``mean`` is (series, H, C) and ``quantiles`` (series, H, C, levels), NaN where there are no bands. The rows of
    series i from ``stop[i]`` on are the steps that are forecast. ``notes`` has one line per repair of the rows.
    """

    series: SeriesSet
    stop: np.ndarray
    mean: np.ndarray
    quantiles: np.ndarray
    levels: tuple[float, ...]
    notes: tuple[str, ...] = ()
    spread: np.ndarray | None = None  # (series, H, C), standard deviation of the forecasts of an ensemble's members

    @property
    def rows(self) -> np.ndarray:
        """Rows of the steps that are forecast, (series, H) int64."""
        return self.stop[:, None] + np.arange(self.mean.shape[1])

    @cached_property
    def times(self) -> pl.Series:
        """Timestamps of the rows of all series, see ``row_times``."""
        return row_times(self.series)

    @property
    def table(self) -> pl.DataFrame:
        """One row per series, channel and step: id, time (or step), channel, lead, mean, and one column per quantile.

        There is no id for a single series without a name, and no quantile if there are no bands. Of an ensemble there
        is also the ``spread`` of its members.
        """
        series, (count, horizon, channels) = self.series, self.mean.shape
        steps = np.repeat(self.rows[:, None], channels, axis=1).ravel()
        times = self.times.gather(steps)
        columns: dict[str, Any] = {
            "id": pl.Series(series.names, dtype=pl.String).gather(np.repeat(np.arange(count), channels * horizon))
            if series.names
            else None,
            times.name: times,
            "channel": np.tile(np.repeat(np.array(series.channels), horizon), count),
            "lead": np.tile(np.arange(1, horizon + 1), count * channels),
            "mean": self.mean.transpose(0, 2, 1).ravel(),
            "spread": None if self.spread is None else self.spread.transpose(0, 2, 1).ravel(),
        }
        if np.isfinite(self.quantiles).any():
            bands = self.quantiles.transpose(3, 0, 2, 1).reshape(len(self.levels), -1)
            columns |= {f"q{level:g}": values for level, values in zip(self.levels, bands, strict=True)}
        return pl.DataFrame({name: cells for name, cells in columns.items() if cells is not None}, nan_to_null=True)

    def plot(self) -> "Figure":
        """The end of the past, the forecast and its bands, of a few series."""
        return plot_future(self)

    def __rich__(self) -> RenderableType:
        return future_table(self)

    def __repr__(self) -> str:
        return to_text(self)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with everything that it needs to forecast from new rows.

    ``model`` is in evaluation mode on the CPU. ``encoder`` is None in checkpoints of earlier versions, and
    ``calibration`` where there were too few validation windows for bands.
    """

    model: AbstractForecaster
    encoder: RowEncoder | SequenceEncoder | None = None
    calibration: Calibration | None = None
    checkpoint: Path | None = None

    @property
    def spec(self) -> WindowSpec:
        """Description of the windows that the model reads."""
        return self.model.spec

    def __call__(self, inputs: Inputs, state: Any = None) -> Output:
        """Forecasts of encoded windows, see ``seqmodels.window.AbstractForecaster``."""
        return self.model(inputs, state)

    def forecast(
        self,
        rows: Any = None,
        *,
        future: Any = None,
        origin: Any = None,
        horizon: int | None = None,
        levels: Sequence[float] = LEVELS,
    ) -> Forecast:
        """Forecast the steps after the last target of each series.

        ``rows``: a path or data frame with the columns of the training table, by default that table; its series need
        not be those of training. Known covariates come from rows whose targets are empty, or from the table ``future``;
        calendar, holidays and lags are computed. ``origin``: a date or time; values measured after it are not read.
        ``horizon``: by default the one trained; of a longer one, forecasts are fed back, and there are no bands
        beyond the trained steps. ``levels``: of the quantiles.

        Raises InputError for rows that the model cannot read and for missing covariates.
        """
        series = self._encoder.read(rows, future)
        return self.forecast_series(series, origin=origin, horizon=horizon, levels=levels)

    @property
    def _encoder(self) -> RowEncoder:
        if self.encoder is None:
            raise InputError(
                f"{self.checkpoint or 'the model'} does not hold what is needed to read new rows, as an earlier"
                " version wrote it: train the model again."
            )
        self._expect(["ahead"], "forecasts no step")
        assert isinstance(self.encoder, RowEncoder)
        return self.encoder

    def _expect(self, kinds: Sequence[str], lacks: str, way_out: str = "") -> None:
        """Raise InputError unless the targets of the model are of one of these kinds."""
        if self.spec.kind not in kinds:
            does, command = USE[self.spec.kind]
            raise InputError(f"the model {does} and {lacks}; use {command}{way_out}.")

    def fill(self, rows: Any = None, *, levels: Sequence[float] = BAND) -> Filled:
        """Fill the gaps of a table; what is measured stays as it is.

        ``rows``: a path or data frame with the columns of the training table, by default that table; its series need
        not be those of training. ``levels``: of the quantiles.

        Raises InputError for rows that the model cannot read, and for a model that was not trained to fill gaps.
        """
        way_out = ", or train one with seqmodels train model=fill data=gaps data.path=... data.target=[...]"
        self._expect(["past"], "fills no gaps", way_out)
        assert isinstance(self.encoder, GapEncoder)
        return self.fill_series(self.encoder.read(rows), levels=levels)

    def fill_series(self, series: SeriesSet, *, levels: Sequence[float] = BAND) -> Filled:
        """Like ``fill``, of series that are read already."""
        assert isinstance(self.encoder, GapEncoder)
        return fill_gaps(self.model, self.encoder, self.calibration, series, levels)

    def predict(self, rows: Any = None) -> Prediction:
        """Label sequences, or their steps: classes with probabilities, or numbers; with errors if truth is known.

        ``rows``: a path or data frame with the columns of the training table, by default that table.

        Raises InputError for rows that the model cannot read, and for a model of forecasts.
        """
        self._expect(["sequence", "step", "next"], "labels no sequence")
        assert isinstance(self.encoder, SequenceEncoder)
        return predict_labels(self.model, self.encoder, self.encoder.read(rows))

    def generate(self, beginnings: Any = None, **settings: Any) -> Generated:
        """Draw sequences of symbols, each from what the model predicts after the ones before.

        ``beginnings``: a path or data frame with the columns of the training table, whose sequences are continued;
        None: the first symbol is drawn, too. ``settings``: see ``seqmodels.inference.generation.generate``.

        Raises InputError for a model that predicts no next symbol.
        """
        way_out = ", or train one with seqmodels train data=sequences data.predict=next model=symbols"
        self._expect(["next"], "draws no symbols", way_out)
        assert isinstance(self.encoder, SequenceEncoder)
        series = None if beginnings is None else self.encoder.read(beginnings)
        return generate(self.model, self.encoder, series, **settings)

    def evaluate(self, rows: Any = None, **settings: Any) -> Evaluation:
        """Measure the model and the naive forecasts at many origins, and the coverage of the bands.

        ``rows``: a path or data frame with the columns of the training table; the rows after those used in
        training are forecast, and all rows of a new series; by default the test part of the run.
        ``settings``: those of ``evaluate_series``.

        Raises InputError for rows that the model cannot read, and if there is nothing to evaluate.
        """
        return self.evaluate_series(self._encoder.read(rows), own=rows is None, **settings)

    def evaluate_series(
        self,
        series: SeriesSet,
        *,
        own: bool = False,
        origins: str | int = "all",
        last: int | None = None,
        levels: Sequence[float] = LEVELS,
        state: str = "auto",
        bands: str = "split",
        adaptive: str = "aci",
        refit: Refit | None = None,
        output: str | PathLike[str] | None = None,
    ) -> Evaluation:
        """Like ``evaluate``, of series that are read already; ``own``: those of training, whose test part is meant.

        ``origins``: "all", or a number of steps from one to the next. ``last``: instead, the last rows of each series.
        ``levels``: quantiles of ``frame``. ``state``: "windows" reads past_steps for each origin; "carried" goes once
        through each series, with all of its past; "auto" does so where the forecasts are the same, or training did.
        ``bands``: whose quantiles these are, "split" conformal bands, or "adaptive" ones that learn from the errors
        known at each origin, by the method ``adaptive``: "aci", "pid" or "acmcp".
        ``refit``: trains anew after some origins, in place of this model.
        ``output``: a Parquet file for all forecasts, written batch by batch.
        """
        file = None if output is None else Path(output).expanduser()
        if file is not None and file.suffix != ".parquet":
            raise InputError(f"output={output} must end in .parquet.")
        settings: dict[str, Any] = {"origins": origins, "last": last, "levels": levels, "output": file}
        settings |= {
            "state": state,
            "bands": bands,
            "adaptive": adaptive,
            "refit": refit,
            "name": self.name,
            "own": own,
        }
        return evaluate(self.model, self._encoder, self.calibration, series, **settings)

    @property
    def name(self) -> str:
        """Name of the model, as given by the user and recorded in the run directory."""
        file = None if self.checkpoint is None else self.checkpoint.absolute().parent.parent / "metrics.json"
        try:
            return str(json.loads(file.read_bytes())["model"]) if file else MODEL
        except (OSError, ValueError, KeyError, TypeError):
            return MODEL

    def forecast_series(
        self,
        series: SeriesSet,
        *,
        origin: Any = None,
        horizon: int | None = None,
        levels: Sequence[float] = LEVELS,
    ) -> Forecast:
        """Like ``forecast``, of series that are read already, as the encoder reads them."""
        encoder = self._encoder
        steps = self.spec.horizon if horizon is None else horizon
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InputError(f"horizon is {steps}; it must be a whole number of steps of at least 1.")
        when = None if origin is None else parse_origin(str(origin), series)
        extended, stop = encoder.extend(series, steps, when)
        blocks, notes = [], extended.notes
        for begin in range(0, steps, self.spec.horizon):
            encoded = encoder.encode(extended, stop + begin, stop)
            notes = encoded.series.notes if begin == 0 else notes
            blocks.append(self._forecast_block(encoded, levels))
            extended = feed_back(extended, stop + begin, blocks[-1][0])
        if len(blocks) > 1:
            notes = (*notes, f"steps beyond {self.spec.horizon} are forecast from forecasts, and have no bands.")
            blocks[1:] = [(mean, *(np.full_like(one, np.nan) for one in rest)) for mean, *rest in blocks[1:]]
        if self.calibration is None and self.model.head.distribution:
            notes = (
                *notes,
                "the bands are those of the head: too few validation windows to calibrate them.",
            )
        notes = (*notes, *self.model.notes)
        mean, quantiles, spread = (np.concatenate(parts, axis=1)[:, :steps] for parts in zip(*blocks, strict=True))
        several = len(self.model.singles) > 1
        return Forecast(extended, stop, mean, quantiles, tuple(levels), notes, spread if several else None)

    @torch.no_grad()
    def _forecast_block(self, encoded: EncodedRows, levels: Sequence[float]) -> tuple[np.ndarray, ...]:
        """Mean (series, H, C), quantiles (series, H, C, levels) and spread, as the mean, of the last origins."""
        spec, count = self.spec, len(encoded.series)
        mean = torch.empty(count, spec.horizon, len(spec.channels), dtype=torch.float64)
        spread = torch.full_like(mean, torch.nan)
        quantiles = torch.full((*mean.shape, len(levels)), torch.nan, dtype=torch.float64)
        self.model.rows = encoded.rows
        for window in encoded.last_windows():
            places, inputs = window.inputs.series, window.inputs
            output = self.model.forecast_windows(window)
            assert output.forecast is not None
            given, bands = predict(self.model, output.forecast[:, -1], inputs, self.calibration, levels)
            mean[places] = forecast = given.double() + inputs.level[:, None]
            _check_finite(forecast, encoded.series, places)
            if bands is not None:
                quantiles[places] = bands
            if output.members is not None:
                members = clip(self.model, self.model.head.mean(output.members)[:, :, -1], inputs.level[:, None])
                spread[places] = members.double().std(dim=0)
        return mean.numpy(), quantiles.numpy(), spread.numpy()


def _check_finite(forecast: Tensor, series: SeriesSet, places: Tensor) -> None:
    wrong = ~torch.isfinite(forecast).flatten(1).all(dim=1)
    if wrong.any():
        name = series.name(int(places[wrong][0]))
        raise InputError(f"the forecast of {name} is not a finite number; look at its last rows and at the model.")


def feed_back(series: SeriesSet, start: np.ndarray, forecast: np.ndarray) -> SeriesSet:
    """Series with the forecast (series, H, C) as observed targets from row ``start[i]`` of series i on."""
    rows = start[:, None] + np.arange(forecast.shape[1])
    values, observed = series.values.copy(), np.array(series.observed)
    values[rows], observed[rows] = forecast, True
    return replace(series, values=values, observed=observed)


def write_forecast(forecast: Forecast | Filled, table: Path, picture: Path) -> None:
    """Write the table as CSV or Parquet, by its suffix, and the picture as PNG."""
    write_table(table, forecast.table)
    save_figure(forecast.plot(), picture)


def load(path: str | PathLike[str], allow: str | Sequence[str] = ()) -> TrainedModel:
    """Load the trained model of a checkpoint or of a run directory, with all that it needs to forecast.

    Nothing is unpickled but tensors and primitives. ``path`` may be "latest", see ``find_checkpoint``; ``allow`` and
    errors: see ``seqmodels.checkpoint.load``.
    """
    file = find_checkpoint(path)
    saved = checkpoint.read(file)
    model, described = checkpoint.restore(saved, file, allow), saved[checkpoint.KEY]
    try:
        kind = ENCODERS[model.spec.kind]
        encoder = kind.from_dict(described["data"], model.spec) if described.get("data") else None
        calibration = Calibration.from_dict(described["calibration"]) if described.get("calibration") else None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: its description of the data cannot be read ({error!r}).") from error
    return TrainedModel(model, encoder, calibration, file)


def find_checkpoint(path: str | PathLike[str]) -> Path:
    """The checkpoint file of a path: itself, the best (or last) one of a run directory, or that of ``latest``.

    ``latest`` is the newest run below the directory ``runs``. Raises InputError if there is none.
    """
    place = Path(path).expanduser()
    if str(path) == "latest":
        found = max(Path("runs").rglob("checkpoints/best.ckpt"), key=lambda file: file.stat().st_mtime, default=None)
        if found is None:
            raise InputError("there is no trained model below runs; train one first, or name a run directory.")
        return found
    if not place.is_dir():
        return place
    names = [place / folder / name for name in ("best.ckpt", "last.ckpt") for folder in ("checkpoints", ".")]
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        raise InputError(f"{path} is a directory without checkpoints/best.ckpt; name a run directory or a checkpoint.")
    return file
