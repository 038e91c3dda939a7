"""Encoding of new rows: equal to the windows of training where both see the same rows."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from datamodules.encoder import EncodedRows, RowEncoder, extend
from datamodules.series import SeriesSet, training_frequency
from datamodules.table import Table
from datamodules.timezones import utc_to_local
from seqmodels.errors import InputError
from seqmodels.window import Inputs

PAST, HORIZON, DAYS = 14, 5, 120


def shops(days: int = DAYS, seed: int = 0) -> pl.DataFrame:
    """Two shops with a price and a promotion known ahead, a visitor count known afterwards, weather and a city."""
    random = np.random.default_rng(seed)
    start = np.datetime64("2021-03-01")
    frames = []
    for shop, city in (("north", "Oslo"), ("south", "Rome")):
        visitors = random.poisson(40, days).astype(float)
        visitors[random.integers(0, days, 6)] = np.nan
        frames.append(
            pl.DataFrame(
                {
                    "shop": [shop] * days,
                    "day": start + np.arange(days),
                    "sales": (100 + 10 * np.sin(np.arange(days)) + random.normal(size=days)).round(3),
                    "price": random.uniform(1, 2, days).round(3),
                    "offer": random.choice(["no", "half", "gift"], days),
                    "visitors": pl.Series(visitors, nan_to_null=True),
                    "city": [city] * days,
                }
            )
        )
    return pl.concat(frames)


COLUMNS: dict[str, Any] = {
    "target": "sales",
    "time": "day",
    "id": "shop",
    "past_covariates": ["visitors"],
    "known_covariates": ["price", "offer"],
    "statics": ["city"],
}
MADE: dict[str, Any] = {
    "calendar": ["weekday", "month:category"],
    "holidays": ["2021-04-05", "2021-05-17"],
    "lags": [1, 7],
    "rolling": ["mean_7"],
}


def set_up(frame: pl.DataFrame, **changes: Any) -> Table:
    data = Table(frame, past_steps=PAST, horizon=HORIZON, **{**COLUMNS, **MADE, **changes})
    data.setup()
    return data


def stored(data: Table) -> RowEncoder:
    """The encoder as a checkpoint gives it back."""
    return RowEncoder.from_dict(data.encoder().to_dict(), data.spec)


def encode_future(encoder: RowEncoder, series: SeriesSet, origin: Any = None) -> EncodedRows:
    extended, stop = encoder.extend(series, encoder.spec.horizon, origin)
    return encoder.encode(extended, stop)


def last_inputs(data: Table) -> Inputs:
    """Inputs of the last test window of each series."""
    loader = data.loaders["test"]
    last = torch.from_numpy(np.cumsum(data.indexes["test"].counts.numpy()) - 1)
    return loader.examples(last).inputs


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"calendar": [], "holidays": None, "lags": [], "rolling": []},
        {"past_covariates": [], "known_covariates": [], "statics": []},
        {"lags": [2, 30], "rolling": ["max_3"]},
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_a_past_origin_gives_the_window_of_the_test_part(changes: dict[str, Any], gaps: bool) -> None:
    frame = shops()
    if gaps:
        missing = pl.int_range(pl.len()) % 11 == 3
        frame = frame.with_columns(sales=pl.when(missing).then(None).otherwise(pl.col("sales")))
    data = set_up(frame, **changes)
    encoder = stored(data)
    origin = frame["day"].max() - np.timedelta64(HORIZON, "D").astype(object)
    changed = frame.with_columns(  # what comes after the origin is not read, except what is known ahead
        sales=pl.when(pl.col("day") > origin).then(-1e6).otherwise(pl.col("sales")),
        visitors=pl.when(pl.col("day") > origin).then(-1e6).otherwise(pl.col("visitors")),
    )
    encoded = encode_future(encoder, encoder.read(changed), origin=np.datetime64(origin))
    (window,) = encoded.last_windows()
    for name, wanted in last_inputs(data)._asdict().items():
        torch.testing.assert_close(getattr(window.inputs, name), wanted, rtol=0, atol=0, msg=name)


def test_the_future_after_the_last_row_has_dates_calendar_and_known_covariates() -> None:
    frame = shops()
    ends = frame.filter(pl.col("day") >= frame["day"].max() - np.timedelta64(HORIZON - 1, "D").astype(object))
    data = set_up(frame.filter(~pl.col("day").is_in(ends["day"].implode())))
    encoder = stored(data)
    past = frame.join(ends.select("shop", "day"), on=["shop", "day"], how="anti")
    future = ends.select("shop", "day", "price", "offer")
    empty = ends.with_columns(sales=None, visitors=None)
    given = encode_future(encoder, encoder.read(past, future=future))
    appended = encode_future(encoder, encoder.read(pl.concat([past, empty], how="vertical_relaxed")))
    for one, other in zip(given.last_windows(), appended.last_windows(), strict=True):
        for name, wanted in one.inputs._asdict().items():
            torch.testing.assert_close(getattr(other.inputs, name), wanted, rtol=0, atol=0, msg=name)
    assert given.series.time is not None
    days = given.series.time[given.stop[0] : given.stop[0] + HORIZON].astype("datetime64[D]")
    assert list(days.astype(object)) == ends.filter(pl.col("shop") == "north")["day"].to_list()


def test_a_known_covariate_without_a_future_value_is_refused_with_column_series_and_date() -> None:
    frame = shops()
    encoder = stored(set_up(frame))
    with pytest.raises(InputError, match=r"'price' has no value at 2021-06-29 of series 'north'.*future=FILE"):
        encode_future(encoder, encoder.read(frame))
    future = pl.DataFrame({"shop": ["north"], "day": [date(2021, 6, 29)]})
    with pytest.raises(InputError, match="no column 'price'"):
        encoder.read(frame, future=future)


def test_an_unseen_series_has_the_unit_of_its_own_history_and_unknown_categories() -> None:
    frame = shops()
    encoder = stored(set_up(frame))
    other = frame.filter(pl.col("shop") == "north").with_columns(
        shop=pl.lit("new"), sales=3 * pl.col("sales"), city=pl.lit("Bonn")
    )
    origin = frame["day"].max() - np.timedelta64(HORIZON, "D").astype(object)
    encoded = encode_future(encoder, encoder.read(other), origin=np.datetime64(origin))
    (window,) = encoded.last_windows()
    values = other.filter(pl.col("day") <= origin)["sales"].to_numpy()
    assert float(window.inputs.seasonal_error[0, 0]) == pytest.approx(np.abs(values[7:] - values[:-7]).mean(), rel=1e-5)
    assert window.inputs.static[0, 0] == 0
    assert any("'Bonn' was not in training" in note for note in encoded.series.notes)


def test_a_covariate_of_another_kind_is_refused() -> None:
    encoder = stored(set_up(shops()))
    numbers = shops().with_columns(offer=pl.lit(1.5))
    with pytest.raises(InputError, match="'offer' held categories in training"):
        encode_future(encoder, encoder.read(numbers), origin=np.datetime64("2021-06-01"))
    texts = shops().with_columns(price=pl.lit("cheap"))
    with pytest.raises(InputError, match="'price' held numbers in training"):
        encode_future(encoder, encoder.read(texts), origin=np.datetime64("2021-06-01"))


@pytest.mark.parametrize(
    ("times", "zone"),
    [
        (np.arange("2021-01-31", "2021-02-20", dtype="datetime64[D]"), ""),
        (np.array(["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30", "2021-05-31"], "datetime64[us]"), ""),
        (np.arange("2021-03-27T00", "2021-03-29T00", dtype="datetime64[h]"), "Europe/Berlin"),
        (np.array([d for d in np.arange("2021-01-01", "2021-02-10", dtype="datetime64[D]") if np.is_busday(d)]), ""),
        (np.arange(100, 200, 5), ""),
    ],
)
def test_times_go_on_at_the_frequency(times: np.ndarray, zone: str) -> None:
    times = times.astype("datetime64[us]") if times.dtype.kind == "M" else times
    cut = len(times) - 3
    series = SeriesSet(
        values=np.ones((cut, 1), np.float32), offsets=np.array([0, cut]), channels=("y",), time=times[:cut], zone=zone
    )
    extended, stop = extend(series, 3, training_frequency(series))
    assert extended.time is not None and stop.tolist() == [cut]
    np.testing.assert_array_equal(extended.time, times)
    np.testing.assert_array_equal(utc_to_local(extended.time, zone), utc_to_local(times, zone))


def test_series_end_where_their_targets_end() -> None:
    series = SeriesSet(
        values=np.arange(9, dtype=np.float32)[:, None],
        offsets=np.array([0, 4, 6, 9]),
        channels=("y",),
        names=("a", "b", "c"),
        observed=np.array([1, 1, 0, 0, 0, 0, 1, 0, 1], bool)[:, None],
        time=np.array([1, 2, 3, 4, 1, 2, 2, 3, 4]),
    )
    extended, stop = extend(series, 2, training_frequency(series))
    assert extended.names == ("a", "c") and any("'b'" in note for note in extended.notes)
    assert extended.offsets.tolist() == [0, 4, 9] and stop.tolist() == [2, 7]
    assert extended.time is not None and extended.time.tolist() == [1, 2, 3, 4, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match="up to the origin"):
        extend(series, 2, training_frequency(series), origin=0)


@pytest.mark.parametrize("rows", [3, PAST, 60])
def test_short_series_are_padded_or_shorter(rows: int) -> None:
    plain = {"past_covariates": [], "known_covariates": [], "statics": [], "lags": [], "rolling": [], "id": None}
    frame = shops().filter(pl.col("shop") == "north")
    encoder = stored(set_up(frame, **plain))
    (window,) = encode_future(encoder, encoder.read(frame[-rows:])).last_windows()
    kept = min(rows, PAST)
    assert window.inputs.past_target.shape[1] == kept
    np.testing.assert_allclose(window.inputs.past_target[0, :, 0], frame["sales"].to_numpy()[-kept:], rtol=1e-6)
    masked = RowEncoder.from_dict(encoder.to_dict(), encoder.spec._replace(missing=True))
    (window,) = encode_future(masked, masked.read(frame[-rows:])).last_windows()
    assert window.inputs.past_observed[0, :, 0].sum() == kept and window.inputs.past_target.shape[1] == PAST


def test_missing_values_are_filled_for_a_model_that_has_seen_none() -> None:
    plain = {"past_covariates": [], "known_covariates": [], "statics": [], "lags": [], "rolling": []}
    encoder = stored(set_up(shops(), **plain))
    gaps = shops().with_columns(sales=pl.when(pl.int_range(pl.len()) % DAYS == DAYS - 4).then(None).otherwise("sales"))
    encoded = encode_future(encoder, encoder.read(gaps))
    (window,) = encoded.last_windows()
    assert bool(window.inputs.past_observed.all())
    np.testing.assert_array_equal(window.inputs.past_target[:, -4], window.inputs.past_target[:, -5])
    assert any("2 missing targets" in note for note in encoded.series.notes)
