"""Windows that continue one another, for models that carry a state: lanes to train on, stretches to evaluate on.

It knows rows of series and nothing of models. A state carries what a model has read from one window to the next one
(truncated backpropagation through time), which needs windows without overlap, in the order of time, at a fixed place
in each batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.series import Span
from datamodules.windows.loader import WindowIndex, WindowStore
from seqmodels.window import ConsecutiveWindows, Window

LONGEST_WARM_UP = 32  # windows read before the first origin of an evaluation


class LaneIndex:
    """Training windows one after the other, in ``lanes`` lanes: number k lanes + i is window k of lane i.

    A series is cut into as many equal parts as it takes to have one for each lane: a single one into ``lanes`` parts;
    where there are at least as many series as lanes, they stay whole. The windows of all parts, in a row, are cut into
    ``lanes`` runs of the same number of windows. A window is reset where a lane or another part begins.

    Source: Géron, "Hands-On Machine Learning", 2nd ed., chapter 16, on stateful RNNs.
    """

    def __init__(self, span: Span, past_steps: int, horizon: int, lanes: int):
        length = span.stop - span.start
        series = np.flatnonzero(length)
        parts = -(-lanes // max(1, len(series)))
        step = length[series] // parts
        last = length[series] - (parts - 1) * step  # the last part has what the division leaves
        counts = np.maximum(0, np.minimum(step, last - horizon) // past_steps)
        begin = (span.start[series][:, None] + step[:, None] * np.arange(parts)).ravel()
        counts = counts.repeat(parts)
        within = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
        self.length, self.lanes = past_steps + horizon, lanes
        self.rows = int(length.sum())
        self.series = self._by_batch(series.repeat(parts).repeat(counts), lanes)
        self.first = self._by_batch(begin.repeat(counts) + past_steps * within, lanes)
        self.begins = self._by_batch(within == 0, lanes)
        self.begins[:lanes] = True

    @staticmethod
    def _by_batch(values: np.ndarray, lanes: int) -> Tensor:
        """All windows in a row -> the first of each lane, the second of each lane, ..."""
        each = len(values) // lanes
        return torch.from_numpy(values[: each * lanes].reshape(lanes, each).T.ravel().copy())

    def __len__(self) -> int:
        return len(self.first)

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Window numbers (B,) -> index of the series (B,), row of the first past step (B,)."""
        return self.series[numbers], self.first[numbers]

    def reset(self, numbers: Tensor) -> Tensor:
        """Which windows (B,) continue no other."""
        return self.begins[numbers]

    def lacking(self, series: Tensor, start: Tensor) -> None:
        """Windows of a lane lie within their series."""

    @property
    def whole(self) -> int:
        """Number of windows that lack nothing: all of them."""
        return len(self)

    @property
    def left_out(self) -> int:
        """Training rows that are in no window."""
        if not len(self):
            return self.rows
        change = np.zeros(int(self.first.max()) + self.length + 1, dtype=np.int64)
        np.add.at(change, self.first.numpy(), 1)
        np.add.at(change, self.first.numpy() + self.length, -1)
        return self.rows - int((change.cumsum() > 0).sum())


class Group(NamedTuple):
    """Series that are evaluated side by side: as many windows before the first origin, hence of the same length."""

    series: Tensor  # (B,)
    origin: Tensor  # (B,) row of the first origin
    counts: Tensor  # (B,) origins
    warm_up: int  # windows to read up to the first origin, that origin included
    together: int  # origins of each series in one block


class StretchLoader:
    """The origins of a stage, each exactly once, in blocks of about ``batch_size`` that continue one another.

    All series go side by side. The first block of a series begins with what stands before its first origin: the
    whole windows since row ``begin`` (series,), at most 32.
    """

    batch_sampler = sampler = None  # Lightning asks for them

    def __init__(self, store: WindowStore, index: WindowIndex, begin: np.ndarray, batch_size: int):
        self.store, self.index, self.begin = store, index, torch.from_numpy(begin)
        counts, origin = index.before.diff(), index.first + store.spec.past_steps - 1
        warm_up = self._warm_up(origin, self.begin)
        self.groups = []
        for windows in warm_up[counts > 0].unique().tolist():
            chosen = torch.nonzero((counts > 0) & (warm_up == windows))[:, 0]
            chosen = chosen[counts[chosen].argsort(descending=True, stable=True)]  # those that end late go together
            for series in chosen.split(batch_size):
                together = max(1, batch_size // len(series))
                self.groups.append(Group(series, origin[series], counts[series], windows, together))

    def _warm_up(self, origin: Tensor, begin: Tensor) -> Tensor:
        """How many whole windows there are from row ``begin`` up to ``origin``; the window of an origin always is."""
        whole = torch.div(origin - begin + 1, self.store.spec.past_steps, rounding_mode="floor")
        return whole.clamp(1, LONGEST_WARM_UP)

    def __len__(self) -> int:
        return sum(len(self._blocks(group)) for group in self.groups)

    @property
    def windows(self) -> int:
        """Number of origins, each of which has the window of T past steps before it."""
        return len(self.index)

    def __iter__(self) -> Iterator[ConsecutiveWindows]:
        for group in self.groups:
            for done in self._blocks(group):
                yield self._stretch(group, done)

    def examples(self, numbers: Tensor) -> Window:
        """Some origins by number, their past longer than T where there are rows for more whole windows."""
        series, start = self.index.locate(numbers)
        steps = self.store.spec.past_steps
        origin = start + steps - 1
        past = steps * int(self._warm_up(origin, self.begin[series]).min())
        rows = (origin - past + 1)[:, None] + torch.arange(past + self.store.spec.horizon)
        return self.store.gather_rows(rows, series)

    @staticmethod
    def _blocks(group: Group) -> range:
        """Number of the first origin of each block."""
        return range(0, int(group.counts.max()), group.together)

    def _stretch(self, group: Group, done: int) -> ConsecutiveWindows:
        steps, horizon = self.store.spec.past_steps, self.store.spec.horizon
        origins = min(group.together, int(group.counts.max()) - done)
        before = (group.warm_up if done == 0 else 1) * steps - 1
        first = group.origin + done - before
        rows = first[:, None] + torch.arange(before + origins + horizon)
        last = group.origin + group.counts - 1 + horizon
        reset = torch.full((len(first),), done == 0)
        rows = rows.minimum(last[:, None]).to(self.store.device)
        window = self.store.gather_rows(rows, group.series, reset)
        counted = done + torch.arange(origins) < group.counts[:, None]
        new = origins if done else before + origins
        origin = rows[:, before : before + origins]
        return ConsecutiveWindows(window.inputs, window.targets, new, counted.to(self.store.device), origin)
