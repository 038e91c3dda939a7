"""Files of the time series classification archives (.ts): one labelled sequence a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from seqmodels.errors import InputError

LABEL = "label"  # name of the column of labels
ONLY = "value"  # name of the only channel; several are called channel_1, channel_2, ...


class Header(NamedTuple):
    """Settings in the lines before the data."""

    classes: tuple[str, ...] | None = None  # None: there are none, or the label is a number
    number: bool = False  # True if the label is a number
    dimensions: int | None = None

    @property
    def labelled(self) -> bool:
        return self.number or self.classes is not None


def read_ts(path: Path) -> pl.DataFrame:
    """Read one row per sequence: a list of numbers for each channel, null if missing, and ``label`` if there is one.

    Class labels stay texts. Raises InputError, with file and line, for other files, and for time stamps.

    Source: the format of the archives of Dau et al. 2019 and Bagnall et al. 2018.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    header, first = read_header(path, lines)
    rows: list[tuple[list[list[float | None]], str]] = []
    for number, line in _rows(lines, first):
        rows.append(read_row(f"{path.name}, line {number}", line, header))
        if len(rows[-1][0]) != len(rows[0][0]):
            raise InputError(
                f"{path.name}, line {number}: has {len(rows[-1][0])} channels, but {len(rows[0][0])} in the lines"
                " before; channels are separated by colons."
            )
    if not rows:
        raise InputError(f"{path.name}: there is no sequence after @data.")
    count = len(rows[0][0])
    names = [ONLY] if count == 1 else [f"channel_{index + 1}" for index in range(count)]
    columns = {name: [row[index] for row, _ in rows] for index, name in enumerate(names)}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.List(pl.Float64)))
    if not header.labelled:
        return frame
    labels = pl.Series(LABEL, [label for _, label in rows])
    return frame.with_columns(_to_numbers(path, lines, first, labels) if header.number else labels)


def _rows(lines: list[str], first: int) -> Iterator[tuple[int, str]]:
    """Number and text of the lines from ``first`` on that hold a sequence."""
    return ((number, line) for number, line in enumerate(lines[first:], first + 1) if line.strip() and line[0] != "#")


def _to_numbers(path: Path, lines: list[str], first: int, labels: pl.Series) -> pl.Series:
    numbers = labels.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & (labels != "?")).arg_true()
    if len(wrong):
        place = [number for number, _ in _rows(lines, first)][wrong[0]]
        raise InputError(f"{path.name}, line {place}: the target {labels[wrong[0]]!r} is not a number.")
    return numbers


def read_header(path: Path, lines: list[str]) -> tuple[Header, int]:
    """The header, and the number of lines up to @data."""
    header = Header()
    for index, line in enumerate(lines):
        tag, *words = line.split() or [""]
        tag = tag.lower()
        if tag == "@data":
            return header, index + 1
        if tag and not tag.startswith(("#", "@")):
            break
        said = words[0].lower() if words else ""
        if tag == "@timestamps" and said == "true":
            raise InputError(
                f"{path.name}, line {index + 1}: holds time stamps, which are not read from .ts files; write a table"
                " with a column of times, and name it in data.time."
            )
        if tag == "@classlabel" and said == "true":
            header = header._replace(classes=tuple(words[1:]))
        elif tag == "@targetlabel" and said == "true":
            header = header._replace(number=True)
        elif tag in ("@dimensions", "@dimension") and said.isdigit():
            header = header._replace(dimensions=int(said))
    raise InputError(f"{path.name}: is not a .ts file: there is no line @data before the sequences.")


def read_row(place: str, line: str, header: Header) -> tuple[list[list[float | None]], str]:
    """The channels of a sequence and its label, else ""."""
    *parts, label = line.strip().split(":") if header.labelled else [*line.strip().split(":"), ""]
    if not parts or (header.dimensions is not None and len(parts) != header.dimensions):
        wanted = "" if header.dimensions is None else f", but @dimensions says {header.dimensions}"
        raise InputError(f"{place}: has {len(parts)} channels{wanted}; they and the label are separated by colons.")
    channels = [[_number(place, cell) for cell in part.split(",")] for part in parts]
    lengths = {len(channel) for channel in channels}
    if len(lengths) > 1:
        raise InputError(
            f"{place}: its channels have {min(lengths)} to {max(lengths)} values; all must have equally many."
        )
    label = label.strip()
    if header.classes and label not in (*header.classes, "?"):
        raise InputError(f"{place}: the label {label!r} is not one of @classLabel, {', '.join(header.classes)}.")
    return channels, label


def _number(place: str, cell: str) -> float | None:
    text = cell.strip()
    if text.lower() in ("?", "nan", ""):
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{place}: {text!r} is not a number; ? stands for a missing one.") from None
