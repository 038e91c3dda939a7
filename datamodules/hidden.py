"""Windows with hidden values, which a model estimates from the others, and the encoding of gaps in new rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.covariates.prepare import apply_preparation, build_transforms
from datamodules.encoder import RowEncoder, pad_rows
from datamodules.series import SeriesSet
from datamodules.windows.augment import Augmentation
from datamodules.windows.loader import SeriesTensors, WindowIndex, WindowLoader, number_rows
from seqmodels.window import Targets, Window, WindowSpec

MISSING, TRAIN, VALIDATION, TEST = range(4)  # roles of a value: not measured, or the part that it belongs to
ROLES = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
SEEN = {"train": (TRAIN,), "validation": (TRAIN,), "test": (TRAIN, VALIDATION), "fill": (TRAIN, VALIDATION, TEST)}
OVERLAP = 4  # windows of an evaluation that see a value
MOST_GAPS = 10_000  # of the table, that a pattern consists of


class Pattern(NamedTuple):
    """Shapes of gaps, one after the other: gap i is the cells ``offsets[i]:offsets[i + 1]``."""

    steps: np.ndarray  # (cells,) int64, from the beginning of the gap
    channels: np.ndarray  # (cells,) int64
    offsets: np.ndarray  # (gaps + 1,) int64
    lengths: np.ndarray  # (gaps,) int64, in steps

    @classmethod
    def of(cls, gaps: Sequence[np.ndarray]) -> "Pattern":
        """The pattern of gaps given by masks (length, C) bool."""
        cells = [np.nonzero(gap) for gap in gaps]
        steps, channels = (np.concatenate([one[axis] for one in cells]) for axis in (0, 1))
        sizes = np.array([len(one[0]) for one in cells])
        return cls(steps, channels, np.concatenate([[0], np.cumsum(sizes)]), np.array([len(gap) for gap in gaps]))

    def draw(self, random: np.random.Generator, shape: tuple[int, ...], share: np.ndarray) -> np.ndarray:
        """Mask of a ``shape`` (windows, steps, C): gaps at random places, about ``share`` (windows,) of each window."""
        windows, steps, channels = shape
        sizes = np.diff(self.offsets)
        counts = np.maximum(1, np.round(share * steps * channels / sizes.mean())).astype(np.int64)
        gap, window = random.integers(0, len(sizes), counts.sum()), np.repeat(np.arange(windows), counts)
        places = steps + np.minimum(self.lengths[gap], steps) - 1  # a gap may begin before the window or end after it
        start = (random.random(len(gap)) * places).astype(np.int64) - np.minimum(self.lengths[gap], steps) + 1
        within = np.arange(sizes[gap].sum()) - np.repeat(np.cumsum(sizes[gap]) - sizes[gap], sizes[gap])
        cell = np.repeat(self.offsets[gap], sizes[gap]) + within
        step = np.repeat(start, sizes[gap]) + self.steps[cell]
        mask, inside = np.zeros((windows, steps, channels), bool), (step >= 0) & (step < steps)
        mask[np.repeat(window, sizes[gap])[inside], step[inside], self.channels[cell][inside]] = True
        return mask


def find_gaps(observed: np.ndarray) -> list[np.ndarray]:
    """Masks (length, C) of the missing values in each run of rows (rows, C) with a missing value in any channel."""
    lacking = ~observed
    borders = np.flatnonzero(np.diff(np.concatenate([[False], lacking.any(axis=1), [False]]).astype(np.int8)))
    runs = borders.reshape(-1, 2)[:: max(1, len(borders) // 2 // MOST_GAPS)]
    return [lacking[start:stop] for start, stop in runs.tolist()]


class CoveringIndex(WindowIndex):
    """Windows of ``steps`` that cover each series, every ``stride`` rows and at its end.

    Short series are padded on the left. Each row is owned by the window that has it nearest to its middle. With
    ``wanted`` (rows,) bool, only windows that own a wanted row are kept.
    """

    def __init__(self, offsets: np.ndarray, steps: int, stride: int, stage: str, wanted: np.ndarray | None = None):
        self.stage, starts, owner, first = stage, [], [], []
        for number, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            if end > begin:
                here = np.append(np.arange(begin, end - steps, stride), end - steps)
                starts.append(here)
                owner.append(np.full(len(here), number))
                first.append(np.concatenate([[begin], (here[1:] + here[:-1] + steps + 1) // 2]))
        start, series, owned = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in (starts, owner, first))
        ends = np.append(owned[1:], offsets[-1])  # a series ends where the next one begins, or an empty one
        last = np.append(series[1:] != series[:-1], True)[: len(series)]
        ends[last] = offsets[series[last] + 1]
        if wanted is not None:
            count = np.concatenate([[0], np.cumsum(wanted)])
            kept = count[ends] > count[owned]
            start, series, owned, ends = start[kept], series[kept], owned[kept], ends[kept]
        self.start, self.series, self.owned, self.ends = map(torch.from_numpy, (start, series, owned, ends))
        self.begin = torch.from_numpy(offsets[:-1].astype(np.int64))
        self.padded = bool((self.begin[self.series] > self.start).any())

    def __len__(self) -> int:
        return len(self.start)

    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.series[indices], self.start[indices]

    def padding(self, series: Tensor, start: Tensor) -> Tensor | None:
        return (self.begin[series] - start).clamp(min=0) if self.padded else None

    def owns(self, indices: Tensor, steps: int) -> Tensor:
        """(B, steps) bool: True for the steps that a window owns."""
        rows = self.start[indices, None] + torch.arange(steps)
        return (rows >= self.owned[indices, None]) & (rows < self.ends[indices, None])


class HiddenTensors(SeriesTensors):
    """The gather of windows whose targets are their own hidden values.

    ``SeriesSet.observed`` holds the role of each value. Windows of training count all values that they see; the loader
    then hides a part of them.
    """

    def __init__(self, series: SeriesSet, spec: WindowSpec, *arguments: Any, **keywords: Any):
        super().__init__(series, spec._replace(horizon=0, levels=False), *arguments, **keywords)
        self.full, self.roles = spec, torch.from_numpy(np.array([0, *ROLES.values()]))
        if spec.levels:  # the mean of each series: the newest value may be hidden
            sums = np.add.reduceat(np.where(series.observed == TRAIN, series.values, 0), series.offsets[:-1], axis=0)
            count = np.add.reduceat(np.asarray(series.observed == TRAIN), series.offsets[:-1], axis=0)
            self.levels = torch.from_numpy(sums / np.maximum(1, count)).to(self.device)

    def gather(self, index: WindowIndex, indices: Tensor) -> Window:
        window = super().gather(index, indices)
        assert isinstance(index, CoveringIndex)
        roles = window.targets.observed
        seen = torch.isin(roles, torch.tensor(SEEN[index.stage], dtype=roles.dtype, device=roles.device))
        counted = roles == ROLES.get(index.stage, -1)
        if index.stage != "train":
            counted = counted & index.owns(indices, roles.shape[1]).to(roles.device)[..., None]
        return show(window, seen, counted)

    def _window(self, fields: list[Tensor | None], series: Tensor, origin: Tensor, reset: Tensor | None) -> Window:
        values, roles, *rest = fields
        assert values is not None and roles is not None
        batch, steps, channels = values.shape
        level = self.no_level.expand(batch, channels)
        if self.full.levels:
            level = self.levels[series]
            values = (values - level[:, None]).float()
        window = super()._window([values, roles > 0, *rest], series, origin, reset)
        nothing = torch.zeros(batch, 2 * steps, 0, device=values.device)
        inputs = window.inputs._replace(level=level, known_covariates=nothing)
        return window._replace(inputs=inputs, targets=Targets(values, roles))


def show(window: Window, seen: Tensor, counted: Tensor) -> Window:
    """The window with the values ``seen``, and targets that count where ``counted``: (B, T, C) bool each."""
    values = window.targets.target
    inputs = window.inputs._replace(past_target=values.masked_fill(~seen, 0), past_observed=seen)
    return window._replace(inputs=inputs, targets=Targets(values.masked_fill(~counted, 0), counted))


class Hiding(Augmentation):
    """Hides a random part of each training window: a pure function of seed, epoch and position."""

    def __init__(self, pattern: Pattern, share: float, seed: int):
        super().__init__(0, 0, 0, seed)
        self.pattern, self.share = pattern, share

    def __bool__(self) -> bool:
        return True

    def __call__(self, window: Window, missing: bool, epoch: int, position: int) -> Window:
        random = np.random.default_rng([self.seed, epoch, position])
        seen = window.targets.observed
        shares = random.uniform(0, 2 * self.share, len(seen))
        hidden = torch.from_numpy(self.pattern.draw(random, tuple(seen.shape), shares)).to(seen.device)
        return show(window, seen & ~hidden, seen & hidden)


class GapEncoder(RowEncoder):
    """Encodes rows of a table as windows that cover its gaps."""

    def windows(self, series: SeriesSet, batch_size: int = 1024) -> WindowLoader:
        """Windows that each own some missing values; all measured values are seen."""
        spec, observed = self.spec, observed_of(series)
        dtype = np.float64 if spec.levels else np.float32
        prepared = replace(series, values=series.values.astype(dtype, copy=False), observed=observed.astype(np.int8))
        prepared = apply_preparation(prepared, spec, self.means, self.indicators, build_transforms(**self.transforms))
        units, _ = self._seasonal_errors(replace(prepared, observed=observed), series.offsets[1:])
        index = CoveringIndex(
            series.offsets, spec.past_steps, max(1, spec.past_steps // OVERLAP), "fill", np.any(~observed, axis=1)
        )
        places, clock = torch.from_numpy(self._places(series)), number_rows(prepared, self.frequency)
        tensors = HiddenTensors(pad_rows(prepared, spec.past_steps), spec, units, clock, places)
        return WindowLoader(tensors, index, batch_size)


def observed_of(series: SeriesSet) -> np.ndarray:
    """(rows, C) bool, True where there is a value."""
    return np.ones(series.values.shape, bool) if series.observed is None else series.observed
