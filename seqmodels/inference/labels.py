"""Labels of new sequences, or of their steps: classes with their probabilities, or numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from datamodules.labelled import SequenceEncoder
from datamodules.series import SeriesSet
from seqmodels.baselines.labels import Prior
from seqmodels.class_metrics import new_scores
from seqmodels.errors import InputError
from seqmodels.metrics import MAJORITY, MEAN, MODEL
from seqmodels.report.output import format_number, shorten, to_text
from seqmodels.report.results import result_table
from seqmodels.window import AbstractForecaster, WindowSpec, measured

SHOWN = 10  # sequences in the terminal
NAME_LENGTH = 24


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted labels of each sequence, or of each of its steps.

    ``values`` (series or steps, L, P): probabilities of the classes of each label, or numbers, P = 1. ``truth`` (the
    same, L): known labels, the number of the class from 1 on or 0, or a number or NaN; None if the rows have none.
    ``results``: tables of errors by row, the model and a naive rule, None without truth.
    """

    series: SeriesSet
    spec: WindowSpec
    values: np.ndarray
    truth: np.ndarray | None
    results: dict[str, Any] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """One line per repair of the rows."""
        return self.series.notes

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per sequence, or step: id, label, probability of each class, and the truth if the rows hold it."""
        names = self.series.names or tuple(map(str, range(1, len(self.series) + 1)))
        columns: dict[str, Any] = {"id": list(names)}
        if self.spec.per_step:
            lengths = self.series.lengths
            columns = {"id": np.repeat(names, lengths), "step": np.concatenate([np.arange(n) + 1 for n in lengths])}
        for index, (label, classes) in enumerate(zip(self.predicted, self.spec.classes, strict=True)):
            if not classes:
                columns[label] = self.values[:, index, 0]
                continue
            known = np.array(classes, dtype=object)
            columns[label] = known[self.values[:, index].argmax(axis=1)].tolist()
            for number, name in enumerate(classes):
                columns[f"{label}={name}" if len(self.spec.labels) > 1 else f"p({name})"] = self.values[
                    :, index, number
                ]
        return pl.DataFrame({**columns, **self._true_columns()}, strict=False)

    @property
    def predicted(self) -> tuple[str, ...]:
        """Names of the predicted columns."""
        return tuple(f"next {label}" if self.spec.kind == "next" else label for label in self.spec.labels)

    def _true_columns(self) -> dict[str, Any]:
        """Known labels of the rows, beside the predicted ones; empty without labels."""
        if self.truth is None or self.series.labels is None:
            return {}
        columns: dict[str, Any] = {}
        for index, label in enumerate(self.spec.labels):
            names, cells = self.series.categories.get(label), self.series.labels[:, index]
            numbers = np.nan_to_num(cells).astype(int)
            columns[f"true {self.predicted[index]}"] = (
                [names[number - 1] if number else None for number in numbers] if names else cells.tolist()
            )
        return columns

    def __rich__(self) -> RenderableType:
        shown = self.table.head(SHOWN)
        table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
        sure = self.values.max(axis=2)
        first = ("id", "step", *self.predicted)
        labels = [name for name in shown.columns if name in first or name.startswith("true ")]
        for name in labels:
            table.add_column(f" {name}", no_wrap=True)
            if any(self.spec.classes) and name in self.predicted:
                table.add_column("probability", justify="right")
        for row, cells in enumerate(shown.select(labels).iter_rows()):
            line = []
            for name, cell in zip(labels, cells, strict=True):
                line.append(
                    Text(f" {shorten(format_number(cell) if isinstance(cell, float) else str(cell), NAME_LENGTH)}")
                )
                if any(self.spec.classes) and name in self.predicted:
                    line.append(Text(f"{sure[row, self.predicted.index(name)]:.3f}"))
            table.add_row(*line)
        rest = len(self.values) - len(shown)
        parts: list[RenderableType] = [table, *([Text(f" and {rest:,} more", style="dim")] if rest > 0 else [])]
        return Group(*parts) if self.results is None else Group(*parts, self.errors)

    @property
    def errors(self) -> RenderableType:
        """The table of errors, where the rows hold the truth."""
        assert self.results is not None
        return result_table({"rows": self.results}, {"rows": len(self.values)}, MODEL, self.spec.predicted)

    def __repr__(self) -> str:
        return to_text(self)


def predict_labels(model: AbstractForecaster, encoder: SequenceEncoder, series: SeriesSet) -> Prediction:
    """Predict the labels of all series, or their steps; raises InputError for a prediction that is no number."""
    spec, head = model.spec, model.head
    width = head.parameters_per_value if head.classifies else 1
    count = len(series.values) if spec.per_step else len(series)
    values = np.zeros((count, len(spec.labels), width), np.float32)
    truth = np.zeros((count, len(spec.labels))) if series.label_names == spec.labels else None
    undefined, prior = torch.full((len(series), len(spec.labels)), torch.nan), Prior(spec)
    naive = MAJORITY if head.classifies else MEAN
    scores = {MODEL: new_scores(spec, undefined), naive: new_scores(spec, undefined)}
    for places, window, given in _batches(model, encoder, series):
        rows, batch, step = _find_rows(series, spec, places)
        values[rows] = given[batch, step].reshape(len(rows), len(spec.labels), width).numpy()
        if truth is not None:
            known = torch.where(window.targets.observed, window.targets.target, 0.0 if head.classifies else torch.nan)
            truth[rows] = known[batch, step].numpy()
            numbered = window._replace(inputs=window.inputs._replace(series=places))
            expected = prior.head.report(prior(window.inputs).forecast)
            for row, values_of in ((MODEL, given), (naive, expected)):
                scores[row].update(*measured(values_of, numbered, spec))
    if not np.isfinite(values).all():
        place = int(np.argwhere(~np.isfinite(values))[0, 0])
        name = series.name(int(np.searchsorted(series.offsets, place, side="right")) - 1 if spec.per_step else place)
        raise InputError(f"the prediction for {name} is not a finite number; look at its values and at the model.")
    counted = truth is not None and bool((truth > 0).any() if head.classifies else np.isfinite(truth).any())
    return Prediction(
        series, spec, values, truth, {row: one.results() for row, one in scores.items()} if counted else None
    )


@torch.no_grad()
def _batches(model: AbstractForecaster, encoder: SequenceEncoder, series: SeriesSet) -> Iterator[tuple[Any, Any, Any]]:
    for places, window in encoder.batches(series):
        forecast = model(window.inputs).forecast
        assert forecast is not None
        yield places, window, model.head.report(forecast)


def _find_rows(series: SeriesSet, spec: WindowSpec, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sequences ``places``, or their steps, as rows of the result, and where they stand in a batch, (N,) each."""
    if not spec.per_step:
        return places, torch.arange(len(places)), torch.zeros(len(places), dtype=torch.int64)
    lengths = torch.from_numpy(series.lengths)[places]
    batch, step = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).nonzero(as_tuple=True)
    return torch.from_numpy(series.offsets)[places[batch]] + step, batch, step
