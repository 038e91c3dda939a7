"""The clock of a data set: the number of each time step, which all series and all tables of the data share."""

import numpy as np
import torch
from torch import Tensor

from datamodules.frequency import Frequency, infer_frequency
from datamodules.series import SeriesSet

ROWS_FOR_FREQUENCY = 10_000  # of the longest series; month ends and weekends show within so many


def training_frequency(series: SeriesSet) -> Frequency | None:
    """The frequency of regular series, inferred from the longest one; None without time or with one row each."""
    if series.time is None:
        return None
    longest = int(series.lengths.argmax())
    begin = int(series.offsets[longest])
    rows = slice(begin, min(begin + ROWS_FOR_FREQUENCY, int(series.offsets[longest + 1])))
    return infer_frequency(np.asarray(series.time[rows]), np.zeros(1, np.int64), series.zone)


def number_rows(series: SeriesSet, frequency: Frequency | None) -> Tensor:
    """What to add to the number of a row of each series to get that of its time step, (series,) int64.

    Without a frequency, steps are counted from the first row of each series.
    """
    first = series.offsets[:-1]
    if frequency is None or series.time is None or not len(series.time):
        return torch.from_numpy(-first)
    rows = np.minimum(first, len(series.time) - 1)  # the last series may have no row
    return torch.from_numpy(frequency.number(np.asarray(series.time[rows])) - first)
