"""Limits are quantiles of the training rows, and only observed values beyond them are pulled in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import arrays
from datamodules.statistics import check_winsorise, clip_rows, quantile_limits
from seqmodels.window import InputError


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
def test_only_observed_values_of_the_rows_are_pulled_in(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
    pulled, counts = clip_rows(numbers, observed, low, high, rows)
    changed = np.argwhere(pulled != numbers)
    assert counts.tolist() == [2, 2] and pulled[3, 0] == high[0] and pulled[5, 1] == low[1] and pulled[7, 0] == 0
    assert len(changed) == 4 and all(row < 50 or 60 <= row < 100 for row, _ in changed)
    assert (numbers == before).all() and pulled[150, 0] == 99
    everywhere, _ = clip_rows(numbers, None, low, high)
    assert (everywhere == np.clip(numbers, low, high)).all()


def test_a_channel_without_values_has_no_limits() -> None:
    low, high = quantile_limits(np.zeros((4, 1), np.float32), np.zeros((4, 1), bool), [slice(0, 4)], 0.1)
    assert (low[0], high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("share", [0, 0.5, -0.1, 1, True, float("nan")])
def test_shares_that_leave_nothing_are_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"data.winsorise is .*; it must be null or a share between 0 and 0.5"):
        check_winsorise(share)
