"""The exception for mistakes of the user, and checks that raise it; imports no other module, so that it loads fast."""

from collections.abc import Collection, Sequence


class InputError(ValueError):
    """Invalid data, option or file given by the user.

    The message is one sentence that names the place, the value and the rule.
    """


def require_at_least(least: int, place: str, **values: int) -> None:
    """Raise InputError for the first number below ``least``; ``place`` is the config node of the names."""
    for name, value in values.items():
        if value < least:
            raise InputError(f"{place}{'.' if place else ''}{name} is {value}; it must be at least {least}.")


def require_each_at_least(least: int, place: str, **lists: Sequence[int]) -> None:
    """Raise InputError for the first list that is empty or holds a number below ``least``."""
    for name, values in lists.items():
        if not values or min(values) < least:
            raise InputError(f"{place}.{name} is {list(values)}; it must hold one or more numbers of at least {least}.")


def require_fraction(place: str, **values: float) -> None:
    """Raise InputError for the first number outside [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise InputError(f"{place}.{name} is {value}; it must be at least 0 and less than 1.")


def require_choice(choices: Collection[str], place: str, **values: str) -> None:
    """Raise InputError for the first value that is not one of ``choices``."""
    for name, value in values.items():
        if value not in choices:
            raise InputError(
                f"{place}{'.' if place else ''}{name} is {value!r}; it must be one of {', '.join(choices)}."
            )
