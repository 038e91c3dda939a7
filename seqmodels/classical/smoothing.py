"""Estimates of hidden values that need other libraries: splines, and Kalman smoothing of whole series."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from seqmodels.baselines.interpolation import Interpolation
from seqmodels.errors import InputError
from seqmodels.window import Inputs, Output, Rows, Sample, Window, WindowSpec

MOST_ROWS = 10_000  # of all series and channels together: about a minute
MOST_DUMMIES, HARMONICS = 12, 4  # a longer season is a sum of sines
LEVELS = ("local level", "local linear trend")


class Spline(Interpolation):
    """Cubic splines (not-a-knot) through the values seen, constant beyond them; linear for fewer than four."""

    def estimate(self, inputs: Inputs) -> Tensor:
        given, seen = super().estimate(inputs), inputs.past_observed.cpu().numpy()
        result, values = given.cpu().double().numpy(), inputs.past_target.cpu().double().numpy()
        for window, channel in np.argwhere((seen.sum(axis=1) >= 4) & ~seen.all(axis=1)):
            known = np.flatnonzero(seen[window, :, channel])
            inner = np.arange(known[0], known[-1] + 1)
            result[window, inner, channel] = CubicSpline(known, values[window, known, channel])(inner)
        return torch.from_numpy(result).to(given)


class Kalman(Interpolation):
    """The smoothed states of an unobserved-components model, of the level with the lower AIC, fitted by likelihood.

    Fitted to each channel of each series by itself, to all values visible in training. Without a fit, linear
    interpolation.

    Source: Harvey 1989; ``UnobservedComponents`` of statsmodels; na_kalman of imputeTS in R is of this kind.
    """

    def __init__(self, spec: WindowSpec):
        super().__init__(spec)
        self.season_steps = spec.season
        self.fits: dict[tuple[int, int], tuple[str, np.ndarray, float, float]] = {}

    def fit_closed_form(self, sample: Sample) -> None:
        """Fit all series; raises InputError if statsmodels is not installed, or there are too many rows."""
        if find_spec("statsmodels") is None:
            raise InputError("it needs statsmodels, which is not installed: pip install 'seqmodels[classical]'.")
        rows = self._rows
        if rows.target.numel() > MOST_ROWS:
            raise InputError(f"it would take minutes for {rows.target.numel():,} values, more than {MOST_ROWS:,}.")
        for series, (begin, end) in enumerate(zip(rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True)):
            for channel in range(rows.target.shape[1]):
                values = rows.target[begin:end, channel].double().numpy()
                seen = rows.observed[begin:end, channel].numpy()
                if seen.sum() > 2:
                    self.fits[series, channel] = self._fit(values, seen)

    @property
    def _rows(self) -> Rows:
        assert self.rows is not None
        return self.rows

    def _fit(self, values: np.ndarray, seen: np.ndarray) -> tuple[str, np.ndarray, float, float]:
        mean, unit = float(values[seen].mean()), float(values[seen].std()) or 1.0
        found = []
        for level in LEVELS:
            model = self._model(np.where(seen, (values - mean) / unit, np.nan), level)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of optimizers that stop early
                result = model.fit(disp=0, maxiter=100)
            found.append((float(result.aic), level, np.asarray(result.params)))
        _, level, parameters = min(found, key=lambda one: one[0])
        return level, parameters, mean, unit

    def _model(self, values: np.ndarray, level: str) -> Any:
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        season: dict[str, Any] = {}
        if 1 < self.season_steps <= MOST_DUMMIES:
            season = {"seasonal": self.season_steps}
        elif self.season_steps > 1:
            season = {"freq_seasonal": [{"period": self.season_steps, "harmonics": HARMONICS}]}
        return UnobservedComponents(values, level, **season)

    def forecast_windows(self, window: Window) -> Output:
        """Smooth whole series; these windows may show more than training saw."""
        rows, inputs = self._rows, window.inputs
        steps = inputs.past_target.shape[1]
        places = window.origin[:, None].cpu() + torch.arange(1 - steps, 1)
        values, seen = rows.target.double().clone(), rows.observed.clone()
        shown = inputs.past_observed.cpu()
        cells = places.unsqueeze(-1).expand(shown.shape)[shown], torch.arange(shown.shape[2]).expand(shown.shape)[shown]
        values[cells] = (inputs.past_target.double() + inputs.level[:, None]).cpu()[shown]
        seen[cells] = True
        smooth = self._smooth(values.numpy(), seen.numpy(), inputs.series.unique().tolist())
        given = torch.from_numpy(smooth)[places.clamp(min=0)] - inputs.level[:, None].cpu()
        found = torch.where(given.isfinite(), given, self.estimate(inputs).cpu())
        return Output(found.to(inputs.past_target)[:, None, ..., None])

    def _smooth(self, values: np.ndarray, seen: np.ndarray, series: list[int]) -> np.ndarray:
        """Smoothed values (rows, C), NaN where nothing was fitted."""
        smooth, offsets = np.full(values.shape, np.nan), self._rows.offsets.tolist()
        for index, channel in self.fits:
            if index in series:
                level, parameters, mean, unit = self.fits[index, channel]
                span = slice(offsets[index], offsets[index + 1])
                known = np.where(seen[span, channel], (values[span, channel] - mean) / unit, np.nan)
                result = self._model(known, level).smooth(parameters)
                states = np.asarray(result.states.smoothed) @ result.model.ssm["design"][0]
                smooth[span, channel] = states * unit + mean
        return smooth
