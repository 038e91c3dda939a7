"""Bad inputs as people have them, and the error or note that each must produce.

A case consists of one or several small tables in a directory of their own, and of overrides as on a command line.
Unless stated otherwise the table is data.csv; lines are counted as in an editor, line 1 is the header.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bad_inputs.build import daily

Files = Mapping[str, str | bytes]


class Refused(NamedTuple):
    """Raises an error of one sentence that the regular expression matches."""

    content: str | bytes | Files
    overrides: Iterable[str]
    pattern: str

    @property
    def files(self) -> Files:
        return by_name(self.content)


class Repaired(NamedTuple):
    """An input that is read, with a note that the regular expression matches; "" for no note."""

    content: str | bytes | Files
    overrides: Iterable[str]
    pattern: str
    rows: int = 40  # of all series together
    missing: int = 0  # target values

    @property
    def files(self) -> Files:
        return by_name(self.content)


Case = Refused | Repaired


def by_name(content: str | bytes | Files) -> Files:
    """Files of a case by name."""
    return content if isinstance(content, Mapping) else {"data.csv": content}


GOOD = daily()
TIMED = ("data.time=t",)
