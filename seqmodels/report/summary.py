"""What the terminal says before training: where the data come from and how they are split, and what the model is."""

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import nn

from seqmodels.report.formatting import format_time, join_names, pluralise


def summarise_data(datamodule: Any) -> RenderableType:
    """Where the data come from, what they hold, how they are split, and one line per repair made while reading."""
    series, spec = datamodule.series, datamodule.spec
    lines = Table.grid(padding=(0, 2))
    lines.add_row("data", Text(series.source))
    lines.add_row("series", Text(format_size(series)))
    lines.add_row("channels", Text(join_names(series.channels)))
    covariates = [*series.past_covariate_names, *series.known_covariate_names]
    if covariates:
        lines.add_row("covariates", Text(join_names(covariates)))
    if series.time is not None:
        filled = series.lengths > 0
        first, last = series.offsets[:-1][filled], series.offsets[1:][filled] - 1  # times ascend within each series
        span = f"{format_time(series.local_time(first).min())} ... {format_time(series.local_time(last).max())}"
        span += f" ({series.zone})" if series.zone else ""
        lines.add_row("time", Text(f"{span}, one step per {series.frequency}" if series.frequency else span))
    season = f", season of {spec.season:,} steps" if spec.season > 1 else ""
    lines.add_row(
        "window", f"{pluralise(spec.past_steps, 'past step')} -> {pluralise(spec.horizon, 'step')} ahead{season}"
    )
    for stage, windows in datamodule.windows.items():
        drawn = format_sampling(datamodule) if stage == "train" else ""
        lines.add_row(stage, Text(f"{pluralise(windows, 'window')}{drawn}, {format_span(datamodule, stage)}"))
    lines.add_row("context", format_context(datamodule.context))
    if series.missing:
        share = series.missing / series.values.size
        lines.add_row("missing", f"{pluralise(series.missing, 'target value')} ({share:.2%}), not in loss or errors")
    for number, note in enumerate(series.notes):
        lines.add_row("" if number else "notes", Text(note))
    if spec.season <= spec.past_steps:
        return lines
    warning = (
        f"warning: a season of {spec.season:,} steps does not fit into {spec.past_steps:,} past steps, so nothing\n"
        "seasonal can be forecast or compared; set data.past_steps or data.season."
    )
    return Group(lines, Text(warning, style="yellow"))


def format_size(series: Any) -> str:
    """Number of series and rows, and the range of their lengths."""
    rows = f"{pluralise(len(series), 'series', 'series')}, {pluralise(len(series.values), 'row')}"
    if len(series) == 1:
        return rows
    shortest, longest = int(series.lengths.min()), int(series.lengths.max())
    return f"{rows} ({shortest:,} each)" if shortest == longest else f"{rows} ({shortest:,} to {longest:,} each)"


def format_span(datamodule: Any, stage: str) -> str:
    """The part of the data that a stage forecasts, in series, time labels or steps."""
    series, span = datamodule.series, datamodule.spans[stage]
    taking_part = np.flatnonzero(span.stop > span.start)
    if len(taking_part) == 0:
        return "no rows"
    if datamodule.split_by == "series":
        first, last = series.name(int(taking_part[0])), series.name(int(taking_part[-1]))
        return f"{pluralise(len(taking_part), 'series', 'series')}: {first} ... {last}" if first != last else first
    starts, stops = span.start[taking_part], span.stop[taking_part] - 1
    if series.time is not None:
        return f"{format_time(series.local_time(starts).min())} ... {format_time(series.local_time(stops).max())}"
    offsets = series.offsets[taking_part]
    return f"steps {int((starts - offsets).min()):,} ... {int((stops - offsets).max()):,}"


def format_sampling(datamodule: Any) -> str:
    """How many training windows make an epoch, and which series they come from; empty where each comes once."""
    if datamodule.sampling == "window" and datamodule.epoch_windows is None:
        return ""
    manners = {
        "window": "each at most once",
        "series": "every series as often",
        "length": "series in proportion to their rows",
    }
    count = datamodule.epoch_windows or datamodule.windows["train"]
    return f", {count:,} drawn an epoch, {manners[datamodule.sampling]}"


def format_context(rule: str) -> str:
    """The rule for the past of evaluation windows, in words."""
    if rule == "inside":
        return "inside: the past of a window lies within its own split"
    return "across: the past of validation and test windows may reach back into the split before"


def summarise_model(module: Any, name: str = "") -> RenderableType:
    """Parts and parameters of the model, the steps it sees, and a warning where they do not fit the window or the
    backbone has warnings of its own.

    ``name`` is what the user calls the model, "wavenet"; without one, its parts name it.
    """
    model, spec = module.forecaster, module.spec
    lines = Table.grid(padding=(0, 2))
    parts = [
        f"{key}: {type(part).__name__} {pluralise(count_parameters(part), 'parameter')}"
        for key, part in trainable_parts(model)
    ]
    name = name or " + ".join(type(part).__name__ for _, part in trainable_parts(model)) or type(model).__name__
    lines.add_row("model", Text(name))
    lines.add_row("parameters", Text(f"{count_parameters(model):,}" + (f" ({', '.join(parts)})" if parts else "")))
    if hasattr(model, "scaler"):
        lines.add_row("scaler", Text(str(model.scaler)))
    backbone = getattr(model, "backbone", None)
    field = getattr(backbone, "receptive_field", None)
    if backbone is not None:
        seen = "every step since the window's beginning" if field is None else pluralise(field, "step")
        lines.add_row("sees", f"{seen}; the window has {spec.past_steps:,}")
    origins = getattr(model, "trained", model.origins)
    lines.add_row("origins", f"{pluralise(len(origins.of(spec.past_steps)), 'forecast')} per window in training")
    warnings = [receptive_field_warning(field, spec.past_steps), *getattr(backbone, "warnings", ())]
    shown = [Text(f"warning: {warning}", style="yellow") for warning in warnings if warning]
    return Group(lines, *shown) if shown else lines


def trainable_parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts that have weights, in the order of the data."""
    return [(name, part) for name, part in model.named_children() if count_parameters(part)]


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def receptive_field_warning(field: int | None, steps: int) -> str:
    """One sentence where a receptive field is longer than the window or less than half of it, else an empty one."""
    if field is None or steps / 2 <= field <= steps:
        return ""
    if field > steps:
        return f"the model sees {field:,} steps, the window has {steps:,}: the first layers see padding only."
    return f"the model sees {pluralise(field, 'step')}, less than half of the window's {steps:,}."
