"""Opening the files that a path names as one table: a single file, a list, or a directory with Hive partitions."""

import atexit
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import numpy as np
import polars as pl

from datamodules.tables.source import CsvFile, Frame, Source, open_csv, open_parquet, read_error
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
    expected = set(first.columns)
    for part in others:
        names = set(part.columns)
        for column in part.columns:
            if column not in expected:
                raise InputError(f"{part.name} has a column {column!r} that {first.name} lacks; all files must agree.")
        for column in first.columns:
            if column not in names:
                raise InputError(f"{part.name} lacks column {column!r} of {first.name}; all files must agree.")


SUFFIXES = (".csv", ".csv.gz", ".parquet")
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls")
TIMEOUT = 30  # seconds without an answer from the web
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # how Hive, Spark and others write the partition of null


def open_files(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> Source:
    """Open a file, a directory, or a list of files in their given order; http addresses are downloaded.

    Raises ``InputError`` for another URL, a missing, empty or damaged file, an unknown suffix, and a directory without
    tables or with both CSV and Parquet files.
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
    """Check that ``path`` is a file of a known kind; one of the web is downloaded first."""
    place = urlsplit(path).path if _is_url(path) else path
    if not place.lower().endswith((*SUFFIXES, *SPREADSHEETS)):
        kinds = ", ".join((*SUFFIXES, *SPREADSHEETS))
        if _is_url(path) or Path(path).expanduser().is_file():
            raise InputError(f"data.path={path} has an unknown suffix; accepted are {kinds}.")
    if _is_url(path):
        return _download(path)
    file = Path(path).expanduser()
    if file.is_dir():
        raise InputError(f"data.path={path} is a directory; a list may only hold files, so give the directory alone.")
    if not file.is_file():
        raise InputError(f"data.path={path} does not exist as a file (relative paths start at {Path.cwd()}).")
    return file


@cache
def _download(url: str) -> Path:
    """Copy a file of the web to a temporary folder, which is removed at the end of the process."""
    if not re.match("https?://", url, re.IGNORECASE):
        raise InputError(f"data.path={url} is a URL, but only files and http(s) addresses are read: download it first.")
    folder = Path(mkdtemp(prefix="seqmodels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / unquote(PurePosixPath(urlsplit(url).path).name)
    try:
        with urlopen(url, timeout=TIMEOUT) as response, file.open("wb") as copy:
            shutil.copyfileobj(response, copy)
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, HTTPError):
            error.close()
        raise InputError(f"data.path={url} cannot be downloaded ({reason}): download it yourself.") from error
    return file


def _open_file(file: Path, name: str) -> Source:
    if file.stat().st_size == 0:
        raise InputError(f"{name} is empty: the first line must name the columns.")
    if file.name.lower().endswith(SPREADSHEETS):
        return _open_spreadsheet(file, name)
    return open_parquet(file, name) if _is_parquet(file) else open_csv(file, name)


def _open_spreadsheet(file: Path, name: str) -> Source:
    try:
        data = pl.read_excel(file)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name}: spreadsheets need the package fastexcel: pip install 'seqmodels[excel]', or save it as CSV."
        ) from error
    except Exception as error:  # the reader of fastexcel has errors of its own
        raise read_error(name, error) from error
    return Frame(name, tuple(data.columns), (f"{name}: the first sheet is read.",), data=data)


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
