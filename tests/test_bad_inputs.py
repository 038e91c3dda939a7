"""Every bad input raises an error of one sentence, what, where and why, or is repaired and noted."""

import re
from pathlib import Path

import pytest
import torch
from bad_inputs import GOOD, Case, Refused, Repaired, cells, files, settings, times
from command_line import ROOT, files_in, forked
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from datamodules.base import WindowDataModule
from seqmodels.cli.messages import one_line
from seqmodels.config.build import build
from seqmodels.config.check import check
from seqmodels.errors import InputError
from seqmodels.window import check as check_window

GROUPS = (files.CASES, cells.CASES, times.CASES, settings.CASES)
CASES: dict[str, Case] = {name: case for group in GROUPS for name, case in group.items()}
REFUSED = {name: case for name, case in CASES.items() if isinstance(case, Refused)}
REPAIRED = {name: case for name, case in CASES.items() if isinstance(case, Repaired)}
ALWAYS = ("data.path=data.csv", "data.target=y", "data.past_steps=5", "data.horizon=2")
USUAL_NOTE = re.compile(r"taken as (long|wide): |^MASE .*is undefined")  # of every table: the good one repeats its week
COMMANDS = (
    "decimals or thousands",
    "irregular hour",
    "static that changes",
    "other columns in a file",
    "fold that does not fit",
)


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    """Config of ``seqmodels train data=csv``, composed only once because that is slow."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=["data=csv", "model=naive"])


def write(place: Path, case: Case) -> None:
    for name, content in case.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)


def set_up(composed: DictConfig, case: Case) -> WindowDataModule:
    """Build and set up the data of a case as ``seqmodels train`` does: parse overrides, check keys and types."""
    config = OmegaConf.masked_copy(composed, ["data", "seed"])
    for override in OverridesParser.create().parse_overrides([*ALWAYS, *case.overrides]):
        OmegaConf.update(config, override.get_key_element().lstrip("+"), override.value(), force_add=True)
    check(config, ("data", "seed"))
    data = build(config.data)
    data.setup()
    return data


@pytest.mark.parametrize("name", REFUSED)
def test_errors(name: str, composed: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, REFUSED[name])
    before = files_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        set_up(composed, REFUSED[name])
    message = str(caught.value)
    assert re.search(REFUSED[name].pattern, message), message
    assert message == one_line(message) and message.endswith("."), "one sentence"
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", REPAIRED)
def test_repairs(name: str, composed: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = REPAIRED[name]
    write(tmp_path, case)
    monkeypatch.chdir(tmp_path)
    data = set_up(composed, case)
    series = data.series
    notes = [
        note for note in series.notes if not USUAL_NOTE.search(note) or (case.pattern and re.search(case.pattern, note))
    ]
    assert [note for note in notes if re.search(case.pattern or "$^", note)] or (not case.pattern and not notes), notes
    assert (len(series.values), series.missing) == (case.rows, case.missing)
    window = next(iter(data.train_dataloader()))
    check_window(window, data.spec)
    assert all(torch.isfinite(value).all() for value in window.inputs if value.is_floating_point())


@pytest.mark.parametrize("name", COMMANDS)
def test_errors_on_the_command_line(name: str, tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    write(place, REFUSED[name])
    before = files_in(place)
    ended = forked(place, "data=csv", "model=naive", *ALWAYS, *REFUSED[name].overrides)
    assert ended.code == 2 and ended.out == "" and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert re.search(REFUSED[name].pattern, ended.err), ended.err
    assert files_in(place) == before


def test_the_unchanged_table_is_good(composed: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the errors above could have another reason."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, good := Repaired(GOOD, ["data.time=t"], ""))
    assert len(set_up(composed, good).series.values) == 40


def test_names_of_cases_are_unique() -> None:
    assert len(CASES) == sum(map(len, GROUPS)) >= 150
