"""A table with gaps to fill: a model is trained on values that are hidden from it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

import numpy as np
from torch import Tensor

from datamodules.covariates.prepare import prepare_covariates
from datamodules.hidden import (
    MISSING,
    OVERLAP,
    ROLES,
    TEST,
    TRAIN,
    VALIDATION,
    CoveringIndex,
    GapEncoder,
    HiddenTensors,
    Hiding,
    Pattern,
    find_gaps,
    observed_of,
)
from datamodules.series import STAGES, SeriesSet, Span
from datamodules.split import Overlap
from datamodules.statistics import merge_ranges
from datamodules.table import Table
from datamodules.tables.reader import read_table
from datamodules.tables.source import plural
from datamodules.tables.values import MissingValues
from datamodules.windows.spec import find_nonnegative, measure_seasonal_errors, measure_spec
from seqmodels.errors import InputError, require_at_least, require_choice
from seqmodels.window import Window, WindowSpec

PATTERNS = ("auto", "random", "blocks", "gaps")
MOST_DRAWS = 100  # until a part has its share


class Gaps(Table):
    """A table with gaps to fill: windows with some values hidden, to be estimated from the others.

    ``hide``: shape of the hidden parts. "random": single values; "blocks": ``hide_steps`` steps at once, of one channel
    or of all, by default of 1 to a third of a window; "gaps": like the gaps of the table; "auto": "gaps" if it has any,
    else "blocks". ``hide_share``: share of a training window that is hidden, on average.

    ``split`` divides the measured values, not time: some of this pattern, drawn by ``split_seed``, are hidden from
    training for validation, and others for the test. ``truth``: a table with the true values of gaps, which are then
    the test part.

    All covariates are those of the same step. All other arguments are those of ``Table``.
    """

    tensors = HiddenTensors

    def __init__(
        self,
        path: str | PathLike[str] | Sequence[str | PathLike[str]] | Any,
        *,
        target: str | Sequence[str],
        past_steps: int = 56,
        hide: str = "auto",
        hide_steps: int | None = None,
        hide_share: float = 0.15,
        truth: str | PathLike[str] | Any = None,
        split: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        time: str | Sequence[str] | None = "auto",
        time_format: str | None = None,
        time_zone: str | None = None,
        id: str | Sequence[str] | None = None,
        layout: str = "auto",
        past_covariates: str | Sequence[str] = (),
        statics: str | Sequence[str] = (),
        missing_values: MissingValues | None = None,
        decimal: str | None = None,
        duplicates: str = "refuse",
        season: int | str = "auto",
        calendar: str | Sequence[str] = (),
        holidays: str | Sequence[str] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        evaluation_batch_size: int = 1024,
        epoch_windows: int | None = None,
        seed: int = 0,
    ):
        super().__init__(
            path,
            target=target,
            time=time,
            time_format=time_format,
            time_zone=time_zone,
            id=id,
            layout=layout,
            past_covariates=past_covariates,
            statics=statics,
            missing_values=missing_values,
            decimal=decimal,
            duplicates=duplicates,
            past_steps=past_steps,
            horizon=1,
            split=split,
            season=season,
            calendar=calendar,
            holidays=holidays,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
            epoch_windows=epoch_windows,
            seed=seed,
        )
        require_choice(PATTERNS, "data", hide=hide)
        require_at_least(3, "data", past_steps=past_steps)
        if hide_steps is not None:
            require_at_least(1, "data", hide_steps=hide_steps)
            if hide != "blocks":
                raise InputError(
                    f"data.hide_steps is the length of blocks, and data.hide is {hide}: set data.hide=blocks."
                )
        if not 0 < hide_share < 0.5:
            raise InputError(f"data.hide_share is {hide_share}; it must lie between 0 and 0.5.")
        shares = [part for part in split if isinstance(part, (int, float)) and 0 <= part < 1]
        if len(shares) != len(split) or len(split) not in (2, 3) or abs(sum(shares) - 1) > 1e-6 or shares[1] == 0:
            raise InputError(f"data.split is {list(split)}; it must be three shares of the values that add up to 1.")
        self.hide, self.hide_steps, self.hide_share, self.truth = hide, hide_steps, hide_share, truth
        self.split_seed = split_seed

    def has_mase(self, stage: str) -> bool:
        return False

    def find_overlap(self) -> Overlap | None:
        return None

    def _split_series(self) -> tuple[dict[str, Span], np.ndarray]:
        """All rows for each stage, since values are divided instead of rows."""
        series = self.series
        observed = observed_of(series)
        check_channels(series, observed, self.past_steps)
        values = series.values
        pattern, notes = self._pattern(observed)
        roles = np.where(observed, TRAIN, MISSING).astype(np.int8)
        random, parts = np.random.default_rng(self.split_seed), [VALIDATION, TEST]
        if self.truth is not None:
            found = self._read_truth(series, observed)
            values = np.where(found > -np.inf, found, values).astype(values.dtype)
            roles[found > -np.inf], parts = TEST, [VALIDATION]
        for role, share in zip(parts, self.split[1:], strict=False):
            roles[draw_part(roles, float(share), pattern, random)] = role
        for stage in STAGES[:2]:
            if not (roles == ROLES[stage]).any():
                raise InputError(
                    f"{series.source}: too few values for data.split={list(self.split)}: none for {stage}."
                )
        self.augmentation, seen = Hiding(pattern, self.hide_share, self.seed), roles == TRAIN
        self.cells = values, roles
        self.series = replace(
            series, values=np.where(seen, series.values, 0), observed=seen, notes=(*series.notes, *notes)
        )
        whole = Span(series.offsets[:-1], series.offsets[1:])
        return dict.fromkeys(STAGES, whole), np.zeros(len(series), bool)

    def _pattern(self, observed: np.ndarray) -> tuple[Pattern, list[str]]:
        """Pattern of the hidden values, and notes on it."""
        channels, gaps, notes = observed.shape[1], find_gaps(observed), []
        if self.hide == "gaps" and not gaps:
            raise InputError(
                f"{self.series.source} has no gap whose pattern data.hide=gaps could follow; use random or blocks."
            )
        longest = max(map(len, gaps), default=0)
        if longest >= self.past_steps:
            notes.append(
                f"the longest gap has {longest:,} steps: a window of {self.past_steps:,} steps sees nothing around its"
                f" middle, which stays empty; data.past_steps={2 * longest} would do"
            )
        if self.hide == "gaps" or (self.hide == "auto" and gaps):
            return Pattern.of(gaps), notes
        whole = [np.eye(channels, dtype=bool)[[one]] for one in range(channels)]
        if self.hide == "random":
            return Pattern.of(whole), notes
        whole += [np.ones((1, channels), bool)] * (channels if channels > 1 else 0)
        lengths = (
            [self.hide_steps]
            if self.hide_steps
            else sorted({*np.geomspace(1, max(1, self.past_steps // 3), 8).astype(int)})
        )
        return Pattern.of([np.repeat(one, length, axis=0) for length in lengths for one in whole]), notes

    def _read_truth(self, series: SeriesSet, observed: np.ndarray) -> np.ndarray:
        """True values (rows, C) of what was not measured, -inf elsewhere."""
        truth = read_table(self.truth, **self.columns)
        same = truth.channels == series.channels and np.array_equal(truth.offsets, series.offsets)
        if not same or truth.names != series.names or not np.array_equal(truth.time, series.time):  # type: ignore[arg-type]
            raise InputError(f"{truth.source}: data.truth must hold the same rows and columns as {series.source}.")
        known = ~observed if truth.observed is None else ~observed & truth.observed
        if not known.any():
            raise InputError(f"{truth.source}: data.truth holds no value that {series.source} lacks.")
        return np.where(known, truth.values, -np.inf)

    def _index_windows(self) -> dict[str, Any]:
        stride = max(1, self.past_steps // OVERLAP)
        return {
            stage: CoveringIndex(
                self.series.offsets, self.past_steps, 1 if stage == "train" else stride, stage,
                (self.cells[1] == ROLES[stage]).any(axis=1),
            )
            for stage in STAGES
        }  # fmt: skip

    def _prepare_series(self) -> tuple[SeriesSet, WindowSpec, Tensor]:
        train = self.spans["train"]
        prepared = prepare_covariates(self.series, train, 1, self.covariate_transforms)
        self.means, self.indicators = prepared.means, prepared.indicators
        series = aligned_covariates(prepared.series)
        prepared = prepared._replace(series=series)
        spec = measure_spec(prepared, train)._replace(
            past_steps=self.past_steps,
            horizon=self.past_steps,
            season=series.season if self.season == "auto" else int(self.season),
            missing=True,
            levels=series.values.dtype == np.float64,
            clock=self.frequency is not None,
            nonnegative=find_nonnegative(series, merge_ranges(train.start, train.stop)),
            kind="past",
        )
        errors = measure_seasonal_errors(series, train, np.zeros(len(series), bool), spec)
        self.denominators = dict.fromkeys(STAGES, errors.denominators)
        return series, spec, errors.units

    def _gathered(self) -> SeriesSet:
        values, roles = self.cells
        return replace(self.series, values=values, observed=roles)

    def sample(self, stage: str, most: int) -> Iterator[Window]:
        for number, window in enumerate(super().sample(stage, most)):
            yield self.augmentation(window, True, 0, number) if stage == "train" else window

    def encoder(self) -> "GapEncoder":
        single = isinstance(self.path, (str, PathLike))
        return GapEncoder(
            spec=self.spec,
            columns=self.columns,
            path=str(self.path) if single else None,
            transforms=self.transforms,
            means=self.means,
            indicators=self.indicators,
            frequency=self.frequency,
            names=self.series.names,
            units=self.loaders["train"].tensors.seasonal_error.cpu(),
            denominators=self.denominators["test"].double(),
        )


def draw_part(roles: np.ndarray, share: float, pattern: Pattern, random: np.random.Generator) -> np.ndarray:
    """Mask (rows, C) of about this share of the measured values, all of them still in training."""
    mask, wanted = np.zeros(roles.shape, bool), share * np.count_nonzero(roles)
    for _ in range(MOST_DRAWS):
        left = wanted - np.count_nonzero(mask)
        if left < 0.5:
            break
        mask |= pattern.draw(random, (1, *roles.shape), np.array([left / roles.size]))[0] & (roles == TRAIN)
    return mask


def aligned_covariates(series: SeriesSet) -> SeriesSet:
    """Series with all covariates among the past ones, which belong to the values of the same step."""
    if series.known_covariates is None:
        return series
    given = [part for part in (series.past_covariates, series.known_covariates) if part is not None]
    return replace(
        series,
        past_covariates=np.concatenate(given, axis=1),
        past_covariate_names=(*series.past_covariate_names, *series.known_covariate_names),
        known_covariates=None,
        known_covariate_names=(),
    )


def check_channels(series: SeriesSet, observed: np.ndarray, steps: int) -> None:
    """Raise InputError for a channel without values, and for fewer rows than a window has."""
    for name, count in zip(series.channels, observed.sum(axis=0).tolist(), strict=True):
        if count == 0:
            raise InputError(
                f"{series.source}: column {name!r} is empty: there is nothing to fill it from; leave it out."
            )
    if len(series.values) < steps:
        raise InputError(
            f"{series.source} has {plural(len(series.values), 'row')}, fewer than data.past_steps={steps}: set"
            f" data.past_steps={max(3, len(series.values) // 2)}."
        )
