"""Samplers: pure functions of seed and epoch, divided among processes and resumed exactly; sampling by series."""

import tracemalloc

import numpy as np
import pytest
import torch
from data import build_data
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.windows.loader import WindowLoader
from datamodules.windows.samplers import (
    BatchSampler,
    BlockShuffleSampler,
    FeistelPermutation,
    FeistelSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedSampler,
    build_sampler,
    draw_uniform,
    splitmix64,
)
from seqmodels.errors import InputError

KINDS = {
    "sequential": SequentialSampler,
    "random": RandomSampler,
    "feistel": FeistelSampler,
    "block": lambda windows, seed: BlockShuffleSampler(windows, seed, block=7, together=3),
}
RANDOM = [name for name in KINDS if name != "sequential"]
LENGTHS = (100, 12, 40)
SPLIT = [-8, -4]


def all_indices(sampler: Sampler, epoch: int = 0) -> list[int]:
    return sampler.indices(epoch, 0, len(sampler)).tolist()


@given(size=st.integers(1, 3000), key=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_permutation_holds_every_element_once(size: int, key: int) -> None:
    assert sorted(FeistelPermutation(size, key)(np.arange(size)).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [10**9, 2**40 + 1, 2**62])
def test_permutation_of_a_huge_range_is_uniform_without_duplicates(size: int) -> None:
    positions = np.unique(np.random.default_rng(0).integers(size, size=20_000))
    elements = FeistelPermutation(size, 1)(positions)
    assert elements.min() >= 0 and elements.max() < size and len(np.unique(elements)) == len(positions)
    counts = np.histogram(elements / size, bins=20, range=(0, 1))[0]  # chi-square with 19 degrees of freedom
    assert ((counts - len(positions) / 20) ** 2 / (len(positions) / 20)).sum() < 50


def test_permutation_puts_every_element_at_every_position_equally_often() -> None:
    size, keys = 12, 2000
    counts = np.zeros((size, size))
    for key in range(keys):
        counts[np.arange(size), FeistelPermutation(size, key)(np.arange(size))] += 1
    expected = keys / size
    assert ((counts - expected) ** 2 / expected).sum() < 200  # chi-square with 121 degrees of freedom: 121 +- 16


def test_splitmix64_gives_the_published_values() -> None:
    words = splitmix64(np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    assert [hex(word) for word in words] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@given(
    windows=st.integers(1, 400),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 1000),
    kind=st.sampled_from(list(KINDS)),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_every_window_comes_once_and_slices_join_to_the_whole_epoch(windows, seed, epoch, kind, cuts) -> None:
    expected = all_indices(KINDS[kind](windows, seed), epoch)
    assert sorted(expected) == list(range(windows))
    borders = [0, *sorted(min(cut, windows) for cut in cuts), windows]
    sampler = KINDS[kind](windows, seed)
    parts = [sampler.indices(epoch, *part) for part in zip(borders, borders[1:], strict=False)]
    assert torch.cat(parts).tolist() == expected and parts[0].dtype == torch.int64


@pytest.mark.parametrize("kind", RANDOM)
def test_indices_are_a_pure_function_of_seed_and_epoch(kind: str) -> None:
    one, two, other = (KINDS[kind](100, seed) for seed in (3, 3, 4))
    epochs = []
    for epoch in (0, 5, 0, 1):
        assert all_indices(one, epoch) == all_indices(two, epoch) != all_indices(other, epoch)
        epochs.append(all_indices(one, epoch))
    assert epochs[0] == epochs[2] != epochs[3] != epochs[1]


def test_small_data_keep_the_permutation_of_recorded_results() -> None:
    expected = torch.randperm(1000, generator=torch.Generator().manual_seed(3 * 1_000_003 + 5)).tolist()
    assert all_indices(build_sampler(1000, seed=3, shuffle=True), epoch=5) == expected
    assert all_indices(build_sampler(10, seed=3, shuffle=False), epoch=5) == list(range(10))
    assert isinstance(build_sampler(2**24 + 1, seed=3, shuffle=True), FeistelSampler)


@pytest.mark.parametrize("sampler", [FeistelSampler(10**9, 0), BlockShuffleSampler(10**9, 0, block=4096, together=4)])
def test_a_billion_windows_need_no_memory(sampler: Sampler) -> None:
    sampler.indices(0, 0, 10)
    tracemalloc.start()
    indices = torch.cat([sampler.indices(1, start, start + 1000) for start in (0, 123_456_789, 10**9 - 1000)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(indices.unique()) == 3000 and indices.max() < 10**9
    assert peak < 2e6, "bytes; a stored permutation would take 8 GB"


def test_block_shuffle_keeps_windows_of_a_batch_close_together() -> None:
    windows, block, together = 10_000, 100, 4
    sampler = BlockShuffleSampler(windows, 1, block, together)
    for start in range(0, windows, block * together):
        indices = sampler.indices(0, start, start + block * together)
        runs = 1 + int((indices.sort().values.diff() > 1).sum())
        assert runs <= together + 1  # one block may wrap around the end of the data
        assert (indices.diff().abs() > 1).float().mean() > 0.9, "windows within the blocks are shuffled"
    first = {all_indices(sampler, epoch)[0] // block for epoch in range(20)}
    assert len(first) > 10, "every epoch starts at another block"


@given(
    windows=st.integers(1, 300), world=st.integers(1, 9), batch=st.integers(1, 40), kind=st.sampled_from(list(KINDS))
)
@settings(max_examples=150, deadline=None)
def test_processes_divide_the_windows_into_equally_many_batches(windows, world, batch, kind) -> None:
    if windows < world:
        with pytest.raises(InputError, match=f"{windows} training windows for trainer.devices={world} processes"):
            BatchSampler(KINDS[kind](windows, 5), batch).set_rank(0, world)
        return
    seen: list[int] = []
    lengths = set()
    for rank in range(world):
        batches = BatchSampler(KINDS[kind](windows, 5), batch)
        batches.set_rank(rank, world)
        parts = [batches.indices(2, number, number + 1) for number in range(len(batches))]
        assert batches.indices(2, 0, len(batches)).tolist() == torch.cat(parts).tolist()
        sizes = [len(part) for part in parts]
        assert all(size == batch for size in sizes[:-1]) and 1 <= sizes[-1] <= batch + (world > 1)
        lengths.add(len(batches))
        seen += torch.cat(parts).tolist()
    assert sorted(seen) == list(range(windows)) and len(lengths) == 1
    assert seen == all_indices(KINDS[kind](windows, 5), 2)


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_resumed_loader_continues_with_the_next_batch(kind: str, rank: int) -> None:
    data = build_data(100, split=[60, 20, 20])
    tensors, index = data.loaders["train"].tensors, data.loaders["train"].index

    def build_loader() -> WindowLoader:
        loader = WindowLoader(tensors, index, 4, KINDS[kind](len(index), 5))
        loader.sampler.set_rank(rank, 3)
        return loader

    one, resumed = build_loader(), build_loader()
    one.sampler.set_epoch(3)
    expected = [window.origin.tolist() for window in one]
    started = iter(one)
    next(started), next(started)
    resumed.load_state_dict(one.state_dict())
    assert [window.origin.tolist() for window in resumed] == expected[2:]
    assert len(list(resumed)) == len(resumed) == len(expected), "the next epoch is whole again"
    indices = one.sampler.indices(3, 0, len(one))
    assert sum(expected, []) == (index.locate(indices)[1] + 4).tolist()


def test_set_epoch_does_not_change_a_running_epoch() -> None:
    data = build_data(100, split=[60, 20, 20], batch_size=4)
    loader = data.loaders["train"]
    expected = [window.origin.tolist() for window in loader]
    running = iter(loader)
    begun = [next(running).origin.tolist()]
    loader.sampler.set_epoch(1)
    assert begun + [window.origin.tolist() for window in running] == expected


def epoch_windows(data, epoch=0):
    """Series and origin of every training window of an epoch."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    windows = list(loader)
    return torch.cat([w.inputs.series for w in windows]), torch.cat([w.origin for w in windows])


def sample(sampling, windows=12_000):
    data = build_data(*LENGTHS, split=SPLIT, sampling=sampling, epoch_windows=windows, batch_size=500)
    series, origin = epoch_windows(data)
    assert len(series) == windows and data.windows["train"] == 114
    return data, series, origin


def test_sampling_by_series_draws_series_and_their_windows_uniformly():
    data, series, origin = sample("series")
    counts = torch.bincount(series, minlength=3)
    assert (counts - 4_000).abs().max() < 5 * (12_000 * 2 / 9) ** 0.5, "five standard deviations"
    possible = data.indexes["train"].counts
    for number in range(3):
        times = torch.bincount(origin[series == number])
        times = times[times > 0]
        assert len(times) == possible[number], "every window is drawn"
        assert times.max() < 4_000 / possible[number] + 6 * (4_000 / possible[number]) ** 0.5


def test_sampling_by_length_draws_series_in_proportion_to_their_training_rows():
    data, series, _ = sample("length")
    share = data.spans["train"].lengths / data.spans["train"].rows
    assert np.bincount(series) / 12_000 == pytest.approx(share, abs=5 * (0.25 / 12_000) ** 0.5)


def test_a_series_without_windows_is_never_drawn():
    for sampling in ("series", "length"):
        data = build_data(100, 1, 40, 12, split=SPLIT, sampling=sampling, short_series="exclude", epoch_windows=3_000)
        assert set(epoch_windows(data)[0].tolist()) == {0, 2}


@pytest.mark.parametrize("sampling", ["series", "length"])
def test_an_epoch_has_by_default_as_many_draws_as_there_are_windows(sampling):
    data = build_data(*LENGTHS, split=SPLIT, sampling=sampling)
    assert data.windows == build_data(*LENGTHS, split=SPLIT).windows
    assert len(epoch_windows(data)[0]) == data.windows["train"]


def test_epoch_windows_takes_the_first_windows_of_the_permutation():
    whole, some = (build_data(*LENGTHS, split=SPLIT, seed=3, epoch_windows=count) for count in (None, 50))
    for epoch in (0, 1):
        for all_of_them, first in zip(epoch_windows(whole, epoch), epoch_windows(some, epoch), strict=True):
            assert torch.equal(all_of_them[:50], first)
    assert len(epoch_windows(some)[0]) == 50 and len(some.train_dataloader()) == 2
    assert not torch.equal(epoch_windows(some, 0)[1], epoch_windows(some, 1)[1])


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    seed=st.integers(-5, 2**63),
    epoch=st.integers(0, 2**31),
    start=st.integers(0, 10**12),
    length=st.integers(1, 40),
    cut=st.integers(0, 40),
)
@settings(max_examples=60, deadline=None)
def test_weighted_draws_do_not_depend_on_how_an_epoch_is_sliced(counts, seed, epoch, start, length, cut):
    sampler = WeightedSampler(np.array(counts), None, 10**13, seed)
    whole = sampler.indices(epoch, start, start + length)
    assert len(whole) == length and 0 <= whole.min() and whole.max() < sum(counts)
    middle = start + min(cut, length)
    parts = [sampler.indices(epoch, start, middle), sampler.indices(epoch, middle, start + length)]
    assert torch.equal(whole, torch.cat(parts))


def test_uniform_draws_are_uniform_and_differ_by_seed_and_epoch():
    draws = [tuple(draw_uniform(seed, epoch, 0, 8).ravel()) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(draws)) == 4
    values = draw_uniform(7, 2, 0, 20_000)
    assert values.min() >= 0 and values.max() < 1 and values.shape == (2, 20_000)
    assert values.mean(axis=1) == pytest.approx(0.5, abs=0.01)
    assert values.std(axis=1) == pytest.approx(12**-0.5, abs=0.01)
    assert abs(np.corrcoef(values)[0, 1]) < 0.03


@pytest.mark.parametrize("sampling", ["window", "series", "length"])
def test_a_resumed_data_module_continues_with_the_next_batch(sampling):
    data, resumed = (build_data(*LENGTHS, split=SPLIT, sampling=sampling, batch_size=9, seed=2) for _ in range(2))
    data.train_dataloader().sampler.set_epoch(4)
    whole = [window.origin.tolist() for window in data.train_dataloader()]
    started = iter(data.train_dataloader())
    next(started), next(started)
    resumed.load_state_dict(data.state_dict())
    assert [window.origin.tolist() for window in resumed.train_dataloader()] == whole[2:]
    assert len(list(resumed.train_dataloader())) == len(whole), "the next epoch is whole again"


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
def test_contradicting_settings_raise_an_error_of_one_sentence(change, words):
    with pytest.raises(InputError, match=words) as error:
        build_data(100, **{"split": [93, 7], **change})
    assert "\n" not in str(error.value)
