"""A random order of any number of things that needs no memory: it knows what stands at a place, and nothing else."""

import numpy as np

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
