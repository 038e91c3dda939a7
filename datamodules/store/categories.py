"""Category codes of a store that grows: every shard has its own codes, the finished store one code per value."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from datamodules.series import SeriesSet
from datamodules.store.format import AppendOnlyFiles, file_name
from seqmodels.errors import InputError

ROWS_PER_READ = 2**20
RECODED = "sorted_"  # prefix of a file whose category codes were rewritten
MATRICES = {"past_covariates": "past_covariate_names", "known_covariates": "known_covariate_names",
            "static": "static_names"}  # fmt: skip


class CategoryEncoder:
    """Values of each category column in order of appearance, None for a numeric column.

    Files are written with codes in this order; ``recode`` rewrites them with codes in the order of sorted values.
    ``blank`` columns had rows, written as NaN, before their first value told which kind they are.
    """

    def __init__(self, columns: Mapping[str, list[str] | None], blank: Iterable[str]):
        self.columns, self.blank = dict(columns), list(blank)

    def encode(self, series: SeriesSet) -> SeriesSet:
        """Replace the codes of a shard by those of the store.

        Raises InputError for a column that holds numbers in one shard and text in another.
        """
        matrices = {name: (getattr(series, name), getattr(series, names)) for name, names in MATRICES.items()}
        encoded: dict[str, Any] = {
            name: self._encode(matrix, columns, series)
            for name, (matrix, columns) in matrices.items()
            if matrix is not None
        }
        return replace(series, **encoded)

    def _encode(self, matrix: np.ndarray, columns: tuple[str, ...], series: SeriesSet) -> np.ndarray:
        encoded = matrix
        for index, name in enumerate(columns):
            values = self._add_values(name, series, matrix[:, index])
            if values:
                encoded = matrix.copy() if encoded is matrix else encoded
                encoded[:, index] = _translate(matrix[:, index], series.categories.get(name, ()), values)
        return encoded

    def _add_values(self, name: str, series: SeriesSet, cells: np.ndarray) -> list[str] | None:
        """Add the values of a shard to a column and return all of them."""
        known, own = self.columns.get(name), series.categories.get(name)
        if own is None and np.isnan(cells).all():
            if name not in self.columns:  # its kind is not known yet
                self.blank.append(name)
            return known
        if name in self.columns and (known is None) != (own is None):
            raise InputError(
                f"{series.source}: column {name!r} holds text such as {(own or known or '')[0]!r} in some series and"
                f" only numbers in others (see {series.name(0)}); it must hold one or the other everywhere."
            )
        self.columns[name] = None if own is None else [*(known or []), *sorted(set(own) - set(known or []))]
        return self.columns[name]

    def sorted_values(self) -> dict[str, list[str]]:
        """Sorted values of each category column."""
        return {name: sorted(values) for name, values in self.columns.items() if values}

    def recode(self, files: AppendOnlyFiles, common: Mapping[str, Any]) -> None:
        """Replace files whose codes are not in the order of sorted values by new ones of another name."""
        for matrix, key in MATRICES.items():
            columns = {name: self.columns.get(name) or [] for name in common[key]}
            if any(values != sorted(values) or values and name in self.blank for name, values in columns.items()):
                self._rewrite(files, matrix, common[key])

    def _rewrite(self, files: AppendOnlyFiles, matrix: str, names: list[str]) -> None:
        """Write the new file; the old one stays until the store is complete, in case this is interrupted."""
        old = file_name(matrix)
        with (files.folder / old).open("rb") as stream:
            while block := stream.read(4 * len(names) * ROWS_PER_READ):
                cells = np.frombuffer(block, np.float32).reshape(-1, len(names)).copy()
                for index, name in enumerate(names):
                    if values := self.columns.get(name):
                        cells[:, index] = _translate(cells[:, index], values, sorted(values))
                files.append(RECODED + old, cells)
        del files.records[old]


def _translate(codes: np.ndarray, old: Iterable[str], new: list[str]) -> np.ndarray:
    """Codes (n,) of ``old`` values -> codes of the same values in ``new``; NaN becomes 0, a missing value."""
    position = {value: code for code, value in enumerate(new, start=1)}
    table = np.array([0, *(position[value] for value in old)], np.float32)
    return table[np.nan_to_num(codes).astype(np.int64)]
