"""Many time series in contiguous storage, one after the other; single columns of covariates; shards of a data set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from datamodules.frequency import Frequency
from datamodules.timezones import utc_to_local


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """All series of a data set, stored once: series i is rows ``offsets[i]:offsets[i + 1]``.

    Values are raw units. An unobserved value is 0 in ``values`` and False in ``observed``.
    ``time`` holds one label per row (datetime64, or int64 for an integer index), ascending within each series,
    or None where the source has no time column (then steps count from 0). Dates are UTC; ``zone`` is the time zone
    in which people read them, "" where the source names none.
    A covariate or static column that holds categories appears in ``categories`` with its values, in order; its cells
    are their numbers from 1 on, and 0 where there is none. A missing number of a covariate or static column is NaN.
    ``observed`` is None when nothing is missing, so that no memory is spent on it.
    """

    values: np.ndarray  # (rows, C) float32
    offsets: np.ndarray  # (series + 1,) int64
    channels: tuple[str, ...]
    observed: np.ndarray | None = None  # (rows, C) bool
    time: np.ndarray | None = None  # (rows,) datetime64[us] or int64
    names: tuple[str, ...] = ()  # one per series; may be empty for generated data
    past_covariates: np.ndarray | None = None  # (rows, U) float32
    known_covariates: np.ndarray | None = None  # (rows, K) float32
    past_covariate_names: tuple[str, ...] = ()
    known_covariate_names: tuple[str, ...] = ()
    static: np.ndarray | None = None  # (series, V) float32
    static_names: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    zone: str = ""
    frequency: str = ""  # "hour", "day", ... for people; empty when unknown
    season: int = 1  # usual seasonal period of that frequency, in steps
    source: str = "data"  # file or generator, named in messages
    notes: tuple[str, ...] = field(default=())  # one line per repair made while reading

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each series, (series,) int64."""
        return np.diff(self.offsets)

    @property
    def missing(self) -> int:
        """Number of target values that are not observed."""
        return 0 if self.observed is None else int(self.observed.size - np.count_nonzero(self.observed))

    def local_time(self, rows: np.ndarray | slice) -> np.ndarray:
        """Time labels (n,) of these rows as the clocks in ``zone`` show them; needs ``time``."""
        assert self.time is not None
        return utc_to_local(self.time[rows], self.zone)

    def name(self, index: int) -> str:
        """What to call series ``index`` in a message."""
        return self.names[index] if self.names else f"series {index}"


class Shard(NamedTuple):
    """Consecutive series of a data set. Where it ``continues``, its one series is the rest of the last one before."""

    series: SeriesSet
    continues: bool = False
    frequency: Frequency | None = None


@runtime_checkable
class Shardable(Protocol):
    """Data that can be had shard by shard."""

    def files(self) -> Sequence[Path]:
        """The files in which they stand."""

    def shards(self, folder: Path, rows: int, done: int) -> Iterator[Shard]:
        """All shards but the first ``done``, of about so many rows each, always the same ones.

        What it takes to make them may be kept in ``folder`` until all of them are done.
        """


STAGES = ("train", "validation", "test")


class Span(NamedTuple):
    """Rows ``start[i]:stop[i]`` of every series i belong to this stage; empty where start equals stop."""

    start: np.ndarray  # (series,) int64
    stop: np.ndarray  # (series,) int64

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, (series,) int64."""
        return self.stop - self.start

    @property
    def rows(self) -> int:
        return int(self.lengths.sum())
