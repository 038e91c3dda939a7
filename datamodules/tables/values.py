"""Columns of cells as float32 numbers: missing values, numbers, categories, covariates and statics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from datamodules.covariates.column import CovariateColumn
from datamodules.tables.source import Source
from seqmodels.window import InputError

# What spreadsheets, R, SQL, pandas and SAS write for "no value"; compared after stripping blanks.
MISSING = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT",
    "null", "NULL", "Null", "None", "none", "-", "--", "?", ".",
)  # fmt: skip

NUMBERS, TRUTHS, CATEGORIES = "numbers", "truths", "categories"  # what texts may be meant as
ENOUGH = 100_000  # different numbers of a column that are told apart: hardly any has as many other texts beside them

Marks = Sequence[str | float]  # cells that mean "no value" in a certain table, such as -999
MissingValues = Marks | Mapping[str, Marks]  # the same for all columns, or by column


def to_numbers(table: Source, cells: pl.Series) -> np.ndarray:
    """(rows,) float32 with NaN where missing; raises ``InputError`` for text, infinity and numbers beyond float32."""
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
    """``to_numbers`` for a column that must hold at least one number, unless the table is only a part of one."""
    numbers = to_numbers(table, cells)
    if np.isnan(numbers).all() and not table.is_shard:
        raise InputError(f"{table.name}: target column {cells.name!r} holds no number at all.")
    return numbers


def to_covariate(table: Source, cells: pl.Series) -> CovariateColumn:
    """Numbers as they are, the texts true and false as 1 and 0, other texts as the categories that they name.

    Texts most of which are numbers are meant as numbers; a column whose type says that it holds categories is not.
    """
    if not _is_text(cells):
        return CovariateColumn(cells.name, to_numbers(table, cells))
    text = clean(cells.cast(pl.String))
    values = text.drop_nulls().unique()
    kind = table.kinds.get(cells.name) or _kind(values, cells.dtype)
    if kind == NUMBERS or values.is_empty():
        return CovariateColumn(cells.name, to_numbers(table, cells))
    if kind == TRUTHS:
        return CovariateColumn(cells.name, (text.str.to_lowercase() == "true").cast(pl.Float32).to_numpy())
    names = sorted(values)
    numbers = text.cast(pl.Enum(names)).to_physical().cast(pl.Float32) + 1
    return CovariateColumn(cells.name, numbers.fill_null(0).to_numpy(), tuple(names))


def kinds_of(batches: Iterable[pl.DataFrame], missing_values: MissingValues) -> dict[str, str]:
    """What ``to_covariate`` would take each column of texts for if it had the rows of all batches at once."""
    texts: dict[str, pl.Series] = {}
    numbers: dict[str, pl.Series] = {}
    types: dict[str, pl.DataType] = {}
    for cells in (cells for batch in batches for cells in batch if _is_text(cells)):
        values = clean(without_marks(cells, missing_values)[0].cast(pl.String)).drop_nulls()
        is_number = values.cast(pl.Float32, strict=False).is_not_null()
        types[cells.name], nothing = cells.dtype, values.clear()
        texts[cells.name] = pl.concat([texts.get(cells.name, nothing), values.filter(~is_number)]).unique()
        if len(known := numbers.get(cells.name, nothing)) < ENOUGH:
            numbers[cells.name] = pl.concat([known, values.filter(is_number)]).unique()
    return {name: _kind(pl.concat([texts[name], numbers[name]]), dtype) for name, dtype in types.items()}


def clean(cells: pl.Series) -> pl.Series:
    """Text without blanks around it, null where it says that there is no value."""
    stripped = cells.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


def without_marks(cells: pl.Series, missing_values: MissingValues) -> tuple[pl.Series, int]:
    """The cells with null for those that ``missing_values`` names, as text or as number; and how many they were."""
    marks = missing_values.get(cells.name, ()) if isinstance(missing_values, Mapping) else missing_values
    if not marks or not (_is_text(cells) or cells.dtype.is_numeric()):
        return cells, 0
    numbers = [float(mark) for mark in marks if _is_number(mark)]
    text = cells.cast(pl.String).str.strip_chars() if _is_text(cells) else None
    parsed = (cells if text is None else text).cast(pl.Float32, strict=False)
    marked = parsed.is_in(pl.Series(numbers, dtype=pl.Float64).cast(pl.Float32)).fill_null(False)
    if text is not None:
        marked |= text.is_in([str(mark) for mark in marks]).fill_null(False)
    return cells.set(marked, None) if marked.any() else cells, int(marked.sum())


def note_missing(table: Source, column: str, missing: np.ndarray, marked: int) -> list[str]:
    """One line where (rows,) ``missing`` holds anything; ``marked`` of its values are those of ``without_marks``."""
    if not missing.any():
        return []
    by_mark = f"; {marked:,} by data.missing_values" if marked else ""
    first = table.where(int(missing.argmax()))
    count = np.count_nonzero(missing)
    return [f"{table.name}: {count:,} missing values in column {column!r} (first: {first}{by_mark})."]


def _is_text(cells: pl.Series) -> bool:
    return cells.dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_number(mark: str | float) -> bool:
    try:
        float(mark)
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


def _kind(values: pl.Series, dtype: pl.DataType) -> str:
    """What a column of these different texts is meant as."""
    if dtype == pl.String and _mostly_numbers(values):
        return NUMBERS
    return TRUTHS if set(values.str.to_lowercase()) <= {"true", "false"} else CATEGORIES


def _mostly_numbers(values: pl.Series) -> bool:
    """Whether the texts are meant as numbers: one typing error must not turn a measured column into categories."""
    return 2 * values.cast(pl.Float32, strict=False).is_not_null().sum() > len(values) or len(values) == 0


@dataclass
class Encoded:
    """Columns of one role as a matrix; ``categories`` has the values of those that hold categories."""

    values: np.ndarray  # (rows, columns) or (series, columns) float32
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    marked: int = 0  # cells that data.missing_values names


def read_covariates(table: Source, columns: Sequence[str], rows: int, missing_values: MissingValues) -> Encoded:
    """(rows, columns) with NaN for missing numbers and 0 for missing categories, and one note per column with holes."""
    encoded = Encoded(np.empty((rows, len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, marked = _read(table, name, missing_values)
        encoded.values[:, index] = column.values
        encoded.categories |= _categories(column)
        encoded.notes += note_missing(table, name, _missing(column), marked)
        encoded.marked += marked
    return encoded


def read_statics(
    table: Source,
    columns: Sequence[str],
    codes: np.ndarray | None,
    names: tuple[str, ...],
    missing_values: MissingValues,
) -> Encoded:
    """(series, columns): what each series has in all its rows, where it has anything; one note per column with holes.

    ``codes`` (rows,) and ``names`` are those of ``read_series``. Raises ``InputError`` where a static changes.
    """
    encoded = Encoded(np.empty((max(1, len(names)), len(columns)), np.float32))
    for index, name in enumerate(columns):
        column, marked = _read(table, name, missing_values)
        codes = np.zeros(len(column.values), np.int32) if codes is None else codes
        static = _constant(table, column, codes, names)
        encoded.values[:, index] = static
        encoded.categories |= _categories(column)
        encoded.marked += marked
        without = np.flatnonzero(_missing(column._replace(values=static)))
        if len(without):
            which = f" (first: {names[without[0]]!r})" if names else ""
            encoded.notes.append(f"{table.name}: column {name!r} has no value for {len(without):,} series{which}.")
    return encoded


def _read(table: Source, name: str, missing_values: MissingValues) -> tuple[CovariateColumn, int]:
    """The column, and how many of its cells ``missing_values`` names."""
    cells, marked = without_marks(table.column(name), missing_values)
    return to_covariate(table, cells), marked


def _categories(column: CovariateColumn) -> dict[str, tuple[str, ...]]:
    return {column.name: column.categories} if column.categories else {}


def _missing(column: CovariateColumn) -> np.ndarray:
    return column.values == 0 if column.categories else np.isnan(column.values)


def _constant(table: Source, column: CovariateColumn, codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(series,) the value that each series has wherever it has one."""
    values, missing = column.values, _missing(column)
    first = np.zeros(max(1, len(names)), np.int64)
    for rows in (np.arange(len(values)), np.flatnonzero(~missing)):  # the second one where there is one
        first[codes[rows][::-1]] = rows[::-1]  # of equal numbers the last counts, so the first row of each series
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
