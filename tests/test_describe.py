"""Description of data: summaries, behaviour, suggested settings, figures, and the files of the command."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ROOT, Ended, files_in, forked, metrics, only_run, python
from data import SeriesData, integers

from datamodules.series import SeriesSet, Span
from datamodules.synthetic import TrendSeason, Waves
from seqmodels.cli.commands.describe import find_kept
from seqmodels.description import advice, curves, decomposition, plots, profile, summaries
from seqmodels.description.curves import Curve, sample_curves, stratified_sample
from seqmodels.description.decomposition import analyse_channel, decompose, differencing_order, strength
from seqmodels.description.plots import charts
from seqmodels.description.profile import Description, DescriptionOptions, describe_data
from seqmodels.description.seasons import Season, usual_periods
from seqmodels.description.summaries import find_gaps, summarise_channels, summarise_columns, summarise_gaps
from seqmodels.description.tables import describe_row, tables
from seqmodels.errors import InputError
from seqmodels.report.plotting import DARK, LIGHT, png

PICTURES = ["autocorrelation", "histogram", "missing", "season", "series"]
DAY = np.datetime64("2024-01-01", "us")  # a Monday


def ragged(seed: int = 0) -> SeriesSet:
    """Series of very different lengths, one of them empty, one constant, with zeros and missing values."""
    random = np.random.default_rng(seed)
    lengths = [40, 3, 0, 25, 1, 31]
    rows = sum(lengths)
    values = random.integers(-2, 4, size=(rows, 2)).astype(np.float32)
    values[43:68, 0] = 7
    observed = random.random((rows, 2)) > 0.3
    values[~observed] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return SeriesSet(values, offsets, channels=("a", "b"), observed=observed, source="ragged")


def training(series: SeriesSet) -> Span:
    """The first half of each series."""
    return Span(series.offsets[:-1], series.offsets[:-1] + series.lengths // 2)


def daily(steps: int, **fields: Any) -> SeriesSet:
    """Days with a weekly season and a little noise."""
    random = np.random.default_rng(0)
    values = 1000 * (10 + np.tile([1.0, 2, 3, 2, 1, -4, -5], steps // 7 + 1)[:steps] + 0.3 * random.normal(size=steps))
    offsets = np.array([0, steps], np.int64)
    given: dict[str, Any] = {"channels": ("rides",), "source": "rides.csv", "frequency": "day", "season": 7} | fields
    return SeriesSet(values[:, None].astype(np.float32), offsets, time=DAY + np.arange(steps) * 86_400_000_000, **given)


def described(series: SeriesSet, options: DescriptionOptions | None = None, **windows: Any) -> Description:
    data = SeriesData(series, **{"past_steps": 3, "horizon": 1, **windows})
    data.setup()
    return describe_data(data, options or DescriptionOptions(), seed=0)


@pytest.mark.parametrize("block", [1, 7, 64, 2**22])
def test_channel_summaries_do_not_depend_on_the_block_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "BLOCK_VALUES", block)
    series = ragged()
    span = training(series)
    assert series.observed is not None
    for channel, found in enumerate(summarise_channels(series, span, seed=0)):
        kept = [
            series.values[low:high, channel][series.observed[low:high, channel]]
            for low, high in zip(span.start, span.stop, strict=True)
        ]
        values = np.concatenate(kept).astype(np.float64)
        figures = (found.mean, found.deviation, found.least, found.median, found.greatest)
        expected = (values.mean(), values.std(), values.min(), np.median(values), values.max())
        assert figures == pytest.approx(expected, abs=1e-9)
        assert (found.values, found.zeros, found.negative) == (len(values), (values == 0).sum(), (values < 0).sum())
        assert found.constant == sum(len(part) > 1 and len(set(part)) == 1 for part in kept)
        assert sorted(found.sample) == sorted(values)
    assert summarise_channels(series, span, seed=0)[0].constant == 1


@pytest.mark.parametrize("block", [1, 5, 2**22])
def test_gaps_end_at_the_end_of_their_series(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "BLOCK_VALUES", block)
    series = ragged()
    assert series.observed is not None
    for channel in range(2):
        expected: list[list[int]] = []
        for begin, end in zip(series.offsets[:-1], series.offsets[1:], strict=True):
            for row in range(begin, end):
                if series.observed[row, channel]:
                    continue
                if row > begin and not series.observed[row - 1, channel]:
                    expected[-1][1] += 1
                else:
                    expected.append([row, 1])
        starts, steps = find_gaps(series.observed[:, channel], series.offsets)
        assert np.stack([starts, steps], axis=1).tolist() == expected
        found = summarise_gaps(series, channel)
        assert (found["missing"], found["gaps"]) == ((~series.observed[:, channel]).sum(), len(expected))
        assert found["longest"].steps == max(steps for _, steps in expected)
    complete = summarise_gaps(integers(5), 0)
    assert complete == {"missing": 0, "gaps": 0, "longest": None}


def test_many_values_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "SAMPLE_SIZE", 2000)
    monkeypatch.setattr(summaries, "LEAST_SAMPLE", 500)
    monkeypatch.setattr(summaries, "BLOCK_VALUES", 3000)
    values = np.arange(20_000, dtype=np.float32)[:, None]
    series = SeriesSet(values, np.array([0, 20_000]), channels=("y",))
    (found,) = summarise_channels(series, Span(np.array([0]), np.array([20_000])), seed=3)
    assert found.values == 20_000 and len(found.sample) == pytest.approx(2000, abs=10)
    assert found.median == pytest.approx(10_000, abs=800) and found.mean == pytest.approx(9999.5)


def test_summaries_of_numbers_and_categories() -> None:
    series = SeriesSet(
        np.zeros((6, 1), np.float32),
        np.array([0, 3, 6]),
        channels=("y",),
        past_covariates=np.array([[1, 2], [0, np.nan], [2, 4], [2, 6], [2, np.nan], [1, 0]], np.float32),
        past_covariate_names=("sky", "wind"),
        static=np.array([[3.0], [5.0]], np.float32),
        static_names=("size",),
        categories={"sky": ("rain", "sun", "snow")},
    )
    sky, wind, size = summarise_columns(series, {"wind": 1e9})
    assert (sky.role, sky.missing, sky.categories) == ("known up to now", 1, 3)
    assert sky.most == (("sun", 0.5), ("rain", pytest.approx(1 / 3)))
    assert (wind.missing, wind.least, wind.mean, wind.greatest, wind.categories) == (2, 1e9, 1e9 + 3, 1e9 + 6, 0)
    assert (size.role, size.least, size.greatest) == ("static", 3, 5)


@pytest.mark.parametrize(("candidates", "count"), [(1000, 10), (11, 10), (9, 10)])
def test_the_sample_is_stratified_and_depends_on_the_seed_only(candidates: int, count: int) -> None:
    found = stratified_sample(np.arange(candidates) * 2, count, seed=1)
    assert len(found) == min(candidates, count) == len(set(found.tolist()))
    assert np.array_equal(found, stratified_sample(np.arange(candidates) * 2, count, seed=1))
    borders = np.linspace(0, 2 * candidates, count + 1)
    inside = [((found >= low - 2) & (found < high)).any() for low, high in zip(borders, borders[1:], strict=False)]
    assert all(inside) or candidates < count
    assert candidates < 1000 or not np.array_equal(found, stratified_sample(np.arange(candidates) * 2, count, seed=2))


def test_sampled_curves_are_shared_among_channels_and_training_values_only() -> None:
    series = integers(30, 20, 10, channels=3)
    span = Span(series.offsets[:-1], series.offsets[:-1] + np.array([20, 0, 7]))
    for count, channels, each in ((9, 3, 2), (3, 3, 1), (2, 2, 1)):
        curves = sample_curves(series, span, count, seed=0)
        assert [len(channel) for channel in curves] == [each] * channels
        for one in (one for channel in curves for one in channel):
            expected = 1000 * one.series + np.arange(20 if one.series == 0 else 7) + one.channel / 10
            assert one.values == pytest.approx(expected, abs=1e-4) and one.series != 1


def test_very_long_curves_are_cut_to_the_newest_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "SAMPLED_VALUES", 100)
    monkeypatch.setattr(curves, "LEAST_PER_CURVE", 20)
    found = described(integers(300, 30))
    assert [(one.first, len(one.values)) for one in found.curves[0]] == [(160, 50), (300, 21)]
    assert dict(found.facts)["autocorrelations"] == "of the newest 50 steps of long series"
    assert found.channels[0].values == 231


def test_strengths_distinguish_trend_and_season_from_noise() -> None:
    steps, noise = np.arange(280), np.random.default_rng(0).normal(size=280)
    season = np.sin(2 * np.pi * steps / 7)
    figures = {}
    curves = {"both": 0.1 * steps + 5 * season, "season": 5 * season, "trend": 0.1 * steps, "": 0 * steps}
    for name, values in curves.items():
        found = analyse_channel("y", [Curve(0, 0, 0, values + 0.5 * noise)], 7)
        figures[name] = (found.trend, found.season, found.seasonal_differences)
    assert all(figures[name][0] > 0.97 for name in ("both", "trend")) and figures[""][0] < 0.3 > figures["season"][0]
    assert all(figures[name][1] > 0.97 and figures[name][2] == 1 for name in ("both", "season"))
    assert all(figures[name][1] < 0.5 and figures[name][2] == 0 for name in ("trend", ""))
    assert strength(np.array([1.0, -1, 1, -1]), np.zeros(4)) == 1 and strength(np.zeros(4), np.zeros(4)) == 0


@pytest.mark.parametrize("season", [1, 7, 12])
def test_a_decomposition_adds_up(season: int) -> None:
    values = np.random.default_rng(0).normal(size=100).cumsum()
    found = decompose(values, season)
    assert found is not None and found.trend + found.season + found.remainder == pytest.approx(values)
    assert decompose(values[: max(9, 2 * season)], season) is None


def test_differencing_order_is_that_of_the_integrated_process() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(size=400)
    curves = (noise, noise.cumsum(), noise.cumsum().cumsum(), np.ones(50))
    assert [differencing_order(values) for values in curves] == [0, 1, 2, 0]


@pytest.mark.parametrize("season", [1, 7])
def test_outliers_are_found_at_their_rows_only(season: int) -> None:
    steps = np.arange(300)
    values = 3 * np.sin(2 * np.pi * steps / 7) * (season > 1) + np.random.default_rng(0).uniform(-1, 1, 300)
    assert analyse_channel("y", [Curve(0, 0, 0, values)], season).outliers == ()
    values[[50, 200]] += [30, -20]
    values[[10, 199]] = np.nan
    found = analyse_channel("y", [Curve(3, 0, 1000, values)], season)
    assert [(one.series, one.row) for one in found.outliers] == [(3, 1050), (3, 1200)] and found.checked == 298
    assert all(abs(one.value - one.expected) > 10 for one in found.outliers)


def test_outliers_keep_their_rows_if_the_newest_steps_begin_with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decomposition, "NEWEST_STEPS", 200)
    values = np.random.default_rng(0).uniform(-1, 1, 300)
    values[100:105] = np.nan
    values[250] = 30
    (found,) = analyse_channel("y", [Curve(0, 0, 0, values)], 1).outliers
    assert (found.row, found.value) == (250, 30)


@pytest.mark.parametrize(
    ("series", "windows", "expected"),
    [
        (daily(700), {}, (56, 7, 7)),
        (daily(700), {"season": 1}, (None, 10, 1)),
        (daily(60), {}, (14, 4, 7)),
        (daily(20), {}, (6, 1, 1)),
        (integers(*[60] * 30), {"context": "inside"}, (None, None, 1)),
        (integers(9), {"split": [5, 2, 2]}, (1, 1, 1)),
    ],
)
def test_suggested_settings_can_be_trained(
    series: SeriesSet, windows: dict[str, Any], expected: tuple[int | None, ...]
) -> None:
    found = described(series, **{**windows, "past_steps": 1, "horizon": 1}).advice
    values = (found.window.value, found.horizon.value, found.season.value)
    assert [wanted in (None, value) for value, wanted in zip(values, expected, strict=True)] == [True] * 3, values
    chosen = {one.key.removeprefix("data."): one.value for one in found}
    data = SeriesData(series, **{**windows, **chosen})
    data.setup()
    assert all(count > 0 for count in data.windows.values())
    assert all(one.reason.endswith(".") and "\n" not in one.reason for one in found)


def test_advice_follows_season_relevant_lags_and_available_steps() -> None:
    wide = advice.AvailableSteps(training=10_000, evaluation=1000, inside=False, many=False)
    given = {"season": None, "found": [], "available": wide}
    for season, last_lag, window, horizon in ((7, 35, 56, 7), (7, 60, 63, 7), (24, 49, 192, 24), (365, 6, 365, 30),
                                              (1, 30, 60, 10)):  # fmt: skip
        found = advice.advise(last_lag=last_lag, given=season, **given)
        assert (found.window.value, found.horizon.value) == (window, horizon)
        assert found.overrides == [f"data.past_steps={window}", f"data.horizon={horizon}", f"data.season={season}"]
    narrow = wide._replace(training=60, evaluation=20)
    found = advice.advise(None, [], 35, narrow, 7)
    assert (found.window.value, found.horizon.value) == (21, 7) and "would be 35" in found.window.reason


def test_two_of_the_longest_season_found_fit_into_the_window() -> None:
    hours = [Season(24, "a day", 0.5), Season(168, "a week", 0.4)]
    wide = advice.AvailableSteps(training=10_000, evaluation=1000, inside=False, many=False)
    for training, window in ((10_000, 336), (2_000, 192), (1_000, 120), (200, 48)):
        found = advice.advise(hours[0], hours, 30, wide._replace(training=training), None)
        assert found.window.value == window, found.window


def test_what_the_user_has_set_is_kept() -> None:
    wide = advice.AvailableSteps(training=10_000, evaluation=1000, inside=False, many=False)
    found = advice.advise(None, [], 3, wide, 7, horizon=30, window=28)
    assert found.overrides == ["data.past_steps=28", "data.horizon=30", "data.season=7"]
    assert found.window.reason.startswith("as data.past_steps=28 says; 63 would be suggested: 9 whole seasons; partial")
    assert advice.advise(None, [], 3, wide, 7, horizon=30).window.value == 63  # two horizons
    given = ["data=csv", "+data.horizon=3", "model/scaler=season", "data.past_steps_not=1"]
    assert find_kept(given) == ["horizon", "scaler"]
    assert find_kept(["experiment=m4/hourly"]) == ["past_steps", "horizon", "calendar", "scaler"]


def test_breaks_after_the_training_part_are_found_and_others_are_not() -> None:
    steps, noise = np.arange(1_000), np.random.default_rng(4).normal(size=1_000)
    week = 100 + 10 * np.sin(2 * np.pi * steps / 7) + noise
    fall = decomposition.find_break(week * np.where(steps < 800, 1, 0.2), 700, 7)
    assert fall is not None and abs(fall.step - 800) <= 3 and "80% lower" in str(fall)
    wild = decomposition.find_break(100 + noise * np.where(steps < 850, 1, 10), 700, 1)
    assert wild is not None and wild.what.startswith("mean step") and abs(wild.step - 850) <= 5
    quiet = (week, week + 0.1 * steps, noise.cumsum(), np.full(1_000, 3.0), week * np.where(steps < 400, 1, 0.2))
    assert [decomposition.find_break(values, 700, 7) for values in quiet] == [None] * len(quiet)
    assert decomposition.find_break(week[:100], 70, 7) is None  # too short


@pytest.mark.parametrize("drifting", [True, False])
def test_the_scaler_and_the_time_of_the_year_follow_what_was_found(drifting: bool) -> None:
    steps, random = np.arange(2_000), np.random.default_rng(1)
    year = 10 * np.sin(2 * np.pi * steps / 365) + 3 * np.sin(2 * np.pi * steps / 7)
    values = np.cumsum(random.normal(size=2_000)) if drifting else year + random.normal(size=2_000)
    series = SeriesSet(
        values[:, None].astype(np.float32), np.array([0, 2_000]), channels=("rides",),
        time=np.datetime64("2010-01-01", "us") + steps * np.timedelta64(1, "D"), frequency="day", season=7,
    )  # fmt: skip
    found = described(series, past_steps=56, horizon=14)
    (scaler,) = (one for one in found.more if one.key == "model/scaler")
    assert ("the level drifts" in scaler.reason) == drifting
    assert ("data.calendar=[day_of_year]" in found.overrides) == (not drifting)


def test_rows_after_the_training_part_do_not_change_the_advice() -> None:
    series = daily(200)
    changed = series.values.copy()
    changed[140:] = np.random.default_rng(5).normal(size=(60, 1)) * 1e6
    before, after = (
        described(SeriesSet(values, series.offsets, channels=("rides",), time=series.time, frequency="day", season=7))
        for values in (series.values, changed)
    )
    assert before.suggestions == after.suggestions and before.behaviours == after.behaviours
    for one, other in zip(before.channels, after.channels, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert before.channels[0].values == 140


def test_usual_periods_are_those_of_the_calendar() -> None:
    def of(frequency: str, step: np.timedelta64, season: int) -> list[tuple[int, str]]:
        time = DAY + np.arange(50) * step
        return usual_periods(
            SeriesSet(np.zeros((50, 1)), np.array([0, 50]), ("y",), time=time, frequency=frequency, season=season)
        )

    assert of("hour", np.timedelta64(1, "h"), 24) == [(24, "a day"), (168, "a week")]
    assert of("15 minutes", np.timedelta64(15, "m"), 96) == [(4, "an hour"), (96, "a day"), (672, "a week")]
    assert of("day", np.timedelta64(1, "D"), 7) == [(7, "a week"), (365, "a year")]
    assert of("week", np.timedelta64(7, "D"), 52) == [(52, "a year")]
    assert usual_periods(integers(20)) == []
    hours = DAY + np.concatenate([[0], np.arange(49)]) * np.timedelta64(1, "h")
    one_row_first = SeriesSet(np.zeros((50, 1)), np.array([0, 1, 50]), ("y",), time=hours, frequency="hour", season=24)
    assert usual_periods(one_row_first) == [(24, "a day"), (168, "a week")]


def test_positions_in_a_season_have_the_names_of_the_calendar() -> None:
    series = daily(70)
    found = plots.seasonal_profile(series, Curve(0, 0, 2, series.values[2:, 0].astype(np.float64)), 7)
    assert found.ticks[0] == "Mon"
    assert found.quantiles[2] == pytest.approx([11e3, 12e3, 13e3, 12e3, 11e3, 6e3, 5e3], abs=400)
    hours = DAY + np.arange(48) * np.timedelta64(1, "h")
    values = np.arange(48.0) % 24
    abroad = SeriesSet(values[:, None], np.array([0, 48]), ("y",), time=hours, frequency="hour", zone="Asia/Tokyo")
    there = plots.seasonal_profile(abroad, Curve(0, 0, 0, values), 24)
    assert there.label == "hour of the day" and there.quantiles[2].tolist() == [(hour - 9) % 24 for hour in range(24)]


def test_rows_are_described_by_series_and_time() -> None:
    assert describe_row(integers(5, 5), 7) == "series 1, step 2"
    assert describe_row(daily(9), 3) == "2024-01-04"


def test_the_map_of_missing_values_shows_single_gaps_and_the_end_of_series() -> None:
    series = ragged()
    lines = plots.choose_map_rows(series, summarise_channels(series, training(series), 0))
    assert [line.series for line in lines] == [0, 1, 3, 4, 5]
    series = integers(10_000, observed=np.arange(10_000)[:, None] != 5000)
    found = plots.missing_shares(series, plots.MapRow("a", 0, 0), 0.0, 20_000.0)
    assert (found > 0).sum() == 1 and np.isnan(found[201:]).all() and not np.isnan(found[:200]).any()
    assert (
        plots.choose_map_rows(integers(50, 50), summarise_channels(integers(50, 50), training(integers(50, 50)), 0))
        == []
    )


@pytest.mark.parametrize(
    "series",
    [
        daily(400),
        daily(4),
        integers(*[9, 30, 12] * 20),
        integers(2000, channels=3),
        SeriesSet(np.ones((60, 1), np.float32), np.array([0, 60]), channels=("flat",)),
        ragged(),
    ],
    ids=["daily", "tiny", "panel", "channels", "constant", "ragged"],
)
def test_all_kinds_of_data_are_described_and_drawn(series: SeriesSet) -> None:
    windows = {"past_steps": 1, "horizon": 1, "split": [2, 1, 1] if len(series.values) == 4 else [0.6, 0.2, 0.2]}
    found = described(series, DescriptionOptions(curves=5, drawn=2), **windows)
    by_title = {table.title: table for table in tables(found)}
    assert {"Values", "Behaviour"} <= set(by_title) and len(by_title["Values"].rows) == len(series.channels)
    assert all(len(row) == len(table.header) for table in by_title.values() for row in table.rows)
    assert found.left_out or found.behaviours[0].curves
    for chart in charts(found, 2):
        assert png(chart.draw(DARK if chart.name in ("missing", "season") else LIGHT))[:4] == b"\x89PNG"


def test_generated_data_are_described() -> None:
    """A season that is not one of the calendar, and series of one window each."""
    course = TrendSeason(past_steps=30, horizon=1, split=[1000, 461])
    waves = Waves(series=100, past_steps=50, horizon=10, split_by="series", context="inside")
    for data, season in ((course, 365), (waves, 1)):
        data.setup()
        assert describe_data(data, DescriptionOptions(curves=20), seed=0).advice.season.value == season


def test_missing_results_are_explained() -> None:
    flat = described(SeriesSet(np.ones((60, 2), np.float32), np.array([0, 60]), channels=("a", "b")))
    assert flat.left_out == (
        "a is constant in the training part; constant curves are not analysed.",
        "b is constant in the training part; constant curves are not analysed.",
        "No autocorrelation of a, b: no two values in the training part differ.",
    )
    (short,) = described(integers(9), split=[5, 2, 2], past_steps=1).left_out
    assert short == "No trend, season or differencing of a: at least 10 training steps are needed."
    assert dict(described(integers(*[20] * 90)).facts)["a close look"] == "at 60 of 90 series, spread evenly over them"


def test_options_below_1_are_refused() -> None:
    for setting in ("curves", "drawn", "lags"):
        with pytest.raises(InputError, match=rf"description\.{setting} is 0; it must be at least 1"):
            DescriptionOptions(**{setting: 0})
    assert profile.choose_lags([Curve(0, 0, 0, np.zeros(900))], 1) == 40
    assert [profile.choose_lags([Curve(0, 0, 0, np.zeros(n))], 30) for n in (900, 30, 2)] == [90, 10, 1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def command(directory: Path, *arguments: str) -> Ended:
    return forked(directory, *arguments, command="describe")


class Page(HTMLParser):
    """Tags, addresses and text of an HTML page; ``open`` holds the tags that are not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_rides(path: Path, steps: int = 120) -> None:
    """Write days in random order with a gap, an exact duplicate and a column name with HTML characters."""
    series = daily(steps)
    assert series.time is not None
    rows = [f"{str(time)[:10]},{value:.1f},sun" for time, value in zip(series.time, series.values[:, 0], strict=True)]
    rows = [*rows[:30], *rows[35:], rows[-1]]
    np.random.default_rng(0).shuffle(rows)
    path.write_text("day,<b>rides & more</b>,sky\n" + "\n".join(rows) + "\n")


def test_the_command_writes_a_page_figures_and_a_training_command(directory: Path) -> None:
    write_rides(directory / "rides.csv")
    given = ("data=csv", "data.path=rides.csv", "data.time=day", "data.target=['<b>rides & more</b>']",
             "data.past_covariates=[sky]", "data.past_steps=1000")  # fmt: skip
    ended = command(directory, *given)
    assert (ended.code, ended.err) == (0, "")
    run = only_run(directory)
    pictures = [f"figures/{name}.png" for name in PICTURES]
    texts = ["command.txt", "config.yaml", "description.html", "environment.json"]
    assert files_in(run) == [*texts, *pictures, "metrics.json"]
    assert f"Written: runs/{run.name}/description.html" in ended.out
    page = Page((run / "description.html").read_text(encoding="utf-8"))
    counted = [page.tags.count(tag) for tag in ("img", "b", "script")]
    assert page.open == [] and counted == [len(PICTURES), 3, 0]  # three figures are bold, and no name of a column
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    written = metrics(run)
    for words in ("<b>rides & more</b>", "exact duplicate row", "absent days", "1000", written["command"]):
        assert words in page.text and words in " ".join(ended.out.split()), words
    assert written["advice"]["data.season"]["value"] == 7 and written["ranges"][0]["missing"] == 5
    assert written["command"].startswith("seqmodels train data=csv data.path=rides.csv")
    assert written["command"].count("data.past_steps=") == 1
    assert written["behaviours"][0]["season"] > 0.8 and written["autocorrelations"][0]["acf"][0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data=csv", "data.path=no.csv", "data.target=[y]"), "no.csv"),
        (("data.series=20", "data.split=[20,0,0]", "data.split_by=series"), "validation"),
    ],
)
def test_data_that_cannot_be_described_are_refused_in_one_sentence(
    directory: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = command(directory, *arguments)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1 and words in ended.err
    assert files_in(directory) == []


def test_help_needs_neither_torch_nor_much_time(directory: Path) -> None:
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'lightning', 'polars', 'matplotlib', 'statsmodels'): sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "runpy.run_module('seqmodels', run_name='__main__')"
    )
    began = time.perf_counter()
    ended = python(directory, "-c", code, "describe", "--help")
    assert (ended.code, ended.err) == (0, "") and time.perf_counter() - began < 10
    assert re.search(r"curves: 60", ended.out) and files_in(directory) == []
