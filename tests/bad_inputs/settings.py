"""Bad settings of windows, and series that are too short or too few for them."""

from collections.abc import Callable

from bad_inputs import GOOD, TIMED, Case, Refused, Repaired
from bad_inputs.build import daily, hourly, lines, panel, with_column

IDS = (*TIMED, "data.id=s")
SHORT = panel(("a", daily()), ("b", daily(rows=4)))
TWO = panel(("a", daily()), ("b", daily()))


def refused(*overrides: str, pattern: str) -> Refused:
    return Refused(GOOD, [*TIMED, *overrides], pattern)


def with_values(cell: Callable[[int], object]) -> str:
    """A table of days whose values are a function of the row number."""
    return lines([f"{row.split(',')[0]},{cell(index)}" for index, row in enumerate(daily().splitlines()[1:])])


def without_values(start: int, stop: int) -> str:
    """A table of days in which the values of the rows from ``start`` to ``stop`` are missing."""
    return with_values(lambda row: "" if start <= row < stop else row)


CASES: dict[str, Case] = {
    "misspelt key": refused("+data.tagret=y", pattern=r"data.tagret: .* takes no argument tagret.* Nearest: target"),
    "text for a number": refused("data.past_steps=five", pattern=r"data.past_steps=five"),
    "fraction for a number": refused("data.horizon=2.5", pattern=r"data.horizon=2.5"),
    "null for a number": refused("data.batch_size=null", pattern=r"data.batch_size=null"),
    "no horizon": refused("data.horizon=0", pattern=r"data.horizon is 0; it must be at least 1"),
    "no past": refused("data.past_steps=-1", pattern=r"data.past_steps is -1; it must be at least 1"),
    "no batch": refused("data.batch_size=0", pattern=r"data.batch_size is 0; it must be at least 1"),
    "window longer than the data": refused(
        "data.past_steps=39", pattern=r"data.csv: series 0 has 40 steps, but .* needs 41"
    ),
    "one row": Refused(daily(rows=1), TIMED, r"data.csv: series 0 has 1 steps, but one window needs 7"),
    "one row too few": Refused(daily(rows=6), TIMED, r"data.csv: series 0 has 6 steps, but one window needs 7"),
    "training part too short": refused(
        "data.split=[6,20,14]", pattern=r"train part of .* 6 rows and no window; .* at least 7"
    ),
    "validation part too short": refused(
        "data.split=[30,1,9]", pattern=r"validation part of .* has 1 rows and no window"
    ),
    "test part too short": refused(
        "data.split=[30,9,1]", pattern=r"the test part of data.split=\[30, 9, 1\] has 1 rows and no"
    ),
    "fractions beyond one": refused("data.split=[0.8,0.3]", pattern=r"data.split is \[0.8, 0.3\].* sum to at most 1"),
    "counts beyond the rows": refused(
        "data.split=[30,9,9]", pattern=r"data.split is \[30, 9, 9\].*40 steps.* at most 40"
    ),
    "no training part": refused(
        "data.split=[0,0.5,0.5]", pattern=r"the first part, the training part, must be greater than 0"
    ),
    "one part": refused("data.split=[0.7]", pattern=r"data.split is \[0.7\]; it must be 2 or 3 fractions"),
    "dates that descend": refused(
        "data.split=['2020-02-01','2020-01-20']", pattern=r"data.split is .*; the dates must ascend"
    ),
    "date of nonsense": refused(
        "data.split=['2020-02-31','2020-03-20']", pattern=r"data.split holds '2020-02-31'; the time"
    ),
    "dates without a time column": Refused(
        GOOD,
        ["data.time=none", "data.split=['2020-01-20','2020-02-01']"],
        r"which are dates, but there is no time column \(set data.time\)",
    ),
    "split by something else": refused(
        "data.split_by=rows", pattern=r"data.split_by is 'rows'; it must be 'time' or 'series'"
    ),
    "unknown context": refused("data.context=beside", pattern=r"data.context is 'beside'; it must be .*inside"),
    "no season": refused("data.season=0", pattern=r"data.season is 0; it must be 'auto' or a number of steps"),
    "negative fold": refused("data.fold=-1", pattern=r"data.fold is -1; it must be at least 0"),
    "fold that does not fit": refused("data.fold=9", pattern=r"data.fold is 9, but only folds 0 to \d of data.split"),
    "fold of series": Refused(
        TWO,
        [*IDS, "data.split_by=series", "data.split=[1,1]", "data.fold=1"],
        r"data.fold is 1, but data.split_by is 'series'",
    ),
    "too many lanes": refused(
        "data.lanes=30", pattern=r"data.lanes is 30, and the \d+ rows of the train part .* set fewer"
    ),
    "no lanes": refused("data.lanes=0", pattern=r"data.lanes is 0; it must be null or at least 1"),
    "short series padded": Repaired(
        SHORT, IDS, r"1 of 2 series have too few rows in the training part for a window of 7 steps: ", rows=44
    ),
    "short series left out": Repaired(
        SHORT, [*IDS, "data.short_series=exclude"], r"1 of 2 series have too few rows .* and are left out", rows=44
    ),
    "short series refused": Refused(
        SHORT,
        [*IDS, "data.short_series=refuse"],
        r"data.csv: b has 4 steps, but one window needs 7 .*data.short_series=pad",
    ),
    "unknown rule for short series": refused(
        "data.short_series=drop", pattern=r"data.short_series is 'drop'; it must be"
    ),
    "unknown sampling": refused("data.sampling=random", pattern=r"data.sampling is 'random'; it must be"),
    "no windows in an epoch": refused(
        "data.epoch_windows=0", pattern=r"data.epoch_windows is 0; it must be .*at least 1"
    ),
    "lanes with drawn windows": refused(
        "data.sampling=series", "data.lanes=1", pattern=r"data.sampling is 'series', but data.la"
    ),
    "everything masked": refused("data.mask=1", pattern=r"data.mask is 1; it must be at least 0 and less than 1"),
    "mask in per cent": refused("data.mask=30", pattern=r"data.mask is 30; it must be at least 0 and less than 1"),
    "negative noise": refused("data.jitter=-0.1", pattern=r"data.jitter is -0.1; it must be at least 0"),
    "noise along lanes": refused("data.jitter=0.1", "data.lanes=1", pattern=r"data.jitter .*, but data.lanes is 1"),
    "negative mixture": refused("data.mix=-1", pattern=r"data.mix is -1; it must be at least 0"),
    "no half-life": refused("data.half_life=0", pattern=r"data.half_life is 0; it must be null or a number of steps"),
    "half-life in order": refused(
        "data.half_life=9", "data.shuffle=false", pattern=r"data.half_life is 9, which takes"
    ),
    "drawn windows in order": refused("data.sampling=length", "data.shuffle=false", pattern=r"data.shuffle is false"),
    "unknown part of the calendar": refused(
        "data.calendar=[weekdy]", pattern=r"data.calendar holds 'weekdy'.*nearest: weekday"
    ),
    "calendar without a time column": Refused(
        GOOD, ["data.time=null", "data.calendar=[weekday]"], r"data.calendar needs dates, but data.csv"
    ),
    "hour of days": refused(
        "data.calendar=[hour]", pattern=r"data.calendar: hour is 0 in every row of data.csv.*leave it out"
    ),
    "unknown holidays": refused("data.holidays=UX", pattern=r"data.holidays holds 'UX', not a country"),
    "lag of nothing": refused(
        "data.lags=[0]", pattern=r"data.lags holds 0; a lag must be a whole number of steps of at least 1"
    ),
    "lag twice": refused("data.lags=[3,3]", pattern=r"data.lags holds 3 twice"),
    "unknown rolling statistic": refused(
        "data.rolling=[median_3]", pattern=r"data.rolling holds 'median_3'.*must be one of mean"
    ),
    "share of a half": refused(
        "data.winsorise=0.5", pattern=r"data.winsorise is 0.5; it must be null or a share between 0 and"
    ),
    "column that exists already": Refused(
        with_column("holiday US", lambda row: row),
        [*TIMED, "data.known_covariates=[holiday US]", "data.holidays=US"],
        r"data.csv: 2 covariates are called 'holiday US': rename the column",
    ),
    "series that begins later": Repaired(
        panel(("a", daily()), ("b", daily(first="2020-02-01"))),
        IDS,
        r"fractions of all rows, cut at the same times in all series; 1 of 2 series without validation rows, 1 of 2",
        rows=80,
    ),
    "series that ends earlier": Repaired(
        panel(("a", daily()), ("b", daily(rows=25)), ("c", daily())),
        IDS,
        r"cut at the same times in all series; 1 of 3 series without test rows",
        rows=105,
    ),
    "series that begins within a test part of hours": Repaired(
        panel(("a", hourly()), ("b", hourly(first="2020-01-02 06:00"))),
        [*IDS, "data.split=[0.4,0.2,0.4]"],
        r"data.split=\[0.4, 0.2, 0.4\] are fractions of all rows, cut at the same times in all series",
        rows=80,
    ),
    "training part without values": Refused(
        without_values(0, 28), TIMED, r"the train part of data.split=.* has no observed value of y to learn from"
    ),
    "validation part without values": Refused(
        without_values(28, 34), TIMED, r"the validation part .* no observed value of y to choose the best weights by"
    ),
    "test part without values": Repaired(
        without_values(34, 40), TIMED, r"the test part .* no observed value of y, so that its errors", missing=6
    ),
    "constant training part": Repaired(
        with_values(lambda row: row if row >= 28 else 5), TIMED, r"MASE is undefined for the series: no two values 7"
    ),
    "training part that repeats its season": Repaired(
        with_values(lambda row: row % 7), TIMED, r"no two values 7 steps apart differ in the training part"
    ),
    "season longer than the training part": Repaired(
        GOOD, [*TIMED, "data.season=28"], r"MASE is undefined for the series: no two values 28 steps apart in the tr"
    ),
    "one constant series": Repaired(
        panel(("a", with_values(lambda row: row**2)), ("b", with_values(lambda row: 0))),
        IDS,
        r"MASE is undefined for 1 of 2 series \(b\): no two values 7 steps apart differ",
        rows=80,
    ),
    "hours of a calendar": Repaired(hourly(), [*TIMED, "data.calendar=[hour]"], ""),
}
