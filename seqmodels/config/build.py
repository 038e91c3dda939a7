"""Construction of objects from config nodes; all nodes are checked before the first constructor runs."""

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from seqmodels.config.check import NodeCheck
from seqmodels.config.targets import ROOTS, allowed_packages, current_name
from seqmodels.errors import InputError


def build(node: Any, kind: str = "", allow: str | Sequence[str] = (), /, **arguments: Any) -> Any:
    """Build the object that a node describes, nested nodes first; None stays None.

    ``kind``: a key of ROOTS, which says what is built; by default the top-level key of the node in its config, whose
    key ``allow`` then names the packages of the user that may be built too.

    Unlike ``hydra.utils.instantiate``, only classes that fit their place are built (see ``seqmodels.config.targets``),
    lists and mappings are passed as plain ones, ``_partial_: true`` gives a plain ``functools.partial`` (Hydra's
    validates a policy at every call), ``arguments`` replace those of the node and reach the constructor unchanged, and
    exceptions of a constructor are not wrapped.

    Raises InputError as ``seqmodels.config.check`` does.
    """
    if node is None:
        return None
    place = node._get_full_key(None) if OmegaConf.is_config(node) else ""
    if place:
        kind, allow = place.partition(".")[0], allow or node._get_root().get("allow") or ()
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if kind not in ROOTS:
        raise InputError(f"{place or kind}: nothing can be built from this key.")
    NodeCheck(allowed_packages(allow)).check_node(plain, ROOTS[kind], place or kind, supplied=arguments)
    return _construct({name: value for name, value in plain.items() if name not in arguments}, arguments)


def _construct(value: Any, replaced: Mapping[str, Any] | None = None) -> Any:
    """Build a checked value."""
    if isinstance(value, (list, tuple)):
        return [_construct(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "_target_" not in value:
        return {name: _construct(inner) for name, inner in value.items()}
    named = {name: _construct(inner) for name, inner in value.items() if not str(name).startswith("_")}
    module, _, name = current_name(value["_target_"]).rpartition(".")
    factory = functools.partial(getattr(importlib.import_module(module), name), **{**named, **(replaced or {})})
    return factory if value.get("_partial_", False) else factory()
