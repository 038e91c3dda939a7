"""Write a store shard by shard, so that an interrupted conversion can continue."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.arrays import CHUNK
from datamodules.precision import choose_precision, float32_swallows
from datamodules.series import SeriesSet, Shard
from datamodules.store.categories import MATRICES, RECODED, CategoryEncoder
from datamodules.store.format import (
    FORMAT,
    META,
    NAMES,
    PLAIN_FIELDS,
    ROW_ARRAYS,
    VERSION,
    AppendOnlyFiles,
    FileRecord,
    file_name,
    partial_path,
    sync,
    write_json,
)
from datamodules.tables.gaps import MOST_ABSENT, MOST_ABSENT_PER_ROW
from datamodules.timezones import format_time, utc_to_local
from seqmodels.errors import InputError

PROGRESS = "progress.json"
MAX_NOTES = 50
ARRAYS = (*ROW_ARRAYS, "static", "lengths")
COLUMN_NAMES = {"values": "channels", "observed": "channels", **MATRICES}  # field with the column names of an array
DTYPES = {"lengths": "<i8", "time": "<i8", "observed": "|b1"}  # all other arrays hold 32-bit floats
WIDE = "wide_"  # prefix of a file of targets that needs 64-bit floats


class StoreWriter:
    """Appends shards to a store, whose name ends in ``.partial`` until ``finish``.

    ``made_from``: files and settings that the store is made from, in JSON types. An unfinished store made from the
    same ones is continued after its ``done`` shards; one made from others raises InputError.
    """

    def __init__(self, output: Path, made_from: Mapping[str, Any]):
        self.output, self.folder = output, partial_path(output)
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = self._progress(made_from)
        self.made_from, self.done = dict(made_from), progress["done"]
        records = {name: FileRecord(*record) for name, record in progress["extents"].items()}
        self.files = AppendOnlyFiles(self.folder, records)
        self.common: dict[str, Any] = progress["common"]
        self.categories = CategoryEncoder(progress["categories"], progress["blank"])
        self.notes: dict[str, list] = progress["notes"]  # text without numbers -> [first note, how many more]
        self.pending: int = progress["pending"]  # rows of the last series so far
        self.static: list[float] | None = progress["static"]  # static values of the last series
        self.unobserved: int = progress["unobserved"]
        self.wide: bool = progress.get("wide", False)  # True if the targets are 64-bit floats

    def _progress(self, made_from: Mapping[str, Any]) -> dict[str, Any]:
        file = self.folder / PROGRESS
        if not file.exists():
            return {"done": 0, "extents": {}, "common": {}, "categories": {}, "blank": [], "notes": {},
                    "pending": 0, "static": None, "unobserved": 0}  # fmt: skip
        progress = json.loads(file.read_text(encoding="utf-8"))
        if difference := describe_difference(progress["made_from"], made_from):
            raise InputError(
                f"{self.folder} was started with other {difference}: run the command that started it, or delete it."
            )
        return progress

    def append(self, shard: Shard) -> None:
        """Write one more shard to the disk; InputError if it does not fit the shards before."""
        self._check(shard.series)
        series = self.categories.encode(narrow_covariates(choose_precision(shard.series)))
        if series.values.dtype == np.float64 and not self.wide:
            self._widen_targets()
        if shard.continues:
            series = bridge_gap(shard._replace(series=series), self._last_row(series))
        self._append_rows(series)
        self._append_series(series, shard.continues)
        self.unobserved += series.missing
        self._note(series.notes)
        self.done += 1
        self._commit()

    def _append_rows(self, series: SeriesSet) -> None:
        time = None if series.time is None else series.time.view(np.int64)
        for name in ROW_ARRAYS:
            array = {"observed": _mask(series), "time": time}.get(name, getattr(series, name))
            if array is not None:
                self.files.append(self._file(name), array.astype(self._dtype(name)))

    def _file(self, name: str) -> str:
        return (WIDE if name == "values" and self.wide else "") + file_name(name)

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype("<f8" if name == "values" and self.wide else DTYPES.get(name, "<f4"))

    def _widen_targets(self) -> None:
        """Copy the targets so far to a file of 64-bit floats; the old one stays until the shard is written."""
        self.wide, old = True, file_name("values")
        if self.files.records.pop(old, None) is not None:
            with (self.folder / old).open("rb") as stream:
                while block := stream.read(4 * CHUNK):
                    self.files.append(self._file("values"), np.frombuffer(block, "<f4").astype("<f8"))

    def _append_series(self, series: SeriesSet, continues: bool) -> None:
        """Write lengths, names and static values, but keep those of the last series: the next shard may continue it."""
        if continues:
            self.pending += len(series.values)
            self._continue_static(series)
            return
        lengths = [self.pending, *series.lengths] if self.pending else series.lengths
        self.pending = int(lengths[-1])
        self.files.append(file_name("lengths"), np.array(lengths[:-1], np.int64))
        self.files.append(NAMES, "".join(json.dumps(name) + "\n" for name in series.names).encode())
        if series.static is not None:
            static = np.concatenate([self._pending_static(series.static), series.static])
            self.files.append(file_name("static"), static[:-1])
            self.static = static[-1].tolist()

    def _pending_static(self, like: np.ndarray) -> np.ndarray:
        """Static values (0 or 1, columns) that are not written yet."""
        return np.array([] if self.static is None else self.static, like.dtype).reshape(-1, like.shape[1])

    def _continue_static(self, series: SeriesSet) -> None:
        """Fill in static values that the rows so far lacked; InputError if any of the others changes."""
        if series.static is None:
            return
        rows = np.concatenate([self._pending_static(series.static), series.static])
        categories = [bool(self.categories.columns.get(name)) for name in series.static_names]
        missing = np.isnan(rows) | (np.array(categories) & (rows == 0))
        changed = np.flatnonzero((rows[0] != rows[-1]) & ~missing.any(axis=0))
        if len(changed):
            raise InputError(
                f"{series.source}: column {series.static_names[changed[0]]!r} changes within series {series.name(0)!r},"
                " but a column of data.statics must not: name it in data.past_covariates or data.known_covariates."
            )
        self.static = np.where(missing[0], rows[-1], rows[0]).tolist()

    def _last_row(self, like: SeriesSet) -> SeriesSet:
        """Read back the last row written; ``like`` has the same columns."""
        row: dict[str, Any] = {}
        for name in ("values", "time", "past_covariates", "known_covariates"):
            if (array := getattr(like, name)) is not None:
                dtype = self._dtype(name)
                width = dtype.itemsize * array[:1].size
                with (self.folder / self._file(name)).open("rb") as file:
                    file.seek(self.files.records[self._file(name)].size - width)
                    cells = np.frombuffer(file.read(width), dtype).reshape(1, *array.shape[1:])
                    row[name] = cells.view(array.dtype) if name == "time" else cells
        return SeriesSet(offsets=np.array([0, 1]), channels=like.channels, **row)

    def _check(self, series: SeriesSet) -> None:
        fields = {key: getattr(series, key) for key in PLAIN_FIELDS if key != "notes"}
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
        found["time"] = None if series.time is None else str(series.time.dtype)
        self.common = self.common or found
        self._reconcile(found)
        if found != self.common:
            key = next(key for key, value in found.items() if value != self.common[key])
            raise InputError(
                f"{series.source}: {key} is {found[key]!r} from {series.name(0)} on, but {self.common[key]!r} before;"
                " all series must agree."
            )

    def _reconcile(self, found: dict[str, Any]) -> None:
        """Take UTC for UTC offsets that differ, and the frequency of others if series of one row each have none."""
        zones = found["zone"], self.common["zone"]
        if zones[0] != zones[1] and all(zone.startswith(("UTC", "Etc/GMT")) for zone in zones):
            found["zone"] = self.common["zone"] = "UTC"
        for unknown, other in ((found, self.common), (self.common, found)):
            if not unknown["frequency"]:
                unknown.update(frequency=other["frequency"], season=other["season"])

    def _note(self, notes: tuple[str, ...]) -> None:
        for note in notes:
            similar = self.notes.setdefault(re.sub(r"\d[\d,]*", "#", note), [note, 0])
            similar[1] += note != similar[0]

    def _commit(self) -> None:
        self.files.sync()
        progress = {
            "made_from": self.made_from, "done": self.done, "extents": self.files.records, "common": self.common,
            "categories": self.categories.columns, "blank": self.categories.blank, "notes": self.notes,
            "pending": self.pending, "static": self.static, "unobserved": self.unobserved, "wide": self.wide,
        }  # fmt: skip
        write_json(self.folder / PROGRESS, progress)

    def finish(self) -> None:
        """Write pending rows and give the store its name."""
        self.files.append(file_name("lengths"), np.array([self.pending], np.int64))
        if self.static is not None:
            self.files.append(file_name("static"), np.array(self.static, np.float32))
        self.categories.recode(self.files, self.common)
        if not self.unobserved:
            del self.files.records[file_name("observed")]
        self.files.sync()
        write_json(self.folder / META, self._meta())
        publish(self.output)

    def _meta(self) -> dict[str, Any]:
        common, records = self.common, self.files.records
        names = {name: (self._file(name), RECODED + file_name(name)) for name in ARRAYS}
        files = {name: file for name, either in names.items() for file in either if file in records}
        return {
            "format": FORMAT, "version": VERSION, **{key: common[key] for key in PLAIN_FIELDS if key != "notes"},
            "notes": _summarise(self.notes), "time": common["time"], "categories": self.categories.sorted_values(),
            "unobserved": self.unobserved, "arrays": {name: self._array(name, file) for name, file in files.items()},
            "checksums": {name: record.checksum for name, record in records.items()}, "made_from": self.made_from,
        }  # fmt: skip

    def _array(self, name: str, file: str) -> dict[str, Any]:
        """Entry of an array in ``store.json``."""
        dtype = self._dtype(name)
        width = [len(self.common[COLUMN_NAMES[name]])] if name in COLUMN_NAMES else []
        rows = self.files.records[file].size // (dtype.itemsize * int(np.prod(width)))
        return {"file": file, "dtype": dtype.str, "shape": [rows, *width]}


def narrow_covariates(series: SeriesSet) -> SeriesSet:
    """Covariates and statics as float32; InputError for a column too large for that."""
    changed: dict[str, Any] = {}
    for name, names in MATRICES.items():
        matrix = getattr(series, name)
        if matrix is not None and matrix.dtype == np.float64:
            for column, cells in zip(getattr(series, names), matrix.T, strict=True):
                if float32_swallows(cells):
                    raise InputError(
                        f"{series.source}: the values of column {column!r} are too large for the differences between"
                        " them, which the float32 of a store would lose: subtract a constant from the column, or train"
                        " with data=csv."
                    )
            changed[name] = matrix.astype(np.float32)
    return replace(series, **changed)


def publish(output: Path) -> None:
    """Give a complete store its name, and remove the files that were needed to write it."""
    folder = partial_path(output)
    needed = json.loads((folder / META).read_text(encoding="utf-8"))["checksums"]
    for other in folder.iterdir():
        if other.is_dir():
            shutil.rmtree(other)
        elif other.name not in (META, *needed):
            other.unlink()
    sync(folder)
    folder.rename(output)
    sync(output.parent)


def _mask(series: SeriesSet) -> np.ndarray:
    return np.ones(series.values.shape, bool) if series.observed is None else series.observed


def _summarise(notes: Mapping[str, list]) -> list[str]:
    """One line for each kind of note."""
    lines = [
        f"{note} (likewise in {more:,} more shard{'s' if more > 1 else ''})" if more else note
        for note, more in notes.values()
    ]
    return lines[:MAX_NOTES] + ([f"and {len(lines) - MAX_NOTES:,} more notes"] if len(lines) > MAX_NOTES else [])


def describe_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Key and values of the first difference between two descriptions of a source; "" if they are equal."""
    for key in sorted({*then, *now}):
        old, new = then.get(key), now.get(key)
        if old != new:
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                return f"{key}.{describe_difference(old, new)}"
            return f"{key} ({old!r} then, {new!r} now)"
    return ""


def bridge_gap(shard: Shard, last: SeriesSet) -> SeriesSet:
    """Insert the absent steps between ``last``, the last row written, and a shard that continues its series.

    They become unobserved zeros with the covariates of the last row. Raises InputError if the shard does not come
    later, or not a whole number of steps later.
    """
    series = shard.series
    if last.time is None or series.time is None:
        return series
    steps = _count_steps(shard, last)
    if steps == 1:
        return series
    assert shard.frequency is not None
    zeros = np.zeros_like(last.values).repeat(steps - 1, axis=0)
    times = shard.frequency.advance(last.time.repeat(steps - 1), np.arange(1, steps))
    return replace(
        series,
        values=np.concatenate([zeros, series.values]),
        observed=np.concatenate([zeros.astype(bool), _mask(series)]),
        time=np.concatenate([times, series.time]),
        past_covariates=_prepend(last.past_covariates, steps - 1, series.past_covariates),
        known_covariates=_prepend(last.known_covariates, steps - 1, series.known_covariates),
        offsets=np.array([0, len(series.values) + steps - 1]),
    )


def _prepend(row: np.ndarray | None, times: int, rows: np.ndarray | None) -> np.ndarray | None:
    return rows if row is None or rows is None else np.concatenate([row.repeat(times, axis=0), rows])


def _count_steps(shard: Shard, last: SeriesSet) -> int:
    """Steps from the last row written to the first one of the shard; 1 if none is absent."""
    series = shard.series
    assert series.time is not None and last.time is not None
    before, after = (format_time(utc_to_local(time, series.zone)[0]) for time in (last.time, series.time[:1]))
    place = f"{series.source}: time {after} of {series.name(0) if series.names else 'the one series'}"
    if series.time[0] <= last.time[0]:
        raise InputError(
            f"{place} comes later in the table than {before}; a series of more rows than conversion.part_rows must be"
            " sorted by time, without duplicates: sort the table first, or raise conversion.part_rows."
        )
    steps = 1 if shard.frequency is None else int(shard.frequency.steps_between(last.time, series.time[:1])[0])
    if steps < 1:
        raise InputError(f"{place} is not a whole number of steps after {before}: rows must be evenly spaced.")
    if steps > MOST_ABSENT_PER_ROW * len(series.values) + MOST_ABSENT:
        raise InputError(f"{place} lies {steps:,} steps after {before}: check the times.")
    return steps
