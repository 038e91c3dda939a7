"""One column of covariates in the making, and who makes such columns."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from datamodules.series import SeriesSet

Rows = slice | np.ndarray  # which rows: a range of them, or (rows,) bool


class Column(NamedTuple):
    """A column of numbers, or of categories where it has ``categories``."""

    name: str
    values: np.ndarray  # (rows,) float32; NaN where missing, of categories the number from 1 on and 0 where missing
    categories: tuple[str, ...] = ()
    key: str = ""  # the config key that asks for it, "" for a column of the table
    known: bool = False  # for every step of a forecast at its origin, or only up to the origin

    def __str__(self) -> str:
        return f"data.{self.key}: {self.name!r}" if self.key else f"column {self.name!r}"


class Maker(Protocol):
    """Makes covariates from the series themselves; what is wrong with its settings it says when it is built."""

    def columns(self, series: SeriesSet, horizon: int) -> Iterator[Column]:
        """The columns in order; raises ``InputError`` where the series lack what is needed."""
