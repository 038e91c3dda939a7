"""Roles of columns, and layouts: series below one another (long), side by side (wide), or one per row."""

import re
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


def to_times(names: Names) -> tuple[str, ...]:
    """Columns of ``data.time``; empty for "none" and for "auto", which checks that no column holds times."""
    return () if names in ("auto", "none", "None") else to_tuple(names)


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
    def has_patterns(self) -> bool:
        """True if the target is ``*``, all columns without another role, or has names with ``*`` or a leading ``!``."""
        return any("*" in name or name.startswith("!") for name in self.target)

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
        """Replace patterns of the target by columns that have no other role, and check all columns.

        ``*`` stands for any characters, and ``!`` takes what follows out again. The name of a column is no pattern.
        Raises ``InputError`` for an unknown column, with the nearest names, and for a column with two roles.
        """
        given = {key: tuple(_given_name(table, name) for name in names) for key, names in vars(self).items()}
        roles = Roles(**given)
        unnamed = set(table.renamed.get("", ()))
        if self.has_patterns:
            roles = replace(roles, target=roles._expand([name for name in table.columns if name not in unnamed]))
        _check_columns(table, roles)
        return roles

    def _expand(self, columns: Sequence[str]) -> tuple[str, ...]:
        others, names = {*self.texts, *self.numbers}.difference(self.target), set(columns)
        free = [name for name in columns if name not in others]
        found = dict.fromkeys(free if all(name.startswith("!") for name in self.target) else ())
        for name in self.target:
            removed = name.startswith("!") and name not in names
            pattern = re.escape(name.removeprefix("!") if removed else name).replace(r"\*", ".*")
            matches = [name] if name in names else [one for one in free if re.fullmatch(pattern, one, re.DOTALL)]
            if removed and matches:
                found = {one: None for one in found if one not in set(matches)}
            else:
                found |= dict.fromkeys(matches or [name])
        return tuple(found)


def find_layout(layout: str, roles: Roles) -> str:
    """Return the given layout or, for ``auto``, the one that the roles imply.

    Several targets without an id are channels of one series; only patterns make each column a series. Raises
    ``InputError`` for an unknown layout and for roles that do not fit the layout.
    """
    if layout == "auto":
        per_row = roles.id and not roles.time
        per_series = roles.id and roles.time and roles.target != ("*",)
        layout = "long" if not roles.has_patterns or per_series else "rows" if per_row else "wide"
    if layout not in LAYOUTS:
        raise InputError(f"data.layout={layout} is unknown; it must be one of auto, {', '.join(LAYOUTS)}.")
    if layout == "long" and roles.target == ("*",):
        raise InputError("data.target=* means one series per column and needs data.layout=wide.")
    unused = {"wide": ("id", "statics"), "rows": ("time", "past_covariates", "known_covariates")}.get(layout, ())
    for key in unused:
        if columns := getattr(roles, key):
            raise InputError(
                f"data.{key}={','.join(columns)} does not go with data.layout={layout}: {LAYOUTS[layout]}."
            )
    return layout


def _given_name(table: Source, name: str) -> str:
    """The name that the only column without one got."""
    names = table.renamed.get(name, ())
    return names[0] if len(names) == 1 else name


def _check_columns(table: Source, roles: Roles) -> None:
    if not roles.target:
        raise InputError(f"data.target names no column of {table.name}; at least one is needed.")
    seen: dict[str, str] = {}
    names = set(table.columns)
    for key, columns in vars(roles).items():
        for name in columns:
            if name in table.renamed:
                which = ", ".join(map(repr, table.renamed[name]))
                raise InputError(
                    f"data.{key}: {table.name} names column {name!r} more than once: choose one of {which}."
                )
            if name not in names:
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
