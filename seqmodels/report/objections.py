"""Objections to a result: coded checks of the measurements, one sentence each; none of them changes a number.

Each code has a line in ``docs/objections.md``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr

from datamodules.series import SeriesSet, Span
from seqmodels.metrics import MODEL, NAIVE, SEASONAL_NAIVE, SINGLE_MEMBER
from seqmodels.report.output import format_number, pluralise
from seqmodels.report.results import Results

RIDGE = "ridge"
FEWEST_WINDOWS = 30
CHANCE = 0.05  # differences of a larger p-value count as none
COPY = 0.1  # mean difference of forecasts from the last value, relative to that of the truth, of a copy
UNRELATED = 0.1  # correlation of the changes that are forecast with those that come, of a noisy copy
NOISY_COPY = 0.5
LEAD_MARGIN = 1.05  # times the naive error of a lead
BAND, COVERED_LEAST = 0.8, 0.7
WIDER = 1.02  # times the width of naive bands
LEVEL_CHANGE, LEVEL_FACTOR = 0.9, 2.0  # standard deviations; times the largest change before
ERROR_FACTOR = 2.0  # of the naive errors of test and validation
IMPROVING = 0.01  # share by which the last epoch was better than the best of all before
MOST_SERIES = 200  # whose levels are compared


class Objection(NamedTuple):
    """A code, which stays the same, and one sentence with the figures."""

    code: str
    text: str


class Bands(NamedTuple):
    """Calibrated on the validation windows: share of test values inside, and width in units of the seasonal error."""

    coverage: float
    width: float
    naive_width: float


class Evidence(NamedTuple):
    """Measurements of a run, by stage and row of the result table; empty, None or NaN where unknown.

    ``errors``: truth less forecast in units of the seasonal error, (windows, H, C), NaN if not observed; of very many
    windows some. ``moments`` and ``series`` (windows,): time or step of the origin, and index of the series, of the
    test windows. ``validations``: monitored value after each epoch. ``levels``: see ``level_changes``. ``seconds``: of
    training, by row.
    """

    name: str
    results: Results
    windows: Mapping[str, int]
    errors: Mapping[str, Mapping[str, np.ndarray]]
    moments: np.ndarray
    series: np.ndarray
    bands: Bands | None = None
    best_epoch: int | None = None
    epochs: int = 0
    validations: Sequence[float] = ()
    levels: tuple[float, float] | None = None
    overlapping: int = 0  # series with training rows after the first test time of another series
    seconds: Mapping[str, float] = {}

    @property
    def measure(self) -> str:
        """The measure that is compared: MASE, or MAE where that is undefined."""
        return "mae" if math.isnan(self.results["test"][MODEL].summary()["mase"]) else "mase"

    def error(self, row: str, stage: str = "test") -> float:
        return self.results[stage][row].summary()[self.measure]

    @property
    def naive(self) -> str:
        """The better one of the naive forecasts on the test windows."""
        rows = [row for row in (SEASONAL_NAIVE, NAIVE) if row in self.results["test"]]
        return min(rows, key=self.error)

    def against(self, row: str) -> str:
        """``MASE 1.12 against 0.98``."""
        figures = (format_number(self.error(one)) for one in (MODEL, row))
        return f"{self.measure.upper()} {' against '.join(figures)}"


Check = Callable[[Evidence], str | None]


def find_objections(evidence: Evidence) -> list[Objection]:
    """All objections to a run with test windows; none without."""
    if MODEL not in evidence.results.get("test", {}):
        return []
    found = ((code, check(evidence)) for code, check in CHECKS.items())
    return [Objection(code, text) for code, text in found if text]


def worse_than_naive(evidence: Evidence) -> str | None:
    row = evidence.naive
    if evidence.error(MODEL) > evidence.error(row):
        return f"on the test windows, {evidence.name} is worse than {row}: {evidence.against(row)}."
    return None


def no_better_than_naive(evidence: Evidence) -> str | None:
    return _perhaps_chance(evidence, evidence.naive)


def worse_than_ridge(evidence: Evidence) -> str | None:
    if RIDGE in evidence.results["test"] and evidence.error(MODEL) > evidence.error(RIDGE):
        return (
            f"on the test windows, {evidence.name} is worse than ridge: {evidence.against(RIDGE)}{_slower(evidence)}."
        )
    return None


def no_better_than_ridge(evidence: Evidence) -> str | None:
    return _perhaps_chance(evidence, RIDGE, _slower(evidence)) if RIDGE in evidence.results["test"] else None


def worse_than_rival(evidence: Evidence) -> str | None:
    """Worse than another model beside it, such as ``auto_ets``."""
    known = (MODEL, SINGLE_MEMBER, NAIVE, SEASONAL_NAIVE, RIDGE)
    rivals = [row for row in evidence.results["test"] if row not in known]
    row = min(rivals, key=evidence.error, default=MODEL)
    if not evidence.error(MODEL) > evidence.error(row):
        return None
    slower = _slower(evidence, row)
    return f"on the test windows, {evidence.name} is worse than {row}: {evidence.against(row)}{slower}."


def _slower(evidence: Evidence, row: str = RIDGE) -> str:
    """The seconds of training beside those of another row, if these are fewer."""
    own, other = (evidence.seconds.get(one, math.nan) for one in (MODEL, row))
    return f"; training took {own:.1f} s against {other:.1f} s" if own > other else ""


def _perhaps_chance(evidence: Evidence, row: str, more: str = "") -> str | None:
    """A sentence if the model is better than a row, but the test of the difference cannot tell it from chance."""
    if not evidence.error(MODEL) <= evidence.error(row):
        return None
    chance = difference_by_chance(evidence, row)
    if chance is None or chance <= CHANCE:
        return None
    return (
        f"on the test windows, {evidence.name} is better than {row} by no more than chance may bring:"
        f" {evidence.against(row)}, p = {chance:.2f}{more}."
    )


def copies_last_value(evidence: Evidence) -> str | None:
    errors = evidence.errors["test"]
    change, forecast = errors[NAIVE], errors[NAIVE] - errors[MODEL]  # of the truth and of the forecast, from the last
    known = np.isfinite(change)
    change, forecast = change[known].astype(np.float64), forecast[known].astype(np.float64)
    if not np.abs(change).sum() > 0:
        return None
    share = float(np.abs(forecast).sum() / np.abs(change).sum())
    varies = min(forecast.std(), change.std()) > 0
    related = float(np.corrcoef(forecast, change)[0, 1]) if varies else 0.0
    if share >= COPY and not (share < NOISY_COPY and related < UNRELATED):
        return None
    return (
        f"the forecasts of {evidence.name} are little more than the last value, copied: they differ from it by"
        f" {share:.0%} of what the truth does, with a correlation of {related:.2f} between the changes."
    )


def drift(evidence: Evidence) -> str | None:
    """Level or naive errors of the test part far from those of the validation part."""
    parts = []
    if evidence.levels is not None:
        change, before = evidence.levels
        if change > LEVEL_CHANGE and change > LEVEL_FACTOR * before:
            parts.append(f"the level changes by {change:.1f} standard deviations, by {before:.1f} at most before")
    if "validation" in evidence.results and evidence.naive in evidence.results["validation"]:
        early, late = (evidence.error(evidence.naive, stage) for stage in ("validation", "test"))
        if early > 0 and late > 0 and max(early / late, late / early) > ERROR_FACTOR:
            values = f"{format_number(late)} against {format_number(early)}"
            parts.append(f"the {evidence.measure.upper()} of {evidence.naive} is {values}")
    if not parts:
        return None
    return f"the test part is far from the validation part, which chose the weights: {', and '.join(parts)}."


def lead_worse_than_naive(evidence: Evidence) -> str | None:
    rows = evidence.results["test"]
    model = rows[MODEL].mean(dim=1)
    naive = {row: rows[row].mean(dim=1) for row in (SEASONAL_NAIVE, NAIVE) if row in rows}
    worse = []
    for lead in range(len(model)):
        row = min(naive, key=lambda one: naive[one][lead].scaled)
        own, other = model[lead].scaled, naive[row][lead].scaled
        if own > LEAD_MARGIN * other:
            worse.append((own / other, lead + 1, row, own, other))
    if not worse or len(model) == 1 or worse_than_naive(evidence):
        return None
    _, lead, row, own, other = max(worse)
    return (
        f"at {len(worse)} of {len(model)} steps ahead, a naive forecast is better than {evidence.name}, most at step"
        f" {lead}: {row} has a MASE of {format_number(other)} against {format_number(own)}."
    )


def bands_cover_too_little(evidence: Evidence) -> str | None:
    bands = evidence.bands
    if bands is None or not bands.coverage < COVERED_LEAST:
        return None
    return (
        f"the band that holds {BAND:.0%} of the values of the validation windows holds {bands.coverage:.0%} of those of"
        " the test windows."
    )


def bands_wider_than_naive(evidence: Evidence) -> str | None:
    bands = evidence.bands
    if bands is None or not bands.width > WIDER * bands.naive_width:
        return None
    return (
        f"the {BAND:.0%} band is wider than the one of a naive forecast: {format_number(bands.width)} against"
        f" {format_number(bands.naive_width)} in units of the seasonal error."
    )


def few_windows(evidence: Evidence) -> str | None:
    few = {stage: count for stage, count in evidence.windows.items() if 0 < count < FEWEST_WINDOWS}
    if not few:
        return None
    counts = " and ".join(pluralise(count, f"{stage} window") for stage, count in few.items())
    return f"these figures come from only {counts}; give that part more rows in data.split."


def best_epoch_first(evidence: Evidence) -> str | None:
    if evidence.best_epoch != 1 or evidence.epochs < 3:
        return None
    return f"the first of {evidence.epochs} epochs was the best one: lower optimizer.lr, or take a smaller model."


def best_epoch_last(evidence: Evidence) -> str | None:
    """Training stopped while the validation error was still falling."""
    values = list(evidence.validations)
    if evidence.best_epoch != evidence.epochs or len(values) < 2 or not min(values[:-1]) > 0:
        return None
    gain = 1 - values[-1] / min(values[:-1])
    if not gain > IMPROVING:
        return None
    return (
        f"the last of {evidence.epochs} epochs was the best one, {gain:.0%} better than all before: training longer"
        " may help (optimizer_steps, trainer.max_epochs)."
    )


def test_overlaps_training(evidence: Evidence) -> str | None:
    if not evidence.overlapping:
        return None
    return (
        f"training rows of {evidence.overlapping:,} series lie after the first test time, so that the test is no"
        " forecast of an unknown future; give dates in data.split."
    )


CHECKS: dict[str, Check] = {
    "worse-than-naive": worse_than_naive,
    "no-better-than-naive": no_better_than_naive,
    "worse-than-ridge": worse_than_ridge,
    "no-better-than-ridge": no_better_than_ridge,
    "worse-than-rival": worse_than_rival,
    "copies-last-value": copies_last_value,
    "drift": drift,
    "lead-worse-than-naive": lead_worse_than_naive,
    "bands-cover-too-little": bands_cover_too_little,
    "bands-wider-than-naive": bands_wider_than_naive,
    "few-windows": few_windows,
    "best-epoch-first": best_epoch_first,
    "best-epoch-last": best_epoch_last,
    "test-overlaps-training": test_overlaps_training,
}


def difference_by_chance(evidence: Evidence, row: str) -> float | None:
    """p-value of the difference of the mean absolute scaled errors of the model and a row; None if undecidable."""
    errors = evidence.errors["test"]
    if row not in errors or len(evidence.moments) != len(errors[MODEL]):
        return None
    losses = np.abs(errors[MODEL]).astype(np.float64) - np.abs(errors[row])
    known = np.isfinite(losses)
    counts, sums = known.sum(axis=(1, 2)), np.where(known, losses, 0.0).sum(axis=(1, 2))
    return compare_losses(sums, counts, evidence.series, evidence.moments, losses.shape[1])


def compare_losses(
    differences: np.ndarray, counts: np.ndarray, series: np.ndarray, moments: np.ndarray, steps: int
) -> float | None:
    """p-value of a mean of 0 of differences of losses, sums over ``counts`` values of each window; None if undecidable.

    Over time, with the windows of all series from the same origin taken together; over series, if there are more
    series than origins. All arrays are (windows,); ``steps``: origins that a horizon spans.
    """
    origins, many = len(np.unique(moments)), len(np.unique(series))
    groups, steps = (moments, steps) if origins >= many else (series, 1)
    _, place = np.unique(groups, return_inverse=True)
    total, weight = np.bincount(place, differences), np.bincount(place, counts)
    return diebold_mariano(total[weight > 0] / weight[weight > 0], steps)


def diebold_mariano(differences: np.ndarray, steps: int) -> float | None:
    """Two-sided p-value of a mean of 0, for differences of losses of forecasts up to ``steps`` steps ahead, in time.

    Source: Diebold and Mariano 1995, corrected as in Harvey, Leybourne and Newbold 1997. Where the variance that these
    take is not positive, its terms are weighted as by Bartlett. None for fewer than 30 differences, for fewer than
    twice the steps, and if all differences are the same.
    """
    count = len(differences)
    if count < max(FEWEST_WINDOWS, 2 * steps):
        return None
    centred = differences - differences.mean()
    covariances = np.array([(centred[lag:] * centred[: count - lag]).sum() / count for lag in range(steps)])
    if not covariances[0] > 1e-30:
        return None
    variance = covariances[0] + 2 * covariances[1:].sum()
    if not variance > 0:
        variance = covariances[0] + 2 * (covariances[1:] * (1 - np.arange(1, steps) / steps)).sum()
    correction = (count + 1 - 2 * steps + steps * (steps - 1) / count) / count
    statistic = differences.mean() / math.sqrt(variance / count) * math.sqrt(correction)
    return float(2 * stdtr(count - 1, -abs(statistic)))


def level_changes(series: SeriesSet, spans: Mapping[str, Span]) -> tuple[float, float] | None:
    """Change of the level from the validation to the test part, and the largest between parts of that length before.

    Both in standard deviations of the validation part, medians over channels and some of the series. None unless the
    parts follow each other in time and a series has at least three parts of the length of its validation part before
    its test part.
    """
    validation, test = spans["validation"], spans["test"]
    follows = (validation.lengths > 0) & (test.lengths > 0) & (test.start == validation.stop)
    chosen = np.flatnonzero(follows & (test.start - series.offsets[:-1] >= 3 * validation.lengths))
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(MOST_SERIES, len(chosen))).astype(np.int64)]
    found = [change for one in chosen.tolist() for change in _changes_of(series, one, spans)]
    return tuple(np.median(found, axis=0).tolist()) if found else None


def _changes_of(series: SeriesSet, index: int, spans: Mapping[str, Span]) -> Iterator[tuple[float, float]]:
    """The two changes for each channel of a series where they are defined."""
    validation, test = spans["validation"], spans["test"]
    border, length = int(test.start[index]), int(validation.lengths[index])
    parts = min(8, (border - int(series.offsets[index])) // length)
    rows = slice(border - parts * length, int(test.stop[index]))
    values = series.values[rows].astype(np.float64)
    if series.observed is not None:
        values[~series.observed[rows]] = np.nan
    for column in values.T:
        blocks = [column[place * length : (place + 1) * length] for place in range(parts)] + [column[parts * length :]]
        if all(np.isfinite(block).any() for block in blocks):
            means, deviation = [float(np.nanmean(block)) for block in blocks], float(np.nanstd(blocks[-2]))
            changes = np.abs(np.diff(means))
            if deviation > 0:
                yield float(changes[-1] / deviation), float(changes[:-1].max() / deviation)
