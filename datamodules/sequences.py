"""Whole sequences with labels: one window for each, from the user's own table or an archive file."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.base import Loader, WindowDataModule, choose_batch_size
from datamodules.covariates.column import CovariateColumn
from datamodules.covariates.impute import recode_categories
from datamodules.covariates.prepare import prepare_covariates
from datamodules.labelled import (
    SequenceEncoder,
    SequenceIndex,
    SequenceTensors,
    append,
    measure_units,
    read_sequences,
    stratified_order,
)
from datamodules.series import STAGES, SeriesSet, Span
from datamodules.split import are_fractions
from datamodules.statistics import compute_statistics, merge_ranges
from datamodules.tables.values import MissingValues
from datamodules.windows.loader import WindowLoader
from datamodules.windows.samplers import BucketSampler
from datamodules.windows.spec import measure_spec
from seqmodels.errors import InputError
from seqmodels.window import Category, Statistics, WindowSpec


class Sequences(WindowDataModule):
    """Sequences of any length, each with one or several labels: classes, or numbers.

    ``path``: one row per step, told apart by ``id``; or one row per sequence, whose ``target`` columns are lists; or a
    .ts file. ``target``: the channels. ``label``, ``label_type``: see ``read_sequences``, and for the arguments up to
    ``duplicates`` ``read_table``.

    ``test_path``: the published test sequences; then ``split`` divides those of ``path`` into training and validation,
    by default 0.8 and 0.2; otherwise into three parts, by default 0.7, 0.15, 0.15: fractions or numbers of sequences,
    with the classes of the first label in the same proportions in each, drawn by ``split_seed``.

    Batches are padded on the right to their longest sequence, and hold sequences of similar length.
    """

    tensors = SequenceTensors

    def __init__(
        self,
        path: str | PathLike[str] | Any,
        *,
        target: str | Sequence[str] = ("*",),
        label: str | Sequence[str] | None = None,
        label_type: str = "auto",
        test_path: str | PathLike[str] | Any = None,
        id: str | Sequence[str] | None = None,
        time: str | Sequence[str] | None = "auto",
        time_format: str | None = None,
        past_covariates: str | Sequence[str] = (),
        statics: str | Sequence[str] = (),
        missing_values: MissingValues | None = None,
        decimal: str | None = None,
        duplicates: str = "refuse",
        split: Sequence[int | float] | None = None,
        split_seed: int = 0,
        batch_size: int | Literal["auto"] = "auto",
        evaluation_batch_size: int = 1024,
        seed: int = 0,
    ):
        parts = ((0.7, 0.15, 0.15) if test_path is None else (0.8, 0.2)) if split is None else split
        super().__init__(
            past_steps=1,
            horizon=1,
            split=parts,
            split_by="series",
            context="inside",
            season=1,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
            seed=seed,
        )
        self.path, self.test_path, self.split_seed = path, test_path, split_seed
        self.tested = 0  # series of ``test_path``, the last ones
        self.columns: dict[str, Any] = {
            "target": target,
            "label": label,
            "label_type": label_type,
            "series_id": id,
            "time": time,
            "time_format": time_format,
            "past_covariates": past_covariates,
            "statics": statics,
            "missing_values": () if missing_values is None else missing_values,
            "decimal": decimal,
            "duplicates": duplicates,
        }

    def read(self) -> SeriesSet:
        series = read_sequences(self.path, **self.columns)
        if self.test_path is None:
            return series
        test = read_sequences(self.test_path, **self.columns)
        self.tested = len(test)
        return append(series, test)

    def has_mase(self, stage: str) -> bool:
        return False

    def encoder(self) -> SequenceEncoder:  # type: ignore[override]  # what is kept differs, its use does not
        single = isinstance(self.path, (str, PathLike))
        return SequenceEncoder(
            self.spec, self.columns, str(self.path) if single else None, self.means, tuple(self.indicators)
        )

    def _split_series(self) -> tuple[dict[str, Span], np.ndarray]:
        """Whole series for each stage; those without any label are left out."""
        series = self.series
        assert series.labels is not None
        first = series.label_names[0] in series.categories
        known = np.isfinite(series.labels) & ~(
            (series.labels == 0) & np.array([name in series.categories for name in series.label_names])
        )
        usable = np.flatnonzero(known.any(axis=1) & (series.lengths > 0))
        own = usable[usable < len(series) - self.tested]
        if len(usable) < len(series):
            note = f"{len(series) - len(usable):,} sequences without a label are left out"
            self.series = replace(series, notes=(*series.notes, note))
        order = own[stratified_order(np.nan_to_num(series.labels[own, 0]), first, self.split_seed)]
        counts = self._counts(len(own))
        parts = dict(zip(STAGES, np.split(order, np.cumsum(counts)), strict=False))
        if self.test_path is not None:
            parts["test"] = usable[usable >= len(series) - self.tested]
        for stage in STAGES[:2]:
            if not len(parts[stage]):
                raise InputError(
                    f"{series.source}: the {stage} part of data.split={list(self.split)} holds none of"
                    f" {len(own):,} sequences; change data.split."
                )
        begin, end = series.offsets[:-1], series.offsets[1:]
        learned = self._learned(parts["train"], known)
        self.chosen = {stage: np.sort(part[learned[part]]) for stage, part in parts.items()}
        spans = {}
        for stage, part in self.chosen.items():
            inside = np.zeros(len(series), bool)
            inside[part] = True
            spans[stage] = Span(begin, np.where(inside, end, begin))
        return spans, np.zeros(len(series), bool)

    def _learned(self, train: np.ndarray, known: np.ndarray) -> np.ndarray:
        """True for each series with a label that is a number, or a class of a training series: (series,)."""
        series = self.series
        assert series.labels is not None
        learned = np.zeros(len(series), bool)
        for column, name in enumerate(series.label_names):
            cells = series.labels[:, column]
            seen = np.isin(cells, cells[train]) if name in series.categories else True
            learned |= known[:, column] & seen
        return learned

    def _counts(self, total: int) -> list[int]:
        """Sequences of each part of ``split``."""
        wanted = 3 if self.test_path is None else 2
        split = self.split
        numbers = [part for part in split if isinstance(part, (int, float)) and not isinstance(part, bool)]
        if len(numbers) != len(split) or not 2 <= len(split) <= wanted or min(numbers) < 0:
            three = "two or three" if wanted == 3 else "two, as data.test_path is the test part,"
            raise InputError(
                f"data.split is {list(split)}; it must be {three} fractions or numbers of sequences, for training,"
                " validation and test."
            )
        ends = np.cumsum(numbers) * (total if are_fractions(split) else 1)
        borders = np.floor(ends + 1e-6).astype(int)
        if borders[-1] > total:
            raise InputError(f"data.split is {list(split)}, and there are {total:,} sequences to divide.")
        return np.diff(borders, prepend=0).tolist()

    def _index_windows(self) -> dict[str, Any]:
        return {stage: SequenceIndex(chosen, self.series.offsets) for stage, chosen in self.chosen.items()}

    def _prepare_series(self) -> tuple[SeriesSet, WindowSpec, Tensor]:
        train, names = self.spans["train"], self.series.label_names
        labels, categories, statistics, notes = self._prepare_labels()
        inputs = {name: values for name, values in self.series.categories.items() if name not in names}
        prepared = prepare_covariates(replace(self.series, categories=inputs, labels=labels), train, 1, ())
        self.means, self.indicators = prepared.means, prepared.indicators
        series, lengths = prepared.series, self.series.lengths
        used = np.concatenate([*self.chosen.values()])
        spec = measure_spec(prepared, train)._replace(
            past_steps=int(lengths[self.chosen["train"]].max()),
            missing=series.missing > 0,
            levels=series.values.dtype == np.float64,
            kind="sequence",
            labels=names,
            label_statistics=statistics,
            ragged=bool((lengths[used] != lengths[used[0]]).any()),
        )
        spec = spec._replace(categories=(*spec.categories, *categories))
        self.denominators = dict.fromkeys(STAGES, torch.full((len(series), len(names)), torch.nan))
        return replace(series, notes=(*series.notes, *notes)), spec, measure_units(series, spec)

    def _prepare_labels(self) -> tuple[np.ndarray, list[Category], Statistics, list[str]]:
        """Labels with class numbers of training, these classes, statistics of numbers, and notes."""
        series, trained = self.series, np.zeros(len(self.series), bool)
        assert series.labels is not None
        trained[self.chosen["train"]] = True
        labels, categories, notes = series.labels.copy(), list[Category](), list[str]()
        mean, deviation = np.zeros(len(series.label_names)), np.ones(len(series.label_names))
        for column, name in enumerate(series.label_names):
            if name in series.categories:
                given = CovariateColumn(name, np.nan_to_num(labels[:, column]), series.categories[name])
                recoded, category, note = recode_categories(given, trained, series.source, "sequences")
                labels[:, column] = recoded.values
                known = np.array(category.shares)  # of known labels
                categories.append(category._replace(shares=tuple((known / known.sum()).tolist())))
                notes += [note] if note else []
                if len(category.values) < 2:
                    raise InputError(
                        f"{series.source}: all training sequences have the label {category.values[0]!r}; a class needs"
                        " another one to be told from."
                    )
            else:
                found = compute_statistics(labels[:, column : column + 1], merge_ranges(*_ranges(self.chosen["train"])))
                mean[column], deviation[column] = found.mean[0], found.deviation[0]
        if categories and len(categories) < len(series.label_names):
            raise InputError(
                "data.label names classes and numbers; train one model for each kind, or set data.label_type."
            )
        return labels, categories, Statistics(tuple(mean.tolist()), tuple(deviation.tolist())), notes

    def _build_loaders(self, tensors: Any) -> dict[str, Loader]:
        train = self.indexes["train"]
        size = choose_batch_size(len(train)) if self.batch_size == "auto" else self.batch_size
        assert isinstance(train, SequenceIndex)
        loaders = {"train": WindowLoader(tensors, train, size, BucketSampler(train.lengths, size, self.seed))}
        loaders |= {
            stage: WindowLoader(tensors, self.indexes[stage], self.evaluation_batch_size)
            for stage in STAGES[1:]
            if stage in self.indexes
        }
        for loader in loaders.values():
            loader.batches_per_gather = 1  # each batch is padded by itself
        return dict(loaders)

    def cut_epochs(self, windows: int) -> None:
        """Keep whole epochs: sequences are few."""


def _ranges(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return chosen, chosen + 1
