"""The error of this project for everything a user can mend; knows nothing else, so naming it never loads torch."""

from collections.abc import Collection


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence with place, value and rule."""


def require_at_least(least: int, place: str, **values: int) -> None:
    """Raise InputError for the first of these whole numbers that is smaller than ``least``; ``place`` is its config."""
    for name, value in values.items():
        if value < least:
            raise InputError(f"{place}{'.' if place else ''}{name} is {value}; it must be at least {least}.")


def require_share(place: str, **values: float) -> None:
    """Raise InputError unless each of these lies in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise InputError(f"{place}.{name} is {value}; it must be at least 0 and less than 1.")


def require_choice(choices: Collection[str], place: str, **values: str) -> None:
    """Raise InputError for the first of these that is none of ``choices``."""
    for name, value in values.items():
        if value not in choices:
            raise InputError(f"{place}.{name} is {value!r}; it must be one of {', '.join(choices)}.")
