"""Which season, window and horizon suit the data, and why: rules of thumb over what was measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.seasons import Season
from seqmodels.report.formatting import pluralise

SHORT = 60  # steps up to which a season counts as short: two of them fit into a window, and one is the horizon
HORIZON = 10  # steps, where there is no season to go by
LEAST_WINDOW = 20
MANY = 20  # series


class Room(NamedTuple):
    """How many steps a window may take, by the parts of the data."""

    training: int  # steps of a usual series in the training part
    evaluation: int  # and in the shorter one of the validation and test parts
    inside: bool  # whether windows of evaluation must lie within their part
    many: bool  # series, which give enough windows even where each one gives few


class Suggestion(NamedTuple):
    """A value and the reason for it, one sentence."""

    key: str
    value: int
    reason: str


class Advice(NamedTuple):
    """What to set, in the order in which one follows from the other."""

    season: Suggestion
    window: Suggestion
    horizon: Suggestion

    @property
    def overrides(self) -> list[str]:
        """As they are typed on the command line."""
        return [f"{one.key}={one.value}" for one in (self.window, self.horizon, self.season)]


def room(data: Any) -> Room:
    """Median lengths over the series that take part, or the shortest ones where the data refuse short series."""
    usual = np.min if data.short_series == "refuse" else np.median
    parts = {stage: span.stop - span.start for stage, span in data.spans.items()}
    steps = {stage: int(usual(lengths[lengths > 0])) for stage, lengths in parts.items() if lengths.any()}
    evaluation = min((length for stage, length in steps.items() if stage != "train"), default=1)
    return Room(steps.get("train", 1), evaluation, data.context == "inside", len(data.series) >= MANY)


def advise(season: Season | None, found: Sequence[Season], reach: int, room: Room, given: int | None) -> Advice:
    """``reach``: the last lag of the partial autocorrelation that matters; ``given``: the season that the user set."""
    steps = given if given is not None else season.steps if season is not None else 1
    horizon, horizon_reason = _horizon(steps, room)
    window, window_reason = _window(steps, reach, horizon, room)
    season_reason = f"as data.season={given} says." if given is not None else _season_reason(season, found)
    return Advice(
        Suggestion("data.season", steps, season_reason),
        Suggestion("data.past_steps", window, window_reason),
        Suggestion("data.horizon", horizon, horizon_reason),
    )


def _season_reason(season: Season | None, found: Sequence[Season]) -> str:
    if season is None:
        return "none: no period, usual for this frequency or not, shows often enough in the autocorrelation."
    name = season.meaning or "no period of the calendar (so it may vary), but the highest peak of the autocorrelation"
    others = [f"{one.steps:,} ({one.meaning}, {one.correlation:.2f})" for one in found if one is not season]
    more = f" Also found: {', '.join(others)}." if others else ""
    apart = f"values one season apart correlate by {season.correlation:.2f} once the moving mean is taken out"
    return f"{name}: {apart}.{more}"


def _horizon(season: int, room: Room) -> tuple[int, str]:
    if season < 2:
        wanted, reason = HORIZON, "no season to go by, so a few steps"
    elif season <= SHORT:
        wanted, reason = season, "one season"
    else:
        wanted, reason = round(season / 12), f"a twelfth of the season of {season:,} steps"
    whole = room.many and not room.inside  # so that one window of evaluation for each series is enough
    most = max(1, min(room.evaluation if whole else room.evaluation // 2, room.training // 4))
    if wanted > most:
        return most, f"{reason} would be {wanted:,}, and the parts have room for {most:,}: set what you need."
    return wanted, f"{reason}: set what you need to know ahead."


def _window(season: int, reach: int, horizon: int, room: Room) -> tuple[int, str]:
    """At least two short seasons or a long one, and what the partial autocorrelation reaches; whole seasons."""
    matter = f"partial autocorrelations matter up to {pluralise(reach, 'step')} back"
    matter = matter if reach else "no partial autocorrelation matters"
    if season < 2:
        wanted, reason = max(LEAST_WINDOW, 2 * horizon, 2 * reach), f"{matter}, and there is no season"
    else:
        seasons = max(2 if season <= SHORT else 1, -(-reach // season) if season <= SHORT else 1)
        wanted, reason = seasons * season, f"{pluralise(seasons, 'whole season')}; {matter}"
    most = (room.training * 9 // 10 if room.many else room.training // 2) - horizon
    if room.inside:
        most = min(most, room.evaluation - horizon)
    if wanted <= most:
        return wanted, f"{reason}."
    fitting = max(1, most // season * season or most)
    return fitting, f"{reason}; that would be {wanted:,}, and the parts have room for {fitting:,}."
