"""Expressions that are evaluated within each series, for many series at once."""

from collections.abc import Iterator

import numpy as np
import polars as pl

ROWS_AT_ONCE = 2**22  # about so many rows are computed together: little memory, and no price per series
VALUE = pl.col("value")


def within_series(
    expression: pl.Expr, values: np.ndarray, offsets: np.ndarray, observed: np.ndarray | None = None
) -> np.ndarray:
    """An expression of ``VALUE``, evaluated in float64 within each series: (rows,) -> (rows,) float32.

    Series i is rows ``offsets[i]:offsets[i + 1]``. What is NaN or not ``observed`` (rows,) is null to the expression,
    and what is null in its result becomes NaN.
    """
    result = np.empty(len(values), np.float32)
    for first, last in _blocks(offsets):
        rows = slice(offsets[first], offsets[last])
        block = values[rows].astype(np.float64)
        if observed is not None:
            block[~observed[rows]] = np.nan
        lengths = np.diff(offsets[first : last + 1])
        frame = pl.DataFrame(
            {
                "series": pl.Series(np.arange(last - first, dtype=np.int32).repeat(lengths)).set_sorted(),
                "value": pl.Series(block, nan_to_null=True),
            }
        )
        # The rows of a series are neighbours, so that its results stand where they belong: faster than to look.
        found = frame.select(expression.over("series", mapping_strategy="explode"))
        computed = found.select(pl.all().cast(pl.Float32).fill_null(float("nan")))
        result[rows] = computed.to_series().to_numpy()
    return result


def _blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of whole series ``first:last`` with about ``ROWS_AT_ONCE`` rows; a longer series is a run of its own."""
    starts = np.flatnonzero(np.diff(offsets[:-1] // ROWS_AT_ONCE, prepend=-1))
    borders = [*starts.tolist(), len(offsets) - 1]
    yield from zip(borders[:-1], borders[1:], strict=True)
