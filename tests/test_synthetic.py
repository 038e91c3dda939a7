"""Generated series agree with the published ones to 1e-6."""

import numpy as np
import pytest

from datamodules.synthetic import TrendSeason, Waves, generate_trend_season, generate_waves
from seqmodels.errors import InputError


@pytest.mark.parametrize(
    ("steps", "first", "last"),
    [(51, (0.4596948, 0.31486678, 0.12497123), 0.050528232), (60, (0.4596948, 0.33874455, 0.18980233), 0.08325014)],
)
def test_waves(steps, first, last):
    waves = generate_waves(10_000, steps, 42)
    assert waves.dtype == np.float32
    np.testing.assert_allclose(waves[0, :3], first, rtol=0, atol=1e-6)
    assert waves[-1, -1] == pytest.approx(last, abs=1e-6)


def test_trend_season():
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
def test_naive_error_on_the_course_series(steps, seed, split, change, naive):
    series = generate_trend_season(steps, seed, **change)
    assert np.abs(series[split:] - series[split - 1 : -1]).mean() == pytest.approx(naive, abs=5e-5)


def test_default_windows():
    waves = Waves(past_steps=50, horizon=10, split=[0.7, 0.2, 0.1], split_by="series", context="inside")
    waves.setup()
    assert waves.windows == {"train": 7000, "validation": 2000, "test": 1000}
    course = TrendSeason(past_steps=30, horizon=1, split=[1000, 461])
    course.setup()
    assert course.windows == {"train": 970, "validation": 461, "test": 0}


def test_harmonics_are_sines_and_cosines_of_the_season_known_ahead():
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
def test_harmonics_that_the_season_does_not_have_are_refused(harmonics):
    with pytest.raises(InputError, match=f"data.harmonics is {harmonics}; it must be between 0 and 182"):
        TrendSeason(past_steps=30, horizon=1, harmonics=harmonics)
