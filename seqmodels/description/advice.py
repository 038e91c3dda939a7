"""Rules of thumb that suggest season, window and horizon, each with its reason."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.base import WindowDataModule
from seqmodels.description.seasons import Season
from seqmodels.report.output import pluralise

SHORT_SEASON = 60  # steps up to which two seasons fit into a window, and the horizon is one season
DEFAULT_HORIZON = 10  # steps, without a season
LEAST_WINDOW = 20  # steps, without a season
MANY_SEASONS = 8  # short ones in a window, where the training part has eight such windows
YEARLY = {"day": "day_of_year", "business day": "day_of_year", "week": "week"}  # data.calendar by frequency
MANY_SERIES = 20  # from here on there are enough windows even if each series gives few


class AvailableSteps(NamedTuple):
    """Limits of the data on the number of steps in a window."""

    training: int  # steps of a typical series in the training part
    evaluation: int  # and in the shorter one of the validation and test parts
    inside: bool  # True if evaluation windows must lie within their part
    many: bool  # True if there are many series


class Suggestion(NamedTuple):
    """A value for a config key, and the reason as one sentence."""

    key: str
    value: int
    reason: str


class Choice(NamedTuple):
    """Like a suggestion, for a value that is no number."""

    key: str
    value: str
    reason: str


class Advice(NamedTuple):
    """Suggested settings, each based on the ones before."""

    season: Suggestion
    window: Suggestion
    horizon: Suggestion

    @property
    def overrides(self) -> list[str]:
        """The settings as typed on the command line."""
        return [f"{one.key}={one.value}" for one in (self.window, self.horizon, self.season)]


def available_steps(data: WindowDataModule) -> AvailableSteps:
    """Median length of the series in each part, or the shortest one if short series are refused."""
    typical = np.min if data.short_series == "refuse" else np.median
    lengths = {stage: span.lengths[span.lengths > 0] for stage, span in data.spans.items()}
    steps = {stage: int(typical(present)) for stage, present in lengths.items() if len(present)}
    evaluation = min((length for stage, length in steps.items() if stage != "train"), default=1)
    return AvailableSteps(steps.get("train", 1), evaluation, data.context == "inside", len(data.series) >= MANY_SERIES)


def advise(
    season: Season | None,
    found: Sequence[Season],
    last_lag: int,
    available: AvailableSteps,
    given: int | None,
    horizon: int | None = None,
    window: int | None = None,
) -> Advice:
    """Suggest settings.

    ``found``: all seasons found; ``last_lag``: the last lag with a relevant partial autocorrelation; ``given``: the
    season that the user set, None for "auto"; ``horizon`` and ``window``: steps that the user set, which are kept.
    """
    steps = given if given is not None else season.steps if season is not None else 1
    if horizon is None:
        horizon, horizon_reason = _horizon(steps, available)
    else:
        horizon_reason = f"as data.horizon={horizon} says."
    wanted, window_reason = _window(steps, max((one.steps for one in found), default=1), last_lag, horizon, available)
    if window is not None:
        other = "" if window == wanted else f"; {wanted:,} would be suggested: {window_reason.rstrip('.')}"
        window_reason = f"as data.past_steps={window} says{other}."
    window = wanted if window is None else window
    season_reason = f"as data.season={given} says." if given is not None else _season_reason(season, found)
    return Advice(
        Suggestion("data.season", steps, season_reason),
        Suggestion("data.past_steps", window, window_reason),
        Suggestion("data.horizon", horizon, horizon_reason),
    )


def _season_reason(season: Season | None, found: Sequence[Season]) -> str:
    if season is None:
        return "no season: the autocorrelation shows no period often enough, be it usual for this frequency or not."
    name = season.meaning or "no calendar period (so it may vary), but the highest peak of the autocorrelation"
    others = [f"{one.steps:,} ({one.meaning}, {one.correlation:.2f})" for one in found if one is not season]
    also = f" Also found: {', '.join(others)}." if others else ""
    return (
        f"{name}: without their moving average, values one season apart have a correlation of"
        f" {season.correlation:.2f}.{also}"
    )


def _horizon(season: int, available: AvailableSteps) -> tuple[int, str]:
    """One short season, or a twelfth of a long one."""
    if season < 2:
        wanted, reason = DEFAULT_HORIZON, "a few steps, as there is no season"
    elif season <= SHORT_SEASON:
        wanted, reason = season, "one season"
    else:
        wanted, reason = round(season / 12), f"a twelfth of the season of {season:,} steps"
    one_window = available.many and not available.inside  # one evaluation window per series is enough
    evaluation = available.evaluation if one_window else available.evaluation // 2
    most = max(1, min(evaluation, available.training // 4))
    if wanted > most:
        return most, f"{reason} would be {wanted:,}, but the parts only have room for {most:,}; set what you need."
    return wanted, f"{reason}; set how far ahead you need to know."


def _window(season: int, longest: int, last_lag: int, horizon: int, available: AvailableSteps) -> tuple[int, str]:
    """Whole seasons: eight short ones or two of the longest found where there are rows for it, else two; or a long one.

    ``longest`` season found, in steps. Relevant lags and two horizons fit in, too.
    """
    relevant = f"partial autocorrelations are relevant up to {pluralise(last_lag, 'step')} back"
    relevant = relevant if last_lag else "no partial autocorrelation is relevant"
    least = max(2 * horizon, last_lag)
    if season < 2:
        wanted, reason = max(LEAST_WINDOW, 2 * horizon, 2 * last_lag), f"{relevant}, and there is no season"
    else:
        seasons = max(2, -(-least // season)) if season <= SHORT_SEASON else 1
        if season <= SHORT_SEASON:
            room = available.training // 8
            many = max((n for n in (MANY_SEASONS * season, 2 * longest) if n <= room), default=room) // season
            seasons = max(seasons, min(many, max(MANY_SEASONS, 2 * longest // season)))
        wanted, reason = seasons * season, f"{pluralise(seasons, 'whole season')}; {relevant}"
    most = (available.training * 9 // 10 if available.many else available.training // 2) - horizon
    if available.inside:
        most = min(most, available.evaluation - horizon)
    if wanted <= most:
        return wanted, f"{reason}."
    fitting = max(1, most // season * season or most)
    return fitting, f"{reason}; that would be {wanted:,}, but the parts only have room for {fitting:,}."


def advise_calendar(found: Sequence[Season], chosen: Advice, frequency: str) -> list[Choice]:
    """The time of the year as a covariate, if a year was found that does not fit into a window."""
    steps = max(chosen.season.value, chosen.window.value)
    year = next((one for one in found if one.meaning == "a year" and one.steps > steps), None)
    if year is None or frequency not in YEARLY:
        return []
    reason = f"a year of {year.steps:,} steps (correlation {year.correlation:.2f}) does not fit into the window."
    return [Choice("data.calendar", f"[{YEARLY[frequency]}]", reason)]


def advise_scaler(scaler: str, differences: float) -> list[Choice]:
    """The scaler that ``model/scaler=auto`` takes with these settings, with the order of differencing."""
    order = "" if np.isnan(differences) else f" (d = {differences:.2g})"
    return [Choice("model/scaler", "auto", f"{scaler}{order}.")]
