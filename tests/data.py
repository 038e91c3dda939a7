"""Small data sets for tests, and the real ones if they are present."""

from collections.abc import Sequence
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

    def reload(self) -> None:
        """Set up again after a change of ``input_series``."""
        self.loaders = {}
        self.setup()


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


def build_random_data(lengths: Sequence[int], missing: bool, covariates: bool = True, **windows) -> SeriesData:
    """A DataModule over random series of two channels, a tenth of the values missing if wanted, after ``setup``."""
    random, rows = np.random.default_rng(sum(lengths)), sum(lengths)
    observed = random.random((rows, 2)) > 0.1
    values = random.normal(3, 2, size=(rows, 2)).astype(np.float32)
    names = {"past_covariate_names": ("wind",), "known_covariate_names": ("year", "plan")}
    series = SeriesSet(
        values=values * observed if missing else values,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        channels=("a", "b"),
        observed=observed if missing else None,
        past_covariates=random.normal(50, 1, size=(rows, 1)).astype(np.float32) if covariates else None,
        known_covariates=random.normal(2000, 9, size=(rows, 2)).astype(np.float32) if covariates else None,
        **(names if covariates else {}),
    )
    return prepare(series, **windows)
