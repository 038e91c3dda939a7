"""Check a composed config against the constructors that it names."""

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqmodels.config.arguments import Argument, accepted, describe, fits, is_built
from seqmodels.config.build import nearest, resolve
from seqmodels.errors import InputError

SUPPLIED: Mapping[str, Collection[str]] = {"model": ("spec",)}  # arguments that the code passes, by full key


def check(config: Any, defaults: Iterable[str], supplied: Mapping[str, Collection[str]] = SUPPLIED) -> None:
    """Raise ``InputError`` at the first key of a composed config that no constructor accepts.

    Args:
        config: the composed config, ``DictConfig`` or dict; a key ``hydra`` is passed over.
        defaults: the top-level keys that are known.
        supplied: arguments that the code will pass when it builds, by the full key of their node.
    """
    root = config if isinstance(config, DictConfig) else OmegaConf.create(config)
    known = [key for key in defaults if key != "hydra"]
    for name in map(str, root):
        if name == "hydra":
            continue
        if name not in known:
            raise InputError(f"{name}: the config has no such key.{nearest(name, known)}")
        _check_value(_value(root, name, name), name, supplied)


def _value(node: Any, name: Any, key: str) -> Any:
    """The value of one key, resolved; a key without value is an error here unless the code supplies it."""
    if OmegaConf.is_missing(node, name):
        raise InputError(f"{key} has no value: give one with {key}=...")
    try:
        return node[name]
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise InputError(f"{key} cannot be resolved: {reason}.") from error


def _check_value(value: Any, key: str, supplied: Mapping[str, Collection[str]]) -> None:
    if OmegaConf.is_list(value):
        for index in range(len(value)):
            _check_value(_value(value, index, f"{key}[{index}]"), f"{key}[{index}]", supplied)
    elif OmegaConf.is_dict(value):
        if "_target_" in value:
            _check_target(value, key, supplied)
        elif "." not in key:
            _check_container(value, key)
        for name in map(str, value):
            if name not in supplied.get(key, ()):
                _check_value(_value(value, name, f"{key}.{name}"), f"{key}.{name}", supplied)


def _check_container(node: DictConfig, key: str) -> None:
    """Beside nodes that are built (callbacks, loggers) stand only others of them, or null for one switched off."""
    values = {name: _value(node, name, f"{key}.{name}") for name in map(str, node)}
    built = [name for name, value in values.items() if OmegaConf.is_dict(value) and "_target_" in value]
    for name, value in values.items():
        if built and value is not None and name not in built:
            raise InputError(f"{key}.{name} has no _target_, so it cannot be built.{nearest(name, built)}")


def _check_target(node: DictConfig, key: str, supplied: Mapping[str, Collection[str]]) -> None:
    target = resolve(_value(node, "_target_", f"{key}._target_"), f"{key}._target_")
    name = f"{target.__module__}.{target.__qualname__}"
    arguments, passes_on = accepted(target)
    given = {str(argument) for argument in node if not str(argument).startswith("_")}
    for unknown in sorted(given - set(arguments)) if not passes_on else ():
        raise InputError(f"{key}.{unknown}: {name} takes no argument {unknown}.{nearest(unknown, arguments)}")
    by_code = set(supplied.get(key, ()))
    plain: Any = OmegaConf.to_container(node, resolve=False)
    for argument in arguments:
        if arguments[argument].required and argument not in given | by_code and not _deferred(node):
            raise InputError(f"{key}.{argument} is missing: {name} cannot be built without it.")
    for argument in sorted((given & set(arguments)) - by_code):
        raw = str(plain[argument]) if OmegaConf.is_interpolation(node, argument) else ""
        _check_type(_value(node, argument, f"{key}.{argument}"), f"{key}.{argument}", arguments[argument], raw)


def _deferred(node: DictConfig) -> bool:
    """Whether arguments may come later or by position, so that none can be called missing."""
    return bool(node.get("_partial_")) or "_args_" in node


def _check_type(value: Any, key: str, argument: Argument, raw: str) -> None:
    """``raw`` is the interpolation that the value comes from, or empty."""
    if OmegaConf.is_dict(value) and "_target_" in value:
        return  # what is built there is known only afterwards
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    annotation = argument.annotation
    if annotation is inspect.Parameter.empty or (plain is None and argument.default is None) or fits(plain, annotation):
        return
    given = "null" if plain is None else plain
    group = key.replace(".", "/")
    hint = (
        f" To select an option of a group write {group}={plain}."
        if isinstance(plain, str) and is_built(annotation)
        else ""
    )
    origin = f" (from {raw})" if raw else ""
    raise InputError(f"{key}={given}{origin}: expected {describe(annotation)}, got {_kind(plain)}.{hint}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
