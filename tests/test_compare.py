"""Comparisons: their figures against independent formulas, and the command from training to the page."""

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from command_line import forked

from seqmodels.cli.sweep import SweepJob, edges_of_range, print_objections
from seqmodels.inference import scores
from seqmodels.inference.scores import SCORED, SUMS, Scales, WindowScores
from seqmodels.report.comparison import (
    RATIOS,
    Comparison,
    Contestant,
    Windows,
    group_windows,
    measure,
    seeds_differ_more,
)
from seqmodels.report.leaderboard import Board, Failure, page
from seqmodels.window import Window


def scored(batch: int = 9, bands: bool = True) -> tuple[WindowScores, Window, torch.Tensor, torch.Tensor, Scales]:
    """Scores of random forecasts of windows with missing values, a level, and a series without a scale."""
    inputs, targets, _ = zoo.window(zoo.RICH, batch=batch)
    random = torch.Generator().manual_seed(3)
    level = torch.randn(inputs.level.shape, generator=random, dtype=torch.float64)
    inputs = inputs._replace(series=torch.arange(batch) % 3, level=level)
    window = Window(inputs, targets, torch.arange(batch))
    forecast = targets.target + torch.randn(targets.target.shape, generator=random)
    spread = torch.randn((*forecast.shape, len(SCORED)), generator=random).double()
    order = torch.tensor(SCORED).argsort()
    quantiles = torch.empty_like(spread)
    quantiles[..., order] = spread.sort(dim=-1).values + forecast[..., None]
    channels = forecast.shape[2]
    absolute = 0.5 + torch.rand(3, channels, generator=random, dtype=torch.float64)
    absolute[1, 0] = torch.nan
    scales = Scales(absolute, absolute.square() * 1.3)
    made = WindowScores(batch, scales)
    for part in (slice(0, 4), slice(4, None)):
        cut = Window(*(type(one)(*(field[part] for field in one)) for one in window[:2]), window.origin[part])
        made.add(forecast[part], quantiles[part] if bands else None, cut)
    return made, window, forecast, quantiles, scales


def test_each_measure_equals_numpy_over_what_was_observed() -> None:
    made, window, forecast, quantiles, scales = scored()
    _, _, sums = made.rows()
    level = window.inputs.level.numpy()[:, None]
    truth, mean = window.targets.target.numpy().astype(float) + level, forecast.numpy().astype(float) + level
    seen, error = window.targets.observed.numpy(), mean - truth
    unit, square = (scale.numpy()[window.inputs.series.numpy()][:, None] for scale in scales)
    unit, square = np.broadcast_to(unit, error.shape), np.broadcast_to(square, error.shape)
    known = seen & np.isfinite(unit)
    assert 0 < known.sum() < seen.sum() < seen.size
    at = np.moveaxis(quantiles.numpy(), -1, 0)
    deciles = [(step / 10, at[5 + step]) for step in range(1, 10)]
    pinball = np.mean([2 * np.maximum(q * (truth - low), (q - 1) * (truth - low)) for q, low in deciles], axis=0)
    expected = {
        "mase": (np.abs(error) / unit)[known].mean(),
        "rmsse": np.sqrt((error**2 / square)[known].mean()),
        "mae": np.abs(error)[seen].mean(),
        "wape": 100 * np.abs(error)[seen].sum() / np.abs(truth)[seen].sum(),
        "smape": 100 * (2 * np.abs(error) / (np.abs(truth) + np.abs(mean)))[seen].mean(),
        "wql": pinball[seen].sum() / np.abs(truth)[seen].sum(),
        "crps": pinball[seen].mean(),
        "bias": 100 * error[seen].sum() / np.abs(truth)[seen].sum(),
    }
    assert SCORED[:6] == (0.25, 0.75, 0.1, 0.9, 0.025, 0.975)
    for band, (low, high) in zip((50, 80, 95), (at[:2], at[2:4], at[4:6]), strict=True):
        expected[f"coverage_{band}"] = 100 * ((truth >= low) & (truth <= high))[seen].mean()
        expected[f"width_{band}"] = ((high - low) / unit)[known].mean()
    found = {name: float(measure(name, sums.sum(axis=0))) for name in RATIOS}
    assert found == pytest.approx(expected, rel=1e-12) and found.keys() == expected.keys()


def test_figures_without_bands_are_none_and_those_of_the_forecast_stay() -> None:
    with_bands, without = scored()[0].rows()[2].sum(axis=0), scored(bands=False)[0].rows()[2].sum(axis=0)
    for name in RATIOS:
        banded = name in ("wql", "crps") or name.startswith(("coverage", "width"))
        assert math.isnan(measure(name, without)) == banded
        assert banded or measure(name, without) == measure(name, with_bands)


def test_many_windows_are_added_up_to_neighbours_without_changing_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scored(40)[0].rows()[2]
    monkeypatch.setattr(scores, "MOST_ROWS", 8)
    made = scored(40)[0]
    series, origins, sums = made.rows()
    assert made.every == 5 and len(sums) < len(whole)
    assert len({*zip(series.tolist(), (origins // 5).tolist(), strict=True)}) == len(sums)
    np.testing.assert_allclose(sums.sum(axis=0), whole.sum(axis=0), rtol=1e-12)


def contestant(name: str, losses: np.ndarray, *others: np.ndarray) -> Contestant:
    """Runs with these absolute errors of one value in each window, in scaled and in plain units."""
    runs = []
    for values in (losses, *others):
        sums = np.ones((len(values), len(SUMS)))
        for place, column in enumerate(SUMS):
            sums[:, place] = values if column in ("scaled", "absolute") else sums[:, place]
        runs.append(sums)
    return Contestant(name, runs, fit_seconds=len(name))


RANDOM = np.random.default_rng(0)
HARD = RANDOM.gamma(2.0, size=(30, 6)) * RANDOM.gamma(1.0, size=(30, 1)) + 0.1  # 30 series of 6 windows
PANEL = Windows(np.repeat([f"s{index:02}" for index in range(30)], 6), np.tile(np.arange(6), 30), 3)
FORECASTS = {
    "good": HARD.ravel() * 0.6,
    "same": HARD.ravel() * 0.6 + RANDOM.normal(scale=0.02, size=180),
    "seasonal naive": HARD.ravel(),
    "bad": HARD.ravel() * RANDOM.uniform(0.9, 3.0, size=180),
}


def compared(windows: Windows = PANEL, **forecasts: np.ndarray) -> Comparison:
    chosen = forecasts or FORECASTS
    return Comparison.of(windows, [contestant(name.replace("_", " "), losses) for name, losses in chosen.items()])


def test_skill_and_win_rate_are_those_of_fev_with_series_as_tasks() -> None:
    """1 - geometric mean of clipped relative errors; share of pairs with a smaller error, ties as halves."""
    made = compared()
    assert made.units[1] == "series" and made.name == "mase"
    errors = {name: losses.reshape(30, 6).mean(axis=1) for name, losses in FORECASTS.items()}
    for place, one in enumerate(made.contestants):
        relative = np.clip(errors[one.name] / errors["seasonal naive"], 0.01, 100)
        assert made.skill[place] == pytest.approx(100 * (1 - np.exp(np.log(relative).mean())))
        wins = [
            (errors[one.name] < errors[other]).mean() + 0.5 * (errors[one.name] == errors[other]).mean()
            for other in errors
            if other != one.name
        ]
        assert made.wins[place].mean() == pytest.approx(100 * np.mean(wins))
    assert made.errors.tolist() == sorted(made.errors.tolist())


def test_relative_errors_are_clipped_and_series_without_a_unit_left_out() -> None:
    perfect, losses = np.zeros(180), FORECASTS["seasonal naive"].copy()
    losses[:6] = 0.0
    made = compared(perfect=perfect, seasonal_naive=losses)
    assert [one.name for one in made.contestants] == ["perfect", "seasonal naive"]
    wanted = np.log([1.0] + [0.01] * 29).mean()  # both make no error in the first series
    assert made.skill[0] == pytest.approx(100 * (1 - np.exp(wanted)))
    assert made.wins[0].mean() == pytest.approx(100 * 29.5 / 30)
    for one in made.contestants:
        one.sums[0][6:12, SUMS.index("scalable")] = one.sums[0][6:12, SUMS.index("scaled")] = 0.0
    made, wanted = Comparison.of(PANEL, made.contestants), np.log([1.0] + [0.01] * 28).mean()
    assert made.measured.sum() == 29 and made.skill[0] == pytest.approx(100 * (1 - np.exp(wanted)))


def test_intervals_are_reproducible_and_those_of_resampled_series() -> None:
    made, again = compared(), compared()
    for name in ("mase", "skill", "win_rate"):
        assert made.interval(name) == again.interval(name)
    drawn = np.random.default_rng(0).integers(30, size=(1000, 30))
    losses = FORECASTS[made.contestants[0].name].reshape(30, 6).mean(axis=1)
    wanted = np.quantile(losses[drawn].mean(axis=1), (0.025, 0.975))
    np.testing.assert_allclose(made.interval("mase")[0], wanted, rtol=1e-12)
    assert all(low < error < high for (low, high), error in zip(made.interval("mase"), made.errors, strict=True))


@pytest.mark.parametrize(
    ("windows", "units", "kind"),
    [
        (PANEL, 30, "series"),
        (Windows(np.repeat("a", 400), np.arange(400), 7), 20, "blocks of time"),
        (Windows(np.repeat("a", 400), np.arange(400), 80), 5, "blocks of time"),
        (Windows(np.repeat(["a", "b"], 90), np.tile(np.arange(90), 2), 1), 10, "blocks of time"),
    ],
)
def test_windows_of_few_series_are_resampled_in_blocks_of_time(windows: Windows, units: int, kind: str) -> None:
    place, found = group_windows(windows)
    assert (len(np.unique(place)), found) == (units, kind) and place.min() == 0 and place.max() == units - 1
    if kind != "series":
        assert all(np.ptp(place[windows.moments == moment]) == 0 for moment in windows.moments)
        assert (np.diff(place[: len(np.unique(windows.moments))]) >= 0).all()


def test_differences_are_tested_for_each_pair() -> None:
    single = Windows(np.repeat("a", 180), np.arange(180), 1)
    made = compared(single)
    names = [one.name for one in made.contestants]
    good, same, bad = (names.index(name) for name in ("good", "same", "bad"))
    difference = FORECASTS["good"] - FORECASTS["bad"]
    wanted = difference.mean() / np.sqrt(difference.var(ddof=1) / 180)  # of one step: Student's t
    from scipy.stats import t as student

    assert made.chances[good, bad] == made.chances[bad, good] == pytest.approx(2 * student.sf(abs(wanted), 179))
    assert made.against_best(0) == "best" and made.against_best(bad) == "worse <0.001"
    assert made.verdict(good, same).startswith("tie 0.") and made.verdict(good, bad) == "better <0.001"
    few = compared(Windows(np.repeat("a", 20), np.arange(20), 1), **{key: one[:20] for key, one in FORECASTS.items()})
    assert few.against_best(1) == "-" and math.isnan(few.interval("mase")[0].low)
    assert "few-windows" in [code for code, _ in few.objections]


def test_runs_are_averaged_and_their_range_is_kept() -> None:
    one = contestant("lstm", HARD.ravel(), HARD.ravel() * 1.5)
    made = Comparison.of(PANEL, [one, contestant("naive", HARD.ravel() * 3)])
    assert made.errors[0] == pytest.approx(HARD.mean() * 1.25)
    assert made.singles(made.contestants[0]) == pytest.approx([HARD.mean(), HARD.mean() * 1.5])


@pytest.mark.parametrize(
    ("rivals", "codes"),
    [
        ({"ridge": 0.5, "naive": 2.0}, {"worse-than-ridge": "lstm, gru are worse than ridge: MASE"}),
        ({"seasonal_naive": 0.8}, {"worse-than-naive": "gru is worse than seasonal naive: MASE"}),
        ({"ridge": 0.5, "naive": 0.5}, {"worse-than-ridge": "", "worse-than-naive": "lstm, gru are worse than naive"}),
        ({"ridge": 1.5, "naive": 2.0}, {}),
    ],
)
def test_rivals_that_are_not_beaten_are_objected_to(rivals: dict[str, float], codes: dict[str, str]) -> None:
    made = compared(lstm=HARD.ravel() * 0.7, gru=HARD.ravel(), **{key: HARD.ravel() * by for key, by in rivals.items()})
    found = dict(made.objections)
    assert found.keys() == codes.keys() and all(text in found[code] for code, text in codes.items())


@pytest.mark.parametrize(
    ("values", "objects"),
    [
        ({"a": [1.0, 1.4, 0.7], "b": [1.1, 0.8, 1.3]}, True),
        ({"a": [1.0, 1.01, 0.99], "b": [1.3, 1.31, 1.29]}, False),
        ({"a": [1.0, 1.4, 0.7], "b": [1.1]}, False),  # one seed says nothing
        ({"a": [1.0, 1.4], "b": [1.1, 0.9], "naive": [3.0, 3.0, 3.0]}, True),  # naive has no seeds
    ],
)
def test_seeds_that_differ_more_than_models_are_objected_to(values: dict[str, list[float]], objects: bool) -> None:
    found = seeds_differ_more(values, "MASE")
    assert (found is not None) == objects
    assert found is None or re.search(
        r"deviation of MASE is 0\.\d+ over the seeds .* 0\.\d+ over the means of 2 models", found.text
    )


def job(value: float, **overrides: str) -> SweepJob:
    return SweepJob("0", {key.replace("__", "."): one for key, one in overrides.items()}, "mae", value, False, 0, 0, "")


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        (
            [job(3, lr="0.1"), job(2, lr="0.01"), job(1, lr="1e-3")],
            "has lr=1e-3, the smallest of 3 values: try smaller",
        ),
        (
            [job(3, hidden="8"), job(2, hidden="16"), job(1, hidden="32")],
            "hidden=32, the largest of 3 values: try larger",
        ),
        ([job(1, lr="0.1"), job(2, lr="0.01"), job(3, lr="1")], ""),
        ([job(3, lr="0.1"), job(1, lr="0.01")], ""),  # two values are no range
        ([job(3, dropout="0.2"), job(2, dropout="0.1"), job(1, dropout="0")], ""),  # nothing is below
        ([job(3, layers="3"), job(2, layers="2"), job(1, layers="1")], ""),
        ([job(3, model="a"), job(2, model="b"), job(1, model="c")], ""),
        ([job(3, seed="0"), job(2, seed="1"), job(1, seed="2")], ""),
        (
            [job(0.1, lr="1", seed="0"), job(9, lr="1", seed="1"), job(2, lr="2", seed="0"), job(3, lr="3", seed="0")],
            "",
        ),
    ],
)
def test_a_best_value_at_the_edge_of_its_range_is_objected_to(jobs: list[SweepJob], said: str) -> None:
    found = [text for _, text in edges_of_range(jobs)]
    assert len(found) == bool(said) and all(said in text for text in found)


def test_folds_are_no_models_whose_seeds_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Means of the folds: 2.0 and 2.02 of the seeds of a, 3.0 and 3.02 of b."""
    values = {("a", "0"): (1.0, 1.04), ("a", "1"): (3.0, 3.0), ("b", "0"): (2.0, 2.04), ("b", "1"): (4.0, 4.0)}
    jobs = [
        job(value, model=model, data__fold=fold, seed=str(seed))
        for (model, fold), both in values.items()
        for seed, value in enumerate(both)
    ]
    print_objections(jobs)
    assert capsys.readouterr().out == ""
    print_objections([one._replace(value=one.value + 2 * (one.overrides["seed"] == "1")) for one in jobs])
    assert "1.428 over the seeds of a model, and 0.7071 over the means of 2 models" in capsys.readouterr().out


def test_the_page_has_no_script_and_escapes_what_users_wrote() -> None:
    evil = "<script>alert(1)</script>"
    failures = [Failure(evil, "no <b>reason</b>")]
    text = page(Board(compared(), {}, failures, [{"model": evil, "seed": 0, "error": ""}], "All <i>models</i>"))
    assert "<script" not in text and "<b>reason" not in text and "<i>" not in text and evil[8:15] in text
    assert not re.search(r"https?://|//cdn|@import|<link|src=", text) and "prefers-color-scheme: dark" in text


SMALL = ("data.series=300", "data.past_steps=20", "trainer.max_epochs=1", "data.split=[0.6,0.2,0.2]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a comparison of models of which one fails."""
    place = tmp_path_factory.mktemp("compare") / "work"
    place.mkdir()
    given = ("model=linear", "seed=0,1", "optimizer.lr=0.01,1e30", "trainer.gradient_clip_val=null")
    ended = forked(place, *given, *SMALL, "scheduler=constant", "hydra.sweep.dir=made", command="compare")
    assert ended.code == 1, ended.err
    (place / "out.txt").write_text(ended.out)
    return place


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_command_trains_ranks_and_counts_failures(place: Path) -> None:
    out, board, runs = (
        (place / "out.txt").read_text(),
        rows_of(place / "made/leaderboard.csv"),
        rows_of(place / "made/runs.csv"),
    )
    ranked = {row["model"]: row for row in board if row["rank"]}
    assert ranked.keys() == {"linear lr=0.01", "naive", "ridge"}
    (failed,) = (row for row in board if not row["rank"])
    assert failed["model"] == "linear lr=1e+30, seeds 0, 1" and "nan" in failed["error"]
    assert f"failed: {failed['model']}: " in " ".join(out.split()) and "2 of 4 jobs failed" in out
    assert len(runs) == 4 and sum(bool(run["error"]) for run in runs) == 2
    for run in runs:
        assert run["command"].startswith("seqmodels train model=") and f"seed={run['seed']}" in run["command"]
        assert run["error"] or (re.search("torch [0-9]", run["versions"]) and run["data"] and run["chosen_by"])
    wanted = [float(run["mase"]) for run in runs if run["model"] == "linear lr=0.01"]
    assert float(ranked["linear lr=0.01"]["mase"]) == pytest.approx(np.mean(wanted), rel=1e-9)
    assert len({run["data"] for run in runs if not run["error"]}) == 1
    assert (place / "made/leaderboard.html").stat().st_size > 3000 and (place / "made/pairs.csv").is_file()


def test_the_sums_of_a_run_give_its_table(place: Path) -> None:
    folder = next((place / "made").glob("*linear*lr-0.01*seed-0*"))
    rows = [row for row in json.loads((folder / "metrics.json").read_text())["rows"] if row["stage"] == "test"]
    frame = pl.read_parquet(folder / "test_windows.parquet")
    assert {row["row"] for row in rows} == {"linear", "naive", "ridge"}
    for row in rows:
        own = frame.filter(pl.col("row") == ("model" if row["row"] == "linear" else row["row"]))
        sums = own.select(SUMS).to_numpy().sum(axis=0)
        assert len(own) == row["windows"] == 60
        for name in ("mae", "mase", "wql"):
            assert float(measure(name, sums)) == pytest.approx(row[name], rel=1e-6), (row["row"], name)


def test_runs_that_exist_are_compared_without_training(place: Path) -> None:
    chosen = [f"made/{folder.name}" for folder in sorted((place / "made").glob("*lr-0.01*"))]
    assert len(chosen) == 2
    ended = forked(place, *chosen, "hydra.run.dir=again", command="compare")
    assert (ended.code, ended.err) == (0, "") and "epoch" not in ended.out
    before = {row["model"].removesuffix(" lr=0.01"): row["mase"] for row in rows_of(place / "made/leaderboard.csv")}
    for row in rows_of(place / "again/leaderboard.csv"):
        assert row["mase"] == before[row["model"]]
    assert (place / "again/command.txt").read_text().startswith("seqmodels compare 'runs=[")


def test_python_gives_the_same_figures(place: Path) -> None:
    import seqmodels as sm

    board = sm.compare(place / "made")
    written = rows_of(place / "made/leaderboard.csv")
    assert board.table["model"].to_list() == [row["model"] for row in written]
    assert [f"{value}" for value in board.table["mase"].drop_nulls()] == [row["mase"] for row in written if row["mase"]]
    assert "linear lr=0.01" in repr(board) and "failed: linear lr=1e+30, seeds 0, 1" in " ".join(repr(board).split())


def change(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(column) * 1.5)


REFUSED: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "other numbers of windows": (lambda frame: frame.head(len(frame) // 3 * 2), "test windows"),
    "other origins": (lambda frame: frame.with_columns(pl.col("time") + 1), "have other test windows"),
    "other series": (lambda frame: frame.with_columns(pl.col("series") + "x"), "have other test windows"),
    "other values": (lambda frame: change(frame, "size"), "forecast other values in their test windows"),
    "another season": (lambda frame: change(frame, "scaled"), "measure MASE in other units"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_runs_on_other_windows_are_refused(place: Path, name: str) -> None:
    from seqmodels.cli.compare import find_runs, make_board
    from seqmodels.errors import InputError

    alter, said = REFUSED[name]
    one, two = find_runs([str(next((place / "made").glob(f"*lr-0.01*seed-{seed}*"))) for seed in (0, 1)])
    for row, frame in two.rows.items():
        two.rows[row] = alter(frame)
    two.settings["data.horizon"] = 99
    with pytest.raises(InputError, match=rf"{said}.*data.horizon=10 and 99"):
        make_board([one, two], "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("made", "out.txt"), "out.txt is no directory"),
        (("empty",), "empty holds no run"),
        (("model=linear,nosuch",), "model=nosuch"),
        (("models=[linear,gru]",), "models"),
        (("made", "model=linear"), "model=linear changes nothing in runs that exist"),
        (("runs=[nowhere]",), "nowhere does not exist"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    place: Path, arguments: tuple[str, ...], said: str
) -> None:
    (place / "empty").mkdir(exist_ok=True)
    ended = forked(place, *arguments, command="compare")
    assert (ended.code, ended.out) == (2, "") and ended.err.count("\n") == 1 and said in ended.err
    assert not (place / "runs").exists()
