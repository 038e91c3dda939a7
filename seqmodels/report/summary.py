"""Summaries printed before training: the data and their split, and the model."""

from collections.abc import Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import nn

from datamodules.base import WindowDataModule
from datamodules.series import SeriesSet
from seqmodels.report.output import format_time, join_names, pluralise
from seqmodels.window import AbstractForecaster, WindowSpec

CONTEXTS = {
    "inside": "inside: the past of a window lies within its own split",
    "across": "across: the past of validation and test windows may reach back into the split before",
}
SAMPLING = {
    "window": "each at most once",
    "series": "every series as often",
    "length": "series in proportion to their rows",
}


def summarise_data(data: WindowDataModule) -> RenderableType:
    """Source, contents and split of the data, and one line for each repair made while reading."""
    series, spec = data.series, data.spec
    lines = Table.grid(padding=(0, 2))
    for name, text in describe_series(series):
        lines.add_row(name, Text(text))
    lines.add_row("window", Text(describe_window(spec)))
    for stage, windows in data.windows.items():
        drawn = format_sampling(data) if stage == "train" else ""
        lines.add_row(stage, Text(f"{pluralise(windows, 'window')}{drawn}, {format_span(data, stage)}"))
    if spec.ahead:
        lines.add_row("context", CONTEXTS[data.context])
    if missing := data.source_series.missing:
        share = missing / series.values.size
        lines.add_row("missing", f"{pluralise(missing, 'target value')} ({share:.2%}), not in loss or errors")
    for number, note in enumerate(series.notes):
        lines.add_row("" if number else "notes", Text(note))
    warnings = [season_warning(data), overlap_warning(data)]
    return Group(lines, *(Text(f"warning: {warning}", style="yellow") for warning in warnings if warning))


def describe_window(spec: WindowSpec) -> str:
    """Contents of a window, and the values predicted from it."""
    if spec.kind == "past":
        return f"{pluralise(spec.past_steps, 'step')}, of which hidden values are estimated from the others"
    if not spec.ahead:
        parts = []
        for name, classes in zip(spec.labels, spec.classes, strict=True):
            parts.append(f"{name} ({len(classes)} classes: {join_names(classes)})" if classes else f"{name} (a number)")
        where = {"step": "at each step, ", "next": "at each step, the next "}.get(spec.kind, "")
        return f"a whole sequence, up to {pluralise(spec.past_steps, 'step')} -> {where}{', '.join(parts)}"
    season = f", season of {spec.season:,} steps" if spec.season > 1 else ""
    return f"{pluralise(spec.past_steps, 'past step')} -> {pluralise(spec.horizon, 'step')} ahead{season}"


def season_warning(data: WindowDataModule) -> str:
    """One sentence if a season does not fit into a window, else ""."""
    season, steps = data.spec.season, data.spec.past_steps
    if season <= steps:
        return ""
    return (
        f"a season of {season:,} steps does not fit into {steps:,} past steps, so nothing\n"
        "seasonal can be forecast or compared; set data.past_steps or data.season."
    )


def overlap_warning(data: WindowDataModule) -> str:
    """One sentence if rows of a part lie after the beginning of a later part in another series, else ""."""
    found = data.find_overlap()
    if found is None:
        return ""
    rows = f"{'training' if found.early == 'train' else found.early} rows of {found.series:,} series"
    quote = "" if isinstance(found.first, np.datetime64) else "'"
    dates = ",".join(f"{quote}{format_time(date)}{quote}".replace(" ", "T") for date in found.dates)
    return (
        f"{rows} lie after the first {found.late} {'date' if not quote else 'time'} {format_time(found.first)}, so"
        f" what all series share is known before; give dates in data.split{f', such as [{dates}]' if dates else ''}."
    )


def describe_series(series: SeriesSet) -> Iterator[tuple[str, str]]:
    """Name and text of each fact about the series: source, size, columns and time."""
    yield "data", series.source
    yield "series", format_size(series)
    yield "channels", join_names(series.channels)
    covariates = [*series.past_covariate_names, *series.known_covariate_names, *series.static_names]
    if covariates:
        yield "covariates", join_names(covariates)
    if series.time is not None:
        nonempty = series.lengths > 0
        times = format_time_range(series, series.offsets[:-1][nonempty], series.offsets[1:][nonempty] - 1)
        zone = f" ({series.zone})" if series.zone else ""
        frequency = f", one step per {series.frequency}" if series.frequency else ""
        yield "time", times + zone + frequency


def format_size(series: SeriesSet) -> str:
    """Number of series and rows, and the range of the lengths."""
    rows = f"{pluralise(len(series), 'series', 'series')}, {pluralise(len(series.values), 'row')}"
    if len(series) == 1:
        return rows
    shortest, longest = int(series.lengths.min()), int(series.lengths.max())
    return f"{rows} ({shortest:,} each)" if shortest == longest else f"{rows} ({shortest:,} to {longest:,} each)"


def format_time_range(series: SeriesSet, first: np.ndarray, last: np.ndarray) -> str:
    """Earliest time of the rows ``first`` and latest of the rows ``last``, (series,) each, in local time."""
    return f"{format_time(series.local_time(first).min())} ... {format_time(series.local_time(last).max())}"


def format_span(data: WindowDataModule, stage: str) -> str:
    """The part of the data that a stage forecasts, as series, times or steps."""
    series, span = data.series, data.spans[stage]
    used = np.flatnonzero(span.lengths)
    if len(used) == 0:
        return "no rows"
    if data.split_by == "series":
        first, last = series.name(int(used[0])), series.name(int(used[-1]))
        return f"{pluralise(len(used), 'series', 'series')}: {first} ... {last}" if first != last else first
    starts, stops = span.start[used], span.stop[used] - 1
    if series.time is not None:
        return format_time_range(series, starts, stops)
    offsets = series.offsets[used]
    return f"steps {int((starts - offsets).min()):,} ... {int((stops - offsets).max()):,}"


def format_sampling(data: WindowDataModule) -> str:
    """Number of training windows drawn for an epoch and the way they are drawn; empty if each comes once."""
    if data.sampling == "window" and data.epoch_windows is None and data.half_life is None:
        return ""
    drawn = f", {data.epoch_windows or data.windows['train']:,} drawn an epoch"
    if data.half_life is not None:
        return f"{drawn}, those {data.half_life:g} steps older half as often"
    return f"{drawn}, {SAMPLING[data.sampling]}"


def summarise_model(model: AbstractForecaster, past_steps: int, name: str) -> RenderableType:
    """Parts, parameters and receptive field of the model called ``name``, with the warnings of its backbone.

    A receptive field that does not fit windows of ``past_steps`` gives a warning, too.
    """
    lines = Table.grid(padding=(0, 2))
    total, several = count_parameters(model), len(model.singles) > 1
    lines.add_row("model", Text(name + f", an ensemble of {len(model.singles)} members" * several))
    model = max(model.singles, key=lambda one: one.spec.past_steps)
    parts = [
        f"{key}: {type(part).__name__} {pluralise(count_parameters(part), 'parameter')}"
        for key, part in model.named_children()
        if count_parameters(part)
    ]
    own = "each: " * several + ", ".join(parts)
    lines.add_row("parameters", Text(f"{total:,}" + (f" ({own})" if parts else "")))
    if hasattr(model, "scaler"):
        lines.add_row("scaler", Text(str(model.scaler)))
        lines.add_row("loss", Text(name_loss(model)))
    if any(model.nonnegative):
        named = [channel for channel, cut in zip(model.spec.channels, model.nonnegative, strict=True) if cut]
        of = "" if all(model.nonnegative) else f" of {join_names(named)}"
        lines.add_row("range", Text(f"forecasts{of} of new rows are at least 0 (model.nonnegative)"))
    backbone = getattr(model, "backbone", None)
    field = getattr(backbone, "receptive_field", None)
    if backbone is not None:
        seen = "every step since the window's beginning" if field is None else pluralise(field, "step")
        lines.add_row("sees", f"{seen}; the window has {past_steps:,}")
    origins = getattr(model, "trained", model.origins)
    lines.add_row("origins", f"{pluralise(len(origins.of(past_steps)), 'forecast')} per window in training")
    warnings = [
        receptive_field_warning(field, past_steps) if model.spec.ahead else "",
        *getattr(backbone, "warnings", ()),
    ]
    shown = [Text(f"warning: {warning}", style="yellow") for warning in warnings if warning]
    return Group(lines, *shown) if shown else lines


def name_loss(model: AbstractForecaster) -> str:
    """The loss and the unit in which it is taken."""
    kind = getattr(model.head, "kind", type(model.head).__name__)
    if model.head.classifies:
        return f"{kind} of classes"
    of = "relative errors" if model.head.relative else "counts" if model.head.in_data_units else "scaled values"
    return f"{kind} of {of}"


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def receptive_field_warning(field: int | None, steps: int) -> str:
    """One sentence if the receptive field is longer than the window or less than half of it, else ""."""
    if field is None or steps / 2 <= field <= steps:
        return ""
    if field > steps:
        return f"the model sees {field:,} steps, the window has {steps:,}: the first layers see padding only."
    return f"the model sees {pluralise(field, 'step')}, less than half of the window's {steps:,}."
