"""Windows from a store on the disk in constant memory: knows in which blocks to read it, and when to let them go."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import Loader, WindowDataModule
from datamodules.store.format import StoredSeries, open_store, verify
from datamodules.windows.loader import SeriesTensors
from datamodules.windows.samplers import BlockShuffleSampler, Sampler
from seqmodels.errors import require_at_least
from seqmodels.window import Inputs, Targets, Window, WindowSpec

AREA = 2**21  # bytes, at most, that a system maps together when one of them is read
MOST_MAPPED = 2**28  # bytes of the files that may be in memory before they are given back
BLOCK_BYTES = 2**18  # of a block of windows where nobody says how many windows it has


class MappedTensors(SeriesTensors):
    """Windows of series in files: what was read is given back once it is much, and batches are put on ``target``."""

    def __init__(self, series: StoredSeries, spec: WindowSpec, seasonal_error: Tensor):
        super().__init__(series, spec, seasonal_error)
        self.series, self.target = series, torch.device("cpu")
        self.rows_per_area = max(1, AREA // series.row_bytes)
        self.touched = torch.zeros(len(series.values) // self.rows_per_area + 1, dtype=torch.bool)
        self.per_area = series.files * max(AREA, self.length * series.row_bytes)  # bytes, at most
        self.uncounted = 0

    def _window(self, taken: list[Tensor | None], series: Tensor, origin: Tensor, reset: Tensor | None) -> Window:
        window = super()._window(taken, series, origin, reset)
        self._account(origin)
        return window if self.target == self.device else _moved(window, self.target)

    def _account(self, origin: Tensor) -> None:
        """Note which areas of the files were read, and give all of them back where they are many."""
        first = (origin - self.spec.past_steps + 1).clamp(min=0)
        self.touched[torch.div(first, self.rows_per_area, rounding_mode="floor")] = True
        self.uncounted += len(origin)
        if self.uncounted * self.per_area > MOST_MAPPED:
            self.uncounted = 0
            if int(self.touched.count_nonzero()) * self.per_area > MOST_MAPPED:
                self.touched.zero_()
                self.series.release()


def _moved(window: Window, device: torch.device) -> Window:
    inputs, targets, origin = window
    return Window(
        Inputs(*(field.to(device) for field in inputs)), Targets(*(field.to(device) for field in targets)), origin
    )


class Stored(WindowDataModule):
    """Windows from what ``convert.py`` wrote to ``path``; ``verify`` compares all checksums first.

    Training windows come in blocks of ``block`` consecutive ones (None: as many as make a quarter of a megabyte), of
    which ``blocks_together`` are shuffled with one another: more mix better and take more memory, longer ones suit
    slower disks. What is made in training (``calendar``, ``holidays``, ``lags``, ``rolling``, ``winsorise``, what
    stands in for missing covariates) is made in memory, for all rows.
    """

    def __init__(
        self, *, path: str, verify: bool = False, block: int | None = None, blocks_together: int = 32, **windows: Any
    ):
        super().__init__(**windows)
        require_at_least(1, "data", block=1 if block is None else block, blocks_together=blocks_together)
        self.path, self.verify, self.block, self.blocks_together = Path(path), verify, block, blocks_together

    def read(self) -> StoredSeries:
        if self.verify:
            verify(self.path)
        return open_store(self.path)

    def training_sampler(self, windows: int) -> Sampler:
        """Blocks that are read one after the other from the disk."""
        if not self.shuffle:
            return super().training_sampler(windows)
        assert isinstance(self.series, StoredSeries)
        block = self.block or max(1, BLOCK_BYTES // self.series.row_bytes)
        return BlockShuffleSampler(windows, self.seed, block, self.blocks_together)

    def _build_loaders(self) -> dict[str, Loader]:
        loaders = super()._build_loaders()
        assert isinstance(self.series, StoredSeries)
        tensors = MappedTensors(self.series, self.spec, loaders["train"].tensors.seasonal_error)
        for loader in loaders.values():
            loader.tensors = tensors
        self.series.release()
        return loaders

    def _set_device(self, device: torch.device) -> None:
        """The series stay where they are: batches go to the device."""
        tensors = self.loaders["train"].tensors
        assert isinstance(tensors, MappedTensors)
        tensors.target = device
