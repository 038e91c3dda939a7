"""The generated panel: what its formula says, and the same numbers however many rows are made at a time."""

from pathlib import Path

import numpy as np
import pytest

from datamodules import synthetic
from datamodules.synthetic import Panel, PanelGenerator
from seqmodels.errors import InputError

WINDOWS = {"past_steps": 14, "horizon": 7}


@pytest.mark.parametrize("rows", [1, 100, 1000, 2**20])
def test_the_numbers_do_not_depend_on_how_many_are_made_at_a_time(rows: int, monkeypatch) -> None:
    data = Panel(series=30, least_steps=5, most_steps=200, dates=True, **WINDOWS)
    expected = data.read()
    monkeypatch.setattr(PanelGenerator.parts, "__defaults__", (rows,))
    again, parts = data.read(), [shard.series for shard in data.shards(Path(), rows, 0)]
    assert np.array_equal(again.values, expected.values) and np.array_equal(again.time, expected.time)
    assert np.array_equal(np.concatenate([part.values for part in parts]), expected.values)
    assert np.array_equal(np.concatenate([part.time for part in parts]), expected.time)
    assert np.array_equal(np.concatenate([part.lengths for part in parts]), expected.lengths)
    assert sum((part.names for part in parts), ()) == expected.names
    assert len(parts) == (30 if rows == 1 else 1 if rows == 2**20 else len(parts))
    assert [shard.series.names for shard in data.shards(Path(), rows, 1)] == [part.names for part in parts[1:]]


def test_lengths_dates_and_seed() -> None:
    made = Panel(series=400, least_steps=50, most_steps=300, dates=True, **WINDOWS).read()
    assert made.lengths.min() >= 50 and made.lengths.max() <= 300 and len(np.unique(made.lengths)) > 150
    assert (np.diff(made.time)[np.delete(np.arange(len(made.time) - 1), made.offsets[1:-1] - 1)] == synthetic.DAY).all()
    assert (made.time[made.offsets[1:] - 1] == np.datetime64("2024-12-31")).all()
    other = Panel(series=400, least_steps=50, most_steps=300, data_seed=1, **WINDOWS).read()
    assert other.time is None and not np.array_equal(other.lengths, made.lengths)


def test_the_noise_is_that_of_the_recursion() -> None:
    generator, again = (PanelGenerator(2, 300, 300, 0.7, seed=3) for _ in range(2))
    found = generator._noise(np.tile(np.arange(300), 2)).reshape(2, 300)
    drawn = again.noise.standard_normal(600).reshape(2, 300) * 0.1 * np.sqrt(1 - 0.49)
    for noise, innovation in zip(found, drawn, strict=True):
        expected = 0.0
        for t in range(300):
            expected = 0.7 * expected + innovation[t]
            assert noise[t] == pytest.approx(expected, abs=1e-7)


def test_series_show_their_week_trend_and_level() -> None:
    generator = PanelGenerator(20, 2000, 2000, 0.7, seed=0)
    ((values, before),) = generator.parts()
    for number, row in enumerate((values / generator.level.repeat(2000)).reshape(20, 2000)):
        day, step = before.reshape(20, 2000)[number] % 7, np.arange(2000)
        design = np.column_stack([step, *(day == weekday for weekday in range(7))])
        slope, *week = np.linalg.lstsq(design, row, rcond=None)[0]
        assert slope == pytest.approx(generator.trend[number], abs=5e-5)
        assert week == pytest.approx(1 + generator.week[number], abs=0.1)
        rest = row - design @ [slope, *week]
        assert np.corrcoef(rest[1:], rest[:-1])[0, 1] == pytest.approx(0.7, abs=0.1)
        assert rest.std() == pytest.approx(0.1, rel=0.25)


def test_it_can_be_windowed() -> None:
    data = Panel(series=20, least_steps=60, most_steps=100, **WINDOWS)
    data.setup()
    assert data.spec.season == 7 and data.spec.series == 20
    assert data.windows["train"] == sum(int(length * 0.7 + 1e-6) - 20 for length in data.series.lengths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"series": 0}, "data.series is 0"),
        ({"least_steps": 0}, "data.least_steps is 0"),
        ({"most_steps": 40}, "data.most_steps is 40; it must be at least data.least_steps=50"),
        ({"correlation": 1.0}, "data.correlation is 1.0"),
    ],
)
def test_impossible_settings_are_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Panel(**change, **WINDOWS)
