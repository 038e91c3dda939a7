"""Classical models, fitted to each series by itself: exponential smoothing, ARIMA, theta, STL, SARIMAX.

A model is fitted once, to the training rows. Later rows update its states up to the origin of a forecast, and its
parameters stay: the same windows and the same information as for every other model. Rows that do not begin with those
of training, and series that were not in it, are fitted again, to the rows before their first forecast.

Each channel is fitted by itself. Where a fit fails or takes too long, the forecast is the seasonal naive one, as
``notes`` report.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqmodels.baselines.ridge import NarrowColumns
from seqmodels.baselines.rules import Baseline
from seqmodels.classical import workers
from seqmodels.classical.methods import METHODS, Fit, Past
from seqmodels.classical.workers import Job
from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.heads.distributions import Normal
from seqmodels.naive import seasonal_naive
from seqmodels.window import Inputs, Output, Rows, Sample, Window, WindowSpec

HISTORY, TIME_LIMIT = 3000, 300.0  # rows and seconds, see ``ClassicalModel``
CHUNK = 100  # origins that a worker forecasts one by one in a job
MOST_SHOWN = 5  # fits whose form is written out
Place = tuple[int, int]  # series, channel


class Fitted(NamedTuple):
    """A fit, the first of the rows that it belongs to, and their number; without a fit, the reason."""

    fit: Fit
    first: int
    rows: int
    failure: str = ""


class ClassicalModel(Baseline):
    """Forecasts with normal errors by a ``method`` of ``seqmodels.classical.methods``.

    ``season``: None for that of the data. ``history``: the newest training rows that it is fitted to, None for all.
    ``time_limit``: seconds for the fit of one series, None for no limit. ``processes``: how many series are fitted and
    forecast at once, "auto" for one on each core.

    Missing values are replaced by those a season before, unless the method handles missing values.
    """

    method: str
    package = "statsforecast"
    affordable = True
    rows: Rows | None

    def __init__(
        self,
        spec: WindowSpec,
        season: int | None = None,
        history: int | None = HISTORY,
        time_limit: float | None = TIME_LIMIT,
        processes: int | str = "auto",
    ):
        super().__init__(spec)
        if find_spec(self.package) is None:
            raise InputError(
                f"model={self.method} needs {self.package}, which is not installed: pip install 'seqmodels[classical]'."
            )
        self.head = Normal()
        self.season = spec.season if season is None else season
        require_at_least(1, "model", season=self.season)
        if history is not None:
            require_at_least(8, "model", history=history)
        if time_limit is not None and not time_limit > 0:
            raise InputError(f"model.time_limit is {time_limit}; it must be greater than 0, or null for no limit.")
        if processes != "auto" and not (isinstance(processes, int) and processes >= 1):
            raise InputError(f"model.processes is {processes}; it must be auto or at least 1.")
        self.history, self.time_limit = history, time_limit
        self.processes = usable_cores() if processes == "auto" else int(processes)
        self.known_columns = NarrowColumns(spec.known_covariates, spec.known_statistics, spec.categories)
        self.fits: dict[Place, Fit] = {}  # by series and channel of the training data
        self.settings: dict[str, Any] = {"season": self.season}
        self._forget()

    def _forget(self) -> None:
        """Drop what belongs to the rows before."""
        self.found: dict[Place, Fitted] = {}  # by series and channel of the rows
        self.failures: dict[Place, str] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "rows":
            self._forget()

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]  # read-only here
        """Lines on series whose forecasts are seasonal naive ones, or from a fit to few rows."""
        of = len(self.spec.channels) * (1 if self.rows is None else len(self.rows.trained))
        few = sum(not found.failure and found.rows < 2 * self.season for found in self.found.values())
        notes = []
        if few:
            notes.append(
                f"{self.method} is fitted to less than two seasons of {few:,} of {of:,} series, as nothing more lies"
                " before their first forecast."
            )
        if not self.failures:
            return tuple(notes)
        reason, count = Counter(self.failures.values()).most_common(1)[0]
        many = f"{count:,} of them because {reason}" if count > 1 else f"because {reason}"
        failed = f"{self.method} cannot forecast {len(self.failures):,} of {of:,} series, which are seasonal naive"
        return (*notes, f"{failed}: {many}.")

    @property
    def description(self) -> list[str]:
        """Form and information criteria of the fits, in lines; of many, how often each form occurs."""
        fits = [(place, fit) for place, fit in self.fits.items() if "form" in fit]
        if len(fits) > MOST_SHOWN:
            common = Counter(fit["form"] for _, fit in fits).most_common(MOST_SHOWN)
            late = sum(not fit.get("converged", True) for _, fit in fits)
            lines = [f"{count:,} of {len(fits):,} series: {form}" for form, count in common]
            return [*lines, f"{late:,} of {len(fits):,} fits did not converge"] if late else lines
        return [self._describe(place, fit) for place, fit in fits]

    def _describe(self, place: Place, fit: Fit) -> str:
        series = f"series {place[0]}" if len({series for series, _ in self.fits}) > 1 else ""
        name = ", ".join(filter(None, (series, self.spec.channels[place[1]] if len(self.spec.channels) > 1 else "")))
        terms = "".join(f", {name} {value:.4g}" for name, value in (fit.get("named") or fit.get("coef") or {}).items())
        criteria = "".join(f", {name.upper()} {fit[name]:,.1f}" for name in ("aic", "bic") if name in fit)
        late = "" if fit.get("converged", True) else ", not converged"
        return f"{name}{': ' if name else ''}{fit['form']}{criteria}{terms}{late}"

    def get_extra_state(self) -> Tensor:
        text = json.dumps([[*place, fit] for place, fit in self.fits.items()])
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        stored = json.loads(bytes(state.tolist()).decode())
        self.fits = {(series, channel): fit for series, channel, fit in stored}

    def fit_closed_form(self, sample: Sample) -> None:
        """Fit each series of ``rows`` to the part of it that training may use."""
        assert self.rows is not None
        places = [(i, c) for i in range(len(self.rows.trained)) for c in range(len(self.spec.channels))]
        self.fits = {}
        self._fit(places, f"fit {self.method}")
        self.fits = {
            place: {"time": int(self.rows.time[found.first]), "used": found.rows, **found.fit}
            for place, found in self.found.items()
            if not found.failure
        }

    def predict(self, inputs: Inputs) -> Tensor:
        return self.head.mean(self(inputs).forecast)

    def forward(self, inputs: Inputs, state: Any = None) -> Output:
        """Forecasts of windows without further rows: a separate fit for each."""
        kept, found, failures = self.rows, self.found, self.failures
        try:
            self.rows, origin = window_rows(inputs)
            return Output(self._forecast(inputs, torch.arange(len(origin)), origin))
        finally:
            self.rows, self.found, self.failures = kept, found, failures

    def forecast_windows(self, window: Window) -> Output:
        if self.rows is None:
            return self(window.inputs)
        return Output(self._forecast(window.inputs, window.inputs.series.cpu(), window.origin.cpu()))

    def _forecast(self, inputs: Inputs, series: Tensor, origin: Tensor) -> Tensor:
        """Forecasts (B, 1, H, C, 2) from rows ``origin`` (B,) of ``series`` (B,), less the level."""
        channels, horizon = len(self.spec.channels), self.spec.horizon
        made = np.full((len(origin), horizon, channels, 2), np.nan)
        chosen = [(i, c) for i in series.unique().tolist() for c in range(channels)]
        self._fit([place for place in chosen if place not in self.found], "")
        work = list(self._jobs(chosen, series, origin))
        outcomes = workers.run([job for _, _, job in work], self.processes, None, f"forecast {self.method}")
        for (place, windows, _), outcome in zip(work, outcomes, strict=True):
            if outcome.failure:
                self.failures[place] = outcome.failure
            else:
                made[windows, :, place[1]] = outcome.value
        forecast = torch.from_numpy(made).to(inputs.level.device)
        forecast[..., 0] -= inputs.level[:, None]
        forecast = torch.where(forecast.isfinite().all(-1, keepdim=True), forecast, self._naive(inputs))
        return forecast.to(inputs.past_target.dtype).unsqueeze(1)

    def _jobs(self, places: list[Place], series: Tensor, origin: Tensor) -> Iterator[tuple[Place, np.ndarray, Job]]:
        """Series and channel, windows, and job: the forecasts of these windows."""
        horizon, settings = self.spec.horizon, self.settings
        for place in places:
            fitted = self.found[place]
            if fitted.failure:
                self.failures[place] = fitted.failure
                continue
            windows = (series == place[0]).nonzero()[:, 0]
            windows = windows[(origin[windows] - fitted.first) >= 0]
            windows = windows[origin[windows].argsort()]
            for part in windows.split(len(windows) if METHODS[self.method].one_pass else CHUNK) if len(windows) else ():
                origins = (origin[part] - fitted.first).tolist()
                past = self._past(place, fitted.first, fitted.first + origins[-1] + 1, horizon)
                arguments = (self.method, fitted.fit, past, origins, horizon, settings)
                yield place, part.numpy(), Job("forecast", arguments)

    def _naive(self, inputs: Inputs) -> Tensor:
        """Seasonal naive forecasts (B, H, C, 2), with errors that grow from season to season."""
        season = self.season if self.season <= inputs.past_target.shape[1] else 1
        last = self.origins._replace(first=inputs.past_target.shape[1] - 1)
        mean = seasonal_naive(inputs, season, self.spec.horizon, last, True)[:, 0].double()
        seasons = torch.div(torch.arange(self.spec.horizon, device=mean.device), season, rounding_mode="floor") + 1
        unit = inputs.seasonal_error.double() * math.sqrt(math.pi / 2)
        return torch.stack([mean, unit[:, None] * seasons.sqrt()[:, None]], dim=-1)

    def _fit(self, places: list[Place], label: str) -> None:
        """Find the fits of these series and channels of the rows: those of training, or new ones."""
        for place in places:
            found = self._trained_fit(place)
            if found is not None:
                self.found[place] = found
        new = [place for place in places if place not in self.found]
        first = [self._first_row(place) for place in new]
        stops = [int(self._given().stop[series]) for series, _ in new]
        jobs = [
            Job("fit", (self.method, self._past(place, row, stop), self.settings))
            for place, row, stop in zip(new, first, stops, strict=True)
        ]
        outcomes = workers.run(jobs, self.processes, self.time_limit, label)
        for place, row, stop, outcome in zip(new, first, stops, outcomes, strict=True):
            self.found[place] = Fitted(outcome.value or {}, row, stop - row, outcome.failure)

    def _given(self) -> Rows:
        assert self.rows is not None
        return self.rows

    def _trained_fit(self, place: Place) -> Fitted | None:
        """The fit of training, if the rows hold the row at which it begins."""
        rows, (series, channel) = self._given(), place
        fit = self.fits.get((int(rows.trained[series]), channel))
        if fit is None:
            return None
        begin, end = rows.offsets[series : series + 2].tolist()
        row = begin + int(torch.searchsorted(rows.time[begin:end], fit["time"]))
        return Fitted(fit, row, fit["used"]) if row < end and int(rows.time[row]) == fit["time"] else None

    def _first_row(self, place: Place) -> int:
        """The first row that a new fit uses: an observed one among the newest of ``history``."""
        rows, (series, channel) = self._given(), place
        start, stop = int(rows.start[series]), int(rows.stop[series])
        start = start if self.history is None else max(start, stop - self.history)
        observed = rows.observed[start:stop, channel]
        return start + (int(observed.int().argmax()) if len(observed) else 0)

    def _past(self, place: Place, first: int, stop: int, ahead: int = 0) -> Past:
        """Rows ``first:stop`` of a series, and covariates of ``ahead`` more."""
        rows, channel = self._given(), place[1]
        y = rows.target[first:stop, channel].double().masked_fill(~rows.observed[first:stop, channel], torch.nan)
        x = self.known_columns(rows.known_covariates[first : stop + ahead].to(torch.get_default_dtype()))
        return Past(y.cpu().numpy(), self._chosen(x.double().cpu().numpy()))

    def _chosen(self, x: np.ndarray) -> np.ndarray:
        """The covariates that the method reads; by default none."""
        return x[:, :0]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def window_rows(inputs: Inputs) -> tuple[Rows, Tensor]:
    """Windows as series of their own, and the row of the last past step of each."""
    batch, steps, channels = inputs.past_target.shape
    length = inputs.known_covariates.shape[1]
    ahead = torch.zeros(batch, length - steps, channels, dtype=torch.float64)
    target = torch.cat([inputs.past_target.double().cpu() + inputs.level.cpu()[:, None], ahead], dim=1)
    observed = torch.cat([inputs.past_observed.cpu(), ahead.bool()], dim=1)
    begin = torch.arange(batch + 1) * length
    rows = Rows(
        target=target.flatten(0, 1),
        observed=observed.flatten(0, 1),
        known_covariates=inputs.known_covariates.cpu().flatten(0, 1),
        time=torch.arange(length).repeat(batch),
        offsets=begin,
        start=begin[:-1],
        stop=begin[:-1] + steps,
        trained=torch.full((batch,), -1),
    )
    return rows, begin[:-1] + steps - 1


class AutoEts(ClassicalModel):
    """Exponential smoothing (error, trend, season) of the form with the least AICc.

    Source: Hyndman and Khandakar, "Automatic time series forecasting: the forecast package for R", 2008.
    """

    method = "auto_ets"


class AutoArima(ClassicalModel):
    """ARIMA with a season, whose orders are found step by step.

    ``criterion``: "aicc", "aic" or "bic", which the orders minimise. Source: as ``AutoEts``.
    """

    method = "auto_arima"

    def __init__(
        self,
        spec: WindowSpec,
        season: int | None = None,
        criterion: str = "aicc",
        history: int | None = HISTORY,
        time_limit: float | None = TIME_LIMIT,
        processes: int | str = "auto",
    ):
        super().__init__(spec, season, history, time_limit, processes)
        require_choice(("aicc", "aic", "bic"), "model", criterion=criterion)
        self.settings |= {"criterion": criterion}


class Theta(ClassicalModel):
    """Theta method without the season, in the form (standard or optimised, dynamic or not) of least squared error.

    Source: Fiorucci et al., "Models for optimising the theta method and their relationship to state space models",
    2016.
    """

    method = "theta"


class Mstl(ClassicalModel):
    """Season by loess (STL), repeated, and exponential smoothing of the rest.

    ``seasons``: one or several periods, None for that of the data. Source: Bandara, Hyndman and Bergmeir, "MSTL: a
    seasonal-trend decomposition algorithm for time series with multiple seasonal patterns", 2021.
    """

    method = "mstl"

    def __init__(
        self,
        spec: WindowSpec,
        seasons: int | Sequence[int] | None = None,
        history: int | None = HISTORY,
        time_limit: float | None = TIME_LIMIT,
        processes: int | str = "auto",
    ):
        given = [seasons] if isinstance(seasons, int) else list(seasons or [spec.season])
        if min(given) < 2:
            raise InputError(
                f"model.seasons is {given}; mstl needs seasons of at least 2 steps: set it, or use model=auto_ets."
            )
        super().__init__(spec, min(given), history, time_limit, processes)
        self.settings |= {"seasons": given}


class Sarimax(ClassicalModel):
    """ARIMA of given orders (p, d, q) and (P, D, Q, season), with all known covariates as regressors.

    A ``seasonal_order`` of three takes ``data.season``. ``trend``: "c" for a constant, of the differences if there are
    any, "n" for none, None for a constant where nothing is differenced. Covariates that say nothing new are left out.
    Missing values are skipped by the Kalman filter.

    Source: Box and Jenkins, "Time series analysis: forecasting and control", 1970.
    """

    method = "sarimax"
    package = "statsmodels"

    def __init__(
        self,
        spec: WindowSpec,
        order: Sequence[int] = (1, 0, 0),
        seasonal_order: Sequence[int] = (0, 1, 1),
        trend: str | None = None,
        history: int | None = HISTORY,
        time_limit: float | None = TIME_LIMIT,
        processes: int | str = "auto",
    ):
        given = {"order": (order, (3,)), "seasonal_order": (seasonal_order, (3, 4))}
        for name, (numbers, lengths) in given.items():
            if len(numbers) not in lengths or not all(isinstance(one, int) and one >= 0 for one in numbers):
                wanted = "three whole numbers (p, d, q)" if name == "order" else "(P, D, Q) or (P, D, Q, season)"
                raise InputError(f"model.{name} is {list(numbers)}; it must be {wanted} of at least 0.")
        season = seasonal_order[3] if len(seasonal_order) == 4 else spec.season
        super().__init__(spec, max(1, season), history, time_limit, processes)
        self.settings |= {"order": list(order), "seasonal_order": [*seasonal_order[:3], self.season]}
        if trend not in (None, "n", "c"):
            raise InputError(f"model.trend is {trend!r}; it must be null, n or c.")
        differences = order[1] + (seasonal_order[1] if self.season > 1 else 0)
        self.settings["trend"] = trend or ("n" if differences else "c")

    def _chosen(self, x: np.ndarray) -> np.ndarray:
        return x
