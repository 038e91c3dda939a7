"""Classes that a config may build: at each place, subclasses of one base class, from a few modules or allowed packages.

A place is a top-level key, or an argument of a class that is built there, whose annotation then names the base class:
``backbone: Callable[..., Backbone]`` takes a factory of backbones, ``head: Head`` a head. This module imports neither
torch nor lightning, and nothing that a config names before its name has been checked.
"""

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from seqmodels.errors import InputError

OURS = ("seqmodels", "datamodules")
FEW = 8  # up to this number, all names are listed
# Modules whose classes may be built, by base class: all of ours, the public names of others. For the other base classes
# of this project: the package that the base class stands in.
HOMES = {
    "seqmodels.window.AbstractForecaster": (
        "seqmodels.forecaster",
        "seqmodels.ensemble",
        "seqmodels.imputed",
        "seqmodels.baselines",
        "seqmodels.classical",
    ),
    "datamodules.base.WindowDataModule": ("datamodules",),
    "torch.optim.optimizer.Optimizer": ("torch.optim",),
    "torch.optim.lr_scheduler.LRScheduler": ("torch.optim.lr_scheduler", "seqmodels.training.schedules"),
    "torch.nn.modules.module.Module": ("torch.nn",),
    "lightning.pytorch.trainer.trainer.Trainer": ("lightning.pytorch",),
    "lightning.pytorch.callbacks.callback.Callback": ("lightning.pytorch.callbacks", "seqmodels.training.callbacks"),
    "lightning.pytorch.loggers.logger.Logger": ("lightning.pytorch.loggers", "seqmodels.training.callbacks.scalars"),
    "lightning.pytorch.profilers.profiler.Profiler": ("lightning.pytorch.profilers",),
}
# The only functions that may be called; their return annotation says what they build.
FACTORIES = (
    "seqmodels.scalers.affine.choose_scaler",
    "seqmodels.training.schedules.warm_up",
    "seqmodels.training.schedules.warm_up_cosine",
)
# Names in checkpoints and configs of earlier versions, of a module or of one class, and what they are called today.
ALIASES = {
    "seqmodels.baselines": "seqmodels.baselines.rules",
    "seqmodels.label_baselines": "seqmodels.baselines.labels",
    "seqmodels.ridge": "seqmodels.baselines.ridge",
    "seqmodels.training.loggers": "seqmodels.training.callbacks.scalars",
    "seqmodels.heads": "seqmodels.heads.point",
    "seqmodels.heads.negative_binomial": "seqmodels.heads.distributions",
    "seqmodels.backbones.linear": "seqmodels.backbones.mlp",
    "seqmodels.backbones.convolutional": "seqmodels.backbones.conv_front",
    "seqmodels.backbones.stack": "seqmodels.backbones.causal_conv",
    "seqmodels.backbones.recurrent_layers": "seqmodels.backbones.recurrent",
    "seqmodels.scalers.affine.automatic": "seqmodels.scalers.affine.choose_scaler",
    "seqmodels.scalers.affine.Identity": "seqmodels.scalers.affine.IdentityScaler",
    "seqmodels.scalers.affine.Standard": "seqmodels.scalers.affine.StandardScaler",
    "seqmodels.scalers.affine.Window": "seqmodels.scalers.affine.WindowScaler",
    "seqmodels.scalers.difference.Difference": "seqmodels.scalers.difference.DifferenceScaler",
}


class Place(NamedTuple):
    """Place in a config at which instances of ``base`` may be built, or factories of them (``_partial_: true``)."""

    base: str  # full name of the base class
    deferred: bool = False
    loaded: type | None = None  # the base class, where an annotation holds it

    @property
    def name(self) -> str:
        return self.base.rpartition(".")[2]

    def base_class(self) -> type:
        """The base class; imports its module."""
        module, _, name = self.base.rpartition(".")
        return self.loaded or getattr(importlib.import_module(module), name)

    @property
    def homes(self) -> tuple[str, ...]:
        """Modules and packages whose classes may be built here without ``allow``."""
        if self.base in HOMES or not inside(self.base, *OURS):
            return HOMES.get(self.base, ())
        module = self.base.rpartition(".")[0]
        package = module.rpartition(".")[0]
        return (package if "." in package else module,)


ROOTS = {
    "model": Place("seqmodels.window.AbstractForecaster"),
    "data": Place("datamodules.base.WindowDataModule"),
    "optimizer": Place("torch.optim.optimizer.Optimizer", deferred=True),
    "scheduler": Place("torch.optim.lr_scheduler.LRScheduler", deferred=True),
    "trainer": Place("lightning.pytorch.trainer.trainer.Trainer"),
    "callbacks": Place("lightning.pytorch.callbacks.callback.Callback"),
    "logger": Place("lightning.pytorch.loggers.logger.Logger"),
    "leaks": Place("seqmodels.leaks.check.LeakCheck"),
    "rates": Place("seqmodels.training.lr_finder.LearningRateFinder"),
    "description": Place("seqmodels.description.profile.DescriptionOptions"),
    "conversion": Place("datamodules.store.convert.Conversion"),
}


def nearest(name: str, choices: Iterable[str]) -> str:
    """Hint that lists the choices closest to ``name``, best first: all if they are few; empty if there are none."""
    score = {choice: SequenceMatcher(None, name.lower(), choice.lower()).ratio() for choice in choices}
    ranked = sorted(score, key=lambda choice: (-score[choice], choice))
    if len(ranked) > FEW:
        ranked = [choice for choice in ranked if score[choice] >= 0.6][:3] or ranked[:5]
    return f" Nearest: {', '.join(ranked)}." if ranked else ""


def inside(name: str, *packages: str) -> bool:
    """True if the dotted name is one of the packages or lies in one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; other annotations are their only alternative."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def place_of(annotation: Any) -> Place | None:
    """The place that an argument with this annotation is; None where nothing may be built."""
    for member in members(annotation):
        factory = get_origin(member) is Callable and bool(get_args(member))
        built = get_args(member)[-1] if factory else member
        plain = inspect.isclass(built) and get_origin(built) is None and built is not inspect.Parameter.empty
        if plain and built.__module__ not in ("builtins", "typing"):
            return Place(f"{built.__module__}.{built.__qualname__}", factory, built)
    return None


def allowed_packages(allow: str | Sequence[str] | None) -> tuple[str, ...]:
    """The packages that ``allow`` names.

    Packages in the current directory are found by every program; it comes last on the path, so that its files hide
    no other module. Raises InputError for a name that is none, or that is not found.
    """
    names = (allow,) if isinstance(allow, str) else tuple(allow or ())
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"allow={name}: give the names of packages of your own, such as allow=[mypackage].")
    if names and not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    for name in names:
        if name not in sys.modules and not _is_found(name):
            raise InputError(
                f"allow=[{name}]: there is no package {name}, neither in the current directory {os.getcwd()} nor"
                " installed; go to the directory that holds it, or install it."
            )
    return names


def _is_found(name: str) -> bool:
    """True if the module can be found; the package that it lies in is imported for that, if there is one."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def locate_package(name: str) -> str:
    """The file or folder that an allowed package is read from."""
    spec = importlib.util.find_spec(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return folders[0] if folders else str(spec.origin if spec else "")


def resolve(name: Any, place: Place, allow: Sequence[str] = (), key: str = "_target_") -> Callable[..., Any]:
    """The class called ``name``, or one of FACTORIES; nothing is imported before the name has been checked.

    Raises InputError for a name outside the homes of ``place`` and the packages of ``allow``, for names with ``_``, for
    anything that is no class, and for a class that is no subclass of the base class of ``place``.
    """
    name = current_name(name)
    module_name, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    parts = str(name).split(".")
    offer = (
        f"only a subclass of {place.base} from {' or '.join(place.homes) or 'a package of your own'} may be built here"
    )
    if not module_name or not all(part.isidentifier() and not part.startswith("_") for part in parts):
        raise InputError(f"{key}={name!r} is not the full public name of a class: {offer}.")
    home = next((home for home in place.homes if inside(module_name, home)), None)
    own = inside(module_name, *allow)
    if home is None and not own:
        raise InputError(f"{key}={name}: {offer}{_hint(parts[0])}.")
    foreign = home is not None and not own and not inside(home, *OURS)
    module = import_module(str(home) if foreign else module_name, f"{key}={name}")
    target = getattr(module, attribute, None)
    public = attribute in getattr(module, "__all__", vars(module)) and module_name in (home, _module_of(target))
    if target is None or (foreign and not public):
        classes = [one for one, value in vars(module).items() if one[0] != "_" and _builds(value, place.base_class())]
        raise InputError(f"{key}={name}: {module.__name__} has no such class.{nearest(attribute, classes)}")
    if not _builds(target, place.base_class()):
        raise InputError(f"{key}={name} is not a class, or abstract, or of another kind: {offer}.")
    return target


def current_name(name: Any) -> Any:
    """Today's name of a class that a config names."""
    if not isinstance(name, str):
        return name
    module, _, attribute = name.rpartition(".")
    return ALIASES.get(name, f"{ALIASES[module]}.{attribute}" if module in ALIASES else name)


def import_module(name: str, place: str) -> types.ModuleType:
    """Import a module whose name has been checked; raises InputError with file and line where that fails."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, (ImportError, SyntaxError)) else f" ({last.filename}, line {last.lineno})"
        raise InputError(f"{place}: {name} cannot be imported: {type(error).__name__}: {error}{where}.") from error


def _module_of(target: Any) -> str:
    return getattr(target, "__module__", "")


def _builds(target: Any, base: type) -> bool:
    """True for a class below ``base`` that can have instances, and for a factory of such a class."""
    if inspect.isfunction(target) and f"{target.__module__}.{target.__qualname__}" in FACTORIES:
        return issubclass(get_type_hints(target)["return"], base)
    return inspect.isclass(target) and issubclass(target, base) and not inspect.isabstract(target)


def _hint(package: str) -> str:
    """The way out for a package that may be the user's own."""
    known = package in (*OURS, "torch", "lightning", "torchmetrics", "hydra") or package in sys.stdlib_module_names
    return "" if known else f"; if {package} is a package of your own that you trust, give allow=[{package}]"
