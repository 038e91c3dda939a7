"""Windows from a store on the disk, in constant memory."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import WindowDataModule
from datamodules.store.format import StoredSeries, open_store, read_meta, verify
from datamodules.windows.loader import SeriesTensors, map_tensors, number_rows
from datamodules.windows.samplers import BlockShuffleSampler, Sampler
from seqmodels.errors import require_at_least
from seqmodels.window import Window, WindowSpec

REGION_BYTES = 2**21  # the most that an operating system maps together when one byte is read
MAX_MAPPED = 2**28  # bytes of the files that may be in memory before they are released
BLOCK_BYTES = 2**18  # default size of a block of windows


class MappedTensors(SeriesTensors):
    """Tensors over mapped files: frees their memory when it becomes too much, and moves batches to ``target``."""

    def __init__(self, series: StoredSeries, spec: WindowSpec, seasonal_error: Tensor, clock: Tensor):
        super().__init__(series, spec, seasonal_error, clock)
        self.series, self.target = series, torch.device("cpu")
        self.rows_per_region = max(1, REGION_BYTES // series.row_bytes)
        self.touched = torch.zeros(len(series.values) // self.rows_per_region + 1, dtype=torch.bool)
        self.bytes_per_region = series.files * max(REGION_BYTES, self.length * series.row_bytes)  # at most
        self.uncounted = 0  # windows since regions were last counted

    def _window(self, fields: list[Tensor | None], series: Tensor, origin: Tensor, reset: Tensor | None) -> Window:
        window = super()._window(fields, series, origin, reset)
        self._release_if_large(origin)
        return window if self.target == self.device else map_tensors(lambda field: field.to(self.target), window)

    def _release_if_large(self, origin: Tensor) -> None:
        """Note the regions that were read, and release all of them if they exceed ``MAX_MAPPED``."""
        first = (origin - self.spec.past_steps + 1).clamp(min=0)
        self.touched[torch.div(first, self.rows_per_region, rounding_mode="floor")] = True
        self.uncounted += len(origin)
        if self.uncounted * self.bytes_per_region > MAX_MAPPED:
            self.uncounted = 0
            if int(self.touched.count_nonzero()) * self.bytes_per_region > MAX_MAPPED:
                self.touched.zero_()
                self.series.release()


class Stored(WindowDataModule):
    """Windows from a store that ``seqmodels convert`` wrote to ``path``; ``verify`` compares all checksums first.

    Training windows are shuffled in blocks of ``block`` consecutive ones (None: a quarter of a megabyte), of which
    ``blocks_together`` are shuffled with each other: more of them mix better and take more memory, larger blocks suit
    slower disks. Covariates made in training (``calendar``, ``holidays``, ``lags``, ``rolling``), winsorised values
    and imputed covariates are kept in memory for all rows.
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

    def hash_content(self) -> str:
        """Hash of the checksums in the store, which need not be read for it."""
        return hashlib.blake2b(json.dumps(read_meta(self.path)["checksums"]).encode(), digest_size=8).hexdigest()

    def training_sampler(self, windows: int) -> Sampler:
        if not self.shuffle:
            return super().training_sampler(windows)
        assert isinstance(self.series, StoredSeries)
        block = self.block or max(1, BLOCK_BYTES // self.series.row_bytes)
        return BlockShuffleSampler(windows, self.seed, block, self.blocks_together)

    def _build_tensors(self, seasonal_error: Tensor) -> MappedTensors:
        assert isinstance(self.series, StoredSeries)
        tensors = MappedTensors(self.series, self.spec, seasonal_error, number_rows(self.series, self.frequency))
        self.series.release()
        return tensors

    def _set_device(self, device: torch.device) -> None:
        """Batches go to the device; the series stay on the disk."""
        tensors = self.loaders["train"].tensors
        assert isinstance(tensors, MappedTensors)
        tensors.target = device
