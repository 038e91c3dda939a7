"""Error messages of one sentence for the exceptions that Hydra raises while it composes a config."""

import argparse
import re
import shlex
import traceback
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, MissingMandatoryValue

from seqmodels.config.compose import private_hydra
from seqmodels.config.targets import FEW, nearest
from seqmodels.errors import InputError

PLUGINS = {  # of Hydra, by the option that needs them
    "hydra/sweeper=optuna": "'.[sweep]' in a clone of this project",
    "hydra/sweeper=ax": "hydra-ax-sweeper",
    "hydra/sweeper=nevergrad": "hydra-nevergrad-sweeper",
    "hydra/launcher=joblib": "hydra-joblib-launcher",
    "hydra/launcher=ray": "hydra-ray-launcher",
    "hydra/launcher=rq": "hydra-rq-launcher",
    "hydra/launcher=submitit_local": "hydra-submitit-launcher",
    "hydra/launcher=submitit_slurm": "hydra-submitit-launcher",
    "hydra/job_logging=colorlog": "hydra-colorlog",
    "hydra/hydra_logging=colorlog": "hydra-colorlog",
}


def one_line(text: object) -> str:
    """Replace every run of white space and line breaks with one space."""
    return " ".join(str(text).split())


class Choices(NamedTuple):
    """Keys of a config, the options of every group, and the option selected from each group that the config uses."""

    keys: list[str]
    options: dict[str, list[str]]
    used: dict[str, str]


class CommandLine:
    """The arguments of a command, and the keys and groups available to it without the override at fault."""

    def __init__(self, folder: Path, name: str, arguments: list[str]):
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--config-path", "-cp", default=str(folder))
        parser.add_argument("--config-name", "-cn", default=name)
        parser.add_argument("--config-dir", "-cd")
        known, rest = parser.parse_known_args(arguments)
        self.folder, self.name = folder.parent / known.config_path, known.config_name
        self.extra = [f'hydra.searchpath=["file://{Path(known.config_dir).resolve()}"]'] if known.config_dir else []
        self.overrides = [argument for argument in rest if not argument.startswith("-")]

    def override(self, key: str) -> str:
        """The override of ``key`` as the user wrote it; the key itself if there is no such override."""
        return next((given for given in self.overrides if _key(given) == key), key)

    def choices(self, without: str) -> Choices:
        """Keys and groups of the config composed with the user's group choices, or without them if that fails."""
        for chosen in ([one for one in self._group_overrides if one != without], []):
            try:
                return self._compose(chosen)
            except Exception:  # a second mistake in the command: the default config still helps
                continue
        return Choices([], {}, {})

    def options_with(self, key: str, choices: Choices, without: str) -> tuple[str, list[str]]:
        """The innermost group whose options decide about ``key``, and its other options that have the key.

        If some of them have all keys of that group in the command line, only those. ``without``: see ``choices``.
        """
        parents = key.split(".")[:-1]
        outer = ["/".join(parents[:end]) for end in range(len(parents), 0, -1)]
        group = next((one for one in outer if one in choices.used), "")
        if not group or not self._mentions(group.partition("/")[0], key.rpartition(".")[2]):
            return group, []
        wanted = {_key(one) for one in self.overrides if _key(one).startswith(f"{group.replace('/', '.')}.")} | {key}
        others = [one for one in self._group_overrides if _key(one) != group and one != without]
        found = {option: wanted & self._keys([*others, f"{group}={option}"]) for option in choices.options[group]}
        having = [option for option, keys in found.items() if key in keys]
        return group, [option for option in having if found[option] == wanted] or having

    def _mentions(self, group: str, leaf: str) -> bool:
        """True if any config of the group, or one outside all groups, has a key of this name: quick to find out."""
        files = [*self.folder.glob("*.yaml"), *self.folder.glob(f"{group}/**/*.yaml")]
        return any(re.search(rf"\b{re.escape(leaf)}:", file.read_text(encoding="utf-8")) for file in files)

    def _keys(self, overrides: list[str]) -> set[str]:
        try:
            return set(self._compose(overrides).keys)
        except Exception:  # this option does not go with the other choices
            return set()

    def swept(self, key: str) -> bool:
        """True if ``key`` exists only with a swept group choice; Hydra composes a sweep without such choices."""
        swept = [one for one in self.overrides if "." not in _key(one) and "," in one and "[" not in one]
        if not swept:
            return False
        try:
            return key in self._compose([*self._group_overrides, *(one.partition(",")[0] for one in swept)]).keys
        except Exception:  # another mistake, which has its own message
            return False

    @cached_property
    def _group_overrides(self) -> list[str]:
        return [one for one in self.overrides if "." not in _key(one) and "=" in one and "," not in one]

    def _compose(self, overrides: list[str]) -> Choices:
        with private_hydra(self.folder, self.name):
            config = compose(self.name, overrides=[*self.extra, *overrides], return_hydra_config=True)
            sources = GlobalHydra.instance().config_loader().get_sources()
            options = {group: _list(sources, group, ObjectType.CONFIG) for group in _groups(sources)}
        plain = OmegaConf.to_container(config, resolve=False)
        assert isinstance(plain, dict)
        chosen = config.hydra.runtime.choices.items()
        used = {str(group): str(option) for group, option in chosen if not str(group).startswith("hydra/")}
        return Choices(list(_paths(plain)), options, used)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _groups(sources: list[ConfigSource], parent: str = "") -> Iterator[str]:
    for name in _list(sources, parent, ObjectType.GROUP):
        if name != "hydra":  # Hydra's own groups are no choice of a user
            yield f"{parent}{name}"
            yield from _groups(sources, f"{parent}{name}/")


def _list(sources: list[ConfigSource], group: str, kind: ObjectType) -> list[str]:
    """Names in a group; the config loader's own method would read its whole configuration again for each group."""
    place = group.rstrip("/")
    found = (source.list(place, kind) for source in sources if source.is_group(place))
    return sorted({name for names in found for name in names})


def _paths(plain: dict[Any, Any], start: str = "") -> Iterator[str]:
    for name, value in plain.items():
        if not str(name).startswith("_"):
            yield f"{start}{name}"
            if isinstance(value, dict):
                yield from _paths(value, f"{start}{name}.")


def sentence(error: BaseException, command: CommandLine) -> str | None:
    """One sentence that tells the user what to correct; None if the error is not theirs."""
    if isinstance(error, InputError):
        return one_line(error)
    if isinstance(error, OverrideParseException):
        return _grammar(error.override)
    if isinstance(error, MissingConfigException):
        return _option(error, command)
    if isinstance(error, ConfigCompositionException):
        return _composition(error, command)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: give one with {error.full_key}=..."
    if isinstance(error, (InterpolationKeyError, InterpolationResolutionError)):
        return f"{error.full_key} cannot be resolved: {_first_line(error)}"
    if isinstance(error, OSError) and _comes_from(error, "hydra.core.utils"):
        return f"{error.filename}: the run directory cannot be created ({error.strerror})."
    early = isinstance(error, RuntimeError) and str(error).startswith("Early stopping conditioned on metric")
    if early or any(kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__):
        return f"trainer: {_end(one_line(error).removesuffix('!'))}"
    if isinstance(error, ModuleNotFoundError):
        return _missing_package(error)
    if isinstance(error, HydraException) or any(kind.__name__ == "YAMLError" for kind in type(error).__mro__):
        return _end(one_line(error))
    return _from_hydra(error, command) if isinstance(error, ValueError) else None


def _missing_package(error: ModuleNotFoundError) -> str | None:
    """Name the package to install; None for a module of this project, whose absence is a fault of ours."""
    required = re.search(r"Requirement '([^']+)'", str(error))  # how Lightning words it
    name = required[1] if required else (error.name or "").partition(".")[0]
    if not name:
        return _end(one_line(error))
    return None if name in ("seqmodels", "datamodules") else f"a package is missing: pip install '{name}'."


def _comes_from(error: BaseException, module: str) -> bool:
    """True if the traceback contains a frame of this module."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__") == module for frame in frames)


def _grammar(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} is not of the form key=value."
    for opening, closing in ("[]", "{}"):
        if value.startswith(opening) and not value.endswith(closing):
            return f"{override} has no {closing} at its end; an argument with spaces needs quotes: '{key}=[a, b]'."
    # The keys of a mapping cannot be quoted.
    quoted = re.sub(r"([()])", r"\\\1", value) if value.startswith("{") else _quote(value)
    if not _is_valid(f"{key}={quoted}"):
        return f"{override} cannot be read: write it into a config file."
    return (
        f"{override} cannot be read; names with ( ) [ ] {{ }} = : or letters beyond ASCII need quotes of their own, "
        f"inside those for the shell: {shlex.quote(f'{key}={quoted}')}."
    )


def _quote(value: str) -> str:
    """Put each item of a list that cannot be read as it is, or the whole value, into double quotes."""
    if not value.startswith("["):
        return value if _is_valid(f"key={value}") else f'"{_escape(value)}"'
    items = re.findall(r'(?:\([^)]*\)|"[^"]*"|[^,(]|\((?![^)]*\)))+', value[1:-1])  # commas within parentheses stay
    return f"[{','.join(_quote(item.strip()) for item in items)}]"


def _escape(value: str) -> str:
    return value.strip("'\"").replace('"', '\\"')


def _is_valid(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override).value()
    except HydraException:
        return False
    return True


def _option(error: MissingConfigException, command: CommandLine) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if not group or error.options is None:
        return _end(one_line(str(error).split("Config search path")[0].split("Search path")[0]))
    if f"{group}={option}" in PLUGINS:
        return _plugin(f"{group}={option}")
    where = re.match(r"In '(.+?)'", str(error))
    origin = f" (chosen in {where[1]}.yaml)" if where and command.override(group) == group else ""
    return f"{group}={option}{origin}: the group {group} has no option {option}.{nearest(option, error.options)}"


def _plugin(choice: str) -> str:
    return f"{choice} needs a plugin that is not installed: pip install {PLUGINS[choice]}."


def _composition(error: ConfigCompositionException, command: CommandLine) -> str:
    text = str(error) or str(error.__cause__ or "")
    if found := re.search(r"Could not (?:override|delete)(?: from config\.)? '~?([^'=]+)", text):
        return _unknown(found[1], command)
    if found := re.search(r"An item is already at '(.+?)'", text):
        return f"{command.override(found[1])}: {found[1]} is already in the config; leave out the +."
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'(?: requires|\n|$)", text):
        key, _, value = found[1].partition("=")
        return f"{found[1]} holds several values: add -m to run one job for each, or write {key}=[{value}] for a list."
    if found := re.search(r"Error merging override (.+)", text):
        return f"{found[1]} does not fit the config: {_first_line(error.__cause__ or error)}"
    if found := re.search(r"You must specify '(.+?)'", text):
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return f"{found[1]} must be chosen with {found[1]}=....{nearest('', options)}"
    if found := re.search(r"force-add of config groups is not supported: '(.+?)'", text):
        return f"{found[1]}: {_key(found[1])} is a group; leave out the ++."
    return _end(one_line(text))


def _unknown(key: str, command: CommandLine) -> str:
    override = command.override(key)
    found = command.choices(without=override)
    keys, options, used = found
    if key in options:
        return f"{override}: nothing in this config selects from the group {key}.{nearest(key, used)}"
    if key.startswith(("hydra/sweeper/", "hydra.sweeper.")) and "hydra/sweeper=optuna" not in command.overrides:
        return f"{override}: only other sweepers than the basic one have {key}, such as hydra/sweeper=optuna."
    if "/" in key:
        return f"{override}: there is no group {key}.{nearest(key, options)}"
    if command.swept(key):
        return f"{override}: {key} exists only with a swept choice of a group; in a sweep, write ++{override}."
    inside = key.startswith("hydra.")
    choices = [*(name for name in keys if name.startswith("hydra.") == inside), *({} if inside else options)]
    parent, _, leaf = key.rpartition(".")
    deeper = [name for name in choices if name.startswith(f"{parent}." * bool(parent)) and name.endswith(f".{leaf}")]
    if deeper and len(deeper) <= FEW:
        return f"{override}: the config has no key {key}. Nearest: {', '.join(deeper)}."
    full = key if parent else f"data.{key}"
    group, having = command.options_with(full, found, without=override)
    if not having:
        return f"{override}: the config has no key {key}.{nearest(key, choices)}"
    others = f" (or {', '.join(having[1:FEW])})" if having[1:] else ""
    place = f"{group}={used[group]} has no key {full.removeprefix(group.replace('/', '.') + '.')}"
    named = "" if parent else f", and write {full}=..."
    return f"{override}: {place}; choose {group}={having[0]}{others}, which has it{named}."


def _from_hydra(error: ValueError, command: CommandLine) -> str | None:
    """Message for a plain ``ValueError`` that Hydra itself raised; None for those of other code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not str(trace.tb_frame.f_globals.get("__name__")).startswith("hydra."):
        return None
    override = trace.tb_frame.f_locals.get("override")
    given = getattr(override, "input_line", None)
    if given is None:
        return _end(one_line(error))
    group, _, option = str(given).lstrip("+~").partition("=")
    options = command.choices(without=given).options.get(group, [])
    return f"{given}: {_end(one_line(error))}{nearest(option, options)}"


def _first_line(error: BaseException) -> str:
    return _end(one_line(str(error).splitlines()[0] if str(error) else type(error).__name__))


def _end(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
