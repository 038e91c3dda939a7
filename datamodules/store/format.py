"""Format of a store, a data set as flat files in one directory that are mapped into memory.

``store.json`` holds the version of the format, everything that is not an array, the file, type and shape of each
array, and the checksums of all files. Array files hold numbers row by row in little-endian order.
"""

import json
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.arrays import memory_map, release
from datamodules.series import SeriesSet
from seqmodels.errors import InputError

FORMAT, VERSION = "series store", 1
META, NAMES = "store.json", "names.jsonl"
BYTES_PER_READ = 2**26
ROW_ARRAYS = ("values", "observed", "time", "past_covariates", "known_covariates")  # one entry per row
PLAIN_FIELDS = ("channels", "past_covariate_names", "known_covariate_names", "static_names", "zone", "frequency",
                "season", "source", "notes")  # fields of a SeriesSet that store.json holds as they are  # fmt: skip


@dataclass(frozen=True, eq=False)
class StoredSeries(SeriesSet):
    """Series whose rows lie in mapped files; ``unobserved`` target values were counted when these were written."""

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
        """Number of files that a window reads."""
        return len(self._read_by_windows)

    @property
    def _read_by_windows(self) -> list[np.ndarray]:
        arrays = (self.values, self.observed, self.past_covariates, self.known_covariates)
        return [array for array in arrays if array is not None]

    def release(self) -> None:
        """Free the memory of all rows that were read."""
        for name in ROW_ARRAYS:
            release(getattr(self, name))


def file_name(array: str) -> str:
    """Name of the file that holds an array."""
    return f"{array}.bin"


def open_store(path: str | Path) -> StoredSeries:
    """Map a store into memory; ``verify`` compares its checksums.

    Raises InputError if there is no store of this version, or if a file is absent or has a wrong size.
    """
    folder = Path(path).expanduser()
    meta = read_meta(folder)
    arrays: dict[str, Any] = {name: _open_array(folder, name, array) for name, array in meta["arrays"].items()}
    lengths = arrays.pop("lengths")
    fields = {key: meta[key] for key in PLAIN_FIELDS}
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    if "time" in arrays:
        arrays["time"] = arrays["time"].view(meta["time"])
    return StoredSeries(
        **arrays,
        **plain,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        names=tuple(json.loads(line) for line in (folder / NAMES).read_text(encoding="utf-8").splitlines()),
        categories={column: tuple(values) for column, values in meta["categories"].items()},
        unobserved=meta["unobserved"],
    )


def read_meta(folder: Path) -> dict[str, Any]:
    """Return the content of ``store.json``; InputError if it cannot be read or has another version."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_why_absent(folder)) from None
    except ValueError as error:
        raise InputError(
            f"{folder / META} is not valid JSON ({error}): the store is damaged, convert the data again."
        ) from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{folder / META} does not describe a {FORMAT}.")
    if meta["version"] != VERSION:
        raise InputError(
            f"{folder} has format version {meta['version']}, but only {VERSION} can be read: convert the data again."
        )
    if sys.byteorder != "little":
        raise InputError(f"{folder} holds little-endian numbers, which this big-endian machine cannot map.")
    return meta


def partial_path(store: Path) -> Path:
    """Directory of a store that is not complete yet."""
    return store.with_name(store.name + ".partial")


def _why_absent(folder: Path) -> str:
    if partial_path(folder).is_dir():
        return f"{folder} is not finished: run the same command again, it continues where it stopped."
    if folder.is_dir():
        return f"{folder} is a directory without {META}, so it is not a store; make one with seqmodels convert."
    return f"{folder} does not exist (relative paths start at {Path.cwd()}); make a store with seqmodels convert."


def _open_array(folder: Path, name: str, array: Mapping[str, Any]) -> np.ndarray:
    file, dtype, shape = folder / array["file"], np.dtype(array["dtype"]), tuple(array["shape"])
    size = dtype.itemsize * int(np.prod(shape))
    found = file.stat().st_size if file.is_file() else None
    if found != size:
        state = "is absent" if found is None else f"has {found:,} bytes"
        raise InputError(f"{file} {state}, but {size:,} were written: the store is damaged, convert the data again.")
    if name in ROW_ARRAYS:
        return memory_map(file, dtype, shape)
    return np.fromfile(file, dtype).reshape(shape)


def verify(path: str | Path) -> int:
    """Read a whole store, compare its checksums and return its number of bytes.

    Raises InputError as ``open_store`` does, and for the first file whose content has changed.
    """
    folder = Path(path).expanduser()
    open_store(folder)
    total = 0
    for name, recorded in read_meta(folder)["checksums"].items():
        checksum = 0
        with (folder / name).open("rb") as stream:
            while block := stream.read(BYTES_PER_READ):
                checksum, total = zlib.crc32(block, checksum), total + len(block)
        if checksum != recorded:
            raise InputError(
                f"{folder / name} has the CRC-32 {checksum:08x}, but {recorded:08x} was written: its content has"
                " changed, convert the data again."
            )
    return total


class FileRecord(NamedTuple):
    """Bytes written to a file, and their CRC-32."""

    size: int = 0
    checksum: int = 0


class AppendOnlyFiles:
    """Files of one folder that only grow; ``records`` holds the contents of each, by name."""

    def __init__(self, folder: Path, records: Mapping[str, FileRecord]):
        """Truncate every file to its recorded size: an interrupted process may have written more."""
        self.folder, self.records = folder, dict(records)
        for name, record in records.items():
            os.truncate(folder / name, record.size)

    def append(self, name: str, content: np.ndarray | bytes | memoryview) -> None:
        """Append an array or bytes to a file."""
        if not isinstance(content, bytes):
            content = np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
        record = self.records.get(name, FileRecord())
        with (self.folder / name).open("ab" if name in self.records else "wb") as file:
            file.write(content)
        self.records[name] = FileRecord(record.size + len(content), zlib.crc32(content, record.checksum))

    def sync(self) -> None:
        """Wait until all files are on the disk."""
        for name in self.records:
            sync(self.folder / name)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically: completely or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    sync(new)
    new.replace(path)
    sync(path.parent)
