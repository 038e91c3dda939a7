"""The files that a path names, opened as one table: a single file, a list, or a directory of partitions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from datamodules.tables.csv_file import CsvFile, open_csv
from datamodules.tables.source import Source, open_parquet
from seqmodels.window import InputError


@dataclass
class Files(Source):
    """Files of the same columns, one after another; ``partitions`` are columns that only the directories' names hold.

    Each partition holds one text for each file, None where it is null.
    """

    members: Sequence[Source] = ()
    prefix: str = ""  # what the names of all members begin with and their places need not repeat
    partitions: dict[str, list[str | None]] = field(default_factory=dict)
    heights: list[int] = field(default_factory=list)

    def load(self, numbers: Sequence[str], texts: Sequence[str], *, steps: bool) -> None:
        numbers, texts = ([name for name in names if name not in self.partitions] for names in (numbers, texts))
        for member in self.members:
            member.load(numbers, texts, steps=steps)
        schemas = [member.frame.collect_schema() for member in self.members]
        texts_anywhere = {name for name in numbers if any(schema[name] == pl.String for schema in schemas)}
        for member, schema in zip(self.members, schemas, strict=True):
            # A category 07 must not become the number 7 in a file that happens to hold no other texts.
            changed = [name for name in numbers if name in texts_anywhere and schema[name] == pl.Float32]
            if isinstance(member, CsvFile) and changed:
                member.load([name for name in numbers if name not in changed], [*texts, *changed], steps=steps)

    def cells(self, name: str, keys: bool = False) -> pl.Series:
        if name in self.partitions:
            return self._partition(name)
        parts = [member.cells(name, keys) for member in self.members]
        self.heights = [len(part) for part in parts]
        for part, member in zip(parts, self.members, strict=True):
            if not _alike(part.dtype, parts[0].dtype):
                raise InputError(
                    f"{member.name}: column {name!r} holds {part.dtype}, but {parts[0].dtype} "
                    f"in {self.members[0].name}; all files must hold the same."
                )
        return pl.concat([part.to_frame() for part in parts], how="vertical_relaxed").to_series()

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


def _alike(one: pl.DataType, other: pl.DataType) -> bool:
    """Whether columns of these types can be joined without a change of meaning."""
    texts = (pl.String, pl.Categorical, pl.Enum)
    times = isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime) and one.time_zone == other.time_zone
    numbers = one.is_numeric() and other.is_numeric()
    # A column of a CSV file is text as soon as one of its cells is no number.
    either = one == pl.Null or other == pl.Null or {one, other} == {pl.String, pl.Float32}
    return one == other or numbers or times or either or (one in texts and other in texts)


def check_same_columns(source: Source) -> None:
    """Raise ``InputError`` for the first file of a table whose columns are not those of the first file."""
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
    """Open what ``path`` names: a file, a directory, or a list of files in the order in which they follow one another.

    Raises ``InputError`` for a URL, a missing, empty or damaged file, another suffix, duplicate names of columns, and
    a directory without tables or with both CSV and Parquet files.
    """
    if not isinstance(path, (str, PathLike)):
        return _open_list(path)
    if not _is_address(fspath(path)) and Path(path).expanduser().is_dir():
        return _open_directory(Path(path).expanduser())
    place = _existing(fspath(path))
    return _open_file(place, place.name)


def _is_address(path: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def _existing(path: str) -> Path:
    """Check that ``path`` is a local file of a known kind."""
    if _is_address(path):
        raise InputError(f"data.path={path} is a URL, but only local files are read: download it first.")
    place = Path(path).expanduser()
    if place.is_dir():
        raise InputError(f"data.path={path} is a directory; a list names files, and a directory stands alone.")
    if not place.is_file():
        raise InputError(f"data.path={path} does not exist as a file (relative paths start at {Path.cwd()}).")
    if not place.name.lower().endswith(SUFFIXES):
        raise InputError(f"data.path={path} has an unknown suffix; accepted are {', '.join(SUFFIXES)}.")
    return place


def _open_file(place: Path, name: str) -> Source:
    if place.stat().st_size == 0:
        raise InputError(f"{name} is empty: the first line must name the columns.")
    return open_parquet(place, name) if _is_parquet(place) else open_csv(place, name)


def _is_parquet(place: Path) -> bool:
    return place.name.lower().endswith(".parquet")


def _open_list(given: Sequence[str | PathLike[str]]) -> Source:
    if not given:
        raise InputError("data.path names no file; at least one is needed.")
    other = next((one for one in given if not isinstance(one, (str, PathLike))), None)
    if other is not None:
        raise InputError(f"data.path holds a {type(other).__name__}; it must be a list of files or one data frame.")
    paths = [fspath(path) for path in given]
    places = [_existing(path) for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"data.path names {twice} more than once; each file counts once.")
    short = len({place.name for place in places}) == len(places)
    members = [_open_file(place, place.name if short else path) for place, path in zip(places, paths, strict=True)]
    if len(members) == 1:
        return members[0]
    others = members[1].name if len(members) == 2 else f"{len(members) - 1} more files"
    return _joined(f"{members[0].name} and {others}", members)


def _open_directory(folder: Path) -> Source:
    """All tables in a directory and those below it, in the order of their names."""
    name = folder.resolve().name
    seen = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    tables = [path for path in seen if path.name.lower().endswith(SUFFIXES)]
    if not tables:
        raise InputError(f"data.path={folder} is a directory without files that end in {', '.join(SUFFIXES)}.")
    other = next((path for path in tables if _is_parquet(path) != _is_parquet(tables[0])), None)
    if other is not None:
        both = f"{tables[0].relative_to(folder)} and {other.relative_to(folder)}"
        raise InputError(f"data.path={folder} holds CSV and Parquet files ({both}); one kind is needed.")
    places = [path.relative_to(folder).as_posix() for path in tables]
    members = [_open_file(path, f"{name}/{place}") for path, place in zip(tables, places, strict=True)]
    source = _joined(name, members, prefix=f"{name}/", partitions=_partitions(name, places))
    if len(tables) < len(seen):
        others = sorted(path.relative_to(folder).as_posix() for path in set(seen) - set(tables))
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        source.notes += (f"{name}: files that are no tables are left aside: {others[0]}{more}.",)
    return source


def _is_hidden(path: Path) -> bool:
    """Files that writers of data sets leave beside the tables, such as _SUCCESS and .part-0.crc."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _partitions(name: str, places: list[str]) -> dict[str, list[str | None]]:
    """The columns that directories such as ``region=north`` stand for."""
    found = [dict(part.split("=", 1) for part in place.split("/")[:-1] if "=" in part) for place in places]
    for place, values in zip(places, found, strict=True):
        if values.keys() != found[0].keys():
            raise InputError(
                f"{name}/{place} lies in directories for {', '.join(values) or 'no column'}, "
                f"but {name}/{places[0]} in those for {', '.join(found[0]) or 'no column'}; all files must agree."
            )
    texts = {key: [unquote(values[key]) for values in found] for key in found[0]}
    return {key: [None if text == NO_VALUE else text for text in column] for key, column in texts.items()}


def _joined(
    name: str, members: list[Source], prefix: str = "", partitions: dict[str, list[str | None]] | None = None
) -> Files:
    first = members[0].columns
    folders = {key: values for key, values in (partitions or {}).items() if key not in first}
    notes = dict.fromkeys(note for member in members for note in member.notes)
    return Files(name, (*first, *folders), tuple(notes), members=members, prefix=prefix, partitions=folders)
