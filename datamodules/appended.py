"""Files that grow piece by piece and can be cut back to what was safe: knows sizes, checksums and the disk."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


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
