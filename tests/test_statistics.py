"""Statistics of the training rows against slow formulas, for any block size; seasonal units; winsorising."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import arrays
from datamodules import statistics as module
from datamodules.series import SeriesSet, Span
from datamodules.statistics import (
    check_winsorise,
    clip_rows,
    compute_statistics,
    merge_ranges,
    quantile_limits,
    seasonal_errors,
)
from datamodules.windows.spec import measure_seasonal_errors, sizes_differ
from seqmodels.window import InputError, Statistics, WindowSpec


@pytest.fixture(params=[7, 64, 2**20])
def block_sizes(request, monkeypatch) -> None:
    monkeypatch.setattr(module, "VALUES_AT_ONCE", request.param)


def random_series(seed: int, channels: int = 2, missing: bool = True) -> SeriesSet:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 60, size=random.integers(1, 12))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = random.normal(1000 * random.normal(), 3, size=(offsets[-1], channels)).astype(np.float32)
    observed = random.random(values.shape) > 0.2 if missing else None
    if observed is not None:
        values[~observed] = 0
    return SeriesSet(values, offsets, tuple("abcdef"[:channels]), observed)


def random_spans(series: SeriesSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of each series, sometimes empty, sometimes whole."""
    random = np.random.default_rng(seed)
    start = series.offsets[:-1] + (random.random(len(series)) * series.lengths * random.integers(0, 2)).astype(int)
    stop = start + (random.random(len(series)) * 1.3 * (series.offsets[1:] - start)).astype(int)
    return start, np.minimum(stop, series.offsets[1:])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("missing", [False, True])
def test_mean_and_deviation_equal_those_of_the_concatenated_values(seed: int, missing: bool, block_sizes: None) -> None:
    series = random_series(seed, missing=missing)
    start, stop = random_spans(series, seed)
    rows = np.concatenate([np.arange(low, high) for low, high in zip(start, stop, strict=True)]).astype(int)
    found = compute_statistics(series.values, merge_ranges(start, stop), series.observed)
    for channel in range(2):
        mask = np.ones(len(rows), bool) if series.observed is None else series.observed[rows, channel]
        there = series.values[rows, channel][mask].astype(np.float64)
        assert found.mean[channel] == pytest.approx(there.mean() if len(there) else 0, rel=1e-6)
        assert found.deviation[channel] == pytest.approx((len(there) and there.std()) or 1, rel=1e-6)


def test_a_large_mean_does_not_cancel_the_deviation(block_sizes: None) -> None:
    values = (1e5 + np.arange(500)[:, None] % 2).astype(np.float32)
    found = compute_statistics(values, [slice(0, 200), slice(300, 500)])
    assert found.mean[0] == pytest.approx(1e5 + 0.5) and found.deviation[0] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 5.1, -1e20])
def test_a_constant_channel_has_the_deviation_one(value: float, block_sizes: None) -> None:
    found = compute_statistics(np.full((100, 1), value, np.float32), [slice(0, 90)])
    assert found.deviation == (1.0,) and found.mean[0] == pytest.approx(value, rel=1e-6)


def test_without_values_the_mean_is_0_and_the_deviation_1() -> None:
    assert compute_statistics(np.ones((3, 1), np.float32), [])[:2] == ((0.0,), (1.0,))
    nothing = np.zeros((3, 1), bool)
    assert compute_statistics(np.ones((3, 1), np.float32), [slice(0, 2)], nothing)[:2] == ((0.0,), (1.0,))
    assert compute_statistics(None, [slice(0, 2)]) == ((), (), ())


def test_nan_is_ignored(block_sizes: None) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    values[::7, 1] = np.nan
    found = compute_statistics(values, [slice(0, 100)])
    assert found.mean == pytest.approx(np.nanmean(values, axis=0, dtype=np.float64), rel=1e-6)
    assert found.deviation == pytest.approx(np.nanstd(values, axis=0, dtype=np.float64), rel=1e-6)


def slow_error(series: SeriesSet, low: int, high: int, season: int, channel: int) -> float:
    found = []
    for row in range(low + season, high):
        if series.observed is None or series.observed[[row, row - season], channel].all():
            found.append(abs(float(series.values[row, channel]) - float(series.values[row - season, channel])))
    return math.fsum(found) / len(found) if found else math.nan


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("season", [1, 7, 40])
@pytest.mark.parametrize("missing", [False, True])
def test_seasonal_errors_equal_a_loop(seed: int, season: int, missing: bool, block_sizes: None) -> None:
    series = random_series(seed, missing=missing)
    start, stop = random_spans(series, seed)
    found = seasonal_errors(series, start, stop, season)
    for number, (low, high) in enumerate(zip(start, stop, strict=True)):
        for channel in range(2):
            error = slow_error(series, low, high, season, channel)
            assert found[number, channel] == pytest.approx(error, rel=1e-6, nan_ok=True)


def test_tiny_series_keep_their_error_beside_huge_ones() -> None:
    steps = np.arange(1000)
    values = np.concatenate([1e12 * (steps % 2), 1e-9 * (steps % 2), 1 + 1e-8 * steps]).astype(np.float32)[:, None]
    series = SeriesSet(values, np.array([0, 1000, 2000, 3000]), ("y",))
    found = seasonal_errors(series, series.offsets[:-1], series.offsets[1:], 1)
    assert found[:, 0].tolist() == pytest.approx([1e12, 1e-9, 0], rel=1e-6), "the last is rounding"


@given(lengths=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
@settings(max_examples=50, deadline=None)
def test_merged_ranges_hold_the_same_rows_and_are_not_adjacent(lengths: list[tuple[int, int]]) -> None:
    stops = np.cumsum([gap + length for gap, length in lengths]).astype(int)
    starts = stops - np.array([length for _, length in lengths], dtype=int)
    parts = merge_ranges(starts, stops)
    rows = [row for part in parts for row in range(part.start, part.stop)]
    assert rows == [row for low, high in zip(starts, stops, strict=True) for row in range(low, high)]
    assert all(one.stop < two.start for one, two in zip(parts, parts[1:], strict=False))


def test_units_have_the_size_of_their_series() -> None:
    alternating, rising = np.tile([0.0, 2e-3], 30), 1e6 * np.arange(60.0)
    constant, silent, short = np.full(60, 5.0), np.zeros(60), np.array([3.0, 3.0, 4.0])
    parts = [alternating, rising, constant, silent, short]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    series = SeriesSet(np.concatenate(parts).astype(np.float32)[:, None], offsets, ("y",))
    spec = WindowSpec(10, 2, season=4, target_statistics=Statistics((0.0,), (7.0,)))
    found = measure_seasonal_errors(series, Span(offsets[:-1], offsets[1:]), np.zeros(5, bool), spec)
    # Seasonal differences of the first one are 0, those of the short one do not exist
    small = np.quantile([2e-3, 4e6, 5.0, 0.5], 0.05)
    assert found.units[:, 0].tolist() == pytest.approx([2e-3, 4e6, 5.0, small, 0.5], rel=1e-6)
    alone = SeriesSet(np.zeros((60, 1), np.float32), np.array([0, 60]), ("y",))
    silence = measure_seasonal_errors(alone, Span(alone.offsets[:-1], alone.offsets[1:]), np.zeros(1, bool), spec)
    assert silence.units.tolist() == [[7.0]], "there is no other series"
    nan = math.nan
    assert found.exact[:, 0].tolist() == pytest.approx([0, 4e6, 0, 0, nan], rel=1e-6, nan_ok=True)
    assert found.denominators[:, 0].tolist() == pytest.approx([nan, 4e6, nan, nan, nan], rel=1e-6, nan_ok=True)


def test_sizes_differ_ignores_the_outermost_series() -> None:
    alike = torch.linspace(1, 9, 100)[:, None]
    assert not sizes_differ(alike) and not sizes_differ(alike[:1])
    outlier = alike.clone()
    outlier[0] = 1e6
    assert not sizes_differ(outlier)
    assert sizes_differ(torch.logspace(0, 3, 100)[:, None]) and sizes_differ(torch.tensor([[1.0, 1.0], [1.0, 50.0]]))


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50),
    share=st.floats(0.001, 0.49),
    begin=st.integers(0, 10),
)
def test_limits_are_quantiles_of_the_given_rows(values: list[float], share: float, begin: int) -> None:
    column = np.array(values, np.float32)
    rows = [slice(0, 3), slice(3, 5), slice(5 + begin, len(values))]
    inside = np.concatenate([column[part] for part in rows])
    low, high = quantile_limits(column[:, None], None, rows, share)
    assert low.dtype == np.float32 and low.shape == high.shape == (1,)
    assert np.count_nonzero(inside < low) <= share * len(inside) < np.count_nonzero(inside <= low)
    assert np.count_nonzero(inside > high) <= share * len(inside) < np.count_nonzero(inside >= high)


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_only_observed_values_of_the_rows_are_clipped(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK", size)
    numbers = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    numbers[[3, 150], 0], numbers[5, 1] = 99, -77
    observed = np.ones(numbers.shape, bool)
    observed[7, 0] = False
    numbers[7, 0] = 0
    before, rows = numbers.copy(), [slice(0, 50), slice(60, 100)]
    low, high = quantile_limits(numbers, observed, rows, 0.02)
    for channel in (0, 1):
        seen = np.sort(np.concatenate([numbers[part, channel][observed[part, channel]] for part in rows]))
        assert (low[channel], high[channel]) == (seen[1], seen[-2])  # 2 % of 90 values are 1
    clipped, counts = clip_rows(numbers, observed, low, high, rows)
    changed = np.argwhere(clipped != numbers)
    assert counts.tolist() == [2, 2] and clipped[3, 0] == high[0] and clipped[5, 1] == low[1] and clipped[7, 0] == 0
    assert len(changed) == 4 and all(row < 50 or 60 <= row < 100 for row, _ in changed)
    assert (numbers == before).all() and clipped[150, 0] == 99
    everywhere, _ = clip_rows(numbers, None, low, high, [slice(0, 200)])
    assert (everywhere == np.clip(numbers, low, high)).all()


def test_a_channel_without_values_has_infinite_limits() -> None:
    low, high = quantile_limits(np.zeros((4, 1), np.float32), np.zeros((4, 1), bool), [slice(0, 4)], 0.1)
    assert (low[0], high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("share", [0, 0.5, -0.1, 1, True, float("nan")])
def test_invalid_winsorise_shares_are_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"data.winsorise is .*; it must be null or a share between 0 and 0.5"):
        check_winsorise(share)
