"""How much of the future a column gives away: least squares on the past with and without it; it knows arrays only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

ROWS = 5_000  # taken evenly, of more
ROWS_PER_REGRESSOR = 10
UNEXPLAINED, EXACT = 1e-4, 0.99  # at most of all variance; at least of what the past leaves
KEPT, CONCENTRATIONS, FEW_ROWS = 0.9, 10, 2_000  # the share of rows that must follow a relation; of so many at most
TINY = 1e-300
ROUNDING = 1e-6  # of the largest sum: less than that is no error of a forecast


class Piece(NamedTuple):
    """The training rows of one series, in units of its deviation."""

    target: np.ndarray  # (n,) float64, NaN where not observed
    columns: np.ndarray  # (n, m) float64, NaN where missing


class Gain(NamedTuple):
    """What columns add to the best linear forecast of the sum of the next ``steps`` values."""

    share: float  # of the variance that the past of the target leaves unexplained
    rest: float  # of all variance, unexplained with the columns
    steps: int
    rows: float = 1.0  # the share of them that was looked at

    @property
    def exact(self) -> bool:
        """Whether the columns give the sum away, and not the past: rounding to float32 leaves a millionth at most."""
        return self.share > EXACT and self.rest < UNEXPLAINED


def gain(pieces: Sequence[Piece], shifts: Sequence[int], most: int) -> Gain | None:
    """The gain of the sum that gains most, of the next 1 ... ``most`` values; None where there are too few rows.

    Regressors: 1, the last ``most`` + 1 values, and the columns at t + each of ``shifts``. Where too few rows are
    complete, ``most`` is halved. A relation that holds in nine rows of ten and not in the others, because of errors or
    filled gaps, is found as well.
    """
    while most >= 1:
        wanted = ROWS_PER_REGRESSOR * (most + 2 + len(shifts) * pieces[0].columns.shape[1])
        parts = [part for piece in pieces if (part := _complete(piece, shifts, most)) is not None]
        if sum(len(part[0]) for part in parts) >= wanted:
            past, extra, sums = (_evenly(np.concatenate(group)) for group in zip(*parts, strict=True))
            found = _best(past, extra, sums)
            few = FEW_ROWS
            return (
                found if found.exact else _trimmed(_evenly(past, few), _evenly(extra, few), _evenly(sums, few), found)
            )
        most //= 2
    return None


def _evenly(rows: np.ndarray, most: int = ROWS) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def _complete(piece: Piece, shifts: Sequence[int], most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows t without anything missing: past (n, most + 2), columns (n, m shifts), sums (n, most)."""
    target, columns = piece
    first, last = max(most, -min(shifts)), len(target) - 1 - max(most, *shifts)
    if last < first:
        return None
    windows = sliding_window_view(target, 2 * most + 1)[first - most : last - most + 1]
    extra = np.concatenate([columns[first + shift : last + 1 + shift] for shift in shifts], axis=1)
    rows = np.flatnonzero(np.isfinite(windows).all(axis=1) & np.isfinite(extra).all(axis=1))
    rows = _evenly(rows)
    past = np.concatenate([np.ones((len(rows), 1)), windows[rows, : most + 1]], axis=1)
    return past, extra[rows], windows[rows, most + 1 :].cumsum(axis=1)


def _best(past: np.ndarray, extra: np.ndarray, sums: np.ndarray) -> Gain:
    """Frisch-Waugh: what is left of the columns beyond the past explains its share of what is left of the sums.

    Of sums that gain as much, to a thousandth, the shortest one. Where the past explains everything but rounding, there
    is nothing to gain.
    """
    basis = np.linalg.qr(past)[0]
    unexplained, beyond = sums - basis @ (basis.T @ sums), extra - basis @ (basis.T @ extra)
    left, sizes, _ = np.linalg.svd(beyond, full_matrices=False)
    left = left[:, sizes > 1e-10 * max(float(np.linalg.norm(extra)), TINY)]
    before = np.square(unexplained).sum(axis=0)
    taken = np.square(left.T @ unexplained).sum(axis=0)
    total = np.square(sums - sums.mean(axis=0)).sum(axis=0)
    open_to_gain = before > len(sums) * np.square(ROUNDING * np.abs(sums).max(axis=0))
    share = np.where(open_to_gain, taken / np.maximum(before, TINY), 0.0)
    best = int(np.argmax(share >= 0.999 * share.max()))
    rest = (before[best] - taken[best]) / max(total[best], TINY)
    return Gain(float(share[best]), float(rest), best + 1)


def _trimmed(past: np.ndarray, extra: np.ndarray, sums: np.ndarray, otherwise: Gain) -> Gain:
    """The gain in the nine tenths of rows that follow one relation best, where that one is exact.

    Least trimmed squares by concentration (Rousseeuw and Van Driessen, 2006): fit, keep what fits, fit again. The first
    fit is one of values pulled to the range of nine tenths, which single large ones do not lead astray.
    """
    both = np.concatenate([past, extra], axis=1)
    for steps in sorted({1, otherwise.steps}):
        wanted = sums[:, steps - 1]
        weights = _least_squares(_pulled(both), _pulled(wanted))
        for _ in range(CONCENTRATIONS):
            rows = np.argsort(np.abs(wanted - both @ weights))[: int(KEPT * len(wanted))]
            weights = _least_squares(both[rows], wanted[rows])
        found = _best(past[rows], extra[rows], sums[rows, steps - 1 : steps])
        if found.exact:
            return found._replace(steps=steps, rows=KEPT)
    return otherwise


def _least_squares(design: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(design, wanted, rcond=None)[0]


def _pulled(values: np.ndarray) -> np.ndarray:
    low, high = np.quantile(values, [(1 - KEPT) / 2, (1 + KEPT) / 2], axis=0)
    return values.clip(low, high)
