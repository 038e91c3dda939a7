"""Leak check: planted leaks are found, each by the right check, and clean data pass."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from command_line import ROOT, files_in, forked, metrics
from data import SeriesData, real

from datamodules.series import SeriesSet
from datamodules.synthetic import TrendSeason, Waves
from datamodules.table import Table
from seqmodels.backbones.base import Backbone
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.leaks.causality import check_causality
from seqmodels.leaks.check import LeakCheck
from seqmodels.leaks.finding import Finding, findings_table
from seqmodels.leaks.regression import Segment, find_gain
from seqmodels.window import Inputs, Statistics

CHECKS = ["statistics", "features", "borders", "causality", "columns", "duplicates"]
SMALL = {"past_steps": 12, "horizon": 3}


def walk(rows: int, seed: int = 0, columns: int = 1) -> np.ndarray:
    """An autoregressive process with weight 0.8 around 100, (rows, columns) float32."""
    noise, values = np.random.default_rng(seed).normal(size=(rows, columns)), np.zeros((rows, columns))
    for t in range(1, rows):
        values[t] = 0.8 * values[t - 1] + noise[t]
    return (100 + 10 * values).astype(np.float32)


def walks(*lengths: int, **fields: Any) -> SeriesSet:
    """Autoregressive series of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return SeriesSet(walk(int(offsets[-1])), offsets, channels=("y",), source="walks", **fields)


def model(data: Any, backbone: Any = zoo.BACKBONES["linear_short"], scaler: str = "standard") -> Forecaster:
    """A new forecaster with a forecast at every step."""
    torch.manual_seed(0)
    return Forecaster(data.spec, zoo.SCALERS[scaler], backbone, zoo.READOUTS["seq_to_seq"], zoo.HEADS["huber"]())


def run_checks(make: Callable[[], Any], trusted: tuple[str, ...] = (), **parts: Any) -> dict[str, Finding]:
    """Findings of all checks by name."""
    data = make()
    data.setup()
    found = LeakCheck(trusted).run(make, model(data, **parts))
    assert [finding.check for finding in found] == CHECKS
    return {finding.check: finding for finding in found}


def verdicts(found: dict[str, Finding]) -> dict[str, str]:
    """Verdicts of the checks that found something."""
    return {name: one.verdict for name, one in found.items() if one.verdict in ("leak", "warning")}


def single_sentence(found: dict[str, Finding], check: str, verdict: str = "leak") -> str:
    """The one sentence of the one check that found something."""
    assert verdicts(found) == {check: verdict}
    (sentence,) = found[check].leaks + found[check].warnings
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def write_csv(path: Path, columns: dict[str, np.ndarray]) -> Path:
    """Write a CSV file of these columns with the digits of a float32."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join("" if value != value else repr(value) for value in row) for row in rows)]
    path.write_text("\n".join(lines).replace("np.float32(", "").replace(")", "") + "\n", encoding="utf-8")
    return path


class ScaledOnAll(SeriesData):
    """Computes its statistics from all rows."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        values = self.series.values.astype(np.float64)
        self.spec = self.spec._replace(target_statistics=Statistics((float(values.mean()),), (float(values.std()),)))


class Changed(SeriesData):
    """Changes the series read before they are split."""

    def __init__(self, series: SeriesSet, change: Callable[[SeriesSet], SeriesSet]):
        super().__init__(series, **SMALL)
        self.change = change

    def setup(self, stage: str | None = None) -> None:
        series = self.change(self.read())
        self.read = lambda: series
        super().setup(stage)


class AcrossTheBorder(SeriesData):
    """Trains on windows of a longer part than its split says."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        longer = SeriesData(self.read(), **SMALL, split=[0.75, 0.1, 0.15])
        longer.setup()
        self.loaders["train"].index = longer.loaders["train"].index


class LooksBack(SeriesData):
    """Claims that the past of a window lies within its part, but reaches across."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.context = "inside"


class BothWays(Backbone):
    """A bidirectional network that claims to be causal."""

    def __init__(self, features: int, past_steps: int):
        super().__init__()
        self.network, self.size = torch.nn.GRU(features, 4, batch_first=True, bidirectional=True), 8

    def initial_state(self, x: torch.Tensor) -> tuple:
        return ()

    def unroll(self, x: torch.Tensor, state: tuple) -> tuple[torch.Tensor, tuple]:
        return self.network(x)[0], ()


class WholeWindow(zoo.affine.StandardScaler):
    """Centres each window on the mean of all its steps, even for forecasts from within it."""

    def forward(self, inputs: Inputs, origins: Any) -> Any:
        centre = inputs.past_target.mean(dim=1, keepdim=True)
        return zoo.affine.AffineScaling(centre, self.scale, centre.unsqueeze(1), self.scale.unsqueeze(1))


def test_statistics_fitted_on_all_rows_are_found() -> None:
    found = run_checks(lambda: ScaledOnAll(walks(300), **SMALL))
    assert verdicts(found) == {"statistics": "leak"}
    mean, deviation = found["statistics"].leaks
    assert "the mean of 'y' (spec.target_statistics) changes by" in mean and "the deviation of 'y'" in deviation
    assert found["statistics"].largest > 10


def test_values_centred_on_all_rows_are_found() -> None:
    found = run_checks(lambda: Changed(walks(300), lambda made: replace(made, values=made.values - made.values.mean())))
    assert verdicts(found) == {"statistics": "leak"}
    assert found["statistics"].leaks[0].startswith("'y' (data.target, past_target) changes by")
    assert "fitted on all rows" in found["statistics"].leaks[0]


def test_training_windows_across_the_border_are_found() -> None:
    found = run_checks(lambda: AcrossTheBorder(walks(300), **SMALL))
    assert verdicts(found) == {"borders": "leak"}
    # The last origin lies 5 % of 300 steps, or 15 windows, further on; it shows in the past of H fewer of them.
    past, target = found["borders"].leaks
    assert target.startswith("15 train windows of 211 hold rows of another part: 'y' (data.target, target)")
    assert past.startswith("12 train windows of 211 ")


def test_evaluation_windows_across_the_border_are_found() -> None:
    found = run_checks(lambda: LooksBack(walks(300), **SMALL))
    assert verdicts(found) == {"borders": "leak"}
    for stage, said in zip(("validation", "test"), found["borders"].leaks, strict=True):
        assert said.startswith(f"12 {stage} windows of 43 ") and said.endswith("or set data.context=across.")


@pytest.mark.parametrize("steps", [3, 5, 31])  # so that the last training windows see it change, or do not
def test_features_that_look_ahead_are_found(steps: int) -> None:

    def add_mean(made: SeriesSet) -> SeriesSet:
        mean = np.convolve(made.values[:, 0], np.ones(steps) / steps, "same").astype(np.float32)[:, None]
        return replace(made, past_covariates=mean, past_covariate_names=("mean",))

    said = single_sentence(run_checks(lambda: Changed(walks(300), add_mean)), "features")
    assert said.startswith("'mean' (data.past_covariates, past_covariates)") and "looks ahead" in said


def test_lags_shorter_than_the_horizon_declared_as_known_are_found() -> None:
    def add_lags(made: SeriesSet) -> SeriesSet:
        lags = np.concatenate([made.values[np.arange(300).clip(min=n) - n] for n in (2, 3)], axis=1)
        return replace(made, known_covariates=lags, known_covariate_names=("lag 2", "lag 3"))

    said = single_sentence(run_checks(lambda: Changed(walks(300), add_lags)), "features")
    assert said.startswith("'lag 2' (data.known_covariates, ") and "lags of at least data.horizon" in said


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"backbone": BothWays}, "model.backbone (BothWays) reads steps after its own"),
        ({"scaler": "whole"}, "model.scaler or model.readout looks at the whole window"),
    ],
)
def test_forecasts_that_depend_on_later_steps_are_found(
    monkeypatch: pytest.MonkeyPatch, parts: dict, words: str
) -> None:
    monkeypatch.setitem(zoo.SCALERS, "whole", WholeWindow)
    said = single_sentence(run_checks(lambda: SeriesData(walks(300), **SMALL), **parts), "causality")
    assert words in said and "forecasts from step" in said


def test_a_forecast_that_depends_on_other_windows_is_found() -> None:
    class Pooled(zoo.rules.Naive):
        def predict(self, inputs: Inputs) -> torch.Tensor:
            return super().predict(inputs) - inputs.past_target.mean()

    found = check_causality(Pooled(zoo.RICH), zoo.window(zoo.RICH).inputs)
    assert found.verdict == "leak" and "with the other windows of its batch" in found.leaks[0]


def test_a_model_that_ignores_its_input_proves_nothing() -> None:
    class Constant(zoo.rules.Naive):
        def predict(self, inputs: Inputs) -> torch.Tensor:
            return torch.ones_like(super().predict(inputs))

    found = check_causality(Constant(zoo.RICH), zoo.window(zoo.RICH).inputs)
    assert found.verdict == "warning" and "nothing is proved" in found.warnings[0]


@pytest.mark.parametrize("name", zoo.BACKBONES)
def test_every_backbone_passes(name: str) -> None:
    every_step = zoo.fits(name, "seq_to_seq")
    forecaster = zoo.forecaster(name, "seq_to_seq" if every_step else "seq_to_vector", "standard", "rich")
    found = check_causality(forecaster, zoo.window(zoo.RICH).inputs)
    # Batch normalisation, in training mode, is the one that mixes steps.
    assert found.verdict == ("warning" if name == "gru_noisy" else "clean")
    assert "batch normalisation" in "".join(found.warnings) or name != "gru_noisy"


def shifted(values: np.ndarray, steps: int) -> np.ndarray:
    """The value of row r + ``steps`` at row r; missing behind the end."""
    moved = np.roll(values, -steps).astype(np.float32)
    moved[-steps:] = np.nan
    return moved


def centred(values: np.ndarray, half: int) -> np.ndarray:
    """Mean of each step and ``half`` steps on either side."""
    result = np.full(len(values), np.nan, np.float32)
    result[half:-half] = np.convolve(values, np.ones(2 * half + 1) / (2 * half + 1), "valid")
    return result


# x(t - 2) is a regressor too, so a mean over h steps on either side gives the sum of the next h - 2.
PLANTED: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "the next value": ("past", lambda y: shifted(y, 1), "the next value of 'y'"),
    "a value three steps on": ("past", lambda y: 5 - 2 * shifted(y, 3), "the next value of 'y'"),
    "a centred mean": ("past", lambda y: centred(y, 3), "the next value of 'y'"),
    "a wide centred mean": ("past", lambda y: centred(y, 14), "the sum of the next 12 values of 'y'"),
    "other units": ("known", lambda y: y / 7 + 3, "the next value of 'y'"),
    "a lag shorter than the horizon": ("known", lambda y: np.concatenate([[y[0]], y[:-1]]), "of 'y'"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_columns_that_hold_the_future_are_found(name: str, tmp_path: Path) -> None:
    kind, plant, words = PLANTED[name]
    y = walk(1200)[:, 0]
    y[17::100] = np.nan  # some values are missing
    columns = {"y": y, "good": walk(1200, seed=1)[:, 0], "bad": plant(walk(1200)[:, 0])}
    path = write_csv(tmp_path / "planted.csv", {key: np.nan_to_num(value, nan=0) if key == "bad" else value
                                               for key, value in columns.items()})  # fmt: skip
    settings = {"target": "y", f"{kind}_covariates": ["good", "bad"], "split": [1000, 100, 80]} | SMALL
    make = partial(Table, path=str(path), **settings)
    said = single_sentence(run_checks(make), "columns")
    assert said.startswith(f"'bad' (data.{kind}_covariates) gives ") and words in said
    trusting = run_checks(make, trusted=("bad",))
    assert verdicts(trusting) == {} and trusting["columns"].largest < 0.3


def test_columns_that_leak_only_together_are_named_in_one_sentence() -> None:
    parts = walk(1200, columns=3)
    total = parts[:, :1] + parts[:, 1:2]
    made = walks(1200, known_covariates=parts, known_covariate_names=("a", "b", "c"))
    said = single_sentence(run_checks(lambda: SeriesData(replace(made, values=total), **SMALL)), "columns")
    assert said.startswith("'a', 'b' (data.known_covariates) together give the next value of 'y' ")


def test_a_leak_with_errors_in_some_rows_is_found() -> None:
    y, random = walk(1500), np.random.default_rng(4)
    ahead = np.roll(y, -1)
    wrong = random.choice(1500, 60, replace=False)
    ahead[wrong] = random.choice([0, 500], size=(60, 1))
    made = walks(1500, past_covariates=ahead, past_covariate_names=("hint",))
    said = single_sentence(run_checks(lambda: SeriesData(made, **SMALL)), "columns")
    assert said.startswith("'hint' (data.past_covariates) gives the next value of 'y' but for ")
    assert " of its variance in 90% of the rows, and " in said


def test_a_partial_leak_is_a_warning_with_its_number() -> None:
    y = walk(1500, seed=0)
    noise = np.random.default_rng(3).normal(scale=4, size=(1500, 1))  # next to innovations of deviation 10
    made = walks(1500, past_covariates=(np.roll(y, -1) + noise).astype(np.float32), past_covariate_names=("hint",))
    said = single_sentence(run_checks(lambda: SeriesData(made, **SMALL)), "columns", "warning")
    share = 100 * 10**2 / (10**2 + 4**2)  # of the innovation's variance, from one noisy look at it
    assert any(f"explains {round(share) + wrong}%" in said for wrong in (-2, -1, 0, 1, 2)) and "'hint'" in said


def test_many_short_series_are_checked_together() -> None:
    count, steps = 60, 40
    y = walk(count * steps)[:, 0] * np.repeat(np.random.default_rng(0).uniform(0.1, 10, count), steps).astype(
        np.float32
    )
    ahead = np.concatenate([shifted(part, 1) for part in np.split(y, count)])[:, None]
    base = walks(*[steps] * count, past_covariate_names=("x",))
    settings = SMALL | {"split": [0.8, 0.2], "split_by": "series"}
    leaky, clean = (replace(base, values=y[:, None], past_covariates=x) for x in (np.nan_to_num(ahead), 0 * ahead + 1))
    for made, verdict in ((leaky, {"columns": "leak"}), (replace(clean, past_covariates=walk(2400, 5)), {})):
        assert verdicts(run_checks(partial(SeriesData, made, **settings))) == verdict


def test_a_category_has_the_same_meaning_in_all_series() -> None:
    """A category names the next of three levels; each series has the middle level and one other."""
    count, steps = 15, 400
    own = np.repeat(np.where(np.arange(count) % 2, 1, 3), steps)
    kinds = np.where(np.random.default_rng(0).random(count * steps) < 0.5, 2, own)
    made = walks(*[steps] * count, past_covariate_names=("word",), categories={"word": ("low", "middle", "high")})
    levels = np.float32([10, 20, 50])[kinds - 1][:, None] + walk(count * steps) / 1000  # no window comes twice
    of_series = kinds.reshape(count, steps)
    ahead, plain = (words.astype(np.float32).reshape(-1, 1) for words in (np.roll(of_series, -1, axis=1), kinds))
    settings = SMALL | {"split": [0.8, 0.2], "split_by": "series"}
    for words, verdict in ((ahead, {"columns": "leak"}), (plain, {})):
        leaky = replace(made, values=levels, past_covariates=words)
        assert verdicts(run_checks(partial(SeriesData, leaky, **settings))) == verdict


def test_a_category_that_is_constant_in_one_series_is_no_calendar() -> None:
    kinds = np.concatenate([np.full(2500, 1), np.random.default_rng(0).integers(2, 4, 2000)])
    y = walk(4500)
    values = np.where(kinds[:, None] == 1, y, 10 * kinds[:, None] + y / 1000).astype(np.float32)
    made = walks(2500, 2000, known_covariates=kinds.astype(np.float32)[:, None], known_covariate_names=("word",),
                 categories={"word": ("any", "low", "high")})  # fmt: skip
    said = single_sentence(run_checks(partial(SeriesData, replace(made, values=values), **SMALL)), "columns")
    assert said.startswith("'word' (data.known_covariates) gives the next value of 'y' of series 1 ")


def test_the_gain_is_that_of_two_least_squares_fits() -> None:
    y, x = walk(400)[:, 0].astype(np.float64), walk(400, seed=1).astype(np.float64)
    x[:, 0] += 3 * np.roll(y, -2)
    found = find_gain([Segment(y, x)], [0, -1, -2], most=3)
    assert found is not None
    past = np.array([[1, *y[t - 3 : t + 1]] for t in range(3, 397)])
    both = np.concatenate([past, [x[[t, t - 1, t - 2], 0] for t in range(3, 397)]], axis=1)
    shares = []
    for k in (1, 2, 3):
        sums = np.array([y[t + 1 : t + 1 + k].sum() for t in range(3, 397)])
        errors = [float(np.linalg.lstsq(design, sums, rcond=None)[1][0]) for design in (past, both)]
        shares.append((1 - errors[1] / errors[0], errors[1] / np.square(sums - sums.mean()).sum()))
    best = next(k for k in range(3) if shares[k][0] >= 0.999 * max(shares)[0])
    assert (found.share, found.rest, found.steps) == pytest.approx((*shares[best], best + 1), rel=1e-6)


def test_the_same_series_under_two_names_is_reported() -> None:
    y = walk(120)
    made = SeriesSet(np.concatenate([y[:60], walk(60, 4), y[:60]]), np.array([0, 60, 120, 180]), ("y",), source="two",
                     names=("a", "b", "copy"))  # fmt: skip
    make = partial(SeriesData, made, **SMALL, split=[1, 1, 1], split_by="series")
    said = single_sentence(run_checks(make), "duplicates", "warning")
    assert (
        said.startswith("46 test windows of 46 also occur in train")
        and "that of copy up to 11 equals that of a up" in said
    )
    assert run_checks(make)["duplicates"].largest == 46


def test_windows_without_change_are_no_duplicates() -> None:
    quiet = np.zeros((300, 1), np.float32)
    quiet[::40] = 1
    found = run_checks(lambda: SeriesData(replace(walks(300), values=quiet), **SMALL))
    assert verdicts(found) == {}


HOLES = np.random.default_rng(2).random((300, 1)) > 0.1
DAYS = np.arange("2020-01-01", "2020-10-27", dtype="datetime64[D]").astype("datetime64[us]")
LETTERS = np.random.default_rng(6).integers(0, 4, (530, 1)).astype(np.float32)
WORDS = 1 + np.random.default_rng(7).integers(0, np.repeat([2, 3, 4], 60)).astype(np.float32)[:, None]
CLEAN: dict[str, Callable[[], Any]] = {
    "waves": partial(Waves, series=120, past_steps=20, horizon=5, split=[0.7, 0.2, 0.1], split_by="series",
                     context="inside"),
    "trend_season": partial(TrendSeason, steps=400, split=[300, 100], period=30, harmonics=2, **SMALL),
    "noise free": partial(TrendSeason, steps=400, noise=0.0, period=31, harmonics=3, split=[300, 60, 40], **SMALL),
    "several series": partial(SeriesData, walks(150, 90, 200), **SMALL),
    "inside": partial(SeriesData, walks(200, 300), context="inside", **SMALL),
    "dates": partial(SeriesData, walks(300, time=DAYS), split=["2020-02-01", "2020-08-01", "2020-09-01", "2020-10-01"],
                     **SMALL),
    "missing": partial(SeriesData, replace(walks(300), values=walk(300) * HOLES, observed=HOLES), **SMALL),
    "covariates": partial(SeriesData, walks(300, past_covariates=walk(300, 1, 2), past_covariate_names=("a", "b"),
                                      known_covariates=walk(300, 2), known_covariate_names=("c",)), **SMALL),
    "lanes": partial(SeriesData, walks(400, 300), lanes=4, **SMALL),
    "short series": partial(SeriesData, walks(200, 13, 20, 8, 150), **SMALL),
    "one window each": partial(SeriesData, walks(300), split=[-6, -3], **SMALL),
    "series with words of their own": partial(
        SeriesData, walks(60, 60, 60, past_covariates=WORDS, past_covariate_names=("word",),
                    categories={"word": tuple("abcd")}), **SMALL),
    "derived columns": partial(SeriesData, walks(300, time=DAYS), calendar=["weekday", "month"], holidays="US",
                               lags=[2, 14], rolling=["mean_7", "deviation_14"], **SMALL),
    "drawn": partial(SeriesData, walks(300, 120), sampling="length", epoch_windows=100, fold=1,
                     winsorise=0.02, **SMALL),
    "rich": partial(SeriesData, walks(200, 150, 180, static=np.float32([[1, 1], [2, 5], [1, 9]]),
                                static_names=("kind", "size"),
                                past_covariates=LETTERS, past_covariate_names=("letter",),
                                known_covariates=np.where(LETTERS > 2, np.nan, walk(530, 3)),
                                known_covariate_names=("holes",),
                                categories={"letter": ("a", "b", "c"), "kind": ("k", "l")}), **SMALL),
}  # fmt: skip


@pytest.mark.parametrize(("split", "warned"), [([-60, -30], True), ([140, 30, 30], True), ([0.7, 0.15, 0.15], False)])
def test_parts_that_overlap_in_time_are_a_warning(split: list, warned: bool) -> None:
    series = walks(200, 200, time=np.concatenate([DAYS[:200], DAYS[100:300]]))
    found = run_checks(partial(SeriesData, series, split=split, **SMALL))["borders"]
    assert (found.verdict, len(found.warnings)) == (("warning", 1) if warned else ("clean", 0))
    assert not warned or found.warnings[0].startswith("training rows of 1 series lie after the first test date 2020-0")


@pytest.mark.parametrize("name", CLEAN)
def test_clean_data_pass(name: str) -> None:
    found = run_checks(CLEAN[name])
    # A season without noise repeats value for value, which is a warning.
    assert {key: said for key, said in verdicts(found).items() if name != "noise free"} == {}
    assert all(one.verdict != "leak" and one.done for one in found.values())
    assert all((one.largest is None) == (one.verdict == "not checked") for one in found.values())
    assert findings_table(list(found.values())).row_count == len(CHECKS)


def test_the_real_ridership_passes() -> None:
    settings = {"target": ["rail_boardings", "bus"], "time": "service_date", "known_covariates": ["day_type"]}
    found = run_checks(partial(Table, path=str(real("ridership/ridership.csv")), past_steps=28, horizon=7, **settings))
    assert verdicts(found) == {} and 0.3 < found["columns"].largest < 0.9


def test_the_parts_of_a_real_sum_are_known_only_afterwards() -> None:
    path = str(real("bike_sharing/hour.csv"))
    make = partial(Table, path=path, target="cnt", time=None, past_steps=24, horizon=6)
    for kind, verdict in (("past", {}), ("known", {"columns": "leak"})):
        found = run_checks(partial(make, **{f"{kind}_covariates": ["temp", "casual", "registered"]}))
        assert verdicts(found) == verdict
    assert "'casual', 'registered' (data.known_covariates)" in found["columns"].leaks[0]


def test_trusted_columns_must_exist() -> None:
    made = walks(300, past_covariates=walk(300, 1), past_covariate_names=("wind",))
    with pytest.raises(InputError, match=r"leaks\.trusted holds 'win', which is no covariate.* Nearest: wind\."):
        run_checks(lambda: SeriesData(made, **SMALL), trusted=("win",))


def test_rows_dropped_by_setup_are_refused() -> None:
    def drop_row(made: SeriesSet) -> SeriesSet:
        return replace(made, values=made.values[1:], offsets=np.array([0, len(made.values) - 1]))

    with pytest.raises(InputError, match=r"walks: data\.setup\(\) leaves 299 of 300 rows"):
        run_checks(lambda: Changed(walks(300), drop_row))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty working directory beside the table of docs/leaks.md."""
    directory, rides = tmp_path / "work", walk(600)[:, 0]
    directory.mkdir()
    days = np.arange("2020-01-01", "2021-08-23", dtype="datetime64[D]")
    smooth = np.convolve(np.pad(rides, 3, "edge"), np.ones(7) / 7, "valid")
    lines = [f"{day},{value},{mean:.7g}" for day, value, mean in zip(days, rides, smooth, strict=True)]
    (tmp_path / "rides.csv").write_text("\n".join(["date,rides,smooth", *lines]) + "\n")
    return directory


GUIDE = (ROOT / "docs/leaks.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[2:] for line in re.findall(r"^seqmodels check .*", GUIDE, re.MULTILINE)]
CSV = ("data=csv", "data.path=../rides.csv", "data.time=date", "data.target=[rides]")
QUICK = ("model=linear", "data.past_steps=12", "data.horizon=3")


def test_the_command_ends_with_0_where_nothing_leaks(place: Path) -> None:
    ended = forked(place, *CSV, *QUICK, "hydra.run.dir=run", command="check")
    assert (ended.code, ended.err) == (0, "") and "Everything about this check is in run" in ended.out
    assert files_in(place / "run") == ["command.txt", "config.yaml", "environment.json", "metrics.json"]
    written = metrics(place / "run")
    assert [row["check"] for row in written["findings"]] == CHECKS and written["monitor"]["value"] == 0
    assert (place / "run/command.txt").read_text().startswith("seqmodels check data=csv ")


def test_the_command_ends_with_1_and_a_sentence_for_each_leak(place: Path) -> None:
    """The commands and the sentence of docs/leaks.md."""
    found, trusted = COMMANDS
    ended = forked(place.parent, *found, "hydra.run.dir=run", command="check")
    (sentence,) = re.findall(r"^leak: (?:.|\n)*?\.$", GUIDE, re.MULTILINE)
    assert ended.code == 1 and re.sub(r"\d[\d.e-]*", "0", ended.err) == re.sub(r"\d[\d.e-]*", "0", sentence) + "\n"
    assert metrics(place.parent / "run")["monitor"] == {"name": "leaks", "value": 1}
    ended = forked(place.parent, *trusted, command="check")
    assert (ended.code, ended.err) == (0, "")


def test_unknown_keys_are_refused(place: Path) -> None:
    ended = forked(place, *CSV, *QUICK, "leaks.trust=[x]", command="check")
    assert ended.code == 2 and ended.err.startswith("error: ") and "Nearest: leaks.trusted" in ended.err
    assert files_in(place) == []


def test_trained_weights_are_checked(place: Path) -> None:
    short = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none", "hydra.run.dir=train")
    assert forked(place, *CSV, *short, *QUICK).code == 0
    ended = forked(place, *CSV, *QUICK, "ckpt_path=train/checkpoints/best.ckpt", "hydra.run.dir=run", command="check")
    assert (ended.code, ended.err) == (0, "") and "metrics.json" in files_in(place / "run")
