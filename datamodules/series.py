"""The contract of time series that the whole project shares: series, shards of series, and spans of rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from datamodules.frequency import Frequency, infer_frequency
from datamodules.timezones import utc_to_local

ROWS_FOR_FREQUENCY = 10_000  # of the longest series; month ends and weekends show within so many


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """The time series of a data set, concatenated: series i is rows ``offsets[i]:offsets[i + 1]`` of every array.

    Two series of 3 and 2 steps, where the second value of the first one is missing::

        SeriesSet(
            values=np.array([[1], [0], [3], [7], [8]], np.float32),
            offsets=np.array([0, 3, 5]),
            channels=("sales",),
            observed=np.array([[True], [False], [True], [True], [True]]),
            names=("shop A", "shop B"),
        )

    Rows ascend in time within a series; a time step that the source lacks is a row without an observed target. Numbers
    are in raw units. A missing target is 0 in ``values`` and False in ``observed``; a missing covariate or static is
    NaN. A column in ``categories`` holds codes: i stands for ``categories[name][i - 1]``, and 0 is missing; only those
    of sequences may be targets.

    All numbers are float32, or float64 where float32 would lose changes of large values: see ``datamodules.precision``.

    An absent array is None and takes no memory: ``observed`` if no target is missing, ``time`` if the source has no
    time column, covariates and statics if there are no columns.
    """

    values: np.ndarray  # (rows, C), the targets: float32, or float64 if large for their changes
    offsets: np.ndarray  # (series + 1,) int64
    channels: tuple[str, ...]  # names of the C targets
    observed: np.ndarray | None = None  # (rows, C) bool
    time: np.ndarray | None = None  # (rows,) datetime64[us] in UTC, or int64 for an integer index
    names: tuple[str, ...] = ()  # series ids; may be empty for a single series or generated data
    past_covariates: np.ndarray | None = None  # (rows, U), known up to the forecast origin
    known_covariates: np.ndarray | None = None  # (rows, K), known for the forecast steps too
    past_covariate_names: tuple[str, ...] = ()
    known_covariate_names: tuple[str, ...] = ()
    static: np.ndarray | None = None  # (series, V), constant within a series
    static_names: tuple[str, ...] = ()
    labels: np.ndarray | None = None  # (series, L), what is to be predicted of each whole series, or (rows, L) of each
    # step; NaN or 0 if unknown
    label_names: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by name of the categorical column
    zone: str = ""  # IANA time zone in which people read the timestamps; "" if the source names none
    frequency: str = ""  # name of the frequency, such as "hour" or "day"; "" if unknown
    season: int = 1  # usual seasonal period of this frequency in steps, 1 = none
    source: str = "data"  # file or generator, named in messages
    notes: tuple[str, ...] = ()  # one line per repair of the data

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each series, (series,) int64."""
        return np.diff(self.offsets)

    @property
    def missing(self) -> int:
        """Number of missing target values."""
        return 0 if self.observed is None else int(self.observed.size - np.count_nonzero(self.observed))

    def local_time(self, rows: np.ndarray | slice) -> np.ndarray:
        """Timestamps (n,) of these rows in the time zone ``zone``. Requires ``time``."""
        assert self.time is not None
        return utc_to_local(self.time[rows], self.zone)

    def name(self, index: int) -> str:
        """Name of series ``index`` in messages: its id, or "series 3"."""
        return self.names[index] if self.names else f"series {index}"


class Shard(NamedTuple):
    """Consecutive series of a data set, a part that fits in memory."""

    series: SeriesSet
    continues: bool = False  # True if its only series continues the last series of the shard before
    frequency: Frequency | None = None


@runtime_checkable
class Shardable(Protocol):
    """Data source that can be read one shard at a time."""

    def files(self) -> Sequence[Path]:
        """Files of the source; none for generated data."""

    def shards(self, folder: Path, rows: int, done: int) -> Iterator[Shard]:
        """Shards of about ``rows`` rows, always the same ones, without the first ``done``.

        Intermediate files may be kept in ``folder`` until the last shard is done.
        """


STAGES = ("train", "validation", "test")


class Span(NamedTuple):
    """Rows of one stage: ``start[i]:stop[i]`` in series i, empty if start equals stop."""

    start: np.ndarray  # (series,) int64
    stop: np.ndarray  # (series,) int64

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, (series,) int64."""
        return self.stop - self.start

    @property
    def rows(self) -> int:
        """Rows of all series together."""
        return int(self.lengths.sum())


def cut_rows(series: SeriesSet, rows: Span) -> SeriesSet:
    """The series with these of their rows only; those without any are left out."""
    kept = np.flatnonzero(rows.lengths > 0)
    lengths = rows.lengths[kept]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(rows.start[kept] - offsets[:-1], lengths) + np.arange(offsets[-1])
    by_row = ("values", "observed", "time", "past_covariates", "known_covariates")
    by_series = ("static", "labels")
    parts: dict[str, Any] = {name: (getattr(series, name), source) for name in by_row}
    parts |= {name: (getattr(series, name), kept) for name in by_series}
    chosen: dict[str, Any] = {name: None if cells is None else cells[index] for name, (cells, index) in parts.items()}
    return replace(
        series,
        **chosen,
        offsets=offsets,
        names=tuple(series.names[index] for index in kept) if series.names else (),
    )


def training_frequency(series: SeriesSet) -> Frequency | None:
    """The frequency of regular series, inferred from the longest one; None without time or with one row each."""
    if series.time is None:
        return None
    longest = int(series.lengths.argmax())
    begin = int(series.offsets[longest])
    rows = slice(begin, min(begin + ROWS_FOR_FREQUENCY, int(series.offsets[longest + 1])))
    return infer_frequency(np.asarray(series.time[rows]), np.zeros(1, np.int64), series.zone)
