"""Which windows make an epoch: each once, some of them, or drawn by series or by length."""

import numpy as np
import pytest
import torch
from data import build_data
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.windows.samplers import WeightedSampler, draw_uniform
from seqmodels.errors import InputError

LENGTHS = (100, 12, 40)
SPLIT = [-8, -4]


def epoch(data, number=0):
    """Series and origin of every training window of an epoch."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    windows = list(loader)
    return torch.cat([w.inputs.series for w in windows]), torch.cat([w.origin for w in windows])


def shares(sampling, windows=12_000):
    data = build_data(*LENGTHS, split=SPLIT, sampling=sampling, epoch_windows=windows, batch_size=500)
    series, origin = epoch(data)
    assert len(series) == windows and data.windows["train"] == 114
    return data, series, origin


def test_every_series_equally_often_and_every_window_of_it_too():
    data, series, origin = shares("series")
    counts = torch.bincount(series, minlength=3)
    assert (counts - 4_000).abs().max() < 5 * (12_000 * 2 / 9) ** 0.5, "five standard deviations"
    possible = data.indexes["train"].counts
    for number in range(3):
        times = torch.bincount(origin[series == number])
        times = times[times > 0]
        assert len(times) == possible[number], "each window is drawn sometimes"
        assert times.max() < 4_000 / possible[number] + 6 * (4_000 / possible[number]) ** 0.5


def test_a_series_in_proportion_to_its_training_rows():
    data, series, _ = shares("length")
    share = data.spans["train"].lengths / data.spans["train"].rows
    assert np.bincount(series) / 12_000 == pytest.approx(share, abs=5 * (0.25 / 12_000) ** 0.5)


def test_a_series_without_windows_is_never_drawn():
    for sampling in ("series", "length"):
        data = build_data(100, 1, 40, 12, split=SPLIT, sampling=sampling, short_series="exclude", epoch_windows=3_000)
        assert set(epoch(data)[0].tolist()) == {0, 2}


@pytest.mark.parametrize("sampling", ["series", "length"])
def test_as_many_as_there_are_windows_unless_told(sampling):
    data = build_data(*LENGTHS, split=SPLIT, sampling=sampling)
    assert data.windows == build_data(*LENGTHS, split=SPLIT).windows
    assert len(epoch(data)[0]) == data.windows["train"]


def test_the_first_so_many_of_the_shuffled_order():
    whole, some = (build_data(*LENGTHS, split=SPLIT, seed=3, epoch_windows=count) for count in (None, 50))
    for number in (0, 1):
        for all_of_them, first in zip(epoch(whole, number), epoch(some, number), strict=True):
            assert torch.equal(all_of_them[:50], first)
    assert len(epoch(some)[0]) == 50 and len(some.train_dataloader()) == 2
    assert not torch.equal(epoch(some, 0)[1], epoch(some, 1)[1])


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    seed=st.integers(-5, 2**63),
    epochs=st.integers(0, 2**31),
    start=st.integers(0, 10**12),
    length=st.integers(1, 40),
    cut=st.integers(0, 40),
)
@settings(max_examples=60, deadline=None)
def test_a_place_holds_the_same_window_however_it_is_asked_for(counts, seed, epochs, start, length, cut):
    order = WeightedSampler(np.array(counts), None, 10**13, seed)
    whole = order.indices(epochs, start, start + length)
    assert len(whole) == length and 0 <= whole.min() and whole.max() < sum(counts)
    middle = start + min(cut, length)
    parts = [order.indices(epochs, start, middle), order.indices(epochs, middle, start + length)]
    assert torch.equal(whole, torch.cat(parts))


def test_seeds_and_epochs_draw_otherwise():
    draws = [tuple(draw_uniform(seed, number, 0, 8).ravel()) for seed in (0, 1) for number in (0, 1)]
    assert len(set(draws)) == 4
    values = draw_uniform(7, 2, 0, 20_000)
    assert values.min() >= 0 and values.max() < 1 and values.shape == (2, 20_000)
    assert values.mean(axis=1) == pytest.approx(0.5, abs=0.01) and values.std(axis=1) == pytest.approx(
        12**-0.5, abs=0.01
    )
    assert abs(np.corrcoef(values)[0, 1]) < 0.03


@pytest.mark.parametrize("sampling", ["series", "length"])
def test_a_resumed_epoch_goes_on_with_the_very_next_batch(sampling):
    data, again = (build_data(*LENGTHS, split=SPLIT, sampling=sampling, batch_size=9, seed=2) for _ in range(2))
    data.train_dataloader().sampler.set_epoch(4)
    whole = [window.origin.tolist() for window in data.train_dataloader()]
    started = iter(data.train_dataloader())
    next(started), next(started)
    again.load_state_dict(data.state_dict())
    assert [window.origin.tolist() for window in again.train_dataloader()] == whole[2:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampling": "steps"}, "data.sampling is 'steps'; it must be one of window, series, length"),
        ({"epoch_windows": 0}, "data.epoch_windows is 0; it must be at least 1"),
        ({"epoch_windows": 500}, "data.epoch_windows is 500, but there are 87 training windows"),
        ({"sampling": "series", "lanes": 2}, "data.sampling is 'series', but data.lanes is 2"),
        ({"epoch_windows": 5, "lanes": 2}, "data.epoch_windows is 5, but data.lanes is 2"),
        ({"sampling": "length", "shuffle": False}, "data.sampling is 'length', .* but data.shuffle is false"),
        ({"epoch_windows": 5, "shuffle": False}, "data.epoch_windows is 5, .* but data.shuffle is false"),
    ],
)
def test_contradictions_are_refused_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words) as refusal:
        build_data(100, **{"split": [93, 7], **change})
    assert "\n" not in str(refusal.value)
