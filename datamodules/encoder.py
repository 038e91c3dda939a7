"""Encoding of rows that training has not seen, with everything that a checkpoint keeps of the training data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.lags import VALUE, within_series
from datamodules.covariates.prepare import apply_preparation, build_transforms
from datamodules.frequency import Frequency, from_dict, to_dict
from datamodules.series import SeriesSet, Span, cut_rows
from datamodules.split import Split, counts_rows, search_rows, split_spans
from datamodules.tables.reader import read_table
from datamodules.timezones import format_time, local_to_utc, utc_to_local
from datamodules.windows.consecutive import ConsecutiveLoader
from datamodules.windows.loader import SeriesTensors, SlidingIndex, WindowLoader, map_tensors, number_rows, whole_rows
from datamodules.windows.spec import measure_seasonal_errors
from seqmodels.errors import InputError
from seqmodels.window import Rows, Window, WindowSpec

NEVER = np.iinfo(np.int64).min + 1  # the time of a row that does not exist, before all others
NAMES = "\0"  # separates series ids in a checkpoint, where one array is read much faster than a list


@dataclass(frozen=True)
class RowEncoder:
    """Encodes rows of a table as the windows of a trained model.

    ``columns`` are the arguments of ``read_table``, None for data that were not read from a table. ``units`` holds the
    seasonal error of each series of the training data, which is called ``names[i]``.
    """

    spec: WindowSpec
    columns: Mapping[str, Any] | None
    path: Any  # of the training table, None if it was a data frame
    transforms: Mapping[str, Any]  # settings of ``build_transforms``
    means: Mapping[str, float]  # training means that replace missing covariates
    indicators: tuple[str, ...]
    frequency: Frequency | None
    names: tuple[str, ...]
    units: Tensor  # (series, C) float32
    denominators: Tensor  # (series, C) float64, of MASE: seasonal errors of all rows before the test part, or NaN
    borders: Tensor | None = None  # see ``training_borders``; None in checkpoints of earlier versions

    def to_dict(self) -> dict[str, Any]:
        """Tensors and primitives, for a checkpoint."""
        names = np.frombuffer(NAMES.join(self.names).encode(), np.uint8).copy()
        return {
            "columns": None if self.columns is None else dict(self.columns),
            "path": self.path,
            "transforms": dict(self.transforms),
            "means": dict(self.means),
            "indicators": list(self.indicators),
            "frequency": None if self.frequency is None else to_dict(self.frequency),
            "names": torch.from_numpy(names),
            "units": self.units,
            "denominators": self.denominators,
            "borders": self.borders,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], spec: WindowSpec) -> "RowEncoder":
        """Inverse of ``to_dict``."""
        names = bytes(plain["names"].tolist()).decode()
        return cls(
            spec=spec,
            columns=plain["columns"],
            path=plain["path"],
            transforms=plain["transforms"],
            means=plain["means"],
            indicators=tuple(plain["indicators"]),
            frequency=None if plain["frequency"] is None else from_dict(plain["frequency"]),
            names=tuple(names.split(NAMES)) if names else (),
            units=plain["units"],
            denominators=_denominators(plain),
            borders=plain.get("borders"),
        )

    def read(self, rows: Any = None, future: Any = None) -> SeriesSet:
        """Read ``rows``, a path or data frame with the columns of the training table, by default that table itself.

        ``future``: a table of known covariates after the last row of each series.

        Raises InputError for rows that cannot be read, and if the model was not trained on a table.
        """
        if self.columns is None:
            raise InputError(
                "the model was trained on generated data or a store, so its checkpoint names no columns; train it with"
                " data=csv to forecast a table."
            )
        if rows is None and self.path is None:
            raise InputError("the model was trained on a data frame, which no checkpoint holds: give the rows.")
        series = read_table(
            self.path if rows is None else rows,
            **self.columns,
            frequency=self.frequency,
            future=future,
            categorical=[category.column for category in self.spec.categories],
            open_end=True,
        )
        if series.channels != self.spec.channels:
            raise InputError(
                f"{series.source} has the targets {', '.join(series.channels)}, but the model was trained on"
                f" {', '.join(self.spec.channels)}."
            )
        return series

    def encode(self, series: SeriesSet, stop: np.ndarray, history: np.ndarray | None = None) -> "EncodedRows":
        """Prepare series for windows whose targets may lie anywhere; rows from ``stop`` (series,) on are the future.

        The seasonal error of a series that training has not seen comes from its rows before ``history``, by default
        ``stop``.
        """
        dtype = np.float64 if self.spec.levels else np.float32  # as in training
        series = replace(series, values=series.values.astype(dtype, copy=False))
        prepared = apply_preparation(
            series, self.spec, self.means, self.indicators, build_transforms(**self.transforms)
        )
        spec = self.spec._replace(series=len(series))
        enough = pad_rows(prepared, spec.past_steps + spec.horizon)
        units, denominators = self._seasonal_errors(series, stop if history is None else history)
        fitted, places = Span(series.offsets[:-1], stop if history is None else history), self._places(series)
        clock, rows = number_rows(enough, self.frequency), whole_rows(prepared, fitted, places)
        tensors = SeriesTensors(enough, spec, units, clock, torch.from_numpy(places))
        return EncodedRows(prepared, stop, tensors, denominators, rows)

    def extend(
        self, series: SeriesSet, horizon: int, origin: np.datetime64 | int | None = None
    ) -> tuple[SeriesSet, np.ndarray]:
        """Series that each end in their future, and the first future row of each, (series,) int64.

        The future has whole horizons of the model, ``horizon`` rows at least. Up to ``origin`` if that is given, else
        up to its last target, a series is the past. Raises InputError if a known covariate is missing in the first
        ``horizon`` future rows, and for past covariates if there are several horizons, as these are unknown then.
        """
        blocks = -(-horizon // self.spec.horizon)
        if blocks > 1 and series.past_covariate_names:
            raise InputError(
                f"horizon={horizon} is longer than the {self.spec.horizon} steps that the model was trained for, so"
                " forecasts have to be fed back, but nothing is known of the past covariate"
                f" {series.past_covariate_names[0]!r} after the last row; train with data.horizon={horizon}."
            )
        extended, stop = extend(series, blocks * self.spec.horizon, self.frequency, origin)
        self._check_known(extended, stop, horizon)
        return (extended if self.spec.missing else fill_targets(extended, stop, self.spec.past_steps)), stop

    def targets_after_training(self, series: SeriesSet, own: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First row and end of the targets to evaluate in each series, and the end of what training used of it.

        These are the rows up to the last target after those that training and validation used; all of a series that
        training has not seen. ``own``: the test part of the run whose table is ``series``.

        Raises InputError for a checkpoint that does not know the parts of the run.
        """
        if self.borders is None:
            raise InputError(
                "the checkpoint was written by an earlier version, which did not keep where training ended: train the"
                " model again, or name the rows to evaluate with last=2000."
            )
        places, begin = self._places(series), series.offsets[:-1]
        borders = np.where((places >= 0)[:, None], self.borders.numpy()[places], NEVER)
        used, first, last = (_rows_up_to(series, times) for times in (borders - [0, 1, 0]).T)
        end = np.maximum(begin, _last_true(_any_observed(series), series.offsets) + 1)
        return (first, np.maximum(first, last), used) if own else (used, np.maximum(used, end), used)

    def _places(self, series: SeriesSet) -> np.ndarray:
        """Number of each series in the training data, (series,) int64; -1 for one that training has not seen."""
        if not self.names and not series.names:
            return np.zeros(1, np.int64)
        known = {name: index for index, name in enumerate(self.names)}
        return np.array([known.get(name, -1) for name in series.names], np.int64)

    def _seasonal_errors(self, series: SeriesSet, stop: np.ndarray) -> tuple[Tensor, Tensor]:
        """``Inputs.seasonal_error`` and the denominators of MASE, (series, C) each."""
        places = self._places(series)
        known, chosen = places >= 0, places[places >= 0]
        history = Span(series.offsets[:-1], stop)
        errors = measure_seasonal_errors(series, history, np.zeros(len(series), bool), self.spec)
        units, denominators = errors.units, errors.denominators.double()
        units[known], denominators[known] = self.units[chosen], self.denominators[chosen]
        return units, denominators

    def _check_known(self, series: SeriesSet, stop: np.ndarray, horizon: int) -> None:
        """Raise InputError for a known covariate of the table without a value in the first ``horizon`` future steps.

        Columns with missing values in training may lack them: the model has seen their replacement.
        """
        if series.known_covariates is None:
            return
        may_lack = {*self.means, *(one.column for one in self.spec.categories if sum(one.shares) < 1 - 1e-9)}
        lead = np.arange(len(series.values)) - np.repeat(stop, series.lengths)
        future = (lead >= 0) & (lead < horizon)
        for index, name in enumerate(series.known_covariate_names):
            values = series.known_covariates[:, index]
            missing = future & ((values == 0) if name in series.categories else np.isnan(values))
            if missing.any() and name not in may_lack:
                row = int(missing.argmax())
                which = int(np.searchsorted(series.offsets, row, side="right")) - 1
                place = f" of series {series.name(which)!r}" if series.names else ""
                raise InputError(
                    f"{series.source}: known covariate {name!r} has no value at {time_label(series, row)}{place}, which"
                    " is to be forecast; add rows with an empty target, or give them with future=FILE."
                )


def _denominators(plain: Mapping[str, Any]) -> Tensor:
    """Denominators of MASE in a checkpoint; earlier versions kept those of the training part, as units."""
    units, scalable = plain["units"].double(), plain.get("scalable")
    return plain.get("denominators", units if scalable is None else units.masked_fill(~scalable, torch.nan))


class EncodedRows(NamedTuple):
    """Series in the form of the model's inputs; the rows of series i from ``stop[i]`` on are the future."""

    series: SeriesSet
    stop: np.ndarray  # (series,) int64
    tensors: SeriesTensors
    denominators: Tensor  # (series, C) of MASE, NaN where the series has none
    rows: Rows  # the same series whole

    def index_windows(self, start: np.ndarray, stop: np.ndarray, stride: int = 1) -> SlidingIndex:
        """Windows whose targets lie in rows ``start[i]:stop[i]`` of series i, every ``stride`` rows.

        A past that begins before the first row of its series is padded on the left.
        """
        spec, every = self.tensors.spec, np.ones(len(self.series), bool)
        return SlidingIndex.from_span(self.series, start, stop, spec.past_steps, spec.horizon, "across", every, stride)

    def windows(self, start: np.ndarray, stop: np.ndarray, batch_size: int = 1024, stride: int = 1) -> WindowLoader:
        """Batches of the windows of ``index_windows``."""
        return WindowLoader(self.tensors, self.index_windows(start, stop, stride), batch_size)

    def consecutive(
        self, start: np.ndarray, stop: np.ndarray, batch_size: int = 1024, whole: bool = True
    ) -> ConsecutiveLoader:
        """All origins of these windows in blocks that continue one another.

        The first one comes after the ``whole`` past of its series, else after that of one window.
        """
        begin = self.series.offsets[:-1]
        earliest = begin if whole else np.maximum(begin, start - self.tensors.spec.past_steps)
        return ConsecutiveLoader(self.tensors, self.index_windows(start, stop), earliest, batch_size)

    def last_windows(self, batch_size: int = 1024) -> Iterator[Window]:
        """Batches of one window for each series, whose horizon begins at ``stop``.

        The past of a series with fewer rows is padded on the left if the model reads masks, else it is shorter.
        """
        spec = self.tensors.spec
        available = torch.from_numpy(np.minimum(self.stop - self.series.offsets[:-1], spec.past_steps))
        for window in self.windows(self.stop, self.stop + spec.horizon, batch_size):
            lengths = available[window.inputs.series]
            if spec.missing or bool((lengths == spec.past_steps).all()):
                yield window
            else:
                for length in lengths.unique().tolist():
                    chosen = (lengths == length).nonzero()[:, 0]
                    yield cut_past(map_tensors(partial(torch.index_select, dim=0, index=chosen), window), length)


def cut_past(window: Window, steps: int) -> Window:
    """Windows with their last ``steps`` past steps only."""
    inputs, cut = window.inputs, window.inputs.past_target.shape[1] - steps
    names = ("past_target", "past_observed", "past_covariates", "known_covariates")
    return window._replace(inputs=inputs._replace(**{name: getattr(inputs, name)[:, cut:] for name in names}))


def extend(
    series: SeriesSet, horizon: int, frequency: Frequency | None, origin: np.datetime64 | int | None = None
) -> tuple[SeriesSet, np.ndarray]:
    """Series that each end ``horizon`` rows after their last observed target, and the first of these rows.

    With an ``origin``, a timestamp in UTC or an integer time, its targets and past covariates end there. Rows that the
    source lacks are added: their timestamps follow the ``frequency``, and their covariates are missing. A series
    without a target up to the origin is left out, with a note.
    """
    last = _last_past_rows(series, origin)
    series, last = _drop_series(series, last)
    begin, end = series.offsets[:-1], series.offsets[1:]
    lengths = last + 1 + horizon - begin
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1])  # row of each new row in the series
    exists, past = source < np.repeat(end, lengths), source <= np.repeat(last, lengths)
    given, seen = np.where(exists, source, 0), np.where(past, source, 0)
    observed = past[:, None] & (True if series.observed is None else series.observed[seen])
    extended = replace(
        series,
        values=np.where(observed, series.values[seen], 0),
        observed=np.broadcast_to(observed, (len(source), len(series.channels))).copy(),
        offsets=offsets,
        time=None if series.time is None else _extend_time(series.time, source, end - 1, lengths, frequency),
        past_covariates=_take(series.past_covariates, seen, past, series.past_covariate_names, series),
        known_covariates=_take(series.known_covariates, given, exists, series.known_covariate_names, series),
    )
    return extended, offsets[1:] - horizon


def _last_past_rows(series: SeriesSet, origin: np.datetime64 | int | None) -> np.ndarray:
    """Last row of the past of each series, (series,) int64: that of the last target, or of the origin if earlier.

    It is -1 for a series without a target up to there.
    """
    seen = _any_observed(series)
    last = _last_true(seen, series.offsets)
    if origin is None:
        return last
    assert series.time is not None
    before = series.time <= origin
    return np.where(
        _last_true(seen & before, series.offsets) < 0, -1, np.minimum(last, _last_true(before, series.offsets))
    )


def _any_observed(series: SeriesSet) -> np.ndarray:
    """True for each row with an observed target, (rows,)."""
    observed = series.observed
    return np.ones(len(series.values), bool) if observed is None else np.asarray(observed.any(axis=1))


def _last_true(mask: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Last row of each series where the mask (rows,) is True, (series,) int64; else -1."""
    last = np.maximum.reduceat(np.where(mask, np.arange(len(mask)), -1), offsets[:-1])
    return np.where(last >= offsets[:-1], last, -1)


def _drop_series(series: SeriesSet, last: np.ndarray) -> tuple[SeriesSet, np.ndarray]:
    """Leave out the series without an observed target, whose ``last`` is -1, with a note."""
    empty = np.flatnonzero(last < 0)
    if not len(empty):
        return series, last
    if len(empty) == len(series):
        raise InputError(f"{series.source} holds no value of {', '.join(series.channels)} up to the origin.")
    kept = np.flatnonzero(last >= 0)
    lengths = series.lengths[kept]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(series.offsets[kept] - offsets[:-1], lengths) + np.arange(offsets[-1])
    note = f"{series.source}: {len(empty):,} series without a value up to the origin left out, the first one"
    chosen: dict[str, Any] = {
        name: None if (cells := getattr(series, name)) is None else cells[rows]
        for name in ("values", "observed", "time", "past_covariates", "known_covariates")
    }
    return (
        replace(
            series,
            **chosen,
            offsets=offsets,
            names=tuple(series.names[index] for index in kept) if series.names else (),
            static=None if series.static is None else series.static[kept],
            notes=(*series.notes, f"{note} {series.name(int(empty[0]))!r}."),
        ),
        last[kept] - series.offsets[kept] + offsets[:-1],
    )


def _extend_time(
    time: np.ndarray, source: np.ndarray, end: np.ndarray, lengths: np.ndarray, frequency: Frequency | None
) -> np.ndarray:
    """Timestamps of the rows ``source``; those after the row ``end`` of their series follow the frequency."""
    last = np.repeat(end, lengths)
    extended, added = time[np.minimum(source, last)], source > last
    if added.any():
        if frequency is None:
            raise InputError("the model was trained on series of one row each, whose frequency is unknown.")
        extended[added] = frequency.advance(time[last[added]], (source - last)[added])
    return extended


def _take(
    cells: np.ndarray | None, rows: np.ndarray, given: np.ndarray, names: Sequence[str], series: SeriesSet
) -> np.ndarray | None:
    """Rows of covariates (rows, columns), missing where not ``given``: NaN, or 0 for a category."""
    if cells is None:
        return None
    missing = np.array([0.0 if name in series.categories else np.nan for name in names], np.float32)
    return np.where(given[:, None], cells[rows], missing)


def fill_targets(series: SeriesSet, stop: np.ndarray, steps: int) -> SeriesSet:
    """Fill targets missing in the last ``steps`` rows before ``stop`` with the previous value, and note their number.

    For a model that was trained on complete series, and reads no mask.
    """
    assert series.observed is not None
    rows = np.arange(len(series.values))
    past = rows < np.repeat(stop, series.lengths)
    read = past & (rows >= np.repeat(stop - steps, series.lengths))
    holes = read[:, None] & ~series.observed
    if not holes.any():
        return series
    values = series.values.copy()
    for channel in np.flatnonzero(holes.any(axis=0)):
        seen = series.observed[:, channel]
        filled = within_series(VALUE.forward_fill().backward_fill(), values[:, channel], series.offsets, seen)
        values[holes[:, channel], channel] = filled[holes[:, channel]]
    note = (
        f"{series.source}: {int(holes.sum()):,} missing targets in the past of the forecasts are filled with the value"
        " before, because the model was trained on data without missing values."
    )
    return replace(series, values=values, observed=series.observed | holes, notes=(*series.notes, note))


def pad_rows(series: SeriesSet, least: int) -> SeriesSet:
    """Add rows behind the last series if there are fewer than ``least``, as windows are views of that many rows."""
    absent = least - len(series.values)
    if absent <= 0:
        return series
    arrays = {name: getattr(series, name) for name in ("values", "observed", "past_covariates", "known_covariates")}
    longer: dict[str, Any] = {
        name: np.concatenate([cells, np.zeros((absent, cells.shape[1]), cells.dtype)])
        for name, cells in arrays.items()
        if cells is not None
    }
    return replace(series, **longer)


def training_borders(series: SeriesSet, spans: Mapping[str, Span], test: SlidingIndex, spec: WindowSpec) -> Tensor:
    """Last row that each part of the training used, per series: (series, 3) int64.

    The times of the last row of training and validation, and of the first and the last target of the test windows;
    the numbers of these rows within the series if there are no times; NEVER for a series without any.
    """
    begin, counts = series.offsets[:-1], test.counts.numpy()
    ends = [np.where(spans[stage].lengths > 0, spans[stage].stop, begin) for stage in ("train", "validation")]
    first = test.first.numpy() + spec.past_steps
    rows = np.stack([np.maximum(*ends) - 1, first, first + counts + spec.horizon - 2], axis=1)
    exists = np.stack([rows[:, 0] >= begin, counts > 0, counts > 0], axis=1)
    times = rows - begin[:, None] if series.time is None else _as_numbers(series.time[np.where(exists, rows, 0)])
    return torch.from_numpy(np.where(exists, times, NEVER))


def _as_numbers(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[us]").astype(np.int64) if times.dtype.kind == "M" else times.astype(np.int64)


def _rows_up_to(series: SeriesSet, times: np.ndarray) -> np.ndarray:
    """First row of each series after a time, as in ``training_borders``, (series,) int64."""
    begin, lengths = series.offsets[:-1], series.lengths
    if series.time is None:
        return begin + np.clip(times + 1, 0, lengths)
    counts = [
        np.searchsorted(_as_numbers(series.time[start : start + length]), time, side="right")
        for start, length, time in zip(begin, lengths, times, strict=True)
    ]
    return begin + np.array(counts, np.int64)


def fold_ends(series: SeriesSet, start: np.ndarray, firsts: np.ndarray, steps: int) -> Iterator[np.ndarray]:
    """First row (series,) of each fold, ``steps`` apart, of the ``firsts[i]`` rows from ``start[i]`` on."""
    begin, end = series.offsets[:-1], series.offsets[1:]
    if series.time is None or counts_rows(series):
        for done in range(0, int(firsts.max()), steps):
            yield start + np.minimum(done, firsts)
    else:
        which = np.repeat(start - np.cumsum(firsts) + firsts, firsts) + np.arange(firsts.sum())
        for moment in np.unique(series.time[which])[::steps]:
            yield search_rows(series.time, begin, end, moment)


def rows_before(series: SeriesSet, end: np.ndarray, split: Split, fold: int) -> tuple[SeriesSet, int]:
    """The rows before ``end`` (series,) of each series, from where training with this split begins, to train on.

    With them comes the number of steps of the validation part of the split.
    """
    parts = split_spans(series, split, "time", fold)
    rows = Span(np.minimum(parts["train"].start, end), end)
    return cut_rows(series, rows), int(parts["validation"].lengths.max())


def parse_origin(text: str, series: SeriesSet) -> np.datetime64 | int:
    """The time that the user calls ``text``: a date or time in the zone of the series, or a whole number.

    Raises InputError for text that is neither.
    """
    if series.time is None:
        raise InputError(f"origin={text} needs data.time, and {series.source} was read without.")
    try:
        if series.time.dtype.kind != "M":
            return int(text)
        local = np.array([np.datetime64(text, "us")])
        return (local if series.zone in ("", "UTC") else local_to_utc(local, series.zone))[0]
    except ValueError:
        wanted = (
            "a date or time such as 2020-02-01 or 2020-02-01T12:00" if series.time.dtype.kind == "M" else "a number"
        )
        raise InputError(f"origin={text} is not a time of {series.source}, which must be {wanted}.") from None


def time_label(series: SeriesSet, row: int) -> str:
    """Local timestamp of a row for messages, or its number within the series."""
    if series.time is None:
        return f"step {row - int(series.offsets[np.searchsorted(series.offsets, row, side='right') - 1]) + 1:,}"
    return format_time(utc_to_local(series.time[row : row + 1], series.zone)[0])
