"""Gaps in a table: insert absent time steps as rows without values, and refuse irregular timestamps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from datamodules.frequency import DAY, HOUR, SECOND, FixedFrequency, Frequency, IntegerFrequency, infer_frequency
from datamodules.tables.rows import Rows
from datamodules.tables.source import NO_TIME, Source, plural
from datamodules.timezones import are_dates, local_to_utc, utc_to_local
from seqmodels.errors import InputError

# Limits of inserted rows, so that a wrong year in one timestamp does not become millions of rows
MOST_ABSENT_PER_ROW, MOST_ABSENT = 10, 1000
FEWEST_ROWS = 6  # of a series whose own frequency is believed
MOST_TRIED = 200  # series whose own frequency is inferred


@dataclass(frozen=True)
class Gaps:
    """Rows that are not exactly one step after the previous row of their series."""

    rows: np.ndarray  # (gaps,) int64, ascending
    steps: np.ndarray  # (gaps,) int64, steps since the previous row; 0 if not a whole number

    @property
    def absent(self) -> int:
        """Number of time steps without a row."""
        return int((self.steps - 1).sum())


def fill_gaps(
    table: Source, rows: Rows, frequency: Frequency | None = None, drop: Callable[[], list[str]] = list
) -> tuple[Frequency | None, list[str]]:
    """Insert a row for each absent time step of the sorted ``rows``, in place; return the frequency and notes.

    Inserted targets are unobserved zeros, inserted covariates repeat the row before. The frequency is inferred unless
    it is given; it is None for rows without time and for series of one row each. Times a little early or late are
    rounded to the step; ``drop`` then drops the rows of equal times and returns notes. Raises ``InputError`` for
    irregular timestamps, series of different frequencies, and far more absent than present steps.
    """
    if rows.time is not None:
        given = frequency is not None
        frequency = frequency or infer_frequency(rows.time, rows.starts, rows.zone)
    if rows.time is None or frequency is None:
        return None, []
    gaps, notes = _find_gaps(rows.time, rows.starts, frequency), []
    if (gaps.steps < 1).any() and (notes := _round_times(table, rows, frequency if given else None)):
        notes += drop()
        frequency = frequency if given else infer_frequency(rows.time, rows.starts, rows.zone)
        assert frequency is not None
        gaps = _find_gaps(rows.time, rows.starts, frequency)
    if len(gaps.rows) == 0:
        return frequency, notes
    _refuse_mixed_frequencies(table, rows, frequency, gaps)
    _refuse_irregular(table, rows, frequency, gaps)
    _refuse_too_many(table, rows, gaps)
    count = count_absent(frequency.name, gaps.absent)
    labels = preview(_insert(rows, frequency, gaps), count=gaps.absent)
    return frequency, [*notes, f"{table.name}: {count} made explicit as missing: {labels}."]


MOST_OFF = 0.1  # share of a step by which times are rounded
NEAR = 0.01  # share of a step by which the mean of the differences may miss it
UNITS = (DAY, HOUR, 60 * SECOND, SECOND, SECOND // 10, SECOND // 100, SECOND // 1000)  # of steps, in microseconds


def _round_times(table: Source, rows: Rows, frequency: Frequency | None) -> list[str]:
    """Round times that are all near multiples of a step, in place; return a note, none if there is no such step.

    The step is that of ``frequency``, if given, or the coarsest one near the mean difference per step.
    """
    assert rows.time is not None and rows.offsets is not None
    if rows.time.dtype.kind != "M" or are_dates(rows.time) or _has_two_clocks(rows.time):
        return []
    differences = np.diff(rows.time.astype(np.int64))
    differences = differences[differences > 0]  # the others are between series
    usual = _usual_difference(differences)
    steps = [round(usual / unit) * unit for unit in UNITS]
    if frequency is not None:
        steps = [frequency.step] if isinstance(frequency, FixedFrequency) else []
    steps = [step for step in dict.fromkeys(steps) if abs(step - usual) <= NEAR * step and 0 < step <= 7 * DAY]
    for step in steps:
        local = utc_to_local(rows.time, rows.zone if step >= DAY else "")
        rounded = _round_to_step(local.astype(np.int64), rows.offsets, step)
        if rounded is not None:
            off = rounded - local.astype(np.int64)
            times = rounded.astype("datetime64[us]")
            rows.time = times if local is rows.time else local_to_utc(times, rows.zone)
            count = plural(int(np.count_nonzero(off)), "row")
            return [f"{table.name}: times are about every {FixedFrequency(step).name}, up to"
                    f" {float(f'{np.abs(off).max() / SECOND:.2g}'):g} s off: {count} rounded to the step."]  # fmt: skip
    return []


def _usual_difference(differences: np.ndarray) -> float:
    """Mean difference per step, of small gaps too; a tenth of the differences may be shorter than a step."""
    short = np.quantile(differences, 0.1)
    step = float(np.median(differences[np.abs(differences - short) <= 3 * MOST_OFF * short]))
    steps = np.round(differences / step)
    near = (steps > 0) & (steps <= 5)
    return float(differences[near].sum() / steps[near].sum())


def _has_two_clocks(time: np.ndarray) -> bool:
    """True if there are only two times of day, an hour apart: days of a zone whose clocks change."""
    clocks = np.unique(time[: len(time)].astype(np.int64) % DAY)
    return len(clocks) == 2 and int(np.diff(clocks)[0]) in (HOUR, DAY - HOUR)


def _round_to_step(time: np.ndarray, offsets: np.ndarray, step: int) -> np.ndarray | None:
    """Times (n,) int64 as multiples of the step after a round time of each series; None if one is too far from it."""
    lengths = np.diff(offsets)
    first = np.repeat(time[offsets[:-1]], lengths)
    late = (time - first + step // 2) % step - step // 2
    series = pl.DataFrame({"late": late, "series": np.repeat(np.arange(len(lengths)), lengths)})
    usual = first + series.select(pl.col("late").median().over("series")).to_series().to_numpy()
    for unit in (step, *UNITS, 1):
        if unit > min(step, DAY):
            continue
        start = (np.round(usual / unit) * unit).astype(np.int64)
        rounded = start + np.round((time - start) / step).astype(np.int64) * step
        if np.abs(rounded - time).max() <= MOST_OFF * step:
            return rounded
    return None


def _find_gaps(time: np.ndarray, starts: np.ndarray, frequency: Frequency) -> Gaps:
    rows, steps = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part in chunks(len(time) - 1):
        after = slice(part.start + 1, part.stop + 1)
        count = frequency.steps_between(time[part], time[after])
        first, last = np.searchsorted(starts, (after.start, after.stop))
        count[starts[first:last] - after.start] = 1
        found = np.flatnonzero(count != 1)
        rows.append(after.start + found)
        steps.append(count[found])
    return Gaps(np.concatenate(rows), np.concatenate(steps))


def _refuse_mixed_frequencies(table: Source, rows: Rows, frequency: Frequency, gaps: Gaps) -> None:
    """Raise if series never follow the common frequency, but regularly one of their own."""
    assert rows.offsets is not None
    pairs = np.diff(rows.offsets) - 1  # of consecutive rows, in each series
    irregular = np.bincount(np.searchsorted(rows.offsets, gaps.rows, side="right") - 1, minlength=len(pairs))
    strange = irregular == pairs
    if strange.all():
        return
    tried = np.flatnonzero(strange & (pairs >= FEWEST_ROWS - 1))[:MOST_TRIED]
    usual = _interval(frequency)
    own = {int(index): found for index in tried if (found := _own_interval(rows, int(index))) not in (None, usual)}
    if not own or 2 * len(own) < len(tried):  # a few sparse series, such as sales on every other day, are no evidence
        return
    index, interval = next(iter(own.items()))
    raise InputError(
        f"{table.place(rows.source_row(int(rows.offsets[index])))}: series {rows.names[index]!r} has a row every"
        f" {interval}, but series {rows.names[int(np.argmin(strange))]!r} and most others every {usual}: all series"
        " need the same frequency; put series of another frequency into a file of their own."
    )


def _own_interval(rows: Rows, index: int) -> str | None:
    """Interval of a single series that has few gaps, else None."""
    assert rows.offsets is not None and rows.time is not None
    time = rows.time[rows.offsets[index] : rows.offsets[index + 1]]
    frequency = infer_frequency(time, np.zeros(1, np.int64), rows.zone)
    steps = np.zeros(1, np.int64) if frequency is None else frequency.steps_between(time[:-1], time[1:])
    return _interval(frequency) if frequency is not None and steps.min() > 0 and (steps == 1).mean() > 0.5 else None


def _refuse_irregular(table: Source, rows: Rows, frequency: Frequency, gaps: Gaps) -> None:
    off = gaps.rows[gaps.steps < 1]
    if len(off) == 0:
        return
    row, interval = int(off[0]), _interval(frequency)
    step = f"step {interval}" if isinstance(frequency, IntegerFrequency) else interval
    others = [table.where(rows.source_row(int(one))) for one in off[1:6]]
    more = f"; {len(off):,} rows are not (also {preview(others, count=len(off) - 1)})" if others else ""
    raise InputError(
        f"{table.place(rows.source_row(row))}: time {rows.label(row)} is not a whole number of steps ({step}, the most"
        f" common one) after {rows.label(row - 1)}: rows must be regularly spaced in time{more};"
        f" correct the times{_zone_hint(rows, frequency)}, or set {NO_TIME}."
    )


def _zone_hint(rows: Rows, frequency: Frequency) -> str:
    """Instants that are days or parts of days of local time are regular only in its zone."""
    assert rows.time is not None
    moved = np.unique(rows.time.astype(np.int64) % HOUR) if rows.zone and rows.time.dtype.kind == "M" else ()
    is_long = isinstance(frequency, FixedFrequency) and frequency.step >= DAY - HOUR
    return ", set data.time_zone to the zone of these days" if len(moved) == 1 and is_long else ""


def _refuse_too_many(table: Source, rows: Rows, gaps: Gaps) -> None:
    present, absent = len(rows.values), gaps.absent
    if absent > MOST_ABSENT_PER_ROW * present + MOST_ABSENT:
        largest = int(gaps.steps.argmax())
        row, steps = int(gaps.rows[largest]), int(gaps.steps[largest])
        raise InputError(
            f"{table.place(rows.source_row(row))}: time {rows.label(row)} lies {steps:,} steps after"
            f" {rows.label(row - 1)}, and {absent:,} steps are absent in total, but only {present:,} rows present:"
            f" check the times, or set {NO_TIME}."
        )


def _insert(rows: Rows, frequency: Frequency, gaps: Gaps) -> list[str]:
    """Insert the absent rows in place; return labels of the first five."""
    assert rows.time is not None and rows.offsets is not None
    present = len(rows.values)
    rows.source_rows = None
    if rows.observed is None:
        rows.observed = np.ones(rows.values.shape, bool)
    rows.apply(lambda array: _repeat(array, gaps))
    first: list[int] = []
    for _, place, repeats in _expand(present, gaps):
        beyond = np.arange(place.stop - place.start) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        new = place.start + np.flatnonzero(beyond)
        rows.values[new], rows.observed[new] = 0, False
        rows.time[new] = frequency.advance(rows.time[new], beyond[new - place.start])
        first = [*first, *new[:5].tolist()][:5]
    absent = np.concatenate([[0], np.cumsum(gaps.steps - 1)])
    rows.offsets = rows.offsets + absent[np.searchsorted(gaps.rows, rows.offsets)]
    return [rows.label(row) for row in first]


def _repeat(array: np.ndarray, gaps: Gaps) -> np.ndarray:
    """Repeat each row once for each absent step after it."""
    result = np.empty((len(array) + gaps.absent, *array.shape[1:]), array.dtype)
    for part, place, repeats in _expand(len(array), gaps):
        result[place] = np.repeat(array[part], repeats, axis=0)
    return result


def _expand(rows: int, gaps: Gaps) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Chunks of the rows: their slice, the slice that they fill in the result, and how often each row is repeated."""
    begin = 0
    for part in chunks(rows):
        repeats = np.ones(part.stop - part.start, np.int64)
        first, last = np.searchsorted(gaps.rows, (part.start + 1, part.stop + 1))
        repeats[gaps.rows[first:last] - 1 - part.start] = gaps.steps[first:last]
        end = begin + int(repeats.sum())
        yield part, slice(begin, end), repeats
        begin = end


def _interval(frequency: Frequency) -> str:
    """Distance between two steps for messages: "hour", "15 minutes", "5" in an integer index."""
    return str(frequency.step) if isinstance(frequency, IntegerFrequency) else frequency.name


def count_absent(name: str, steps: int) -> str:
    """'2 absent days', '1 absent month', '3 absent steps of 15 minutes'; the name may be empty."""
    if not name or name[0].isdigit():
        return plural(steps, "absent step") + (f" of {name}" if name else "")
    return plural(steps, f"absent {name}")


def preview(labels: Sequence[object], most: int = 5, count: int | None = None) -> str:
    """The first ``most`` labels and the number of the others; ``count`` is the total if ``labels`` are not all."""
    more = (len(labels) if count is None else count) - min(most, len(labels))
    return ", ".join(str(label) for label in labels[:most]) + (f" and {more:,} more" if more > 0 else "")
