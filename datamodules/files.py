"""Several files as one table: knows that their columns must agree, and which row stands in which of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from datamodules.cells import Source
from datamodules.csv_file import CsvFile
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
