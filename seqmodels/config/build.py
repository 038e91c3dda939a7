"""Construction of objects from config nodes, restricted to an allowed set of modules."""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any

from omegaconf import OmegaConf

from seqmodels.errors import InputError

ALLOWED = ("seqmodels.", "datamodules.", "torch.nn.", "torch.optim.", "lightning.pytorch.", "torchmetrics.")
MISSING = "???"
FEW = 8  # up to this number, all names are listed


def nearest(name: str, choices: Iterable[str]) -> str:
    """Hint that lists the choices closest to ``name``, best first: all if they are few; empty if there are none."""
    score = {choice: SequenceMatcher(None, name.lower(), choice.lower()).ratio() for choice in choices}
    ranked = sorted(score, key=lambda choice: (-score[choice], choice))
    if len(ranked) > FEW:
        ranked = [choice for choice in ranked if score[choice] >= 0.6][:3] or ranked[:5]
    return f" Nearest: {', '.join(ranked)}." if ranked else ""


def resolve(name: Any, key: str = "_target_") -> Callable[..., Any]:
    """The class or function called ``name``; raises ``InputError``, before any import, for a name outside ALLOWED.

    The name consists of a module and one attribute. The object found must itself be defined in a module of ALLOWED, so
    that the imports of an allowed module (``torch.nn.modules.module.weakref``) cannot be used.
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
        raise InputError(f"{key}={name} leads to {target.__module__}, which is outside the modules that may be built.")
    return target


def build(node: Any, **arguments: Any) -> Any:
    """Build the object that a node describes, nested nodes first; None stays None.

    Every name is checked against ALLOWED before the first constructor runs. Unlike ``hydra.utils.instantiate``, lists
    and mappings are passed as plain ones, ``_partial_: true`` gives a plain ``functools.partial`` (Hydra's validates a
    policy at every call), ``arguments`` replace those of the node and reach the constructor unchanged, and exceptions
    of a constructor are not wrapped.

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
