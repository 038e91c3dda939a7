"""Classical models against direct calls of their libraries, and their place beside all other models."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data import SeriesData, integers, prepare, real

import seqmodels as sm
from datamodules.series import SeriesSet
from seqmodels.baselines.rules import SeasonalNaive
from seqmodels.classical import model as classical
from seqmodels.classical import workers
from seqmodels.classical.methods import METHODS, Past, fill, fit, forecast, independent_columns, interval
from seqmodels.classical.model import AutoArima, AutoEts, ClassicalModel, Mstl, Sarimax, Theta
from seqmodels.errors import InputError
from seqmodels.window import ClosedForm

needs_extra = pytest.mark.skipif(find_spec("statsforecast") is None, reason="the extra classical is not installed")
SETTINGS: dict[str, Any] = {
    "season": 7,
    "seasons": [7],
    "criterion": "aicc",
    "order": [1, 0, 0],
    "seasonal_order": [0, 1, 1, 7],
    "trend": "n",
}
MEASURED = ["stage", "row", "mae", "rmse", "mase", "skill", "windows"]
ORIGINS, HORIZON = [149, 150, 163, 190], 9


def series(kind: str, length: int = 200) -> np.ndarray:
    random, time = np.random.default_rng(0), np.arange(length)
    noise, wave = random.normal(size=length), np.sin(2 * np.pi * time / 7)
    return {
        "walk": 100 + noise.cumsum(),
        "season": 30 + 10 * wave + noise,
        "trend": 20 + 10 * wave + 0.05 * time + noise,
        "growth": (20 + 0.2 * time) * (1 + 0.3 * wave) * np.exp(0.05 * noise),
        "constant": np.full(length, 3.0),
    }[kind]


def library(method: str) -> Any:
    from statsforecast import models

    return {
        "auto_ets": lambda: models.AutoETS(season_length=7),
        "auto_arima": lambda: models.AutoARIMA(season_length=7, approximation=length_is_large()),
        "theta": lambda: models.AutoTheta(season_length=7),
        "mstl": lambda: models.MSTL(season_length=7),
    }[method]()


def length_is_large() -> bool:
    return ORIGINS[0] + 1 > 150


@needs_extra
@pytest.mark.parametrize("kind", ["walk", "season", "trend", "growth"])
@pytest.mark.parametrize("method", ["auto_ets", "auto_arima", "theta", "mstl"])
def test_forecasts_from_all_origins_are_those_of_the_library(method: str, kind: str) -> None:
    y = series(kind)
    past = Past(y, np.empty((len(y), 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit(method, past._replace(y=y[:150]), SETTINGS)
        found = forecast(method, fitted, past, ORIGINS, HORIZON, SETTINGS)
        model = library(method).fit(y[:150])
        expected = [interval(model.forward(y[: origin + 1], HORIZON, level=[80])) for origin in ORIGINS]
        at_once = interval(model.predict(HORIZON, level=[80]))
    assert found == pytest.approx(np.stack(expected), rel=1e-9, abs=1e-9)
    assert found[0] == pytest.approx(at_once, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("holes", [False, True])
def test_sarimax_is_that_of_statsmodels_continued_without_a_refit(holes: bool) -> None:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    x = np.random.default_rng(1).normal(size=(200, 2))
    y = series("season") + x @ [3.0, -2.0]
    y[[20, 21, 130, 155]] = np.where(holes, np.nan, y[[20, 21, 130, 155]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = forecast(
            "sarimax", fit("sarimax", Past(y[:150], x[:150]), SETTINGS), Past(y, x), ORIGINS, HORIZON, SETTINGS
        )
        begun = SARIMAX(y[:150], x[:150], order=(1, 0, 0), seasonal_order=(0, 1, 1, 7)).fit(disp=False, maxiter=200)
        for origin, made in zip(ORIGINS, found, strict=True):
            known = slice(150, origin + 1)
            model = begun if origin == 149 else begun.append(y[known], exog=x[known], refit=False)
            ahead = model.get_forecast(HORIZON, exog=x[origin + 1 : origin + 1 + HORIZON])
            assert made == pytest.approx(np.stack([ahead.predicted_mean, ahead.se_mean], 1), rel=1e-9)


@needs_extra
@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_after_an_origin_changes_its_forecast(method: str) -> None:
    x = np.random.default_rng(1).normal(size=(200, 1))
    y, later = series("growth"), series("growth")
    later[164:] *= np.linspace(2, 9, 36)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit(method, Past(y[:150], x[:150]), SETTINGS)
        before, after = (forecast(method, fitted, Past(one, x), ORIGINS, HORIZON, SETTINGS) for one in (y, later))
    assert (before[:3] == after[:3]).all() and not np.allclose(before[3], after[3])


@needs_extra
def test_the_spread_of_theta_survives_values_too_large_for_the_float32_of_the_library() -> None:
    past = Past(series("season") + 1e9, np.empty((200, 0)))  # whose noise has a deviation of 1
    fitted = fit("theta", past._replace(y=past.y[:150]), SETTINGS)
    spread = forecast("theta", fitted, past, ORIGINS, HORIZON, SETTINGS)[..., 1]
    assert 0.7 < spread.min() < spread.max() < 3


def test_missing_values_are_those_a_season_before_and_nothing_looks_ahead() -> None:
    y = np.array([1, np.nan, 3, np.nan, 5, np.nan, np.nan, np.nan, 9.0])
    assert fill(y, 3).tolist() == [1, 1, 3, 1, 5, 3, 1, 5, 9]
    for stop in range(1, len(y)):
        assert (fill(y[:stop], 3) == fill(y, 3)[:stop]).all()


def test_regressors_that_say_nothing_new_are_left_out() -> None:
    random = np.random.default_rng(0).normal(size=(60, 2))
    x = np.column_stack([np.full(60, 5.0), random, random.sum(axis=1), np.arange(60) % 7 == 3])
    assert independent_columns(x, SETTINGS | {"order": [0, 0, 0], "seasonal_order": [0, 0, 0, 7]}) == [1, 2, 4]
    assert independent_columns(x, SETTINGS) == [1, 2]  # what repeats every week vanishes with the difference


def panel(count: int = 3, length: int = 120, channels: int = 1, holes: float = 0.0) -> SeriesSet:
    random = np.random.default_rng(2)
    time = np.arange(length)[:, None]
    wave = 5 * np.sin(2 * np.pi * time / 7 + np.arange(channels))
    values = [10.0**i * (20 + wave + random.normal(size=(length, channels))) for i in range(count)]
    base = integers(*[length] * count, channels=channels)
    stacked = np.concatenate(values).astype(np.float32)
    observed = random.random(stacked.shape) >= holes if holes else None
    stacked = stacked if observed is None else stacked * observed
    return replace(base, values=stacked, observed=observed, season=7, names=tuple("abcdefgh"[:count]))


def fitted_to(data: SeriesData, make: Callable[..., ClassicalModel], **arguments: Any) -> ClassicalModel:
    model = make(data.spec, processes=2, **arguments)
    assert isinstance(model, ClosedForm)
    model.rows = data.rows()
    model.fit_closed_form(data.sample)
    return model


@needs_extra
def test_windows_of_all_series_and_channels_get_the_forecasts_of_their_own_fit() -> None:
    data = prepare(panel(2, channels=2), past_steps=14, horizon=3)
    model = fitted_to(data, AutoEts)
    window = data.examples("test", 5)
    given = model.forecast_windows(window).forecast[:, 0]
    for place, (i, origin) in enumerate(zip(window.inputs.series.tolist(), window.origin.tolist(), strict=True)):
        begin, end = int(data.series.offsets[i]), int(data.spans["train"].stop[i])
        for channel in range(2):
            y = data.series.values[:, channel].astype(np.float64)
            direct = library("auto_ets").fit(y[begin:end])
            expected = interval(direct.forward(y[begin : origin + 1], 3, level=[80]))
            assert given[place, :, channel].numpy() == pytest.approx(expected, rel=1e-5)
    assert model.notes == () and len(model.description) == 4


@needs_extra
@pytest.mark.parametrize("make", [AutoEts, Theta, Mstl])
def test_missing_values_short_series_and_constant_ones_still_have_forecasts(
    make: Callable[..., ClassicalModel],
) -> None:
    series_set = panel(3, holes=0.15)
    values, observed = series_set.values.copy(), np.array(series_set.observed)
    values[:120], observed[120:200] = 7.0, False  # constant; most of the past missing
    data = prepare(replace(series_set, values=values * observed, observed=observed), past_steps=14, horizon=3)
    model = fitted_to(data, make)
    for window in data.test_dataloader():
        assert model.forecast_windows(window).forecast.isfinite().all()


@needs_extra
def test_a_fit_that_takes_too_long_is_seasonal_naive_and_said() -> None:
    data = prepare(panel(1), past_steps=14, horizon=9)
    model = fitted_to(data, AutoArima, time_limit=0.001)
    window = data.examples("test", 4)
    mean = model.head.mean(model.forecast_windows(window).forecast)
    assert (mean == SeasonalNaive(data.spec).predict(window.inputs)).all()
    (note,) = model.notes
    assert note.startswith("auto_arima cannot forecast") and "it took longer than 0.001 seconds" in note


@needs_extra
def test_a_fit_that_fails_is_seasonal_naive_and_said_and_the_others_stand() -> None:
    data = prepare(panel(2, length=60), past_steps=7, horizon=2, split=[40, 10, 10])
    model = fitted_to(data, Mstl, seasons=[7, 35])
    window = data.examples("test", 3)
    assert (
        model.head.mean(model.forecast_windows(window).forecast) == SeasonalNaive(data.spec).predict(window.inputs)
    ).all()
    (note,) = model.notes
    assert "cannot forecast 2 of 2 series, which are seasonal naive: 2 of them because" in note
    assert note.endswith("40 rows hold fewer than two seasons of 35 steps.")


@needs_extra
def test_a_fit_to_less_than_two_seasons_is_said() -> None:
    data = prepare(panel(4), past_steps=8, horizon=2, split=[2, 1, 1], split_by="series")
    model = fitted_to(data, AutoEts)
    model.forecast_windows(data.examples("test", 3))
    assert model.notes == (
        "auto_ets is fitted to less than two seasons of 2 of 4 series, as nothing more lies before their first"
        " forecast.",
    )


def test_workers_do_jobs_in_order_and_survive_a_job_that_fails() -> None:
    past = Past(series("season"), np.empty((200, 0)))
    arguments = [("sarimax", past._replace(y=past.y + i), SETTINGS) for i in range(4)]
    arguments.insert(2, ("sarimax", past, {}))
    done = workers.run([workers.Job("fit", one) for one in arguments], 2, None)
    assert done[2] == (None, "KeyError: 'order'") or done[2].failure.startswith("KeyError")
    assert [one.value["form"] for one in done if one.value] == ["SARIMAX(1,0,0)(0,1,1)[7]"] * 4


def test_the_way_out_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"model=theta needs statsforecast.* pip install 'seqmodels\[classical\]'\."):
        Theta(prepare(panel(1)).spec)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (Sarimax, {"order": [1, 0]}, r"model.order is \[1, 0\]; it must be three whole numbers"),
        (Sarimax, {"seasonal_order": [0, -1, 1]}, r"model.seasonal_order is \[0, -1, 1\]; it must be \(P, D, Q\)"),
        (Sarimax, {"trend": "t"}, "model.trend is 't'; it must be null, n or c"),
        (Sarimax, {"history": 3}, "model.history is 3; it must be at least 8"),
        (Sarimax, {"time_limit": 0}, "model.time_limit is 0; it must be greater than 0"),
        (Sarimax, {"processes": "all"}, "model.processes is all; it must be auto or at least 1"),
        (Mstl, {"seasons": [1]}, r"model.seasons is \[1\]; mstl needs seasons of at least 2 steps"),
        (AutoArima, {"criterion": "hq"}, "model.criterion is 'hq'; it must be one of aicc, aic, bic"),
        (AutoEts, {"season": 0}, "model.season is 0; it must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Any, arguments: dict[str, Any], message: str) -> None:
    if make is not Sarimax:
        pytest.importorskip("statsforecast", reason="the extra classical is not installed")
    with pytest.raises(InputError, match=message):
        make(prepare(panel(1)).spec, **arguments)


@pytest.fixture(scope="module")
def rides() -> pl.DataFrame:
    time = np.arange(200)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=199), eager=True)
    closed = np.random.default_rng(1).random(200) < 0.1
    values = 50 + 10 * np.sin(time * 2 * np.pi / 7) - 20 * closed + np.random.default_rng(0).normal(size=200)
    return pl.DataFrame({"day": days, "rides": values, "closed": closed.astype(int)})


SHORT = {"time": "day", "past_steps": 14, "horizon": 3, "logger": "none", "threads": 1}


def test_a_run_of_sarimax_is_stored_and_forecasts_and_evaluates_alike(rides: pl.DataFrame, tmp_path: Path) -> None:
    settings = SHORT | {"known_covariates": ["closed"], "forecast": False}
    known = rides.with_columns(rides=pl.when(pl.col("day") < pl.date(2020, 7, 15)).then("rides"))
    run = sm.fit(known, target="rides", model="sarimax", directory=tmp_path / "run", **settings)
    rows = run.table.filter(pl.col("stage") == "test")
    assert rows["row"].to_list() == ["sarimax", "naive", "seasonal naive"]
    assert rows["skill"][0] > 0.3
    ((_, fit),) = run.model.fits.items()
    assert fit["named"]["x1"] == pytest.approx(-20 * 0.3, rel=0.3)  # in standard deviations of the column
    loaded = sm.load(tmp_path / "run")
    assert loaded.model.fits == run.model.fits
    ahead = loaded.forecast(known)
    assert ahead.table.equals(run.forecast().table)
    assert ahead.table.columns[-1] == "q0.975"
    again = loaded.evaluate(known, last=60)
    assert again.windows == 58 and np.isfinite(again.by_lead["coverage_80"].to_numpy()).all()
    assert run.evaluate().table.select(MEASURED).equals(rows.select(MEASURED))


@needs_extra
def test_rows_that_begin_later_are_fitted_anew(rides: pl.DataFrame, tmp_path: Path) -> None:
    run = sm.fit(rides.drop("closed"), target="rides", model="auto_ets", directory=tmp_path / "run", **SHORT)
    later = rides[50:].drop("closed")
    direct = library("auto_ets").fit(later["rides"].cast(pl.Float32).to_numpy().astype(np.float64))
    expected = direct.predict(3)["mean"]
    assert run.forecast(later).table["mean"].to_numpy() == pytest.approx(expected, rel=1e-5)
    assert run.forecast().table["mean"].to_numpy() != pytest.approx(expected, rel=1e-5)


@needs_extra
def test_rivals_have_the_rows_that_they_have_alone(rides: pl.DataFrame, tmp_path: Path) -> None:
    settings = SHORT | {"forecast": False}
    alone = sm.fit(rides.drop("closed"), target="rides", model="theta", directory=tmp_path / "alone", **settings).table
    settings |= {"trainer": {"max_epochs": 1}, "model": "linear", "rivals": ["ridge", "theta"]}
    beside = sm.fit(rides.drop("closed"), target="rides", directory=tmp_path / "beside", **settings).table
    assert beside["row"].to_list() == ["linear", "naive", "seasonal naive", "ridge", "theta"] * 2
    assert beside.filter(row="theta").select(MEASURED).equals(alone.filter(row="theta").select(MEASURED))


def ridership() -> pl.DataFrame:
    path = real("ridership/ridership.csv")
    frame = pl.read_csv(path).unique().with_columns(day=pl.col("service_date").str.to_date("%m/%d/%Y")).sort("day")
    return frame.rename({"rail_boardings": "rail"}).select("day", "rail")


def test_sarima_of_the_book_on_the_days_before_june_2019() -> None:
    """Géron, "Hands-on machine learning", third edition, chapter 15: 427,758.6 rides for 1 June 2019."""
    y = ridership().filter(pl.col("day").is_between(pl.date(2019, 1, 1), pl.date(2019, 5, 31)))["rail"].to_numpy()
    past = Past(y.astype(np.float64), np.empty((len(y) + 1, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit("sarimax", past._replace(x=past.x[:-1]), SETTINGS)
    made = forecast("sarimax", fitted, past, [len(y) - 1], 1, SETTINGS)
    assert made[0, 0, 0] == pytest.approx(427_758.6, rel=1e-5)


@needs_extra
def test_ridership_from_the_windows_is_a_direct_call_of_the_library(tmp_path: Path) -> None:
    frame = ridership().filter(pl.col("day").is_between(pl.date(2017, 1, 1), pl.date(2019, 5, 31)))
    split = ["2019-01-01", "2019-04-01"]
    settings = {"time": "day", "past_steps": 56, "horizon": 14, "logger": "none", "threads": 1, "split": split}
    run = sm.fit(frame, target="rail", model="auto_ets", directory=tmp_path / "run", forecast=False, **settings)
    y = frame["rail"].to_numpy().astype(np.float64)
    train = frame.filter(pl.col("day") < pl.date(2019, 1, 1)).height
    validation = frame.filter(pl.col("day") < pl.date(2019, 4, 1)).height
    direct = library("auto_ets").fit(y[:train])
    origins = range(validation - 1, len(y) - 14)
    errors = [np.abs(direct.forward(y[: at + 1], 14)["mean"] - y[at + 1 : at + 15]).mean() for at in origins]
    row = run.table.filter(stage="test", row="auto_ets")
    assert row["windows"].item() == len(errors)
    assert row["mae"].item() == pytest.approx(np.mean(errors), rel=1e-6)
