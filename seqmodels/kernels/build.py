"""Kernels compiled from C++ at first use, and kept in the user's cache folder."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch

from seqmodels.errors import InputError, require_choice

KERNELS = ("auto", "compiled", "torch")
REALS = {torch.float32: "float", torch.float64: "double"}  # in C++
COMPILERS = ("c++", "g++", "clang++")
# Without -ffast-math: linked into a library, it changes the rounding of denormal numbers in the whole process.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-pthread")
SECONDS = 300  # after which a compiler is given up
log = logging.getLogger(__name__)
choice = os.environ.get("SEQMODELS_KERNELS", "auto")


def choose_kernels(kernels: str) -> None:
    """Set, for this process, the code that computes layers on the CPU.

    "compiled": the kernels of this package; "torch": torch's own operations; "auto": compiled, or torch without a C++
    compiler. Raises InputError for another name, and for "compiled" if they cannot be compiled.
    """
    global choice
    require_choice(KERNELS, "", kernels=kernels)
    choice = kernels
    if kernels == "compiled":
        library(torch.float32)


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for float32 or float64, compiled if they have not been yet; None if torch is to compute."""
    require_choice(KERNELS, "", kernels=choice)  # it may come from the environment
    if choice == "torch" or dtype not in REALS:
        return None
    loaded, reason = load(REALS[dtype])
    if loaded is None and choice == "compiled":
        raise InputError(f"kernels=compiled needs what this machine lacks: {reason}. Set kernels=auto or torch.")
    return loaded


@cache
def load(real: str) -> tuple[ctypes.CDLL | None, str]:
    """The library for numbers of the C++ type ``real``, or None and the reason; says so in one line."""
    try:
        path = cache_folder() / f"kernels-{key(real)}.so"
        with locked(path.parent):
            return open_library(path, real), ""
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        if choice == "auto":
            log.warning("kernels=auto: torch computes all layers, since %s", error)
        return None, str(error)


def cache_folder() -> Path:
    """The folder of compiled kernels; raises OSError or RuntimeError if there is none that can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base, "seqmodels")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def key(real: str) -> str:
    """Names everything that a library depends on: sources, flags, torch, and the instructions of the processor."""
    text = [*FLAGS, real, torch.__version__, platform.machine(), processor(), os.environ.get("CXX", "")]
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.[ch]*"))]
    return hashlib.sha256(b"\0".join([*sources, *(part.encode() for part in text)])).hexdigest()[:16]


def processor() -> str:
    """Instruction sets of the processor, as far as the system reports them."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return platform.processor()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time compile, as far as the system and the folder know locks."""
    with open(folder / "lock", "wb") as file:
        with suppress(ImportError, OSError):
            import fcntl  # absent on Windows

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_library(path: Path, real: str) -> ctypes.CDLL:
    """The library at the path, compiled if it is not there or cannot be read; raises OSError with the reason."""
    if path.exists():
        with suppress(OSError):
            return declared(ctypes.CDLL(str(path)))
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise OSError(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    log.warning("compiling the kernels of recurrent layers and convolutions, once for this machine: %s", path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder, path.name)
        compile_sources(compiler, built, real)
        os.replace(built, path)
    return declared(ctypes.CDLL(str(path)))


def compile_sources(compiler: str, target: Path, real: str) -> None:
    """Compile the kernels; raises OSError with the reason."""
    sources = [str(path) for path in sorted(Path(__file__).parent.glob("*.cpp"))]
    for native in ("-march=native", "-mcpu=native"):  # the latter with older compilers for ARM
        command = [*compiler.split(), *FLAGS, native, f"-DREAL={real}", *sources, "-o", str(target)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        if result.returncode == 0:
            return
    lines = (
        [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines() or ["no word"]
    )
    raise OSError(f"the compiler {compiler} failed ({lines[0].strip()})")


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of what its functions return."""
    for name in ("rows_of_block", "saved_size"):
        getattr(library, name).restype = ctypes.c_int64
    return library


@cache
def torch_threads() -> int | None:
    """Address of the function that runs work on the threads of torch's OpenMP library; None: unknown."""
    with suppress(AttributeError, OSError, TypeError):
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    return None
