"""Columns of cells as numbers: missing values, categories, covariates, statics, and the codes of the series."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.covariates.column import CovariateColumn
from datamodules.precision import float32_may_lose
from datamodules.tables.numerals import Ambiguous, NumberFormat, find_format, is_numeric
from datamodules.tables.source import Source, clean, plural
from seqmodels.errors import InputError

BOOLEANS, CATEGORIES = "booleans", "categories"  # kinds of text columns; a NumberFormat is the third
FEW = 20  # categories that any table may have
MOST_DIFFERENT = 0.5  # share of the rows of a table that may have different categories
DIGITS = 15  # of any number, that float64 holds
MOST_NUMBERS = 100_000  # distinct numbers of a text column that are counted; hardly any has as many other texts

Markers = Sequence[str | float]  # cells that mean "no value" in a certain table, such as -999
MissingValues = Markers | Mapping[str, Markers]  # the same for all columns, or by column


def to_numbers(table: Source, cells: pl.Series) -> np.ndarray:
    """Convert to (rows,) float64, NaN if missing; raises ``InputError`` for text, infinity and beyond float32."""
    if _is_text(cells):
        cells = _parse(table, cells)
    elif not (cells.dtype.is_numeric() or cells.dtype in (pl.Boolean, pl.Null)):
        raise InputError(f"{table.name}: column {cells.name!r} holds {cells.dtype}, but numbers are needed.")
    numbers = cells.cast(pl.Float64).to_numpy()
    with np.errstate(over="ignore"):
        infinite = np.isinf(numbers.astype(np.float32))
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


def to_covariate(table: Source, cells: pl.Series, most: float = math.inf) -> CovariateColumn:
    """Numbers stay, the texts true and false become 1 and 0, other texts become categories.

    A text column is numeric if more than half of its distinct texts are numbers, but never if its type is categorical.
    Raises ``InputError`` for ambiguous decimal marks, and for texts that nearly all differ, unlike categories:
    more than ``most`` times the number of rows.
    """
    if not _is_text(cells):
        return CovariateColumn(cells.name, to_numbers(table, cells))
    text = clean(cells.cast(pl.String))
    values = text.drop_nulls().unique(maintain_order=True)
    kind = table.kinds.get(cells.name) or _text_kind(table, text, values, cells.dtype)
    if isinstance(kind, NumberFormat) or values.is_empty():
        return CovariateColumn(cells.name, to_numbers(table, cells))
    if kind == BOOLEANS:
        return CovariateColumn(cells.name, (text.str.to_lowercase() == "true").cast(pl.Float32).to_numpy())
    if cells.dtype == pl.String and cells.name not in table.kinds:
        _refuse_many(table.place(text.is_not_null().arg_max() or 0), values, most * (len(text) - text.null_count()))
    names = sorted(values)
    numbers = text.cast(pl.Enum(names)).to_physical().cast(pl.Float32) + 1
    return CovariateColumn(cells.name, numbers.fill_null(0).to_numpy(), tuple(names))


def text_kinds(
    table: Source, columns: Sequence[str], batches: Iterable[pl.DataFrame], missing_values: MissingValues
) -> dict[str, str | NumberFormat]:
    """Kind of each text column, as ``to_covariate`` would find it from the rows of all batches together.

    ``table`` holds these rows; ``columns`` are those with covariates.
    """
    texts: dict[str, pl.Series] = {}
    numbers: dict[str, pl.Series] = {}
    types: dict[str, pl.DataType] = {}
    rows: Counter[str] = Counter()
    for cells in (cells for batch in batches for cells in batch if _is_text(cells)):
        values = clean(mask_missing_values(cells, missing_values)[0].cast(pl.String)).drop_nulls()
        is_number = values.cast(pl.Float64, strict=False).is_not_null()
        types[cells.name], nothing = cells.dtype, values.clear()
        rows[cells.name] += len(values)
        texts[cells.name] = pl.concat([texts.get(cells.name, nothing), values.filter(~is_number)]).unique()
        if len(known := numbers.get(cells.name, nothing)) < MOST_NUMBERS:
            numbers[cells.name] = pl.concat([known, values.filter(is_number)]).unique()
    kinds = {}
    for name, dtype in types.items():
        values = pl.concat([texts[name], numbers[name]])
        kinds[name] = _text_kind(table, None, values, dtype)
        if kinds[name] == CATEGORIES and name in columns and dtype == pl.String:
            _refuse_many(table.name, values, MOST_DIFFERENT * rows[name])
    return kinds


def mask_missing_values(cells: pl.Series, missing_values: MissingValues) -> tuple[pl.Series, int]:
    """Replace cells that ``missing_values`` names, as text or as number, by null; also return how many these are."""
    markers = missing_values.get(cells.name, ()) if isinstance(missing_values, Mapping) else missing_values
    if not markers or not (_is_text(cells) or cells.dtype.is_numeric()):
        return cells, 0
    texts = pl.Series([str(marker) for marker in markers])
    exact = cells.dtype if cells.dtype == pl.Float32 else pl.Float64
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False).drop_nulls().cast(exact)
    text = cells.cast(pl.String).str.strip_chars() if _is_text(cells) else None
    parsed = (cells if text is None else text.str.replace(r",0{1,2}$", "")).cast(exact, strict=False)  # -999,0
    masked = parsed.is_in(numbers).fill_null(False)
    if text is not None:
        masked |= text.is_in(texts).fill_null(False)
    return cells.set(masked, None) if masked.any() else cells, int(masked.sum())


def _is_text(cells: pl.Series) -> bool:
    return cells.dtype in (pl.String, pl.Categorical, pl.Enum)


def _parse(table: Source, cells: pl.Series) -> pl.Series:
    text = clean(cells.cast(pl.String))
    written = table.kinds.get(cells.name)
    if not isinstance(written, NumberFormat):
        values = text.drop_nulls().unique(maintain_order=True)
        written = _certain(table, text, find_format(values, table.decimal_marks, table.decimal))
        table.kinds = {**table.kinds, cells.name: written}
    numbers = written.parse(text)
    wrong = (numbers.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        row, right = wrong[0], numbers.is_not_null().arg_max()
        like = "" if right is None or numbers[right] is None else f" like {text[right]!r} in {table.where(right)}"
        raise InputError(
            f"{table.place(row)}: {text[row]!r} in column {cells.name!r} is not a number{like}; all must have the same"
            " unit and decimal mark, and texts that mean no value belong in data.missing_values."
        )
    return numbers


def _text_kind(table: Source, text: pl.Series | None, values: pl.Series, dtype: pl.DataType) -> str | NumberFormat:
    """Kind of a text column with these distinct values: a typing error must not turn numbers into categories.

    ``text`` holds the rows, if they are at hand, in which a message finds the place of a value.
    """
    if dtype == pl.String:
        written = find_format(values, table.decimal_marks, table.decimal)
        if len(values) == 0 or is_numeric(values, written):
            return _certain(table, values if text is None else text, written, has_rows=text is not None)
    return BOOLEANS if set(values.str.to_lowercase()) <= {"true", "false"} else CATEGORIES


def _certain(table: Source, text: pl.Series, written: NumberFormat | Ambiguous, has_rows: bool = True) -> NumberFormat:
    if isinstance(written, NumberFormat):
        return written
    example = pl.Series([written.example])
    point, comma = (_certain(table, text, find_format(example, set(), mark)).parse(example)[0] for mark in ".,")
    place = table.place((text == written.example).arg_max() or 0) if has_rows else table.name
    raise InputError(
        f"{place}: {written.example!r} in column {text.name!r} may be {point:g} or {comma:g}, and neither its other"
        f" cells nor the other columns tell: set data.decimal=. for the first, 'data.decimal=\",\"' for the second."
    )


def _refuse_many(place: str, values: pl.Series, most: float) -> None:
    if len(values) > max(FEW, most):
        raise InputError(
            f"{place}: {values[0]!r} in column {values.name!r} is not a number, and with {len(values):,} different"
            " texts the column has nearly as many categories as rows: leave it out, or give it fewer values."
        )


@dataclass
class ColumnReader:
    """Reads columns of numbers and categories from a table, and collects notes, categories and kinds of columns."""

    missing_values: MissingValues
    notes: list[str] = field(default_factory=list)
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by name of the categorical column
    masked: int = 0  # cells that data.missing_values names
    symbols: bool = False  # True if targets may be categories

    def read_cells(self, table: Source, name: str) -> tuple[pl.Series, int]:
        """Read a column, null for the cells that ``missing_values`` names; return also how many these are."""
        cells, masked = mask_missing_values(table.column(name), self.missing_values)
        self.masked += masked
        return cells, masked

    def read_targets(self, table: Source, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Read values (rows, C) float64, 0 if missing, and the mask of observed values, None if all are."""
        values, observed = np.empty((0, 0)), None
        for index, name in enumerate(columns):
            numbers, masked = self._read_target(table, name)
            if index == 0:
                values = np.empty((len(numbers), len(columns)))
            values[:, index] = numbers
            missing = np.isnan(numbers)
            if missing.any():
                observed = np.ones(values.shape, bool) if observed is None else observed
                observed[:, index] = ~missing
                values[missing, index] = 0
                self._note_missing(table, name, missing, masked)
            self._note_long_numbers(table, name, numbers)
        return values, observed

    def _read_target(self, table: Source, name: str) -> tuple[np.ndarray, int]:
        if self.symbols:
            column, masked = self._read_covariate(table, name, MOST_DIFFERENT)
            if column.categories:
                return np.where(column.values > 0, column.values, np.nan), masked
        cells, masked = self.read_cells(table, name)
        return to_target(table, cells), masked

    def read_covariates(self, table: Source, columns: Sequence[str], rows: int) -> np.ndarray:
        """Read (rows, columns), NaN for missing numbers and 0 for missing categories.

        They are float32, or float64 if a column is too large for its deviation.
        """
        values = np.zeros((rows, len(columns)), np.float32)
        for index, name in enumerate(columns):
            column, masked = self._read_covariate(table, name, MOST_DIFFERENT)
            values = values.astype(np.float64) if float32_may_lose(column.values) else values
            values[:, index] = column.values
            self._note_long_numbers(table, name, column.values)
            self._note_missing(table, name, _is_missing(column), masked)
        return values

    def read_statics(
        self, table: Source, columns: Sequence[str], codes: np.ndarray | None, names: tuple[str, ...]
    ) -> np.ndarray | None:
        """Read (series, columns): the value that all rows of a series have, or lack; None without columns.

        They are float32, or float64 if a column is too large for its deviation.

        ``codes`` (rows,) and ``names`` are those of ``read_series_ids``. Raises ``InputError`` for a static that
        changes within a series.
        """
        values = np.zeros((max(1, len(names)), len(columns)), np.float32)
        for index, name in enumerate(columns):
            column, _ = self._read_covariate(table, name)
            codes = np.zeros(len(column.values), np.int32) if codes is None else codes
            numbers = _constant(table, column, codes, names)
            values = values.astype(np.float64) if float32_may_lose(numbers) else values
            values[:, index] = numbers
            missing = np.flatnonzero(_is_missing(column._replace(values=values[:, index])))
            if len(missing):
                first = f" (first: {names[missing[0]]!r})" if names else ""
                self.notes.append(f"{table.name}: column {name!r} has no value for {len(missing):,} series{first}.")
        return values if columns else None

    def _read_covariate(self, table: Source, name: str, most: float = math.inf) -> tuple[CovariateColumn, int]:
        cells, masked = self.read_cells(table, name)
        column = to_covariate(table, cells, most)
        if column.categories:
            self.categories[name] = column.categories
        return column, masked

    def note_formats(self, table: Source) -> None:
        """Add a note on numbers that are not written as a program writes them."""
        styles: dict[str, list[str]] = {}
        for name, written in table.kinds.items():
            if isinstance(written, NumberFormat) and written.style:
                number = written.parse(pl.Series([written.example]))[0]
                styles.setdefault(written.style, []).append(f"{name!r} ({written.example!r} = {number:g})")
        for style, columns in styles.items():
            more = f" and {len(columns) - 3:,} more" if len(columns) > 3 else ""
            where = f"column{'s' * (len(columns) > 1)} {', '.join(columns[:3])}{more}"
            self.notes.append(f"{table.name}: numbers with {style} read in {where}.")

    def _note_missing(self, table: Source, column: str, missing: np.ndarray, masked: int) -> None:
        """Add a note if any of (rows,) ``missing`` is True; ``missing_values`` names ``masked`` of these cells."""
        if missing.any():
            by_setting = f"; {masked:,} by data.missing_values" if masked else ""
            first = table.where(int(missing.argmax()))
            count = plural(int(np.count_nonzero(missing)), "missing value")
            self.notes.append(f"{table.name}: {count} in column {column!r} (first: {first}{by_setting}).")

    def _note_long_numbers(self, table: Source, column: str, numbers: np.ndarray) -> None:
        """Add a note if a number has more digits than float64 holds."""
        beyond = np.abs(numbers) >= 2**53
        if beyond.any():
            row = int(beyond.argmax())
            text = table.cell(row, column)
            if len(re.sub(r"[eE].*|\D", "", text).strip("0")) > DIGITS:
                count = plural(int(np.count_nonzero(beyond)), "number")
                self.notes.append(
                    f"{table.name}: {count} in column {column!r} beyond 2^53 kept to {DIGITS} digits, which is what"
                    f" float64 holds (first: {text!r} in {table.where(row)}); subtract a constant if the others matter."
                )

    def note_unused(self, table: Source) -> None:
        """Add a note if ``missing_values`` name no cell at all; a shard cannot tell."""
        given = self.missing_values
        markers = [one for markers in given.values() for one in markers] if isinstance(given, Mapping) else list(given)
        if markers and not self.masked and not table.is_shard:
            different = list(dict.fromkeys(map(str, markers)))
            verb = "is" if len(different) == 1 else "are"
            where = f"in no cell that is read from {table.name}"
            self.notes.append(f"data.missing_values: {', '.join(different)} {verb} {where}.")


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


def read_series_ids(
    table: Source, columns: Sequence[str], notes: list[str]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Read the series codes (rows,) int32 and the names of the series, both in order of first appearance.

    A series code is the number of the row's series, like the codes of a pandas Categorical. Several columns are joined
    to a name such as ``Agency_22/SKU_01`` without the parts that are blank, which is noted; 'NA' is an ordinary name.
    Without columns there is one series without a name, and the codes are None. Raises ``InputError`` for a row without
    any name and for two series of the same name.
    """
    if not columns:
        return None, ()
    codes, names = _read_column(table, columns[0])
    parts = {columns[0]: names}
    for column in columns[1:]:
        more, labels = _read_column(table, column)
        parts[column] = labels
        pairs, count = codes.astype(np.int64), len(labels)
        pairs *= count
        pairs += more
        codes, kept = _factorize(pl.Series(pairs))
        names = tuple("/".join(filter(None, (names[pair // count], labels[pair % count]))) for pair in kept)
    if "" in names:
        place = table.place(int((codes == names.index("")).argmax()))
        which = f"id column {columns[0]!r} has" if len(columns) == 1 else f"id columns {_quoted(columns)} have"
        raise InputError(f"{place}: {which} no value here; every row must name its series.")
    if len(columns) > 1:
        _refuse_equal_names(table, columns, codes, names)
    blank = [column for column, labels in parts.items() if "" in labels]
    if blank:
        are = "column {} is" if len(blank) == 1 else "columns {} are"
        which = are.format(_quoted(blank))
        notes.append(f"{table.name}: id {which} blank in some rows: the other id columns name these.")
    return codes, names


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(map(repr, columns))


def _refuse_equal_names(table: Source, columns: Sequence[str], codes: np.ndarray, names: tuple[str, ...]) -> None:
    """Raise if two series have the same name, such as 'x/y' with 'z' and 'x' with 'y/z'."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (other := first.setdefault(name, number)) != number:
            here, there = (table.place(int((codes == one).argmax())) for one in (number, other))
            raise InputError(
                f"{here}: id columns {_quoted(columns)} give the series name {name!r}, as do other values"
                f" in {there}; each series needs a unique name."
            )


def _read_column(table: Source, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code of each cell and the names of the codes, "" for a blank cell."""
    cells = table.column(column, categorical=True)
    if cells.null_count():
        cells = cells.cast(pl.String).fill_null("").cast(pl.Categorical)
    codes, values = _factorize(cells)
    return codes, tuple("" if name.isspace() else name for name in values.cast(pl.String))


def _factorize(cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Code of each cell, (n,) int32, and the distinct values in order of first appearance."""
    runs = cells.rle().struct.unnest()  # in most tables the rows of a series are consecutive
    values = runs["value"].unique(maintain_order=True)
    known, sought = values.to_physical().to_numpy(), runs["value"].to_physical().to_numpy()
    order = np.argsort(known).astype(np.int32)
    codes = np.empty(len(sought), np.int32)
    for part in chunks(len(sought)):
        codes[part] = order[np.searchsorted(known[order], sought[part])]
    return np.repeat(codes, runs["len"].to_numpy()), values
