"""Wheel and sdist: what is in them, and that the wheel works in an environment and a directory without the checkout."""

import json
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RELEASE = f"{PROJECT['name']}-{PROJECT['version']}"
TRAIN = ("train", "data.series=200", "trainer.max_epochs=1", "data.past_steps=20")
SOURCES = """
import json, datamodules, seqmodels, seqmodels.config.compose as compose
print(json.dumps([datamodules.__file__, seqmodels.__file__, str(compose.packaged_folder())]))
"""


def build(checkout: Path, folder: Path, target: str) -> Path:
    """The built file, made by the backend in this environment: nothing is downloaded."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a new environment with the wheel, which finds the libraries in the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return programs


def run(directory: Path, *command: str | Path) -> str:
    """Output of a command run in ``directory``; no variable leads Python back to the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=directory, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of(*folders: str) -> set[str]:
    """Files of the checkout, as they are named in it."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return {str(path.relative_to(ROOT)) for path in paths if path.is_file() and path.suffix != ".pyc"}


def test_wheel_holds_both_packages_and_the_configs_and_nothing_else(wheel: Path) -> None:
    expected = files_of("seqmodels", "datamodules") | {f"seqmodels/{name}" for name in files_of("conf")}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert found > {"seqmodels/conf/train.yaml", "seqmodels/description/page.html"}
    assert found > {"seqmodels/py.typed", "datamodules/py.typed"}


def test_wheel_says_what_the_project_file_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = BytesParser().parsebytes(archive.read(f"{RELEASE}.dist-info/METADATA"))
        commands = archive.read(f"{RELEASE}.dist-info/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert (metadata["Requires-Python"], metadata["License-Expression"]) == (">=3.11", "Apache-2.0")
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(required) == len(PROJECT["dependencies"])
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert commands.split("\n")[:2] == ["[console_scripts]", "seqmodels = seqmodels.cli.main:main"]


def test_sdist_holds_what_a_wheel_is_built_from(sdist: Path) -> None:
    beside = {"train.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO", ".gitignore"}
    with tarfile.open(sdist) as archive:
        found = {name.removeprefix(f"{RELEASE}/") for name in archive.getnames()}
    assert found == files_of("seqmodels", "datamodules", "conf") | beside


def test_wheel_from_the_sdist_is_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    again = build(tmp_path / "unpacked" / RELEASE, tmp_path / "built", "wheel")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_installed_command_trains_in_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, installed / "seqmodels", "--version") == f"seqmodels {PROJECT['version']}\n"
    assert "usage: seqmodels COMMAND" in run(tmp_path, installed / "seqmodels", "--help")
    run(tmp_path, installed / "seqmodels", *TRAIN)
    (directory,) = (tmp_path / "runs").iterdir()
    assert (directory / "checkpoints" / "best.ckpt").is_file()


def test_installed_package_reads_nothing_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    (packages,) = installed.parent.glob("lib/python*/site-packages")
    assert json.loads(run(tmp_path, installed / "python", "-c", SOURCES)) == [
        str(packages / "datamodules" / "__init__.py"),
        str(packages / "seqmodels" / "__init__.py"),
        str(packages / "seqmodels" / "conf"),
    ]
