"""What a class or function accepts by keyword, and whether a configured value fits; knows signatures only."""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from os import PathLike
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

SIMPLE = (str, int, float, bool, type(None))  # the single values a YAML file can hold
SEQUENCES = (list, tuple, Sequence)
MAPPINGS = (dict, Mapping)


class Argument(NamedTuple):
    """One keyword: its annotation (``inspect.Parameter.empty`` when unknown), default and whether it must be given."""

    annotation: Any
    default: Any
    required: bool


class Accepted(NamedTuple):
    """The keywords of a target; ``open`` says that it passes others on to where no signature can be seen."""

    arguments: dict[str, Argument]
    open: bool


def accepted(target: Callable[..., Any]) -> Accepted:
    """The keywords ``target`` binds; ``**others`` are followed to the next constructor in the resolution order.

    Only the target's own constructor can require a keyword: it may itself supply those of its bases.
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
    """The functions that may receive the keywords, nearest first."""
    if not inspect.isclass(target):
        return [target]
    found = []
    for base in target.__mro__:
        ends = base is object or (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module")
        if ends or getattr(base, "_is_protocol", False):  # these take anything by signature and refuse it when called
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
    except Exception:  # names that exist only for type checkers: then nothing is known about the types
        hints = {}
    found = {}
    for parameter in parameters if bound else parameters[1:]:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            hint = hints.get(parameter.name, parameter.empty)
            found[parameter.name] = Argument(hint, parameter.default, parameter.default is parameter.empty)
    return found, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value (number, text, list, mapping, None) may stand where ``annotation`` is asked for.

    An annotation that is not understood fits everything. Integers stand for floats, bools for nothing
    but bools, and a float must be finite.
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
    """Whether what stands there is an object or a factory, which a config describes by a node of its own."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(get_origin(one) is Callable or (inspect.isclass(one) and _is_ours(one)) for one in members)


def _is_ours(kind: type) -> bool:
    """Classes whose instances are never a single value: tensors, torch modules and those of this project."""
    if issubclass(kind, (Enum, str, int, float)):
        return False
    names = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__}
    ours = kind.__module__.startswith(("seqmodels.", "datamodules."))
    return ours or bool(names & {"torch.Tensor", "torch.nn.modules.module.Module"})


def describe(annotation: Any) -> str:
    """An annotation in words: ``int | None`` is "int or null"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(member) for member in inner))
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if annotation is type(None):
        return "null"
    if annotation is float:
        return "a finite number"
    if origin in SEQUENCES and inner:
        return "a list of " + " and ".join(dict.fromkeys(describe(item) for item in inner if item is not Ellipsis))
    return getattr(annotation, "__name__", str(annotation))
