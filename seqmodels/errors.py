"""The error of this project for everything a user can mend; knows nothing else, so naming it never loads torch."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence with place, value and rule."""
