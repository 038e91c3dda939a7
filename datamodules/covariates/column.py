"""Covariate columns and the transforms that compute them from series."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from datamodules.series import SeriesSet


class CovariateColumn(NamedTuple):
    """A covariate or static column: numbers with NaN where missing, or category codes with 0 where missing."""

    name: str
    values: np.ndarray  # (rows,), or (series,) for a static column; code i stands for categories[i - 1]
    categories: tuple[str, ...] = ()  # empty for numbers
    key: str = ""  # config key that requests the column, "" for a column of the table
    known: bool = False  # True if known for the forecast steps, False if known up to the forecast origin

    def __str__(self) -> str:
        return f"data.{self.key}: {self.name!r}" if self.key else f"column {self.name!r}"


class CovariateTransform(Protocol):
    """Callable that computes covariate columns from the series; invalid settings raise InputError in ``__init__``."""

    def __call__(self, series: SeriesSet, horizon: int, fitting: bool = True) -> Iterator[CovariateColumn]:
        """New columns, in order.

        Raises InputError if the series lack what is needed, such as dates, and, while ``fitting``, for a column that
        carries no information.
        """
