"""Each objection fires at its fault and is silent without it; the test of a difference against statsmodels."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm_api
import torch
from data import integers

import seqmodels as sm
from datamodules.series import SeriesSet, Span
from seqmodels.metrics import MODEL, NAIVE, SEASONAL_NAIVE, ErrorTable
from seqmodels.report.objections import (
    CHECKS,
    Bands,
    Evidence,
    diebold_mariano,
    difference_by_chance,
    find_objections,
    level_changes,
)

ROOT = Path(__file__).parents[1]
RANDOM = np.random.default_rng(0)
NOISE = {
    row: size * RANDOM.normal(size=(200, 4, 1))
    for row, size in {MODEL: 1.0, SEASONAL_NAIVE: 1.5, NAIVE: 3.0, "ridge": 1.3}.items()
}


def table(errors: np.ndarray) -> ErrorTable:
    absolute = torch.from_numpy(np.abs(errors).mean(axis=0))
    count = torch.full_like(absolute, len(errors))
    return ErrorTable(absolute, absolute**2, absolute, count, count, absolute, absolute)


def evidence(errors=NOISE, validation=NOISE, **changes) -> Evidence:
    stages = {"validation": validation, "test": errors}
    found = Evidence(
        "lstm",
        {stage: {row: table(values) for row, values in rows.items()} for stage, rows in stages.items()},
        {stage: len(rows[MODEL]) for stage, rows in stages.items()},
        stages,
        np.arange(len(errors[MODEL])),
        np.zeros(len(errors[MODEL]), np.int64),
        Bands(0.79, 2.5, 3.0),
        best_epoch=7,
        epochs=10,
        validations=[1.0 - 0.01 * epoch for epoch in range(7)] + [0.95] * 3,
        levels=(0.3, 0.4),
    )
    return found._replace(**changes)


def with_errors(**rows: np.ndarray) -> dict[str, np.ndarray]:
    return NOISE | {name.replace("_", " "): values for name, values in rows.items()}


def test_a_good_run_has_none():
    assert find_objections(evidence()) == []
    untested = evidence()
    assert find_objections(untested._replace(results={"validation": untested.results["validation"]})) == []


UNSURE = np.random.default_rng(8).permutation(np.repeat([1.1, 0.91], 100))[:, None, None]  # times an error
CHANGES = np.random.default_rng(1).normal(size=(200, 4, 1)) * 3.0  # of the truth from the last value
FAULTS = {
    "worse-than-naive": (
        {"errors": with_errors(model=NOISE[MODEL] * 2)},
        r"lstm is worse than seasonal naive: MASE 1\.\d+",
    ),
    "no-better-than-naive": (
        {"errors": with_errors(seasonal_naive=NOISE[MODEL] * UNSURE)},
        r"better than seasonal naive by no more than chance may bring: MASE .* p = 0\.\d\d",
    ),
    "worse-than-ridge": (
        {"errors": with_errors(ridge=NOISE[MODEL] * 0.9), "seconds": {MODEL: 38.24, "ridge": 0.12}},
        r"worse than ridge: MASE \S+ against \S+; training took 38\.2 s against 0\.1 s\.$",
    ),
    "no-better-than-ridge": (
        {"errors": with_errors(ridge=NOISE[MODEL] * UNSURE), "seconds": {MODEL: 0.05, "ridge": 0.12}},
        r"better than ridge by no more than chance may bring: MASE \S+ against \S+, p = 0\.\d\d\.$",
    ),
    "worse-than-rival": (
        {"errors": with_errors(auto_ets=NOISE[MODEL] * 0.9, theta=NOISE[MODEL] * 0.95, mstl=NOISE[MODEL] * 2)},
        r"lstm is worse than auto.ets: MASE \S+ against \S+\.$",
    ),
    "copies-last-value": (
        {"errors": with_errors(naive=CHANGES, model=CHANGES - 0.05 * NOISE[MODEL], seasonal_naive=2 * CHANGES)},
        r"differ from it by \d% of what the truth does",
    ),
    "drift": ({"levels": (1.4, 0.3)}, "the level changes by 1.4 standard deviations, by 0.3 at most before"),
    "lead-worse-than-naive": (
        {"errors": with_errors(naive=NOISE[NAIVE] * np.array([0.2, 1, 1, 1])[:, None])},
        "at 1 of 4 steps ahead, a naive forecast is better than lstm, most at step 1: naive has a MASE of",
    ),
    "bands-cover-too-little": ({"bands": Bands(0.61, 2.5, 3.0)}, "holds 80% .* holds 61% of those of the test"),
    "bands-wider-than-naive": ({"bands": Bands(0.8, 3.5, 3.0)}, "3.5 against 3 in units of the seasonal error"),
    "few-windows": ({"windows": {"validation": 200, "test": 12}}, "from only 12 test windows"),
    "best-epoch-first": ({"best_epoch": 1}, "the first of 10 epochs was the best one"),
    "best-epoch-last": (
        {"best_epoch": 10, "validations": [1.0, 0.9, 0.8]},
        "11% better than all before: training longer",
    ),
    "test-overlaps-training": ({"overlapping": 3}, "training rows of 3 series lie after the first test time"),
}


COMPARISONS = {"worse-than-naive", "no-better-than-naive", "worse-than-ridge", "lead-worse-than-naive"}
IMPLIED = {
    "worse-than-naive": COMPARISONS,
    "no-better-than-naive": {"lead-worse-than-naive"},
    "copies-last-value": COMPARISONS,
}


def test_every_code_has_a_fault_and_a_line_in_the_docs():
    lines = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "objections.md").read_text(encoding="utf-8"), re.M)
    assert lines == [*CHECKS, "seeds-differ-more", "edge-of-range"] and list(CHECKS) == list(FAULTS)


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_is_objected_to_in_one_sentence_with_its_figures(code):
    changes, words = FAULTS[code]
    found = {objection.code: objection.text for objection in find_objections(evidence(**changes))}
    assert re.search(words, found[code]) and found[code].endswith(".")
    assert set(found) - {code} <= IMPLIED.get(code, set())


def test_small_differences_of_naive_errors_are_no_drift_and_large_ones_are():
    for factor, fires in ((1.5, False), (2.5, True), (0.6, False), (0.3, True)):
        other = {row: values * factor for row, values in NOISE.items()}
        codes = {objection.code for objection in find_objections(evidence(errors=other))}
        assert ("drift" in codes) == fires, factor


def test_a_forecast_that_shrinks_the_last_value_is_no_copy():
    """Of y(t + 1) = 0.5 y(t) + noise the best forecast, 0.5 y(t), has a correlation of 1 with the last value."""
    noise, value = np.random.default_rng(2).normal(size=1000), np.zeros(1001)
    for time in range(1000):
        value[time + 1] = 0.5 * value[time] + noise[time]
    last, truth = value[:-1, None, None], value[1:, None, None]
    found = evidence(errors={MODEL: truth - 0.5 * last, NAIVE: truth - last})
    assert "copies-last-value" not in {objection.code for objection in find_objections(found)}
    noisy = last + 0.3 * np.random.default_rng(3).normal(size=last.shape)
    found = evidence(errors={MODEL: truth - noisy, NAIVE: truth - last})
    assert "copies-last-value" in {objection.code for objection in find_objections(found)}


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_the_difference_is_tested_as_by_regression_on_a_constant(steps):
    """statsmodels: a regression on 1 with a variance of autocorrelated errors, of uniform weights, is the same test."""
    noise = np.random.default_rng(4).normal(size=120 + steps)
    differences = np.convolve(noise, np.ones(steps) / steps, "valid")[:120] + 0.15
    uniform = lambda lags: np.ones(lags + 1)  # noqa: E731
    fitted = sm_api.OLS(differences, np.ones(120)).fit(
        cov_type="HAC", cov_kwds={"maxlags": steps - 1, "kernel": uniform, "use_correction": False}
    )
    from scipy import stats

    correction = np.sqrt((121 - 2 * steps + steps * (steps - 1) / 120) / 120)
    expected = 2 * stats.t.sf(abs(fitted.tvalues[0]) * correction, 119)
    assert diebold_mariano(differences, steps) == pytest.approx(expected, rel=1e-9)


def test_the_test_of_a_difference_keeps_its_size():
    """Without a difference, about a twentieth of overlapping forecasts is found different."""
    random = np.random.default_rng(5)
    found = [diebold_mariano(np.convolve(random.normal(size=403), np.ones(4), "valid"), 4) < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(found) < 0.1
    assert diebold_mariano(np.ones(100), 4) is None and diebold_mariano(random.normal(size=29), 1) is None
    assert diebold_mariano(random.normal(size=40), 24) is None


def test_windows_of_many_series_are_compared_by_series():
    better = evidence()._replace(moments=np.zeros(200), series=np.arange(200))
    assert difference_by_chance(better, SEASONAL_NAIVE) < 1e-6
    few = evidence()._replace(moments=np.arange(200) % 5, series=np.arange(200) // 5 % 4)
    assert difference_by_chance(few, SEASONAL_NAIVE) is None


def spans(*borders: int) -> dict[str, Span]:
    stages = zip(("train", "validation", "test"), borders[:-1], borders[1:], strict=True)
    return {stage: Span(np.array([start]), np.array([stop])) for stage, start, stop in stages}


def test_a_level_that_breaks_is_told_from_a_trend():
    time = np.arange(400)
    noise = np.random.default_rng(6).normal(size=400)

    def of(values: np.ndarray) -> SeriesSet:
        base = integers(400)
        return SeriesSet(values.astype(np.float32)[:, None], base.offsets, base.channels)

    parts = spans(0, 280, 340, 400)
    change, before = level_changes(of(noise + 5.0 * (time >= 350)), parts)
    assert change > 3 and before < 0.5
    change, before = level_changes(of(0.2 * time + noise), parts)
    assert change == pytest.approx(before, rel=0.1), "a trend changes the level all the time"
    assert level_changes(of(noise), spans(0, 100, 250, 400)) is None, "too little before to compare with"


def test_objections_stand_below_the_table_and_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture):
    """A random walk: nothing is better than the last value, and the run says so."""
    walk = 100 + np.random.default_rng(7).normal(size=500).cumsum()
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=499), eager=True)
    settings = {"past_steps": 14, "horizon": 2, "logger": "none", "threads": 1, "trainer": {"max_epochs": 2}}
    frame = pl.DataFrame({"day": days, "price": walk})
    run = sm.fit(frame, target="price", time="day", model="linear", directory=tmp_path, **settings)
    out, written = capsys.readouterr().out, (tmp_path / "metrics.json").read_text()
    codes = [objection.code for objection in run.objections]
    assert {"worse-than-naive", "no-better-than-naive"} & set(codes)
    assert all(f" {code}: " in out and f'"{code}"' in written for code in codes)
