"""Generated data: waves of a textbook, the trend-and-season series of a course, and a panel of daily series."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet, Shard
from seqmodels.errors import InputError, require_at_least, require_fraction


def generate_waves(series: int, steps: int, seed: int) -> np.ndarray:
    """Generate sums of two sine waves of random frequency and phase, plus noise: (series, steps) float32.

    0.5 sin((t - o1)(10 f1 + 10)) + 0.2 sin((t - o2)(20 f2 + 20)) + 0.1 (u - 0.5), with f, o, u ~ U(0, 1)
    and t = linspace(0, 1, steps), so the sampling interval depends on ``steps``.

    Source: Géron, "Hands-On Machine Learning", 2nd ed., chapter 15, with the same random draws.
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
    """Generate baseline + trend + season + white noise at t = 0 ... steps - 1: (steps,) float32.

    The season is ``amplitude`` times cos(frequency pi s) for phases s = (t mod period) / period before ``knee``, and
    ``amplitude`` times tail exp(-decay s) after it.

    Source: Moroney, "Sequences, Time Series and Prediction", week 1, whose main series has the defaults, 1,461 steps
    and seed 42; the same float32 operations in the same order.
    """
    time = np.arange(steps, dtype=np.float32)
    phase = (time % period) / period
    season = amplitude * np.where(phase < knee, np.cos(phase * frequency * np.pi), tail * np.exp(-decay * phase))
    trend = slope * time
    white = np.random.RandomState(seed).randn(steps) * noise
    return (baseline + trend + season + white).astype(np.float32)


def fourier_terms(time: np.ndarray, period: int, count: int) -> np.ndarray:
    """Sine and cosine at 1 ... ``count`` times the seasonal frequency: (steps,) -> (steps, 2 count) float32."""
    angle = 2 * np.pi * (time % period)[:, None] / period * np.arange(1, count + 1)
    return np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(time), -1).astype(np.float32)


class Waves(WindowDataModule):
    """Waves of ``generate_waves``, one window per series: each has ``past_steps + horizon`` steps, as in the book."""

    def __init__(self, *, series: int = 10_000, data_seed: int = 42, **windows: Any):
        super().__init__(**windows)
        self.count, self.data_seed = series, data_seed

    def read(self) -> SeriesSet:
        steps = self.past_steps + self.horizon
        values = generate_waves(self.count, steps, self.data_seed).reshape(-1, 1)
        offsets = np.arange(self.count + 1, dtype=np.int64) * steps
        return SeriesSet(values, offsets, channels=("wave",), source="waves")


class TrendSeason(WindowDataModule):
    """One long series of ``generate_trend_season``.

    ``harmonics``: number of pairs of Fourier terms of the season to add as known covariates; 0 for none.
    """

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
        harmonics: int = 0,
        **windows: Any,
    ):
        super().__init__(**windows)
        require_at_least(1, "data", steps=steps, period=period)
        if not 0 <= harmonics <= period // 2:
            raise InputError(
                f"data.harmonics is {harmonics}; it must be between 0 and {period // 2}, half of data.period={period}:"
                " faster ones are aliases of slower ones."
            )
        self.steps, self.data_seed, self.period, self.harmonics = steps, data_seed, period, harmonics
        self.formula: dict[str, Any] = {
            "baseline": baseline, "slope": slope, "period": period, "amplitude": amplitude, "noise": noise,
            "knee": knee, "frequency": frequency, "decay": decay, "tail": tail,
        }  # fmt: skip

    def read(self) -> SeriesSet:
        values = generate_trend_season(self.steps, self.data_seed, **self.formula)
        names = [f"{wave} {n}" for n in range(1, self.harmonics + 1) for wave in ("sine", "cosine")]
        return SeriesSet(
            values[:, None],
            np.array([0, self.steps], dtype=np.int64),
            channels=("value",),
            known_covariates=fourier_terms(np.arange(self.steps), self.period, self.harmonics) if names else None,
            known_covariate_names=tuple(names),
            season=1,
            source="trend + season + noise",
        )


ROWS_AT_ONCE = 2**20
DAYS_PER_WEEK = 7
LAST_DAY = np.datetime64("2024-12-31", "us")
DAY = np.timedelta64(1, "D")


class PanelGenerator:
    """Generator of daily series level (1 + trend t / 365 + weekday effect + noise), all ending on the same day.

    Lengths are uniform in [least_steps, most_steps], levels log-normal exp(N(3, 1)), trends N(0, 0.2) per year, and the
    seven weekday effects N(0, 0.3). The noise is autoregressive, n(t) = correlation n(t - 1) + e(t), with standard
    deviation 0.1. Everything depends on ``seed`` alone, not on the size of the parts.
    """

    def __init__(self, series: int, least_steps: int, most_steps: int, correlation: float, seed: int):
        shape, self.noise = (np.random.default_rng(own) for own in np.random.SeedSequence(seed).spawn(2))
        self.lengths = shape.integers(least_steps, most_steps, size=series, endpoint=True)
        self.level = np.exp(shape.normal(3.0, 1.0, size=series))
        self.trend = shape.normal(0.0, 0.2, size=series) / 365
        self.week = shape.normal(0.0, 0.3, size=(series, DAYS_PER_WEEK))
        self.correlation = correlation

    def parts(self, rows: int = ROWS_AT_ONCE) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate whole series, about ``rows`` rows at a time: their lengths (series,) and values (n,) float32."""
        ends = np.cumsum(self.lengths)
        borders = np.searchsorted(ends, np.arange(rows, ends[-1] + rows, rows))
        lasts = np.unique(np.minimum(borders + 1, len(ends))).tolist()
        for first, last in pairwise([0, *lasts]):
            yield self.lengths[first:last], self._generate(np.arange(first, last))

    def _generate(self, chosen: np.ndarray) -> np.ndarray:
        lengths = self.lengths[chosen]
        series = chosen.repeat(lengths)
        step = np.arange(len(series)) - (np.cumsum(lengths) - lengths).repeat(lengths)
        weekday = (self.lengths[series] - 1 - step) % DAYS_PER_WEEK  # counted back from the last day
        relative = 1 + self.trend[series] * step + self.week[series, weekday] + self._noise(step)
        return (self.level[series] * relative).astype(np.float32)

    def _noise(self, step: np.ndarray) -> np.ndarray:
        """Autoregressive noise (n,), restarted at step 0 of each series; the sum of past e(t) doubles in each pass."""
        scale = 0.1 * (1 - self.correlation**2) ** 0.5
        noise = self.noise.standard_normal(len(step)) * scale
        reach, weight = 1, self.correlation
        while weight > 1e-9 and reach <= step.max():
            noise[reach:] += weight * np.where(step[reach:] >= reach, noise[:-reach], 0)
            reach, weight = 2 * reach, weight**2
        return noise


class Panel(WindowDataModule):
    """Daily series of ``PanelGenerator``, of different lengths. ``dates``: True to give the rows dates."""

    def __init__(
        self,
        *,
        series: int = 1000,
        least_steps: int = 50,
        most_steps: int = 2000,
        correlation: float = 0.7,
        dates: bool = False,
        data_seed: int = 42,
        **windows: Any,
    ):
        super().__init__(**windows)
        require_at_least(1, "data", series=series, least_steps=least_steps)
        require_fraction("data", correlation=correlation)
        if most_steps < least_steps:
            raise InputError(f"data.most_steps is {most_steps}; it must be at least data.least_steps={least_steps}.")
        self.dates = dates
        self.settings = (series, least_steps, most_steps, correlation, data_seed)

    def files(self) -> list[Path]:
        """No files, as everything is computed."""
        return []

    def shards(self, folder: Path, rows: int, done: int) -> Iterator[Shard]:
        """The series of ``read``, some at a time."""
        first = 0
        for number, (lengths, values) in enumerate(PanelGenerator(*self.settings).parts(rows)):
            if number >= done:
                yield Shard(self._series_set(values, lengths, first))
            first += len(lengths)

    def read(self) -> SeriesSet:
        generator = PanelGenerator(*self.settings)
        values, done = np.empty(generator.lengths.sum(), np.float32), 0
        for _, part in generator.parts():
            values[done : done + len(part)] = part
            done += len(part)
        return self._series_set(values, generator.lengths, 0)

    def _series_set(self, values: np.ndarray, lengths: np.ndarray, first: int) -> SeriesSet:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        remaining = offsets[1:].repeat(lengths) - 1 - np.arange(len(values)) if self.dates else None
        return SeriesSet(
            values[:, None],
            offsets,
            channels=("value",),
            time=None if remaining is None else LAST_DAY - remaining * DAY,
            names=tuple(f"series {number}" for number in range(first, first + len(lengths))),
            frequency="day",
            season=DAYS_PER_WEEK,
            source="generated panel",
        )
