"""Whole series as tensors, for models that read more than their windows."""

import numpy as np
import torch

from datamodules.series import SeriesSet, Span
from seqmodels.window import Rows


def whole_rows(series: SeriesSet, fitted: Span, trained: np.ndarray) -> Rows:
    """All rows of prepared series, of which a model may be fitted to the span ``fitted`` of each.

    ``trained`` (series,): number of each series in the training data, -1 for one that was not in it.
    """
    rows = np.arange(len(series.values))
    time = series.time
    if time is None:
        numbers = rows - np.repeat(series.offsets[:-1], series.lengths)
    else:
        numbers = (time.astype("datetime64[us]") if time.dtype.kind == "M" else time).astype(np.int64)
    known, observed = series.known_covariates, series.observed
    return Rows(
        target=torch.from_numpy(np.ascontiguousarray(series.values)),
        observed=torch.ones(1, 1, dtype=torch.bool).expand(series.values.shape)
        if observed is None
        else torch.from_numpy(np.ascontiguousarray(observed)),
        known_covariates=torch.zeros(len(rows), 0) if known is None else torch.from_numpy(np.ascontiguousarray(known)),
        time=torch.from_numpy(numbers),
        offsets=torch.from_numpy(np.ascontiguousarray(series.offsets)).long(),
        start=torch.from_numpy(np.ascontiguousarray(fitted.start)).long(),
        stop=torch.from_numpy(np.ascontiguousarray(fitted.stop)).long(),
        trained=torch.from_numpy(np.ascontiguousarray(trained)).long(),
    )
