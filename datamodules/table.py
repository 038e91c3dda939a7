"""Windows from the user's own table."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet, Shard
from datamodules.tables.reader import open_source, read_table
from datamodules.tables.shards import paths_of, read_shards
from datamodules.tables.values import MissingValues


class Table(WindowDataModule):
    """Windows from a file, several files, a directory of files or, from Python, a polars or pandas data frame.

    ``path`` may also be series that ``read_table`` has read with the same arguments.

    The arguments up to ``duplicates`` are those of ``read_table``, where ``id`` is called ``series_id``:
    ``Table(frame, target="rides", time="date", past_steps=56, horizon=14)``.

    ``impute``: a run of a model that fills gaps, for the inputs of a forecaster; see ``seqmodels.imputed``.
    """

    def __init__(
        self,
        path: str | PathLike[str] | Sequence[str | PathLike[str]] | Any,
        *,
        target: str | Sequence[str],
        time: str | Sequence[str] | None = "auto",
        time_format: str | None = None,
        time_zone: str | None = None,
        id: str | Sequence[str] | None = None,  # the config key is data.id
        layout: str = "auto",
        past_covariates: str | Sequence[str] = (),
        known_covariates: str | Sequence[str] = (),
        statics: str | Sequence[str] = (),
        impute: str | None = None,
        missing_values: MissingValues | None = None,
        decimal: str | None = None,
        duplicates: str = "refuse",
        **windows: Any,
    ):
        super().__init__(**windows)
        self.path, self.impute = path, impute
        self.columns: dict[str, Any] = {
            "target": target,
            "time": time,
            "time_format": time_format,
            "time_zone": time_zone,
            "series_id": id,
            "layout": layout,
            "past_covariates": past_covariates,
            "known_covariates": known_covariates,
            "statics": statics,
            "missing_values": () if missing_values is None else missing_values,
            "decimal": decimal,
            "duplicates": duplicates,
        }

    def read(self) -> SeriesSet:
        return self.path if isinstance(self.path, SeriesSet) else read_table(self.path, **self.columns)

    def files(self) -> list[Path]:
        """Files of the table, none for a data frame."""
        return [] if isinstance(self.path, SeriesSet) else paths_of(open_source(self.path))

    def shards(self, folder: Path, rows: int, done: int) -> Iterator[Shard]:
        """Read the table some series at a time, see ``datamodules.tables.shards``."""
        return read_shards(self.path, folder, rows, done, **self.columns)
