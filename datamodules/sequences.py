"""Whole sequences, one window each, to predict their labels, labels of each step, or next symbols."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
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
    find_kind,
    measure_units,
    next_values,
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
    """Sequences of any length with labels, of the whole or of each step: classes, numbers, or the next value.

    ``path``: one row per step, told apart by ``id``; or one row per sequence, whose ``target`` columns are lists; or a
    .ts file. ``target``: the channels. ``label``, ``label_type``, ``predict``: see ``read_sequences``, and for the
    arguments up to ``duplicates`` ``read_table``.

    ``test_path``: the published test sequences; then ``split`` divides those of ``path`` into training and validation,
    by default 0.8 and 0.2; otherwise into three parts, by default 0.7, 0.15, 0.15: fractions or numbers of sequences,
    drawn by ``split_seed``, with the classes of the first label of sequences in the same proportions in each.
    ``validation_path``: the published validation sequences; then ``path`` is not divided.

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
        predict: str = "auto",
        validation_path: str | PathLike[str] | Any = None,
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
        if validation_path is not None and split is not None:
            raise InputError(
                f"data.split is {list(split)}, and data.validation_path names the validation part; leave one of them"
                " out."
            )
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
        self.paths = {"train": path, "validation": validation_path, "test": test_path}
        self.given: dict[str, np.ndarray] = {}  # series of each part that has a file of its own
        self.columns: dict[str, Any] = {
            "predict": predict,
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
        self.kind = find_kind(self.path, **self.columns)
        files = {stage: path for stage, path in self.paths.items() if path is not None}
        read = {stage: read_sequences(path, **self.columns) for stage, path in files.items()}
        borders = np.cumsum([0, *map(len, read.values())])
        self.given = {stage: np.arange(*borders[place : place + 2]) for place, stage in enumerate(read)}
        return reduce(append, read.values())

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
        known = self._known_labels()
        usable = np.flatnonzero(known.any(axis=1) & (series.lengths > 0))
        given = {stage: np.intersect1d(usable, part) for stage, part in self.given.items()}
        own = given.pop("train")
        if len(usable) < len(series):
            note = f"{len(series) - len(usable):,} sequences without a label are left out"
            self.series = replace(series, notes=(*series.notes, note))
        parts = {**self._divide(own), **given}
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

    def _known_labels(self) -> np.ndarray:
        """True for each label of a sequence, or of any of its steps, that is known: (series, L)."""
        series = self.series
        assert series.labels is not None
        classes = np.array([name in series.categories for name in series.label_names])
        known: np.ndarray = np.isfinite(series.labels) & ~((series.labels == 0) & classes)
        if self.kind == "sequence":
            return known
        return np.logical_or.reduceat(known, series.offsets[:-1], axis=0)

    def _divide(self, own: np.ndarray) -> dict[str, np.ndarray]:
        """The sequences of ``path`` by part."""
        series = self.series
        assert series.labels is not None
        if self.paths["validation"] is not None:
            return {"train": own, "test": own[:0]}
        whole = self.kind == "sequence"
        labels = np.nan_to_num(series.labels[own, 0]) if whole else np.zeros(len(own))
        order = own[stratified_order(labels, not whole or series.label_names[0] in series.categories, self.split_seed)]
        return dict(zip(STAGES, np.split(order, np.cumsum(self._counts(len(own)))), strict=False))

    def _learned(self, train: np.ndarray, known: np.ndarray) -> np.ndarray:
        """True for each series with a label that is a number, or a class of a training series: (series,)."""
        series = self.series
        learned = np.asarray(known.any(axis=1), dtype=bool)
        if self.kind != "sequence":
            return learned
        assert series.labels is not None
        learned = np.zeros(len(series), bool)
        for column, name in enumerate(series.label_names):
            cells = series.labels[:, column]
            seen = np.isin(cells, cells[train]) if name in series.categories else True
            learned |= known[:, column] & seen
        return learned

    def _counts(self, total: int) -> list[int]:
        """Sequences of each part of ``split``."""
        wanted = 2 if "test" in self.given else 3
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
        symbols = self._prepare_symbols()
        labels, categories, statistics, notes = self._prepare_labels()
        targets = {*names, *self.series.channels}
        inputs = {name: values for name, values in self.series.categories.items() if name not in targets}
        prepared = prepare_covariates(replace(self.series, categories=inputs, labels=labels), train, 1, ())
        self.means, self.indicators = prepared.means, prepared.indicators
        series, lengths = prepared.series, self.series.lengths
        used = np.concatenate([*self.chosen.values()])
        spec = measure_spec(prepared, train)._replace(
            past_steps=int(lengths[self.chosen["train"]].max()),
            missing=series.missing > 0,
            levels=series.values.dtype == np.float64,
            kind=self.kind,
            labels=names,
            label_statistics=statistics,
            ragged=bool((lengths[used] != lengths[used[0]]).any()),
        )
        codes = [name in {one.column for one in symbols} for name in spec.channels]
        mean, deviation, _ = spec.target_statistics
        as_they_are = Statistics(
            tuple(np.where(codes, 0.0, mean).tolist()), tuple(np.where(codes, 1.0, deviation).tolist())
        )
        spec = spec._replace(
            categories=(*spec.categories, *symbols, *categories),
            target_statistics=as_they_are if symbols else spec.target_statistics,
        )
        self.denominators = dict.fromkeys(STAGES, torch.full((len(series), len(names)), torch.nan))
        return replace(series, notes=(*series.notes, *notes)), spec, measure_units(series, spec)

    def _prepare_symbols(self) -> list[Category]:
        """Number the symbols of the channels as those of training; return the symbols."""
        series, found, notes = self.series, list[Category](), list[str]()
        values = series.values.copy()
        for column, name in enumerate(series.channels):
            if name in series.categories:
                given = CovariateColumn(name, values[:, column], series.categories[name])
                recoded, category, note = recode_categories(given, self._trained(), series.source, "steps")
                values[:, column] = recoded.values
                found.append(category)
                if self.kind == "next":
                    _refuse_one_class(category, series.source, "steps")
                notes += [note] if note else []
        self.series = replace(series, values=values, notes=(*series.notes, *notes))
        if self.kind == "next":
            self.series = replace(self.series, labels=next_values(self.series))
        return found

    def _trained(self, per_step: bool = True) -> np.ndarray:
        """True for each step, or sequence, of training."""
        chosen = np.zeros(len(self.series), bool)
        chosen[self.chosen["train"]] = True
        return np.repeat(chosen, self.series.lengths) if per_step else chosen

    def _prepare_labels(self) -> tuple[np.ndarray, list[Category], Statistics, list[str]]:
        """Labels with class numbers of training, these classes, statistics of numbers, and notes."""
        series, per_step = self.series, self.kind != "sequence"
        assert series.labels is not None
        rows = merge_ranges(*(self.spans["train"] if per_step else _ranges(self.chosen["train"])))
        labels, categories, notes = series.labels.copy(), list[Category](), list[str]()
        mean, deviation = np.zeros(len(series.label_names)), np.ones(len(series.label_names))
        for column, name in enumerate(series.label_names):
            if name in series.categories and self.kind == "next":
                continue  # as those of the channel
            if name in series.categories:
                given = CovariateColumn(name, np.nan_to_num(labels[:, column]), series.categories[name])
                unit = "steps" if per_step else "sequences"
                recoded, category, note = recode_categories(given, self._trained(per_step), series.source, unit)
                labels[:, column] = recoded.values
                known = np.array(category.shares)  # of known labels
                categories.append(category._replace(shares=tuple((known / known.sum()).tolist())))
                notes += [note] if note else []
                _refuse_one_class(category, series.source, unit)
            else:
                found = compute_statistics(labels[:, column : column + 1], rows)
                mean[column], deviation[column] = found.mean[0], found.deviation[0]
        if 0 < sum(name in series.categories for name in series.label_names) < len(series.label_names):
            raise InputError(
                f"{', '.join(series.label_names)} are classes and numbers; train one model for each kind, or set"
                " data.label_type."
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
        """Keep whole epochs, since sequences are few."""


def _refuse_one_class(category: Category, source: str, unit: str) -> None:
    if len(category.values) < 2:
        raise InputError(
            f"{source}: all training {unit} have the label {category.values[0]!r}; a class needs another one to be told"
            " from."
        )


def _ranges(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return chosen, chosen + 1
