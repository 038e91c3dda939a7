"""Sequences with labels, or whose next symbols are predicted: reading, windows, and the encoding of new ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from datamodules.covariates.prepare import apply_preparation
from datamodules.series import SeriesSet, Span
from datamodules.tables.reader import open_source, read_table
from datamodules.tables.roles import Roles, to_times, to_tuple
from datamodules.tables.source import Frame, Source, open_frame
from datamodules.tables.ts_file import LABEL, read_ts
from datamodules.windows.loader import WindowIndex
from datamodules.windows.spec import measure_seasonal_errors
from seqmodels.errors import InputError, require_choice
from seqmodels.window import Inputs, Targets, Window, WindowSpec

SYMBOL_TYPES = (pl.String, pl.Categorical, pl.Enum)
LABEL_TYPES = ("auto", "class", "number")
KINDS = ("sequence", "step", "next")  # of ``WindowSpec.kind``
MOST_SYMBOLS = 256  # whole numbers to be predicted next that have at most so many values are symbols
MOST_CLASSES = 20  # whole numbers with more values than this, or with one for every other sequence, are numbers
SEQUENCE = "sequence"  # id of a sequence that has none: its row


def read_sequences(
    path: Any,
    *,
    target: str | Sequence[str] = "*",
    label: str | Sequence[str] | None = None,
    label_type: str = "auto",
    predict: str = "auto",
    series_id: str | Sequence[str] | None = None,
    statics: str | Sequence[str] = (),
    needs_labels: bool = True,
    **table: Any,
) -> SeriesSet:
    """Read sequences and their labels; ``table``: see ``read_table``.

    One sequence is a series: the rows of one ``series_id``; or one row, where the targets are columns of lists, or the
    file is a .ts file, whose label is called "label". ``predict``: see ``find_kind``. ``label``: columns that are
    constant within a sequence, unless each step has its own. ``label_type``: "class", "number", or "auto": texts and
    few different whole numbers are classes. Without ``needs_labels``, columns of labels may be absent. Targets that are
    texts are symbols.

    Unobserved steps at the end of a sequence do not belong to it.
    """
    require_choice(LABEL_TYPES, "data", label_type=label_type)
    archive = isinstance(path, (str, PathLike)) and str(path).lower().endswith(".ts")
    source: Source = _open_archive(Path(path)) if archive else open_source(path)
    kind = find_kind(path, target=target, label=label, predict=predict) if needs_labels else predict
    labels = to_tuple(label) or ((LABEL,) if archive and kind == "sequence" else ())
    per_step = labels if kind == "step" else ()
    absent = [name for name in labels if name not in source.columns]
    if absent and needs_labels:
        close = get_close_matches(absent[0], source.columns, n=3)
        near = f"; nearest: {', '.join(map(repr, close))}" if close else ""
        raise InputError(f"data.label: {source.name} has no column {absent[0]!r}{near}.")
    if not needs_labels:
        labels = tuple(name for name in labels if name in source.columns)
    past = (*to_tuple(table.pop("past_covariates", ())), *per_step)
    source, exploded = _explode(source, to_tuple(target), past)
    ids = to_tuple(series_id) or ((SEQUENCE,) if exploded else ())
    if not ids:
        raise InputError(
            f"{source.name}: data.id names no column; it tells the sequences apart, unless each is a row of lists."
        )
    constant = (*to_tuple(statics), *(name for name in labels if name not in per_step))
    roles = Roles(to_tuple(target), to_times(table.get("time")), ids, past, (), constant)
    if archive:  # where classes may be called 1, 2, 3
        table = {**table, "categorical": (*table.get("categorical", ()), *_texts(source, labels))}
    series = read_table(
        source,
        target=exploded or _channels(source, roles),
        series_id=ids,
        statics=constant,
        past_covariates=past,
        layout="long",
        symbols=True,
        **({**table, "time": None} if exploded else table),
    )
    return LABELS_OF[kind](_trim(series), labels, label_type)


def find_kind(
    path: Any, *, target: str | Sequence[str], label: str | Sequence[str] | None, predict: str, **others: Any
) -> str:
    """Kind of the predictions: a label of each "sequence", or of each "step", or the "next" value of the target.

    "auto": "sequence" if a label is named, "next" if only the target is.
    """
    require_choice(("auto", *KINDS), "data", predict=predict)
    archive = isinstance(path, (str, PathLike)) and str(path).lower().endswith(".ts")
    named = bool(to_tuple(label)) or (archive and predict != "next")
    kind = predict if predict != "auto" else "sequence" if named or to_tuple(target) == ("*",) else "next"
    if kind == "next" and to_tuple(label):
        raise InputError(
            f"data.predict=next predicts data.target, and data.label names {to_tuple(label)[0]}; leave data.label out,"
            " or set data.predict=step or sequence."
        )
    if kind != "next" and not named:
        raise InputError(
            "data.label names no column; it is the column of the class, or number, of each sequence, or with"
            " data.predict=step of each step; to predict the next symbol instead, name its column in data.target."
        )
    return kind


def _open_archive(path: Path) -> Frame:
    if not path.is_file():
        raise InputError(f"data.path={path}: there is no such file.")
    return replace(open_frame(read_ts(path)), name=path.name)


def _channels(source: Source, roles: Roles) -> tuple[str, ...]:
    """Columns of the target in a table with one row per step; patterns stand for columns without another role."""
    return roles.resolve(source).target if roles.has_patterns else roles.target


def _texts(source: Source, labels: tuple[str, ...]) -> list[str]:
    schema = source.data.lazy().collect_schema() if isinstance(source, Frame) else {}
    return [name for name in labels if schema.get(name) == pl.String]


def _explode(source: Source, target: tuple[str, ...], past: tuple[str, ...]) -> tuple[Source, tuple[str, ...]]:
    """One row per step instead of one row of lists per sequence, and the targets; unchanged if these are no lists.

    ``past``: further columns, which may be lists.
    """
    frame = source.data if isinstance(source, Frame) else None
    if frame is None and hasattr(source, "scan") and hasattr(source, "path"):  # a Parquet file
        frame = source.scan()
    if frame is None:
        return source, ()
    schema = frame.lazy().collect_schema()
    listed = [name for name, dtype in schema.items() if isinstance(dtype, (pl.List, pl.Array))]
    everything = [name for name in listed if name not in past]
    targets = tuple(everything if target == ("*",) else [name for name in target if name in listed])
    if not targets:
        return source, ()
    chosen = (*targets, *(name for name in past if name in listed))
    others = [name for name in target if name not in chosen and target != ("*",)]
    if others:
        raise InputError(
            f"{source.name}: data.target names {chosen[0]}, a column of lists, and {others[0]}, which is none."
        )
    rows = frame.lazy().collect()
    for name in chosen:
        inner = getattr(rows.schema[name], "inner", None)
        if not (inner is not None and (inner.is_numeric() or inner == pl.Null or inner in SYMBOL_TYPES)):
            raise InputError(
                f"{source.name}: column {name!r} holds {rows.schema[name]}; a channel is a column of lists of numbers"
                " or texts."
            )
    inner = {name: rows.schema[name].inner for name in chosen}  # type: ignore[attr-defined]  # lists, as checked
    texts = [name for name, dtype in inner.items() if dtype in SYMBOL_TYPES]
    rows = rows.with_columns(pl.col(name).cast(pl.List(pl.String if name in texts else pl.Float64)) for name in chosen)
    lengths = rows.select(pl.col(name).list.len().alias(name) for name in chosen)
    empty = (lengths.select(pl.max_horizontal(pl.all())).to_series().fill_null(0) == 0).arg_true()
    if len(empty):
        raise InputError(f"{source.name}, row {empty[0] + 1}: its lists are empty; a sequence needs one step at least.")
    uneven = lengths.select(pl.min_horizontal(pl.all()) != pl.max_horizontal(pl.all())).to_series().fill_null(True)
    if uneven.any():
        row = int(uneven.arg_max() or 0)
        raise InputError(
            f"{source.name}, row {row + 1}: its lists have {min(lengths.row(row), key=lambda one: one or 0)} to"
            f" {max(lengths.row(row), key=lambda one: one or 0)} values; all channels of a sequence need equally many."
        )
    long = rows.with_row_index(SEQUENCE, offset=1).explode(chosen)
    return replace(open_frame(long), name=source.name), targets


def _split_step_labels(series: SeriesSet, labels: tuple[str, ...], label_type: str) -> SeriesSet:
    """Labels of each step apart from the other past covariates."""
    if not labels:
        return series
    names, cells = series.past_covariate_names, series.past_covariates
    assert cells is not None
    kept = [place for place, name in enumerate(names) if name not in labels]
    places = [names.index(name) for name in labels]
    rest = replace(
        series,
        past_covariates=cells[:, kept] if kept else None,
        past_covariate_names=tuple(names[place] for place in kept),
    )
    return _with_labels(rest, labels, cells[:, places].astype(np.float64), label_type)


def _shift_targets(series: SeriesSet, labels: tuple[str, ...], label_type: str) -> SeriesSet:
    """The next value of each target as the label of a step; whole numbers with few values are symbols."""
    values, categories, notes = series.values.astype(np.float64), dict(series.categories), [*series.notes]
    seen = np.ones(values.shape, bool) if series.observed is None else series.observed
    for column, name in enumerate(series.channels):
        numbers = np.where(seen[:, column], values[:, column], np.nan)
        if name in categories:
            _refuse_class(series, name, label_type)
        elif label_type == "class" or (label_type == "auto" and _few_whole(numbers, MOST_SYMBOLS)):
            values[:, column], categories[name] = _as_classes(numbers)
            if label_type == "auto":
                notes.append(_symbol_note("target", name, len(categories[name])))
    symbols = replace(series, values=values, categories=categories, notes=tuple(notes))
    return replace(symbols, labels=next_values(symbols), label_names=series.channels)


def next_values(series: SeriesSet) -> np.ndarray:
    """Targets one step later, (rows, C) float64; NaN at the end of a series and where not observed."""
    later = np.roll(series.values.astype(np.float64), -1, axis=0)
    if series.observed is not None:
        later[~np.roll(series.observed, -1, axis=0)] = np.nan
    later[series.offsets[1:] - 1] = np.nan
    return later


def _split_labels(series: SeriesSet, labels: tuple[str, ...], label_type: str) -> SeriesSet:
    """Labels apart from the other statics, as classes or numbers."""
    if not labels:
        return series
    assert series.static is not None
    places = [series.static_names.index(name) for name in labels]
    kept = [place for place in range(len(series.static_names)) if place not in places]
    rest = replace(
        series,
        static=series.static[:, kept] if kept else None,
        static_names=tuple(series.static_names[place] for place in kept),
    )
    return _with_labels(rest, labels, series.static[:, places].astype(np.float64), label_type)


# Where labels come from, by kind
LABELS_OF = {"sequence": _split_labels, "step": _split_step_labels, "next": _shift_targets}


def _with_labels(series: SeriesSet, labels: tuple[str, ...], values: np.ndarray, label_type: str) -> SeriesSet:
    """The series with these labels, as classes or numbers."""
    categories, notes = dict(series.categories), [*series.notes]
    for column, name in enumerate(labels):
        if name in categories:
            _refuse_class(series, name, label_type)
            continue
        numbers = values[:, column]
        if label_type == "class" or (label_type == "auto" and _few_whole(numbers)):
            values[:, column], categories[name] = _as_classes(numbers)
            if label_type == "auto":
                notes.append(_symbol_note("label", name, len(categories[name])))
    return replace(series, labels=values, label_names=labels, categories=categories, notes=tuple(notes))


def _refuse_class(series: SeriesSet, name: str, label_type: str) -> None:
    if label_type == "number":
        example = series.categories[name][0]
        raise InputError(f"{series.source}: label {name!r} holds {example!r}, and data.label_type is number.")


def _symbol_note(role: str, name: str, count: int) -> str:
    return f"{role} {name!r} has {count} different whole numbers, taken as classes (data.label_type=number: as numbers)"


def _different(numbers: np.ndarray) -> list[float]:
    return sorted(set(numbers[np.isfinite(numbers)].tolist()))


def _few_whole(numbers: np.ndarray, most: int = MOST_CLASSES) -> bool:
    known = _different(numbers)
    return 0 < len(known) <= min(most, len(numbers) // 2) and all(map(float.is_integer, known))


def _as_classes(numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of classes, from 1 on, 0 where unknown, and their names."""
    known = _different(numbers)
    codes = np.where(np.isfinite(numbers), np.searchsorted(known, numbers) + 1, 0)
    return codes, tuple(f"{number:g}" for number in known)


def _trim(series: SeriesSet) -> SeriesSet:
    """Leave out the steps after the last observed one of each series."""
    if series.observed is None:
        return series
    seen = np.asarray(series.observed.any(axis=1))
    last = np.maximum.reduceat(np.where(seen, np.arange(len(seen)), -1), series.offsets[:-1])
    empty = np.flatnonzero(last < series.offsets[:-1])
    if len(empty):
        raise InputError(f"{series.source}: sequence {series.name(int(empty[0]))!r} has no value at all; leave it out.")
    kept = np.arange(len(seen)) <= np.repeat(last, series.lengths)
    if kept.all():
        return series
    rows: dict[str, Any] = {
        name: None if (cells := getattr(series, name)) is None else cells[kept]
        for name in ("values", "observed", "time", "past_covariates", "known_covariates")
    }
    offsets = np.concatenate([[0], np.cumsum(last + 1 - series.offsets[:-1])])
    note = f"{int((~kept).sum()):,} steps without a value at the end of sequences do not belong to them"
    observed = None if rows["observed"] is None or rows["observed"].all() else rows["observed"]
    return replace(series, **{**rows, "observed": observed}, offsets=offsets, notes=(*series.notes, note))


def append(first: SeriesSet, second: SeriesSet) -> SeriesSet:
    """The series of two sets with the same columns, one set after the other; categories get common numbers."""
    for kind in ("channels", "past_covariate_names", "static_names", "label_names"):
        if getattr(first, kind) != getattr(second, kind):
            raise InputError(
                f"{second.source} has the columns {', '.join(getattr(second, kind))}, but {first.source}"
                f" {', '.join(getattr(first, kind))}."
            )
    categories = {
        name: tuple(sorted({*first.categories.get(name, ()), *second.categories.get(name, ())}))
        for name in {**first.categories, **second.categories}
    }
    first, second = (_recode(part, categories) for part in (first, second))
    observed = None
    if first.observed is not None or second.observed is not None:
        observed = np.concatenate(
            [np.ones(one.values.shape, bool) if one.observed is None else one.observed for one in (first, second)]
        )
    joined: dict[str, Any] = {
        name: None if getattr(first, name) is None else np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("values", "past_covariates", "static", "labels")
    }
    return replace(
        first,
        **joined,
        observed=observed,
        time=None,
        offsets=np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        names=(*first.names, *second.names),
        source=f"{first.source} and {second.source}",
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
    )


def _recode(series: SeriesSet, categories: Mapping[str, tuple[str, ...]]) -> SeriesSet:
    """The series with numbers of these categories."""
    changed: dict[str, Any] = {}
    for kind, names in (("values", series.channels), ("past_covariates", series.past_covariate_names),
                        ("static", series.static_names), ("labels", series.label_names)):  # fmt: skip
        cells = getattr(series, kind)
        if cells is None:
            continue
        changed[kind] = cells = cells.copy()
        for column, name in enumerate(names):
            if name in categories:
                if name not in series.categories and (cells[:, column] != 0).any():
                    raise InputError(f"{series.source}: column {name!r} holds numbers, but texts in the other file.")
                codes = np.array([0, *(categories[name].index(value) + 1 for value in series.categories.get(name, ()))])
                cells[:, column] = codes[np.nan_to_num(cells[:, column]).astype(np.int64)]
    return replace(series, categories=dict(categories), **changed)


def stratified_order(labels: np.ndarray, classes: bool, seed: int) -> np.ndarray:
    """Order of the series (n,) whose first part, of any length, holds the classes in proportion, all of them if short.

    Numbers are divided into ten classes of equal size.
    """
    random = np.random.default_rng(seed).permutation(len(labels))
    groups = labels if classes else np.argsort(np.argsort(labels)) * 10 // max(1, len(labels))
    rank = np.empty(len(labels))
    for group in np.unique(groups):
        members = random[groups[random] == group]
        rank[members] = np.arange(len(members)) / len(members)
    return random[np.argsort(rank[random], kind="stable")]


class SequenceIndex(WindowIndex):
    """One window with all rows for each of some series; ``chosen`` (n,), ``offsets`` (series + 1,)."""

    def __init__(self, chosen: np.ndarray, offsets: np.ndarray):
        self.chosen, self.offsets = torch.from_numpy(chosen.astype(np.int64)), torch.from_numpy(offsets)

    def __len__(self) -> int:
        return len(self.chosen)

    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        series = self.chosen[indices]
        return series, self.offsets[series]

    @property
    def lengths(self) -> Tensor:
        """Steps of each window, (n,)."""
        return self.offsets.diff()[self.chosen]


class SequenceTensors:
    """Series as tensors, and the gather of whole ones, padded on the right to the longest of a batch.

    The clock of a sequence counts its own steps; for the arguments see ``SeriesTensors``.
    """

    def __init__(
        self,
        series: SeriesSet,
        spec: WindowSpec,
        seasonal_error: Tensor,
        clock: Tensor,
        identity: Tensor | None = None,
        device: torch.device | str = "cpu",
    ):
        self.spec, self.device, self.clock = spec, torch.device(device), clock
        self.lengths = torch.from_numpy(series.lengths).to(self.device)
        level = np.array(spec.target_statistics.mean if spec.levels else [0.0] * len(spec.channels))
        values = series.values - level if spec.levels else series.values
        if spec.levels and series.observed is not None:
            values = np.where(series.observed, values, 0)
        nothing = np.zeros((len(series.values), 0), np.float32)
        covariates = nothing if series.past_covariates is None else series.past_covariates
        static = np.zeros((len(series), 0), np.float32) if series.static is None else series.static
        count = len(series.values) if spec.per_step else len(series)
        labels = np.zeros((count, len(spec.labels))) if series.labels is None else series.labels
        known = np.isfinite(labels) & ~((labels == 0) & np.array([bool(values) for values in spec.classes]))
        arrays = (np.asarray(values, np.float32), covariates.astype(np.float32), static.astype(np.float32),
                  np.where(known, labels, 0).astype(np.float32), known, level)  # fmt: skip
        self.values, self.covariates, self.static, self.labels, self.known, self.level = (
            torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays
        )
        self.observed = None if series.observed is None else torch.from_numpy(series.observed).to(self.device)
        self.seasonal_error = seasonal_error.to(self.device)

    @property
    def values_per_window(self) -> int:
        """Number of values in the longest sequence."""
        return int(self.lengths.max()) * (self.values.shape[1] + self.covariates.shape[1])

    def gather(self, index: WindowIndex, indices: Tensor) -> Window:
        """Window indices (B,) on the CPU -> batch on the device of the series."""
        series, start = (part.to(self.device) for part in index.locate(indices))
        lengths = self.lengths[series].unsqueeze(1)
        steps = torch.arange(int(lengths.max()), device=self.device)
        rows, exists = start.unsqueeze(1) + steps.minimum(lengths - 1), (steps < lengths).unsqueeze(-1)
        observed = (
            exists.expand(-1, -1, len(self.spec.channels)) if self.observed is None else self.observed[rows] & exists
        )
        inputs = Inputs(
            past_target=self.values[rows] * exists,
            level=self.level.expand(len(series), -1),
            past_observed=observed,
            past_covariates=self.covariates[rows],
            known_covariates=torch.zeros(len(series), len(steps) + self.spec.horizon, 0, device=self.device),
            static=self.static[series],
            seasonal_error=self.seasonal_error[series],
            series=series,
            reset=torch.ones(len(series), dtype=torch.bool, device=self.device),
            clock=lengths[:, 0] - 1,
            identity=torch.full_like(series, -1),  # each is one that training has not seen
        )
        if self.spec.per_step:
            targets = Targets(self.labels[rows] * exists, self.known[rows] & exists)
        else:
            targets = Targets(self.labels[series].unsqueeze(1), self.known[series].unsqueeze(1))
        return Window(inputs, targets, start + lengths[:, 0] - 1)


def measure_units(series: SeriesSet, spec: WindowSpec) -> Tensor:
    """``Inputs.seasonal_error`` of whole series: mean change from step to step, (series, C)."""
    whole = Span(series.offsets[:-1], series.offsets[1:])
    return measure_seasonal_errors(series, whole, np.zeros(len(series), bool), spec).units


@dataclass(frozen=True)
class SequenceEncoder:
    """Encodes sequences of a table as the windows of a trained model; ``columns``: arguments of ``read_sequences``."""

    spec: WindowSpec
    columns: Mapping[str, Any]
    path: Any  # of the training table, None if it was a data frame
    means: Mapping[str, float]
    indicators: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Primitives, for a checkpoint."""
        return {
            "columns": dict(self.columns),
            "path": self.path,
            "means": dict(self.means),
            "indicators": list(self.indicators),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], spec: WindowSpec) -> "SequenceEncoder":
        """Inverse of ``to_dict``."""
        return cls(spec, plain["columns"], plain["path"], plain["means"], tuple(plain["indicators"]))

    def read(self, rows: Any = None) -> SeriesSet:
        """Read ``rows``, a path or data frame with the columns of the training table, by default that table itself.

        Columns of labels may lack.
        """
        if rows is None and self.path is None:
            raise InputError("the model was trained on a data frame, which no checkpoint holds: give the rows.")
        categorical = [one.column for one in self.spec.categories]
        path = self.path if rows is None else rows
        kind = {"label_type": "class" if any(self.spec.classes) else "number", "predict": self.spec.kind}
        series = read_sequences(
            path,
            **{**self.columns, **kind, "target": list(self.spec.channels)},
            needs_labels=False,
            categorical=categorical,
        )
        if series.channels != self.spec.channels:
            raise InputError(
                f"{series.source} has the channels {', '.join(series.channels)}, but the model was trained on"
                f" {', '.join(self.spec.channels)}."
            )
        return series

    def encode(self, series: SeriesSet) -> SequenceTensors:
        """Prepare sequences as those of training were."""
        dtype = np.float64 if self.spec.levels else np.float32
        values = encode_symbols(series.values, series.channels, series, self.spec).astype(dtype, copy=False)
        prepared = apply_preparation(replace(series, values=values), self.spec, self.means, self.indicators, ())
        prepared = replace(prepared, labels=encode_labels(series, self.spec), label_names=self.spec.labels)
        unknown = torch.full((len(series),), -1)
        return SequenceTensors(
            prepared, self.spec, measure_units(prepared, self.spec), torch.zeros(len(series)), unknown
        )

    def batches(self, series: SeriesSet, size: int = 1024) -> Iterator[tuple[Tensor, Window]]:
        """Indices of the sequences and their windows, in order of length; without padding where training had none."""
        tensors, lengths = self.encode(series), torch.from_numpy(series.lengths)
        index = SequenceIndex(np.arange(len(series)), series.offsets)
        order = lengths.argsort(stable=True)
        parts = (
            [order]
            if self.spec.ragged
            else order.split(lengths[order].unique_consecutive(return_counts=True)[1].tolist())
        )
        for part in parts:
            for indices in part.split(size):
                yield indices, tensors.gather(index, indices)


def encode_labels(series: SeriesSet, spec: WindowSpec) -> np.ndarray | None:
    """Labels (series or rows, L) with the class numbers of training, 0 for a class that it has not seen."""
    if series.labels is None or series.label_names != spec.labels:
        return None
    return encode_symbols(series.labels, series.label_names, series, spec)


def encode_symbols(cells: np.ndarray, names: tuple[str, ...], series: SeriesSet, spec: WindowSpec) -> np.ndarray:
    """Columns ``names`` of a series (n, columns) with the category numbers of training, 0 where it had none."""
    cells, trained = cells.copy(), {category.column: category.values for category in spec.categories}
    for column, name in enumerate(names):
        if name in trained:
            places = {value: number for number, value in enumerate(trained[name], 1)}
            codes = np.array([0, *(places.get(value, 0) for value in series.categories.get(name, ()))])
            cells[:, column] = codes[np.nan_to_num(cells[:, column]).astype(np.int64)]
    return cells
