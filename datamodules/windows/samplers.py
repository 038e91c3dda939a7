"""Samplers of training windows: sequential, random, block-shuffled and weighted, and the batches of each process."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from seqmodels.errors import InputError, require_at_least, require_choice

FEISTEL_ROUNDS = 8  # each half of a word is changed four times
MAX_RANDPERM = 2**24  # windows whose permutation is kept in memory, 128 MB; FeistelSampler takes over above


class FeistelPermutation:
    """Pseudorandom permutation of ``range(size)`` that is computed element by element; any size up to 2**62.

    A Feistel network over the next power of two with the finaliser of SplitMix64 as round function; a result outside
    the range is encrypted again until it lies inside (cycle walking), less than one extra round trip on average.

    Source: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002; Steele et al., "Fast splittable
    pseudorandom number generators", 2014.
    """

    def __init__(self, size: int, *key: int):
        bits = max(2, (size - 1).bit_length())
        self.size, self.low_bits = size, np.uint64(bits // 2)
        self.low, self.high = (np.uint64(2**half - 1) for half in (bits // 2, bits - bits // 2))
        self.keys = np.random.SeedSequence(key).generate_state(FEISTEL_ROUNDS, np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Return the elements (n,) int64 at these positions (n,)."""
        elements = self._encrypt(positions.astype(np.uint64))
        outside = np.flatnonzero(elements >= self.size)
        while len(outside):
            again = self._encrypt(elements[outside])
            elements[outside] = again
            outside = outside[again >= self.size]
        return elements.astype(np.int64)

    def _encrypt(self, words: np.ndarray) -> np.ndarray:
        high, low = words >> self.low_bits, words & self.low
        for number, key in enumerate(self.keys):
            if number % 2:
                low ^= splitmix64(high + key) & self.low
            else:
                high ^= splitmix64(low + key) & self.high
        return (high << self.low_bits) | low


def splitmix64(words: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64, (n,) uint64: every bit of a result depends on all bits of the word; products wrap."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


class Sampler(ABC):
    """Window indices of every epoch, a pure function of (seed, epoch). By default each window comes once."""

    def __init__(self, length: int, seed: int = 0):
        self.length, self.seed = length, seed % 2**63

    def __len__(self) -> int:
        """Number of windows in one epoch."""
        return self.length

    @abstractmethod
    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        """Window indices (stop - start,) int64 at the positions ``start:stop`` of an epoch."""


class SequentialSampler(Sampler):
    """Windows in index order, the same in every epoch."""

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop)


class RandomSampler(Sampler):
    """Random permutation of the windows, new every epoch and kept in memory while it lasts: 8 bytes per window."""

    permutation: tuple[int, Tensor] | None = None  # epoch, window indices

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        if self.permutation is None or self.permutation[0] != epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self.permutation = epoch, torch.randperm(self.length, generator=generator)
        return self.permutation[1][start:stop]


class FeistelSampler(Sampler):
    """Random permutation of the windows, new every epoch and computed on the fly: no memory for any number of them."""

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        return torch.from_numpy(FeistelPermutation(self.length, self.seed, epoch)(np.arange(start, stop)))


class BlockShuffleSampler(Sampler):
    """Shuffled blocks of consecutive windows, so that windows of one batch lie close together on the disk.

    ``block``: windows per block. ``together``: blocks whose windows are shuffled with each other. The order of the
    blocks and the row at which the first one starts are new every epoch; one block may be shorter. Memory: 8 bytes
    per window of the blocks that are shuffled together.
    """

    def __init__(self, length: int, seed: int, block: int, together: int):
        super().__init__(length, seed)
        self.block, self.together = block, together
        self.cached: tuple[int, int, Tensor] | None = None  # epoch, group of blocks, window indices

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        size = self.block * self.together
        parts = [torch.empty(0, dtype=torch.int64)]
        for group in range(start // size, -(-stop // size)):
            first = group * size
            parts.append(self._shuffled_group(epoch, group)[max(0, start - first) : stop - first])
        return torch.cat(parts)

    def _shuffled_group(self, epoch: int, group: int) -> Tensor:
        if self.cached is None or self.cached[:2] != (epoch, group):
            indices = self._group(epoch, group)
            np.random.default_rng([self.seed, epoch, group]).shuffle(indices)
            self.cached = epoch, group, torch.from_numpy(indices)
        return self.cached[2]

    def _group(self, epoch: int, group: int) -> np.ndarray:
        blocks, first = self.length // self.block, group * self.together
        permutation = FeistelPermutation(max(1, blocks), self.seed, epoch)
        chosen = permutation(np.arange(first, min(first + self.together, blocks)))
        indices = (chosen[:, None] * self.block + np.arange(self.block)).ravel()
        if first + self.together > blocks:  # the last group takes the remainder too
            indices = np.append(indices, np.arange(blocks * self.block, self.length))
        shift = np.random.default_rng([self.seed, epoch]).integers(self.length)
        return (indices + shift) % self.length


class BucketSampler(Sampler):
    """Random permutation in which sequences of similar length share a batch, new every epoch.

    ``lengths`` (n,). POOL batches at a time are sorted by length; then the order of all whole batches is drawn, and
    an incomplete batch comes last.
    """

    POOL = 50
    order: tuple[int, Tensor] | None = None  # epoch, indices

    def __init__(self, lengths: Tensor, batch_size: int, seed: int):
        super().__init__(len(lengths), seed)
        self.lengths, self.batch_size = lengths, batch_size

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        if self.order is None or self.order[0] != epoch:
            self.order = epoch, self._draw(torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63))
        return self.order[1][start:stop]

    def _draw(self, generator: torch.Generator) -> Tensor:
        whole = self.length - self.length % self.batch_size
        shuffled, rest = torch.randperm(self.length, generator=generator).split([whole, self.length - whole])
        pools = shuffled.split(self.POOL * self.batch_size)
        batches = [batch for pool in pools for batch in self._sorted(pool).split(self.batch_size)]
        return torch.cat([*(batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()), rest])

    def _sorted(self, pool: Tensor) -> Tensor:
        return pool[self.lengths[pool].argsort(stable=True)]


class TruncatedSampler(Sampler):
    """The first ``length`` windows of each epoch of another sampler; InputError if it has fewer."""

    def __init__(self, sampler: Sampler, length: int):
        if length > len(sampler):
            raise InputError(
                f"data.epoch_windows is {length:,}, but there are {len(sampler):,} training windows and"
                " data.sampling=window takes each at most once in an epoch."
            )
        super().__init__(length)
        self.sampler = sampler

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        return self.sampler.indices(epoch, start, stop)


class WeightedSampler(Sampler):
    """Windows drawn with replacement: a series in proportion to its weight, then one of its windows uniformly.

    ``counts`` (series,): number of windows of each series. ``weights`` (series,): whole numbers, None for equal ones.
    A series without windows is never drawn. A counter-based generator computes each draw from (seed, epoch, position),
    so memory is O(series).

    ``half_life``: None, or the number of steps after which a window is drawn half as often as the newest of its series.
    """

    def __init__(
        self, counts: np.ndarray, weights: np.ndarray | None, length: int, seed: int, half_life: float | None = None
    ):
        super().__init__(length)
        self.counts, self.seed, self.half_life = counts, seed, half_life
        self.offsets = np.cumsum(counts) - counts
        self.cumulative_weights = np.cumsum(np.where(counts > 0, 1 if weights is None else weights, 0))

    def indices(self, epoch: int, start: int, stop: int) -> Tensor:
        series_draw, window_draw = draw_uniform(self.seed, epoch, start, stop)
        weight = (series_draw * self.cumulative_weights[-1]).astype(np.int64)
        series = np.searchsorted(self.cumulative_weights, weight, side="right")
        counts = self.counts[series]
        if self.half_life is None:
            return torch.from_numpy(self.offsets[series] + (window_draw * counts).astype(np.int64))
        rate = np.log(2) / self.half_life  # ages follow a geometric distribution, cut off at the oldest window
        age = np.log1p(window_draw * np.expm1(-rate * counts)) / -rate
        return torch.from_numpy(self.offsets[series] + counts - 1 - np.minimum(age.astype(np.int64), counts - 1))


def draw_uniform(seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
    """Two random numbers in [0, 1) for each position, (2, stop - start) float64; the same in every slice."""
    generator = np.random.Philox(key=np.array([seed % 2**64, epoch], dtype=np.uint64))
    generator.advance(start)  # one count of Philox gives four words
    words = generator.random_raw(4 * (stop - start)).reshape(-1, 4)[:, :2]
    return (words >> np.uint64(11)).T * 2.0**-53


def build_sampler(windows: int, seed: int, shuffle: bool) -> Sampler:
    """Return the sampler that takes each window once per epoch, in a new random order or always in index order."""
    if not shuffle:
        return SequentialSampler(windows)
    return RandomSampler(windows, seed) if windows <= MAX_RANDPERM else FeistelSampler(windows, seed)


class BatchSampler:
    """Batches of one process, and the progress of the current epoch.

    Lightning calls ``set_epoch`` before each epoch. ``position`` counts the batches handed out and goes into
    checkpoints; ``skip`` is the number of batches that a resumed run leaves out of its first epoch.

    With several processes, each takes a contiguous part of the epoch. The parts differ by at most one window; all have
    the same number of batches, and every window is taken exactly once: if one window is left after the full batches of
    a part, the last batch holds ``batch_size`` + 1.
    """

    def __init__(self, sampler: Sampler, batch_size: int):
        self.sampler, self.batch_size = sampler, batch_size
        self.rank, self.world_size = 0, 1
        self.epoch = self.position = self.skip = 0

    def set_rank(self, rank: int, world_size: int) -> None:
        """Take the part of one process; InputError if there are fewer windows than processes."""
        if world_size > 1 and len(self.sampler) < world_size:
            raise InputError(
                f"There are {len(self.sampler):,} training windows for trainer.devices={world_size} processes; each"
                " needs one."
            )
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; no effect if it is the current one."""
        if epoch != self.epoch:
            self.epoch, self.position, self.skip = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Epoch, and batches handed out in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the batch after the last one handed out."""
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
        self.skip = self.position

    def __len__(self) -> int:
        return -(-(len(self.sampler) // self.world_size) // self.batch_size)

    def bounds(self, batch: int) -> tuple[int, int]:
        """First position of a batch in the epoch, and the position after its last one."""
        low, high = (len(self.sampler) * rank // self.world_size for rank in (self.rank, self.rank + 1))
        start = low + batch * self.batch_size
        return start, high if batch == len(self) - 1 else start + self.batch_size

    def indices(self, epoch: int, first: int, stop: int) -> Tensor:
        """Window indices of the batches ``first:stop``."""
        return self.sampler.indices(epoch, self.bounds(first)[0], self.bounds(stop - 1)[1])


SAMPLINGS = ("window", "series", "length")


def check_sampling(
    sampling: str, epoch_windows: int | None, half_life: float | None, shuffle: bool, lanes: int | None
) -> None:
    """Raise InputError if these settings of a DataModule contradict each other."""
    require_choice(SAMPLINGS, "data", sampling=sampling)
    if epoch_windows is not None:
        require_at_least(1, "data", epoch_windows=epoch_windows)
    if half_life is not None and not half_life > 0:
        raise InputError(f"data.half_life is {half_life}; it must be null or a number of steps greater than 0.")
    if sampling == "window" and epoch_windows is None and half_life is None:
        return
    asked = f"data.epoch_windows is {epoch_windows}" if half_life is None else f"data.half_life is {half_life}"
    asked = f"data.sampling is {sampling!r}" if sampling != "window" else asked
    if lanes is not None:
        raise InputError(
            f"{asked}, but data.lanes is {lanes}: lanes take all windows in order; set data.lanes=null, or leave"
            " data.sampling, data.epoch_windows and data.half_life at their defaults."
        )
    if not shuffle:
        raise InputError(f"{asked}, which takes windows at random, but data.shuffle is false.")
