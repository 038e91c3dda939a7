"""Check of a composed config against the signatures of the constructors that it names."""

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from os import PathLike
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqmodels.config.build import nearest, resolve
from seqmodels.errors import InputError

SIMPLE = (str, int, float, bool, type(None))  # the single values a YAML file can hold
SEQUENCES = (list, tuple, Sequence)
MAPPINGS = (dict, Mapping)


class Argument(NamedTuple):
    """A keyword argument; ``annotation`` is ``inspect.Parameter.empty`` if unknown."""

    annotation: Any
    default: Any
    required: bool


class Accepted(NamedTuple):
    """Keyword arguments of a target; ``open`` if it also passes others to a function without a known signature."""

    arguments: dict[str, Argument]
    open: bool


def accepted_arguments(target: Callable[..., Any]) -> Accepted:
    """Keyword arguments of ``target``; ``**others`` are looked up in the next constructor of the resolution order.

    Only the target's own constructor can require an argument, since it may supply those of its bases itself.
    """
    found: dict[str, Argument] = {}
    passes_on = False
    for position, constructor in enumerate(_constructors(target)):
        parameters, passes_on = _parameters(constructor, bound=not inspect.isclass(target))
        for name, argument in parameters.items():
            found.setdefault(name, argument._replace(required=argument.required and position == 0))
        if not passes_on:
            break
    return Accepted(found, passes_on)


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions that may receive the arguments, nearest first."""
    if not inspect.isclass(target):
        return [target]
    found = []
    for base in target.__mro__:
        ends = base is object or (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module")
        if ends or getattr(base, "_is_protocol", False):  # their signatures take any argument, which the call rejects
            continue
        new = vars(base).get("__new__")
        own = vars(base).get("__init__") or getattr(new, "__func__", new)  # named tuples have only __new__
        if own is not None:
            found.append(own)
    return found


def _parameters(function: Callable[..., Any], bound: bool) -> tuple[dict[str, Argument], bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C without a signature
        return {}, True
    try:
        hints = get_type_hints(inspect.unwrap(function))
    except Exception:  # names that exist only for type checkers leave the types unknown
        hints = {}
    found = {}
    for parameter in parameters if bound else parameters[1:]:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            hint = hints.get(parameter.name, parameter.empty)
            found[parameter.name] = Argument(hint, parameter.default, parameter.default is parameter.empty)
    return found, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def fits(value: Any, annotation: Any) -> bool:
    """True if a plain value (number, text, list, mapping, None) is valid for ``annotation``.

    An annotation that is not understood accepts every value. An integer is a valid float, a bool is only a valid bool,
    and a float must be finite.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, member) for member in inner)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    kind = origin or annotation
    if kind in (None, type(None)):
        return value is None
    if kind in SEQUENCES:
        return isinstance(value, list) and _items_fit(value, kind, inner)
    if kind in MAPPINGS:
        return isinstance(value, Mapping)
    if kind is Callable:
        return not isinstance(value, SIMPLE)
    return _fits_class(value, kind) if inspect.isclass(kind) else True


def _items_fit(values: list[Any], kind: Any, inner: tuple[Any, ...]) -> bool:
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return len(values) == len(inner) and all(map(fits, values, inner))
    return not inner or all(fits(value, inner[0]) for value in values)


def _fits_class(value: Any, kind: type) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str:
        return isinstance(value, str)
    if issubclass(kind, PathLike):
        return isinstance(value, (str, PathLike))
    return not (isinstance(value, SIMPLE) and _is_ours(kind))


def is_built(annotation: Any) -> bool:
    """True if values of this type are objects or factories, which a config describes by a node with ``_target_``."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(get_origin(one) is Callable or (inspect.isclass(one) and _is_ours(one)) for one in members)


def _is_ours(kind: type) -> bool:
    """True for classes whose instances are never a single value: tensors, torch modules, classes of this project."""
    if issubclass(kind, (Enum, str, int, float)):
        return False
    names = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__}
    ours = kind.__module__.startswith(("seqmodels.", "datamodules."))
    return ours or bool(names & {"torch.Tensor", "torch.nn.modules.module.Module"})


def describe_type(annotation: Any) -> str:
    """Describe an annotation in words: ``int | None`` is "int or null"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(member) for member in inner))
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if annotation is type(None):
        return "null"
    if annotation is float:
        return "a finite number"
    if origin in SEQUENCES and inner:
        return "a list of " + " and ".join(dict.fromkeys(describe_type(item) for item in inner if item is not Ellipsis))
    return getattr(annotation, "__name__", str(annotation))


SUPPLIED: Mapping[str, Collection[str]] = {"model": ("spec",)}  # arguments that the code passes, by the key of the node


def check(config: Any, defaults: Iterable[str], supplied: Mapping[str, Collection[str]] = SUPPLIED) -> None:
    """Raise ``InputError`` at the first key of a composed config that no constructor accepts.

    Args:
        config: the composed config, ``DictConfig`` or dict; the key ``hydra`` is skipped.
        defaults: the valid top-level keys.
        supplied: arguments that the code will pass to ``build``, by the full key of their node.
    """
    root = config if isinstance(config, DictConfig) else OmegaConf.create(config)
    known = [key for key in defaults if key != "hydra"]
    for name in map(str, root):
        if name == "hydra":
            continue
        if name not in known:
            raise InputError(f"{name}: the config has no such key.{nearest(name, known)}")
        _check_value(_read_value(root, name, name), name, supplied)


def _read_value(node: Any, name: Any, key: str) -> Any:
    """The resolved value of one key; raises InputError for a key without value."""
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
            _check_value(_read_value(value, index, f"{key}[{index}]"), f"{key}[{index}]", supplied)
    elif OmegaConf.is_dict(value):
        if "_target_" in value:
            _check_target(value, key, supplied)
        elif "." not in key:
            _check_container(value, key)
        for name in map(str, value):
            if name not in supplied.get(key, ()):
                _check_value(_read_value(value, name, f"{key}.{name}"), f"{key}.{name}", supplied)


def _check_container(node: DictConfig, key: str) -> None:
    """In a mapping of nodes to build (callbacks, loggers), every value must be such a node, or null to disable it."""
    values = {name: _read_value(node, name, f"{key}.{name}") for name in map(str, node)}
    built = [name for name, value in values.items() if OmegaConf.is_dict(value) and "_target_" in value]
    for name, value in values.items():
        if built and value is not None and name not in built:
            raise InputError(f"{key}.{name} has no _target_, so it cannot be built.{nearest(name, built)}")


def _check_target(node: DictConfig, key: str, supplied: Mapping[str, Collection[str]]) -> None:
    target = resolve(_read_value(node, "_target_", f"{key}._target_"), f"{key}._target_")
    name = f"{target.__module__}.{target.__qualname__}"
    arguments, passes_on = accepted_arguments(target)
    given = {str(argument) for argument in node if not str(argument).startswith("_")}
    for unknown in sorted(given - set(arguments)) if not passes_on else ():
        raise InputError(f"{key}.{unknown}: {name} takes no argument {unknown}.{nearest(unknown, arguments)}")
    by_code = set(supplied.get(key, ()))
    plain: Any = OmegaConf.to_container(node, resolve=False)
    for argument in arguments:
        if arguments[argument].required and argument not in given | by_code and not _is_deferred(node):
            raise InputError(f"{key}.{argument} is missing: {name} cannot be built without it.")
    for argument in sorted((given & set(arguments)) - by_code):
        raw = str(plain[argument]) if OmegaConf.is_interpolation(node, argument) else ""
        _check_type(_read_value(node, argument, f"{key}.{argument}"), f"{key}.{argument}", arguments[argument], raw)


def _is_deferred(node: DictConfig) -> bool:
    """True if arguments may be given later or by position, so that none can be reported as missing."""
    return bool(node.get("_partial_")) or "_args_" in node


def _check_type(value: Any, key: str, argument: Argument, raw: str) -> None:
    """Raise InputError for a value of a wrong type; ``raw`` is the interpolation that it comes from, or empty."""
    if OmegaConf.is_dict(value) and "_target_" in value:
        return  # its type is known only when it is built
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    annotation = argument.annotation
    if annotation is inspect.Parameter.empty or (plain is None and argument.default is None) or fits(plain, annotation):
        return
    given, kind = ("null", "null") if plain is None else (plain, type(plain).__name__)
    group = key.replace(".", "/")
    hint = (
        f" To select an option of a group write {group}={plain}."
        if isinstance(plain, str) and is_built(annotation)
        else ""
    )
    origin = f" (from {raw})" if raw else ""
    raise InputError(f"{key}={given}{origin}: expected {describe_type(annotation)}, got {kind}.{hint}")
