"""Compose the packaged configs: where they lie, and how to compose one without touching Hydra's global state."""

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
    """The folder of the configs: inside the package where it was installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


@contextmanager
def private_hydra(folder: Path, job_name: str) -> Iterator[None]:
    """Hydra initialised with ``folder``, whatever state it is in; that state is back afterwards."""
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
    """The config ``name`` with Hydra's own keys (``config.hydra``); raises Hydra's errors for overrides that fail."""
    with private_hydra(folder or packaged_folder(), name):
        return hydra_compose(name, overrides=list(overrides), return_hydra_config=True)
