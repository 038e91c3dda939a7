"""Roles of columns, and layouts: series below one another (long), side by side (wide), or one per row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from datamodules.tables.source import Source
from seqmodels.errors import InputError

LAYOUTS = {
    "long": "one row per step",
    "wide": "one column per series",
    "rows": "one row per series, its steps side by side",
}
Names = str | Sequence[str] | None


def to_tuple(names: Names) -> tuple[str, ...]:
    """One name, several or none as a tuple."""
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True)
class Roles:
    """Column names by the config key that assigns their role; every field is a tuple."""

    target: tuple[str, ...]
    time: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    past_covariates: tuple[str, ...] = ()
    known_covariates: tuple[str, ...] = ()
    statics: tuple[str, ...] = ()

    @property
    def all_targets(self) -> bool:
        """True if the target is ``*``: all columns without another role."""
        return self.target == ("*",)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that may hold any text."""
        return (*self.id, *self.time)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns of numbers; covariates and statics may hold categories instead."""
        statics = (name for name in self.statics if name not in self.id)
        return (*self.target, *self.past_covariates, *self.known_covariates, *statics)

    def resolve(self, table: Source) -> "Roles":
        """Replace a target ``*`` by the columns of the table that have no other role, and check all columns.

        Raises ``InputError`` for an unknown column, with the nearest names, and for a column with two roles.
        """
        others = {*self.texts, *self.numbers}
        targets = tuple(name for name in table.columns if name not in others) if self.all_targets else self.target
        roles = replace(self, target=targets)
        _check_columns(table, roles)
        return roles


def find_layout(layout: str, roles: Roles) -> str:
    """Return the given layout or, for ``auto``, the one that the roles imply.

    Several targets without an id are channels of one series; only ``*`` makes each column a series. Raises
    ``InputError`` for an unknown layout and for roles that do not fit the layout.
    """
    if layout == "auto":
        per_row = roles.id and not roles.time
        layout = "long" if not roles.all_targets else "rows" if per_row else "wide"
    if layout not in LAYOUTS:
        raise InputError(f"data.layout={layout} is unknown; it must be one of auto, {', '.join(LAYOUTS)}.")
    if layout == "long" and roles.all_targets:
        raise InputError("data.target=* means one series per column and needs data.layout=wide.")
    unused = {"wide": ("id", "statics"), "rows": ("time", "past_covariates", "known_covariates")}.get(layout, ())
    for key in unused:
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
            also_static = key == "statics" and seen.get(name) == "id"  # an id column may be a static as well
            if name in seen and not also_static:
                raise InputError(
                    f"data.{key}: column {name!r} is already in data.{seen[name]}; a column has one role only."
                )
            seen[name] = key
