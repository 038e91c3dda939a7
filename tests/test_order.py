"""The order of windows: every window once, the same for the same seed and epoch, shared out and resumed exactly."""

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
    build_sampler,
    splitmix64,
)
from seqmodels.errors import InputError

KINDS = {
    "in order": lambda windows, seed: SequentialSampler(windows),
    "shuffled": RandomSampler,
    "scattered": FeistelSampler,
    "blockwise": lambda windows, seed: BlockShuffleSampler(windows, seed, block=7, together=3),
}
RANDOM = [name for name in KINDS if name != "in order"]


def whole(order: Sampler, epoch: int = 0) -> list[int]:
    return order.indices(epoch, 0, len(order)).tolist()


@given(size=st.integers(1, 3000), key=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_a_permutation_holds_everything_once(size: int, key: int) -> None:
    assert sorted(FeistelPermutation(size, key)(np.arange(size)).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [10**9, 2**40 + 1, 2**62])
def test_a_permutation_of_a_huge_range_stays_within_it_and_repeats_nothing(size: int) -> None:
    places = np.unique(np.random.default_rng(0).integers(size, size=20_000))
    found = FeistelPermutation(size, 1)(places)
    assert found.min() >= 0 and found.max() < size and len(np.unique(found)) == len(places)
    counts = np.histogram(found / size, bins=20, range=(0, 1))[0]  # chi-square with 19 degrees of freedom
    assert ((counts - len(places) / 20) ** 2 / (len(places) / 20)).sum() < 50


def test_a_permutation_puts_everything_anywhere_equally_often() -> None:
    size, keys = 12, 2000
    counts = np.zeros((size, size))
    for key in range(keys):
        counts[np.arange(size), FeistelPermutation(size, key)(np.arange(size))] += 1
    expected = keys / size
    assert ((counts - expected) ** 2 / expected).sum() < 200  # chi-square with 121 degrees of freedom: 121 +- 16


def test_the_mixing_function_is_that_of_splitmix64() -> None:
    golden = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert [hex(word) for word in splitmix64(golden)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


@given(
    windows=st.integers(1, 400),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 1000),
    kind=st.sampled_from(list(KINDS)),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_every_window_comes_once_and_any_piece_is_that_of_the_whole(windows, seed, epoch, kind, cuts) -> None:
    numbers = whole(KINDS[kind](windows, seed), epoch)
    assert sorted(numbers) == list(range(windows))
    borders = [0, *sorted(min(cut, windows) for cut in cuts), windows]
    order = KINDS[kind](windows, seed)
    pieces = [order.indices(epoch, *piece) for piece in zip(borders, borders[1:], strict=False)]
    assert torch.cat(pieces).tolist() == numbers and pieces[0].dtype == torch.int64


@pytest.mark.parametrize("kind", RANDOM)
def test_order_is_a_pure_function_of_seed_and_epoch(kind: str) -> None:
    one, two, other = (KINDS[kind](100, seed) for seed in (3, 3, 4))
    orders = []
    for epoch in (0, 5, 0, 1):
        assert whole(one, epoch) == whole(two, epoch) != whole(other, epoch)
        orders.append(whole(one, epoch))
    assert orders[0] == orders[2] != orders[3] != orders[1]


def test_a_small_set_keeps_the_order_in_which_results_were_recorded() -> None:
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 5)
    assert (
        whole(build_sampler(1000, seed=3, shuffle=True), epoch=5) == torch.randperm(1000, generator=generator).tolist()
    )
    assert whole(build_sampler(10, seed=3, shuffle=False), epoch=5) == list(range(10))
    assert isinstance(build_sampler(2**24 + 1, seed=3, shuffle=True), FeistelSampler)


@pytest.mark.parametrize("order", [FeistelSampler(10**9, 0), BlockShuffleSampler(10**9, 0, block=4096, together=4)])
def test_a_thousand_million_windows_need_no_memory(order: Sampler) -> None:
    order.indices(0, 0, 10)
    tracemalloc.start()
    numbers = torch.cat([order.indices(1, start, start + 1000) for start in (0, 123_456_789, 10**9 - 1000)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(numbers.unique()) == 3000 and numbers.max() < 10**9
    assert peak < 2e6, "bytes; the order as a whole would take 8 GB"


def test_places_near_one_another_mean_windows_near_one_another() -> None:
    windows, block, together = 10_000, 100, 4
    order = BlockShuffleSampler(windows, 1, block, together)
    for start in range(0, windows, block * together):
        numbers = order.indices(0, start, start + block * together)
        pieces = 1 + int((numbers.sort().values.diff() > 1).sum())
        assert pieces <= together + 1  # one block may lie around the end of the data
        assert (numbers.diff().abs() > 1).float().mean() > 0.9, "within the blocks nothing is in order"
    first = {whole(order, epoch)[0] // block for epoch in range(20)}
    assert len(first) > 10, "every epoch begins somewhere else"


@given(
    windows=st.integers(1, 300), world=st.integers(1, 9), batch=st.integers(1, 40), kind=st.sampled_from(list(KINDS))
)
@settings(max_examples=150, deadline=None)
def test_processes_share_the_windows_in_as_many_batches_each(windows, world, batch, kind) -> None:
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
    assert seen == whole(KINDS[kind](windows, 5), 2)


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_loader_goes_on_with_the_very_next_batch(kind: str, rank: int) -> None:
    data = build_data(100, split=[60, 20, 20])
    store, index = data.loaders["train"].tensors, data.loaders["train"].index

    def loader() -> WindowLoader:
        made_new = WindowLoader(store, index, 4, KINDS[kind](len(index), 5))
        made_new.sampler.set_rank(rank, 3)
        return made_new

    one, again = loader(), loader()
    one.sampler.set_epoch(3)
    expected = [window.origin.tolist() for window in one]
    started = iter(one)
    next(started), next(started)
    again.load_state_dict(one.state_dict())
    assert [window.origin.tolist() for window in again] == expected[2:]
    assert len(list(again)) == len(again) == len(expected), "the next epoch is whole again"
    numbers = one.sampler.indices(3, 0, len(one))
    assert sum(expected, []) == (index.locate(numbers)[1] + 4).tolist()


def test_an_epoch_that_is_chosen_while_another_one_runs_waits() -> None:
    data = build_data(100, split=[60, 20, 20], batch_size=4)
    loader = data.loaders["train"]
    expected = [window.origin.tolist() for window in loader]
    running = iter(loader)
    begun = [next(running).origin.tolist()]
    loader.sampler.set_epoch(1)
    assert begun + [window.origin.tolist() for window in running] == expected
