"""Runs command lines of the product as processes; knows how to pay for loading the libraries only once."""

import functools
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
TRAIN = ROOT / "train.py"
LIBRARIES = ["lightning.pytorch", "lightning.pytorch.loggers", "torchmetrics", "polars", "tensorboard",
             "matplotlib.figure", "matplotlib.backends.backend_agg"]  # fmt: skip


class Ended(NamedTuple):
    """Exit code and output of a process."""

    code: int | None
    out: str
    err: str


def environment() -> dict[str, str]:
    """One thread, and nothing that would change how errors are shown."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HYDRA_FULL_ERROR", "PYTHONWARNINGS")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def python(directory: Path, *arguments: str, **variables: str) -> Ended:
    """A fresh interpreter, as a user starts it, in ``directory``, with further environment ``variables``."""
    command, variables = [sys.executable, *arguments], environment() | variables
    done = subprocess.run(command, cwd=directory, env=variables, capture_output=True, text=True, timeout=120)
    return Ended(done.returncode, done.stdout, done.stderr)


def forked(directory: Path, *arguments: str, command: str = "train") -> Ended:
    """``seqmodels command`` with these arguments in ``directory``, forked from a process that has loaded the libraries.

    The same as ``python(directory, "-m", "seqmodels", command, ...)``, several seconds sooner.
    """
    files = directory.parent / f"{directory.name}.out", directory.parent / f"{directory.name}.err"
    process = context().Process(target=_run, args=(command, str(directory), arguments, *map(str, files)))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
    return Ended(process.exitcode, *(file.read_text(encoding="utf-8") for file in files))


@functools.cache
def context() -> Any:
    """The process that commands are forked from; its libraries see one thread from the beginning."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(LIBRARIES)
    before = dict(os.environ)
    os.environ.update(environment())
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return made


def _run(command: str, directory: str, arguments: tuple[str, ...], out: str, err: str) -> None:
    """The child: its own standard streams, directory and arguments, then the package as the main program."""
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # pytest may put others in their place
    os.chdir(directory)
    sys.argv = ["seqmodels", command, *arguments]
    runpy.run_module("seqmodels", run_name="__main__")


def files_in(directory: Path) -> list[str]:
    """Every file and empty folder below, relative."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() or not any(path.iterdir())
    )


def only_run(directory: Path) -> Path:
    """The one run directory below ``directory``/runs."""
    (run,) = (directory / "runs").iterdir()
    return run


def metrics(run: Path) -> dict[str, Any]:
    """Contents of metrics.json of a run."""
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))
