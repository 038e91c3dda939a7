"""Samplers of training windows: in order, shuffled, in shuffled blocks, weighted, and split among processes."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from seqmodels.errors import InputError, require_at_least, require_choice

ROUNDS = 8  # each half of a word is changed four times


class Permutation:
    """A bijection of ``range(size)``, chosen by ``key`` and computed place by place; any size up to 2**62.

    A Feistel network over the next power of two, whose round function is the finaliser of SplitMix64; a number beyond
    ``size`` is sent through again until it lies within (cycle walking), less than once more on average.

    Source: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002; Steele et al., "Fast splittable
    pseudorandom number generators", 2014.
    """

    def __init__(self, size: int, *key: int):
        bits = max(2, (size - 1).bit_length())
        self.size, self.low_bits = size, np.uint64(bits // 2)
        self.low, self.high = (np.uint64(2**part - 1) for part in (bits // 2, bits - bits // 2))
        self.keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)

    def at(self, places: np.ndarray) -> np.ndarray:
        """What stands at these places: (n,) int64 -> (n,) int64, all in ``range(size)``."""
        found = self._encipher(places.astype(np.uint64))
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            again = self._encipher(found[outside])
            found[outside] = again
            outside = outside[again >= self.size]
        return found.astype(np.int64)

    def _encipher(self, words: np.ndarray) -> np.ndarray:
        high, low = words >> self.low_bits, words & self.low
        for number, key in enumerate(self.keys):
            if number % 2:
                low ^= mixed(high + key) & self.low
            else:
                high ^= mixed(low + key) & self.high
        return (high << self.low_bits) | low


def mixed(words: np.ndarray) -> np.ndarray:
    """Every bit of a word depends on all of its bits; (n,) uint64, products wrap."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


MOST_IN_MEMORY = 2**24  # windows whose order is drawn as a whole, 128 MB; beyond, it is computed place by place


class Order(Protocol):
    """Which window stands at each place of an epoch; the same window may stand at several places, or at none."""

    def __len__(self) -> int:
        """Places in one epoch."""

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) int64 of the windows at places ``start`` to ``stop`` of this epoch."""


def every_window(windows: int, seed: int, shuffle: bool) -> Order:
    """Each of so many windows once per epoch, in the order of time or in a new one every epoch."""
    if not shuffle:
        return InOrder(windows)
    return Shuffled(windows, seed) if windows <= MOST_IN_MEMORY else Scattered(windows, seed)


class Every:
    """What the orders below have in common: each of so many windows stands at one place."""

    def __init__(self, windows: int, seed: int = 0):
        self.windows, self.seed = windows, seed % 2**63

    def __len__(self) -> int:
        return self.windows


class InOrder(Every):
    """As windows are numbered, the same in every epoch."""

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        return torch.arange(start, stop)


class Shuffled(Every):
    """A new order every epoch, drawn as a whole and kept while the epoch lasts: 8 bytes for each window."""

    def __init__(self, windows: int, seed: int):
        super().__init__(windows, seed)
        self.drawn: tuple[int, Tensor] | None = None  # the epoch, and its order

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        if self.drawn is None or self.drawn[0] != epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self.drawn = epoch, torch.randperm(self.windows, generator=generator)
        return self.drawn[1][start:stop]


class Scattered(Every):
    """A new order every epoch, computed place by place: no memory, whatever the number of windows."""

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        return torch.from_numpy(Permutation(self.windows, self.seed, epoch).at(np.arange(start, stop)))


class Blockwise(Every):
    """A new order every epoch in which places near one another mean windows near one another: for data on a disk.

    Blocks of ``block`` consecutive windows come in random order, ``together`` of them shuffled with one another. Where
    the blocks begin is drawn anew every epoch; the last one holds what the division leaves. Memory: 8 bytes for each
    window of the blocks that are shuffled together.
    """

    def __init__(self, windows: int, seed: int, block: int, together: int):
        super().__init__(windows, seed)
        self.block, self.together = block, together
        self.drawn: tuple[int, int, Tensor] | None = None  # the epoch, which blocks, and their windows in order

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        size = self.block * self.together
        found = [torch.empty(0, dtype=torch.int64)]
        for group in range(start // size, -(-stop // size)):
            first = group * size
            found.append(self._group(epoch, group)[max(0, start - first) : stop - first])
        return torch.cat(found)

    def _group(self, epoch: int, group: int) -> Tensor:
        """The windows of the blocks that are shuffled together as number ``group`` of the epoch."""
        if self.drawn is None or self.drawn[:2] != (epoch, group):
            random = np.random.default_rng([self.seed, epoch, group])
            numbers = self._blocks(epoch, group)
            random.shuffle(numbers)
            self.drawn = epoch, group, torch.from_numpy(numbers)
        return self.drawn[2]

    def _blocks(self, epoch: int, group: int) -> np.ndarray:
        whole, first = self.windows // self.block, group * self.together
        chosen = Permutation(max(1, whole), self.seed, epoch).at(np.arange(first, min(first + self.together, whole)))
        numbers = (chosen[:, None] * self.block + np.arange(self.block)).ravel()
        if first + self.together > whole:
            numbers = np.append(numbers, np.arange(whole * self.block, self.windows))
        shift = np.random.default_rng([self.seed, epoch]).integers(self.windows)
        return (numbers + shift) % self.windows


class Batches:
    """The batches of one process: which windows each of them holds, and how far the current epoch has come.

    Lightning calls ``set_epoch`` before each epoch. ``position`` counts the batches handed out, which is what a
    checkpoint keeps; ``skip`` is how many of them a resumed run leaves out of its first epoch.

    Process ``rank`` of ``world`` takes one of ``world`` runs of places whose lengths differ by at most one. All have
    the same number of batches, and no window is left out or taken twice: where a run is one longer than others, and
    these others end with a whole batch, its last batch holds one window more than ``batch_size``.
    """

    def __init__(self, order: Order, batch_size: int):
        self.order, self.batch_size = order, batch_size
        self.rank, self.world = 0, 1
        self.epoch = self.position = self.skip = 0

    def share(self, rank: int, world: int) -> None:
        """Be process ``rank`` of ``world``; raises InputError where there are fewer places than processes."""
        if world > 1 and len(self.order) < world:
            raise InputError(
                f"There are {len(self.order):,} training windows for trainer.devices={world} processes; each needs one."
            )
        self.rank, self.world = rank, world

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; called again for the same epoch it changes nothing."""
        if epoch != self.epoch:
            self.epoch, self.position, self.skip = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Where the order stands."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the very next batch."""
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
        self.skip = self.position

    def __len__(self) -> int:
        return -(-(len(self.order) // self.world) // self.batch_size)

    def places(self, batch: int) -> tuple[int, int]:
        """First place of this batch, and the place behind its last one."""
        low, high = (len(self.order) * rank // self.world for rank in (self.rank, self.rank + 1))
        start = low + batch * self.batch_size
        return start, high if batch == len(self) - 1 else start + self.batch_size

    def numbers(self, epoch: int, first: int, last: int) -> Tensor:
        """Numbers of all windows of the batches ``first`` to ``last``, the latter excluded."""
        return self.order.numbers(epoch, self.places(first)[0], self.places(last - 1)[1])


SAMPLINGS = ("window", "series", "length")


def check_sampling(sampling: str, epoch_windows: int | None, shuffle: bool, lanes: int | None) -> None:
    """Raise InputError where these settings of a DataModule contradict each other."""
    require_choice(SAMPLINGS, "data", sampling=sampling)
    if epoch_windows is not None:
        require_at_least(1, "data", epoch_windows=epoch_windows)
    if sampling == "window" and epoch_windows is None:
        return
    asked = f"data.sampling is {sampling!r}" if sampling != "window" else f"data.epoch_windows is {epoch_windows}"
    if lanes is not None:
        raise InputError(f"{asked}, but data.lanes is {lanes}: in lanes all windows follow one another.")
    if not shuffle:
        raise InputError(f"{asked}, which takes windows at random, but data.shuffle is false.")


class First:
    """The first so many places of each epoch of another order."""

    def __init__(self, order: Order, windows: int):
        """Raises InputError where the other order has fewer places."""
        if windows > len(order):
            raise InputError(
                f"data.epoch_windows is {windows:,}, but there are {len(order):,} training windows and"
                " data.sampling=window takes each at most once in an epoch."
            )
        self.order, self.windows = order, windows

    def __len__(self) -> int:
        return self.windows

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        return self.order.numbers(epoch, start, stop)


def first(order: Order, windows: int | None) -> Order:
    """The first so many places of an order, or all of them."""
    return order if windows is None else First(order, windows)


class Drawn:
    """Windows drawn with replacement: a series by its weight, and one of its windows, all of them alike.

    ``counts`` (series,): how many windows each series has; they are numbered through all series. ``weights`` (series,):
    whole numbers, or None: all alike. A series without windows is never drawn. Each place is computed for itself from
    (seed, epoch, place) by the counter of Philox, so that no order is stored: memory is O(series).
    """

    def __init__(self, counts: np.ndarray, weights: np.ndarray | None, places: int, seed: int):
        self.counts, self.places, self.seed = counts, places, seed
        self.before = np.cumsum(counts) - counts
        self.weight_up_to = np.cumsum(np.where(counts > 0, 1 if weights is None else weights, 0))

    def __len__(self) -> int:
        return self.places

    def numbers(self, epoch: int, start: int, stop: int) -> Tensor:
        """Numbers (stop - start,) of the windows at these places."""
        which, where = uniform(self.seed, epoch, start, stop)
        weight = (which * self.weight_up_to[-1]).astype(np.int64)
        series = np.searchsorted(self.weight_up_to, weight, side="right")
        return torch.from_numpy(self.before[series] + (where * self.counts[series]).astype(np.int64))


def uniform(seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
    """Two random numbers in [0, 1) for each of these places, (2, stop - start) float64; a place has always the same."""
    generator = np.random.Philox(key=np.array([seed % 2**64, epoch], dtype=np.uint64))
    generator.advance(start)  # one count of Philox gives four words
    words = generator.random_raw(4 * (stop - start)).reshape(-1, 4)[:, :2]
    return (words >> np.uint64(11)).T * 2.0**-53
