"""Composition of the packaged configs without changes to the global state of Hydra."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

VERSION_BASE = "1.3"


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
