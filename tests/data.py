"""Small data sets for tests, and the real ones if they are present."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet

REAL = Path(__file__).parent.parent.parent / "shared" / "data"


def real(name: str) -> Path:
    """A file of the real data, or the test is skipped and says which one it lacks."""
    path = REAL / name
    if not path.exists():
        pytest.skip(f"needs the real data {name}")
    return path


class SeriesData(WindowDataModule):
    """Windows from a given SeriesSet."""

    def __init__(self, series: SeriesSet, **windows):
        super().__init__(**windows)
        self.input_series = series

    def read(self) -> SeriesSet:
        return self.input_series


def integers(*lengths: int, channels: int = 1, observed: np.ndarray | None = None) -> SeriesSet:
    """Increasing integers: channel c of series i at step t is 1000 i + t + c / 10, so that any shift shows."""
    rows = [1000 * i + np.arange(n)[:, None] + np.arange(channels) / 10 for i, n in enumerate(lengths)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    names = tuple("abc"[:channels])
    return SeriesSet(
        np.concatenate(rows).astype(np.float32), offsets, channels=names, observed=observed, source="integers"
    )


def prepare(series: SeriesSet, **windows) -> SeriesData:
    """A DataModule of these series after ``setup``, with T = 5 and H = 2 unless given."""
    data = SeriesData(series, **{"past_steps": 5, "horizon": 2, **windows})
    data.setup()
    return data


def build_data(*lengths: int, channels: int = 1, observed: np.ndarray | None = None, **windows) -> SeriesData:
    """A DataModule of ``integers`` after ``setup``."""
    return prepare(integers(*lengths, channels=channels, observed=observed), **windows)
