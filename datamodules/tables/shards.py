"""Reading a long table of any size in shards of whole series that fit into memory.

The table is read twice in file order, in batches: first the rows of each series are counted, then the rows of each
shard are written to files of its own. This needs the memory of a few batches and of one entry per series; on the disk,
the columns that are read exist twice until all shards are read.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from datamodules.frequency import Frequency, infer_frequency
from datamodules.series import SeriesSet, Shard
from datamodules.tables.files import Files, check_same_columns
from datamodules.tables.forgotten import refuse_forgotten_time
from datamodules.tables.numerals import NumberFormat
from datamodules.tables.reader import open_source, read_table
from datamodules.tables.roles import Roles, find_layout, to_times, to_tuple
from datamodules.tables.source import CsvFile, ParquetFile, Source, read_error
from datamodules.tables.values import text_kinds

BATCH = 2**20  # rows
# Names of added columns, which no table has
ROW, SHARD, SHARDS = "row of the table", "first shard of the series", "shards of the series"
FIRST, ROWS, SERIES = "first row of the series", "rows of the series", "number of the series"
DONE = "shards.json"
ROLES = ("target", "time", "series_id", "past_covariates", "known_covariates", "statics")


def read_shards(path: Any, folder: Path, rows: int, done: int, **settings: Any) -> Iterator[Shard]:
    """Read all shards but the first ``done`` of a table; ``settings`` are those of ``read_table``.

    A shard has about ``rows`` rows. A table that is not long, is not in files, or has no more than ``rows`` rows is a
    single shard. All shards get the frequency of the first shard in which a series has two rows. Temporary files are
    written to ``folder``, which may be removed in the end.
    """
    source = open_source(path)
    roles = Roles(*(to_times(settings[role]) if role == "time" else to_tuple(settings[role]) for role in ROLES))
    is_long = find_layout(settings["layout"], roles) == "long"
    heights = _heights(source) if is_long and paths_of(source) else []
    if sum(heights) <= rows:
        if not done:
            yield Shard(read_table(source, **settings))
        return
    check_same_columns(source)
    if settings["time"] == "auto":
        refuse_forgotten_time(source, roles)
    if isinstance(source, Files):
        source.heights = heights  # by which an error message finds the file of a row
    roles = roles.resolve(source)
    continues = write_shards(source, roles, folder, rows)
    covariates = (*roles.past_covariates, *roles.known_covariates)
    source.decimal = settings.get("decimal")
    cells = _batches(source.scan().select(roles.numbers))
    kinds = text_kinds(source, covariates, cells, settings["missing_values"])
    frequency: Frequency | None = None
    for number in range(len(continues)):
        if number < done and frequency is not None:
            continue
        series = read_table(open_shard(source, folder, number, kinds), frequency=frequency, **settings)
        frequency = frequency or _infer_frequency(series)
        if number >= done:
            yield Shard(_set_frequency(series, frequency), continues[number], frequency)


def paths_of(source: Source) -> list[Path]:
    """Files of a table, none for a data frame."""
    return [part.path for part in source.parts if isinstance(part, CsvFile | ParquetFile)]


def _heights(source: Source) -> list[int]:
    return [part.scan().select(pl.len()).collect(engine="streaming").item() for part in source.parts]


def _infer_frequency(series: SeriesSet) -> Frequency | None:
    return None if series.time is None else infer_frequency(series.time, series.offsets[:-1], series.zone)


def _set_frequency(series: SeriesSet, frequency: Frequency | None) -> SeriesSet:
    """A shard may have too few rows to show the frequency of the table."""
    return series if frequency is None else replace(series, frequency=frequency.name, season=frequency.season)


def _batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return frame.collect_batches(chunk_size=BATCH, maintain_order=True)


@dataclass
class ShardTable(Source):
    """Some rows of a larger table; messages name their place there."""

    whole: Source = field(kw_only=True)
    rows: np.ndarray = field(kw_only=True)  # row numbers in the whole table

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        self.frame = self.frame.select([*texts, *numbers])

    def where(self, row: int) -> str:
        return self.whole.where(int(self.rows[row]))

    def place(self, row: int) -> str:
        return self.whole.place(int(self.rows[row]))

    def cell(self, row: int, column: str) -> str:
        return self.whole.cell(int(self.rows[row]), column)

    @property
    def is_shard(self) -> bool:
        return True


def open_shard(source: Source, folder: Path, number: int, kinds: Mapping[str, str | NumberFormat]) -> ShardTable:
    """Open a shard that ``write_shards`` wrote; ``kinds`` are those of the text columns of the whole table."""
    files = sorted(folder.glob(f"{number}-*.parquet"), key=lambda path: int(path.stem.partition("-")[2]))
    frame = pl.concat([pl.read_parquet(path) for path in files])
    cells, rows = frame.drop(ROW).lazy(), frame[ROW].to_numpy()
    return ShardTable(source.name, source.columns, source.notes, cells, kinds=kinds, whole=source, rows=rows)


def write_shards(source: Source, roles: Roles, folder: Path, rows: int) -> list[bool]:
    """Write the rows of each shard to ``folder`` unless this is done; return for each if it continues the previous one.

    A shard has whole series of about ``rows`` rows in total; a longer series is split in file order. Raises
    ``InputError`` for a damaged file.
    """
    done = folder / DONE
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            continues = _write(_number_rows(source, roles), list(roles.id), folder, rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise read_error(source.name, error) from error
        done.write_text(json.dumps(continues), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def _number_rows(source: Source, roles: Roles) -> pl.LazyFrame:
    """The needed columns and the number of each row, without the blank lines of a CSV file."""
    for part in source.parts:
        if isinstance(part, CsvFile):
            part.refuse_long_rows()
    columns = [*roles.texts, *roles.numbers]
    frame = source.scan().select(columns).with_row_index(ROW)
    if not any(isinstance(part, CsvFile) for part in source.parts):
        return frame
    full = pl.any_horizontal(pl.col(columns).is_not_null())
    if roles.texts:
        return frame.filter(full)
    last = frame.filter(full).select(pl.col(ROW).max()).collect(engine="streaming").item()
    return frame.head(0 if last is None else last + 1)  # a blank line between others is a missing step


def _write(frame: pl.LazyFrame, ids: list[str], folder: Path, rows: int) -> list[bool]:
    series, continues = _assign_shards(_count_series(frame, ids), rows)
    before = np.zeros(len(series), np.int64)  # rows of each series in earlier batches
    for number, batch in enumerate(_batches(frame)):
        placed = _join_series(batch, series, ids)
        codes = placed[SERIES].to_numpy()
        rank = pl.lit(pl.Series(before[codes])) + pl.int_range(pl.len()).over(SERIES)
        placed = placed.select(*batch.columns, pl.col(SHARD) + rank * pl.col(SHARDS) // pl.col(ROWS))
        before += np.bincount(codes, minlength=len(before))
        for (shard,), part in placed.partition_by(SHARD, include_key=False, as_dict=True).items():
            part.write_parquet(folder / f"{shard}-{number}.parquet", compression="lz4", statistics=False)
    return continues


def _join_series(batch: pl.DataFrame, series: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    """Add the columns of their series to the rows of a batch, in their order."""
    if not ids:
        return batch.join(series, how="cross")
    return batch.join(series, on=ids, how="left", nulls_equal=True, maintain_order="left")


def _count_series(frame: pl.LazyFrame, ids: list[str]) -> pl.DataFrame:
    """First row and number of rows of each series, in order of first appearance."""
    measures = [pl.col(ROW).min().alias(FIRST), pl.len().cast(pl.Int64).alias(ROWS)]
    counted = frame.group_by(ids).agg(measures) if ids else frame.select(measures)
    return counted.collect(engine="streaming").sort(FIRST)


def _assign_shards(counted: pl.DataFrame, rows: int) -> tuple[pl.DataFrame, list[bool]]:
    """Add each series' number, first shard and number of shards; return also if each shard continues the previous."""
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
