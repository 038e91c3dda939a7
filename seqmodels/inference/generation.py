"""Generation of symbols: each is drawn from what the model predicts after the ones before, and then read by it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from datamodules.labelled import SequenceEncoder, SequenceIndex
from datamodules.series import SeriesSet
from seqmodels.backbones.base import tree_map
from seqmodels.errors import InputError, require_at_least
from seqmodels.report.output import shorten, to_text
from seqmodels.window import AbstractForecaster, Inputs, WindowSpec

TOGETHER = 1024  # sequences that are generated at once
SHOWN, LINE = 5, 160  # sequences in the terminal, and characters of each


@dataclass(frozen=True, eq=False)
class Generated:
    """Sequences of symbols: ``samples`` of each beginning.

    ``names``: of the beginnings, () if there were none. ``values``: of each sequence its symbols (T, C), of which the
    first ``given`` ones belong to its beginning.
    """

    spec: WindowSpec
    names: tuple[str, ...]
    samples: int
    values: list[np.ndarray]
    given: list[int]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """One row per step: id of the beginning (if there is one), sample, step, the symbols, and if it was given."""
        lengths = [len(one) for one in self.values]
        which = np.repeat(np.arange(len(lengths)), lengths)
        steps = np.concatenate([np.arange(1, length + 1) for length in lengths])
        columns: dict[str, Any] = {"id": np.array(self.names)[which // self.samples]} if self.names else {}
        columns |= {"sample": which % self.samples + 1, "step": steps}
        every = np.concatenate(self.values)
        for place, (channel, classes) in enumerate(zip(self.spec.channels, self.spec.classes, strict=True)):
            columns[channel] = pl.Series([None, *classes], dtype=pl.String).gather(every[:, place].astype(np.int64))
        return pl.DataFrame({**columns, "given": steps <= np.repeat(self.given, lengths)})

    def __rich__(self) -> RenderableType:
        lines = []
        for number, values in enumerate(self.values[:SHOWN]):
            name = f"{self.names[number // self.samples]}, " if self.names else ""
            for place, (channel, classes) in enumerate(zip(self.spec.channels, self.spec.classes, strict=True)):
                symbols = ["?" if code == 0 else classes[int(code) - 1] for code in values[:, place]]
                text = "".join(symbols) if max(map(len, classes)) == 1 else " ".join(symbols)
                lines.append(Text(f" {name}{number % self.samples + 1}, {channel}: {shorten(text, LINE)}"))
        rest = len(self.values) - SHOWN
        return Group(*lines, *([Text(f" and {rest:,} more", style="dim")] if rest > 0 else []))

    def __repr__(self) -> str:
        return to_text(self)


def generate(
    model: AbstractForecaster,
    encoder: SequenceEncoder,
    beginnings: SeriesSet | None = None,
    *,
    n: int = 1,
    steps: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Generated:
    """Continue each of the ``beginnings`` by ``steps`` symbols, ``n`` times.

    Without beginnings the first symbol is drawn by its frequency in training. ``temperature``: logarithms of the
    probabilities are divided by it; 0 takes the most probable symbol. ``top_k``: draw among the k most probable ones
    only. The work of a step does not depend on how many there were before.

    Random numbers of a sequence follow from ``seed``, the name of its beginning and its number, not from what else is
    generated. Raises InputError for a model that predicts no next symbol or reads more than symbols.
    """
    for name, value in {"n": n, "steps": steps, "top_k": 1 if top_k is None else top_k}.items():
        require_at_least(1, "", **{name: value})
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature is {temperature}; it must be a number of at least 0.")
    _refuse_others(model, beginnings)
    draw = Draw(temperature, top_k, seed)
    if beginnings is None:
        streams = [draw.stream("", number, steps, len(model.spec.channels)) for number in range(n)]
        first = _first_symbols(model.spec, streams)
        made = _continue(model, first, [stream[1:] for stream in streams], draw)
        return Generated(model.spec, (), n, made, [0] * n)
    values: dict[int, np.ndarray] = {}
    for places, inputs in _equally_long(encoder, beginnings):
        rows = [(place, number) for place in places for number in range(n)]
        streams = [draw.stream(beginnings.name(place), k, steps, len(model.spec.channels)) for place, k in rows]
        made = _continue(model, inputs, streams, draw, repeat=n)
        values |= {place * n + number: one for (place, number), one in zip(rows, made, strict=True)}
    names = tuple(map(beginnings.name, range(len(beginnings))))
    given = np.repeat(beginnings.lengths, n).tolist()
    return Generated(model.spec, names, n, [values[place] for place in sorted(values)], given, beginnings.notes)


def _refuse_others(model: AbstractForecaster, beginnings: SeriesSet | None) -> None:
    spec = model.spec
    if spec.kind != "next" or not model.head.classifies:
        raise InputError(
            "generate draws the next symbol of sequences, which this model does not predict; train one with"
            " data=sequences data.predict=next model=symbols."
        )
    if spec.past_covariates:
        raise InputError(
            f"generate knows no future values of {spec.past_covariates[0]}, which the model was trained with; train one"
            " without data.past_covariates."
        )
    if spec.statics and beginnings is None:
        raise InputError(
            f"the model reads {spec.statics[0]} of each sequence: give beginnings that have this column in data.path."
        )
    if model.why_stateless:
        raise InputError(f"this model cannot read symbols one by one: {model.why_stateless}.")


@dataclass(frozen=True)
class Draw:
    """Choice of a symbol from its probabilities."""

    temperature: float
    top_k: int | None
    seed: int

    def stream(self, name: str, number: int, steps: int, channels: int) -> np.ndarray:
        """Uniform random numbers of one sequence, (steps, C)."""
        return np.random.default_rng([self.seed, crc32(name.encode()), number]).random((steps, channels))

    def __call__(self, shares: Tensor, uniform: Tensor) -> Tensor:
        """Probabilities (B, C, K) and uniform numbers (B, C) -> numbers of symbols (B, C), from 1 on."""
        shares = shares.double()
        if self.temperature == 0:
            return shares.argmax(dim=-1) + 1
        logs = shares.log() / self.temperature
        if self.top_k is not None and self.top_k < shares.shape[-1]:
            kept = logs.topk(self.top_k, dim=-1).indices
            logs = torch.full_like(logs, -torch.inf).scatter(-1, kept, logs.gather(-1, kept))
        sums = logs.softmax(dim=-1).cumsum(dim=-1)
        reached = sums > (uniform * sums[..., -1]).unsqueeze(-1)  # never at a symbol of probability 0
        return reached.int().argmax(dim=-1) + 1


def _first_symbols(spec: WindowSpec, streams: list[np.ndarray]) -> Inputs:
    """Sequences of one symbol, drawn by the frequencies in training."""
    shares = {category.column: torch.tensor(category.shares).double() for category in spec.categories}
    uniform, choose = torch.from_numpy(np.stack(streams))[:, 0], Draw(1.0, None, 0)
    drawn = [choose(shares[name].expand(len(streams), -1), uniform[:, i]) for i, name in enumerate(spec.channels)]
    inputs = spec._replace(past_steps=1).zeros(len(streams))
    return inputs._replace(past_target=torch.stack(drawn, dim=-1)[:, None].float())


def _equally_long(encoder: SequenceEncoder, series: SeriesSet) -> Iterator[tuple[list[int], Inputs]]:
    """Sequences of the same length, without padding: their numbers and windows."""
    tensors, index = encoder.encode(series), SequenceIndex(np.arange(len(series)), series.offsets)
    for length in np.unique(series.lengths):
        places = torch.from_numpy(np.flatnonzero(series.lengths == length))
        for part in places.split(TOGETHER):
            yield part.tolist(), tensors.gather(index, part).inputs


@torch.no_grad()
def _continue(model: Any, inputs: Inputs, streams: list[np.ndarray], draw: Draw, repeat: int = 1) -> list[np.ndarray]:
    """Each sequence with its continuation, (T + steps, C), ``repeat`` times, one symbol for each row of a stream."""
    output, uniform = model(inputs), torch.from_numpy(np.stack(streams))
    state = tree_map(lambda part: part.repeat_interleave(repeat, dim=0), output.state)
    shares = model.head.report(output.forecast[:, -1, 0]).repeat_interleave(repeat, dim=0)
    static = inputs.static.repeat_interleave(repeat, dim=0)
    unit = inputs.seasonal_error.repeat_interleave(repeat, dim=0)
    values = [inputs.past_target.repeat_interleave(repeat, dim=0)]
    for number in range(uniform.shape[1]):
        values.append(draw(shares, uniform[:, number]).float()[:, None])
        if number + 1 < uniform.shape[1]:
            clock = inputs.clock.repeat_interleave(repeat) + number + 1
            output = model.step(values[-1][:, 0], state, static=static, seasonal_error=unit, clock=clock)
            state, shares = output.state, model.head.report(output.forecast[:, 0, 0])
    return list(torch.cat(values, dim=1).numpy())
