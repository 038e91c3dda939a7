"""Compiling the kernels: once, atomically, with a line that says so, and what is done where that is impossible."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seqmodels.errors import InputError
from seqmodels.kernels import build

LOAD = "import torch; from seqmodels.kernels import build; print(build.load('float')[0] is not None)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "load", build.load.__wrapped__)
    monkeypatch.setattr(build, "choice", "auto")
    return tmp_path / "seqmodels"


def false_compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    code = "import seqmodels.backbones.recurrent, seqmodels.kernels.recurrent"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert not list(tmp_path.iterdir())


def test_processes_at_once_compile_once_and_say_so(tmp_path: Path) -> None:
    if build.load("float")[0] is None:
        pytest.skip("there is no C++ compiler")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", LOAD], stdout=-1, stderr=-1, text=True, env=environment)
        for _ in range(2)
    ]
    outputs, lines = zip(*(process.communicate() for process in started), strict=True)
    assert outputs == ("True\n", "True\n")
    assert sorted(len(text.splitlines()) for text in lines) == [0, 1] and "once for this machine" in "".join(lines)
    files = {path.name for path in (tmp_path / "seqmodels").iterdir()}
    assert files == {"lock", f"kernels-{build.key('float')}.so"}


def test_a_library_that_cannot_be_read_is_compiled_again(tmp_path: Path) -> None:
    if build.load("float")[0] is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path / "seqmodels" / f"kernels-{build.key('float')}.so"
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", LOAD], capture_output=True, env=environment).stdout == b"True\n"
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'x.cpp: error: too old' >&2; exit 1", "x.cpp: error: too old"),
        ("exit 3", "no word"),
        ("exit 0", "kernels-"),  # says that it has succeeded, and has written nothing
        (None, "No such file"),
    ],
)
def test_a_compiler_that_fails_leaves_the_work_to_torch(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, script: str | None, words: str
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++" if script is None else false_compiler(tmp_path, script))
    with caplog.at_level(logging.WARNING):
        assert build.library(torch.float32) is None
    (line,) = [record.getMessage() for record in caplog.records if "torch computes" in record.getMessage()]
    assert words in line and [path.name for path in cache.iterdir()] == ["lock"]
    with pytest.raises(InputError, match="kernels=compiled needs"):
        build.choose_kernels("compiled")


def test_without_a_compiler_torch_computes(cache: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    monkeypatch.delenv("CXX", raising=False)
    assert build.library(torch.float32) is None
    (line,) = caplog.messages
    assert "no C++ compiler (no-such-compiler)" in line


def test_a_cache_folder_that_cannot_be_written_leaves_the_work_to_torch(cache: Path, caplog) -> None:
    cache.write_text("a file in its place")
    assert build.library(torch.float32) is None and "seqmodels" in caplog.text


def test_the_name_of_a_library_follows_from_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [build.key("float"), build.key("double")]
    for name, value in (("processor", lambda: "flags: sse2"), ("FLAGS", ("-O1",))):
        monkeypatch.setattr(build, name, value)
        names.append(build.key("float"))
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert len({*names, build.key("float")}) == 5 and names[0] == names[0].lower()


@pytest.mark.parametrize("name", ["", "fast", "Compiled", "xla"])
def test_unknown_kernels_are_refused(name: str) -> None:
    before = build.choice
    with pytest.raises(InputError, match=f"kernels is '{name}'; it must be one of auto, compiled, torch"):
        build.choose_kernels(name)
    assert build.choice == before


@pytest.mark.parametrize("name", ["fast", "none", "cpu"])
def test_unknown_kernels_in_the_environment_are_refused_where_they_are_used(name: str) -> None:
    code = "import torch; from seqmodels.backbones.recurrent import Gru; Gru(1, 3)(torch.zeros(1, 3, 1))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"SEQMODELS_KERNELS": name}
    )
    assert done.returncode != 0 and f"kernels is '{name}'" in done.stderr


def test_torch_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "choice", "auto")
    build.choose_kernels("torch")
    assert build.library(torch.float32) is None
    assert build.library(torch.bfloat16) is None


def test_the_cache_folder_is_the_users_own(cache: Path) -> None:
    assert stat.S_IMODE(build.cache_folder().stat().st_mode) & 0o022 == 0
