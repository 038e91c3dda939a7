"""Checks a composed config against the constructors it names and builds them; knows which names may be built."""

import functools
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqmodels.config.arguments import Argument, accepted, describe, fits, is_built
from seqmodels.errors import InputError

ALLOWED = ("seqmodels.", "datamodules.", "torch.nn.", "torch.optim.", "lightning.pytorch.", "torchmetrics.")
SUPPLIED: Mapping[str, Collection[str]] = {"model": ("spec",)}  # arguments that the code passes, by full key
MISSING = "???"
FEW = 8  # as many names are listed in full


def nearest(name: str, choices: Iterable[str]) -> str:
    """End of a sentence about ``name``: its closest choices first, all when they are few; empty without any."""
    score = {choice: SequenceMatcher(None, name.lower(), choice.lower()).ratio() for choice in choices}
    ranked = sorted(score, key=lambda choice: (-score[choice], choice))
    if len(ranked) > FEW:
        ranked = [choice for choice in ranked if score[choice] >= 0.6][:3] or ranked[:5]
    return f" Nearest: {', '.join(ranked)}." if ranked else ""


def resolve(name: Any, key: str = "_target_") -> Callable[..., Any]:
    """The class or function called ``name``; raises ``InputError``, before any import, for a name outside ALLOWED.

    The name must be that of a module and one attribute, and what it leads to must itself come from a module in
    ALLOWED: a module's own imports (``torch.nn.modules.module.weakref``) open no way out.
    """
    if not isinstance(name, str) or not name.startswith(ALLOWED):
        raise InputError(f"{key}={name}: only names that begin with {', '.join(ALLOWED)} may be built.")
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"{key}={name} cannot be imported: {error}.") from error
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise InputError(f"{key}={name}: {module_name} has no {attribute}.{nearest(attribute, public)}")
    target = getattr(module, attribute)
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        raise InputError(f"{key}={name}: only a class or a function may be built.")
    if not f"{target.__module__}.".startswith(ALLOWED):
        raise InputError(f"{key}={name} leads to {target.__module__}, outside of what may be built.")
    return target


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


def build(node: Any, **arguments: Any) -> Any:
    """Build the object a node describes, nested ones first; the one way to instantiate.

    Lists and mappings arrive as plain ones; ``_partial_: true`` gives a ``functools.partial`` (Hydra's own validate
    a policy at every call); ``arguments`` replace the node's and reach the constructor untouched, and what a
    constructor raises arrives as itself: for these three, the constructors are called here and not by Hydra.
    Every name is checked against ALLOWED before the first constructor runs. None stays None.

    Raises:
        InputError: a name that may not be built, a key without value, or a node without ``_target_``.
    """
    if node is None:
        return None
    place = node._get_full_key(None) if OmegaConf.is_config(node) else ""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        raise InputError(f"{place or 'node'} has no _target_, so it cannot be built.")
    plain = {name: value for name, value in plain.items() if name not in arguments}
    _authorise(plain, place)
    return _construct(plain, arguments)


def _authorise(value: Any, key: str) -> None:
    if isinstance(value, str) and value == MISSING:
        raise InputError(f"{key} has no value: give one with {key}=...")
    if isinstance(value, Mapping):
        if "_target_" in value:
            resolve(value["_target_"], f"{key}._target_".lstrip("."))
        for name, inner in value.items():
            _authorise(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _authorise(inner, f"{key}[{index}]")


def _construct(value: Any, replaced: Mapping[str, Any] | None = None) -> Any:
    if isinstance(value, (list, tuple)):
        return [_construct(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "_target_" not in value:
        return {name: _construct(inner) for name, inner in value.items()}
    make = _construct if value.get("_recursive_", True) else (lambda inner: inner)
    named = {name: make(inner) for name, inner in value.items() if not str(name).startswith("_")}
    named.update(replaced or {})
    factory = functools.partial(resolve(value["_target_"]), *make(value.get("_args_", [])), **named)
    return factory if value.get("_partial_", False) else factory()
