"""Checks every config of a run or sweep before Hydra writes anything; knows how Hydra composes the jobs of a sweep."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from seqmodels.cli.launch import PastHydra
from seqmodels.config.check import check


class Preflight(Callback):
    """A wrong key, type or option is refused before the first job, and no directory is left behind."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the one config."""
        _carry(lambda: _check(config, _known(config)))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check each swept value once, the other swept keys at their first value."""
        _carry(lambda: _check_sweep(config))


def _carry(check_all: Callable[[], None]) -> None:
    try:
        check_all()
    except Exception as error:
        raise PastHydra() from error


def _check_sweep(config: DictConfig) -> None:
    loader = GlobalHydra.instance().config_loader()
    known = _known(config)
    for overrides in _variants(config):
        _check(loader.load_sweep_config(config, overrides), known)


def _known(config: DictConfig) -> set[str]:
    """Top-level keys of the config without overrides, and the groups it can choose from."""
    loader = GlobalHydra.instance().config_loader()
    default = loader.load_configuration(config.hydra.job.config_name, overrides=[], run_mode=RunMode.MULTIRUN)
    groups = {str(choice).split("/")[0].split("@")[0] for choice in default.hydra.runtime.choices}
    return {str(key) for key in default} | groups


def _check(config: DictConfig, known: set[str]) -> None:
    """Check with Hydra's own keys at hand, so that ``${hydra:...}`` resolves as it will in the job."""
    ready = copy.deepcopy(config)
    with read_write(ready.hydra), open_dict(ready.hydra):
        ready.hydra.runtime.output_dir = "."
        ready.hydra.job.id, ready.hydra.job.num = "0", 0
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(ready)
    try:
        check(ready, known)
    finally:
        HydraConfig.instance().cfg = before


def _variants(config: DictConfig) -> Iterator[list[str]]:
    """Override lists in which every listed value of every swept key occurs; intervals have no list of values."""
    given = list(config.hydra.overrides.task)
    given += [f"{key}={value}" for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()]
    fixed: list[str] = []
    swept: list[list[str]] = []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    for override in parser.parse_overrides(given):
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            swept.append([f"{key}={value}" for value in override.sweep_string_iterator()] or [str(override.input_line)])
    first = [values[0] for values in swept]
    yield fixed + first
    for place, values in enumerate(swept):
        for value in values[1:]:
            yield fixed + first[:place] + [value] + first[place + 1 :]
