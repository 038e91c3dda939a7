"""Base of all DataModules: from series, with their covariates, to batches of windows."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.prepare import build_transforms, prepare_covariates
from datamodules.encoder import RowEncoder, training_borders
from datamodules.precision import choose_precision
from datamodules.series import STAGES, SeriesSet, Span, training_frequency
from datamodules.split import Overlap, are_fractions, find_overlap, share_clock, split_spans
from datamodules.statistics import check_winsorise, merge_ranges, seasonal_errors, winsorise_targets
from datamodules.timezones import format_time
from datamodules.windows.augment import Augmentation, check_augmentation, choose_jitter
from datamodules.windows.checks import (
    SHORT_SERIES_RULES,
    check_lengths,
    check_observed,
    check_split_by,
    check_windows,
    common_times_note,
    drop_short_series,
    find_short_series,
    short_series_notes,
)
from datamodules.windows.consecutive import ConsecutiveLoader, LaneIndex
from datamodules.windows.loader import SeriesTensors, SlidingIndex, WindowLoader, number_rows, whole_rows
from datamodules.windows.samplers import Sampler, TruncatedSampler, WeightedSampler, build_sampler, check_sampling
from datamodules.windows.spec import (
    find_history,
    find_nonnegative,
    measure_naive_errors,
    measure_seasonal_errors,
    measure_spec,
    sizes_differ,
)
from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.window import Rows, Window, WindowSpec

VALUES_PER_BATCH = 2**21  # of a sample
Loader = WindowLoader | ConsecutiveLoader
SMALLEST_BATCH, LARGEST_BATCH, BATCHES = 32, 256, 32


def choose_batch_size(windows: int) -> int:
    """The largest power of two, from SMALLEST_BATCH to LARGEST_BATCH, with at least BATCHES batches of all windows."""
    largest = min(LARGEST_BATCH, windows // BATCHES)
    return max(SMALLEST_BATCH, 1 << max(0, largest.bit_length() - 1))


class WindowDataModule(pl.LightningDataModule, ABC):
    """DataModule of windows: a subclass reads the series; ``setup`` splits and prepares them and indexes the windows.

    Everything estimated from data, such as means, categories and seasonal errors, comes from the training rows.

    Windows: ``past_steps`` T and ``horizon`` H are the steps of the past and of the future of a window. With
    ``context="across"`` the past of an evaluation window may reach into the part before its own, with "inside" not.
    ``season`` is the seasonal period in steps, or "auto" for the usual one of the frequency.

    Parts: ``split``, ``split_by`` and ``fold`` are explained in ``datamodules.split.split_spans``.

    Batches: training batches have ``batch_size`` windows, or as many as suit their number if "auto" (see
    ``choose_batch_size``), evaluation batches ``evaluation_batch_size``. ``shuffle``
    draws a new order of the training windows, from ``seed``, in every epoch; otherwise they come in time order.
    ``sampling``: "window" takes every training window once per epoch; "series" and "length" draw windows with
    replacement, from all series equally often or in proportion to their training rows. ``epoch_windows`` is the number
    of windows per epoch, None for all there are; with "window" these are the first ones of the order. ``half_life``:
    None, or the number of steps after which a training window is drawn half as often as the newest one, with
    replacement. ``mask``, ``jitter``, ``mix``: see ``datamodules.windows.augment.Augmentation``; ``jitter="auto"``:
    see ``choose_jitter`` there, 0 with ``lanes``.

    ``lanes``: None, or the number of lanes for training with a state: every batch has one window of each lane, which
    continues the window of the batch before, without overlap; see ``datamodules.windows.consecutive``. Batches are the
    same in every epoch for any ``batch_size`` and ``shuffle``, and evaluation goes through each series in time order
    too.

    ``short_series``: rule for a series with fewer than T + H rows in its first part, usually the training part. "pad"
    takes windows from its second row on, with at least one past step; the missing steps before them are unobserved, and
    their covariates have the training mean. "exclude" takes no windows from it. "refuse" raises InputError.

    ``winsorise``: None, or a share such as 0.01: the training targets of each channel are clipped to these quantiles at
    both ends. All other rows stay as measured, because forecasts are compared with them.

    ``calendar``, ``holidays``, ``lags``, ``rolling``: covariates to compute from the series, one value or several; see
    ``Calendar``, ``Holidays``, ``Lags`` and ``Rolling`` in ``datamodules.covariates``.
    """

    def __init__(
        self,
        *,
        past_steps: int,
        horizon: int,
        split: Sequence[int | float | str] = (0.7, 0.15, 0.15),
        split_by: str = "time",
        context: str = "across",
        season: int | str = "auto",
        batch_size: int | Literal["auto"] = 32,
        evaluation_batch_size: int = 1024,
        shuffle: bool = True,
        lanes: int | None = None,
        short_series: str = "pad",
        winsorise: float | None = None,
        sampling: str = "window",
        epoch_windows: int | None = None,
        half_life: float | None = None,
        mask: float = 0.0,
        jitter: float | Literal["auto"] = 0.0,
        mix: float = 0.0,
        fold: int = 0,
        calendar: str | Sequence[str] = (),
        holidays: str | Sequence[str] | None = None,
        lags: int | Sequence[int] = (),
        rolling: str | Sequence[str] = (),
        seed: int = 0,
    ):
        super().__init__()
        require_at_least(1, "data", past_steps=past_steps, horizon=horizon)
        require_at_least(1, "data", evaluation_batch_size=evaluation_batch_size)
        if batch_size != "auto":
            require_at_least(1, "data", batch_size=batch_size)
        require_at_least(0, "data", fold=fold)
        require_choice(("inside", "across"), "data", context=context)
        require_choice(SHORT_SERIES_RULES, "data", short_series=short_series)
        check_sampling(sampling, epoch_windows, half_life, shuffle, lanes)
        if winsorise is not None:
            check_winsorise(winsorise)
        if lanes is not None and lanes < 1:
            raise InputError(f"data.lanes is {lanes}; it must be null or at least 1.")
        if season != "auto" and not (isinstance(season, int) and season >= 1):
            raise InputError(f"data.season is {season!r}; it must be 'auto' or a number of steps of at least 1.")
        self.past_steps, self.horizon, self.window_steps = past_steps, horizon, past_steps + horizon
        self.split, self.split_by, self.context, self.season = tuple(split), split_by, context, season
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.shuffle, self.lanes, self.seed = shuffle, lanes, seed
        self.fold, self.winsorise = fold, winsorise
        self.short_series = "exclude" if short_series == "pad" and lanes is not None else short_series
        self.sampling, self.epoch_windows, self.half_life = sampling, epoch_windows, half_life
        self.jitter = jitter if lanes is None or jitter != "auto" else 0.0
        self.augmentation = Augmentation(mask, 0.0 if self.jitter == "auto" else self.jitter, mix, seed)
        check_augmentation(self.augmentation, lanes)
        self.transforms = {"calendar": calendar, "holidays": holidays, "lags": lags, "rolling": rolling}
        self.covariate_transforms = build_transforms(**self.transforms)
        self.loaders: dict[str, Loader] = {}

    tensors: Any = SeriesTensors  # class that gathers windows, built from series, spec, seasonal errors and device
    path: Any = None  # file, files or data frame that the series are read from
    columns: Mapping[str, Any] | None = None  # arguments of ``read_table``, for series that are read from a table

    @abstractmethod
    def read(self) -> SeriesSet:
        """Read all series, with the covariates of the source."""

    def training_sampler(self, windows: int) -> Sampler:
        """Sampler of the training windows, each once per epoch; data modules of data on a disk override it."""
        return build_sampler(windows, self.seed, self.shuffle)

    def setup(self, stage: str | None = None) -> None:
        """Build the loaders on the first call; on every call, rewind them for "fit" and move them to the device."""
        if not self.loaders:
            self.source_series = self.series = choose_precision(self.read())
            self.frequency = training_frequency(self.series)
            self.spans, self.short = self._split_series()
            self.indexes = self._index_windows()
            self.series, self.spec, units = self._prepare_series()
            self.loaders = self._build_loaders(self._build_tensors(units))
        if stage == "fit":  # a second fit starts again; a resumed one loads its position after this
            self.train_dataloader().load_state_dict({"epoch": 0, "position": 0})
        if self.trainer is not None:
            if self.lanes is not None and self.trainer.world_size > 1:
                raise InputError(
                    f"data.lanes is {self.lanes}; lanes carry a state in one process: set trainer.devices=1."
                )
            # Only training is distributed: every process evaluates all windows, which needs no communication.
            self.train_dataloader().sampler.set_rank(self.trainer.global_rank, self.trainer.world_size)
            self._set_device(self.trainer.strategy.root_device)

    def train_dataloader(self) -> WindowLoader:
        loader = self.loaders["train"]
        assert isinstance(loader, WindowLoader)
        return loader

    def val_dataloader(self) -> Loader:
        return self.loaders["validation"]

    def test_dataloader(self) -> Loader:
        return self.loaders["test"]

    @property
    def windows(self) -> dict[str, int]:
        """Number of windows per stage."""
        return {stage: loader.windows for stage, loader in self.loaders.items()}

    def find_overlap(self) -> Overlap | None:
        """Overlap in time of the parts, else None."""
        return find_overlap(self.series, self.spans, self.split_by)

    def fingerprint(self) -> dict[str, Any]:
        """Columns, numbers, first and last time and a hash of the data, as primitives, to compare with other data."""
        series = self.series
        names = (series.channels, series.past_covariate_names, series.known_covariate_names, series.static_names)
        start, stop = series.offsets[:-1], series.offsets[1:]
        time = None if series.time is None else [series.time[start].min(), series.time[stop - 1].max()]
        return {
            "columns": [name for group in names for name in group],
            "series": len(series),
            "rows": len(series.values),
            "times": None if time is None else [format_time(one) for one in time],
            "content": self.hash_content(),
        }

    def hash_content(self) -> str:
        """Hash of all numbers, times and series ids."""
        series = self.series
        arrays = (series.offsets, series.values, series.observed, series.time, series.past_covariates,
                  series.known_covariates, series.static, series.labels)  # fmt: skip
        found = hashlib.blake2b("\0".join(series.names).encode(), digest_size=8)
        for array in arrays:
            found.update(b"" if array is None else np.ascontiguousarray(array).view(np.uint8).data)
        return found.hexdigest()

    def state_dict(self) -> dict[str, int]:
        """Epoch and position of the training windows, whose order depends on nothing but the seed and the epoch."""
        return self.train_dataloader().state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.train_dataloader().load_state_dict(state_dict)

    def encoder(self) -> RowEncoder:
        """Encoder of other rows for the trained model, which a checkpoint keeps; after ``setup``."""
        single = isinstance(self.path, (str, PathLike))
        test = self.indexes["test"]
        assert isinstance(test, SlidingIndex)
        several = isinstance(self.path, (list, tuple))
        return RowEncoder(
            spec=self.spec,
            columns=self.columns,
            path=str(self.path) if single else [str(one) for one in self.path] if several else None,
            transforms=self.transforms,
            means=self.means,
            indicators=self.indicators,
            frequency=self.frequency,
            names=self.series.names,
            units=self.loaders["train"].tensors.seasonal_error.cpu(),
            denominators=self.denominators["test"],
            borders=training_borders(self.series, self.spans, test, self.spec),
        )

    def examples(self, stage: str, count: int) -> Window:
        """``count`` windows spread evenly over a stage, for figures: always the same ones.

        With ``lanes``, their past is longer, so that a state can warm up.
        """
        loader = self.loaders[stage]
        indices = torch.linspace(0, loader.windows - 1, min(count, loader.windows), dtype=torch.float64).round().long()
        return loader.examples(indices)

    def sample(self, stage: str, most: int) -> Iterator[Window]:
        """At most ``most`` windows spread evenly over a stage, in batches: always the same ones, each by itself."""
        index, tensors = self.indexes[stage], self.loaders[stage].tensors
        if not len(index):
            return
        indices = torch.linspace(0, len(index) - 1, min(most, len(index)), dtype=torch.float64).round().long()
        size = max(1, min(self.evaluation_batch_size, VALUES_PER_BATCH // tensors.values_per_window))
        for part in indices.split(size):
            yield tensors.gather(index, part)

    def rows(self) -> Rows:
        """All rows, fitted to those of training; to those before the first window where a series has none."""
        train, begin = self.spans["train"], self.series.offsets[:-1]
        empty = train.lengths == 0
        start = np.where(empty, begin, train.start)
        stop = np.where(empty, np.minimum(begin + self.past_steps, self.series.offsets[1:]), train.stop)
        return whole_rows(self.series, Span(start, stop), np.arange(len(self.series)))

    def has_mase(self, stage: str) -> bool:
        """True if any series with windows of a stage has a seasonal error, the unit of MASE."""
        return bool((self.denominators[stage][torch.from_numpy(self._have_windows(stage))] > 0).any())

    def _have_windows(self, *stages: str) -> np.ndarray:
        """True for each series with a window in any of the evaluation ``stages``: (series,)."""
        indexes = [self.indexes[stage] for stage in stages]
        return np.any([index.counts.numpy() > 0 for index in indexes if isinstance(index, SlidingIndex)], axis=0)

    def _split_series(self) -> tuple[dict[str, Span], np.ndarray]:
        """Span of each stage, and which series are short, (series,) bool."""
        check_lengths(self.series, self.short_series, self.past_steps, self.horizon)
        check_split_by(self.series, self.split_by)
        spans = split_spans(self.series, self.split, self.split_by, self.fold, self.window_steps)
        short = find_short_series(spans, self.window_steps)
        return drop_short_series(self.series, spans, short, self.short_series, self.window_steps, self.split), short

    def _index_windows(self) -> dict[str, SlidingIndex | LaneIndex]:
        indexes = {stage: self._build_index(stage) for stage in STAGES}
        excluding = self.short_series == "exclude" and self.lanes is None and bool(self.short.any())
        steps = self.past_steps, self.horizon
        check_windows(self.series, self.split, self.spans, indexes, self.context, *steps, excluding)
        return indexes

    def _build_index(self, stage: str) -> SlidingIndex | LaneIndex:
        if stage == "train" and self.lanes is not None:
            return LaneIndex(self.spans["train"], self.past_steps, self.horizon, self.lanes)
        context = "inside" if stage == "train" else self.context
        short = self.short if self.short_series == "pad" else None
        return SlidingIndex.from_span(self.series, *self.spans[stage], self.past_steps, self.horizon, context, short)

    def _prepare_series(self) -> tuple[SeriesSet, WindowSpec, Tensor]:
        """Series as models get them, their window spec, and ``Inputs.seasonal_error``; measures ``denominators``."""
        series, train = self.series, self.spans["train"]
        if self.winsorise is not None:
            series = winsorise_targets(series, merge_ranges(train.start, train.stop), self.winsorise)
        prepared = prepare_covariates(series, train, self.horizon, self.covariate_transforms)
        self.means, self.indicators = prepared.means, prepared.indicators
        series = prepared.series
        spec = measure_spec(prepared, train)._replace(
            past_steps=self.past_steps,
            horizon=self.horizon,
            season=series.season if self.season == "auto" else int(self.season),
            missing=series.missing > 0 or any(index.unpadded < len(index) for index in self.indexes.values()),
            stateful=self.lanes is not None,
            levels=series.values.dtype == np.float64,
            clock=self.frequency is not None,
            nonnegative=find_nonnegative(series, merge_ranges(train.start, train.stop)),
        )
        naive = measure_naive_errors(series, train, spec)
        spec = spec._replace(season_error=naive.season, mean_error=naive.mean)
        errors = measure_seasonal_errors(series, train, self.short, spec)
        self.denominators = {stage: errors.denominators for stage in STAGES}
        self.denominators["test"] = self.scale_of_test(series, spec.season)
        where = "in the training part" if self.split_by == "time" else "before the first target"
        lacking = ~np.isfinite(self.denominators["test"].numpy()).all(axis=1)
        measured = self._have_windows("validation") | (self._have_windows("test") & lacking)
        undefined = errors.notes(series, measured, spec.season, where)
        series = replace(series, notes=(*series.notes, *self._notes(), *undefined))
        trained = torch.from_numpy(train.stop > train.start)
        return series, spec._replace(sizes_differ=sizes_differ(errors.units[trained])), errors.units

    def scale_of_test(self, series: SeriesSet, season: int, power: int = 1) -> Tensor:
        """Mean |y(t) - y(t - season)| ** power of all rows before the test part, (series, C) float64; NaN if undefined.

        Where the split is by series, and in a series without rows before its test part, of those before the first
        target.
        """
        train, test = self.spans["train"], self.spans["test"]
        start, stop = find_history(series, train, self.short, self.past_steps)
        if self.split_by == "time":
            first = np.where(train.lengths > 0, train.start, series.offsets[:-1])
            earlier = (test.lengths > 0) & (test.start > first)
            start, stop = np.where(earlier, first, start), np.where(earlier, test.start, stop)
        errors = seasonal_errors(series, start, stop, season, power)
        return torch.from_numpy(np.where(errors > 0, errors, np.nan))

    def _notes(self) -> list[str]:
        """Notes on borders at common times, and on training rows that no window uses."""
        index = self.indexes["train"]
        notes = check_observed(self.series, self.split, self.spans)
        if self.split_by == "time" and are_fractions(self.split) and share_clock(self.series):
            notes.append(common_times_note(self.spans, self.split))
        notes += short_series_notes(self.short_series, self.short, self.indexes, self.window_steps, self.split_by)
        if isinstance(index, LaneIndex) and index.unused_rows:
            rows = f"{index.unused_rows:,} of {index.rows:,} training rows"
            notes.append(f"{rows} fill no window of a lane and are left out")
        return notes

    def _build_tensors(self, seasonal_error: Tensor) -> SeriesTensors:
        return self.tensors(self._gathered(), self.spec, seasonal_error, number_rows(self.series, self.frequency))

    def _gathered(self) -> SeriesSet:
        """The series whose values windows hold."""
        return self.series

    def _build_loaders(self, tensors: SeriesTensors) -> dict[str, Loader]:
        loaders: dict[str, Loader] = {"train": self._build_training_loader(tensors)}
        for stage in STAGES[1:]:
            index, size = self.indexes[stage], self.evaluation_batch_size
            if self.lanes is None:
                loaders[stage] = WindowLoader(tensors, index, size)
            else:
                assert isinstance(index, SlidingIndex)
                earliest = self.spans[stage].start if self.context == "inside" else self.series.offsets[:-1]
                loaders[stage] = ConsecutiveLoader(tensors, index, earliest, size)
        return loaders

    def _build_training_loader(self, tensors: SeriesTensors) -> WindowLoader:
        index = self.indexes["train"]
        if isinstance(index, LaneIndex):
            return WindowLoader(tensors, index, index.lanes)
        if self.sampling == "window" and self.half_life is None:
            sampler = self.training_sampler(len(index))
            if self.epoch_windows is not None:
                sampler = TruncatedSampler(sampler, self.epoch_windows)
        else:
            counts = index.counts.numpy()
            weights = {"series": None, "length": self.spans["train"].lengths, "window": counts}[self.sampling]
            length = self.epoch_windows or len(index)
            sampler = WeightedSampler(counts, weights, length, self.seed, self.half_life)
        if self.jitter == "auto":
            self.augmentation.jitter = choose_jitter(self.spec.season_error)
        size = choose_batch_size(len(index)) if self.batch_size == "auto" else self.batch_size
        return WindowLoader(tensors, index, size, sampler, self.augmentation)

    def cut_epochs(self, windows: int) -> None:
        """Shorten epochs to ``windows`` random windows, so that validations are not too far apart."""
        self.epoch_windows = windows
        self.loaders["train"] = self._build_training_loader(self.loaders["train"].tensors)

    def _set_device(self, device: torch.device) -> None:
        tensors = self.loaders["train"].tensors
        if tensors.device != device:
            moved = self.tensors(self._gathered(), self.spec, tensors.seasonal_error, tensors.clock, device=device)
            for loader in self.loaders.values():
                loader.tensors = moved
