"""All covariates as models get them: what was read, completed and numbered, and what is made from the series."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from datamodules.covariates.calendar import Calendar, Holidays
from datamodules.covariates.column import CovariateColumn, CovariateTransform
from datamodules.covariates.impute import RowSelection, impute, recode_categories
from datamodules.covariates.lags import Lags, Rolling
from datamodules.series import SeriesSet, Span
from datamodules.statistics import compute_statistics, has_nan, merge_ranges
from seqmodels.window import Category, InputError, Statistics


class PreparedSeries(NamedTuple):
    """The series with all their covariates, complete, and what else there is to know about these."""

    series: SeriesSet
    categories: tuple[Category, ...] = ()
    marks: tuple[str, ...] = ()  # columns of 0 and 1 that say where another column was missing

    def covariate_statistics(self, values: np.ndarray | None, names: Sequence[str], rows: list[slice]) -> Statistics:
        """Mean and deviation over these rows of ``values`` (rows, columns); 0 and 1 for categories and marks.

        A mark stays 0 or 1, as one that is rare would become a large number.
        """
        found = compute_statistics(values, rows)
        plain = {category.column for category in self.categories} | set(self.marks)
        return Statistics(
            tuple(0.0 if name in plain else mean for name, mean in zip(names, found.mean, strict=True)),
            tuple(1.0 if name in plain else deviation for name, deviation in zip(names, found.deviation, strict=True)),
        )


def build_transforms(
    calendar: str | Sequence[str],
    holidays: str | Sequence[str] | None,
    lags: int | Sequence[int],
    rolling: str | Sequence[str],
) -> list[CovariateTransform]:
    """Transforms for the config keys of these names, each of them one value, several or none.

    Raises InputError for an invalid setting.
    """
    settings: list[tuple[str, Callable[[list], CovariateTransform], Any]] = [
        ("calendar", Calendar, calendar),
        ("holidays", Holidays, holidays),
        ("lags", Lags, lags),
        ("rolling", Rolling, rolling),
    ]
    listed = [(transform, _as_list(key, given)) for key, transform, given in settings]
    return [transform(values) for transform, values in listed if values]


def _as_list(key: str, given: Any) -> list[Any]:
    """One value, several or none as a list; raises ``InputError`` for one that is there twice."""
    single = isinstance(given, str) or not isinstance(given, Iterable)
    listed = [] if given is None else [given] if single else list(given)
    twice = [one for one, count in Counter(listed).items() if count > 1]
    if twice:
        raise InputError(f"data.{key} holds {twice[0]!r} twice; name each once.")
    return listed


def prepare_covariates(
    series: SeriesSet, train: Span, horizon: int, transforms: Iterable[CovariateTransform]
) -> PreparedSeries:
    """Complete the covariates and statics of the table, number categories anew, and add what the transforms make.

    Means and the values of categories come from the rows of ``train``. Series without covariates remain as they are.

    Raises ``InputError`` where a column has no value in the training rows, and for two columns of one name.
    """
    made = [column for transform in transforms for column in transform(series, horizon)]
    if not made and all(given is None for given in (series.past_covariates, series.known_covariates, series.static)):
        return PreparedSeries(series)
    work = _Work(series, merge_ranges(train.start, train.stop), int(series.offsets[-1]))
    past, past_names = work.done(series.past_covariates, series.past_covariate_names, [c for c in made if not c.known])
    known, known_names = work.done(series.known_covariates, series.known_covariate_names, [c for c in made if c.known])
    statics = _Work(series, training_series(train), len(series), static=True)
    static, static_names = statics.done(series.static, series.static_names, [])
    _refuse_one_name([*past_names, *known_names, *static_names], series.source)
    categories = (*work.categories, *statics.categories)
    complete = replace(
        series,
        past_covariates=past,
        past_covariate_names=past_names,
        known_covariates=known,
        known_covariate_names=known_names,
        static=static,
        categories={category.column: category.values for category in categories},
        notes=(*series.notes, *work.notes, *statics.notes),
    )
    return PreparedSeries(complete, categories, tuple(work.marks))


def training_series(train: Span) -> list[slice]:
    """The series that have rows to train on, as ranges of numbers."""
    trained = np.flatnonzero(train.stop > train.start)
    return merge_ranges(trained, trained + 1)


def _selected(ranges: list[slice], rows: int) -> RowSelection:
    """Ranges as one index of ``rows`` rows: to go through thousands of ranges for each column would take long."""
    if len(ranges) == 1:
        return ranges[0]
    change = np.zeros(rows + 1, np.int8)
    change[[part.start for part in ranges]] += 1
    change[[part.stop for part in ranges]] -= 1
    return np.cumsum(change[:-1], dtype=np.int8).view(bool)


class _Work:
    """Completes column after column, and keeps what there is to know and to say about them."""

    def __init__(self, series: SeriesSet, ranges: list[slice], rows: int, static: bool = False):
        self.series, self.ranges, self.rows, self.static = series, ranges, rows, static
        self.categories: list[Category] = []
        self.marks: list[str] = []
        self.notes: list[str] = []

    @cached_property
    def training(self) -> RowSelection:
        """Which rows are trained on; found out where a column needs it, as it has an entry for each row."""
        return _selected(self.ranges, self.rows)

    def done(
        self, given: np.ndarray | None, names: tuple[str, ...], made: list[CovariateColumn]
    ) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The columns of the table (rows, columns) and those made, complete, with their names."""
        cells = () if given is None else given.T
        texts = self.series.categories
        read = [CovariateColumn(name, values, texts.get(name, ())) for name, values in zip(names, cells, strict=True)]
        columns = [complete for column in (*read, *made) for complete in self._complete(column)]
        if [id(column.values) for column in columns] == [id(column.values) for column in read]:
            return given, names
        return np.stack([column.values for column in columns], axis=1), tuple(column.name for column in columns)

    def _complete(self, column: CovariateColumn) -> Iterator[CovariateColumn]:
        """The column without gaps, and one that marks them where there are any."""
        if column.categories:
            yield self._numbered(column)
        elif has_nan(column.values):
            offsets = None if self.static else self.series.offsets
            complete, mark, note = impute(column, offsets, self.training, self.series.source)
            if not column.key:  # that a series has no past before it begins is no repair
                self.notes.append(note)
            yield complete
            if mark is not None:
                self.marks.append(mark.name)
                yield mark
        else:
            yield column

    def _numbered(self, column: CovariateColumn) -> CovariateColumn:
        unit = "series" if self.static else "rows"
        column, category, note = recode_categories(column, self.training, self.series.source, unit)
        self.categories.append(category)
        if note:
            self.notes.append(note)
        return column


def _refuse_one_name(names: list[str], source: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{source}: {count} covariates are called {name!r}: rename the column of the table, or leave out what"
                " makes the other one (data.calendar, data.holidays, data.lags, data.rolling)."
            )
