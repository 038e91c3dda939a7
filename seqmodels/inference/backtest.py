"""Evaluation of a trained model at many origins of a table: errors, coverage of its bands, and all its forecasts."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import torch
from polars.io.plugins import register_io_source
from rich.console import RenderableType
from torch import Tensor

from datamodules.encoder import EncodedRows, RowEncoder, fill_targets, fold_ends
from datamodules.series import SeriesSet
from seqmodels.baselines.rules import Naive, SeasonalNaive
from seqmodels.errors import InputError, require_choice
from seqmodels.forecaster import Forecaster
from seqmodels.heads.base import DECILES, quantile_loss
from seqmodels.inference.adaptive import METHODS
from seqmodels.inference.calibration import Calibration, centre_and_unit
from seqmodels.inference.prediction import clip_quantiles, predict
from seqmodels.inference.scores import BANDS, ENDS, SCORED
from seqmodels.metrics import MEASURES, MODEL, NAIVE, SEASONAL_NAIVE, ErrorTable, ForecastErrors, MeanErrors, naive_row
from seqmodels.report.evaluation import evaluation_tables, plot_evaluation
from seqmodels.report.future import row_times
from seqmodels.report.output import join_names, pluralise, to_text, write_csv
from seqmodels.report.plotting import save_figure
from seqmodels.report.results import result_rows, write_results
from seqmodels.training.stateful import CarriedState, as_windows
from seqmodels.window import AbstractForecaster, ConsecutiveWindows, Origins, Window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUPED = [name for name, one in MEASURES.items() if not one.needs_bands]  # measures of groups
SPLIT, ADAPTIVE = KINDS = ("split", "adaptive")  # of bands
MOST_TURNS = 20_000  # of adaptive bands, one after the other, unless they are asked for
STATES = ("auto", "windows", "carried")
MOST_PERIODS = 48  # parts of the table over time
PERIODS = {"1h": 3600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1mo": 2_629_746, "1q": 7_889_238}  # seconds
WEEKDAYS, MONTHS = "Mon Tue Wed Thu Fri Sat Sun".split(), "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Fold(NamedTuple):
    """Targets ``start[i]:stop[i]`` of series i, forecast by a model that was trained on the rows before ``end[i]``."""

    number: int
    start: np.ndarray
    stop: np.ndarray
    end: np.ndarray


Trained = tuple[AbstractForecaster, RowEncoder, Calibration | None]


class Refit(NamedTuple):
    """Training anew after every ``every`` origins; ``train`` sees the rows before the ends of the fold, which it cuts.

    ``only``: the number of a fold, to evaluate no other.
    """

    every: int
    train: Callable[[SeriesSet, Fold], Trained]
    only: int | None = None


class Encoded(NamedTuple):
    """Rows as a model reads them, see ``Backtest``; perhaps fewer targets than were asked for."""

    rows: EncodedRows
    start: np.ndarray
    stop: np.ndarray
    carried: bool
    observed: Tensor | None


class Forecasts(NamedTuple):
    """Forecasts of a batch of windows, in the order of time within each series."""

    window: Window
    mean: Tensor  # (B, H, C), less ``Inputs.level``
    quantiles: dict[str, Tensor]  # by kind of bands, (B, H, C, Q) in the data's own units; none without calibration


@dataclass(frozen=True)
class Backtest:
    """All forecasts of a model from the origins whose targets lie in rows ``start[i]:stop[i]`` of series i.

    ``stride``: steps from one origin to the next. ``carried``: one pass through each series with a state, instead of
    one window for each origin. ``observed`` (rows, C): which targets were measured; None: those that windows say.
    """

    model: AbstractForecaster
    encoded: EncodedRows
    start: np.ndarray
    stop: np.ndarray
    carried: bool
    observed: Tensor | None
    series: SeriesSet
    stride: int
    state: str
    calibration: Calibration | None
    kinds: tuple[str, ...]  # of bands whose coverage is measured
    kept: str  # kind of those of the forecasts that are written
    adaptive: str  # method of the adaptive bands
    folds: tuple[Fold, ...] = ()  # one after the other, each with a model of its own in place of this one
    refit: Refit | None = None

    def forecasts(self, levels: Sequence[float]) -> Iterator[Forecasts]:
        """Forecasts batch by batch, with quantiles at ``levels`` if they are known."""
        return self._refitted(levels) if self.refit else self._forecasts(levels)

    def _refitted(self, levels: Sequence[float]) -> Iterator[Forecasts]:
        assert self.refit is not None
        for fold in self.folds:
            model, encoder, calibration = self.refit.train(self.series, fold)
            if self.calibration is not None and calibration is None:
                raise InputError(f"fold {fold.number} has too few validation windows for bands; take fewer origins.")
            rows, *targets = encode(model, encoder, self.series, fold.start, fold.stop, self.state)
            changed: dict[str, Any] = dict(zip(("start", "stop", "carried", "observed"), targets, strict=True))
            calibration = self.calibration and calibration  # no bands where the run has none
            fresh = replace(self, model=model, encoded=rows, calibration=calibration, **changed)
            yield from fresh._forecasts(levels)

    @cached_property
    def fold_numbers(self) -> np.ndarray:
        """Number of the fold of each row, as an origin, (rows,) int64."""
        rows = np.arange(len(self.series.values))
        numbers = np.zeros(len(rows), np.int64)
        for fold in self.folds:
            numbers[
                rows >= np.repeat(np.where(fold.stop > fold.start, fold.start - 1, len(rows)), self.series.lengths)
            ] = fold.number
        return numbers

    def _forecasts(self, levels: Sequence[float]) -> Iterator[Forecasts]:
        adaptive = None
        if self.calibration is not None and ADAPTIVE in self.kinds:
            adaptive = METHODS[self.adaptive](self.calibration, levels, self.stride)
        for window, forecast in self._carried() if self.carried else map(self._apply, self._windows()):
            measured, inputs = self._measured(window), window.inputs
            mean, split = predict(self.model, forecast, inputs, self.calibration, levels)
            quantiles = {} if split is None else {SPLIT: split}
            if adaptive is not None:
                target, observed = measured.targets
                centre, unit = (one.double() for one in centre_and_unit(self.model.head, forecast, inputs))
                errors = ((target - centre) / unit).masked_fill(~observed, torch.nan)
                offsets = adaptive.offsets(inputs.series, errors)
                known = centre + inputs.level[:, None]
                quantiles[ADAPTIVE] = clip_quantiles(self.model, known[..., None] + unit[..., None] * offsets)
            yield Forecasts(measured, mean, quantiles)

    def _windows(self) -> Iterator[Window]:
        return iter(self.encoded.windows(self.start, self.stop, stride=self.stride))

    @torch.no_grad()
    def _apply(self, window: Window) -> tuple[Window, Tensor]:
        inputs = window.inputs
        if not self.model.spec.missing:  # the model knows no mask, and what is missing is filled
            inputs = inputs._replace(past_observed=torch.ones_like(inputs.past_observed))
        forecast = self.model.forecast_windows(window._replace(inputs=inputs)).forecast
        assert forecast is not None
        return window, forecast[:, -1]

    def _carried(self) -> Iterator[tuple[Window, Tensor]]:
        bounded = not self.model.spec.stateful and all(map(same_in_one_pass, self.model.singles))
        loader = self.encoded.consecutive(self.start, self.stop, whole=not bounded)
        first = loader.index.first + self.model.spec.past_steps - 1
        state = CarriedState(self.model)
        for block in loader:
            wanted = (block.origin - first[block.inputs.series][:, None]) % self.stride == 0
            window, forecast = self._continue(state, block._replace(counted=block.counted & wanted))
            if len(forecast):
                yield window, forecast

    @torch.no_grad()
    def _continue(self, state: CarriedState, block: ConsecutiveWindows) -> tuple[Window, Tensor]:
        forecast = state.evaluate(block).forecast
        assert forecast is not None
        return as_windows(block, self.model.spec.past_steps), forecast[:, -1]

    def _measured(self, window: Window) -> Window:
        if self.observed is None:
            return window
        rows = window.origin[:, None] + torch.arange(1, self.model.spec.horizon + 1)
        return window._replace(targets=window.targets._replace(observed=self.observed[rows]))


class Grouping(NamedTuple):
    """Group of each row of the data, (rows,) int64, and the label of each group; ``name`` is that of their column."""

    name: str
    numbers: np.ndarray
    labels: Sequence[Any]


class GroupedErrors:
    """Sums of the errors in each group for some rows of the result table, whose means are those of ``ErrorTable``."""

    def __init__(self, grouping: Grouping, rows: Iterable[str]):
        self.grouping = grouping
        self.sums = {row: np.zeros((5, len(grouping.labels))) for row in rows}

    def add(self, row: str, places: np.ndarray, parts: np.ndarray) -> None:
        """Add sums (5, n) of values that belong to rows ``places`` (n,) of the data."""
        numbers = self.grouping.numbers[places]
        for total, part in zip(self.sums[row], parts, strict=True):
            total += np.bincount(numbers, part, len(total))

    def frame(self) -> pl.DataFrame:
        """One row for each group with values, see ``measures_frame``."""
        kept = np.flatnonzero(self.sums[MODEL][3]).tolist()
        with np.errstate(invalid="ignore", divide="ignore"):
            columns = {row: (sums[:3] / sums[[3, 3, 4]])[:, kept].T.tolist() for row, sums in self.sums.items()}
        means = {row: [MeanErrors(*one) for one in some] for row, some in columns.items()}
        labels = pl.Series(self.grouping.name, [self.grouping.labels[group] for group in kept])
        return measures_frame(labels, means, self.sums[MODEL][3, kept])


def measures_frame(labels: pl.Series, means: Mapping[str, Sequence[MeanErrors]], counts: np.ndarray) -> pl.DataFrame:
    """One row for each label: the measures of the model, the MAE of the naive forecast, and the number of values."""
    naive = naive_row(means)
    records = [
        {name: MEASURES[name].compute(mine, *((theirs,) if MEASURES[name].needs_naive else ())) for name in GROUPED}
        for mine, theirs in zip(means[MODEL], means[naive], strict=True)
    ]
    return pl.DataFrame(records, schema=dict.fromkeys(GROUPED, pl.Float64)).select(
        labels,
        pl.all(),
        pl.Series(f"{naive.replace(' ', '_')}_mae", [one.absolute for one in means[naive]], pl.Float64),
        pl.Series("values", counts.astype(np.int64)),
    )


class Coverage:
    """Share of the truth within bands, by lead and channel."""

    def __init__(self, shape: tuple[int, int]):
        self.inside, self.counted = torch.zeros(len(BANDS), *shape, dtype=torch.int64), torch.zeros(shape).long()

    def add(self, ends: Tensor, truth: Tensor, observed: Tensor) -> None:
        """Count the truth (B, H, C) within bands (B, H, C, Q) of which ``ENDS`` are the levels."""
        within = (truth[..., None] >= ends[..., ::2]) & (truth[..., None] <= ends[..., 1::2]) & observed[..., None]
        self.inside += within.sum(0).permute(2, 0, 1)
        self.counted += observed.sum(0)

    @property
    def by_lead(self) -> np.ndarray:
        """Share of the truth within each band, (bands, H); NaN where nothing was observed."""
        return (self.inside.sum(2) / self.counted.sum(1)).numpy()


class Totals:
    """Everything that an evaluation adds up: errors by lead, by group, and the coverage of the bands."""

    def __init__(self, backtest: Backtest, groupings: Sequence[Grouping]):
        spec, denominators = backtest.model.spec, backtest.encoded.denominators
        self.naive: dict[str, AbstractForecaster] = {NAIVE: Naive(spec)}
        if 1 < spec.season <= spec.past_steps:  # else no window holds a whole season
            self.naive[SEASONAL_NAIVE] = SeasonalNaive(spec)
        self.errors = {row: ForecastErrors(spec, denominators) for row in (MODEL, *self.naive)}
        self.compared = (MODEL, naive_row(self.naive))
        self.groups = [GroupedErrors(grouping, self.compared) for grouping in groupings]
        self.denominators, self.lead = denominators, torch.arange(1, spec.horizon + 1)
        kinds = backtest.kinds if backtest.calibration is not None else (SPLIT,) * backtest.model.head.distribution
        self.coverage = {kind: Coverage((spec.horizon, len(spec.channels))) for kind in kinds}

    @torch.no_grad()
    def add(self, made: Forecasts) -> None:
        """Count the forecasts of one batch and the naive ones on the same windows."""
        window, mean, quantiles = made
        inputs, targets, origin = window
        truth, lost = targets.target.double() + inputs.level[:, None], None
        if SPLIT in quantiles:
            lost = quantile_loss(quantiles[SPLIT][..., len(ENDS) : len(SCORED)].double(), truth, DECILES)
        for row, errors in self.errors.items():
            given = mean if row == MODEL else self.naive[row].head.mean(self.naive[row](inputs).forecast)[:, -1]
            errors.update(given, inputs, targets, lost if row == MODEL else None)
            if row in self.compared and self.groups:
                self._group(row, given, window)
        for kind, coverage in self.coverage.items():
            coverage.add(quantiles[kind][..., : len(ENDS)], truth, targets.observed)

    def _group(self, row: str, given: Tensor, window: Window) -> None:
        (target, observed), unit = window.targets, self.denominators[window.inputs.series][:, None]
        error, defined = (given - target).abs().double() * observed, unit.isfinite()
        scaled = torch.where(defined, error / unit, 0.0)
        parts = torch.stack([part.sum(2) for part in (error, error.square(), scaled, observed, observed & defined)])
        ahead = (window.origin[:, None] + self.lead).flatten().numpy()
        by_value, by_window = parts.flatten(1).numpy(), parts.sum(2).numpy()
        for group in self.groups:
            if group.grouping.name in ("hour", "weekday", "month"):  # of the target
                group.add(row, ahead, by_value)
            else:
                group.add(row, window.origin.numpy(), by_window)

    def results(self) -> dict[str, ErrorTable]:
        """Errors by row of the result table; raises InputError for forecasts that are not finite."""
        for row, errors in self.errors.items():
            if bad := errors.channels_not_finite:
                raise InputError(
                    f"the {row} forecasts of {join_names(bad)} are not all finite numbers; look for extreme values in"
                    " the rows."
                )
        return {row: ErrorTable(*map(torch.atleast_2d, errors.compute())) for row, errors in self.errors.items()}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a model called ``name`` and of the naive forecasts at the same origins, in the data's own units.

    ``by_lead``, ``by_origin`` (over time), ``by_series`` (if there are several), ``by_target`` (by hour, weekday or
    month of the target, None without dates) and ``by_fold`` (if the model was trained anew) hold the measures of the
    model, the MAE of the naive forecast and the number of values. ``by_lead`` also has the coverage of the bands if
    there are any. ``notes``: one line per repair of the rows. ``output``: the file with all forecasts.
    """

    name: str
    part: str  # "test", or "evaluation" of other rows
    results: Mapping[str, ErrorTable]
    windows: int
    carried: bool
    by_lead: pl.DataFrame
    by_origin: pl.DataFrame
    by_series: pl.DataFrame | None
    by_target: pl.DataFrame | None
    by_fold: pl.DataFrame | None
    backtest: Backtest
    levels: tuple[float, ...]
    notes: tuple[str, ...] = ()
    output: Path | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.backtest.model.spec.channels

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The result table as records, see ``report.results.result_rows``."""
        return result_rows({self.part: self.results}, {self.part: self.windows}, self.name, self.channels)

    @property
    def table(self) -> pl.DataFrame:
        """One row per channel and forecast (the model, naive, seasonal naive), with measures and windows."""
        return pl.DataFrame(self.rows)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All forecasts: id (of several series), origin, lead, channel, truth, mean, and one column per quantile."""
        if self.output is not None:
            return pl.read_parquet(self.output)
        return pl.concat(frames(self.backtest, self.backtest.forecasts((*SCORED, *self.levels)), self.levels))

    def plot(self) -> "Figure":
        """Errors by lead and over time, and the coverage of the bands."""
        return plot_evaluation(self)

    def __rich__(self) -> RenderableType:
        return evaluation_tables(self)

    def __repr__(self) -> str:
        return to_text(self)


def evaluate(
    model: AbstractForecaster,
    encoder: RowEncoder,
    calibration: Calibration | None,
    series: SeriesSet,
    *,
    name: str = MODEL,
    own: bool = False,
    origins: str | int = "all",
    last: int | None = None,
    levels: Sequence[float] = (),
    state: str = "auto",
    bands: str = SPLIT,
    adaptive: str = "aci",
    refit: Refit | None = None,
    output: Path | None = None,
) -> Evaluation:
    """Evaluate a model on series that its encoder has read, see ``seqmodels.TrainedModel.evaluate``.

    ``own``: the series are those of training, and their test part is evaluated. With ``refit``, ``model`` only says
    what is to be forecast, and other models forecast it.
    """
    backtest, notes = prepare(model, encoder, calibration, series, own, origins, last, state, bands, adaptive, refit)
    totals = Totals(backtest, groupings(backtest))
    made = _watch(totals, backtest.forecasts((*SCORED, *levels)))
    if output is None:
        for _ in made:
            pass
    else:
        write_parquet(output, frames(backtest, made, levels))
    results, groups = totals.results(), {group.grouping.name: group.frame() for group in totals.groups}
    return Evaluation(
        name=name,
        part="test" if own and last is None else "evaluation",
        results=results,
        windows=int(totals.errors[MODEL].windows),
        carried=backtest.carried,
        by_lead=lead_frame(results, totals.coverage),
        by_origin=groups["origin"],
        by_series=groups.get("series"),
        by_target=next((groups[unit] for unit in ("hour", "weekday", "month") if unit in groups), None),
        by_fold=groups.get("fold"),
        backtest=backtest,
        levels=tuple(levels),
        notes=(*notes, *model.notes),
        output=output,
    )


def _watch(totals: Totals, made: Iterator[Forecasts]) -> Iterator[Forecasts]:
    for one in made:
        totals.add(one)
        yield one


def prepare(
    model: AbstractForecaster,
    encoder: RowEncoder,
    calibration: Calibration | None,
    series: SeriesSet,
    own: bool,
    origins: str | int,
    last: int | None,
    state: str,
    bands: str,
    adaptive: str,
    refit: Refit | None,
) -> tuple[Backtest, tuple[str, ...]]:
    """What is to be forecast, checked, and notes about it."""
    stride, spec = parse_origins(origins), model.spec
    require_choice(KINDS, "", bands=bands)
    require_choice(STATES, "", state=state)
    require_choice(METHODS, "", adaptive=adaptive)
    if bands == ADAPTIVE and calibration is None:
        raise InputError(
            "bands=adaptive needs a calibration to begin with, and the run had too few validation windows for one."
        )
    start, stop, used = choose_targets(encoder, series, own, last)
    folds = () if refit is None else make_folds(series, start, stop, stride, spec.horizon, refit)
    encoded = encode(model, encoder, series, start, stop, state)
    index = encoded.rows.index_windows(encoded.start, encoded.stop, stride)
    if not len(index):
        why = f"no series has {spec.horizon} rows to forecast after those that training used"
        if own and last is None:
            why = "the run has no test part (data.split)"
        raise InputError(f"{series.source}: {why}; name the rows to evaluate with last=2000.")
    notes = list(encoded.rows.series.notes)
    seen = np.minimum(used, encoded.stop) - encoded.start
    if (seen > 0).any() and refit is None:
        rows = pluralise(int(seen.clip(min=0).sum()), "row")
        notes.append(f"{rows} of the targets belong to the training or validation part of the run.")
    if encoded.carried and not spec.stateful and state == "carried":
        notes.append("the state of the model was carried through each series, so that it saw more than past_steps.")
    most = int(index.counts.max())
    turns = len(index) // max(1, min(1024 // most, int((index.counts > 0).sum())))
    kinds = KINDS if bands == ADAPTIVE or turns <= MOST_TURNS else (SPLIT,)
    if calibration is not None and ADAPTIVE not in kinds:
        notes.append(
            f"the coverage of adaptive bands at {len(index):,} origins takes long: bands=adaptive measures it."
        )
    kept = SPLIT if calibration is None else bands
    made = Backtest(model, *encoded, series, stride, state, calibration, kinds, kept, adaptive, folds, refit)
    return made, tuple(notes)


def encode(
    model: AbstractForecaster, encoder: RowEncoder, series: SeriesSet, start: np.ndarray, stop: np.ndarray, state: str
) -> Encoded:
    """Inputs of a model for the targets ``start[i]:stop[i]`` of series i."""
    spec, begin, end = model.spec, series.offsets[:-1], series.offsets[1:]
    carried = is_carried(model, state, start, begin)
    if carried:  # a pass knows no padding
        start = np.minimum(stop, np.maximum(start, begin + spec.past_steps))
    observed = None
    if not spec.missing and series.observed is not None:
        observed = torch.from_numpy(np.ascontiguousarray(series.observed))
        series = fill_targets(series, end, int(series.lengths.max()))
    first = np.where(
        start > begin, start, begin + np.where(stop - begin < spec.past_steps + spec.horizon, 1, spec.past_steps)
    )
    rows = encoder.encode(series, end, np.minimum(first, end))
    model.rows = rows.rows
    return Encoded(rows, start, stop, carried, observed)


def make_folds(
    series: SeriesSet, start: np.ndarray, stop: np.ndarray, stride: int, horizon: int, refit: Refit
) -> tuple[Fold, ...]:
    """Folds of ``refit.every`` origins; with a time column they begin at the same times in all series.

    Raises InputError for numbers that are none, and for a fold that does not exist.
    """
    for name, value, least in (("refit", refit.every, 1), ("fold", refit.only, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}.")
    firsts = np.maximum(stop - horizon + 1 - start, 0)  # rows that are the first target of a window
    ends = list(fold_ends(series, start, firsts, refit.every * stride))
    later = [*ends[1:], stop]
    folds = []
    for number, (end, after) in enumerate(zip(ends, later, strict=True)):
        until = np.where(after < stop, np.minimum(stop, np.maximum(end, after) - 1 + horizon), stop)
        begin = np.minimum(np.maximum(start, end), until)
        folds.append(Fold(number, begin, until, end))
    if refit.only is not None and refit.only >= len(folds):
        raise InputError(
            f"fold is {refit.only}, but refit={refit.every} makes {pluralise(len(folds), 'fold')}, from 0."
        )
    return tuple(folds) if refit.only is None else (folds[refit.only],)


def parse_origins(origins: str | int) -> int:
    """Steps from one origin to the next."""
    stride = 1 if origins == "all" else origins
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise InputError(
            f"origins is {origins!r}; it must be all, or a number of steps such as 24 from one to the next."
        )
    return stride


def choose_targets(
    encoder: RowEncoder, series: SeriesSet, own: bool, last: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row and end of the targets, and the end of what training used, (series,) each."""
    if last is None:
        return encoder.targets_after_training(series, own)
    if isinstance(last, bool) or not isinstance(last, int) or last < encoder.spec.horizon:
        raise InputError(
            f"last is {last}; it must be a number of rows of at least the horizon, {encoder.spec.horizon}."
        )
    begin = series.offsets[:-1]
    known = encoder.borders is not None
    _, stop, used = encoder.targets_after_training(series, False) if known else (begin, series.offsets[1:], begin)
    return np.maximum(begin, stop - last), stop, used


def is_carried(model: AbstractForecaster, state: str, start: np.ndarray, begin: np.ndarray) -> bool:
    """True if one pass through each series takes the place of windows.

    By default where it gives the same forecasts, or where training carried a state too. Raises InputError where the
    model cannot.
    """
    if state == "windows" or not isinstance(model.singles[0], Forecaster):
        if state == "carried":
            raise InputError("state=carried needs a model with a state; leave it out.")
        return False
    if state == "carried" and model.why_stateless:
        raise InputError(f"state=carried cannot be done: {model.why_stateless}; or leave it out.")
    steps = model.spec.past_steps
    whole = bool((start - begin >= steps).all())  # no window is padded
    return state == "carried" or model.spec.stateful or (whole and all(map(same_in_one_pass, model.singles)))


def same_in_one_pass(model: AbstractForecaster) -> bool:
    """True if a longer past changes no forecast, and one pass gives those of all origins.

    So it is where the backbone reaches no farther back than a window, and nothing is scaled by the window. Recurrent
    networks remember what lies before.
    """
    field = model.backbone.receptive_field if isinstance(model, Forecaster) else None
    reaches = field is not None and field <= model.spec.past_steps
    return reaches and model.origins == Origins(0, 1) and not (model.why_stateless or model.spec.levels)


def lead_frame(results: Mapping[str, ErrorTable], coverage: Mapping[str, Coverage]) -> pl.DataFrame:
    """One row per lead: the measures over all channels, and the coverage of each kind of bands."""
    means = {row: table.mean(1) for row, table in results.items()}
    counts = results[MODEL].observed.sum(1).numpy()
    rates = {
        f"{'' if kind == SPLIT else f'{kind}_'}coverage_{band}": rate
        for kind, one in coverage.items()
        for band, rate in zip(BANDS, one.by_lead, strict=True)
    }
    frame = measures_frame(pl.Series("lead", np.arange(1, len(counts) + 1)), means, counts)
    return frame.with_columns(pl.Series(name, rate, nan_to_null=True) for name, rate in rates.items())


def groupings(backtest: Backtest) -> list[Grouping]:
    """Groups of the errors: by series, over time, and by the hour, weekday or month of the target."""
    series = backtest.encoded.series
    rows = np.arange(len(series.values))
    which = np.repeat(np.arange(len(series)), series.lengths)
    used = (rows >= backtest.start[which] - 1) & (rows < backtest.stop[which])
    times = row_times(series)
    made = [group_by_period(times, used)]
    if backtest.folds:
        labels = range(backtest.folds[-1].number + 1)
        made.append(Grouping("fold", backtest.fold_numbers, labels))
    if len(series) > 1:
        made.append(Grouping("series", which, [series.name(index) for index in range(len(series))]))
    if times.dtype.is_temporal():
        made += group_by_season(times, seconds_per_step(series))
    return made


def group_by_period(times: pl.Series, used: np.ndarray) -> Grouping:
    """Origins by equal periods of calendar time, or of steps, at most about ``MOST_PERIODS`` of the rows ``used``."""
    if times.dtype.is_temporal():
        first, end = times.filter(used).min(), times.filter(used).max()  # polars does not type them by the column
        seconds = (end - first).total_seconds()  # type: ignore[operator, union-attr]
        every = next((name for name, length in PERIODS.items() if seconds / length <= MOST_PERIODS), "1y")
        if times.dtype == pl.Date and every.endswith("h"):
            every = "1d"
        parts = times.dt.truncate(every)
    else:
        first, end = int(times.filter(used).min()), int(times.filter(used).max())  # type: ignore[arg-type]
        width = max(1, -(-(end - first + 1) // MOST_PERIODS))
        parts = (times - first) // width * width + first
    labels = parts.filter(used).unique().sort()
    numbers = labels.search_sorted(parts).to_numpy().astype(np.int64)
    return Grouping("origin", np.minimum(numbers, len(labels) - 1), labels.to_list())


def seconds_per_step(series: SeriesSet) -> float:
    """Usual time from one row to the next, in the longest series."""
    assert series.time is not None
    longest = int(series.lengths.argmax())
    times = series.time[series.offsets[longest] : series.offsets[longest + 1]][:1000]
    return float(np.median(np.diff(times) / np.timedelta64(1, "s"))) if len(times) > 1 else 0.0


def group_by_season(times: pl.Series, seconds: float) -> list[Grouping]:
    """Targets by hour of steps shorter than a day, by weekday of days, by month of longer steps; none of years."""
    if seconds < 80_000 and times.dtype != pl.Date:
        return [Grouping("hour", times.dt.hour().to_numpy().astype(np.int64), range(24))]
    if seconds < 5 * 86_400:
        return [Grouping("weekday", times.dt.weekday().to_numpy().astype(np.int64) - 1, WEEKDAYS)]
    if seconds < 200 * 86_400:
        return [Grouping("month", times.dt.month().to_numpy().astype(np.int64) - 1, MONTHS)]
    return []


def frames(backtest: Backtest, made: Iterable[Forecasts], levels: Sequence[float]) -> Iterator[pl.DataFrame]:
    """The forecasts of each batch as rows: id, fold, origin, lead, channel, truth, mean, quantiles."""
    spec, series = backtest.model.spec, backtest.encoded.series
    times, number = row_times(series), pl.Float64 if spec.levels else pl.Float32
    names = pl.Series("id", series.names, pl.Enum(series.names)) if series.names else None
    numbers = pl.Series("fold", backtest.fold_numbers, pl.Int32) if backtest.folds else None
    channels = pl.Series("channel", spec.channels, pl.Enum(spec.channels))
    leads, per_window = np.arange(1, spec.horizon + 1, dtype=np.int32), spec.horizon * len(spec.channels)
    for window, mean, quantiles in made:
        (target, observed), level, count = window.targets, window.inputs.level[:, None], len(mean)
        truth = (target.double() + level).masked_fill(~observed, torch.nan)
        columns = [
            *([] if names is None else [names.gather(window.inputs.series.numpy().repeat(per_window))]),
            *([] if numbers is None else [numbers.gather(window.origin.numpy().repeat(per_window))]),
            times.gather(window.origin.numpy()).alias("origin").gather(np.arange(count).repeat(per_window)),
            pl.Series("lead", np.tile(leads, count * len(spec.channels))),
            channels.gather(np.tile(np.arange(len(spec.channels)).repeat(spec.horizon), count)),
            pl.Series("truth", _flat(truth), nan_to_null=True).cast(number),
            pl.Series("mean", _flat(mean.double() + level)).cast(number),
        ]
        if quantiles:
            chosen = quantiles[backtest.kept][..., len(SCORED) :].unbind(-1)
            columns += [pl.Series(f"q{at:g}", _flat(one)).cast(number) for at, one in zip(levels, chosen, strict=True)]
        yield pl.DataFrame(columns)


def _flat(values: Tensor) -> np.ndarray:
    """(B, H, C) -> (B C H,)."""
    return values.transpose(1, 2).reshape(-1).numpy()


def write_parquet(path: Path, made: Iterator[pl.DataFrame]) -> None:
    """Write frames of the same columns as row groups of one file, as they come; it appears as a whole."""
    first = next(made)

    def source(*_: Any) -> Iterator[pl.DataFrame]:
        yield first
        yield from made

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        register_io_source(source, schema=first.schema).sink_parquet(temporary, compression="snappy")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write the tables as metrics.json and CSV files, and the picture."""
    write_results(directory, {"model": evaluation.name}, evaluation.rows)
    for name in ("by_lead", "by_origin", "by_series", "by_target", "by_fold"):
        frame = getattr(evaluation, name)
        if frame is not None:
            write_csv(directory / f"{name}.csv", [frame.columns, *frame.fill_nan(None).iter_rows()])
    save_figure(evaluation.plot(), directory / "evaluation.png")
