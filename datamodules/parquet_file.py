"""One Parquet file: knows its columns and their types, and reads them with polars when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from datamodules.cells import Source, unreadable


@dataclass
class ParquetFile(Source):
    """A file whose schema has been read; its columns stay on disk until one is asked for."""

    path: Path = Path()

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        self.frame = self._scan().select([*texts, *numbers])

    def where(self, row: int) -> str:
        return f"row {row + 1}"

    def cell(self, row: int, column: str) -> str:
        return str(self._scan().select(column).slice(row, 1).collect().item())

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)


def open_parquet(path: Path, name: str) -> ParquetFile:
    """Read the schema; raises ``InputError`` for a file that is damaged."""
    try:
        return ParquetFile(name, tuple(pl.read_parquet_schema(path)), path=path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(name, error) from error
