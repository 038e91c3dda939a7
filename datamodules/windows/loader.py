"""Windows by number and the loader of their batches: one gather per batch, memory of the size of the series."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from datamodules.series import SeriesSet
from datamodules.windows.samplers import Batches, InOrder, Order
from seqmodels.window import Inputs, Targets, Window, WindowSpec


class Index(Protocol):
    """Numbered windows, and where each one lies."""

    def __len__(self) -> int: ...

    def locate(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Window numbers (B,) -> index of the series (B,), row of the first past step (B,)."""

    def reset(self, numbers: Tensor) -> Tensor | None:
        """Which windows (B,) continue no other; None: none of them does."""

    def lacking(self, series: Tensor, start: Tensor) -> Tensor | None:
        """How many past steps of located windows (B,) lie before the earliest row they may see; None: never one."""

    @property
    def whole(self) -> int:
        """Number of windows that lack nothing."""


class WindowIndex:
    """Windows of one split, numbered through all series: ``counts[i]`` in series i, the first at row ``first[i]``.

    ``begin[i]`` is the earliest row that the past of a window may see; of a window that starts before it, the past is
    padded on the left.
    """

    def __init__(self, first: np.ndarray, counts: np.ndarray, begin: np.ndarray):
        self.first = torch.from_numpy(first.astype(np.int64))
        self.before = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        self.alike = int(counts[0]) if (counts == counts[0]).all() else 0  # windows in each series, if all alike
        self.begin = torch.from_numpy(begin.astype(np.int64))
        self.padded = (self.begin - self.first).clamp(min=0).minimum(self.counts)  # (series,) windows
        self.any_padded = bool(self.padded.any())

    @classmethod
    def of_spans(
        cls,
        series: SeriesSet,
        start: np.ndarray,
        stop: np.ndarray,
        past_steps: int,
        horizon: int,
        context: str,
        short: np.ndarray | None = None,
    ) -> "WindowIndex":
        """Windows whose targets lie within rows ``start[i]:stop[i]`` of series i.

        ``context="inside"``: the past lies within the span too. ``context="across"``: the past may
        reach back over the border (never over the beginning of the series).

        ``short`` (series,) bool: series whose windows need not be whole. Where there are rows before their span, but
        fewer than ``past_steps``, targets begin with the first row of the span all the same; where there are none and
        the span holds no whole window, with its second row, so that at least one past step is there.
        """
        begin = start if context == "inside" else series.offsets[:-1]
        first = np.maximum(begin, start - past_steps)
        counts = np.maximum(0, stop - horizon - past_steps - first + 1)
        if short is not None:
            history = start - begin
            padded = short & (history < past_steps) & ((history > 0) | (counts == 0))
            target = start + (history == 0)
            first = np.where(padded, target - past_steps, first)
            counts = np.where(padded, np.maximum(0, stop - horizon - target + 1), counts)
        return cls(first, counts, begin)

    def __len__(self) -> int:
        return int(self.before[-1])

    @property
    def counts(self) -> Tensor:
        """Windows of each series, (series,) int64."""
        return self.before.diff()

    @property
    def whole(self) -> int:
        """Number of windows that lack nothing."""
        return len(self) - int(self.padded.sum())

    def lacking(self, series: Tensor, start: Tensor) -> Tensor | None:
        """How many past steps of located windows (B,) lie before the earliest row they may see; None: never one."""
        return (self.begin[series] - start).clamp(min=0) if self.any_padded else None

    def reset(self, numbers: Tensor) -> Tensor | None:
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
        static = np.zeros((len(series), 0), np.float32) if series.static is None else series.static
        self.static = torch.from_numpy(np.ascontiguousarray(static)).to(self.device)
        means = (spec.past_statistics.mean, spec.known_statistics.mean)
        self.fillings = [torch.tensor(filling, device=self.device) for filling in (0.0, False, *means)]

    @property
    def _sources(self) -> tuple[Tensor | None, ...]:
        return self.values, self.observed, self.past_covariates, self.known_covariates

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

    def gather(self, index: Index, numbers: Tensor, reset: Tensor | None = None) -> Window:
        """Window numbers (B,) on the CPU -> the batch, on the device of the store."""
        series, start = index.locate(numbers)
        lacking = index.lacking(series, start)
        series, start = series.to(self.device), start.to(self.device)
        rows = start if lacking is None else start.clamp(min=0)
        taken = [None if source is None else source.index_select(0, rows) for source in self._sources]
        if lacking is not None and lacking.any():
            taken = self._padded(taken, start, lacking)
        return self._window(taken, series, start + self.spec.past_steps - 1, reset)

    def _padded(self, taken: list[Tensor | None], start: Tensor, lacking: Tensor) -> list[Tensor | None]:
        """The same batch, where of each window the first ``lacking`` (B,) steps, on the CPU, do not exist.

        There a value is 0 and not observed, and a covariate has its training mean, which is 0 once standardised; a
        category is unknown.
        """
        chosen = lacking.nonzero()[:, 0]
        exists = torch.arange(self.length) >= lacking[chosen, None]
        chosen, exists, before = (part.to(self.device) for part in (chosen, exists, lacking[chosen, None]))
        rows = start[chosen, None] + torch.arange(self.length, device=self.device).maximum(before)
        values, observed, *covariates = taken
        assert values is not None
        observed = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
        batches = [values, observed, *covariates]
        for batch, source, filling in zip(batches, self._sources, self.fillings, strict=True):
            if batch is not None:
                there = batch[chosen] if source is None else self._plain(source)[rows]
                batch[chosen] = torch.where(exists[..., None], there, filling)
        return batches

    def gather_rows(self, rows: Tensor, series: Tensor, reset: Tensor | None = None) -> Window:
        """Windows of any length P + H on the device of the store, by their rows (B, P + H) and series (B,)."""
        rows, series = rows.to(self.device), series.to(self.device)
        taken = [None if source is None else self._plain(source)[rows] for source in self._sources]
        return self._window(taken, series, rows[:, -self.spec.horizon - 1], reset)

    def _plain(self, sliding: Tensor) -> Tensor:
        """The rows behind a sliding view, (rows, channels)."""
        channels = sliding.shape[2]
        return sliding.as_strided((len(sliding) + self.length - 1, channels), (channels, 1))

    def _window(self, taken: list[Tensor | None], series: Tensor, origin: Tensor, reset: Tensor | None) -> Window:
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
            static=self.static[series],
            seasonal_error=self.seasonal_error[series],
            series=series,
            reset=torch.ones(batch, dtype=torch.bool, device=self.device) if reset is None else reset.to(self.device),
        )
        return Window(inputs, Targets(values[:, past:], observed[:, past:]), origin)


AT_ONCE = 2**16  # values that one gather brings, few enough for a cache: several small batches, as each has a price


class WindowLoader:
    """Batches of windows; iterable, sized, and cheap: what a DataLoader does, without one Python call per window.

    It always begins with the first batch of the order, also after somebody stopped reading half-way, except once
    after its state was loaded. Without an ``order`` the windows come as they are numbered.
    """

    batch_sampler = None  # Lightning reads it of everything that has a sampler

    def __init__(self, store: WindowStore, index: Index, batch_size: int, order: Order | None = None):
        self.store, self.index, self.batch_size = store, index, batch_size
        self.sampler = Batches(order or InOrder(len(index)), batch_size)  # under this name Lightning finds set_epoch
        self.batches_at_once = max(1, AT_ONCE // (batch_size * store.values_per_window))

    def __len__(self) -> int:
        return len(self.sampler)

    @property
    def windows(self) -> int:
        """How many windows there are; the order says how many of them make an epoch."""
        return len(self.index)

    def gather(self, numbers: Tensor) -> Window:
        """Windows (B,) by number, whatever their place in the order."""
        return self.store.gather(self.index, numbers, self.index.reset(numbers))

    examples = gather  # for pictures

    def __iter__(self) -> Iterator[Window]:
        batches = self.sampler
        epoch, skip, batches.skip = batches.epoch, batches.skip, 0
        for first in range(skip, len(self), self.batches_at_once):
            last = min(first + self.batches_at_once, len(self))
            gathered = self.gather(batches.numbers(epoch, first, last))
            begin = batches.places(first)[0]
            for batch in range(first, last):
                batches.position = batch + 1
                start, stop = batches.places(batch)
                yield gathered if last - first == 1 else rows(gathered, slice(start - begin, stop - begin))

    def state_dict(self) -> dict[str, int]:
        """State of the order; with the next method it tells Lightning that the loader can resume."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)


def rows(window: Window, chosen: slice) -> Window:
    """Some windows of a batch, as views."""
    inputs, targets = window.inputs, window.targets
    return Window(
        Inputs(*[field[chosen] for field in inputs]),
        Targets(targets.target[chosen], targets.observed[chosen]),
        window.origin[chosen],
    )
