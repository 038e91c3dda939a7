"""The set-up files agree with each other: declared dependencies, locked versions, make targets, the check."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
TARGETS = {"help", "train", "test", "lint", "types", "slow", "bench", "audit", "format", "clean"}
ENTRY = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][a-z0-9.]*)(?: ; sys_platform == \"[a-z]+\")?"
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def lines(name: str) -> str:
    """The file without its comments."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def locked_versions() -> dict[str, str]:
    """Version of each locked package by its canonical name."""
    name, version = lines("requirements-torch.lock").strip().split("==")
    return {name: version} | {entry["name"]: entry["version"] for entry in ENTRY.finditer(lines("requirements.lock"))}


def test_lock_holds_exact_versions_with_hashes_and_no_addresses() -> None:
    locked = lines("requirements.lock")
    entries = list(ENTRY.finditer(locked))
    names = [entry["name"] for entry in entries]
    assert "".join(entry[0] for entry in entries) == locked
    assert names == sorted(set(names)) and len(names) > len(PROJECT["dependencies"])
    assert "://" not in locked


def test_torch_alone_is_locked_without_hashes() -> None:
    assert re.fullmatch(r"torch==[0-9.]+\n", lines("requirements-torch.lock"))
    assert "\ntorch==" not in lines("requirements.lock")


@pytest.mark.parametrize("declared", [*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["classical"]])
def test_every_dependency_is_locked_within_its_range(declared: str) -> None:
    requirement = Requirement(declared)
    version = locked_versions()[canonicalize_name(requirement.name)]
    assert requirement.specifier and requirement.specifier.contains(version)


def test_every_imported_library_is_declared() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in sum(EXTRAS.values(), PROJECT["dependencies"])}
    providers = importlib.metadata.packages_distributions()
    undeclared = set()
    for name in imported_libraries():
        names = {canonicalize_name(provider) for provider in providers.get(name, [name])}
        if not names & declared:
            undeclared.add(name)
    assert undeclared == set()


def imported_libraries() -> set[str]:
    """Top-level names of all libraries that the project imports, its own and Python's left out."""
    files = [*ROOT.glob("*.py"), *(path for folder in own_folders() for path in (ROOT / folder).rglob("*.py"))]
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    own = {*own_folders(), "train", *(path.stem for path in (ROOT / "tests").iterdir())}
    assert "torch" in found
    return found - own - set(sys.stdlib_module_names)


def own_folders() -> tuple[str, ...]:
    return "seqmodels", "datamodules", "benchmarks", "tests"


def make(*arguments: str) -> str:
    """Output of make, without the options of an outer make."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-C", str(ROOT), "--no-print-directory", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


@needs_make
def test_help_lists_every_target() -> None:
    written = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    listed = {line.split()[1] for line in make("help").splitlines()}
    assert listed == written == TARGETS


@needs_make
def test_help_is_the_default_target() -> None:
    assert make() == make("help")


@needs_make
def test_environment_holds_hashed_packages_then_torch_then_the_project() -> None:
    commands = make("--dry-run", "--always-make", "lint")
    options = re.findall(r"-m pip install .*?(--require-hashes.*|-r.*|--no-deps.*)", commands)
    assert options == [
        "--require-hashes --no-deps -r requirements.lock",
        "-r requirements-torch.lock",
        "--no-deps --no-build-isolation --editable .",
    ]


@needs_make
def test_slow_runs_the_quick_tests_as_on_an_older_processor() -> None:
    quick, experiments = (line for line in make("--dry-run", "slow").splitlines() if "pytest" in line)
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in quick and "-m slow" not in quick
    assert experiments.endswith("-m pytest -m slow")


def test_the_check_is_an_executable_bash_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", str(script)], check=True)
