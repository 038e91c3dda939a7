"""Configs of the user as Hydra reads them: ambiguous numbers, aliases without an end, and the keys of Hydra itself."""

import re
from pathlib import Path

import pytest
from command_line import ROOT

from seqmodels.config.compose import check_hydra, check_yaml, compose
from seqmodels.errors import InputError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "octal": ("past_steps: 012", "line 1: 012 is 10 in YAML, a number in base 8; write 12 or '012' in quotes"),
    "octal in a list": ("a:\n- 1\n- [0, 007]", "line 3: 007 is 7"),
    "negative octal": ("split: [-0100, -010]", "line 1: -0100 is -64 in YAML, a number in base 8; write -100 or"),
    "octal with a gap": ("a: 01_0", "01_0 is 8"),
    "octal key": ("a: {010: x}", "010 is 8"),
    "time of day": ("a: 12:30", "line 1: 12:30 is 750 in YAML, a number in base 60; write '12:30' in quotes"),
    "time with seconds": ("a: {b: 1:02:03}", "1:02:03 is 3723"),
    "time with a fraction": ("a: 12:30.5", "12:30.5 is 750.5"),
    "ratio": ("a: [16:9]", "16:9 is 969"),
    "signed time": ("offset: -1:30", "-1:30 is -90"),
    "merged": ("base: &base {a: 010}\nb: {<<: *base}", "line 1: 010 is 8"),
    "bomb": (BOMB, r"its aliases \(\*name\) stand for 490,329,064 values"),
    "bomb of mappings": (re.sub(r"\[(.*)\]", r"{k: [\1]}", BOMB), "its aliases"),
    "alias of itself": ("a: &a [1, *a]", "line 1: an alias .* contains itself"),
    "alias of a parent": ("a: &a {b: {c: *a}}", "contains itself"),
    "deep": ("[" * 3000 + "]" * 3000, "nested too deeply"),
}
TAKEN = {
    "decimal": "a: [0, 12, -3, 1_000, 1e-3, .5, 0.5, 00.5]",
    "quoted": "a: ['012', \"12:30\"]\nb: |\n  12:30\n",
    "hexadecimal": "a: [0x1F, 0b11]",
    "no octal at all": "a: 09",
    "dates and words": "a: [2020-01-01, 2020-01-01 12:30, 12:30h, 10:99, a:12]",
    "aliases": "a: &a [1, 2]\nb: *a\nc: {d: *a}",
    "nothing": "",
}


@pytest.mark.parametrize("name", REFUSED)
def test_yaml_that_is_read_otherwise_than_written_is_refused(name: str, tmp_path: Path) -> None:
    text, message = REFUSED[name]
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=f"mine.yaml.*{message}"):
        check_yaml(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", TAKEN)
def test_other_yaml_is_taken(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TAKEN[name])
    check_yaml(tmp_path / "mine.yaml")


def test_what_does_not_parse_is_left_to_hydra(tmp_path: Path) -> None:
    for content in (b"a: [1", b"\xff\xfe\x00"):
        (tmp_path / "mine.yaml").write_bytes(content)
        check_yaml(tmp_path / "mine.yaml")


def test_a_file_of_the_user_is_checked_when_it_is_composed_and_ours_are_not(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\ndata:\n  past_steps: 012\n")
    path = f'hydra.searchpath=["file://{tmp_path}"]'
    with pytest.raises(InputError, match="experiment/mine.yaml, line 3: 012 is 10"):
        compose("train", [path, "experiment=mine"])
    assert compose("train", [path]).data.past_steps == 50
    for file in (ROOT / "conf").rglob("*.yaml"):
        check_yaml(file)


FORGED = {
    "callback": {"callbacks": {"x": {"_target_": "os.system", "command": "touch forged"}}},
    "callback that unpickles": {"callbacks": {"x": {"_target_": "torch.load", "f": "evil.pt"}}},
    "callback of hydra's own": {"callbacks": {"x": {"_target_": "hydra.utils.instantiate", "config": {}}}},
    "another callback of ours": {"callbacks": {"x": {"_target_": "seqmodels.cli.launch.launch"}}},
    "target beside": {"callbacks": {"x": {"_target_": "seqmodels.cli.launch.PreflightX"}}},
    "target by interpolation": {"callbacks": {"x": {"_target_": "${oc.env:HOME}"}}},
    "nested": {"callbacks": {"x": {"_target_": "seqmodels.cli.sweep.SweepSummary", "a": [{"_target_": "os.system"}]}}},
    "launcher": {"launcher": {"_target_": "subprocess.Popen"}},
    "sweeper": {"sweeper": {"_target_": "mypackage.Sweeper"}},
    "sampler": {"sweeper": {"sampler": {"_target_": "optuna.storages.RDBStorage"}}},
    "formatter": {"job_logging": {"formatters": {"x": {"()": "os.system"}}}},
    "handler": {"job_logging": {"handlers": {"x": {"class": "mypackage.Handler"}}}},
    "filter": {"hydra_logging": {"filters": {"x": {"()": "builtins.exec"}}}},
    "import by logging": {"job_logging": {"handlers": {"x": {"class": "logging.StreamHandler", "stream": "ext://this.s"}}}},
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_hydra_builds_nothing_but_its_own(name: str) -> None:
    with pytest.raises(InputError, match="^hydra.*: Hydra may build its own launchers"):
        check_hydra(FORGED[name])


def test_the_keys_of_hydra_are_checked_when_a_config_is_composed() -> None:
    with pytest.raises(InputError, match="^hydra.callbacks.x._target_=os.getcwd: Hydra may build"):
        compose("train", ["+hydra.callbacks.x._target_=os.getcwd"])
