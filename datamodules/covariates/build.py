"""All covariates as models get them: what was read, completed and numbered, and what is made from the series."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from datamodules.covariates.complete import renumbered
from datamodules.series import Column, Maker, RowSelection, SeriesSet, Span
from datamodules.statistics import holds_nan, joined, statistics
from seqmodels.window import Category, InputError, Statistics


class Derived(NamedTuple):
    """The series with all their covariates, complete, and what else there is to know about these."""

    series: SeriesSet
    categories: tuple[Category, ...] = ()
    marks: tuple[str, ...] = ()  # columns of 0 and 1 that say where another column was missing

    def statistics(self, values: np.ndarray | None, names: Sequence[str], rows: list[slice]) -> Statistics:
        """Mean and deviation over these rows of ``values`` (rows, columns); 0 and 1 for categories and marks.

        A mark stays 0 or 1, as one that is rare would become a large number.
        """
        found = statistics(values, rows)
        plain = {category.column for category in self.categories} | set(self.marks)
        return Statistics(
            tuple(0.0 if name in plain else mean for name, mean in zip(names, found.mean, strict=True)),
            tuple(1.0 if name in plain else deviation for name, deviation in zip(names, found.deviation, strict=True)),
        )


def makers(
    calendar: str | Sequence[str],
    holidays: str | Sequence[str] | None,
    lags: int | Sequence[int],
    rolling: str | Sequence[str],
) -> list[Maker]:
    """Who makes the columns that these settings ask for; raises ``InputError`` for a setting that cannot be.

    They compute with polars, which takes 0.4 s to load: only who asks for such columns waits for it.
    """
    calendar, holidays = _listed("calendar", calendar), _listed("holidays", holidays)
    lags, rolling = _listed("lags", lags), _listed("rolling", rolling)
    found: list[Maker] = []
    if calendar:
        from datamodules.covariates.calendar import Calendar

        found.append(Calendar(calendar))
    if holidays:
        from datamodules.covariates.calendar import Holidays

        found.append(Holidays(holidays))
    if lags:
        from datamodules.covariates.lags import Lags

        found.append(Lags(lags))
    if rolling:
        from datamodules.covariates.lags import Rolling

        found.append(Rolling(rolling))
    return found


def _listed(key: str, given: Any) -> list[Any]:
    """One value, several or none as a list; raises ``InputError`` for one that is there twice."""
    single = isinstance(given, str) or not isinstance(given, Iterable)
    listed = [] if given is None else [given] if single else list(given)
    twice = [one for one, count in Counter(listed).items() if count > 1]
    if twice:
        raise InputError(f"data.{key} holds {twice[0]!r} twice; name each once.")
    return listed


def derive(series: SeriesSet, train: Span, horizon: int, makers: Iterable[Maker]) -> Derived:
    """Complete the covariates and statics of the table, number categories anew, and add what the makers make.

    Means and the values of categories come from the rows of ``train``. Series without covariates remain as they are.

    Raises ``InputError`` where a column has no value in the training rows, and for two columns of one name.
    """
    made = [column for maker in makers for column in maker.columns(series, horizon)]
    if not made and all(given is None for given in (series.past_covariates, series.known_covariates, series.static)):
        return Derived(series)
    work = _Work(series, joined(train.start, train.stop), int(series.offsets[-1]))
    past, past_names = work.done(series.past_covariates, series.past_covariate_names, [c for c in made if not c.known])
    known, known_names = work.done(series.known_covariates, series.known_covariate_names, [c for c in made if c.known])
    statics = _Work(series, trained_series(train), len(series), static=True)
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
    return Derived(complete, categories, tuple(work.marks))


def trained_series(train: Span) -> list[slice]:
    """The series that have rows to train on, as ranges of numbers."""
    trained = np.flatnonzero(train.stop > train.start)
    return joined(trained, trained + 1)


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
        self, given: np.ndarray | None, names: tuple[str, ...], made: list[Column]
    ) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The columns of the table (rows, columns) and those made, complete, with their names."""
        cells = () if given is None else given.T
        texts = self.series.categories
        read = [Column(name, values, texts.get(name, ())) for name, values in zip(names, cells, strict=True)]
        columns = [complete for column in (*read, *made) for complete in self._complete(column)]
        if [id(column.values) for column in columns] == [id(column.values) for column in read]:
            return given, names
        return np.stack([column.values for column in columns], axis=1), tuple(column.name for column in columns)

    def _complete(self, column: Column) -> Iterator[Column]:
        """The column without gaps, and one that marks them where there are any."""
        if column.categories:
            yield self._numbered(column)
        elif holds_nan(column.values):
            from datamodules.covariates.complete import filled

            offsets = None if self.static else self.series.offsets
            complete, mark, note = filled(column, offsets, self.training, self.series.source)
            if not column.key:  # that a series has no past before it begins is no repair
                self.notes.append(note)
            yield complete
            if mark is not None:
                self.marks.append(mark.name)
                yield mark
        else:
            yield column

    def _numbered(self, column: Column) -> Column:
        unit = "series" if self.static else "rows"
        column, category, note = renumbered(column, self.training, self.series.source, unit)
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
