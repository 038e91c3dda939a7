"""Inputs that people really have: what is wrong with each, and what must be said of it.

Each case is a small table, or several, in a directory of its own, and overrides as on a command line. The table of a
case is called data.csv unless it says otherwise, and lines are counted as in an editor: line 1 is the header.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bad_inputs.made import daily

Files = Mapping[str, str | bytes]


class Refused(NamedTuple):
    """Must end with one sentence, which the regular expression finds."""

    content: str | bytes | Files
    overrides: Iterable[str]
    says: str

    @property
    def files(self) -> Files:
        return files(self.content)


class Repaired(NamedTuple):
    """Must be read, with one note that the regular expression finds; "" where there is nothing to say."""

    content: str | bytes | Files
    overrides: Iterable[str]
    says: str
    rows: int = 40  # of all series together
    missing: int = 0  # target values

    @property
    def files(self) -> Files:
        return files(self.content)


Case = Refused | Repaired


def files(content: str | bytes | Files) -> Files:
    """The files of a case by name."""
    return content if isinstance(content, Mapping) else {"data.csv": content}


GOOD = daily()
TIMED = ("data.time=t",)
