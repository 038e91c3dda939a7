"""Share of a future sum that columns explain beyond the past: least squares with and without them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MAX_ROWS = 5_000  # of more, an even sample is used
MAX_TRIMMED_ROWS = 2_000  # in the trimmed fit
ROWS_PER_REGRESSOR = 10
UNEXPLAINED, EXACT_SHARE = 1e-4, 0.99  # of an exact relation: at most of all variance, at least of what the past leaves
KEPT_SHARE, CONCENTRATION_STEPS = 0.9, 10  # of the trimmed fit
TINY = 1e-300
SUM_PRECISION = 1e-6  # of the largest sum; smaller errors of a forecast are rounding


class Segment(NamedTuple):
    """Training rows of one series, in units of the standard deviation of its target."""

    target: np.ndarray  # (n,) float64, NaN where not observed
    columns: np.ndarray  # (n, m) float64, NaN where missing


class Gain(NamedTuple):
    """Improvement of the best linear forecast of the sum of the next ``steps`` values by columns."""

    share: float  # of the variance that the past of the target leaves unexplained
    rest: float  # share of all variance that stays unexplained with the columns
    steps: int
    rows: float = 1.0  # share of the rows that the relation holds in

    @property
    def exact(self) -> bool:
        """True if the columns, and not the past, determine the sum up to rounding."""
        return self.share > EXACT_SHARE and self.rest < UNEXPLAINED


def find_gain(segments: Sequence[Segment], shifts: Sequence[int], most: int) -> Gain | None:
    """The largest gain for the sum of the next 1 ... ``most`` values; None if there are too few rows.

    Regressors: 1, the last ``most`` + 1 values, and the columns at t + each of ``shifts``. ``most`` is halved while too
    few rows are complete. A relation that holds in nine of ten rows, because of errors or filled gaps in the others, is
    found as well.
    """
    while most >= 1:
        needed = ROWS_PER_REGRESSOR * (most + 2 + len(shifts) * segments[0].columns.shape[1])
        parts = [part for segment in segments if (part := _complete_rows(segment, shifts, most)) is not None]
        if sum(len(part[0]) for part in parts) >= needed:
            past, extra, sums = (_even_sample(np.concatenate(group)) for group in zip(*parts, strict=True))
            found = _largest_gain(past, extra, sums)
            if found.exact:
                return found
            past, extra, sums = (_even_sample(rows, MAX_TRIMMED_ROWS) for rows in (past, extra, sums))
            return _trimmed_gain(past, extra, sums, found)
        most //= 2
    return None


def _even_sample(rows: np.ndarray, most: int = MAX_ROWS) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def _complete_rows(
    segment: Segment, shifts: Sequence[int], most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows t without missing values: past (n, most + 2), columns (n, m shifts), sums (n, most)."""
    target, columns = segment
    first, last = max(most, -min(shifts)), len(target) - 1 - max(most, *shifts)
    if last < first:
        return None
    windows = sliding_window_view(target, 2 * most + 1)[first - most : last - most + 1]
    extra = np.concatenate([columns[first + shift : last + 1 + shift] for shift in shifts], axis=1)
    rows = _even_sample(np.flatnonzero(np.isfinite(windows).all(axis=1) & np.isfinite(extra).all(axis=1)))
    past = np.concatenate([np.ones((len(rows), 1)), windows[rows, : most + 1]], axis=1)
    return past, extra[rows], windows[rows, most + 1 :].cumsum(axis=1)


def _largest_gain(past: np.ndarray, extra: np.ndarray, sums: np.ndarray) -> Gain:
    """Frisch-Waugh-Lovell: regress the residuals of the sums on those of the columns, both after the past.

    The shortest of the sums that gain as much, to a thousandth. No gain where the past leaves only rounding.
    """
    basis = np.linalg.qr(past)[0]
    residuals, columns = sums - basis @ (basis.T @ sums), extra - basis @ (basis.T @ extra)
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    left = left[:, sizes > 1e-10 * max(float(np.linalg.norm(extra)), TINY)]
    before = np.square(residuals).sum(axis=0)
    explained = np.square(left.T @ residuals).sum(axis=0)
    total = np.square(sums - sums.mean(axis=0)).sum(axis=0)
    uncertain = before > len(sums) * np.square(SUM_PRECISION * np.abs(sums).max(axis=0))
    share = np.where(uncertain, explained / np.maximum(before, TINY), 0.0)
    best = int(np.argmax(share >= 0.999 * share.max()))
    rest = (before[best] - explained[best]) / max(total[best], TINY)
    return Gain(float(share[best]), float(rest), best + 1)


def _trimmed_gain(past: np.ndarray, extra: np.ndarray, sums: np.ndarray, otherwise: Gain) -> Gain:
    """The gain in the nine tenths of the rows that follow one relation best, if that one is exact.

    Least trimmed squares by concentration steps (Rousseeuw and Van Driessen, 2006): fit, keep the rows that fit best,
    and fit again. The first fit is to winsorised values, so that single large ones do not mislead it.
    """
    design = np.concatenate([past, extra], axis=1)
    for steps in sorted({1, otherwise.steps}):
        goal = sums[:, steps - 1]
        weights = _least_squares(_winsorise(design), _winsorise(goal))
        for _ in range(CONCENTRATION_STEPS):
            rows = np.argsort(np.abs(goal - design @ weights))[: int(KEPT_SHARE * len(goal))]
            weights = _least_squares(design[rows], goal[rows])
        found = _largest_gain(past[rows], extra[rows], sums[rows, steps - 1 : steps])
        if found.exact:
            return found._replace(steps=steps, rows=KEPT_SHARE)
    return otherwise


def _least_squares(design: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(design, goal, rcond=None)[0]


def _winsorise(values: np.ndarray) -> np.ndarray:
    low, high = np.quantile(values, [(1 - KEPT_SHARE) / 2, (1 + KEPT_SHARE) / 2], axis=0)
    return values.clip(low, high)
