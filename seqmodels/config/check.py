"""Check of a composed config against the signatures of the constructors that it names."""

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from os import PathLike
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from seqmodels.config.targets import ROOTS, Place, allowed_packages, members, nearest, place_of, resolve
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
    if isinstance(value, Mapping) and "_target_" in value:
        return True  # its type is that of its place
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
        return False
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
    built = (get_origin(one) is Callable or (inspect.isclass(one) and _is_ours(one)) for one in members(annotation))
    return any(built)


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


SUPPLIED: Mapping[str, Collection[str]] = {"model": ("spec",)}  # arguments that the code passes, by top-level key
GROUPS = ("callbacks", "logger")  # top-level keys with any number of nodes to build


def check(config: Any, defaults: Iterable[str], supplied: Mapping[str, Collection[str]] = SUPPLIED) -> None:
    """Raise ``InputError`` at the first key of a composed config that no constructor accepts.

    Args:
        config: the composed config, ``DictConfig`` or dict; the key ``hydra`` is skipped. Its key ``allow`` names the
            packages whose classes may be built besides those of this project.
        defaults: the valid top-level keys.
        supplied: arguments that the code will pass to ``build``, by top-level key.
    """
    root = config if isinstance(config, DictConfig) else OmegaConf.create(config)
    known = [key for key in defaults if key != "hydra"]
    _leave_out_jitter(root)
    given = [name for name in map(str, root) if name != "hydra"]
    for name in given:
        if name not in known:
            raise InputError(f"{name}: the config has no such key.{nearest(name, known)}")
    raw: dict[str, str] = {}
    plain = {name: _read_value(root, name, name, raw) for name in given}
    checker = NodeCheck(allowed_packages(plain.get("allow")), raw)
    for name, value in plain.items():
        _check_root(value, name, checker, supplied.get(name, ()))


def _leave_out_jitter(root: DictConfig) -> None:
    """Remove ``data.jitter=auto``, which the recipe of model=auto sets, from data that have no such argument."""
    data = root.get("data")
    if not OmegaConf.is_dict(data) or "_target_" not in data or data.get("jitter") != "auto":
        return
    arguments, _ = accepted_arguments(
        resolve(data["_target_"], ROOTS["data"], allowed_packages(root.get("allow")), "data")
    )
    if "jitter" not in arguments:
        with open_dict(root):
            del data["jitter"]


def _check_root(value: Any, name: str, checker: "NodeCheck", supplied: Collection[str]) -> None:
    """Check the value of a top-level key; a group of nodes holds only nodes, and null for those that are disabled."""
    place = ROOTS.get(name)
    rows_only = name == "data" and isinstance(value, Mapping) and set(value) == {"path"}  # of seqmodels forecast
    if place is None or rows_only or not isinstance(value, Mapping):
        checker.refuse_nodes(value, name)
    elif name not in GROUPS:
        checker.check_node(value, place, name, supplied)
    else:
        built = [key for key, node in value.items() if isinstance(node, Mapping) and "_target_" in node]
        for key, node in value.items():
            if node is not None:
                checker.check_node(node, place, f"{name}.{key}", built=built)


def _read_value(node: Any, name: Any, key: str, raw: dict[str, str]) -> Any:
    """The plain resolved value of one key; raises InputError for a key without value.

    Texts with interpolations are kept in ``raw``, by full key.
    """
    if OmegaConf.is_missing(node, name):
        raise InputError(f"{key} has no value: give one with {key}=...")
    if OmegaConf.is_interpolation(node, name):
        raw[key] = str(node._get_node(name)._value())
    try:
        value = node[name]
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise InputError(f"{key} cannot be resolved: {reason}.") from error
    if OmegaConf.is_list(value):
        return [_read_value(value, index, f"{key}[{index}]", raw) for index in range(len(value))]
    if OmegaConf.is_dict(value):
        return {str(inner): _read_value(value, inner, f"{key}.{inner}", raw) for inner in value}
    return value


class NodeCheck:
    """Check of plain nodes, at any depth, against the places that they stand in and the constructors that they name.

    ``allow``: packages of the user. ``raw``: texts of interpolations, by full key, for the messages.
    """

    def __init__(self, allow: Sequence[str] = (), raw: Mapping[str, str] | None = None):
        self.allow, self.raw = allow, raw or {}

    def check_node(
        self, node: Any, place: Place, key: str, supplied: Collection[str] = (), built: Sequence[str] = ()
    ) -> None:
        """Raise InputError unless ``place`` can be built from the node.

        ``supplied``: arguments that the code passes, which replace those of the node. ``built``: keys beside this one.
        """
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise InputError(f"{key} has no _target_, so it cannot be built.{nearest(key.rpartition('.')[2], built)}")
        target = resolve(node["_target_"], place, self.allow, f"{key}._target_")
        given = {str(name): value for name, value in node.items() if name not in ("_target_", "_partial_")}
        self._check_partial(node, place, key)
        arguments, passes_on = accepted_arguments(target)
        name = f"{target.__module__}.{target.__qualname__}"
        for unknown in sorted(set(given) - set(arguments)):
            if not passes_on or unknown.startswith("_"):
                raise InputError(f"{key}.{unknown}: {name} takes no argument {unknown}.{nearest(unknown, arguments)}")
        for argument, one in arguments.items():
            if one.required and not place.deferred and argument not in {*given, *supplied}:
                raise InputError(f"{key}.{argument} is missing: {name} cannot be built without it.")
        for argument in sorted(set(given) - set(supplied)):
            one = arguments.get(argument, UNKNOWN)
            self._check_type(given[argument], f"{key}.{argument}", one)
            self._check_value(given[argument], f"{key}.{argument}", one.annotation)

    def _check_partial(self, node: Mapping[Any, Any], place: Place, key: str) -> None:
        """Check ``_partial_``: the code completes the arguments of a factory, not those of an object."""
        if node.get("_partial_", False) is not place.deferred:
            raise InputError(
                f"{key}._partial_ must be {str(place.deferred).lower()}: the {place.name} is built"
                f" {'later, when its other arguments are known' if place.deferred else 'at once'}."
            )

    def _check_value(self, value: Any, key: str, annotation: Any) -> None:
        """Check the nodes within an argument: what may be built there follows from its annotation."""
        if isinstance(value, str) and value == MISSING:
            raise InputError(f"{key} has no value: give one with {key}=...")
        if isinstance(value, Mapping) and "_target_" in value:
            place = place_of(annotation)
            if place is None:
                self.refuse_nodes(value, key)
            else:
                self.check_node(value, place, key)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                self._check_value(inner, f"{key}.{name}", _element(annotation, MAPPINGS))
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                self._check_value(inner, f"{key}[{index}]", _element(annotation, SEQUENCES))

    def refuse_nodes(self, value: Any, key: str) -> None:
        """Raise InputError for a node where nothing is built."""
        if isinstance(value, Mapping) and "_target_" in value:
            raise InputError(
                f"{key}._target_={value['_target_']!r}: nothing is built here; an argument takes an object only if"
                " its annotation is a class, or Callable[..., a class]."
            )
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in items:
            self.refuse_nodes(inner, f"{key}.{name}")

    def _check_type(self, value: Any, key: str, argument: Argument) -> None:
        """Raise InputError for a value of a wrong type."""
        annotation = argument.annotation
        known = annotation is not inspect.Parameter.empty and value != MISSING
        if not known or (value is None and argument.default is None) or fits(value, annotation):
            return
        given, kind = ("null", "null") if value is None else (value, type(value).__name__)
        group = key.replace(".", "/")
        selects = isinstance(value, str) and is_built(annotation)
        hint = f" To select an option of a group write {group}={value}." if selects else ""
        origin = f" (from {self.raw[key]})" if key in self.raw else ""
        raise InputError(f"{key}={given}{origin}: expected {describe_type(annotation)}, got {kind}.{hint}")


MISSING = "???"
UNKNOWN = Argument(inspect.Parameter.empty, None, False)


def _element(annotation: Any, kinds: tuple[Any, ...]) -> Any:
    """The annotation of what a list or mapping of this annotation holds; empty if unknown."""
    for member in members(annotation):
        inner = [one for one in get_args(member) if one is not Ellipsis]
        if get_origin(member) in kinds and inner:
            return inner[-1]
    return inspect.Parameter.empty
