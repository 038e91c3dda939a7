"""Writes a store shard by shard, so that one that was interrupted goes on: knows what shards have in common."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.series import SeriesSet, Shard
from datamodules.store.categories import MATRICES, SORTED, Dictionaries, file_of
from datamodules.store.format import (
    FORMAT,
    LARGE,
    META,
    NAMES,
    PARTIAL,
    TEXTS,
    VERSION,
    Appended,
    Extent,
    sync,
    write_json,
)
from datamodules.tables.gaps import MOST_ABSENT, MOST_ABSENT_PER_ROW
from datamodules.timezones import format_time, utc_to_local
from seqmodels.errors import InputError

PROGRESS = "progress.json"
COMMON = ("channels", "past_covariate_names", "known_covariate_names", "static_names", "zone", "frequency", "season")
MOST_NOTES = 50
ARRAYS = (*LARGE, "static", "lengths")
COLUMNS = {"values": "channels", "observed": "channels", **MATRICES}  # what names the columns of an array
TYPES = {"lengths": "<i8", "time": "<i8", "observed": "|b1"}  # of the arrays that hold no 32-bit floats


class StoreWriter:
    """Appends shards to a store that has another name until ``finish``.

    ``made_from`` says from which files and settings the store is made, in JSON's types; an unfinished store of the
    same is gone on with, and ``done`` shards are there already. Raises ``InputError`` where it is of others.
    """

    def __init__(self, output: Path, made_from: Mapping[str, Any]):
        self.output, self.folder = output, output.with_name(output.name + PARTIAL)
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = self._progress(made_from)
        self.made_from, self.done = dict(made_from), progress["done"]
        self.files = Appended(self.folder, {name: Extent(*extent) for name, extent in progress["extents"].items()})
        self.common: dict[str, Any] = progress["common"]
        self.categories = Dictionaries(progress["categories"], progress["blank"])
        self.notes: dict[str, list] = progress["notes"]  # by what similar ones have in common: the first, how many
        self.pending: int = progress["pending"]  # rows of the last series, which the next shard may continue
        self.static: list[float] | None = progress["static"]  # of that series
        self.unobserved: int = progress["unobserved"]

    def _progress(self, made_from: Mapping[str, Any]) -> dict[str, Any]:
        file = self.folder / PROGRESS
        if not file.exists():
            return {"done": 0, "extents": {}, "common": {}, "categories": {}, "blank": [], "notes": {},
                    "pending": 0, "static": None, "unobserved": 0}  # fmt: skip
        progress = json.loads(file.read_text(encoding="utf-8"))
        if difference := differing(progress["made_from"], made_from):
            raise InputError(
                f"{self.folder} was begun with other {difference}: run the command it was begun with, or delete it."
            )
        return progress

    def append(self, shard: Shard) -> None:
        """Write one more shard; when this returns it is on the disk. Raises ``InputError`` where it does not fit."""
        self._check(shard.series)
        series = self.categories.encoded(shard.series)
        if shard.continues:
            series = bridge_gap(shard._replace(series=series), self._last(series))
        self._append_rows(series)
        self._append_series(series, shard.continues)
        self.unobserved += series.missing
        self._note(series.notes)
        self.done += 1
        self._commit()

    def _append_rows(self, series: SeriesSet) -> None:
        observed = np.ones(series.values.shape, bool) if series.observed is None else series.observed
        time = None if series.time is None else series.time.view(np.int64)
        for name in LARGE:
            array = {"observed": observed, "time": time}.get(name, getattr(series, name))
            if array is not None:
                self.files.append(file_of(name), array)

    def _append_series(self, series: SeriesSet, continues: bool) -> None:
        """Lengths, names and statics; those of the last series wait, as the next shard may continue it."""
        if continues:
            self.pending += len(series.values)
            self._continue_static(series)
            return
        lengths = [self.pending, *series.lengths] if self.pending else series.lengths
        self.pending = int(lengths[-1])
        self.files.append(file_of("lengths"), np.array(lengths[:-1], np.int64))
        self.files.append(NAMES, "".join(json.dumps(name) + "\n" for name in series.names).encode())
        if series.static is not None:
            static = np.concatenate([self._waiting(series.static), series.static])
            self.files.append(file_of("static"), static[:-1])
            self.static = static[-1].tolist()

    def _waiting(self, like: np.ndarray) -> np.ndarray:
        """(0 or 1, columns) the statics that wait."""
        return np.array([] if self.static is None else self.static, like.dtype).reshape(-1, like.shape[1])

    def _continue_static(self, series: SeriesSet) -> None:
        """The rest of a series may have statics that its rows lacked so far, and must not change the others."""
        if series.static is None:
            return
        rows = np.concatenate([self._waiting(series.static), series.static])
        categories = [bool(self.categories.columns.get(name)) for name in series.static_names]
        missing = np.isnan(rows) | (np.array(categories) & (rows == 0))
        changed = np.flatnonzero((rows[0] != rows[-1]) & ~missing.any(axis=0))
        if len(changed):
            raise InputError(
                f"{series.source}: column {series.static_names[changed[0]]!r} changes within series {series.name(0)!r};"
                " columns of data.statics do not: name it in data.past_covariates or data.known_covariates."
            )
        self.static = np.where(missing[0], rows[-1], rows[0]).tolist()

    def _last(self, like: SeriesSet) -> SeriesSet:
        """The last row that was written."""
        names = ("values", "time", "past_covariates", "known_covariates")
        row: dict[str, Any] = {name: self._last_row(name, getattr(like, name)) for name in names}
        return SeriesSet(offsets=np.array([0, 1]), channels=like.channels, **row)

    def _last_row(self, name: str, like: np.ndarray | None) -> np.ndarray | None:
        if like is None:
            return None
        width = like.dtype.itemsize * int(np.prod(like.shape[1:]))
        with (self.folder / file_of(name)).open("rb") as file:
            file.seek(self.files.extents[file_of(name)].size - width)
            return np.frombuffer(file.read(width), like.dtype).reshape(1, *like.shape[1:])

    def _check(self, series: SeriesSet) -> None:
        found = {key: _plain(getattr(series, key)) for key in COMMON}
        found["time"] = None if series.time is None else str(series.time.dtype)
        found["source"] = series.source
        self.common = self.common or found
        self._reconcile(found)
        if found != self.common:
            key = next(key for key, value in found.items() if value != self.common[key])
            raise InputError(
                f"{series.source}: from {series.name(0)} on, {key} is {found[key]!r}, but {self.common[key]!r} before;"
                " all series must agree."
            )

    def _reconcile(self, found: dict[str, Any]) -> None:
        """Of offsets that change there is no zone but UTC; series of one row each do not show their frequency."""
        zones = found["zone"], self.common["zone"]
        if zones[0] != zones[1] and all(zone.startswith(("UTC", "Etc/GMT")) for zone in zones):
            found["zone"] = self.common["zone"] = "UTC"
        for one, other in ((found, self.common), (self.common, found)):
            if not one["frequency"]:
                one.update(frequency=other["frequency"], season=other["season"])

    def _note(self, notes: tuple[str, ...]) -> None:
        for note in notes:
            kept = self.notes.setdefault(re.sub(r"\d[\d,]*", "#", note), [note, 0])
            kept[1] += note != kept[0]

    def _commit(self) -> None:
        self.files.sync()
        progress = {
            "made_from": self.made_from, "done": self.done, "extents": self.files.extents, "common": self.common,
            "categories": self.categories.columns, "blank": self.categories.blank, "notes": self.notes,
            "pending": self.pending, "static": self.static, "unobserved": self.unobserved,
        }  # fmt: skip
        write_json(self.folder / PROGRESS, progress)

    def finish(self) -> None:
        """Give the store its name; nothing can be appended any more."""
        self.files.append(file_of("lengths"), np.array([self.pending], np.int64))
        if self.static is not None:
            self.files.append(file_of("static"), np.array(self.static, np.float32))
        self.categories.sort(self.files, self.common)
        if not self.unobserved:
            del self.files.extents[file_of("observed")]
        self.files.sync()
        write_json(self.folder / META, self._meta())
        publish(self.output)

    def _meta(self) -> dict[str, Any]:
        common, extents = self.common, self.files.extents
        files = {name: file for name in ARRAYS for file in (file_of(name), SORTED + file_of(name)) if file in extents}
        return {
            "format": FORMAT, "version": VERSION, **{key: common[key] for key in TEXTS if key != "notes"},
            "notes": _told(self.notes), "time": common["time"], "categories": self.categories.sorted(),
            "unobserved": self.unobserved, "arrays": {name: self._array(name, file) for name, file in files.items()},
            "checksums": {name: extent.checksum for name, extent in extents.items()}, "made_from": self.made_from,
        }  # fmt: skip

    def _array(self, name: str, file: str) -> dict[str, Any]:
        """What ``store.json`` says of an array."""
        dtype = np.dtype(TYPES.get(name, "<f4"))
        width = [len(self.common[COLUMNS[name]])] if name in COLUMNS else []
        rows = self.files.extents[file].size // (dtype.itemsize * int(np.prod(width)))
        return {"file": file, "dtype": dtype.str, "shape": [rows, *width]}


def publish(output: Path) -> None:
    """Give a store that is complete its name, and remove what was needed to write it."""
    folder = output.with_name(output.name + PARTIAL)
    needed = json.loads((folder / META).read_text(encoding="utf-8"))["checksums"]
    for other in folder.iterdir():
        if other.is_dir():
            shutil.rmtree(other)
        elif other.name not in (META, *needed):
            other.unlink()
    sync(folder)
    folder.rename(output)
    sync(output.parent)


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _told(notes: dict[str, list]) -> list[str]:
    """One line for each kind of note."""
    lines = [note if not more else f"{note} (likewise in {more:,} more shards)" for note, more in notes.values()]
    return lines[:MOST_NOTES] + ([f"and {len(lines) - MOST_NOTES:,} more notes"] if len(lines) > MOST_NOTES else [])


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Where two descriptions of what a store is made from differ, for people; empty where they do not."""
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            inner: Any = one.get(key), other.get(key)
            if all(isinstance(value, Mapping) for value in inner):
                return f"{key}.{differing(*inner)}"
            return f"{key} ({inner[0]!r} then, {inner[1]!r} now)"
    return ""


def bridge_gap(shard: Shard, last: SeriesSet) -> SeriesSet:
    """The series of a shard that continues the one of which ``last`` is the last row, with the steps absent between.

    They are unobserved zeros with the covariates of the row before. Raises ``InputError`` where the shard does not
    come later, or stands on no grid point.
    """
    series = shard.series
    if last.time is None or series.time is None:
        return series
    steps = _steps(shard, last)
    if steps == 1:
        return series
    assert shard.frequency is not None
    zeros = np.zeros_like(last.values).repeat(steps - 1, axis=0)
    times = shard.frequency.advance(last.time.repeat(steps - 1), np.arange(1, steps))
    mask = np.ones(series.values.shape, bool) if series.observed is None else series.observed
    return replace(
        series,
        values=np.concatenate([zeros, series.values]),
        observed=np.concatenate([zeros.astype(bool), mask]),
        time=np.concatenate([times, series.time]),
        past_covariates=_after(last.past_covariates, steps, series.past_covariates),
        known_covariates=_after(last.known_covariates, steps, series.known_covariates),
        offsets=np.array([0, len(series.values) + steps - 1]),
    )


def _after(row: np.ndarray | None, steps: int, rows: np.ndarray | None) -> np.ndarray | None:
    if row is None or rows is None:
        return rows
    return np.concatenate([row.repeat(steps - 1, axis=0), rows])


def _steps(shard: Shard, last: SeriesSet) -> int:
    """From the last row before to the first one of the shard; 1 where they are neighbours."""
    series = shard.series
    assert series.time is not None and last.time is not None
    before, after = (format_time(utc_to_local(time, series.zone)[0]) for time in (last.time, series.time[:1]))
    place = f"{series.source}: time {after} of {series.name(0) if series.names else 'the one series'}"
    if series.time[0] <= last.time[0]:
        raise InputError(
            f"{place} comes later in the table than {before}; a series of more rows than conversion.part_rows must"
            " stand in the order of time, each time once: sort the table first, or raise conversion.part_rows."
        )
    steps = 1 if shard.frequency is None else int(shard.frequency.steps_between(last.time, series.time[:1])[0])
    if steps < 1:
        raise InputError(f"{place} is no whole number of steps after {before}: rows must lie on a regular grid.")
    if steps > MOST_ABSENT_PER_ROW * len(series.values) + MOST_ABSENT:
        raise InputError(f"{place} lies {steps:,} steps after {before}: check the times.")
    return steps
