"""Indexed windows and the loader of their batches: one gather per batch, memory of the size of the series."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from datamodules.frequency import Frequency
from datamodules.precision import need_level, newest_observed
from datamodules.series import SeriesSet, Span
from datamodules.windows.augment import Augmentation
from datamodules.windows.samplers import BatchSampler, Sampler, SequentialSampler
from seqmodels.window import Inputs, Rows, Targets, Window, WindowSpec


class WindowIndex(ABC):
    """Windows numbered from 0 on, and the position of each one; by default complete windows that continue no other."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Window indices (B,) -> series (B,), row of the first past step (B,)."""

    def reset_mask(self, indices: Tensor) -> Tensor | None:
        """True for each window (B,) that continues no other; None if this holds for all."""
        return None

    def padding(self, series: Tensor, start: Tensor) -> Tensor | None:
        """Number of past steps (B,) to pad on the left of located windows; None if the index pads no window."""
        return None

    @property
    def unpadded(self) -> int:
        """Number of windows without padding."""
        return len(self)


class SlidingIndex(WindowIndex):
    """All windows of one split, series by series, at a ``stride`` of one row unless given.

    ``first`` (series,): row at which the first window of a series starts. ``counts`` (series,): its windows.
    ``earliest`` (series,): first row that a past may contain; a window that starts before it is padded on the left.
    """

    def __init__(self, first: np.ndarray, counts: np.ndarray, earliest: np.ndarray, stride: int = 1):
        self.stride = stride
        self.first = torch.from_numpy(first.astype(np.int64))
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        self.common_count = int(counts[0]) if (counts == counts[0]).all() else 0  # windows of every series, if equal
        self.earliest = torch.from_numpy(earliest.astype(np.int64))
        before = (self.earliest - self.first).clamp(min=0) + stride - 1
        self.padded = torch.div(before, stride, rounding_mode="floor").minimum(self.counts)  # (series,) windows
        self.any_padded = bool(self.padded.any())

    @classmethod
    def from_span(
        cls,
        series: SeriesSet,
        start: np.ndarray,
        stop: np.ndarray,
        past_steps: int,
        horizon: int,
        context: str,
        short: np.ndarray | None = None,
        stride: int = 1,
    ) -> "SlidingIndex":
        """Windows whose targets lie in rows ``start[i]:stop[i]`` of series i, the first one and every ``stride`` rows.

        ``context="inside"``: the past lies in these rows too. ``context="across"``: it may reach back over the border,
        but not over the first row of the series.

        ``short`` (series,) bool: series whose windows may be padded. If there are rows before the span, but fewer than
        ``past_steps``, targets start at the first row of the span; if there are none and no complete window fits into
        the span, they start at its second row, which leaves one past step.
        """
        earliest = start if context == "inside" else series.offsets[:-1]
        first = np.maximum(earliest, start - past_steps)
        counts = np.maximum(0, stop - horizon - past_steps - first + 1)
        if short is not None:
            available = start - earliest
            padded = short & (available < past_steps) & ((available > 0) | (counts == 0))
            target = start + (available == 0)
            first = np.where(padded, target - past_steps, first)
            counts = np.where(padded, np.maximum(0, stop - horizon - target + 1), counts)
        return cls(first, -(-counts // stride), earliest, stride)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def counts(self) -> Tensor:
        """Number of windows of each series, (series,) int64."""
        return self.offsets.diff()

    @property
    def unpadded(self) -> int:
        return len(self) - int(self.padded.sum())

    def padding(self, series: Tensor, start: Tensor) -> Tensor | None:
        return (self.earliest[series] - start).clamp(min=0) if self.any_padded else None

    def locate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        if self.common_count:  # ten times faster than a search
            series = torch.div(indices, self.common_count, rounding_mode="floor")
        else:
            series = torch.searchsorted(self.offsets, indices, right=True) - 1
        return series, self.first[series] + (indices - self.offsets[series]) * self.stride


def number_rows(series: SeriesSet, frequency: Frequency | None) -> Tensor:
    """Offset between the number of a row of each series and that of its time step, (series,) int64.

    Without a frequency, steps are counted from the first row of each series.
    """
    first = series.offsets[:-1]
    if frequency is None or series.time is None or not len(series.time):
        return torch.from_numpy(-first)
    rows = np.minimum(first, len(series.time) - 1)  # the last series may have no row
    return torch.from_numpy(frequency.number(np.asarray(series.time[rows])) - first)


class SeriesTensors:
    """The series as tensors, and the gather that turns window indices into a ``Window``.

    ``clock`` (series,): see ``number_rows``. ``identity`` (series,): numbers of the series in the training data, where
    they are others than here.
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
        self.spec = spec
        self.device = torch.device(device)
        self.length = spec.past_steps + spec.horizon
        arrays = (series.values, series.observed, series.past_covariates, series.known_covariates)
        self.sources = [self._unfold(rows) for rows in arrays]
        self.seasonal_error = seasonal_error.to(self.device)
        self.clock = clock.to(self.device)
        self.identity = (torch.arange(len(series)) if identity is None else identity).to(self.device)
        static = np.zeros((len(series), 0), np.float32) if series.static is None else series.static
        self.static = torch.from_numpy(np.ascontiguousarray(static)).to(self.device)
        means = (spec.past_statistics.mean, spec.known_statistics.mean)
        self.no_level = torch.zeros(1, 1, dtype=torch.float64, device=self.device)  # one element seen from everywhere
        if spec.levels:
            self.need_level = torch.from_numpy(need_level(series)).to(self.device)
            newest = newest_observed(series, spec.target_statistics.mean)
            self.newest = torch.from_numpy(np.ascontiguousarray(newest)).to(self.device)
        self.padding_values = [torch.tensor(value, device=self.device) for value in (0.0, False, *means)]

    def _unfold(self, rows: np.ndarray | None) -> Tensor | None:
        """(rows, channels) -> overlapping view (rows - length + 1, length, channels) without a copy."""
        if rows is None:
            return None
        tensor = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        channels = tensor.shape[1]
        return tensor.as_strided((len(tensor) - self.length + 1, self.length, channels), (channels, channels, 1))

    def _fold(self, windows: Tensor) -> Tensor:
        """Inverse of ``_unfold``, a view (rows, channels)."""
        channels = windows.shape[2]
        return windows.as_strided((len(windows) + self.length - 1, channels), (channels, 1))

    @property
    def values_per_window(self) -> int:
        """Number of target and covariate values in one window."""
        values, _, *covariates = self.sources
        return self.length * sum(source.shape[2] for source in (values, *covariates) if source is not None)

    def gather(self, index: WindowIndex, indices: Tensor) -> Window:
        """Window indices (B,) on the CPU -> batch on the device of the series."""
        series, start = index.locate(indices)
        padding = index.padding(series, start)
        series, start = series.to(self.device), start.to(self.device)
        rows = start if padding is None else start.clamp(min=0)
        fields = [None if source is None else source.index_select(0, rows) for source in self.sources]
        if padding is not None and padding.any():
            fields = self._pad(fields, start, padding)
        return self._window(fields, series, start + self.spec.past_steps - 1, index.reset_mask(indices))

    def _pad(self, fields: list[Tensor | None], start: Tensor, padding: Tensor) -> list[Tensor | None]:
        """Replace the first ``padding`` (B,) steps, on the CPU, of each window, which do not exist.

        Values become 0 and unobserved, covariates their training mean (0 after standardising), categories unknown.
        """
        chosen = padding.nonzero()[:, 0]
        exists = torch.arange(self.length) >= padding[chosen, None]
        chosen, exists, before = (part.to(self.device) for part in (chosen, exists, padding[chosen, None]))
        rows = start[chosen, None] + torch.arange(self.length, device=self.device).maximum(before)
        values, observed, *covariates = fields
        assert values is not None
        observed = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
        padded = [values, observed, *covariates]
        for field, source, value in zip(padded, self.sources, self.padding_values, strict=True):
            if field is not None:
                existing = field[chosen] if source is None else self._fold(source)[rows]
                field[chosen] = torch.where(exists[..., None], existing, value)
        return padded

    def gather_rows(self, rows: Tensor, series: Tensor, reset: Tensor | None = None) -> Window:
        """Windows of any length P + H from their rows (B, P + H) and series (B,), on the device of the series.

        At the end of a series, its last row may be repeated; the clock advances.
        """
        rows, series = rows.to(self.device), series.to(self.device)
        fields = [None if source is None else self._fold(source)[rows] for source in self.sources]
        window = self._window(fields, series, rows[:, -self.spec.horizon - 1], reset)
        clock = self.clock[series] + rows[:, 0] + window.inputs.past_target.shape[1] - 1
        return window._replace(inputs=window.inputs._replace(clock=clock))

    def _window(self, fields: list[Tensor | None], series: Tensor, origin: Tensor, reset: Tensor | None) -> Window:
        """Batch from values, mask, past and known covariates (B, P + H, channels); the last three may be None."""
        values, observed, past_covariates, known_covariates = fields
        assert values is not None
        batch, length = values.shape[:2]
        past = length - self.spec.horizon
        nothing = torch.zeros(batch, length, 0, device=self.device)
        if observed is None:  # one element seen from everywhere: a mask without memory
            observed = torch.ones(1, 1, 1, dtype=torch.bool, device=self.device).expand(values.shape)
        level = self.no_level.expand(batch, values.shape[2])
        if self.spec.levels:  # the newest value at the origin, so that nothing of the future shows
            level = torch.where(self.need_level[series], self.newest[origin].double(), level)
            values = (values - level[:, None]).float().masked_fill(~observed, 0)
        inputs = Inputs(
            past_target=values[:, :past],
            level=level,
            past_observed=observed[:, :past],
            past_covariates=(nothing if past_covariates is None else past_covariates)[:, :past],
            known_covariates=nothing if known_covariates is None else known_covariates,
            static=self.static[series],
            seasonal_error=self.seasonal_error[series],
            series=series,
            reset=torch.ones(batch, dtype=torch.bool, device=self.device) if reset is None else reset.to(self.device),
            clock=self.clock[series] + origin,
            identity=self.identity[series],
        )
        return Window(inputs, Targets(values[:, past:], observed[:, past:]), origin)


def whole_rows(series: SeriesSet, fitted: Span, trained: np.ndarray) -> Rows:
    """All rows of prepared series as tensors; a model may be fitted to the span ``fitted`` of each.

    ``trained`` (series,): number of each series in the training data, -1 for one that was not in it.
    """
    rows = np.arange(len(series.values))
    time = series.time
    if time is None:
        numbers = rows - np.repeat(series.offsets[:-1], series.lengths)
    else:
        numbers = (time.astype("datetime64[us]") if time.dtype.kind == "M" else time).astype(np.int64)
    known, observed = series.known_covariates, series.observed
    return Rows(
        target=torch.from_numpy(np.ascontiguousarray(series.values)),
        observed=torch.ones(1, 1, dtype=torch.bool).expand(series.values.shape)
        if observed is None
        else torch.from_numpy(np.ascontiguousarray(observed)),
        known_covariates=torch.zeros(len(rows), 0) if known is None else torch.from_numpy(np.ascontiguousarray(known)),
        time=torch.from_numpy(numbers),
        offsets=torch.from_numpy(np.ascontiguousarray(series.offsets)).long(),
        start=torch.from_numpy(np.ascontiguousarray(fitted.start)).long(),
        stop=torch.from_numpy(np.ascontiguousarray(fitted.stop)).long(),
        trained=torch.from_numpy(np.ascontiguousarray(trained)).long(),
    )


VALUES_PER_GATHER = 2**19  # 2 MB, which caches hold; small batches share a gather, since each gather has a cost


class WindowLoader:
    """Batches of windows: a DataLoader without one Python call per window.

    Iteration starts at the first batch of the epoch, also after an iteration that was not finished, except once after
    ``load_state_dict``. Without a ``sampler`` the windows come in index order. ``augmentation`` changes each batch.
    """

    batch_sampler = None  # Lightning reads it of everything that has a sampler

    def __init__(
        self,
        tensors: SeriesTensors,
        index: WindowIndex,
        batch_size: int,
        sampler: Sampler | None = None,
        augmentation: Augmentation | None = None,
    ):
        self.tensors, self.index, self.batch_size = tensors, index, batch_size
        self.augmentation = augmentation or None
        # Lightning looks for set_epoch in an attribute of this name.
        self.sampler = BatchSampler(sampler or SequentialSampler(len(index)), batch_size)
        self.batches_per_gather = max(1, VALUES_PER_GATHER // (batch_size * tensors.values_per_window))

    def __len__(self) -> int:
        return len(self.sampler)

    @property
    def windows(self) -> int:
        """Number of windows; an epoch may have more or fewer."""
        return len(self.index)

    def examples(self, indices: Tensor) -> Window:
        """Windows (B,) by index, for figures."""
        return self.tensors.gather(self.index, indices)

    def __iter__(self) -> Iterator[Window]:
        batches = self.sampler
        epoch, skip, batches.skip = batches.epoch, batches.skip, 0
        for first in range(skip, len(self), self.batches_per_gather):
            end = min(first + self.batches_per_gather, len(self))
            gathered = self.tensors.gather(self.index, batches.indices(epoch, first, end))
            sizes = [stop - start for start, stop in map(batches.bounds, range(first, end))]
            for number, window in enumerate(split_window(gathered, sizes), first + 1):
                batches.position = number
                if self.augmentation is None:
                    yield window
                else:
                    missing, position = self.tensors.spec.missing, batches.bounds(number - 1)[0]
                    yield self.augmentation(window, missing, epoch, position)

    def state_dict(self) -> dict[str, int]:
        """State of the sampler; having this method and the next tells Lightning that the loader can resume."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)


def split_window(window: Window, sizes: list[int]) -> Iterator[Window]:
    """Consecutive parts of a batch, as views; one call for each field."""
    inputs, targets, origin = window
    width = len(inputs)
    for fields in zip(*(field.split(sizes) for field in (*inputs, *targets, origin)), strict=True):
        yield Window(Inputs(*fields[:width]), Targets(*fields[width:-1]), fields[-1])


def map_tensors(function: Callable[[Tensor], Tensor], window: Window) -> Window:
    """Apply a function to all tensors of a batch."""
    inputs, targets, origin = window
    return Window(Inputs(*map(function, inputs)), Targets(*map(function, targets)), function(origin))
