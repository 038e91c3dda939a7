"""Classical methods for one series: fits as plain numbers, and forecasts from many origins with the fit unchanged.

The libraries are imported where they are used, and torch nowhere: worker processes start with this module.

A fit is a dictionary of numbers, texts and lists. Forecasts are (origins, H, 2): mean and standard deviation, which
belongs to the library's own 80 % interval. Values before an origin update the states of the method, never its
parameters: what lies after it changes nothing.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Fit = dict[str, Any]
BAND, HALF_WIDTH = 80, 1.2815515655446004  # per cent, and the quantile of the normal distribution at its end


class Past(NamedTuple):
    """One series from the row on at which its method was fitted; ``x`` extends a horizon beyond the last origin."""

    y: np.ndarray  # (rows,) float64, NaN where missing
    x: np.ndarray  # (rows, width) float64, known covariates


class Method(NamedTuple):
    """``fit(past, settings)``, and ``forecast(fit, past, origins, horizon, settings)`` of origins in ascending order.

    ``one_pass``: the series is gone through once for all origins, instead of once for each. ``library``: the module
    that both import.
    """

    fit: Callable[[Past, dict[str, Any]], Fit]
    forecast: Callable[[Fit, Past, Sequence[int], int, dict[str, Any]], Iterator[np.ndarray]]
    one_pass: bool = True
    library: str = "statsforecast.models"


def fit(name: str, past: Past, settings: dict[str, Any]) -> Fit:
    """Fit a method of ``METHODS``."""
    return METHODS[name].fit(past, settings)


def forecast(
    name: str, fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> np.ndarray:
    """Forecasts (origins, H, 2) from rows ``origins`` of the series; raises ValueError unless they are finite."""
    made = np.stack(list(METHODS[name].forecast(fitted, past, origins, horizon, settings)))
    if not np.isfinite(made).all():
        raise ValueError("a forecast is not a finite number")
    return made


def load(name: str) -> None:
    """Import the library of a method, which takes seconds."""
    importlib.import_module(METHODS[name].library)


def fill(y: np.ndarray, season: int) -> np.ndarray:
    """The series with missing values replaced by those a season before, or by the value before; nothing looks ahead."""
    filled = y.copy()
    for row in np.flatnonzero(np.isnan(y)).tolist():
        filled[row] = filled[row - season] if row >= season else filled[max(0, row - 1)]
    return filled


def interval(made: dict[str, Any]) -> np.ndarray:
    """Mean and standard deviation, (H, 2), of what the library returns."""
    half = (np.asarray(made[f"hi-{BAND}"]) - np.asarray(made[f"lo-{BAND}"])) / 2
    return np.stack([np.asarray(made["mean"]), half / HALF_WIDTH], axis=1)


def plain(value: Any) -> Any:
    """Numbers of numpy and tuples as those of Python and lists."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def criteria(found: Any) -> Fit:
    """AIC and BIC of a fitted model."""
    return {name: float(found[name]) for name in ("aic", "bic")}


def fit_ets(past: Past, settings: dict[str, Any]) -> Fit:
    from statsforecast.models import AutoETS

    found = AutoETS(season_length=settings["season"]).fit(fill(past.y, settings["season"])).model_
    return ets_numbers(found) | {"form": f"ETS({found['components']})"} | criteria(found)


def ets_numbers(found: dict[str, Any]) -> Fit:
    """Arguments of ``forward_ets`` from a fitted model."""
    return plain({name: found[name] for name in ("m", "components", "par", "n_params")})


def ets_model(fitted: Fit) -> dict[str, Any]:
    """Inverse of ``ets_numbers``."""
    return fitted | {"par": np.array(fitted["par"], np.float64), "fit": None}


def forecast_ets(
    fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    from statsforecast import ets

    y = fill(past.y[: origins[-1] + 1], settings["season"])
    passed = ets.forward_ets(ets_model(fitted), y)
    squares = np.cumsum(passed["residuals"] ** 2)
    for origin in origins:
        known = {
            "states": passed["states"][: origin + 2],
            "sigma2": squares[origin] / max(1, origin - passed["n_params"]),
        }
        yield interval(ets.forecast_ets(passed | known, horizon, [BAND]))


def fit_arima(past: Past, settings: dict[str, Any]) -> Fit:
    from statsforecast.models import AutoARIMA

    season, y = settings["season"], fill(past.y, settings["season"])
    rough = len(y) > 150 or season > 12  # as auto.arima of R
    model = AutoARIMA(season_length=season, approximation=rough, ic=settings["criterion"])
    found = model.fit(y).model_
    p, q, seasonal_p, seasonal_q, _, d, seasonal_d = found["arma"]
    seasonal = f"({seasonal_p},{seasonal_d},{seasonal_q})[{season}]" if season > 1 else ""
    kept = {name: found[name] for name in ("arma", "coef", "sigma2")} | {"rows": len(y)}
    return plain(kept) | {"form": f"ARIMA({p},{d},{q}){seasonal}"} | criteria(found)


def arima_model(fitted: Fit) -> dict[str, Any]:
    """Arguments of ``forward_arima`` from a fitted model; only the drift depends on the series itself."""
    rows = fitted["rows"]
    drift = np.arange(1, rows + 1, dtype=np.float64)[:, None] if "drift" in fitted["coef"] else None
    return fitted | {"coef": dict(fitted["coef"]), "x": np.empty(rows), "xreg": drift, "lambda": None}


def forecast_arima(
    fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    """Filter the series up to the first origin as the library does, then its state value by value."""
    from statsforecast import arima

    y = fill(past.y[: origins[-1] + 1], settings["season"])
    passed = arima.forward_arima(arima_model(fitted), y[: origins[0] + 1])
    coefficients, arma, state = passed["coef"], passed["arma"], passed["model"]
    arma_terms = sum(arma[:4])
    regression = list(coefficients.values())[arma_terms:]  # of an intercept or a drift
    done = origins[0] + 1
    for origin in origins:
        for row in range(done, origin + 1):
            value = y[row : row + 1] - sum(regression) * (row + 1 if "drift" in coefficients else 1)
            state["Pn"][:] = state["T"] @ state["P"] @ state["T"].T + state["V"]  # else only predicted after a value
            arima.arima_like(value, *(state[one] for one in ("phi", "theta", "delta", "a", "P", "Pn")), 0, False)
        done = origin + 1
        steps = np.arange(done + 1, done + horizon + 1, dtype=np.float64)[:, None] if "drift" in coefficients else None
        named = {name.replace("drift", "ex_1"): value for name, value in coefficients.items()}
        mean, error = arima.predict_arima(passed | {"coef": named}, horizon, newxreg=steps)
        yield np.stack([mean, error], axis=1)


def fit_theta(past: Past, settings: dict[str, Any]) -> Fit:
    from statsforecast.models import AutoTheta

    found = AutoTheta(season_length=settings["season"]).fit(fill(past.y, settings["season"])).model_
    return plain({name: found[name] for name in ("m", "modeltype", "par")}) | {"form": found["modeltype"]}


def forecast_theta(
    fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    from statsforecast.models import AutoTheta

    model, y = AutoTheta(season_length=settings["season"]), fill(past.y[: origins[-1] + 1], settings["season"])
    model.model_ = fitted | {"par": {name: np.float64(value) for name, value in fitted["par"].items()}}
    alpha = float(fitted["par"]["alpha"])
    for origin in origins:
        found = model.forward(y[: origin + 1], horizon, level=[BAND], fitted=True)
        made = interval(found)
        if np.abs(made[:, 0]).max() * 2.0**-18 > made[:, 1].min():  # too fine for the library's float32
            made[:, 1] = np.std((y[: origin + 1] - found["fitted"])[3:]) * np.sqrt(1 + alpha**2 * np.arange(horizon))
        yield made


def fit_mstl(past: Past, settings: dict[str, Any]) -> Fit:
    from statsforecast.models import MSTL

    if len(past.y) < 2 * max(settings["seasons"]):
        raise ValueError(f"{len(past.y)} rows hold fewer than two seasons of {max(settings['seasons'])} steps")
    model = MSTL(season_length=settings["seasons"]).fit(fill(past.y, settings["season"]))
    found = model.trend_forecaster.model_
    return ets_numbers(found) | {"form": f"STL and ETS({found['components']})"}


def forecast_mstl(
    fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    from statsforecast.models import MSTL, AutoETS

    model, y = MSTL(season_length=settings["seasons"]), fill(past.y[: origins[-1] + 1], settings["season"])
    model.trend_forecaster = AutoETS(model="ZZN")
    model.trend_forecaster.model_ = ets_model(fitted)
    for origin in origins:
        yield interval(model.forward(y[: origin + 1], horizon, level=[BAND]))


def sarimax(past: Past, columns: Sequence[int], settings: dict[str, Any]) -> Any:
    """The model of statsmodels with some of the known covariates."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    x = np.ascontiguousarray(past.x[: len(past.y), columns]) if len(columns) else None
    p, d, q, season = settings["seasonal_order"]
    order = (p, d, q, season) if season > 1 else (0, 0, 0, 0)
    return SARIMAX(past.y, x, order=tuple(settings["order"]), seasonal_order=order, trend=settings["trend"])


def fit_sarimax(past: Past, settings: dict[str, Any]) -> Fit:
    columns = independent_columns(past.x[: len(past.y)], settings)
    found = sarimax(past, columns, settings).fit(disp=False, maxiter=200)
    order, seasonal = (",".join(map(str, settings[name])) for name in ("order", "seasonal_order"))
    parts = seasonal.rpartition(",")
    form = f"SARIMAX({order})" + (f"({parts[0]})[{parts[2]}]" if settings["seasonal_order"][3] > 1 else "")
    named = dict(zip(found.model.param_names, found.params, strict=True))
    return {
        "params": plain(found.params),
        "named": plain(named),
        "columns": columns,
        "converged": bool(found.mle_retvals["converged"]),
        "form": form,
        "aic": float(found.aic),
        "bic": float(found.bic),
    }


def independent_columns(x: np.ndarray, settings: dict[str, Any]) -> list[int]:
    """Columns that say more, after differencing, than the ones before them and a constant."""
    difference, (_, seasonal, _, season) = settings["order"][1], settings["seasonal_order"]
    changes = np.diff(x, difference, axis=0)
    for _ in range(seasonal if season > 1 else 0):
        changes = changes[season:] - changes[:-season]
    if not changes.size:
        return []
    basis = np.ones((len(changes), 1)) / np.sqrt(len(changes))
    kept: list[int] = []
    for column, values in enumerate(changes.T):
        rest = values - basis @ (basis.T @ values)
        size = float(np.linalg.norm(rest))
        if size > 1e-6 * max(1.0, float(np.linalg.norm(values))):
            basis, kept = np.column_stack([basis, rest / size]), [*kept, column]
    return kept


def forecast_sarimax(
    fitted: Fit, past: Past, origins: Sequence[int], horizon: int, settings: dict[str, Any]
) -> Iterator[np.ndarray]:
    """Filter the series once, then forecast from the state at each origin; covariates enter by regression."""
    model = sarimax(Past(past.y[: origins[-1] + 1], past.x), fitted["columns"], settings)
    found = model.filter(np.array(fitted["params"]))
    coefficients = [value for name, value in fitted["named"].items() if name in (model.exog_names or ())]
    shift = past.x[:, fitted["columns"]] @ np.array(coefficients) if coefficients else np.zeros(len(past.x))
    t, r, q = (model.ssm[name] for name in ("transition", "selection", "state_cov"))
    z, c, h = (np.ravel(model.ssm[name]) for name in ("design", "state_intercept", "obs_cov"))
    noise = r @ q @ r.T
    for origin in origins:
        state, spread = found.filtered_state[:, origin], found.filtered_state_cov[:, :, origin]
        made = np.empty((horizon, 2))
        for lead in range(horizon):
            state, spread = t @ state + c, t @ spread @ t.T + noise
            made[lead] = z @ state + shift[origin + 1 + lead], np.sqrt(max(0.0, z @ spread @ z + h[0]))
        yield made


METHODS = {
    "auto_ets": Method(fit_ets, forecast_ets),
    "auto_arima": Method(fit_arima, forecast_arima),
    "theta": Method(fit_theta, forecast_theta, one_pass=False),
    "mstl": Method(fit_mstl, forecast_mstl, one_pass=False),
    "sarimax": Method(fit_sarimax, forecast_sarimax, library="statsmodels.tsa.statespace.sarimax"),
}
