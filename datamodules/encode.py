"""Columns of cells become float32 numbers: knows what counts as missing, as a number and as a category."""

import numpy as np
import polars as pl

from datamodules.cells import TableFile
from seqmodels.window import InputError

# What spreadsheets, R, SQL, pandas and SAS write for "no value"; compared after stripping blanks.
MISSING = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT",
    "null", "NULL", "Null", "None", "none", "-", "--", "?", ".",
)  # fmt: skip
MOST_CATEGORIES = 20


def to_numbers(table: TableFile, cells: pl.Series) -> np.ndarray:
    """(rows,) float32 with NaN where missing; raises ``InputError`` for text, infinity and numbers beyond float32."""
    if cells.dtype == pl.String or cells.dtype in (pl.Categorical, pl.Enum):
        cells = _parse(table, cells)
    elif not (cells.dtype.is_numeric() or cells.dtype == pl.Boolean):
        raise InputError(f"{table.name}: column {cells.name!r} holds {cells.dtype}, but numbers are needed.")
    numbers = cells.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{table.place(row)}: {table.cell(row, cells.name)!r} in column {cells.name!r} "
            "is not a finite number of at most 3.4e38 (float32)."
        )
    return numbers


def to_target(table: TableFile, cells: pl.Series) -> np.ndarray:
    """``to_numbers`` for a column that must hold at least one number."""
    numbers = to_numbers(table, cells)
    if np.isnan(numbers).all():
        raise InputError(f"{table.name}: target column {cells.name!r} holds no number at all.")
    return numbers


def to_covariates(table: TableFile, cells: pl.Series) -> dict[str, np.ndarray]:
    """One or more named (rows,) float32 columns: numbers as they are, booleans as 0 and 1, categories one-hot.

    Raises ``InputError`` for missing values and for more than ``MOST_CATEGORIES`` different texts.
    """
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    text = clean(cells) if cells.dtype == pl.String else cells
    if text.dtype == pl.String and not _mostly_numbers(text):
        _refuse_missing(table, cells.name, text.is_null().to_numpy())
        return _categories(table, text)
    numbers = to_numbers(table, cells)
    _refuse_missing(table, cells.name, np.isnan(numbers))
    return {cells.name: numbers}


def clean(cells: pl.Series) -> pl.Series:
    """Text without blanks around it, null where it says that there is no value."""
    stripped = cells.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


def _parse(table: TableFile, cells: pl.Series) -> pl.Series:
    text = clean(cells.cast(pl.String))
    numbers = text.cast(pl.Float32, strict=False)
    wrong = (numbers.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        raise InputError(
            f"{table.place(wrong[0])}: {text[wrong[0]]!r} in column {cells.name!r} is not a number "
            "(decimal point, no thousands separator, no unit)."
        )
    return numbers


def _mostly_numbers(text: pl.Series) -> bool:
    """Whether the texts are meant as numbers: one typing error must not turn a measured column into categories."""
    values = text.drop_nulls().unique()
    return 2 * values.cast(pl.Float32, strict=False).is_not_null().sum() > len(values) or len(values) == 0


def _categories(table: TableFile, text: pl.Series) -> dict[str, np.ndarray]:
    values = sorted(text.unique())
    if {value.lower() for value in values} <= {"true", "false"}:
        return {text.name: (text.str.to_lowercase() == "true").cast(pl.Float32).to_numpy()}
    if len(values) > MOST_CATEGORIES:
        raise InputError(
            f"{table.name}: covariate {text.name!r} holds {len(values)} different texts such as {values[0]!r}; "
            f"at most {MOST_CATEGORIES} categories are encoded, one column each."
        )
    return {f"{text.name}={value}": (text == value).cast(pl.Float32).to_numpy() for value in values}


def _refuse_missing(table: TableFile, column: str, missing: np.ndarray) -> None:
    if missing.any():
        row = int(missing.argmax())
        raise InputError(
            f"{table.place(row)}: covariate {column!r} has no value here ({int(missing.sum()):,} such rows); "
            "covariates must be complete."
        )
