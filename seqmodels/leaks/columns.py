"""Leak check of the covariates as read: do they hold the future of the target?

No code of this project moves a column in time, so a column that was made from later rows passes every other check. It
shows in the training span: together with the past of the target it gives the sum of the next k values exactly, for some
k. A centred mean over 2 k + 1 steps does so, as does a column shifted the wrong way, the target in other units declared
as known ahead, or columns that add up to the target. Noise and rounding to float32 leave an exact relation with a
millionth of the variance; the limits are 0.01 % of it, and a hundredth of what the past alone leaves unexplained.
Calendars follow from their own past, are rightly known ahead, and are not checked.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet, Span
from seqmodels.config.targets import nearest
from seqmodels.errors import InputError
from seqmodels.leaks.finding import Finding
from seqmodels.leaks.regression import ROWS_PER_REGRESSOR, Gain, Segment, find_gain
from seqmodels.report.output import join_names, pluralise

KINDS = ("past_covariates", "known_covariates")
SUSPICIOUS = {"past_covariates": 0.5, "known_covariates": 0.9}  # calendars and plans rightly tell a lot ahead
CALENDAR_REST = 1e-8  # of the variance of a calendar, at most, does not follow from its past
LEAST_STEPS, MOST_STEPS = 48, 200  # steps ahead that are summed: two seasons within these limits
MAX_LEAD = 48  # steps ahead at which a known covariate is used, at most
SINGLE_SERIES, POOLED_SERIES = 3, 200  # series checked one by one, or all together
NEWEST_ROWS = 50_000  # of each series
USED_CATEGORIES = 20


class RowGroup(NamedTuple):
    """Training rows of series that are checked together."""

    name: str
    rows: list[slice]


def check_columns(raw: SeriesSet, data: WindowDataModule, trusted: Sequence[str]) -> Finding:
    """Check each covariate of ``raw`` and then all of a kind together, against every channel."""
    every = {kind: _covariate_names(raw, kind) for kind in KINDS}
    _check_trusted(trusted, [name for names in every.values() for name in names])
    given = {kind: [name for name in names if name not in trusted] for kind, names in every.items()}
    count = sum(map(len, given.values()))
    if not count:
        return Finding("columns", "there are no covariates, or all are in leaks.trusted")
    comparison = ColumnComparison(raw, data)
    found = [one for kind, names in given.items() for one in comparison.check_kind(kind, names)]
    done = f"next values of the target from its past, without and with {pluralise(count, 'covariate')}: share explained"
    if not found:
        done = "no covariate could be compared: all are calendars, or there are too few training rows"
    largest = max((gain.share for gain, _ in found), default=None)
    leaks = tuple(sentence for gain, sentence in found if gain.exact)
    warnings = tuple(sentence for gain, sentence in found if sentence and not gain.exact)
    return Finding("columns", done, largest, leaks, warnings)


def _covariate_names(raw: SeriesSet, kind: str) -> tuple[str, ...]:
    return getattr(raw, f"{kind[:-1]}_names")


def _check_trusted(trusted: Sequence[str], names: list[str]) -> None:
    for name in trusted:
        if name not in names:
            raise InputError(f"leaks.trusted holds {name!r}, which is no covariate of the data.{nearest(name, names)}")


class ColumnComparison:
    """Regressions of the future target on its past, without and with columns of ``raw``."""

    def __init__(self, raw: SeriesSet, data: WindowDataModule):
        self.raw, self.horizon = raw, data.spec.horizon
        self.steps = min(max(LEAST_STEPS, 2 * data.spec.season), MOST_STEPS)
        self.groups = group_series(raw, data.spans["train"], self.steps)

    def check_kind(self, kind: str, names: Sequence[str]) -> Iterator[tuple[Gain, str]]:
        """The largest gain of each column, and of all together if no single one leaks, each with a sentence or ""."""
        single = False
        if kind == "known_covariates":
            names = [name for name in names if not self.is_calendar(name)]
        for name in names:
            best = self.largest_gain(kind, [name])
            if best is not None:
                single = single or best[0].exact
                yield best[0], _column_sentence(kind, [name], *best)
        best = self.largest_gain(kind, names) if len(names) > 1 and not single else None
        if best is not None and best[0].exact:
            yield best[0], _column_sentence(kind, self.fewest(kind, names), *best)

    def fewest(self, kind: str, names: Sequence[str]) -> Sequence[str]:
        """The columns that the leak needs: it is lost if any of them is left out."""
        kept = names
        for name in names:
            rest = [other for other in kept if other != name]
            best = self.largest_gain(kind, rest) if rest else None
            if best is not None and best[0].exact:
                kept = rest
        return kept

    def is_calendar(self, name: str) -> bool:
        """True if the own past of a column known ahead determines it, so that it cannot be a measurement."""
        frequent = self._frequent_categories("known_covariates", [name])
        segments = [
            self._segment("known_covariates", [name], 0, rows, frequent) for group in self.groups for rows in group.rows
        ]
        # One more column of zeros: what it leaves is what the past alone leaves.
        gains = (
            find_gain([Segment(one.columns[:, i], 0 * one.columns[:, :1]) for one in segments], [0], LEAST_STEPS)
            for i in range(segments[0].columns.shape[1])
        )
        return all(gain is not None and gain.rest < CALENDAR_REST for gain in gains)

    def largest_gain(self, kind: str, names: Sequence[str]) -> tuple[Gain, str, str] | None:
        """The largest gain over channels and groups, with channel and group; None if there are too few rows."""
        shifts = column_shifts(kind, self.horizon, alone=len(names) == 1 and names[0] not in self.raw.categories)
        frequent = self._frequent_categories(kind, names)
        found = []
        for channel, target in enumerate(self.raw.channels):
            for group in self.groups:
                segments = [self._segment(kind, names, channel, rows, frequent) for rows in group.rows]
                gain = find_gain(segments, shifts, self.steps)
                if gain is not None:
                    found.append((gain, target, group.name))
        return max(found, key=lambda one: (one[0].exact, one[0].share), default=None)

    def _frequent_categories(self, kind: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The most frequent numbers of each category, the same for all groups, so that a column keeps its meaning."""
        found = {}
        for name in names:
            if name in self.raw.categories:
                cells = [self._cells(kind, name, rows) for group in self.groups for rows in group.rows]
                values, counts = np.unique(np.concatenate(cells), return_counts=True)
                found[name] = values[np.argsort(-counts, kind="stable")][:USED_CATEGORIES]
        return found

    def _cells(self, kind: str, name: str, rows: slice) -> np.ndarray:
        return getattr(self.raw, kind)[rows, _covariate_names(self.raw, kind).index(name)]

    def _segment(
        self, kind: str, names: Sequence[str], channel: int, rows: slice, frequent: dict[str, np.ndarray]
    ) -> Segment:
        """Target and columns of one series, centred and divided by the deviation of the target."""
        raw = self.raw
        target = raw.values[rows, channel].astype(np.float64)
        if raw.observed is not None:
            target[~raw.observed[rows, channel]] = np.nan
        known = target[np.isfinite(target)]
        mean, deviation = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
        columns = [_one_hot(self._cells(kind, name, rows), frequent.get(name)) for name in names]
        values = np.concatenate(columns, axis=1)
        level = np.where(np.isfinite(values), values, 0).sum(axis=0) / np.maximum(1, np.isfinite(values).sum(axis=0))
        return Segment((target - mean) / deviation, (values - level) / deviation)


def group_series(raw: SeriesSet, span: Span, steps: int) -> list[RowGroup]:
    """The longest training spans one by one; if none is long enough, many short ones together."""
    lengths = span.lengths
    long = np.flatnonzero(lengths >= (2 + ROWS_PER_REGRESSOR) * (steps + MAX_LEAD))
    if len(long):
        longest = long[np.argsort(-lengths[long], kind="stable")][:SINGLE_SERIES].tolist()
        several = len(lengths) > 1
        return [RowGroup(f" of {raw.name(i)}" if several else "", [_newest_rows(span, i)]) for i in longest]
    present = np.flatnonzero(lengths)
    chosen = np.linspace(0, len(present) - 1, min(POOLED_SERIES, len(present))).astype(np.int64)
    return [RowGroup("", [_newest_rows(span, i) for i in present[chosen].tolist()])]


def _newest_rows(span: Span, series: int) -> slice:
    stop = int(span.stop[series])
    return slice(max(int(span.start[series]), stop - NEWEST_ROWS), stop)


def column_shifts(kind: str, horizon: int, alone: bool) -> list[int]:
    """Steps relative to the origin at which columns are used, more of them for one column alone."""
    if kind == "past_covariates":
        return [0, -1, -2] if alone else [0]
    return [*range(-1, min(horizon, MAX_LEAD) + 1)] if alone else [1, 0]


def _one_hot(cells: np.ndarray, categories: np.ndarray | None) -> np.ndarray:
    """Numbers (n,) as one column (n, 1), categories as one column each (n, categories)."""
    values = cells[:, None] if categories is None else cells[:, None] == categories
    return values.astype(np.float64)


def _column_sentence(kind: str, names: Sequence[str], found: Gain, target: str, group: str) -> str:
    """Sentence on what the columns reveal of the future; empty if a sound column may reveal as much."""
    columns = f"{join_names(list(map(repr, names)))} (data.{kind})"
    steps = "the next value" if found.steps == 1 else f"the sum of the next {found.steps} values"
    if found.exact:
        one = len(names) == 1
        give, explain = ("gives", "explains") if one else ("together give", "explain")
        hold, it = ("it holds", "it") if one else ("they hold", "them")
        rows = "" if found.rows == 1 else f" in {found.rows:.0%} of the rows"
        remedy = f"shift {it} to later rows" if kind == "past_covariates" else f"move {it} to past_covariates"
        return (
            f"{columns} {give} {steps} of {target!r}{group} but for {found.rest:.1g} of its variance{rows}, and"
            f" {explain} {found.share:.2%} of what the past leaves open: {hold} the future; {remedy}, leave {it} out,"
            f" or name {it} in leaks.trusted."
        )
    if found.share > SUSPICIOUS[kind]:
        return (
            f"{columns} explains {found.share:.0%} of what the past leaves open of {steps} of {target!r}{group}: make"
            " sure that it is known by then."
        )
    return ""
