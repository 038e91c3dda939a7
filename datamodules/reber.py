"""Strings of the embedded Reber grammar, to be told from strings with one wrong symbol."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from datamodules.sequences import Sequences
from datamodules.series import SeriesSet
from seqmodels.errors import require_at_least

SYMBOLS = "BEPSTVX"
END = 7
# By state: the symbols that may follow, and the state after each
GRAMMAR = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": END},
)


class Reber(Sequences):
    """Strings of different length, half of them of the embedded Reber grammar, half with one symbol replaced.

    The grammar asks for the second symbol again as the last but one, whatever lies in between.

    ``sequences`` are divided into training and validation by ``split``; ``test_sequences`` are further ones, all
    of them drawn by ``data_seed``. The rest: see ``Sequences``.

    Source: Hochreiter and Schmidhuber 1997, experiment 1; as a classification: Géron, exercise of the chapter on
    natural language processing.
    """

    def __init__(
        self,
        *,
        sequences: int = 10_000,
        test_sequences: int = 2_000,
        data_seed: int = 42,
        split: Sequence[int | float] = (0.9, 0.1),
        split_seed: int = 0,
        batch_size: int | Literal["auto"] = "auto",
        evaluation_batch_size: int = 1024,
        seed: int = 0,
    ):
        super().__init__(
            None, target="symbol", label="string", id="number", split=split, split_seed=split_seed,
            batch_size=batch_size, evaluation_batch_size=evaluation_batch_size, seed=seed,
        )  # fmt: skip
        require_at_least(4, "data", sequences=sequences, test_sequences=test_sequences)
        self.counts, self.data_seed = (sequences, test_sequences), data_seed

    def read(self) -> SeriesSet:
        self.kind, (train, test) = "sequence", self.counts
        self.given = {"train": np.arange(train), "test": np.arange(train, train + test)}
        random = np.random.default_rng(self.data_seed)
        good = np.arange(train + test) % 2 == 0
        strings = [draw_string(random) if one else draw_wrong_string(random) for one in good]
        codes = [SYMBOLS.index(symbol) + 1 for string in strings for symbol in string]
        return SeriesSet(
            np.array(codes, np.float32)[:, None],
            np.cumsum([0, *map(len, strings)]),
            channels=("symbol",),
            labels=good[:, None] + 1.0,
            label_names=("string",),
            categories={"symbol": tuple(SYMBOLS), "string": ("bad", "good")},
            source="the embedded Reber grammar",
        )


def draw_string(random: np.random.Generator) -> str:
    """One string of the embedded grammar; each symbol that may follow is equally probable."""
    state, inner = 0, ""
    while state != END:
        symbol = str(random.choice(list(GRAMMAR[state])))
        inner, state = inner + symbol, GRAMMAR[state][symbol]
    outer = str(random.choice(["T", "P"]))
    return f"B{outer}{inner}{outer}E"


def draw_wrong_string(random: np.random.Generator) -> str:
    """One string with one symbol replaced by another, so that the grammar does not allow it."""
    while True:
        string = draw_string(random)
        place = int(random.integers(len(string)))
        other = str(random.choice([symbol for symbol in SYMBOLS if symbol != string[place]]))
        wrong = string[:place] + other + string[place + 1 :]
        if not is_allowed(wrong):
            return wrong


def is_allowed(string: str) -> bool:
    """True for a string of the embedded grammar."""
    state: int | None = 0
    for symbol in string[2:-2]:
        state = None if state in (None, END) else GRAMMAR[state].get(symbol)
    around = string[0] + string[-1] == "BE" and string[1] == string[-2] and string[1] in "TP"
    return around and state == END
