"""Columns of cells as float32 numbers: missing values, categories, covariates and statics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from datamodules.covariates.column import CovariateColumn
from datamodules.tables.source import Source, plural
from seqmodels.errors import InputError

# What spreadsheets, R, SQL, pandas and SAS write for "no value"; compared after stripping blanks.
MISSING = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT",
    "null", "NULL", "Null", "None", "none", "-", "--", "?", ".",
)  # fmt: skip

NUMBERS, BOOLEANS, CATEGORIES = "numbers", "booleans", "categories"  # kinds of text columns
MOST_NUMBERS = 100_000  # distinct numbers of a text column that are counted; hardly any has as many other texts

Markers = Sequence[str | float]  # cells that mean "no value" in a certain table, such as -999
MissingValues = Markers | Mapping[str, Markers]  # the same for all columns, or by column


def to_numbers(table: Source, cells: pl.Series) -> np.ndarray:
    """Convert to (rows,) float32, NaN if missing; raises ``InputError`` for text, infinity and beyond float32."""
    if _is_text(cells):
        cells = _parse(table, cells)
    elif not (cells.dtype.is_numeric() or cells.dtype in (pl.Boolean, pl.Null)):
        raise InputError(f"{table.name}: column {cells.name!r} holds {cells.dtype}, but numbers are needed.")
    numbers = cells.cast(pl.Float32).to_numpy()
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{table.place(row)}: {table.cell(row, cells.name)!r} in column {cells.name!r} "
            "is not a finite number of at most 3.4e38 (float32)."
        )
    return numbers


def to_target(table: Source, cells: pl.Series) -> np.ndarray:
    """Like ``to_numbers``; raises ``InputError`` if a table that is not a shard has no number at all."""
    numbers = to_numbers(table, cells)
    if np.isnan(numbers).all() and not table.is_shard:
        raise InputError(f"{table.name}: target column {cells.name!r} holds no number at all.")
    return numbers


def to_covariate(table: Source, cells: pl.Series) -> CovariateColumn:
    """Numbers stay, the texts true and false become 1 and 0, other texts become categories.

    A text column is numeric if more than half of its distinct texts are numbers, but never if its type is categorical.
    """
    if not _is_text(cells):
        return CovariateColumn(cells.name, to_numbers(table, cells))
    text = clean(cells.cast(pl.String))
    values = text.drop_nulls().unique()
    kind = table.kinds.get(cells.name) or _text_kind(values, cells.dtype)
    if kind == NUMBERS or values.is_empty():
        return CovariateColumn(cells.name, to_numbers(table, cells))
    if kind == BOOLEANS:
        return CovariateColumn(cells.name, (text.str.to_lowercase() == "true").cast(pl.Float32).to_numpy())
    names = sorted(values)
    numbers = text.cast(pl.Enum(names)).to_physical().cast(pl.Float32) + 1
    return CovariateColumn(cells.name, numbers.fill_null(0).to_numpy(), tuple(names))


def text_kinds(batches: Iterable[pl.DataFrame], missing_values: MissingValues) -> dict[str, str]:
    """Kind of each text column, as ``to_covariate`` would find it from the rows of all batches together."""
    texts: dict[str, pl.Series] = {}
    numbers: dict[str, pl.Series] = {}
    types: dict[str, pl.DataType] = {}
    for cells in (cells for batch in batches for cells in batch if _is_text(cells)):
        values = clean(mask_missing_values(cells, missing_values)[0].cast(pl.String)).drop_nulls()
        is_number = values.cast(pl.Float32, strict=False).is_not_null()
        types[cells.name], nothing = cells.dtype, values.clear()
        texts[cells.name] = pl.concat([texts.get(cells.name, nothing), values.filter(~is_number)]).unique()
        if len(known := numbers.get(cells.name, nothing)) < MOST_NUMBERS:
            numbers[cells.name] = pl.concat([known, values.filter(is_number)]).unique()
    return {name: _text_kind(pl.concat([texts[name], numbers[name]]), dtype) for name, dtype in types.items()}


def clean(cells: pl.Series) -> pl.Series:
    """Strip blanks around text, and replace spellings of "no value" by null."""
    stripped = cells.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


def mask_missing_values(cells: pl.Series, missing_values: MissingValues) -> tuple[pl.Series, int]:
    """Replace cells that ``missing_values`` names, as text or as number, by null; also return how many these are."""
    markers = missing_values.get(cells.name, ()) if isinstance(missing_values, Mapping) else missing_values
    if not markers or not (_is_text(cells) or cells.dtype.is_numeric()):
        return cells, 0
    numbers = [float(marker) for marker in markers if _is_number(marker)]
    text = cells.cast(pl.String).str.strip_chars() if _is_text(cells) else None
    parsed = (cells if text is None else text).cast(pl.Float32, strict=False)
    masked = parsed.is_in(pl.Series(numbers, dtype=pl.Float64).cast(pl.Float32)).fill_null(False)
    if text is not None:
        masked |= text.is_in([str(marker) for marker in markers]).fill_null(False)
    return cells.set(masked, None) if masked.any() else cells, int(masked.sum())


def note_missing(table: Source, column: str, missing: np.ndarray, masked: int) -> list[str]:
    """A note if any of (rows,) ``missing`` is True; ``masked`` is the number that ``mask_missing_values`` returned."""
    if not missing.any():
        return []
    by_setting = f"; {masked:,} by data.missing_values" if masked else ""
    first = table.where(int(missing.argmax()))
    count = plural(int(np.count_nonzero(missing)), "missing value")
    return [f"{table.name}: {count} in column {column!r} (first: {first}{by_setting})."]


def _is_text(cells: pl.Series) -> bool:
    return cells.dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_number(marker: str | float) -> bool:
    try:
        float(marker)
    except ValueError:
        return False
    return True


def _parse(table: Source, cells: pl.Series) -> pl.Series:
    text = clean(cells.cast(pl.String))
    numbers = text.cast(pl.Float32, strict=False)
    wrong = (numbers.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        raise InputError(
            f"{table.place(wrong[0])}: {text[wrong[0]]!r} in column {cells.name!r} is not a number "
            "(decimal point, no thousands separator, no unit)."
        )
    return numbers


def _text_kind(values: pl.Series, dtype: pl.DataType) -> str:
    """Kind of a text column with these distinct values: a typing error must not turn numbers into categories."""
    numbers = values.cast(pl.Float32, strict=False).is_not_null().sum()
    if dtype == pl.String and (2 * numbers > len(values) or len(values) == 0):
        return NUMBERS
    return BOOLEANS if set(values.str.to_lowercase()) <= {"true", "false"} else CATEGORIES


@dataclass
class Matrix:
    """Columns of one role side by side; ``categories`` has the values of columns of categories."""

    values: np.ndarray  # (rows, columns) or (series, columns) float32
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    masked: int = 0  # cells that data.missing_values names

    def read(self, table: Source, name: str, missing_values: MissingValues) -> tuple[CovariateColumn, int]:
        """Read a column, and record its categories and the number of masked cells, which is also returned."""
        cells, masked = mask_missing_values(table.column(name), missing_values)
        column = to_covariate(table, cells)
        self.categories |= {name: column.categories} if column.categories else {}
        self.masked += masked
        return column, masked


def read_covariates(table: Source, columns: Sequence[str], rows: int, missing_values: MissingValues) -> Matrix:
    """Read (rows, columns), NaN for missing numbers and 0 for missing categories; a note per column with gaps."""
    matrix = Matrix(np.empty((rows, len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, masked = matrix.read(table, name, missing_values)
        matrix.values[:, index] = column.values
        matrix.notes += note_missing(table, name, _is_missing(column), masked)
    return matrix


def read_statics(
    table: Source,
    columns: Sequence[str],
    codes: np.ndarray | None,
    names: tuple[str, ...],
    missing_values: MissingValues,
) -> Matrix:
    """Read (series, columns): the value that all rows of a series have, or lack; a note per column with gaps.

    ``codes`` (rows,) and ``names`` are those of ``read_series_ids``. Raises ``InputError`` for a static that changes
    within a series.
    """
    matrix = Matrix(np.empty((max(1, len(names)), len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, _ = matrix.read(table, name, missing_values)
        codes = np.zeros(len(column.values), np.int32) if codes is None else codes
        static = _constant(table, column, codes, names)
        matrix.values[:, index] = static
        missing = np.flatnonzero(_is_missing(column._replace(values=static)))
        if len(missing):
            first = f" (first: {names[missing[0]]!r})" if names else ""
            matrix.notes.append(f"{table.name}: column {name!r} has no value for {len(missing):,} series{first}.")
    return matrix


def _is_missing(column: CovariateColumn) -> np.ndarray:
    return column.values == 0 if column.categories else np.isnan(column.values)


def _constant(table: Source, column: CovariateColumn, codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(series,) the only value that each series has."""
    values, missing = column.values, _is_missing(column)
    first = np.zeros(max(1, len(names)), np.int64)  # row of each series: its first one or, if any, first with a value
    for rows in (np.arange(len(values)), np.flatnonzero(~missing)):
        first[codes[rows][::-1]] = rows[::-1]  # of several rows the last assignment counts: the first row
    changes = (values != values[first][codes]) & ~missing
    if changes.any():
        row = int(changes.argmax())
        other = int(first[codes[row]])
        series = f" of series {names[codes[row]]!r}" if names else ""
        raise InputError(
            f"{table.place(row)}: {table.cell(row, column.name)!r} in column {column.name!r}, but"
            f" {table.cell(other, column.name)!r} in {table.where(other)}{series}: a column of data.statics must not"
            " change within a series; name it in data.past_covariates or data.known_covariates."
        )
    return values[first]
