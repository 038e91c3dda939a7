"""Convert any data set to a store on the disk, shard by shard."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datamodules.base import WindowDataModule
from datamodules.series import Shard, Shardable
from datamodules.store.format import META, open_store, partial_path, read_meta, verify
from datamodules.store.writer import StoreWriter, describe_difference, publish
from seqmodels.errors import InputError, require_at_least

WINDOW_KEYS = frozenset(inspect.signature(WindowDataModule.__init__).parameters)  # they do not affect a store


class Conversion:
    """Writes the store ``output``. A table in files is read in shards of about ``part_rows`` rows.

    Memory is that of one shard and a few numbers per series. An incomplete store is called ``<output>.partial``; the
    same command continues it, and checks a complete one.
    """

    def __init__(self, *, output: str, part_rows: int = 4_000_000):
        require_at_least(1, "conversion", part_rows=part_rows)
        self.output, self.part_rows = Path(output).expanduser().absolute(), part_rows

    def run(self, data: WindowDataModule, settings: Mapping[str, Any]) -> Iterator[str]:
        """Convert what ``data`` reads, and yield a line of progress for each shard.

        ``settings``: the keys that ``data`` was built from; those of windows are ignored. Raises InputError if the
        output exists and is not a store, or was made from other files or settings.
        """
        made_from = self._made_from(data, settings)
        if (partial_path(self.output) / META).exists():  # interrupted just before it got its name
            publish(self.output)
        if self.output.exists():
            yield self._verify(made_from)
        else:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            yield from self._write(data, StoreWriter(self.output, made_from))
            yield self._summary()

    def _made_from(self, data: WindowDataModule, settings: Mapping[str, Any]) -> dict[str, Any]:
        files = data.files() if isinstance(data, Shardable) else ()
        ignored = WINDOW_KEYS | {"path"} if files else WINDOW_KEYS  # files are listed by their absolute paths
        return {
            "settings": {key: value for key, value in settings.items() if key not in ignored},
            "part_rows": self.part_rows,
            "files": {
                str(path.absolute()): {"bytes": (state := path.stat()).st_size, "modified": state.st_mtime_ns}
                for path in files
            },
        }

    def _write(self, data: WindowDataModule, writer: StoreWriter) -> Iterator[str]:
        if writer.done:
            yield f"{writer.folder.name} already holds {writer.done:,} shards; continuing."
        for shard in self._shards(data, writer):
            writer.append(shard)
            last = shard.series.name(len(shard.series) - 1)
            yield f"shard {writer.done:,}: {len(shard.series.values):,} rows, up to {last}"
        writer.finish()

    def _shards(self, data: WindowDataModule, writer: StoreWriter) -> Iterator[Shard]:
        if isinstance(data, Shardable):
            yield from data.shards(writer.folder / "shards", self.part_rows, writer.done)
        elif not writer.done:
            yield Shard(data.read())

    def _verify(self, made_from: Mapping[str, Any]) -> str:
        """Check that the store exists already and was made from the same files and settings."""
        if not (self.output / META).exists():
            raise InputError(f"output={self.output} exists and is not a store; choose another path or remove it.")
        if difference := describe_difference(read_meta(self.output)["made_from"], made_from):
            raise InputError(
                f"output={self.output} was made from other {difference}; choose another output, or delete that one."
            )
        return f"{self.output} already exists: {verify(self.output):,} bytes, all checksums correct."

    def _summary(self) -> str:
        series = open_store(self.output)
        size = sum(file.stat().st_size for file in self.output.iterdir())
        counts = f"{len(series):,} series, {len(series.values):,} rows, {size:,} bytes"
        return f"Written: {self.output} ({counts}); train with data=store data.path={self.output}"
