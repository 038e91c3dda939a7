"""Signals that ask a process to end: Ctrl-C, the stop of a cluster or container, a closed terminal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WORDS = {
    int(getattr(signal, name)): word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up"))
    if hasattr(signal, name)  # Windows has no SIGHUP
}


class Interrupted(BaseException):
    """Raised for the signal ``number``; ``report`` continues the sentence: "interrupted" + report."""

    def __init__(self, number: int, report: str = ""):
        super().__init__(f"{WORDS.get(number, f'ended by signal {number}')}{report}")
        self.number, self.report, self.exit_code = number, report, 128 + number

    def __reduce__(self) -> Any:
        return Interrupted, (self.number, self.report)


def raise_at_once(number: int, frame: Any = None) -> None:
    """Signal handler that raises ``Interrupted`` immediately."""
    raise Interrupted(number)


@contextmanager
def handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let ``handler`` receive the signals within the block; those that are ignored, as under nohup, stay so.

    Only the main thread can handle signals; in others nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in WORDS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
