"""Description of a data set: summaries of all rows, and the behaviour of a sample of training curves."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from datamodules.base import WindowDataModule
from seqmodels.config.build import build
from seqmodels.description.advice import (
    Advice,
    Choice,
    Suggestion,
    advise,
    advise_calendar,
    advise_scaler,
    available_steps,
)
from seqmodels.description.curves import Curve, channel_values, interpolate_gaps, sample_curves
from seqmodels.description.decomposition import Behaviour, analyse_channel, find_break, minimum_steps
from seqmodels.description.seasons import Correlogram, correlogram, find_season, last_relevant_lag, usual_periods
from seqmodels.description.summaries import ChannelSummary, ColumnSummary, summarise_channels, summarise_columns
from seqmodels.errors import InputError, require_at_least
from seqmodels.report.output import format_time, join_names, pluralise
from seqmodels.report.summary import describe_series, format_span, overlap_warning
from seqmodels.scalers.affine import WindowScaler, choose_scaler

DEFAULT_LAGS, MAX_LAGS = 40, 1_000  # of the autocorrelation, if the curves are long enough


class DescriptionOptions:
    """Extent of a description.

    ``curves``: number of curves (channels of series) whose behaviour is analysed.
    ``drawn``: number of panels in a figure, at most.
    ``lags`` of the autocorrelation; null for 40 or enough to show the season, at most a third of the training span.
    """

    def __init__(self, curves: int = 60, drawn: int = 6, lags: int | None = None):
        require_at_least(1, "description", curves=curves, drawn=drawn, lags=1 if lags is None else lags)
        self.curves, self.drawn, self.lags = curves, drawn, lags


class Description(NamedTuple):
    """Description of a data set; statistics of values are those of the training span."""

    data: WindowDataModule
    channels: tuple[ChannelSummary, ...]
    columns: tuple[ColumnSummary, ...]
    curves: tuple[tuple[Curve, ...], ...]  # the sample, by channel
    behaviours: tuple[Behaviour, ...]  # of the channels in the sample
    correlograms: tuple[Correlogram | None, ...]
    advice: Advice
    more: tuple[Choice, ...]  # covariates and scaler
    breaks: tuple[str, ...]  # one sentence for each channel that changes after the training part

    @property
    def suggestions(self) -> tuple[Suggestion | Choice, ...]:
        """All suggestions in the order in which they are shown."""
        return (*self.advice, *self.more)

    @property
    def overrides(self) -> list[str]:
        """The suggestions that differ from the defaults, as typed on the command line."""
        calendar = [f"{one.key}={one.value}" for one in self.more if one.key == "data.calendar"]
        return [*self.advice.overrides, *calendar]

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Name and text of each fact: contents of the series, split, and which sample was analysed."""
        return tuple(_list_facts(self.data, self.curves))

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence for each missing part of the description, with the reason."""
        return tuple(_list_left_out(self))


def set_up_data(node: DictConfig) -> tuple[WindowDataModule, str]:
    """The DataModule, set up, and the reason for which training would refuse its settings, or "".

    If they are refused, its windows have one past step and one step ahead. Raises InputError if the data cannot be
    read or split.
    """
    data: WindowDataModule = build(node)
    try:
        data.setup()
        return data, ""
    except InputError as error:
        if not hasattr(data, "series"):  # it was not read
            raise
        refusal = str(error)
    data = build(node, past_steps=1, horizon=1, lanes=None)
    data.setup()
    return data, f"Training refuses the settings as given; use the suggested ones: {refusal}"


def describe_data(
    data: WindowDataModule, options: DescriptionOptions, seed: int, kept: Collection[str] = ()
) -> Description:
    """Describe a DataModule that is set up; ``seed`` draws the sample.

    ``kept``: which of its arguments past_steps, horizon, calendar and scaler the user has set, so that they stay.
    """
    series, span = data.series, data.spans["train"]
    curves = sample_curves(series, span, options.curves, seed)
    every_curve = [curve for channel in curves for curve in channel]
    season, seasons = find_season(every_curve, usual_periods(series))
    given = None if data.season == "auto" else int(data.season)
    steps = given or (season.steps if season is not None else 1)
    lags = options.lags or choose_lags(every_curve, steps)
    correlograms = [correlogram(channel, lags) for channel in curves]
    behaviours = [analyse_channel(series.channels[i], channel, steps) for i, channel in enumerate(curves)]
    last_lag = max((last_relevant_lag(one) for one in correlograms if one is not None), default=0)
    horizon, window = (getattr(data, name) if name in kept else None for name in ("horizon", "past_steps"))
    advice = advise(season, seasons, last_lag, available_steps(data), given, horizon, window)
    dated = series.time is not None and series.time.dtype.kind == "M"
    more = advise_calendar(seasons, advice, series.frequency) if dated and "calendar" not in kept else []
    if "scaler" not in kept and data.spec.mean_error:
        orders = [one.differences for one in behaviours if not np.isnan(one.differences)]
        more += advise_scaler(name_centre(data, advice), float(np.mean(orders)) if orders else float("nan"))
    return Description(
        data=data,
        channels=tuple(summarise_channels(series, span, seed)),
        columns=tuple(summarise_columns(series, data.spec.shifts)),
        curves=tuple(tuple(channel) for channel in curves),
        behaviours=tuple(behaviours),
        correlograms=tuple(correlograms),
        advice=advice,
        more=tuple(more),
        breaks=tuple(describe_breaks(data, every_curve, steps)),
    )


def name_centre(data: WindowDataModule, advice: Advice) -> str:
    """Centre of forecasts with ``model/scaler=auto`` and these settings, unless the model corrects another forecast."""
    season, spec = advice.season.value, data.spec
    error = spec.season_error if season == spec.season else 0.0  # a season that was found repeats
    chosen = choose_scaler(spec._replace(season=season, season_error=error, past_steps=advice.window.value))
    if not isinstance(chosen, WindowScaler):
        return "values come back to the mean of the training part, by which all are standardised"
    if chosen.centre != "season":
        return "values come back to their mean, and series differ in size, so that each window has a scale of its own"
    if chosen.season > 1:
        return "forecasts are corrections of the last season, which is nearer than the last value or the mean"
    return (
        "the level drifts, as that of a random walk or of a trend, so that forecasts are corrections of the last value"
    )


def describe_breaks(data: WindowDataModule, curves: Sequence[Curve], season: int) -> Iterator[str]:
    """One sentence for each channel whose level or variability changes after training as never within it."""
    series, stop = data.series, data.spans["train"].stop
    for channel, name in enumerate(series.channels):
        found = []
        for curve in (one for one in curves if one.channel == channel):
            end = int(series.offsets[curve.series + 1])
            values = interpolate_gaps(channel_values(series, curve.first, end, channel))
            change = find_break(values, int(stop[curve.series]) - curve.first, season)
            if change is not None:
                found.append((change, curve))
        if found:
            change, curve = max(found, key=lambda one: one[0].times)
            where = (
                format_time(series.local_time(slice(curve.first + change.step, curve.first + change.step + 1))[0])
                if series.time is not None
                else f"step {curve.first + change.step - int(series.offsets[curve.series]):,}"
            )
            some = f" of {len(found):,} of {len({one.series for one in curves}):,} series" if len(series) > 1 else ""
            yield f"{name}{some} changes after the training part, as never within it: from {where} on, {change}."


def choose_lags(curves: Sequence[Curve], season: int) -> int:
    """Three short seasons, or a long one and a little more, at most a third of the longest curve."""
    wanted = max(DEFAULT_LAGS, 3 * season if season <= DEFAULT_LAGS else season + DEFAULT_LAGS)
    longest = max((len(curve.values) for curve in curves), default=0)
    return max(1, min(wanted, MAX_LAGS, longest // 3))


def _list_facts(data: WindowDataModule, curves: Sequence[Sequence[Curve]]) -> Iterator[tuple[str, str]]:
    series, sample = data.series, len(curves[0])
    length = f", median length {int(np.median(series.lengths)):,}" if np.ptp(series.lengths) else ""
    for name, text in describe_series(series):
        yield name, text + length if name == "series" else text
    for stage in data.spans:
        yield stage, format_span(data, stage)
    if series.missing:
        share = series.missing / series.values.size
        yield "missing", f"{pluralise(series.missing, 'target value')} ({share:.2%})"
    if sample < len(series) or len(curves) < len(series.channels):
        channels = f", and {len(curves):,} of {len(series.channels):,} channels"
        some = channels if len(curves) < len(series.channels) else ""
        yield "a close look", f"at {sample:,} of {len(series):,} series, spread evenly over them{some}"
    newest = [len(curve.values) for curve in curves[0] if curve.first > data.spans["train"].start[curve.series]]
    if newest:
        yield "autocorrelations", f"of the newest {max(newest):,} steps of long series"


def _list_left_out(description: Description) -> Iterator[str]:
    series = len(description.data.series)
    if overlap := overlap_warning(description.data):
        yield overlap[0].upper() + overlap[1:]
    yield from description.breaks
    for one in description.channels:
        if one.constant:
            where = f" of {one.constant:,} of {series:,} series" if series > 1 else ""
            yield f"{one.channel} is constant in the training part{where}; constant curves are not analysed."
    pairs = list(zip(description.behaviours, description.correlograms, strict=True))
    constant = [one.channel for one, shown in pairs if shown is None]
    if constant:
        yield f"No autocorrelation of {join_names(constant)}: no two values in the training part differ."
    short = [one.channel for one, shown in pairs if shown is not None and not one.curves]
    if short:
        needed = minimum_steps(description.advice.season.value)
        yield f"No trend, season or differencing of {join_names(short)}: at least {needed:,} training steps are needed."
