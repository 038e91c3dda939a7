"""Composition of configs by Hydra, without changes to its global state, and with checks of what a user writes.

YAML files and Hydra's own keys, which Hydra would follow without question, are checked here. Importing this
module makes Hydra use these checks, since it offers no other way: ``hydra.main`` makes its own loader.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra._internal.hydra
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from seqmodels.config.targets import inside
from seqmodels.errors import InputError

VERSION_BASE = "1.3"
# What Hydra may build from its own keys: our callbacks, its launchers, sweepers and callbacks, the plugins installed.
HYDRA_TARGETS = (
    "seqmodels.cli.launch.Preflight",
    "seqmodels.cli.sweep.SweepSummary",
    "seqmodels.cli.compare.Leaderboard",
    "hydra._internal.core_plugins",
    "hydra.experimental.callbacks",
    "hydra_plugins",
    "optuna.samplers",
)
LOGGING = ("logging.", "colorlog.")  # modules of the formatters and handlers that Hydra's logging may use
# YAML 1.1 reads 012 as 10 and 12:30 as 750.
OCTAL, SEXAGESIMAL = re.compile(r"[-+]?0[0-7_]+"), re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
MOST_ALIASED = 10_000  # nodes that aliases may add to a file


def packaged_folder() -> Path:
    """The folder of the configs: inside an installed package, or next to the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


@contextmanager
def private_hydra(folder: Path, job_name: str) -> Iterator[None]:
    """Initialise Hydra with ``folder`` within the context, and restore its earlier state afterwards."""
    before = copy.copy(Singleton._instances)
    for kind in (GlobalHydra, HydraConfig):
        Singleton._instances.pop(kind, None)
    try:
        with initialize_config_dir(config_dir=str(folder.resolve()), job_name=job_name, version_base=VERSION_BASE):
            yield
    finally:
        Singleton._instances.clear()
        Singleton._instances.update(before)


def compose(name: str, overrides: Sequence[str], folder: Path | None = None) -> DictConfig:
    """Compose the config ``name`` with Hydra's own keys (``config.hydra``); invalid overrides raise Hydra's errors."""
    with private_hydra(folder or packaged_folder(), name):
        return hydra_compose(name, overrides=list(overrides), return_hydra_config=True)


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files, which first checks those outside the package."""

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path, self._normalize_file_name(config_path))
        if file.is_file() and not file.resolve().is_relative_to(packaged_folder()):
            check_yaml(file)
        return super().load_config(config_path)


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader of configs, which refuses targets that are not listed here in the keys of Hydra itself."""

    def __init__(self, config_search_path: ConfigSearchPath):
        SourcesRegistry.instance().types["file"] = FileConfigSource
        super().__init__(config_search_path)

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        config = super().load_configuration(*arguments, **options)
        check_hydra(OmegaConf.to_container(config.hydra, resolve=False))
        return config


hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]


def check_yaml(file: Path) -> None:
    """Raise InputError for numbers that YAML reads otherwise than they are meant, and for aliases without an end."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        sizes: dict[int, int] = {}
        total = _expanded_size(root, file, sizes) if root is not None else 0
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # Hydra reports it
    except RecursionError:
        raise InputError(f"{file}: its lists and mappings are nested too deeply to be read.") from None
    if total - len(sizes) > MOST_ALIASED:
        raise InputError(
            f"{file}: its aliases (*name) stand for {total:,} values, and may stand for {MOST_ALIASED:,}; write out"
            " what is meant."
        )


def _expanded_size(node: yaml.Node, file: Path, sizes: dict[int, int]) -> int:
    """Number of nodes below and with this one, aliases written out; each node is visited once."""
    if id(node) not in sizes:
        sizes[id(node)] = 0  # until it is known
        if isinstance(node, yaml.ScalarNode):
            _check_number(node, file)
        sizes[id(node)] = 1 + sum(_expanded_size(child, file, sizes) for child in _children(node))
    elif sizes[id(node)] == 0:
        raise InputError(f"{file}, line {node.start_mark.line + 1}: an alias (*name) contains itself.")
    return sizes[id(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _check_number(node: yaml.ScalarNode, file: Path) -> None:
    """Raise InputError for a number in base 8 or 60, which a reader takes for a decimal one or a time."""
    text, plain = node.value, node.style is None and node.tag.endswith((":int", ":float"))
    if not plain or not (OCTAL.fullmatch(text) or SEXAGESIMAL.fullmatch(text)):
        return
    base, decimal = ("60", "") if ":" in text else ("8", f"{int(text.replace('_', ''))} or ")
    raise InputError(
        f"{file}, line {node.start_mark.line + 1}: {text} is {yaml.safe_load(text)} in YAML, a number in base {base};"
        f" write {decimal}'{text}' in quotes for the text."
    )


def check_hydra(value: Any, key: str = "hydra") -> None:
    """Raise InputError for anything in Hydra's own keys that would be built and is not listed in this module."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_hydra_key(inner, str(name), key)
            check_hydra(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_hydra(inner, f"{key}[{index}]")


def _check_hydra_key(value: Any, name: str, key: str) -> None:
    logs = key.startswith(("hydra.job_logging", "hydra.hydra_logging"))
    built = name == "_target_" and not (isinstance(value, str) and inside(value, *HYDRA_TARGETS))
    made = logs and name in ("()", "class") and not str(value).startswith(LOGGING)
    imported = logs and str(value).startswith("ext://") and not str(value).startswith("ext://sys.std")
    if built or made or imported:
        raise InputError(
            f"{key}.{name}={value}: Hydra may build its own launchers, sweepers and log handlers only; a callback of"
            " your own goes below callbacks."
        )
