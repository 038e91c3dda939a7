"""Which training windows make an epoch: each one once, a part of them, or as many as wanted drawn at random.

It knows how many windows and rows each series has, and nothing of their values.
"""

import numpy as np
import torch
from torch import Tensor

from datamodules.order import Order
from seqmodels.errors import InputError, require_at_least, require_choice

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
