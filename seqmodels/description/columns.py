"""What covariate and static columns hold: numbers and their range, or categories and how often each one occurs."""

from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.counts import pieces

MOST = 5  # categories that are named


class Column(NamedTuple):
    """A covariate or static column over all rows, or all series; NaN where a figure does not apply."""

    name: str
    role: str
    missing: int
    least: float
    mean: float
    greatest: float
    categories: int  # 0 for a column of numbers
    most: tuple[tuple[str, float], ...]  # the most frequent categories and their shares


def columns(series: Any) -> list[Column]:
    """All of them, in the order of the data."""
    parts = (
        ("known up to now", series.past_covariate_names, series.past_covariates),
        ("known ahead", series.known_covariate_names, series.known_covariates),
        ("static", series.static_names, series.static),
    )
    found = []
    for role, names, cells in parts:
        for index, name in enumerate(names if cells is not None else ()):
            values = series.categories.get(name)
            found.append(
                of_numbers(name, role, cells[:, index])
                if values is None
                else of_categories(name, role, cells[:, index], values)
            )
    return found


def of_numbers(name: str, role: str, cells: np.ndarray) -> Column:
    """``cells``: NaN where there is no number."""
    total, count, least, greatest = 0.0, 0, np.inf, -np.inf
    for part in pieces(len(cells), 1):
        known = cells[part][~np.isnan(cells[part])]
        if len(known):
            total, count = total + float(known.sum(dtype=np.float64)), count + len(known)
            least, greatest = min(least, float(known.min())), max(greatest, float(known.max()))
    if not count:
        least = greatest = float("nan")
    mean = total / count if count else float("nan")
    return Column(name, role, len(cells) - count, least, mean, greatest, 0, ())


def of_categories(name: str, role: str, cells: np.ndarray, values: tuple[str, ...]) -> Column:
    """``cells``: numbers of the values from 1 on, 0 where there is none."""
    counts = np.zeros(len(values) + 1, np.int64)
    for part in pieces(len(cells), 1):
        counts += np.bincount(cells[part].astype(np.int64), minlength=len(counts))
    frequent = [i for i in np.argsort(-counts[1:], kind="stable")[:MOST].tolist() if counts[i + 1]]
    shares = tuple((values[i], float(counts[i + 1] / len(cells))) for i in frequent)
    nan = float("nan")
    return Column(name, role, int(counts[0]), nan, nan, nan, len(values), shares)
