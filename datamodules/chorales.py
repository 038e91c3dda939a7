"""Chorales of Bach, note by note, in the windows of the textbook."""

import csv
import io
import tarfile
from dataclasses import replace
from os import PathLike
from pathlib import PurePosixPath
from typing import Literal

import polars as pl

from datamodules.labelled import SequenceEncoder
from datamodules.sequences import Sequences
from datamodules.series import SeriesSet
from seqmodels.errors import InputError, require_at_least

PARTS = {"train": "train", "valid": "validation", "test": "test"}  # by folder of the archive


class Chorales(Sequences):
    """The next note of four voices, which sound one after another: windows of ``chords`` chords, each ``shift`` later.

    ``path``: the archive jsb_chorales.tgz with a CSV file for each chorale, a row for each chord, in the folders train,
    valid and test. A window of 33 chords has 132 notes, of which the last 131 are predicted. The rest: ``Sequences``.

    Source: Géron, chapter 15, exercise 10; the split is that of Boulanger-Lewandowski et al. 2012.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        chords: int = 33,
        shift: int = 16,
        batch_size: int | Literal["auto"] = "auto",
        evaluation_batch_size: int = 1024,
        seed: int = 0,
    ):
        super().__init__(
            path, target="note", predict="next", label_type="class", id="window",
            batch_size=batch_size, evaluation_batch_size=evaluation_batch_size, seed=seed,
        )  # fmt: skip
        require_at_least(1, "data", chords=chords, shift=shift)
        self.chords, self.shift = chords, shift

    def read(self) -> SeriesSet:
        self.paths.update(read_chorales(self.path, self.chords, self.shift))
        return super().read()

    def encoder(self) -> SequenceEncoder:  # type: ignore[override]  # as in Sequences
        return replace(super().encoder(), path=None)  # the archive is no table


def read_chorales(path: str | PathLike[str], chords: int, shift: int) -> dict[str, pl.DataFrame]:
    """Windows of each part, one row each: the name of the window and the list of its notes."""
    windows: dict[str, list[tuple[str, list[int]]]] = {stage: [] for stage in PARTS.values()}
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda one: one.name):
                place = PurePosixPath(member.name)
                if place.suffix == ".csv" and place.parent.name in PARTS and (file := archive.extractfile(member)):
                    rows = list(csv.reader(io.TextIOWrapper(file)))[1:]
                    notes = [int(cell) for row in rows for cell in row]
                    windows[PARTS[place.parent.name]] += [
                        (f"{place.parent.name}/{place.stem}/{start}", notes[4 * start : 4 * (start + chords)])
                        for start in range(0, len(rows) - chords + 1, shift)
                    ]
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InputError(f"data.path={path} cannot be read as the archive of the chorales ({error}).") from None
    empty = [folder for folder, stage in PARTS.items() if not windows[stage]]
    if empty:
        raise InputError(f"data.path={path} holds no chorale of {chords} chords in a folder {empty[0]}/.")
    return {stage: pl.DataFrame(rows, schema=["window", "note"], orient="row") for stage, rows in windows.items()}
