"""Opening the files that a path names as one table: a single file, a list, or a directory with Hive partitions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from datamodules.tables.source import CsvFile, Frame, Source, open_csv, open_parquet
from seqmodels.errors import InputError


@dataclass
class Files(Source):
    """Files with the same columns, one after another.

    ``partitions`` are columns that only the names of directories hold: one text per file, None for null.
    """

    members: Sequence[Source] = ()
    prefix: str = ""  # common start of the names of all members, omitted in ``where``
    partitions: dict[str, list[str | None]] = field(default_factory=dict)
    heights: list[int] = field(default_factory=list)  # rows of each member, once known

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        numbers, texts = ([name for name in names if name not in self.partitions] for names in (numbers, texts))
        for member in self.members:
            member.load(numbers, texts, steps=steps)
        schemas = [member.frame.collect_schema() for member in self.members]
        text_anywhere = {name for name in numbers if any(schema[name] == pl.String for schema in schemas)}
        for member, schema in zip(self.members, schemas, strict=True):
            # A category 07 must not become the number 7 in a file that happens to hold no other texts.
            changed = [name for name in numbers if name in text_anywhere and schema[name] == pl.Float64]
            if isinstance(member, CsvFile) and changed:
                member.load([name for name in numbers if name not in changed], [*texts, *changed], steps=steps)

    def cells(self, name: str, categorical: bool = False) -> pl.Series:
        if name in self.partitions:
            return self._partition(name)
        parts = [member.cells(name, categorical) for member in self.members]
        self.heights = [len(part) for part in parts]
        for part, member in zip(parts, self.members, strict=True):
            if not _compatible(part.dtype, parts[0].dtype):
                raise InputError(
                    f"{member.name}: column {name!r} holds {part.dtype}, but {parts[0].dtype} "
                    f"in {self.members[0].name}; all files must hold the same."
                )
        return pl.concat([part.to_frame() for part in parts], how="vertical_relaxed").to_series()

    def scan(self) -> pl.LazyFrame:
        members = []
        for number, member in enumerate(self.members):
            folders = {name: pl.lit(values[number], pl.String) for name, values in self.partitions.items()}
            members.append(member.scan().with_columns(**folders))
        return pl.concat(members, how="vertical_relaxed")

    def where(self, row: int) -> str:
        member, row = self._find(row)
        return member.place(row).removeprefix(self.prefix)

    def place(self, row: int) -> str:
        return self.prefix + self.where(row)

    def cell(self, row: int, column: str) -> str:
        member, row = self._find(row)
        return member.cell(row, column)

    @property
    def parts(self) -> Sequence[Source]:
        return self.members

    @property
    def decimal_marks(self) -> set[str]:
        return set().union(*(member.decimal_marks for member in self.members))

    def _find(self, row: int) -> tuple[Source, int]:
        """The file of a row, and the row within it."""
        ends = np.cumsum(self.heights)
        index = int(np.searchsorted(ends, row, side="right"))
        return self.members[index], row - int(ends[index]) + self.heights[index]

    def _partition(self, name: str) -> pl.Series:
        values = self.partitions[name]
        if not self.heights:
            self.heights = [int(member.collect(pl.len()).item()) for member in self.members]
        numbers = all(value is None or re.fullmatch(r"0|-?[1-9]\d*", value) for value in values)
        cells = pl.Series(name, values).cast(pl.Int64 if numbers else pl.Categorical)
        return cells.gather(np.repeat(np.arange(len(values), dtype=np.uint32), self.heights))


def _compatible(one: pl.DataType, other: pl.DataType) -> bool:
    """True if columns of these types can be concatenated without a change of meaning."""
    texts = (pl.String, pl.Categorical, pl.Enum)
    times = isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime) and one.time_zone == other.time_zone
    numbers = one.is_numeric() and other.is_numeric()
    # A column of a CSV file is text as soon as one of its cells is not a number.
    either = one == pl.Null or other == pl.Null or {one, other} == {pl.String, pl.Float64}
    return one == other or numbers or times or either or (one in texts and other in texts)


def check_same_columns(source: Source) -> None:
    """Raise ``InputError`` for the first file whose columns differ from those of the first file."""
    first, *others = source.parts
    for part in others:
        for column in part.columns:
            if column not in first.columns:
                raise InputError(f"{part.name} has a column {column!r} that {first.name} lacks; all files must agree.")
        for column in first.columns:
            if column not in part.columns:
                raise InputError(f"{part.name} lacks column {column!r} of {first.name}; all files must agree.")


SUFFIXES = (".csv", ".csv.gz", ".parquet")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # how Hive, Spark and others write the partition of null


def open_files(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> Source:
    """Open a file, a directory, or a list of files in their given order.

    Raises ``InputError`` for a URL, a missing, empty or damaged file, an unknown suffix, repeated column names, and a
    directory without tables or with both CSV and Parquet files.
    """
    if not isinstance(path, (str, PathLike)):
        return _open_list(path)
    if not _is_url(fspath(path)) and Path(path).expanduser().is_dir():
        return _open_directory(Path(path).expanduser())
    file = _check_file(fspath(path))
    return _open_file(file, file.name)


def _is_url(path: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def _check_file(path: str) -> Path:
    """Check that ``path`` is a local file of a known kind."""
    if _is_url(path):
        raise InputError(f"data.path={path} is a URL, but only local files are read: download it first.")
    file = Path(path).expanduser()
    if file.is_dir():
        raise InputError(f"data.path={path} is a directory; a list may only hold files, so give the directory alone.")
    if not file.is_file():
        raise InputError(f"data.path={path} does not exist as a file (relative paths start at {Path.cwd()}).")
    if not file.name.lower().endswith(SUFFIXES):
        raise InputError(f"data.path={path} has an unknown suffix; accepted are {', '.join(SUFFIXES)}.")
    return file


def _open_file(file: Path, name: str) -> Source:
    if file.stat().st_size == 0:
        raise InputError(f"{name} is empty: the first line must name the columns.")
    return open_parquet(file, name) if _is_parquet(file) else open_csv(file, name)


def _is_parquet(file: Path) -> bool:
    return file.name.lower().endswith(".parquet")


def _open_list(given: Sequence[str | PathLike[str]]) -> Source:
    if not given:
        raise InputError("data.path names no file; at least one is needed.")
    other = next((one for one in given if not isinstance(one, (str, PathLike))), None)
    if other is not None:
        raise InputError(f"data.path holds a {type(other).__name__}; it must be a list of files or one data frame.")
    paths = [fspath(path) for path in given]
    files = [_check_file(path) for path in paths]
    repeated = next((path for path, file in zip(paths, files, strict=True) if files.count(file) > 1), None)
    if repeated is not None:
        raise InputError(f"data.path names {repeated} more than once; each file may appear only once.")
    short = len({file.name for file in files}) == len(files)
    members = [_open_file(file, file.name if short else path) for file, path in zip(files, paths, strict=True)]
    if len(members) == 1:
        return members[0]
    others = members[1].name if len(members) == 2 else f"{len(members) - 1} more files"
    return _concatenate(f"{members[0].name} and {others}", members)


def _open_directory(folder: Path) -> Source:
    """Open all tables in a directory and its subdirectories, in the order of their names."""
    name = folder.resolve().name
    seen = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    tables = [path for path in seen if path.name.lower().endswith(SUFFIXES)]
    if not tables:
        raise InputError(f"data.path={folder} is a directory without files that end in {', '.join(SUFFIXES)}.")
    other = next((path for path in tables if _is_parquet(path) != _is_parquet(tables[0])), None)
    if other is not None:
        both = f"{tables[0].relative_to(folder)} and {other.relative_to(folder)}"
        raise InputError(f"data.path={folder} holds CSV and Parquet files ({both}); all must be of one kind.")
    places = [path.relative_to(folder).as_posix() for path in tables]
    members = [_open_file(path, f"{name}/{place}") for path, place in zip(tables, places, strict=True)]
    source = _concatenate(name, members, prefix=f"{name}/", partitions=_partitions(name, places))
    if len(tables) < len(seen):
        others = sorted(path.relative_to(folder).as_posix() for path in set(seen) - set(tables))
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        source.notes += (f"{name}: files that are not tables are ignored: {others[0]}{more}.",)
    return source


def _is_hidden(path: Path) -> bool:
    """True for files that writers of data sets add to the tables, such as _SUCCESS and .part-0.crc."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _partitions(name: str, places: list[str]) -> dict[str, list[str | None]]:
    """Columns given by the names of directories such as ``region=north``."""
    found = [dict(part.split("=", 1) for part in place.split("/")[:-1] if "=" in part) for place in places]
    for place, values in zip(places, found, strict=True):
        if values.keys() != found[0].keys():
            raise InputError(
                f"{name}/{place} lies in directories for {', '.join(values) or 'no column'}, "
                f"but {name}/{places[0]} in those for {', '.join(found[0]) or 'no column'}; all files must agree."
            )
    texts = {key: [unquote(values[key]) for values in found] for key in found[0]}
    return {key: [None if text == NO_VALUE else text for text in column] for key, column in texts.items()}


def _concatenate(
    name: str, members: list[Source], prefix: str = "", partitions: dict[str, list[str | None]] | None = None
) -> Files:
    first = members[0].columns
    folders = {key: values for key, values in (partitions or {}).items() if key not in first}
    notes = dict.fromkeys(note for member in members for note in member.notes)
    renamed = members[0].renamed
    return Files(
        name, (*first, *folders), tuple(notes), renamed=renamed, members=members, prefix=prefix, partitions=folders
    )


def append_future(source: Source, future: Source, needed: Sequence[str]) -> Files:
    """The rows of ``source`` and then those of ``future``, whose other columns are missing.

    Raises InputError if the future lacks one of the ``needed`` columns.
    """
    absent = next((name for name in needed if name not in future.columns), None)
    if absent is not None:
        raise InputError(f"{future.name} has no column {absent!r}, which forecasts need for every future step.")
    others = [pl.lit(None).alias(name) for name in source.columns if name not in future.columns]
    rows = future.scan().with_columns(others).select(source.columns)
    return _concatenate(source.name, [source, Frame(future.name, source.columns, future.notes, data=rows)])
