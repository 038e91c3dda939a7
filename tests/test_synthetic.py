"""Generated data: published values of the textbook series, and the formula of the panel whatever the part size."""

from pathlib import Path

import numpy as np
import pytest

from datamodules import synthetic
from datamodules.synthetic import Panel, PanelGenerator, TrendSeason, Waves, generate_trend_season, generate_waves
from seqmodels.errors import InputError


@pytest.mark.parametrize(
    ("steps", "first", "last"),
    [(51, (0.4596948, 0.31486678, 0.12497123), 0.050528232), (60, (0.4596948, 0.33874455, 0.18980233), 0.08325014)],
)
def test_waves_equal_the_published_ones(steps, first, last):
    waves = generate_waves(10_000, steps, 42)
    assert waves.dtype == np.float32
    np.testing.assert_allclose(waves[0, :3], first, rtol=0, atol=1e-6)
    assert waves[-1, -1] == pytest.approx(last, abs=1e-6)


def test_trend_season_equals_the_published_series():
    series = generate_trend_season(1461, 42)
    np.testing.assert_allclose(series[[0, 1, 2, -1]], [52.48357, 49.35275, 53.31474, 122.30772], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "seed", "split", "change", "naive"),
    [
        (1461, 42, 1000, {}, 5.9379),
        (1461, 42, 1100, {"slope": 0.01, "noise": 2, "frequency": 7, "knee": 0.1, "decay": 5}, 2.6012),
        (3651, 51, 3000, {"slope": 0.005, "noise": 3, "frequency": 6, "knee": 0.1, "decay": 9, "tail": 2}, 3.7013),
    ],
)
def test_naive_error_equals_the_published_one(steps, seed, split, change, naive):
    series = generate_trend_season(steps, seed, **change)
    assert np.abs(series[split:] - series[split - 1 : -1]).mean() == pytest.approx(naive, abs=5e-5)


def test_numbers_of_windows():
    waves = Waves(past_steps=50, horizon=10, split=[0.7, 0.2, 0.1], split_by="series", context="inside")
    waves.setup()
    assert waves.windows == {"train": 7000, "validation": 2000, "test": 1000}
    course = TrendSeason(past_steps=30, horizon=1, split=[1000, 461])
    course.setup()
    assert course.windows == {"train": 970, "validation": 461, "test": 0}


def test_harmonics_are_known_fourier_terms_of_the_season():
    data = TrendSeason(past_steps=30, horizon=2, split=[1000, 461], harmonics=3)
    data.setup()
    assert data.spec.known_covariates == ("sine 1", "cosine 1", "sine 2", "cosine 2", "sine 3", "cosine 3")
    window = next(iter(data.val_dataloader()))
    time = window.origin[:, None].numpy() + np.arange(-29, 3)
    for n in (1, 2, 3):
        for place, wave in ((2 * n - 2, np.sin), (2 * n - 1, np.cos)):
            expected = wave(2 * np.pi * n * time / 365)
            np.testing.assert_allclose(window.inputs.known_covariates[..., place], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("harmonics", [-1, 183])
def test_invalid_numbers_of_harmonics_are_refused(harmonics):
    with pytest.raises(InputError, match=f"data.harmonics is {harmonics}; it must be between 0 and 182"):
        TrendSeason(past_steps=30, horizon=1, harmonics=harmonics)


PANEL_WINDOWS = {"past_steps": 14, "horizon": 7}


@pytest.mark.parametrize("rows", [1, 100, 1000, 2**20])
def test_panel_does_not_depend_on_the_part_size(rows: int, monkeypatch) -> None:
    data = Panel(series=30, least_steps=5, most_steps=200, dates=True, **PANEL_WINDOWS)
    expected = data.read()
    monkeypatch.setattr(PanelGenerator.parts, "__defaults__", (rows,))
    again, parts = data.read(), [shard.series for shard in data.shards(Path(), rows, 0)]
    assert np.array_equal(again.values, expected.values) and np.array_equal(again.time, expected.time)
    assert np.array_equal(np.concatenate([part.values for part in parts]), expected.values)
    assert np.array_equal(np.concatenate([part.time for part in parts]), expected.time)
    assert np.array_equal(np.concatenate([part.lengths for part in parts]), expected.lengths)
    assert sum((part.names for part in parts), ()) == expected.names
    assert len(parts) == (30 if rows == 1 else 1 if rows == 2**20 else len(parts))
    assert [shard.series.names for shard in data.shards(Path(), rows, 1)] == [part.names for part in parts[1:]]


def test_panel_lengths_dates_and_seed() -> None:
    made = Panel(series=400, least_steps=50, most_steps=300, dates=True, **PANEL_WINDOWS).read()
    assert made.lengths.min() >= 50 and made.lengths.max() <= 300 and len(np.unique(made.lengths)) > 150
    assert (np.diff(made.time)[np.delete(np.arange(len(made.time) - 1), made.offsets[1:-1] - 1)] == synthetic.DAY).all()
    assert (made.time[made.offsets[1:] - 1] == np.datetime64("2024-12-31")).all()
    other = Panel(series=400, least_steps=50, most_steps=300, data_seed=1, **PANEL_WINDOWS).read()
    assert other.time is None and not np.array_equal(other.lengths, made.lengths)


def test_panel_noise_equals_the_recursion() -> None:
    generator, again = (PanelGenerator(2, 300, 300, 0.7, seed=3) for _ in range(2))
    found = generator._noise(np.tile(np.arange(300), 2)).reshape(2, 300)
    drawn = again.noise.standard_normal(600).reshape(2, 300) * 0.1 * np.sqrt(1 - 0.49)
    for noise, innovation in zip(found, drawn, strict=True):
        expected = 0.0
        for t in range(300):
            expected = 0.7 * expected + innovation[t]
            assert noise[t] == pytest.approx(expected, abs=1e-7)


def test_panel_series_have_their_level_trend_and_weekday_effects() -> None:
    generator = PanelGenerator(20, 2000, 2000, 0.7, seed=0)
    ((_, values),) = generator.parts()
    for number, row in enumerate((values / generator.level.repeat(2000)).reshape(20, 2000)):
        step, day = np.arange(2000), np.arange(1999, -1, -1) % 7  # counted back from the last one
        design = np.column_stack([step, *(day == weekday for weekday in range(7))])
        slope, *week = np.linalg.lstsq(design, row, rcond=None)[0]
        assert slope == pytest.approx(generator.trend[number], abs=5e-5)
        assert week == pytest.approx(1 + generator.week[number], abs=0.1)
        rest = row - design @ [slope, *week]
        assert np.corrcoef(rest[1:], rest[:-1])[0, 1] == pytest.approx(0.7, abs=0.1)
        assert rest.std() == pytest.approx(0.1, rel=0.25)


def test_panel_has_windows() -> None:
    data = Panel(series=20, least_steps=60, most_steps=100, **PANEL_WINDOWS)
    data.setup()
    assert data.spec.season == 7 and data.spec.series == 20
    assert data.windows["train"] == sum(int(length * 0.7 + 1e-6) - 20 for length in data.series.lengths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"series": 0}, "data.series is 0"),
        ({"least_steps": 0}, "data.least_steps is 0"),
        ({"most_steps": 40}, "data.most_steps is 40; it must be at least data.least_steps=50"),
        ({"correlation": 1.0}, "data.correlation is 1.0"),
    ],
)
def test_invalid_panel_settings_are_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Panel(**change, **PANEL_WINDOWS)
