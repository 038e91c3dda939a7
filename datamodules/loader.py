"""Hands out batches of windows, one gather for several small ones; knows windows by their numbers and places."""

from collections.abc import Iterator

from torch import Tensor

from datamodules.order import Batches, InOrder, Order
from datamodules.windows import Index, WindowStore
from seqmodels.window import Inputs, Targets, Window

AT_ONCE = 2**16  # values that one gather brings, few enough for a cache: several small batches, as each has a price


class WindowLoader:
    """Batches of windows; iterable, sized, and cheap: what a DataLoader does, without one Python call per window.

    It always begins with the first batch of the order, also after somebody stopped reading half-way, except once
    after its state was loaded. Without an ``order`` the windows come as they are numbered.
    """

    batch_sampler = None  # Lightning reads it of everything that has a sampler

    def __init__(self, store: WindowStore, index: Index, batch_size: int, order: Order | None = None):
        self.store, self.index, self.batch_size = store, index, batch_size
        self.sampler = Batches(order or InOrder(len(index)), batch_size)  # under this name Lightning finds set_epoch
        self.batches_at_once = max(1, AT_ONCE // (batch_size * store.values_per_window))

    def __len__(self) -> int:
        return len(self.sampler)

    @property
    def windows(self) -> int:
        """How many windows there are; the order says how many of them make an epoch."""
        return len(self.index)

    def gather(self, numbers: Tensor) -> Window:
        """Windows (B,) by number, whatever their place in the order."""
        return self.store.gather(self.index, numbers, self.index.fresh(numbers))

    examples = gather  # for pictures

    def __iter__(self) -> Iterator[Window]:
        batches = self.sampler
        epoch, skip, batches.skip = batches.epoch, batches.skip, 0
        for first in range(skip, len(self), self.batches_at_once):
            last = min(first + self.batches_at_once, len(self))
            gathered = self.gather(batches.numbers(epoch, first, last))
            begin = batches.places(first)[0]
            for batch in range(first, last):
                batches.position = batch + 1
                start, stop = batches.places(batch)
                yield gathered if last - first == 1 else rows(gathered, slice(start - begin, stop - begin))

    def state_dict(self) -> dict[str, int]:
        """State of the order; with the next method it tells Lightning that the loader can resume."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)


def rows(window: Window, chosen: slice) -> Window:
    """Some windows of a batch, as views."""
    inputs, targets = window.inputs, window.targets
    return Window(
        Inputs(*[field[chosen] for field in inputs]),
        Targets(targets.target[chosen], targets.observed[chosen]),
        window.origin[chosen],
    )
