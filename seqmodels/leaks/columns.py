"""Whether the user's own columns hold the future of the target, found on the training span; it knows a ``Probe``.

Nothing in this project moves a column in time, so a column that was prepared from later rows passes every other check.
It betrays itself: together with the past of the target it gives the sum of the next k values exactly, for some k. A
centred mean over 2 k + 1 steps does so, as does a column shifted the wrong way, the target in other units under a
column said to be known ahead, or columns whose sum is the target. Noise and rounding to float32 leave an exact relation
with a millionth of the variance; 0.01 % unexplained, and a hundredth of what the past alone leaves, is the limit.
Calendars, which follow from their own past, are known ahead indeed and are not looked at.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.config.build import nearest
from seqmodels.errors import InputError
from seqmodels.leaks.finding import Finding
from seqmodels.leaks.probe import Probe
from seqmodels.leaks.regression import ROWS_PER_REGRESSOR, Gain, Piece, gain
from seqmodels.report.formatting import join_names, pluralise

SUSPICIOUS = {"past_covariates": 0.5, "known_covariates": 0.9}  # calendars and plans rightly tell a lot ahead
CALENDAR = 1e-8  # of its variance at most is new in a column that nobody measures
LEAST, MOST = 48, 200  # steps ahead that are summed: two seasons, but within these
LEADS = 48  # a column known ahead is taken as far as the horizon, at most
SINGLE, POOLED, NEWEST, SHOWN = 3, 200, 50_000, 20  # series alone, series together, rows of each, values of a category
KINDS = ("past_covariates", "known_covariates")


class Group(NamedTuple):
    """Series that are looked at together, and their training rows."""

    name: str
    rows: list[slice]


def columns_as_given(probe: Probe, trusted: Sequence[str]) -> Finding:
    """Every covariate that was read, alone and then all of a kind together, against every channel."""
    every = {kind: getattr(probe.raw, f"{kind[:-1]}_names") for kind in KINDS}
    _check_trusted(trusted, [name for names in every.values() for name in names])
    given = {kind: [name for name in names if name not in trusted] for kind, names in every.items()}
    count = sum(map(len, given.values()))
    if not count:
        return Finding("columns", "there are no covariates, or all are in leaks.trusted")
    leaks: list[str] = []
    warnings: list[str] = []
    largest = None
    for kind, names in given.items():
        for found, said in _of_kind(probe, kind, names):
            largest = max(largest or 0.0, found.share)
            if said:
                (leaks if found.exact else warnings).append(said)
    done = f"next values of the target from its past, without and with {pluralise(count, 'covariate')}: share explained"
    if largest is None:
        done = "no covariate could be compared: all are calendars, or there are too few training rows"
    return Finding("columns", done, largest, tuple(leaks), tuple(warnings))


def _check_trusted(trusted: Sequence[str], names: list[str]) -> None:
    for name in trusted:
        if name not in names:
            raise InputError(f"leaks.trusted holds {name!r}, which is no covariate of the data.{nearest(name, names)}")


def _of_kind(probe: Probe, kind: str, names: list[str]) -> Iterator[tuple[Gain, str]]:
    """The greatest gain of each column, and of all together where no single one leaks, with what to say of it."""
    groups, alone = list(groups_of(probe)), True
    if kind == "known_covariates":
        names = [name for name in names if not is_calendar(probe, name, groups)]
    for name in names:
        best = _greatest(probe, kind, [name], groups)
        if best is not None:
            alone = alone and not best[0].exact
            yield best[0], _sentence(kind, [name], *best)
    if alone and len(names) > 1:
        best = _greatest(probe, kind, names, groups)
        if best is not None and best[0].exact:
            few = _fewest(probe, kind, names, groups)
            yield best[0], _sentence(kind, few, *best)


def _fewest(probe: Probe, kind: str, names: list[str], groups: list[Group]) -> list[str]:
    """Columns of which none can be left out without losing the leak."""
    kept = list(names)
    for name in names:
        rest = [other for other in kept if other != name]
        best = _greatest(probe, kind, rest, groups) if rest else None
        if best is not None and best[0].exact:
            kept = rest
    return kept


def is_calendar(probe: Probe, name: str, groups: list[Group]) -> bool:
    """Whether the own past of a column known ahead determines it: then nobody has measured it."""
    kind = "known_covariates"
    frequent = _frequent(probe, kind, [name], groups)
    pieces = [_piece(probe, kind, [name], 0, rows, frequent) for group in groups for rows in group.rows]
    # One more column that says nothing leaves what the past alone leaves.
    every = (
        gain([Piece(piece.columns[:, column], 0 * piece.columns[:, :1]) for piece in pieces], [0], LEAST)
        for column in range(pieces[0].columns.shape[1])
    )
    return all(own is not None and own.rest < CALENDAR for own in every)


def groups_of(probe: Probe) -> Iterator[Group]:
    """The longest training spans, each for itself; where none is long enough, many short ones together."""
    span, season = probe.data.spans["train"], probe.data.spec.season
    lengths = np.asarray(span.stop) - np.asarray(span.start)
    enough = (2 + ROWS_PER_REGRESSOR) * (ahead(season) + LEADS)
    long = np.flatnonzero(lengths >= enough)
    if len(long):
        for series in long[np.argsort(-lengths[long], kind="stable")][:SINGLE]:
            name = f" of {probe.raw.name(int(series))}" if len(lengths) > 1 else ""
            yield Group(name, [_newest(span, series)])
        return
    some = np.flatnonzero(lengths)
    some = some[np.linspace(0, len(some) - 1, min(POOLED, len(some))).astype(np.int64)]
    yield Group("", [_newest(span, series) for series in some])


def _newest(span: Any, series: Any) -> slice:
    stop = int(span.stop[series])
    return slice(max(int(span.start[series]), stop - NEWEST), stop)


def ahead(season: int) -> int:
    """Steps ahead that are summed."""
    return min(max(LEAST, 2 * season), MOST)


def _greatest(probe: Probe, kind: str, names: list[str], groups: list[Group]) -> tuple[Gain, str, str] | None:
    """The greatest gain over channels and groups, with the channel and the group; None where there are too few rows."""
    shifts = shifts_of(kind, probe.data.spec.horizon, alone=len(names) == 1 and names[0] not in probe.raw.categories)
    frequent = _frequent(probe, kind, names, groups)
    found = []
    for channel, target in enumerate(probe.raw.channels):
        for group in groups:
            pieces = [_piece(probe, kind, names, channel, rows, frequent) for rows in group.rows]
            one = gain(pieces, shifts, ahead(probe.data.spec.season))
            if one is not None:
                found.append((one, target, group.name))
    return max(found, key=lambda one: (one[0].exact, one[0].share), default=None)


def shifts_of(kind: str, horizon: int, alone: bool) -> list[int]:
    """The steps, relative to the origin, at which columns are looked at: of one alone more than of many."""
    if kind == "past_covariates":
        return [0, -1, -2] if alone else [0]
    return [*range(-1, min(horizon, LEADS) + 1)] if alone else [1, 0]


def _frequent(probe: Probe, kind: str, names: list[str], groups: list[Group]) -> dict[str, np.ndarray]:
    """The most frequent values of each category, the same for all groups: a column means one value in all series."""
    found = {}
    for name in names:
        if name in probe.raw.categories:
            cells = np.concatenate([_cells(probe, kind, name, rows) for group in groups for rows in group.rows])
            values, counts = np.unique(cells, return_counts=True)
            found[name] = values[np.argsort(-counts, kind="stable")][:SHOWN]
    return found


def _cells(probe: Probe, kind: str, name: str, rows: slice) -> np.ndarray:
    """Rows of one column as read, (n,)."""
    return getattr(probe.raw, kind)[rows, getattr(probe.raw, f"{kind[:-1]}_names").index(name)]


def _piece(
    probe: Probe, kind: str, names: list[str], channel: int, rows: slice, frequent: dict[str, np.ndarray]
) -> Piece:
    """Rows of one series: its target as deviations from its mean, target and columns in units of its deviation."""
    raw = probe.raw
    target = raw.values[rows, channel].astype(np.float64)
    if raw.observed is not None:
        target[~raw.observed[rows, channel]] = np.nan
    known = target[np.isfinite(target)]
    mean, deviation = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
    values = np.concatenate([_numbers(_cells(probe, kind, name, rows), frequent.get(name)) for name in names], axis=1)
    level = np.where(np.isfinite(values), values, 0).sum(axis=0) / np.maximum(1, np.isfinite(values).sum(axis=0))
    return Piece((target - mean) / deviation, (values - level) / deviation)


def _numbers(cells: np.ndarray, frequent: np.ndarray | None) -> np.ndarray:
    """(n,) -> (n, 1), or for a category (n, values) one column for each of its most frequent values."""
    values = cells[:, None] if frequent is None else cells[:, None] == frequent
    return values.astype(np.float64)


def _sentence(kind: str, names: list[str], found: Gain, target: str, group: str) -> str:
    """What the columns give away; empty where it is no more than a good column may."""
    columns = f"{join_names(list(map(repr, names)))} (data.{kind})"
    steps = "the next value" if found.steps == 1 else f"the sum of the next {found.steps} values"
    if found.exact:
        gives, it = ("gives", "it") if len(names) == 1 else ("together give", "them")
        most = "" if found.rows == 1 else f" in {found.rows:.0%} of the rows"
        mend = f"shift {it} to later rows" if kind == "past_covariates" else f"move {it} to past_covariates"
        return (
            f"{columns} {gives} {steps} of {target!r}{group} up to {found.rest:.1g} of its variance{most}, and"
            f" {found.share:.2%} of what the past leaves open: this holds the future; {mend}, leave {it} out, or name"
            f" {it} in leaks.trusted."
        )
    if found.share > SUSPICIOUS[kind]:
        return (
            f"{columns} explains {found.share:.0%} of what the past leaves open of {steps} of {target!r}{group}: make"
            " sure that it is known by then."
        )
    return ""
