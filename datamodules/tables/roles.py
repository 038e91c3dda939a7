"""Which column of a table plays which role, and how its series lie there: below, beside or across one another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from datamodules.tables.source import Source
from seqmodels.window import InputError

LAYOUTS = {
    "long": "one row per step",
    "wide": "one column per series",
    "rows": "one row per series, its steps side by side",
}
Names = str | Sequence[str] | None


@dataclass(frozen=True)
class Roles:
    """Names of columns by the config key that gives them their role; every field is a tuple."""

    target: tuple[str, ...]
    time: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    past_covariates: tuple[str, ...] = ()
    known_covariates: tuple[str, ...] = ()
    statics: tuple[str, ...] = ()

    @property
    def every(self) -> bool:
        """Whether the target is ``*``: all columns that have no other role."""
        return self.target == ("*",)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that may hold any text."""
        return (*self.id, *self.time)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are meant to hold numbers, the covariates and statics among them also categories."""
        statics = (name for name in self.statics if name not in self.id)
        return (*self.target, *self.past_covariates, *self.known_covariates, *statics)

    def of(self, table: Source) -> "Roles":
        """The roles with a target ``*`` replaced by the columns of the table that have no other role.

        Raises ``InputError`` for a column that does not exist, with the nearest names, and for one of two roles.
        """
        others = {*self.texts, *self.numbers}
        roles = (
            replace(self, target=tuple(name for name in table.columns if name not in others)) if self.every else self
        )
        _check_columns(table, roles)
        return roles


def names(given: Names) -> tuple[str, ...]:
    """One name or several as a tuple."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def find_layout(layout: str, roles: Roles) -> str:
    """The layout that was asked for or, for ``auto``, that the roles tell.

    Several targets in rows that have no id stay channels of one series: only ``*`` makes a series of each column.
    Raises ``InputError`` for an unknown layout and for roles that do not go with it.
    """
    if layout == "auto":
        across = roles.id and not roles.time
        layout = "long" if not roles.every else "rows" if across else "wide"
    if layout not in LAYOUTS:
        raise InputError(f"data.layout={layout} is unknown; it must be one of auto, {', '.join(LAYOUTS)}.")
    if layout == "long" and roles.every:
        raise InputError("data.target=* means one series per column and needs data.layout=wide.")
    absent = {"wide": ("id", "statics"), "rows": ("time", "past_covariates", "known_covariates")}.get(layout, ())
    for key in absent:
        if columns := getattr(roles, key):
            raise InputError(
                f"data.{key}={','.join(columns)} does not go with data.layout={layout}: {LAYOUTS[layout]}."
            )
    return layout


def _check_columns(table: Source, roles: Roles) -> None:
    if not roles.target:
        raise InputError(f"data.target names no column of {table.name}; at least one is needed.")
    seen: dict[str, str] = {}
    for key, columns in vars(roles).items():
        for name in columns:
            if name not in table.columns:
                near = get_close_matches(name, table.columns, n=3, cutoff=0.5) or list(table.columns[:10])
                raise InputError(
                    f"data.{key}: {table.name} has no column {name!r}; nearest: {', '.join(map(repr, near))}."
                )
            also_static = key == "statics" and seen.get(name) == "id"  # what names a series may describe it too
            if name in seen and not also_static:
                raise InputError(f"data.{key}: column {name!r} is already in data.{seen[name]}; one role per column.")
            seen[name] = key
