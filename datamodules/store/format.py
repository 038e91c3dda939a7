"""A data set as flat files in one directory: knows their format, and maps them so that they need no memory.

``store.json`` holds the version of the format, everything that is no array, and the file, type and shape of each
array, whose numbers stand there row by row in little-endian order; also the checksums of all files.
"""

import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.arrays import memory_map, release
from datamodules.series import SeriesSet
from seqmodels.errors import InputError

FORMAT, VERSION = "series store", 1
META, NAMES = "store.json", "names.jsonl"
PARTIAL = ".partial"  # ends the name of a store that is being written
BYTES_AT_ONCE = 2**26
LARGE = ("values", "observed", "time", "past_covariates", "known_covariates")  # one entry per row
TEXTS = ("channels", "past_covariate_names", "known_covariate_names", "static_names", "zone", "frequency", "season",
         "source", "notes")  # fields of a SeriesSet that stand in store.json as they are  # fmt: skip


@dataclass(frozen=True, eq=False)
class StoredSeries(SeriesSet):
    """Series whose rows lie in files; ``unobserved`` values were counted when these were written."""

    unobserved: int = 0

    @property
    def missing(self) -> int:
        return self.unobserved

    @property
    def row_bytes(self) -> int:
        """Bytes that a window reads for each of its steps."""
        return sum(array.itemsize * array.shape[1] for array in self._read_by_windows)

    @property
    def files(self) -> int:
        """How many files a window reads."""
        return len(self._read_by_windows)

    @property
    def _read_by_windows(self) -> list[np.ndarray]:
        arrays = (self.values, self.observed, self.past_covariates, self.known_covariates)
        return [array for array in arrays if array is not None]

    def release(self) -> None:
        """Give back the memory of all rows that were read."""
        for name in LARGE:
            release(getattr(self, name))


def open_store(path: str | Path) -> StoredSeries:
    """Map a store, with its checksums unread: see ``verify``.

    Raises ``InputError`` where there is none, where it is of another version, and for a file that is absent or of
    another size than was written.
    """
    folder = Path(path).expanduser()
    meta = read_meta(folder)
    arrays: dict[str, Any] = {name: _open_array(folder, name, array) for name, array in meta["arrays"].items()}
    lengths = arrays.pop("lengths")
    plain: dict[str, Any] = {key: tuple(meta[key]) if isinstance(meta[key], list) else meta[key] for key in TEXTS}
    if "time" in arrays:
        arrays["time"] = arrays["time"].view(meta["time"])
    return StoredSeries(
        **arrays,
        **plain,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        names=_names(folder),
        categories={column: tuple(values) for column, values in meta["categories"].items()},
        unobserved=meta["unobserved"],
    )


def read_meta(folder: Path) -> dict[str, Any]:
    """What ``store.json`` says; raises ``InputError`` where it cannot be read or is of another version."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_absent(folder)) from None
    except ValueError as error:
        raise InputError(
            f"{folder / META} is no JSON ({error}): the store is damaged, convert the data anew."
        ) from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{folder / META} does not describe a {FORMAT}.")
    if meta["version"] != VERSION:
        raise InputError(
            f"{folder} has format version {meta['version']}, but {VERSION} is read: convert the data anew."
        )
    if sys.byteorder != "little":
        raise InputError(f"{folder} holds little-endian numbers, which this machine cannot map.")
    return meta


def _absent(folder: Path) -> str:
    if folder.with_name(folder.name + PARTIAL).is_dir():
        return f"{folder} is not finished: run the same convert.py command again, it goes on where it stopped."
    if folder.is_dir():
        return f"{folder} is a directory without {META}, so it is no store; make one with convert.py."
    return f"{folder} does not exist (relative paths start at {Path.cwd()}); make a store with convert.py."


def _open_array(folder: Path, name: str, array: Mapping[str, Any]) -> np.ndarray:
    file, dtype, shape = folder / array["file"], np.dtype(array["dtype"]), tuple(array["shape"])
    check_size(file, dtype.itemsize * int(np.prod(shape)))
    if name in LARGE:
        return memory_map(file, dtype, shape)
    return np.fromfile(file, dtype).reshape(shape)


def check_size(file: Path, size: int) -> None:
    """Raise ``InputError`` unless the file has as many bytes as were written."""
    found = file.stat().st_size if file.is_file() else None
    if found != size:
        state = "is absent" if found is None else f"has {found:,} bytes"
        raise InputError(f"{file} {state}, but {size:,} were written: the store is damaged, convert the data anew.")


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(json.loads(line) for line in (folder / NAMES).read_text(encoding="utf-8").splitlines())


def verify(path: str | Path) -> int:
    """Read a whole store and compare its checksums; gives the bytes read.

    Raises ``InputError`` for what ``open_store`` refuses, and for the first file whose content has changed.
    """
    folder = Path(path).expanduser()
    open_store(folder)
    total = 0
    for name, recorded in read_meta(folder)["checksums"].items():
        checksum = 0
        for piece in _pieces(folder / name):
            checksum, total = zlib.crc32(piece, checksum), total + len(piece)
        if checksum != recorded:
            raise InputError(
                f"{folder / name} has the CRC-32 {checksum:08x}, but {recorded:08x} was written: its content has"
                " changed, convert the data anew."
            )
    return total


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(BYTES_AT_ONCE):
            yield piece


class Extent(NamedTuple):
    """How far a file was written, and the CRC-32 of it."""

    size: int = 0
    checksum: int = 0


class Appended:
    """The files of a folder by name, each appended to; ``extents`` says how far they are."""

    def __init__(self, folder: Path, extents: Mapping[str, Extent]):
        """Cut every file back to its extent: what a process wrote before it died may be half of it."""
        self.folder, self.extents = folder, dict(extents)
        for name, extent in extents.items():
            os.truncate(folder / name, extent.size)

    def append(self, name: str, content: np.ndarray | bytes | memoryview) -> None:
        """Put the numbers of an array, or bytes, at the end of a file."""
        if not isinstance(content, bytes):
            content = np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
        extent = self.extents.get(name, Extent())
        with (self.folder / name).open("ab" if name in self.extents else "wb") as file:
            file.write(content)
        self.extents[name] = Extent(extent.size + len(content), zlib.crc32(content, extent.checksum))

    def sync(self) -> None:
        """Return when all of it is on the disk."""
        for name in self.extents:
            sync(self.folder / name)


def sync(path: Path) -> None:
    """Return when a file or the names in a directory are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as a whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    sync(new)
    new.replace(path)
    sync(path.parent)
