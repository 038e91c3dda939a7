"""The DataModule: reads series, splits them, and hands out windows; it knows no model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from datamodules.lanes import LaneIndex, StretchLoader
from datamodules.series import SeriesSet
from datamodules.split import STAGES, split_spans
from datamodules.statistics import joined, seasonal_errors, statistics
from datamodules.windows import Index, WindowIndex, WindowLoader, WindowStore
from seqmodels.errors import InputError
from seqmodels.window import Window, WindowSpec

Loader = WindowLoader | StretchLoader


class WindowDataModule(pl.LightningDataModule, ABC):
    """Shuffled training windows, ordered validation and test windows, from whatever ``read`` returns.

    ``past_steps`` T, ``horizon`` H. ``split``: see ``datamodules.split``. ``context``: whether the past of an
    evaluation window may reach back over the border of its split ("across") or must lie within it ("inside").
    ``season``: seasonal period in steps, or "auto" for the usual one of the data's frequency.
    ``batch_size`` counts training windows per step; evaluation uses ``evaluation_batch_size``.
    ``shuffle``: training windows in a new order every epoch, else always in the order of time.

    ``lanes``: None, or in how many lanes training windows of T steps follow one another without overlap, so that a
    model can carry its state from batch to batch; see ``datamodules.lanes``. Then a batch is one window of each lane,
    the same in every epoch, whatever ``batch_size`` and ``shuffle`` are, and evaluation too goes through each series
    in the order of time. A run that is resumed amid an epoch goes on with the right windows from a fresh state.
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
        seed: int = 0,
    ):
        super().__init__()
        for name, value in {"past_steps": past_steps, "horizon": horizon, "batch_size": batch_size,
                            "evaluation_batch_size": evaluation_batch_size}.items():  # fmt: skip
            if value < 1:
                raise InputError(f"data.{name} is {value}; it must be at least 1.")
        if lanes is not None and lanes < 1:
            raise InputError(f"data.lanes is {lanes}; it must be null or at least 1.")
        if context not in ("inside", "across"):
            raise InputError(f"data.context is {context!r}; it must be 'inside' or 'across'.")
        if season != "auto" and not (isinstance(season, int) and season >= 1):
            raise InputError(f"data.season is {season!r}; it must be 'auto' or a number of steps of at least 1.")
        self.past_steps, self.horizon = past_steps, horizon
        self.split, self.split_by, self.context, self.season = tuple(split), split_by, context, season
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.shuffle, self.lanes, self.seed = shuffle, lanes, seed
        self.loaders: dict[str, Loader] = {}

    @abstractmethod
    def read(self) -> SeriesSet:
        """All series, in raw units."""

    def setup(self, stage: str | None = None) -> None:
        """Read, split and index once; later calls only move the series to the trainer's device."""
        if not self.loaders:
            self.series = self.read()
            self._check_lengths()
            self.spans = split_spans(self.series, self.split, self.split_by)
            self.spec = self._spec()
            self.loaders = self._loaders()
            self._check_windows()
            self._say_what_is_left_out()
        if stage == "fit":  # a second fit begins anew; a resumed one loads its position after this
            self.train_dataloader().load_state_dict({"epoch": 0, "position": 0})
        if self.trainer is not None:
            self._move(self.trainer.strategy.root_device)

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
        numbers = torch.linspace(0, loader.windows - 1, min(count, loader.windows)).round().long()
        return loader.examples(numbers)

    def _check_lengths(self) -> None:
        lengths, needed = self.series.lengths, self.past_steps + self.horizon
        if len(lengths) == 0 or lengths.sum() == 0:
            raise InputError(
                f"{self.series.source}: there are no rows; at least one series of {needed} steps is needed."
            )
        shortest = int(lengths.argmin())
        if lengths[shortest] < needed:
            raise InputError(
                f"{self.series.source}: {self.series.name(shortest)} has {lengths[shortest]:,} steps, but one window"
                f" needs {needed:,} (data.past_steps={self.past_steps} + data.horizon={self.horizon})."
            )

    def _loaders(self) -> dict[str, Loader]:
        store = WindowStore(self.series, self.spec, self._seasonal_error())
        loaders: dict[str, Loader] = {"train": self._training_loader(store)}
        for stage in STAGES[1:]:
            index, size = self._index(stage, self.context), self.evaluation_batch_size
            begin = self.spans[stage].start if self.context == "inside" else self.series.offsets[:-1]
            lanes = self.lanes is not None
            loaders[stage] = StretchLoader(store, index, begin, size) if lanes else WindowLoader(store, index, size)
        return loaders

    def _training_loader(self, store: WindowStore) -> WindowLoader:
        if self.lanes is None:
            return WindowLoader(store, self._index("train", "inside"), self.batch_size, self.shuffle, self.seed)
        index: Index = LaneIndex(self.spans["train"], self.past_steps, self.horizon, self.lanes)
        return WindowLoader(store, index, self.lanes)

    def _index(self, stage: str, context: str) -> WindowIndex:
        return WindowIndex.of_spans(self.series, *self.spans[stage], self.past_steps, self.horizon, context)

    def _check_windows(self) -> None:
        """Training and validation need a window; the test part too, unless it was given no rows."""
        if self.lanes is not None and self.loaders["train"].windows == 0:
            raise InputError(
                f"{self.series.source}: data.lanes is {self.lanes}, and the {self.spans['train'].rows:,} rows of the"
                f" train part of data.split={list(self.split)} do not hold a window for each lane"
                f" (data.past_steps={self.past_steps} + data.horizon={self.horizon} steps); set fewer."
            )
        for stage in STAGES:
            rows = self.spans[stage].rows
            if self.loaders[stage].windows == 0 and (stage != "test" or rows > 0):
                inside = stage == "train" or self.context == "inside"
                needed = self.past_steps + self.horizon if inside else self.horizon
                hint = "" if stage == "train" or self.context == "across" else ", or data.context=across"
                raise InputError(
                    f"{self.series.source}: the {stage} part of data.split={list(self.split)} has {rows:,} rows and no"
                    f" window; a series needs at least {needed:,} of them there (set data.past_steps, data.horizon or"
                    f" data.split{hint})."
                )

    def _say_what_is_left_out(self) -> None:
        index = self.train_dataloader().index
        if isinstance(index, LaneIndex) and index.left_out:
            note = f"{index.left_out:,} of {index.rows:,} training rows fill no window of a lane and are left out"
            self.series = replace(self.series, notes=(*self.series.notes, note))

    def _move(self, device: torch.device) -> None:
        store = self.loaders["train"].store
        if store.device != device:
            moved = WindowStore(self.series, self.spec, store.seasonal_error, device)
            for loader in self.loaders.values():
                loader.store = moved

    def _spec(self) -> WindowSpec:
        series, train = self.series, self.spans["train"]
        rows = joined(train.start, train.stop)
        return WindowSpec(
            past_steps=self.past_steps,
            horizon=self.horizon,
            channels=series.channels,
            past_covariates=series.past_covariate_names,
            known_covariates=series.known_covariate_names,
            series=len(series),
            season=self.series.season if self.season == "auto" else int(self.season),
            missing=series.missing > 0,
            stateful=self.lanes is not None,
            target_statistics=statistics(series.values, rows, series.observed),
            past_statistics=statistics(series.past_covariates, rows),
            known_statistics=statistics(series.known_covariates, rows),
        )

    def _seasonal_error(self) -> Tensor:
        """(series, C) mean |y(t) - y(t - season)| over the training span of each series.

        A series outside the training span uses the history before its first target. Where this is 0 or cannot be
        computed, the training deviation of the channel stands in, so that the unit is never 0.
        """
        begin = self.series.offsets[:-1]
        stop = np.where(self.spans["train"].stop > begin, self.spans["train"].stop, begin + self.past_steps)
        start = np.where(self.spans["train"].stop > begin, self.spans["train"].start, begin)
        return seasonal_errors(self.series, start, stop, self.spec.season, self.spec.target_statistics.deviation)
