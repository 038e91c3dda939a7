"""Everything that is found out about a data set, in one record: counts of all rows, and a close look at some series."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels.description.advice import Advice, advise, room
from seqmodels.description.components import Behaviour, behaviour, shortest
from seqmodels.description.counts import Column, Range, columns, ranges
from seqmodels.description.curves import Curve, training_curves
from seqmodels.description.seasons import Correlogram, correlogram, find_season, reach, usual_seasons
from seqmodels.errors import require_at_least
from seqmodels.report.formatting import format_time, join_names, pluralise
from seqmodels.report.summary import format_size, format_span

LAGS = 40  # of the autocorrelation, at least, where the curves are long enough
MOST_LAGS = 1_000


class DescriptionOptions:
    """How closely to look: at how many ``curves`` (channels of series) for their behaviour, and how many are drawn.

    ``lags`` of the autocorrelation; null: 40 or as many as show the season, at most a third of the training span.
    """

    def __init__(self, curves: int = 60, drawn: int = 6, lags: int | None = None):
        require_at_least(1, "description", curves=curves, drawn=drawn, lags=1 if lags is None else lags)
        self.curves, self.drawn, self.lags = curves, drawn, lags


class Description(NamedTuple):
    """What is known about the data; figures of values are those of the training span."""

    data: Any  # the datamodule: its series, spans and settings
    facts: tuple[tuple[str, str], ...]  # what it is, in words
    ranges: tuple[Range, ...]  # one for each channel
    columns: tuple[Column, ...]
    curves: tuple[tuple[Curve, ...], ...]  # what was looked at closely, for each channel
    behaviours: tuple[Behaviour, ...]
    correlograms: tuple[Correlogram | None, ...]
    advice: Advice
    left_out: tuple[str, ...]  # sentences about what could not be said


def describe(data: Any, options: DescriptionOptions, seed: int) -> Description:
    """Look at ``data``, a datamodule that is set up; ``seed`` draws the sample."""
    series, span = data.series, data.spans["train"]
    curves = training_curves(series, span, options.curves, seed)
    everything = [curve for channel in curves for curve in channel]
    season, found = find_season(everything, usual_seasons(series))
    given = None if data.season == "auto" else int(data.season)
    steps = given or (season.steps if season is not None else 1)
    lags = options.lags or lags_for(everything, steps)
    correlograms = [correlogram(channel, lags) for channel in curves]
    behaviours = [behaviour(series.channels[i], channel, steps) for i, channel in enumerate(curves)]
    far = max((reach(one) for one in correlograms if one is not None), default=0)
    values = ranges(series, span, seed)
    return Description(
        data=data,
        facts=tuple(facts(data, curves)),
        ranges=tuple(values),
        columns=tuple(columns(series)),
        curves=tuple(tuple(channel) for channel in curves),
        behaviours=tuple(behaviours),
        correlograms=tuple(correlograms),
        advice=advise(season, found, far, room(data), given),
        left_out=tuple(left_out(len(series), values, correlograms, behaviours, steps)),
    )


def lags_for(curves: Sequence[Curve], season: int) -> int:
    """Three short seasons, a long one and a little more, and never more than a third of the longest curve."""
    wanted = max(LAGS, 3 * season if season <= LAGS else season + LAGS)
    longest = max((len(curve.values) for curve in curves), default=0)
    return max(1, min(wanted, MOST_LAGS, longest // 3))


def facts(data: Any, curves: Sequence[Sequence[Curve]]) -> list[tuple[str, str]]:
    """What the data are, how they are split, and what of them was looked at closely."""
    series, sample = data.series, len(curves[0])
    length = f", median length {int(np.median(series.lengths)):,}" if np.ptp(series.lengths) else ""
    found = [
        ("data", str(series.source)),
        ("series", format_size(series) + length),
        ("channels", join_names(series.channels)),
    ]
    names = [*series.past_covariate_names, *series.known_covariate_names, *series.static_names]
    if names:
        found.append(("covariates", join_names(names)))
    if series.time is not None:
        first, last = series.offsets[:-1], series.offsets[1:] - 1
        begin, end = format_time(series.local_time(first).min()), format_time(series.local_time(last).max())
        zone = f", read in {series.zone}" if series.zone else ""
        step = f", one step per {series.frequency}" if series.frequency else ""
        found.append(("time", f"{begin} ... {end}{zone}{step}"))
    found += [(stage, format_span(data, stage)) for stage in data.spans]
    if series.missing:
        share = series.missing / series.values.size
        found.append(("missing", f"{pluralise(series.missing, 'target value')} ({share:.2%})"))
    if sample < len(series) or len(curves) < len(series.channels):
        looked = f"at {sample:,} of {len(series):,} series, spread evenly over them"
        channels = f"{len(curves):,} of {len(series.channels):,} channels"
        found.append(("a close look", f"{looked}, and {channels}" if len(curves) < len(series.channels) else looked))
    newest = [len(curve.values) for curve in curves[0] if curve.first > data.spans["train"].start[curve.series]]
    if newest:
        found.append(("autocorrelations", f"of the newest {max(newest):,} steps of long series"))
    return found


def left_out(
    series: int,
    ranges: Sequence[Range],
    correlograms: Sequence[Correlogram | None],
    behaviours: Sequence[Behaviour],
    season: int,
) -> Iterator[str]:
    """One sentence for each thing that cannot be said, and why."""
    for one in ranges:
        if one.constant:
            where = f" in {one.constant:,} of {series:,} series" if series > 1 else ""
            yield f"{one.channel} never changes{where} (training part), which is left out of what curves are like."
    pairs = list(zip(behaviours, correlograms, strict=True))
    silent = [one.channel for one, shown in pairs if shown is None]
    if silent:
        yield f"No autocorrelation of {join_names(silent)}: no two values in the training part differ."
    short = [one.channel for one, shown in pairs if shown is not None and not one.curves]
    if short:
        least = shortest(season)
        yield f"No trend, season or differencing of {join_names(short)}: that takes {least:,} training steps."
