"""Windows by number: which rows each one covers, in which order they come, and one gather per batch.

A window is never copied before it is needed: its number gives its first row, and a batch is one
``index_select`` on an overlapping view of the contiguous storage. Memory is O(series), plus one
permutation while an epoch runs.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from datamodules.series import SeriesSet
from seqmodels.window import Inputs, Targets, Window, WindowSpec

AT_ONCE = 2**16  # values that one gather brings, few enough for a cache: several small batches, as each has a price


class Index(Protocol):
    """Numbered windows, and where each one lies."""

    def __len__(self) -> int: ...

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Window numbers (B,) -> index of the series (B,), row of the first past step (B,)."""

    def fresh(self, numbers: Tensor) -> Tensor | None:
        """Which windows (B,) continue no other; None: none of them does."""


class WindowIndex:
    """Windows of one split, numbered through all series: ``counts[i]`` in series i, the first at row ``first[i]``."""

    def __init__(self, first: np.ndarray, counts: np.ndarray):
        self.first = torch.from_numpy(first.astype(np.int64))
        self.before = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        self.alike = int(counts[0]) if (counts == counts[0]).all() else 0  # windows in each series, if all alike

    @classmethod
    def of_spans(
        cls, series: SeriesSet, start: np.ndarray, stop: np.ndarray, past_steps: int, horizon: int, context: str
    ) -> "WindowIndex":
        """Windows whose targets lie within rows ``start[i]:stop[i]`` of series i.

        ``context="inside"``: the past lies within the span too. ``context="across"``: the past may
        reach back over the border (never over the beginning of the series).
        """
        earliest = start if context == "inside" else np.maximum(series.offsets[:-1], start - past_steps)
        return cls(earliest, np.maximum(0, stop - horizon - past_steps - earliest + 1))

    def __len__(self) -> int:
        return int(self.before[-1])

    def fresh(self, numbers: Tensor) -> Tensor | None:
        """Which windows (B,) continue no other; None: none of them does."""
        return None

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Window numbers (B,) -> index of the series (B,), row of the first past step (B,)."""
        if self.alike:  # ten times faster than to search
            series = torch.div(numbers, self.alike, rounding_mode="floor")
        else:
            series = torch.searchsorted(self.before, numbers, right=True) - 1
        return series, self.first[series] + numbers - self.before[series]


class WindowStore:
    """The series as tensors, and the one gather that turns window numbers into a ``Window``."""

    def __init__(self, series: SeriesSet, spec: WindowSpec, seasonal_error: Tensor, device: torch.device | str = "cpu"):
        self.spec = spec
        self.device = torch.device(device)
        self.length = spec.past_steps + spec.horizon
        self.values = self._sliding(series.values)
        self.observed = None if series.observed is None else self._sliding(series.observed)
        self.past_covariates = self._sliding(series.past_covariates)
        self.known_covariates = self._sliding(series.known_covariates)
        self.seasonal_error = seasonal_error.to(self.device)

    def _sliding(self, rows: np.ndarray | None) -> Tensor | None:
        """(rows, channels) -> overlapping view (rows - length + 1, length, channels), no copy."""
        if rows is None:
            return None
        tensor = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        channels = tensor.shape[1]
        return tensor.as_strided((len(tensor) - self.length + 1, self.length, channels), (channels, channels, 1))

    @property
    def values_per_window(self) -> int:
        """Numbers in one window, targets and covariates together."""
        sources = (self.values, self.past_covariates, self.known_covariates)
        return self.length * sum(source.shape[2] for source in sources if source is not None)

    def gather(self, index: Index, numbers: Tensor, fresh: Tensor | None = None) -> Window:
        """Window numbers (B,) on the CPU -> the batch, on the device of the store."""
        series, start = (found.to(self.device) for found in index.locate(numbers))
        sources = (self.values, self.observed, self.past_covariates, self.known_covariates)
        taken = [None if source is None else source.index_select(0, start) for source in sources]
        return self._window(taken, series, start + self.spec.past_steps - 1, fresh)

    def gather_rows(self, rows: Tensor, series: Tensor, fresh: Tensor | None = None) -> Window:
        """Windows of any length P + H on the device of the store, by their rows (B, P + H) and series (B,)."""
        rows, series = rows.to(self.device), series.to(self.device)
        sources = (self.values, self.observed, self.past_covariates, self.known_covariates)
        taken = [None if source is None else self._plain(source)[rows] for source in sources]
        return self._window(taken, series, rows[:, -self.spec.horizon - 1], fresh)

    def _plain(self, sliding: Tensor) -> Tensor:
        """The rows behind a sliding view, (rows, channels)."""
        channels = sliding.shape[2]
        return sliding.as_strided((len(sliding) + self.length - 1, channels), (channels, 1))

    def _window(self, taken: list[Tensor | None], series: Tensor, origin: Tensor, fresh: Tensor | None) -> Window:
        """A batch from values, mask, past and known covariates (B, P + H, channels); the last three may be absent."""
        values, observed, past_covariates, known_covariates = taken
        assert values is not None
        batch, length = values.shape[:2]
        past = length - self.spec.horizon
        nothing = values.new_zeros(batch, length, 0)
        if observed is None:  # one stored element seen from everywhere: a mask that costs nothing
            observed = torch.ones(1, 1, 1, dtype=torch.bool, device=self.device).expand(values.shape)
        inputs = Inputs(
            past_target=values[:, :past],
            past_observed=observed[:, :past],
            past_covariates=(nothing if past_covariates is None else past_covariates)[:, :past],
            known_covariates=nothing if known_covariates is None else known_covariates,
            static=values.new_zeros(batch, len(self.spec.statics)),
            seasonal_error=self.seasonal_error[series],
            series=series,
            fresh=torch.ones(batch, dtype=torch.bool, device=self.device) if fresh is None else fresh.to(self.device),
        )
        return Window(inputs, Targets(values[:, past:], observed[:, past:]), origin)


def rows(window: Window, chosen: slice) -> Window:
    """Some windows of a batch, as views."""
    inputs, targets = window.inputs, window.targets
    return Window(
        Inputs(*[field[chosen] for field in inputs]),
        Targets(targets.target[chosen], targets.observed[chosen]),
        window.origin[chosen],
    )


class WindowOrder:
    """The order of windows as a pure function of (seed, epoch), and how far the current epoch has come.

    Lightning calls ``set_epoch`` before each epoch. ``position`` counts the batches handed out, which is what a
    checkpoint keeps; ``skip`` is how many of them a resumed run leaves out of its first epoch.
    """

    def __init__(self, seed: int, shuffle: bool):
        self.seed, self.shuffle = seed, shuffle
        self.epoch = self.position = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; called again for the same epoch it changes nothing."""
        if epoch != self.epoch:
            self.epoch, self.position, self.skip = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Where the order stands."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the very next batch."""
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
        self.skip = self.position

    def numbers(self, windows: int) -> Tensor:
        """All window numbers (windows,) in the order of the current epoch."""
        if not self.shuffle:
            return torch.arange(windows)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        return torch.randperm(windows, generator=generator)


class WindowLoader:
    """Batches of windows; iterable, sized, and cheap: what a DataLoader does, without one Python call per window.

    It always begins with the first batch of the order, also after somebody stopped reading half-way, except once
    after its state was loaded.
    """

    batch_sampler = None  # Lightning reads it of everything that has a sampler

    def __init__(self, store: WindowStore, index: Index, batch_size: int, shuffle: bool = False, seed: int = 0):
        self.store, self.index, self.batch_size = store, index, batch_size
        self.sampler = WindowOrder(seed, shuffle)  # under this name Lightning finds set_epoch
        self.batches_at_once = max(1, AT_ONCE // (batch_size * store.values_per_window))

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    @property
    def windows(self) -> int:
        """Number of windows in one epoch; the last batch may be smaller than the others."""
        return len(self.index)

    def gather(self, numbers: Tensor) -> Window:
        """Windows (B,) by number, whatever their place in the order."""
        return self.store.gather(self.index, numbers, self.index.fresh(numbers))

    examples = gather  # for pictures

    def __iter__(self) -> Iterator[Window]:
        order = self.sampler
        numbers = order.numbers(len(self.index))
        skip, order.skip = order.skip, 0
        for first in range(skip, len(self), self.batches_at_once):
            last = min(first + self.batches_at_once, len(self))
            gathered = self.gather(numbers[first * self.batch_size : last * self.batch_size])
            for batch in range(first, last):
                order.position = batch + 1
                start = (batch - first) * self.batch_size
                alone = last - first == 1
                yield gathered if alone else rows(gathered, slice(start, start + self.batch_size))

    def state_dict(self) -> dict[str, int]:
        """State of the order; with the next method it tells Lightning that the loader can resume."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)
