"""Covariates in the form that models get: imputed, with category codes, and extended by covariate transforms."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from datamodules.covariates.calendar import Calendar, Holidays
from datamodules.covariates.column import CovariateColumn, CovariateTransform
from datamodules.covariates.impute import MISSING, RowSelection, fill, impute, recode_categories
from datamodules.covariates.lags import Lags, Rolling
from datamodules.precision import float32_swallows
from datamodules.series import SeriesSet, Span
from datamodules.statistics import compute_statistics, has_nan, merge_ranges, range_mask
from seqmodels.window import Category, InputError, Statistics, WindowSpec


class PreparedSeries(NamedTuple):
    """Series whose covariates are complete, with the facts about these that the window spec needs."""

    series: SeriesSet
    categories: tuple[Category, ...] = ()
    indicators: tuple[str, ...] = ()  # names of the missing indicators, columns of 0 and 1
    means: Mapping[str, float] = {}  # training mean of each column with missing numbers, which replaces leading ones
    shifts: Mapping[str, float] = {}  # what was subtracted from columns too large for float32

    def covariate_statistics(self, values: np.ndarray | None, names: Sequence[str], rows: list[slice]) -> Statistics:
        """Mean and deviation of ``values`` (rows, columns) over these rows; 0 and 1 for categories and indicators.

        An indicator is not standardised: a rare one would become a large number.
        """
        statistics = compute_statistics(values, rows)
        plain = {category.column for category in self.categories} | set(self.indicators)
        return Statistics(
            tuple(0.0 if name in plain else mean for name, mean in zip(names, statistics.mean, strict=True)),
            tuple(1.0 if name in plain else one for name, one in zip(names, statistics.deviation, strict=True)),
            tuple(self.shifts.get(name, 0.0) for name in names) if self.shifts else (),
        )


TRANSFORMS: dict[str, Callable[[list], CovariateTransform]] = {
    "calendar": Calendar,
    "holidays": Holidays,
    "lags": Lags,
    "rolling": Rolling,
}


def build_transforms(**settings: Any) -> list[CovariateTransform]:
    """Build the transforms that config keys ask for, in the order of the keys, each with one value, several or none.

    Raises InputError for an invalid setting.
    """
    listed = {key: _as_list(key, given) for key, given in settings.items()}
    return [TRANSFORMS[key](values) for key, values in listed.items() if values]


def _as_list(key: str, given: Any) -> list[Any]:
    """One value, several or None as a list. Raises InputError for a value given twice."""
    single = isinstance(given, str) or not isinstance(given, Iterable)
    listed = [] if given is None else [given] if single else list(given)
    twice = [one for one, count in Counter(listed).items() if count > 1]
    if twice:
        raise InputError(f"data.{key} holds {twice[0]!r} twice; list each value once.")
    return listed


def prepare_covariates(
    series: SeriesSet, train: Span, horizon: int, transforms: Iterable[CovariateTransform]
) -> PreparedSeries:
    """Apply the transforms, impute missing numbers and recode categories; arrays that need no change are kept.

    Means and categories come from the rows of ``train`` only. Raises InputError for a column without a value in these
    rows, and for two columns of the same name.
    """
    added = [column for transform in transforms for column in transform(series, horizon)]
    if not added and all(given is None for given in (series.past_covariates, series.known_covariates, series.static)):
        return PreparedSeries(series)
    past_added, known_added = ([column for column in added if column.known == known] for known in (False, True))
    rows = _Preparation(series, merge_ranges(train.start, train.stop), int(series.offsets[-1]))
    past, past_names = rows.prepare(series.past_covariates, series.past_covariate_names, past_added)
    known, known_names = rows.prepare(series.known_covariates, series.known_covariate_names, known_added)
    statics = _Preparation(series, training_series(train), len(series), static=True)
    static, static_names = statics.prepare(series.static, series.static_names)
    _check_unique([*past_names, *known_names, *static_names], series.source)
    categories = (*rows.categories, *statics.categories)
    complete = replace(
        series,
        past_covariates=past,
        past_covariate_names=past_names,
        known_covariates=known,
        known_covariate_names=known_names,
        static=static,
        categories={category.column: category.values for category in categories},
        notes=(*series.notes, *rows.notes, *statics.notes),
    )
    means, shifts = {**rows.means, **statics.means}, {**rows.shifts, **statics.shifts}
    return PreparedSeries(complete, categories, tuple(rows.indicators), means, shifts)


def apply_preparation(
    series: SeriesSet,
    spec: WindowSpec,
    means: Mapping[str, float],
    indicators: Sequence[str],
    transforms: Iterable[CovariateTransform],
) -> SeriesSet:
    """Prepare other rows as those of training were: the same columns, means, indicators and category codes.

    A category that training has not seen is unknown. Raises InputError for a column of another kind than in training.
    """
    added = [column for transform in transforms for column in transform(series, spec.horizon, False)]
    read = [
        *_columns(series, series.past_covariates, series.past_covariate_names),
        *_columns(series, series.known_covariates, series.known_covariate_names),
    ]
    rows = _Application(series, [*read, *added], series.offsets, spec, means, indicators)
    statics = _Application(series, _columns(series, series.static, series.static_names), None, spec, means, ())
    return replace(
        series,
        past_covariates=rows.matrix(spec.past_covariates),
        past_covariate_names=spec.past_covariates,
        known_covariates=rows.matrix(spec.known_covariates),
        known_covariate_names=spec.known_covariates,
        static=statics.matrix(spec.statics),
        static_names=spec.statics,
        categories={category.column: category.values for category in spec.categories},
        notes=(*series.notes, *rows.notes, *statics.notes),
    )


def _columns(series: SeriesSet, cells: np.ndarray | None, names: Sequence[str]) -> list[CovariateColumn]:
    given = () if cells is None else cells.T
    return [CovariateColumn(name, one, series.categories.get(name, ())) for name, one in zip(names, given, strict=True)]


class _Application:
    """Columns of other rows in the form that training gave them; ``offsets`` is None for static columns."""

    def __init__(
        self,
        series: SeriesSet,
        columns: Sequence[CovariateColumn],
        offsets: np.ndarray | None,
        spec: WindowSpec,
        means: Mapping[str, float],
        indicators: Sequence[str],
    ):
        self.source, self.offsets, self.indicators = series.source, offsets, indicators
        measured = zip(
            (*spec.past_covariates, *spec.known_covariates, *spec.statics),
            (*spec.past_statistics.raw_mean, *spec.known_statistics.raw_mean, *spec.static_statistics.raw_mean),
            strict=True,
        )
        self.means, self.shifts = {**dict(measured), **means}, spec.shifts
        self.columns = {column.name: column for column in columns}
        self.categories = {category.column: category for category in spec.categories}
        self.notes: list[str] = []

    def matrix(self, names: Sequence[str]) -> np.ndarray | None:
        """The named columns, (rows, columns) float32, or None without any."""
        columns = [self._values(name) - self.shifts.get(name, 0) for name in names]
        return np.stack(columns, axis=1).astype(np.float32) if names else None

    def _values(self, name: str) -> np.ndarray:
        if name in self.indicators:
            return np.isnan(self.columns[name.removesuffix(MISSING)].values).astype(np.float32)
        column, category = self.columns[name], self.categories.get(name)
        if category is not None and not column.categories and not (column.values == 0).all():
            raise InputError(f"{self.source}: {column} held categories in training, and holds numbers here.")
        if category is not None:
            return self._codes(column, category)
        if column.categories:
            raise InputError(
                f"{self.source}: {column} held numbers in training, and holds texts such as {column.categories[0]!r}"
                " here."
            )
        return fill(column.values, self.offsets, self.means[name])[0] if has_nan(column.values) else column.values

    def _codes(self, column: CovariateColumn, category: Category) -> np.ndarray:
        known = {value: code for code, value in enumerate(category.values, start=1)}
        codes = np.array([0, *(known.get(value, 0) for value in column.categories)], np.float32)
        values = codes[column.values.astype(np.int32)]
        unknown = np.flatnonzero((values == 0) & (column.values > 0))
        if len(unknown):
            first = column.categories[int(column.values[unknown[0]]) - 1]
            unit = "series" if self.offsets is None else "rows"
            self.notes.append(
                f"{self.source}: {column}: {first!r} was not in training: unknown in {len(unknown):,} {unit}."
            )
        return values


def training_series(train: Span) -> list[slice]:
    """Ranges of series indices that have training rows."""
    trained = np.flatnonzero(train.stop > train.start)
    return merge_ranges(trained, trained + 1)


class _Preparation:
    """Prepares columns over the same rows, and collects their categories, missing indicators and notes."""

    def __init__(self, series: SeriesSet, training: list[slice], rows: int, static: bool = False):
        self.series, self.ranges, self.rows, self.static = series, training, rows, static
        self.categories: list[Category] = []
        self.indicators: list[str] = []
        self.means: dict[str, float] = {}
        self.shifts: dict[str, float] = {}
        self.notes: list[str] = []

    @cached_property
    def training(self) -> RowSelection:
        """The training rows as one index, much faster than thousands of ranges; built only if a column needs it."""
        if len(self.ranges) == 1:
            return self.ranges[0]
        return range_mask([part.start for part in self.ranges], [part.stop for part in self.ranges], self.rows)

    def prepare(
        self, given: np.ndarray | None, names: tuple[str, ...], added: Sequence[CovariateColumn] = ()
    ) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Prepare the ``given`` columns (rows, columns) and the added ones; returns the matrix and its column names."""
        read = _columns(self.series, given, names)
        columns = [complete for column in (*read, *added) for complete in self._prepare_column(column)]
        if [id(column.values) for column in columns] == [id(column.values) for column in read]:
            return given, names
        return np.stack([column.values for column in columns], axis=1), tuple(column.name for column in columns)

    def _prepare_column(self, column: CovariateColumn) -> Iterator[CovariateColumn]:
        """The column without missing numbers, and its missing indicator if it has one."""
        if column.categories:
            unit = "series" if self.static else "rows"
            column, category, note = recode_categories(column, self.training, self.series.source, unit)
            self.categories.append(category)
            self.notes += [note] if note else []
            yield column
        elif has_nan(column.values):
            offsets = None if self.static else self.series.offsets
            imputed, indicator, self.means[column.name], note = impute(
                column, offsets, self.training, self.series.source
            )
            self.notes += [] if column.key else [note]  # a lag without a past is no fault of the data
            yield self._narrow(imputed)
            if indicator is not None:
                self.indicators.append(indicator.name)
                yield indicator
        else:
            yield self._narrow(column)

    def _narrow(self, column: CovariateColumn) -> CovariateColumn:
        """The column as float32, less its training mean if it is too large for its deviation there."""
        if column.values.dtype == np.float32:
            return column
        trained, shift = column.values[self.training], 0.0
        if float32_swallows(trained):
            self.shifts[column.name] = shift = float(trained.mean())
            self.notes += [] if column.key else [_shift_note(column, self.series.source, trained)]
        return column._replace(values=(column.values - shift).astype(np.float32))


def _shift_note(column: CovariateColumn, source: str, trained: np.ndarray) -> str:
    mean, deviation = trained.mean(), trained.std()
    return (
        f"{source}: {column}: values around {mean:,.10g} have a deviation of {deviation:.3g}, too little for float32:"
        " models see them less their training mean."
    )


def _check_unique(names: list[str], source: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{source}: {count} covariates are called {name!r}: rename the column of the table, or leave out the"
                " setting that adds the other one (data.calendar, data.holidays, data.lags, data.rolling)."
            )
