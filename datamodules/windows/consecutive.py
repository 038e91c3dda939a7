"""Consecutive windows for stateful models: lanes for training, blocks of consecutive origins for evaluation.

Carrying the state from one window to the next (truncated backpropagation through time) needs windows without overlap,
in the order of time, at a fixed place in each batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.series import Span
from datamodules.windows.loader import SeriesTensors, SlidingIndex, WindowIndex
from seqmodels.window import ConsecutiveWindows, Window

MAX_WARM_UP = 32  # windows that a state reads before the first origin of an evaluation


class LaneIndex(WindowIndex):
    """Consecutive training windows in parallel lanes: window ``k * lanes + i`` is the k-th of lane i.

    A lane is one row of all batches, through which one state runs. With fewer series than lanes, each series is cut
    into the same number of equal parts, enough for every lane to get one. The windows of all parts, in a row, are
    divided into ``lanes`` runs of equal length. The state is reset where a lane or a part begins.

    Source: Géron, "Hands-On Machine Learning", 2nd ed., chapter 16, on stateful RNNs.
    """

    def __init__(self, span: Span, past_steps: int, horizon: int, lanes: int):
        length = span.lengths
        series = np.flatnonzero(length)
        parts = -(-lanes // max(1, len(series)))
        step = length[series] // parts
        last = length[series] - (parts - 1) * step  # the last part takes the remainder
        counts = np.maximum(0, np.minimum(step, last - horizon) // past_steps)
        begin = (span.start[series][:, None] + step[:, None] * np.arange(parts)).ravel()
        counts = counts.repeat(parts)
        number_in_part = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
        self.length, self.lanes = past_steps + horizon, lanes
        self.rows = span.rows
        self.series = self._by_batch(series.repeat(parts).repeat(counts))
        self.first = self._by_batch(begin.repeat(counts) + past_steps * number_in_part)
        self.resets = self._by_batch(number_in_part == 0)
        self.resets[:lanes] = True

    def _by_batch(self, values: np.ndarray) -> Tensor:
        """Reorder the values of all windows in a row: the first window of each lane, the second of each lane, ..."""
        per_lane = len(values) // self.lanes
        return torch.from_numpy(values[: per_lane * self.lanes].reshape(self.lanes, per_lane).T.ravel().copy())

    def __len__(self) -> int:
        return len(self.first)

    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.series[indices], self.first[indices]

    def reset_mask(self, indices: Tensor) -> Tensor:
        return self.resets[indices]

    @property
    def unused_rows(self) -> int:
        """Number of training rows that are in no window."""
        if not len(self):
            return self.rows
        first = self.first.numpy()
        change = np.zeros(first.max() + self.length + 1, dtype=np.int64)
        change[first] += 1
        change[first + self.length] -= 1
        return self.rows - int((change.cumsum() > 0).sum())


class SeriesGroup(NamedTuple):
    """Series that are evaluated side by side; all have the same warm-up, hence the same number of steps."""

    series: Tensor  # (B,)
    origin: Tensor  # (B,) row of the first origin
    counts: Tensor  # (B,) origins
    warm_up: int  # windows to read up to and including the first origin
    origins_per_block: int


class ConsecutiveLoader:
    """All origins of a stage, each exactly once, in blocks of about ``batch_size`` that continue one another.

    Series run side by side. The first block of a series begins with a warm-up: the complete windows between row
    ``earliest`` (series,) and its first origin, at most 32.
    """

    batch_sampler = sampler = None  # Lightning asks for them

    def __init__(self, tensors: SeriesTensors, index: SlidingIndex, earliest: np.ndarray, batch_size: int):
        self.tensors, self.index, self.earliest = tensors, index, torch.from_numpy(earliest)
        counts, origin = index.counts, index.first + tensors.spec.past_steps - 1
        warm_up = self._warm_up(origin, self.earliest)
        self.groups = []
        for windows in warm_up[counts > 0].unique().tolist():
            chosen = torch.nonzero((counts > 0) & (warm_up == windows))[:, 0]
            chosen = chosen[counts[chosen].argsort(descending=True, stable=True)]  # similar lengths go together
            for series in chosen.split(batch_size):
                per_block = max(1, batch_size // len(series))
                self.groups.append(SeriesGroup(series, origin[series], counts[series], windows, per_block))

    def _warm_up(self, origin: Tensor, earliest: Tensor) -> Tensor:
        """Number of complete windows from row ``earliest`` to ``origin``, at least the window of the origin itself."""
        complete = torch.div(origin - earliest + 1, self.tensors.spec.past_steps, rounding_mode="floor")
        return complete.clamp(1, MAX_WARM_UP)

    def __len__(self) -> int:
        return sum(len(self._blocks(group)) for group in self.groups)

    @property
    def windows(self) -> int:
        """Number of origins, one for each window of the index."""
        return len(self.index)

    def __iter__(self) -> Iterator[ConsecutiveWindows]:
        for group in self.groups:
            for done in self._blocks(group):
                yield self._gather_block(group, done)

    def examples(self, indices: Tensor) -> Window:
        """Windows by index, for figures; their past is as many windows long as all of them have rows for."""
        series, start = self.index.locate(indices)
        steps = self.tensors.spec.past_steps
        origin = start + steps - 1
        past = steps * int(self._warm_up(origin, self.earliest[series]).min())
        rows = (origin - past + 1)[:, None] + torch.arange(past + self.tensors.spec.horizon)
        return self.tensors.gather_rows(rows, series)

    @staticmethod
    def _blocks(group: SeriesGroup) -> range:
        """Number of origins before each block."""
        return range(0, int(group.counts.max()), group.origins_per_block)

    def _gather_block(self, group: SeriesGroup, done: int) -> ConsecutiveWindows:
        """The block after the first ``done`` origins of each series."""
        steps, horizon = self.tensors.spec.past_steps, self.tensors.spec.horizon
        origins = min(group.origins_per_block, int(group.counts.max()) - done)
        before = (1 if done else group.warm_up) * steps - 1
        first = group.origin + done - before
        last = group.origin + group.counts - 1 + horizon
        rows = first[:, None] + torch.arange(before + origins + horizon)
        rows = rows.minimum(last[:, None]).to(self.tensors.device)
        window = self.tensors.gather_rows(rows, group.series, reset=torch.full((len(first),), done == 0))
        counted = done + torch.arange(origins) < group.counts[:, None]
        new = origins if done else before + origins
        origin = rows[:, before : before + origins]
        return ConsecutiveWindows(window.inputs, window.targets, new, counted.to(self.tensors.device), origin)
