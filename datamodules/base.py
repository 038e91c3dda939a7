"""The DataModule: reads series, splits them, and hands out windows; it knows no model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import lightning.pytorch as pl
import torch

from datamodules.covariates.prepare import build_transforms, prepare_covariates
from datamodules.series import STAGES, SeriesSet
from datamodules.split import split_spans
from datamodules.statistics import check_winsorise, merge_ranges, winsorise_targets
from datamodules.windows.checks import (
    SHORT_SERIES_RULES,
    check_lengths,
    check_split_by,
    check_windows,
    drop_short_series,
    find_short_series,
    short_series_notes,
)
from datamodules.windows.consecutive import ConsecutiveLoader, LaneIndex
from datamodules.windows.loader import SeriesTensors, SlidingIndex, WindowLoader
from datamodules.windows.samplers import Sampler, TruncatedSampler, WeightedSampler, build_sampler, check_sampling
from datamodules.windows.spec import measure_spec, seasonal_units, sizes_differ
from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.window import Window

Loader = WindowLoader | ConsecutiveLoader


class WindowDataModule(pl.LightningDataModule, ABC):
    """Shuffled training windows, ordered validation and test windows, from whatever ``read`` returns.

    ``past_steps`` T, ``horizon`` H. ``split``: see ``datamodules.split``. ``context``: whether the past of an
    evaluation window may reach back over the border of its split ("across") or must lie within it ("inside").
    ``season``: seasonal period in steps, or "auto" for the usual one of the data's frequency.
    ``batch_size`` counts training windows per step; evaluation uses ``evaluation_batch_size``.
    ``shuffle``: training windows in a new order every epoch, else always in the order of time.
    ``fold``: 0 for the split as given, or how many test parts back in time; see ``datamodules.split``.

    ``short_series``: what becomes of a series that has fewer than T + H rows in the part where it begins, usually its
    training part. "pad": it gives windows from its second row on, of which at least one past step is there and those
    before its first row are neither observed nor anything but the mean of a covariate; an evaluation window reaches
    back as far as there are rows. "exclude": it gives none. "refuse": InputError.

    ``winsorise``: a share, such as 0.01: of each channel's training values that many at either end are pulled in to
    the value that limits them. All other rows, which forecasts are compared with, stay as measured.

    ``sampling``: an epoch holds every training window once ("window"), or windows drawn with replacement, from every
    series equally often ("series") or in proportion to its training rows ("length"). ``epoch_windows``: how many; null
    for as many as there are windows. With "window" these are the first of the new order.

    ``lanes``: None, or the number of lanes for training with a state: every batch has one window of each lane, which
    continues the window of the batch before, without overlap; see ``datamodules.windows.consecutive``. Batches are the
    same in every epoch whatever ``batch_size`` and ``shuffle``, and evaluation goes through each series in time order
    too. A run that is resumed within an epoch continues with the next windows, but from the initial state.

    ``calendar``, ``holidays``, ``lags``, ``rolling``: covariates that are made from the series, one value or several;
    see ``Calendar``, ``Holidays``, ``Lags`` and ``Rolling`` in ``datamodules.covariates``.
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
        batch_size: int = 32,
        evaluation_batch_size: int = 1024,
        shuffle: bool = True,
        lanes: int | None = None,
        short_series: str = "pad",
        winsorise: float | None = None,
        sampling: str = "window",
        epoch_windows: int | None = None,
        fold: int = 0,
        calendar: str | Sequence[str] = (),
        holidays: str | Sequence[str] | None = None,
        lags: int | Sequence[int] = (),
        rolling: str | Sequence[str] = (),
        seed: int = 0,
    ):
        super().__init__()
        require_at_least(1, "data", past_steps=past_steps, horizon=horizon)
        require_at_least(1, "data", batch_size=batch_size, evaluation_batch_size=evaluation_batch_size)
        require_at_least(0, "data", fold=fold)
        require_choice(("inside", "across"), "data", context=context)
        require_choice(SHORT_SERIES_RULES, "data", short_series=short_series)
        check_sampling(sampling, epoch_windows, shuffle, lanes)
        if winsorise is not None:
            check_winsorise(winsorise)
        if lanes is not None and lanes < 1:
            raise InputError(f"data.lanes is {lanes}; it must be null or at least 1.")
        if season != "auto" and not (isinstance(season, int) and season >= 1):
            raise InputError(f"data.season is {season!r}; it must be 'auto' or a number of steps of at least 1.")
        self.past_steps, self.horizon = self.extent = past_steps, horizon  # of a window
        self.split, self.split_by, self.context, self.season = tuple(split), split_by, context, season
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.shuffle, self.lanes, self.seed = shuffle, lanes, seed
        self.fold, self.winsorise = fold, winsorise
        self.short_series = "exclude" if short_series == "pad" and lanes is not None else short_series
        self.sampling, self.epoch_windows = sampling, epoch_windows
        self.covariate_transforms = build_transforms(calendar, holidays, lags, rolling)
        self.loaders: dict[str, Loader] = {}

    @abstractmethod
    def read(self) -> SeriesSet:
        """All series, in raw units."""

    def training_sampler(self, windows: int) -> Sampler:
        """Sampler of the training windows, each once per epoch; data read from a disk override it."""
        return build_sampler(windows, self.seed, self.shuffle)

    def setup(self, stage: str | None = None) -> None:
        """Read, split and index once; later calls only move the series to the trainer's device."""
        if not self.loaders:
            self.series = self.read()
            check_lengths(self.series, self.short_series, *self.extent)
            check_split_by(self.series, self.split_by)
            self._divide()
            self.indexes = {stage: self._index(stage) for stage in STAGES}
            excluding = self.short_series == "exclude" and self.lanes is None and bool(self.short.any())
            check_windows(self.series, self.split, self.spans, self.indexes, self.context, *self.extent, excluding)
            self._prepare()
            self.loaders = self._build_loaders()
            self._say_what_is_left_out()
        if stage == "fit":  # a second fit begins anew; a resumed one loads its position after this
            self.train_dataloader().load_state_dict({"epoch": 0, "position": 0})
        if self.trainer is not None:
            if self.lanes is not None and self.trainer.world_size > 1:
                raise InputError(
                    f"data.lanes is {self.lanes}; lanes carry a state in one process: set trainer.devices=1."
                )
            # Every process evaluates all windows, so that its figures are whole without asking the others.
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

    def state_dict(self) -> dict[str, int]:
        """Position in the order of training windows, which is a pure function of (seed, epoch)."""
        return self.train_dataloader().state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.train_dataloader().load_state_dict(state_dict)

    def examples(self, stage: str, count: int) -> Window:
        """``count`` windows spread evenly over a stage, always the same ones: for figures.

        With ``lanes``, their past is longer, so that a state has something to begin with.
        """
        loader = self.loaders[stage]
        numbers = torch.linspace(0, loader.windows - 1, min(count, loader.windows), dtype=torch.float64).round().long()
        return loader.examples(numbers)

    def _divide(self) -> None:
        """Find the rows of each stage, those of short series only where they are wanted."""
        spans = split_spans(self.series, self.split, self.split_by, self.fold, sum(self.extent))
        self.short = find_short_series(spans, sum(self.extent))
        self.spans = drop_short_series(self.series, spans, self.short, self.short_series, sum(self.extent), self.split)

    def _index(self, stage: str) -> SlidingIndex | LaneIndex:
        if stage == "train" and self.lanes is not None:
            return LaneIndex(self.spans["train"], *self.extent, self.lanes)
        context = "inside" if stage == "train" else self.context
        short = self.short if self.short_series == "pad" else None
        return SlidingIndex.from_span(self.series, *self.spans[stage], *self.extent, context, short)

    def _prepare(self) -> None:
        """Bring the series into the form that models get, and measure them, by the training rows alone."""
        train = self.spans["train"]
        if self.winsorise is not None:
            self.series = winsorise_targets(self.series, merge_ranges(train.start, train.stop), self.winsorise)
        prepared = prepare_covariates(self.series, train, self.horizon, self.covariate_transforms)
        self.series = prepared.series
        self.spec = measure_spec(prepared, train)._replace(
            past_steps=self.past_steps,
            horizon=self.horizon,
            season=self.series.season if self.season == "auto" else int(self.season),
            missing=self.series.missing > 0 or any(index.unpadded < len(index) for index in self.indexes.values()),
            stateful=self.lanes is not None,
        )
        self.units = seasonal_units(self.series, train, self.short, self.spec)
        trained = torch.from_numpy(train.stop > train.start)  # the others must not tell anything
        self.spec = self.spec._replace(sizes_differ=sizes_differ(self.units[trained]))

    def _build_loaders(self) -> dict[str, Loader]:
        tensors = SeriesTensors(self.series, self.spec, self.units)
        loaders: dict[str, Loader] = {"train": self._training_loader(tensors)}
        for stage in STAGES[1:]:
            index, size = self.indexes[stage], self.evaluation_batch_size
            begin = self.spans[stage].start if self.context == "inside" else self.series.offsets[:-1]
            if self.lanes is None:
                loaders[stage] = WindowLoader(tensors, index, size)
            else:
                assert isinstance(index, SlidingIndex)
                loaders[stage] = ConsecutiveLoader(tensors, index, begin, size)
        return loaders

    def _training_loader(self, tensors: SeriesTensors) -> WindowLoader:
        index = self.indexes["train"]
        if isinstance(index, LaneIndex):
            return WindowLoader(tensors, index, index.lanes)
        if self.sampling == "window":
            sampler = self.training_sampler(len(index))
            if self.epoch_windows is not None:
                sampler = TruncatedSampler(sampler, self.epoch_windows)
        else:
            rows = self.spans["train"].lengths if self.sampling == "length" else None
            sampler = WeightedSampler(index.counts.numpy(), rows, self.epoch_windows or len(index), self.seed)
        return WindowLoader(tensors, index, self.batch_size, sampler)

    def _say_what_is_left_out(self) -> None:
        index = self.indexes["train"]
        notes = short_series_notes(self.short_series, self.short, self.indexes, sum(self.extent), self.split_by)
        if isinstance(index, LaneIndex) and index.unused_rows:
            notes.append(
                f"{index.unused_rows:,} of {index.rows:,} training rows fill no window of a lane and are left out"
            )
        self.series = replace(self.series, notes=(*self.series.notes, *notes))

    def _set_device(self, device: torch.device) -> None:
        tensors = self.loaders["train"].tensors
        if tensors.device != device:
            moved = SeriesTensors(self.series, self.spec, tensors.seasonal_error, device)
            for loader in self.loaders.values():
                loader.tensors = moved
