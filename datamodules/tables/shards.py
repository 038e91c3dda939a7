"""Divides a long table of any size into shards of whole series that fit into memory; knows files, not their meaning.

The table is read twice in the order of its rows, a batch at a time: once to count the rows of each series, once to
write the rows of each shard into files of its own. Memory is that of a few batches and one entry for each series; on
the disk the columns that are read stand twice while it lasts.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from datamodules.frequency import Grid, find_grid
from datamodules.series import SeriesSet, Shard
from datamodules.tables.csv_file import CsvFile
from datamodules.tables.files import Files, check_same_columns
from datamodules.tables.reader import open_source, read_table
from datamodules.tables.roles import Roles, find_layout, names
from datamodules.tables.source import ParquetFile, Source, unreadable
from datamodules.tables.values import kinds_of

BATCH = 2**20  # rows
# Names of columns that no table has
ROW, SHARD, SHARDS = "row of the table", "first shard of the series", "shards of the series"
FIRST, ROWS, SERIES = "first row of the series", "rows of the series", "number of the series"
DONE = "divided.json"


@dataclass
class ShardTable(Source):
    """Some rows of another table, which say in messages where they stand there."""

    whole: Source = field(kw_only=True)
    rows: np.ndarray = field(kw_only=True)  # their numbers in the whole table

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        self.frame = self.frame.select([*texts, *numbers])

    def where(self, row: int) -> str:
        self._count()
        return self.whole.where(int(self.rows[row]))

    def place(self, row: int) -> str:
        self._count()
        return self.whole.place(int(self.rows[row]))

    def cell(self, row: int, column: str) -> str:
        self._count()
        return self.whole.cell(int(self.rows[row]), column)

    @property
    def is_shard(self) -> bool:
        return True

    def _count(self) -> None:
        """Let the files know how many rows each of them has, to find one of them."""
        if isinstance(self.whole, Files) and not self.whole.heights:
            self.whole.heights = [scanned(member).select(pl.len()).collect().item() for member in self.whole.members]


def is_on_disk(source: Source) -> bool:
    """Whether the table stands in files, so that it can be read a batch at a time."""
    return all(isinstance(part, CsvFile | ParquetFile) for part in source.parts)


def paths_of(source: Source) -> list[Path]:
    """The files of such a table."""
    return [part.path for part in source.parts if isinstance(part, CsvFile | ParquetFile)]


def scanned(source: Source) -> pl.LazyFrame:
    """All columns of a table in files, unread; those of a CSV file as texts."""
    if isinstance(source, CsvFile):
        return pl.scan_csv(source.path, separator=source.separator, infer_schema_length=0, glob=False)
    if isinstance(source, ParquetFile):
        return pl.scan_parquet(source.path, glob=False, hive_partitioning=False)
    assert isinstance(source, Files)
    members = []
    for number, member in enumerate(source.members):
        folders = {name: pl.lit(values[number], pl.String) for name, values in source.partitions.items()}
        members.append(scanned(member).with_columns(**folders))
    return pl.concat(members, how="vertical_relaxed")


def batches(source: Source, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a table in files, a batch of rows at a time."""
    yield from scanned(source).select(columns).collect_batches(chunk_size=BATCH, maintain_order=True)


def write_shards(source: Source, roles: Roles, folder: Path, rows: int) -> list[bool]:
    """Write the rows of each shard into ``folder``, unless that is done; whether each shard continues the one before.

    A shard has whole series of about ``rows`` rows together; a longer series is cut in the order of the table.
    Raises ``InputError`` for a file that is damaged.
    """
    done = folder / DONE
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            continues = _write(_numbered(source, roles), list(roles.id), folder, rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(source.name, error) from error
        done.write_text(json.dumps(continues), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def open_shard(source: Source, folder: Path, number: int, kinds: Mapping[str, str]) -> ShardTable:
    """Shard ``number`` of a divided table, of whose columns ``kinds`` says what they hold."""
    files = sorted(folder.glob(f"{number}-*.parquet"), key=lambda path: int(path.stem.partition("-")[2]))
    frame = pl.concat([pl.read_parquet(path) for path in files])
    cells, rows = frame.drop(ROW).lazy(), frame[ROW].to_numpy()
    return ShardTable(source.name, source.columns, source.notes, cells, kinds=kinds, whole=source, rows=rows)


def _numbered(source: Source, roles: Roles) -> pl.LazyFrame:
    """The columns that are needed, and the number of each row; without the lines of a CSV file that are empty."""
    for part in source.parts:
        if isinstance(part, CsvFile):
            part.refuse_long_rows()
    columns = [*roles.texts, *roles.numbers]
    frame = scanned(source).select(columns).with_row_index(ROW)
    if not any(isinstance(part, CsvFile) for part in source.parts):
        return frame
    full = pl.any_horizontal(pl.col(columns).is_not_null())
    if roles.texts:
        return frame.filter(full)
    last = frame.filter(full).select(pl.col(ROW).max()).collect(engine="streaming").item()
    return frame.head(0 if last is None else last + 1)  # an empty line between others is a missing step


def _write(frame: pl.LazyFrame, keys: list[str], folder: Path, rows: int) -> list[bool]:
    series, continues = _assigned(_counted(frame, keys), rows)
    before = np.zeros(len(series), np.int64)  # rows of each series in earlier batches
    for number, batch in enumerate(frame.collect_batches(chunk_size=BATCH, maintain_order=True)):
        placed = _joined(batch, series, keys)
        members = placed[SERIES].to_numpy()
        rank = pl.lit(pl.Series(before[members])) + pl.int_range(pl.len()).over(SERIES)
        placed = placed.select(*batch.columns, pl.col(SHARD) + rank * pl.col(SHARDS) // pl.col(ROWS))
        before += np.bincount(members, minlength=len(before))
        for (shard,), part in placed.partition_by(SHARD, include_key=False, as_dict=True).items():
            part.write_parquet(folder / f"{shard}-{number}.parquet", compression="lz4", statistics=False)
    return continues


def _joined(batch: pl.DataFrame, series: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The rows of a batch, in their order, with what is known of their series."""
    if not keys:
        return batch.join(series, how="cross")
    return batch.join(series, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _counted(frame: pl.LazyFrame, keys: list[str]) -> pl.DataFrame:
    """First row and rows of each series, in order of first appearance."""
    measures = [pl.col(ROW).min().alias(FIRST), pl.len().cast(pl.Int64).alias(ROWS)]
    counted = frame.group_by(keys).agg(measures) if keys else frame.select(measures)
    return counted.collect(engine="streaming").sort(FIRST)


def _assigned(counted: pl.DataFrame, rows: int) -> tuple[pl.DataFrame, list[bool]]:
    """The numbered series with their first shard and how many they have; whether each continues the one before."""
    first: list[int] = []
    shards: list[int] = []
    continues: list[bool] = []
    room = 0
    for length in counted[ROWS].to_list():
        wanted = -(-length // rows)
        if wanted > 1 or length > room:
            continues += [False] + [True] * (wanted - 1)
            room = rows if wanted == 1 else 0
        first.append(len(continues) - wanted)
        shards.append(wanted)
        room = max(0, room - length)
    columns = [pl.Series(SHARD, first, dtype=pl.Int64), pl.Series(SHARDS, shards, dtype=pl.Int64)]
    return counted.with_row_index(SERIES).with_columns(columns), continues


ROLES = ("target", "time", "series_id", "past_covariates", "known_covariates", "statics")


def read_shards(path: Any, folder: Path, rows: int, done: int, **settings: Any) -> Iterator[Shard]:
    """All shards but the first ``done`` of the table that ``read_table`` would read with these settings.

    A table that is not long, stands in no file, or has no more than ``rows`` rows is one shard. The grid of the steps
    is that of the first shard in which a series has two rows. What is put into ``folder`` may be removed in the end.
    """
    source, roles = open_source(path), Roles(*(names(settings[role]) for role in ROLES))
    if find_layout(settings["layout"], roles) != "long" or not is_on_disk(source) or _height(source) <= rows:
        if not done:
            yield Shard(read_table(source, **settings))
        return
    check_same_columns(source)
    continues = write_shards(source, roles.of(source), folder, rows)
    covariates = [*roles.past_covariates, *roles.known_covariates, *roles.statics]
    kinds = kinds_of(batches(source, covariates), settings["missing_values"]) if covariates else {}
    grid: Grid | None = None
    for number in range(len(continues)):
        if number < done and grid is not None:
            continue
        series = read_table(open_shard(source, folder, number, kinds), grid=grid, **settings)
        grid = grid or _grid_of(series)
        if number >= done:
            yield Shard(_named(series, grid), continues[number], grid)


def _height(source: Any) -> int:
    return sum(scanned(part).select(pl.len()).collect(engine="streaming").item() for part in source.parts)


def _grid_of(series: SeriesSet) -> Grid | None:
    return None if series.time is None else find_grid(series.time, series.offsets[:-1], series.zone)


def _named(series: SeriesSet, grid: Grid | None) -> SeriesSet:
    """The frequency of the whole table also where a shard has too few rows to show it."""
    return series if grid is None else replace(series, frequency=grid.name, season=grid.season)
