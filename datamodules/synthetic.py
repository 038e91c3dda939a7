"""Generated series: the two-sine waves of the textbook and the trend + season + noise series of the course."""

from typing import Any

import numpy as np

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet


def generate_waves(series: int, steps: int, seed: int) -> np.ndarray:
    """Sums of two sine waves of random frequency and phase, plus noise: (series, steps) float32.

    0.5 sin((t - o1)(10 f1 + 10)) + 0.2 sin((t - o2)(20 f2 + 20)) + 0.1 (u - 0.5), with f, o, u ~ U(0, 1)
    and t = linspace(0, 1, steps); so the sampling step depends on ``steps``.

    Source: Géron, "Hands-On Machine Learning", 2nd ed., chapter 15; the same draws in the same order.
    """
    random = np.random.RandomState(seed)
    frequency1, frequency2, offset1, offset2 = random.rand(4, series, 1)
    time = np.linspace(0, 1, steps)
    wave = 0.5 * np.sin((time - offset1) * (frequency1 * 10 + 10))
    wave += 0.2 * np.sin((time - offset2) * (frequency2 * 20 + 20))
    wave += 0.1 * (random.rand(series, steps) - 0.5)
    return wave.astype(np.float32)


def generate_trend_season(
    steps: int,
    seed: int,
    baseline: float = 10.0,
    slope: float = 0.05,
    period: int = 365,
    amplitude: float = 40.0,
    noise: float = 5.0,
    knee: float = 0.4,
    frequency: float = 2.0,
    decay: float = 3.0,
    tail: float = 1.0,
) -> np.ndarray:
    """Baseline + trend + season + white noise: (steps,) float32, with t = 0 ... steps - 1.

    Within a period, s = (t mod period) / period, the season is cos(frequency pi s) before ``knee`` and
    tail * exp(-decay s) after it, times ``amplitude``.

    Source: Moroney, "Sequences, Time Series and Prediction", week 1 (main series: the defaults, 1,461 steps,
    seed 42), computed in float32 in the same order.
    """
    time = np.arange(steps, dtype=np.float32)
    phase = (time % period) / period
    season = amplitude * np.where(phase < knee, np.cos(phase * frequency * np.pi), tail * np.exp(-decay * phase))
    trend = slope * time
    white = np.random.RandomState(seed).randn(steps) * noise
    return (baseline + trend + season + white).astype(np.float32)


class Waves(WindowDataModule):
    """Two-sine waves, one window per series; ``split`` counts series by default (7000 / 2000 / 1000).

    Each series has ``past_steps + horizon`` steps, as in the book.
    """

    def __init__(self, *, series: int = 10_000, data_seed: int = 42, **windows: Any):
        super().__init__(**windows)
        self.count, self.data_seed = series, data_seed

    def read(self) -> SeriesSet:
        steps = self.past_steps + self.horizon
        values = generate_waves(self.count, steps, self.data_seed).reshape(-1, 1)
        offsets = np.arange(self.count + 1, dtype=np.int64) * steps
        return SeriesSet(values, offsets, channels=("wave",), source="waves")


class TrendSeason(WindowDataModule):
    """One long series of trend, season and noise; the formula is ``generate_trend_season``."""

    def __init__(
        self,
        *,
        steps: int = 1461,
        data_seed: int = 42,
        baseline: float = 10.0,
        slope: float = 0.05,
        period: int = 365,
        amplitude: float = 40.0,
        noise: float = 5.0,
        knee: float = 0.4,
        frequency: float = 2.0,
        decay: float = 3.0,
        tail: float = 1.0,
        **windows: Any,
    ):
        super().__init__(**windows)
        self.steps, self.data_seed = steps, data_seed
        self.formula: dict[str, Any] = {
            "baseline": baseline, "slope": slope, "period": period, "amplitude": amplitude, "noise": noise,
            "knee": knee, "frequency": frequency, "decay": decay, "tail": tail,
        }  # fmt: skip

    def read(self) -> SeriesSet:
        values = generate_trend_season(self.steps, self.data_seed, **self.formula)
        offsets = np.array([0, self.steps], dtype=np.int64)
        return SeriesSet(values[:, None], offsets, channels=("value",), season=1, source="trend + season + noise")
