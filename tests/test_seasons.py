"""Autocorrelation and the season found in it, against formulas, published values and another method."""

import numpy as np
import pytest
from data import real

from datamodules.tables.reader import read_table
from seqmodels.description.curves import Curve, centred_average, interpolate_gaps, mean_by_position
from seqmodels.description.seasons import (
    BAND,
    autocorrelation,
    bartlett_band,
    correlogram,
    find_season,
    last_relevant_lag,
    measure_season,
    partial_autocorrelation,
    usual_periods,
)

RAIL = {1: 0.4557, 2: -0.0745, 3: -0.1509, 6: 0.4061, 7: 0.8638, 8: 0.4000, 14: 0.8394, 21: 0.8298, 28: 0.8392,
        35: 0.8365}  # fmt: skip


def curve(values: np.ndarray) -> Curve:
    return Curve(0, 0, 0, np.asarray(values, np.float64))


def noise(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=steps)


def autoregressive(steps: int, weight: float, seed: int = 0) -> np.ndarray:
    """y(t) = weight y(t - 1) + noise."""
    values = noise(steps, seed)
    for t in range(1, steps):
        values[t] += weight * values[t - 1]
    return values


def formula(values: np.ndarray, lag: int) -> float:
    """Sum of the products of observed deviations ``lag`` steps apart, divided by the sum of squares."""
    deviations = np.nan_to_num(values - np.nanmean(values))
    return float((deviations[lag:] * deviations[: len(deviations) - lag]).sum() / np.square(deviations).sum())


def with_gaps(values: np.ndarray) -> np.ndarray:
    """The values, a tenth of them missing."""
    return np.where(np.random.default_rng(1).random(len(values)) < 0.1, np.nan, values)


@pytest.mark.parametrize("values", [noise(50), autoregressive(300, 0.8), with_gaps(autoregressive(300, 0.8))])
def test_autocorrelation_equals_the_formula_also_with_missing_values(values: np.ndarray) -> None:
    found = autocorrelation(values, 20)
    assert found == pytest.approx([formula(values, lag) for lag in range(21)], abs=1e-12)
    assert len(autocorrelation(values[:5], 20)) == 5


def test_autocorrelation_of_the_ridership_has_the_published_values() -> None:
    path = real("ridership/ridership.csv")
    series = read_table(path, target=["rail_boardings"], time="service_date")
    values = series.values[series.time < np.datetime64("2020-01-01"), 0].astype(np.float64)
    found = correlogram([curve(values)], 35)
    assert found is not None and len(values) == 6939
    assert {lag: round(float(found.acf[lag]), 4) for lag in RAIL} == RAIL
    season, seasons = find_season([curve(values)], usual_periods(series))
    assert season is not None and (season.steps, season.meaning) == (7, "a week")
    assert [one.steps for one in seasons] == [7, 365]


def test_partial_autocorrelation_is_the_last_coefficient_of_an_autoregression() -> None:
    """Compare with the solutions of the Yule-Walker equations."""
    acf = autocorrelation(autoregressive(400, 0.7), 12)
    expected = []
    for lag in range(1, 13):
        matrix = np.array([[acf[abs(i - j)] for j in range(lag)] for i in range(lag)])
        expected.append(np.linalg.solve(matrix, acf[1 : lag + 1])[-1])
    assert partial_autocorrelation(acf) == pytest.approx([1.0, *expected], abs=1e-10)
    assert np.isnan(partial_autocorrelation(np.array([1.0, 0.9, -0.9, 0.9]))[2:]).all()  # no process has this one


def test_bands_hold_95_percent_of_white_noise() -> None:
    acf = np.array([1.0, 0.5, 0.25, 0.1])
    expected = [0.0, (1 / 100) ** 0.5, ((1 + 2 * 0.25) / 100) ** 0.5, ((1 + 2 * (0.25 + 0.0625)) / 100) ** 0.5]
    assert bartlett_band(acf, 100) == pytest.approx(BAND * np.array(expected))
    outside = []
    for seed in range(20):
        found = correlogram([curve(noise(2000, seed))], 50)
        assert found is not None
        outside += [(np.abs(found.acf) > found.acf_band)[1:], (np.abs(found.pacf) > found.pacf_band)[1:]]
    assert [np.mean(outside[0::2]), np.mean(outside[1::2])] == pytest.approx([0.05, 0.05], abs=0.02)


def test_averages_use_each_curve_up_to_its_length() -> None:
    assert mean_by_position([np.array([1.0, 2.0, np.nan]), np.array([3.0])], 4) == pytest.approx(
        [2, 2, np.nan, np.nan], nan_ok=True
    )
    curves = [curve(autoregressive(200, 0.9, seed)) for seed in range(3)] + [curve(noise(6)), curve(np.ones(50))]
    found = correlogram(curves, 20)
    assert found is not None and (found.curves, len(found.acf)) == (4, 21)
    for lag, count in ((2, 4), (10, 3)):
        expected = np.mean([formula(one.values, lag) for one in curves[:count]])
        assert found.acf[lag] == pytest.approx(expected)
    assert correlogram([curve(np.ones(50)), curve(np.full(9, np.nan))], 20) is None


def test_last_relevant_lag_is_the_order_of_the_process() -> None:
    values = noise(3000)
    for t in range(3, 3000):
        values[t] += 0.3 * values[t - 1] + 0.4 * values[t - 3]
    for steps, expected in ((values, 3), (noise(3000, seed=5), 0)):
        found = correlogram([curve(steps)], 100)
        assert found is not None and last_relevant_lag(found) == expected


@pytest.mark.parametrize("period", [5, 12, 100])
def test_an_unusual_period_is_found(period: int) -> None:
    steps = np.arange(1000)
    values = np.sin(2 * np.pi * steps / period) ** 3 + 0.01 * steps + 0.5 * noise(1000)
    for shown in (values, with_gaps(values)):
        season, found = find_season([curve(shown)], [(7, "a week")])
        assert season is not None and season.meaning == "" and found == [season]
        assert abs(season.steps - period) <= 0.02 * period and 0.3 < season.correlation < 1


def test_the_shortest_usual_period_is_the_season_unless_a_longer_one_is_much_stronger() -> None:
    steps = np.arange(24 * 60)
    day, week = np.sin(2 * np.pi * steps / 24), np.repeat(np.tile([1.0, 1, 1, 1, 1, 0, 0], 10), 24)[: 24 * 60]
    usual = [(24, "a day"), (168, "a week")]
    for values, expected in ((day + 0.3 * week, 24), (0.15 * day + 3 * week, 168)):
        season, found = find_season([curve(values + 0.1 * noise(len(values)))], usual)
        assert season is not None and season.steps == expected
        assert 168 in [one.steps for one in found]


def test_no_season_is_found_in_random_processes() -> None:
    """Noise, random walks and autoregressive processes, whose waves have all lengths."""
    processes = [noise, lambda n, seed: noise(n, seed).cumsum(), lambda n, seed: autoregressive(n, 0.9, seed)]
    found = [find_season([curve(make(n, seed))], [])[0] for make in processes for n in (60, 500) for seed in range(20)]
    assert sum(season is not None for season in found) <= 2
    expected = [find_season([curve(make(500, seed))], [(12, "a year")])[0] for make in processes for seed in range(20)]
    assert sum(season is not None for season in expected) <= 6


def test_many_short_series_show_a_season_together() -> None:
    curves = [curve(np.sin(2 * np.pi * np.arange(28) / 7) + noise(28, seed)) for seed in range(40)]
    season, _ = find_season(curves, [])
    assert season is not None and season.steps == 7
    assert measure_season(curves, 7).correlation == season.correlation and measure_season(curves, 12).correlation == 0.0


def test_gaps_are_interpolated_and_moving_averages_are_centred() -> None:
    assert interpolate_gaps(np.array([np.nan, 1.0, np.nan, np.nan, 4.0, np.nan])) == pytest.approx([1, 2, 3, 4])
    assert len(interpolate_gaps(np.full(3, np.nan))) == 0
    values = np.arange(20.0) ** 2
    for width in (5, 6):
        weights = np.ones(5) if width == 5 else np.array([0.5, 1, 1, 1, 1, 1, 0.5])
        expected = (values[10 - len(weights) // 2 : 11 + len(weights) // 2] * weights).sum() / width
        assert centred_average(values, width)[10] == pytest.approx(expected)
        assert centred_average(np.ones(20), width) == pytest.approx(np.ones(20))
