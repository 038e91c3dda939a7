"""Categories of a store that grows: shards number their own values, and all of them must agree in the end."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from datamodules.series import SeriesSet
from datamodules.store.format import Appended
from seqmodels.errors import InputError

ROWS_AT_ONCE = 2**20
SORTED = "sorted_"  # begins the name of a file in which categories were numbered anew
MATRICES = {"past_covariates": "past_covariate_names", "known_covariates": "known_covariate_names",
            "static": "static_names"}  # fmt: skip


class Dictionaries:
    """The values of each column in order of appearance, and None for a column of numbers.

    What is written are numbers of values in that order; ``sort`` rewrites them to be those of the sorted values.
    ``blank`` columns had rows without any value before it was known what they hold; these are NaN.
    """

    def __init__(self, columns: Mapping[str, list[str] | None], blank: Iterable[str]):
        self.columns, self.blank = dict(columns), list(blank)

    def encoded(self, series: SeriesSet) -> SeriesSet:
        """The series of a shard with the numbers that their categories have in the whole store.

        Raises ``InputError`` for a column that holds numbers in one shard and texts in another.
        """
        columns = {name: (getattr(series, name), getattr(series, names)) for name, names in MATRICES.items()}
        given = {name: pair for name, pair in columns.items() if pair[0] is not None}
        changed: dict[str, Any] = {name: self._encoded(*pair, series) for name, pair in given.items()}
        return replace(series, **changed)

    def _encoded(self, matrix: np.ndarray, names: tuple[str, ...], series: SeriesSet) -> np.ndarray:
        encoded = matrix
        for index, name in enumerate(names):
            values = self._joined(name, series, matrix[:, index])
            if values:
                encoded = matrix.copy() if encoded is matrix else encoded
                places = {value: number for number, value in enumerate(values, start=1)}
                own = [0, *(places[value] for value in series.categories.get(name, ()))]
                encoded[:, index] = np.array(own, np.float32)[np.nan_to_num(matrix[:, index]).astype(np.int64)]
        return encoded

    def _joined(self, name: str, series: SeriesSet, cells: np.ndarray) -> list[str] | None:
        known, own = self.columns.get(name), series.categories.get(name)
        if own is None and np.isnan(cells).all():
            if name not in self.columns:  # nobody can say yet what it holds
                self.blank.append(name)
            return known
        if name in self.columns and (known is None) != (own is None):
            raise InputError(
                f"{series.source}: column {name!r} holds texts such as {(own or known or '')[0]!r} in some series and"
                f" nothing but numbers in others (see {series.name(0)}); it must hold one or the other everywhere."
            )
        self.columns[name] = None if own is None else [*(known or []), *sorted(set(own) - set(known or []))]
        return self.columns[name]

    def sorted(self) -> dict[str, list[str]]:
        """The values of each column of categories, in order."""
        return {name: sorted(values) for name, values in self.columns.items() if values}

    def sort(self, files: Appended, common: Mapping[str, Any]) -> None:
        """Replace files in which a column is not numbered in the order of its values by new ones of another name."""
        for matrix, key in MATRICES.items():
            if any(self._unsorted(name) for name in common[key]):
                self._rewrite(files, matrix, common[key])

    def _unsorted(self, name: str) -> bool:
        values = self.columns.get(name)
        return bool(values) and (values != sorted(values or []) or name in self.blank)

    def _rewrite(self, files: Appended, matrix: str, names: list[str]) -> None:
        """The old file stays until the store is complete, in case this is interrupted."""
        tables = [_table(self.columns.get(name)) for name in names]
        new = SORTED + file_of(matrix)
        with (files.folder / file_of(matrix)).open("rb") as stream:
            while piece := stream.read(4 * len(names) * ROWS_AT_ONCE):
                numbers = np.frombuffer(piece, np.float32).reshape(-1, len(names)).copy()
                for index, table in enumerate(tables):
                    if table is not None:
                        numbers[:, index] = table[np.nan_to_num(numbers[:, index]).astype(np.int64)]
                files.append(new, numbers)
        del files.extents[file_of(matrix)]


def file_of(array: str) -> str:
    """The file that an array is appended to."""
    return f"{array}.bin"


def _table(values: list[str] | None) -> np.ndarray | None:
    """Number in the order of appearance -> number in sorted order; None for a column of numbers."""
    if not values:
        return None
    places = {value: number for number, value in enumerate(sorted(values), start=1)}
    return np.array([0, *(places[value] for value in values)], np.float32)
