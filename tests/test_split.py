"""Splits by fractions, counts, times and series; folds for rolling-origin cross-validation."""

import dataclasses
import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from data import build_data, integers, prepare, real
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.series import STAGES
from datamodules.split import Overlap, find_overlap, split_spans
from datamodules.table import Table
from seqmodels.errors import InputError


def dated(*starts: str, days: int = 10):
    """One daily series of ``days`` steps from each of these dates."""
    time = np.concatenate([np.datetime64(start, "us") + np.arange(days) * np.timedelta64(1, "D") for start in starts])
    return dataclasses.replace(integers(*[days] * len(starts)), time=time)


def ranges(spans):
    return {stage: list(zip(span.start.tolist(), span.stop.tolist(), strict=True)) for stage, span in spans.items()}


def test_fractions_apply_to_each_series():
    spans = ranges(split_spans(integers(10, 20), [0.7, 0.2, 0.1], "time"))
    assert spans == {"train": [(0, 7), (10, 24)], "validation": [(7, 9), (24, 28)], "test": [(9, 10), (28, 30)]}


def test_two_counts_leave_the_test_part_empty():
    spans = ranges(split_spans(integers(10), [6, 4], "time"))
    assert spans == {"train": [(0, 6)], "validation": [(6, 10)], "test": [(10, 10)]}


def test_two_dates_split_series_that_start_on_different_days():
    series = dated("2020-01-01", "2020-01-04")
    spans = ranges(split_spans(series, ["2020-01-06", "2020-01-08"], "time"))
    assert spans == {"train": [(0, 5), (10, 12)], "validation": [(5, 7), (12, 14)], "test": [(7, 10), (14, 20)]}


def test_four_dates_leave_out_rows_before_and_after():
    dates = ["2020-01-02", "2020-01-05", "2020-01-07", "2020-01-09"]
    spans = ranges(split_spans(dated("2020-01-01"), dates, "time"))
    assert spans == {"train": [(1, 4)], "validation": [(4, 6)], "test": [(6, 8)]}


def test_split_by_series():
    spans = ranges(split_spans(integers(5, 5, 5), [1, 1, 1], "series"))
    assert spans["validation"] == [(0, 0), (5, 10), (10, 10)]


def test_counts_from_the_end_of_series_of_any_length():
    spans = ranges(split_spans(integers(20, 6, 3), [-8, -4], "time"))
    assert spans == {
        "train": [(0, 12), (20, 20), (26, 26)],
        "validation": [(12, 16), (20, 22), (26, 26)],
        "test": [(16, 20), (22, 26), (26, 29)],
    }
    assert ranges(split_spans(integers(20), [-8], "time"))["validation"] == [(12, 20)]
    assert ranges(split_spans(integers(5, 5, 5), [-2, -1], "series"))["train"] == [(0, 5), (5, 5), (10, 10)]


@given(
    gaps=st.lists(st.lists(st.integers(1, 9), min_size=0, max_size=30), min_size=1, max_size=5),
    labels=st.lists(st.integers(-5, 150), min_size=2, max_size=2, unique=True).map(sorted),
)
@settings(max_examples=100, deadline=None)
def test_times_split_every_series_by_its_own_time_index(gaps, labels):
    """Integer times with gaps of any size: each row belongs to the part that contains its time."""
    time = np.concatenate([np.cumsum(steps) for steps in gaps]).astype(np.int64)
    series = dataclasses.replace(integers(*map(len, gaps)), time=time)
    spans = split_spans(series, [str(label) for label in labels], "time")
    for stage, part in zip(spans, (time < labels[0], (time >= labels[0]) & (time < labels[1]), time >= labels[1]),
                           strict=True):  # fmt: skip
        rows = [np.arange(*span) for span in zip(spans[stage].start, spans[stage].stop, strict=True)]
        assert np.array_equal(np.concatenate(rows), np.flatnonzero(part))


def test_dates_are_in_the_time_zone_of_the_series():
    utc = np.datetime64("2020-03-27T00", "us") + np.arange(96) * np.timedelta64(1, "h")
    berlin = dataclasses.replace(integers(96), time=utc, zone="Europe/Berlin")
    spans = split_spans(berlin, ["2020-03-28", "2020-03-30T12:00"], "time")
    wall = [datetime.datetime(*when, tzinfo=ZoneInfo("Europe/Berlin")) for when in ((2020, 3, 28), (2020, 3, 30, 12))]
    starts = [np.datetime64(time.astimezone(datetime.UTC).replace(tzinfo=None)) for time in wall]
    assert [spans["validation"].start[0], spans["test"].start[0]] == [
        int(np.flatnonzero(utc == one)[0]) for one in starts
    ]
    with pytest.raises(InputError, match="'2020-03-29T02:30', which does not exist in Europe/Berlin"):
        split_spans(berlin, ["2020-03-29T02:30", "2020-03-30"], "time")


@pytest.mark.parametrize("split", [[-4, -8], [-8, 4], [-8, -8], [-9, -6, -3], [-0.5], [-0.5, -0.2], [], [True, 3]])
def test_invalid_numbers_are_refused(split):
    with pytest.raises(InputError, match="it must be 2 or 3 fractions.*negative counts from the end") as refusal:
        split_spans(integers(20), split, "time")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("split", "by", "words"),
    [
        (["2020-01-05"], "time", "dates must be"),
        (["2020-01-05", "2020-01-03"], "time", "must ascend"),
        (["soon", "2020-01-03"], "time", "'soon'.*dates like 2019-01-31"),
        (["2020-01-05", "2020-01-07"], "series", "split_by is 'series'"),
    ],
)
def test_invalid_dates_are_refused(split, by, words):
    with pytest.raises(InputError, match=words):
        split_spans(dated("2020-01-01"), split, by)


def test_ridership_has_the_published_numbers_of_windows():
    path = real("ridership/ridership.csv")
    for horizon, windows in ((1, (1040, 95, 858)), (14, (1027, 82, 845))):
        data = Table(
            path=str(path), time="service_date", target="rail_boardings", past_steps=56, horizon=horizon,
            context="inside", split=["2016-01-01", "2019-01-01", "2019-06-01", "2021-12-01"],
        )  # fmt: skip
        data.setup()
        assert tuple(data.windows.values()) == windows
        assert data.spec.season == 7


def test_split_by_series_in_a_data_module():
    assert build_data(10, 10, 10, split=[1, 1, 1], split_by="series").windows == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }


def test_a_fold_moves_all_borders_back_by_the_test_part():
    counts = [ranges(split_spans(integers(100), [-20, -10], "time", fold)) for fold in (0, 1, 2)]
    assert [fold["train"] for fold in counts] == [[(0, 80)], [(0, 70)], [(0, 60)]]
    assert [fold["validation"] for fold in counts] == [[(80, 90)], [(70, 80)], [(60, 70)]]
    assert [fold["test"] for fold in counts] == [[(90, 100)], [(80, 90)], [(70, 80)]]


def test_a_fold_without_a_test_part_moves_by_the_validation_part():
    assert ranges(split_spans(integers(100), [70, 30], "time", 2)) == {
        "train": [(0, 10)], "validation": [(10, 40)], "test": [(40, 40)]
    }  # fmt: skip


def test_a_fold_moves_dates_by_the_same_time_in_every_series():
    dates = ["2020-01-02", "2020-01-05", "2020-01-07", "2020-01-09"]
    series = dated("2020-01-01", "2019-12-29", days=10)
    assert ranges(split_spans(series, dates, "time", 0))["test"] == [(6, 8), (19, 20)]
    assert ranges(split_spans(series, dates, "time", 1)) == {
        "train": [(1, 2), (14, 15)], "validation": [(2, 4), (15, 17)], "test": [(4, 6), (17, 19)]
    }  # fmt: skip


def panel(time, *parts: slice):
    """One series for each part of these times."""
    series = integers(*[len(time[part]) for part in parts])
    return dataclasses.replace(series, time=np.concatenate([time[part] for part in parts]))


@pytest.mark.parametrize("dates", [True, False])
def test_no_series_trains_at_times_at_which_another_is_evaluated(dates):
    days = np.arange(100)
    time = days.astype("datetime64[D]").astype("datetime64[us]") if dates else days
    series = panel(time, slice(0, 100), slice(0, 80), slice(60, 100), slice(0, 40))
    split = [str(time[70]), str(time[85])]
    assert ranges(split_spans(series, split, "time", 1, min_rows=5)) == {
        "train": [(0, 55), (100, 155), (180, 180), (220, 260)],
        "validation": [(55, 70), (155, 170), (180, 190), (260, 260)],
        "test": [(70, 85), (170, 180), (190, 205), (260, 260)],
    }
    assert split_spans(series, split, "time", 4, min_rows=10)["train"].lengths.tolist() == [10, 10, 0, 10]
    with pytest.raises(InputError, match="data.fold is 5, but only folds 0 to 4 of .* the 10 training rows"):
        split_spans(series, split, "time", 5, min_rows=10)


MONTHS = np.arange("2015-01", "2021-01", dtype="datetime64[M]").astype("datetime64[us]")
BUSINESS_DAYS = np.busday_offset("2020-01-01", np.arange(72)).astype("datetime64[us]")


@pytest.mark.parametrize("time", [MONTHS, MONTHS + np.timedelta64(14, "D"), BUSINESS_DAYS])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_folds_of_months_and_business_days_have_whole_test_parts(time, fold):
    """Borders between two timestamps, across a leap year: 12 steps per fold."""
    split = [str(time[rows] - np.timedelta64(1, "h")) for rows in (48, 60)]
    spans = ranges(split_spans(panel(time, slice(0, 72), slice(0, 66)), split, "time", fold))
    border = 48 - 12 * fold
    wanted = [(0, border), (border, border + 12), (border + 12, border + 24)]
    assert [spans[stage] for stage in STAGES] == [[(low, high), (low + 72, high + 72)] for low, high in wanted]


@given(
    lengths=st.lists(st.integers(5, 80), min_size=1, max_size=4),
    split=st.sampled_from([(0.5, 0.2, 0.2), (0.6, 0.4), (-6, -3), (-4,), (3, 1, 1)]),
    fold=st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_later_folds_use_fewer_rows(lengths, split, fold):
    """All folds begin training at the same row, and the test rows of a fold end where those of the one before begin."""
    series = integers(*lengths)
    try:
        before, now = (split_spans(series, split, "time", number, min_rows=2) for number in (fold - 1, fold))
    except InputError as error:
        assert f"data.fold is {fold}, but only fold" in str(error) or f"data.fold is {fold - 1}, but" in str(error)
        return
    moved = "test" if len(split) - any(part > 0 for part in split) == 2 else "validation"
    assert (now["train"].start == before["train"].start).all()
    assert (now[moved].stop <= before[moved].start).all()
    whole = now["train"].lengths > 0
    assert (now[moved].stop == before[moved].start)[whole].all(), "nothing is skipped in a series that trains"
    for stage in STAGES:
        start, stop = now[stage]
        assert (series.offsets[:-1] <= start).all() and (start <= stop).all() and (stop <= series.offsets[1:]).all()
    for stage in STAGES[1:]:
        assert (now[stage].lengths == before[stage].lengths)[whole].all()


@pytest.mark.parametrize(("min_rows", "last"), [(7, 7), (10, 7), (11, 6), (80, 0)])
def test_the_message_names_the_last_possible_fold(min_rows, last):
    series = integers(64, 100)
    for fold in range(last + 1):
        training = split_spans(series, [-20, -10], "time", fold, min_rows)["train"].lengths
        assert training.max() == 80 - 10 * fold >= min_rows
    fits = f"only folds? 0{f' to {last}' if last else ''} of .* leave a series the {min_rows} training rows that one"
    with pytest.raises(InputError, match=f"data.fold is {last + 1}, but {fits}"):
        split_spans(series, [-20, -10], "time", last + 1, min_rows)


def test_a_fold_needs_a_training_window():
    with pytest.raises(InputError, match="only fold 0 of data.split"):
        build_data(20, split=[0.5, 0.5], fold=1)


def test_rows_after_the_test_part_do_not_affect_a_fold():
    given, changed = integers(100), integers(100)
    changed.values[80:] = 1e6
    first, second = (prepare(series, split=[-20, -10], fold=2) for series in (given, changed))
    assert first.spec == second.spec
    for stage in STAGES:
        for one, other in zip(first.loaders[stage], second.loaders[stage], strict=True):
            assert np.array_equal(one.targets.target, other.targets.target)
            assert np.array_equal(one.inputs.past_target, other.inputs.past_target)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fold": -1}, "data.fold is -1; it must be at least 0"),
        ({"fold": 1, "split_by": "series", "split": [1, 1]}, "data.fold is 1, but data.split_by is 'series'"),
    ],
)
def test_invalid_folds_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        build_data(50, 50, **change)


UTC_HOURS = np.arange("2020-03-27", "2020-04-02", dtype="datetime64[h]").astype("datetime64[us]")
STAGGERED = {
    "days": (np.arange("2020-01-01", "2020-05-20", dtype="datetime64[D]").astype("datetime64[us]"), ""),
    "months": (np.arange("2008-08", "2020-03", dtype="datetime64[M]").astype("datetime64[us]"), ""),
    "business days": (np.busday_offset("2020-01-01", np.arange(140)).astype("datetime64[us]"), ""),
    "hours when clocks are changed": (UTC_HOURS[:140], "Europe/Berlin"),
    "weeks by number": (np.arange(140), ""),
}
PARTS = {
    "later starts": (slice(0, 140), slice(60, 140), slice(0, 140)),
    "earlier ends": (slice(0, 140), slice(0, 71), slice(3, 140)),
    "one after the other": (slice(0, 60), slice(50, 100), slice(95, 140)),
}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("kind", STAGGERED)
@pytest.mark.parametrize("split", [(0.7, 0.15, 0.15), (0.6, 0.2), (0.5, 0.2, 0.2)])
def test_fractions_cut_series_of_different_dates_at_the_same_dates(kind, parts, split):
    """The latest dates before which at most the wanted share of all rows lies, found by trying all of them."""
    time, zone = STAGGERED[kind]
    series = dataclasses.replace(panel(time, *PARTS[parts]), zone=zone)
    if kind == "weeks by number" and parts == "earlier ends":
        series.time[:] += np.repeat([0, 5, 0], series.lengths)  # otherwise all but one begin at 0: see below
    spans = split_spans(series, split, "time")
    candidates = [*np.unique(series.time), series.time.max() + 1]
    counts = np.array([(series.time < candidate).sum() for candidate in candidates])
    borders = [candidates[np.flatnonzero(counts <= total * len(series.time) + 1e-6)[-1]] for total in np.cumsum(split)]
    borders = [series.time.min(), *borders, *borders[-1:] * (3 - len(borders))]
    for stage, low, high in zip(STAGES, borders, borders[1:], strict=False):
        rows = np.concatenate([np.arange(*span) for span in zip(*spans[stage], strict=True)])
        assert np.array_equal(rows, np.flatnonzero((series.time >= low) & (series.time < high)))
    assert find_overlap(series, spans, "time") is None


@pytest.mark.parametrize("fold", [1, 2])
def test_folds_of_fractions_do_not_overlap_in_time(fold):
    series = panel(STAGGERED["days"][0], slice(0, 140), slice(40, 140), slice(0, 120))
    before, now = (split_spans(series, (0.6, 0.1, 0.1), "time", number, min_rows=5) for number in (fold - 1, fold))
    assert find_overlap(series, now, "time") is None
    assert series.time[now["test"].stop - 1].max() < series.time[before["test"].start].min()


@pytest.mark.parametrize(
    "time",
    [None, np.tile(np.arange(20), 3)[:45], np.arange(45), np.tile(STAGGERED["days"][0][:15], 3)],
    ids=["no time", "steps of each series", "rows of the table", "the same dates"],
)
def test_series_without_a_shared_clock_are_cut_one_by_one(time):
    lengths = (20, 20, 5) if time is not None and time.dtype.kind != "M" and time[20] == 0 else (15, 15, 15)
    series = dataclasses.replace(integers(*lengths), time=time)
    spans = split_spans(series, (0.6, 0.2, 0.2), "time")
    assert spans["train"].lengths.tolist() == [int(0.6 * length + 1e-6) for length in lengths]
    assert spans["test"].lengths.tolist() == [length // 5 for length in lengths]


def test_overlaps_in_time_are_found_with_their_series_and_first_time():
    series = panel(STAGGERED["days"][0], slice(0, 100), slice(40, 140), slice(20, 120))
    day = np.datetime64("2020-01-01", "us")

    def overlap(split, by="time"):
        return find_overlap(series, split_spans(series, split, by), by)

    found = overlap((-20, -10))  # training to day 80, 120 and 100; tests from day 90, 130 and 110
    assert found[:4] == ("train", "test", 2, day + np.timedelta64(90, "D"))
    assert overlap((70, 20, 10)) == Overlap("train", "test", 1, *found[3:4], overlap((70, 20, 10)).dates)
    assert overlap((-60,))[:4] == ("train", "validation", 2, day + np.timedelta64(40, "D"))
    short = panel(STAGGERED["days"][0], slice(0, 100), slice(60, 110))  # the second one has no training rows
    late = find_overlap(short, split_spans(short, (-60, -30), "time"), "time")
    assert late[:4] == ("validation", "test", 1, day + np.timedelta64(70, "D"))
    mended = split_spans(series, [str(date) for date in found.dates], "time")
    assert find_overlap(series, mended, "time") is None
    assert [abs(mended[stage].rows - rows) < 3 for stage, rows in zip(STAGES, (240, 30, 30), strict=True)] == [True] * 3
    assert overlap((0.7, 0.2, 0.1)) is None and overlap((1, 1, 1), "series") is None
    alone, rows = panel(day + np.arange(40) * np.timedelta64(1, "D"), slice(0, 40)), integers(20, 20)
    numbered = dataclasses.replace(rows, time=np.arange(40))
    for unrelated in (alone, rows, numbered):
        assert find_overlap(unrelated, split_spans(unrelated, (-10, -5), "time"), "time") is None
