"""Turns any data set into a store on the disk, shard by shard; knows when that was done, begun, or done from others."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datamodules.base import WindowDataModule
from datamodules.series import Shard, Shardable
from datamodules.store.format import META, PARTIAL, open_store, read_meta, verify
from datamodules.store.writer import StoreWriter, differing, publish
from seqmodels.errors import InputError, require_at_least

WINDOWS = frozenset(inspect.signature(WindowDataModule.__init__).parameters)  # keys that change nothing in a store


class Conversion:
    """Writes ``output``. A table in files that has more than ``part_rows`` rows is read in shards of so many.

    Memory is that of one shard and a few numbers for each series. Until it is complete the store is called
    ``<output>.partial``; the same command goes on with that, and checks one that is complete.
    """

    def __init__(self, *, output: str, part_rows: int = 4_000_000):
        require_at_least(1, "conversion", part_rows=part_rows)
        self.output, self.part_rows = Path(output).expanduser().absolute(), part_rows

    def run(self, data: WindowDataModule, settings: Mapping[str, Any]) -> Iterator[str]:
        """Convert what ``data`` reads; tells what is done, line by line.

        ``settings`` are the keys that ``data`` was built from; those of windows do not matter. Raises ``InputError``
        where the output exists and was made from other files or settings, or is no store.
        """
        made_from = self._made_from(data, settings)
        partial = self.output.with_name(self.output.name + PARTIAL)
        if (partial / META).exists():  # interrupted just before it got its name
            publish(self.output)
        if self.output.exists():
            yield self._checked(made_from)
        else:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            yield from self._write(data, StoreWriter(self.output, made_from))
            yield self._told()

    def _made_from(self, data: WindowDataModule, settings: Mapping[str, Any]) -> dict[str, Any]:
        files = data.files() if isinstance(data, Shardable) else ()
        left_out = WINDOWS | {"path"} if files else WINDOWS  # the files have full names
        kept = {key: value for key, value in settings.items() if key not in left_out}
        return {
            "settings": kept,
            "part_rows": self.part_rows,
            "files": {str(path.absolute()): _seen(path) for path in files},
        }

    def _write(self, data: WindowDataModule, writer: StoreWriter) -> Iterator[str]:
        if writer.done:
            yield f"{writer.folder.name} holds {writer.done:,} shards already; going on."
        for shard in self._shards(data, writer):
            writer.append(shard)
            yield f"shard {writer.done:,}: {len(shard.series.values):,} rows, up to {_last_of(shard)}"
        writer.finish()

    def _shards(self, data: WindowDataModule, writer: StoreWriter) -> Iterator[Shard]:
        if isinstance(data, Shardable):
            yield from data.shards(writer.folder / "shards", self.part_rows, writer.done)
        elif not writer.done:
            yield Shard(data.read())

    def _checked(self, made_from: Mapping[str, Any]) -> str:
        """That the store is there already and what it should be."""
        if not (self.output / META).exists():
            raise InputError(f"output={self.output} exists and is no store; name another place or remove it.")
        if difference := differing(read_meta(self.output)["made_from"], made_from):
            raise InputError(
                f"output={self.output} was made from other {difference}; name another output, or delete that one."
            )
        return f"{self.output} is there already: {verify(self.output):,} bytes, all checksums right."

    def _told(self) -> str:
        series = open_store(self.output)
        size = sum(file.stat().st_size for file in self.output.iterdir())
        counts = f"{len(series):,} series, {len(series.values):,} rows, {size:,} bytes"
        return f"Written: {self.output} ({counts}); train with data=store data.path={self.output}"


def _seen(path: Path) -> dict[str, int]:
    """What shows that a file has changed."""
    state = path.stat()
    return {"bytes": state.st_size, "modified": state.st_mtime_ns}


def _last_of(shard: Shard) -> str:
    return shard.series.name(len(shard.series) - 1)
