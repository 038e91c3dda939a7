"""Windows from the user's own table."""

from collections.abc import Sequence
from typing import Any

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet
from datamodules.table import read_table


class Table(WindowDataModule):
    """Windows from one CSV or Parquet file; the arguments up to ``layout`` are those of ``read_table``."""

    def __init__(
        self,
        *,
        path: str,
        target: str | Sequence[str],
        time: str | None = None,
        time_format: str | None = None,
        id: str | None = None,  # the name users write: data.id
        layout: str = "long",
        past_covariates: Sequence[str] = (),
        known_covariates: Sequence[str] = (),
        **windows: Any,
    ):
        super().__init__(**windows)
        self.path = path
        self.columns: dict[str, Any] = {
            "target": [target] if isinstance(target, str) else list(target),
            "time": time,
            "time_format": time_format,
            "series_id": id,
            "layout": layout,
            "past_covariates": list(past_covariates),
            "known_covariates": list(known_covariates),
        }

    def read(self) -> SeriesSet:
        return read_table(self.path, **self.columns)
