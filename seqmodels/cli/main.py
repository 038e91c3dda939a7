"""Runs the command line: one sentence and exit code 2 for what the user can mend, a traceback for our own faults.

Exit codes: 0 done, 1 a fault of ours or failed jobs of a sweep, 2 refused input, 130 interrupted, 143 terminated.
It loads neither torch nor lightning, so that ``--help`` answers at once.
"""

import functools
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser  # Hydra offers its flags nowhere else
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from seqmodels.cli.messages import Composed, one_line, sentence
from seqmodels.config.build import nearest
from seqmodels.errors import InputError

FULL_ERROR = "HYDRA_FULL_ERROR"
ERROR_FILE = "error.txt"
REFUSED, INTERRUPTED, TERMINATED = 2, 130, 143

log = logging.getLogger(__name__)


def run_dir(ckpt_path: str | None, new: str) -> str:
    """Where a run writes: the run directory that its checkpoint lies in (so that it continues there), else ``new``."""
    checkpoint = Path(ckpt_path or "")
    folder = checkpoint.parent.parent
    is_run = checkpoint.parent.name == "checkpoints" and checkpoint.is_file() and (folder / "config.yaml").is_file()
    return str(folder) if is_run else new


def plain_path(name: str) -> str:
    """A path that neither a shell nor Hydra takes for more than text: ``data.target-[load, wind]`` as ``...load-wind``.

    Brackets and quotes are left out, since a dash in their place would look like the sign of a number.
    """
    return re.sub(r"[^A-Za-z0-9_.+/-]+", "-", re.sub(r"[][(){}'\"]", "", name))


OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
OmegaConf.register_new_resolver("plain_path", plain_path, replace=True)


class PastHydra(BaseException):
    """Carries its cause past Hydra, which turns errors of callbacks into warnings and comments on those of jobs."""


def run(main: Callable[[], None], config_path: str = "conf", config_name: str = "train") -> NoReturn:
    """Call a function decorated by ``hydra.main`` and leave the process with an exit code.

    ``config_path`` (relative to the file of ``main``) and ``config_name`` repeat what ``hydra.main`` was given;
    they serve to name the nearest keys. ``HYDRA_FULL_ERROR=1`` set by the user gives the full traceback always.
    """
    full = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # makes Hydra raise what it would print
    try:
        _refuse_unknown_flags()
        main()
        sys.stdout.flush()  # here, where a reader that has left can still be answered for
    except BaseException as caught:  # the outermost frame: nothing may pass without an exit code
        error = caught.__cause__ if isinstance(caught, PastHydra) and caught.__cause__ else caught
        folder = Path(inspect.getfile(inspect.unwrap(main))).resolve().parent / config_path
        sys.exit(_report(error, full, folder, config_name))
    sys.exit(0)


def job(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a job so that in a sweep its failure is written down and the other jobs go on.

    In a sweep every error, ``SystemExit`` too, becomes ``error.txt`` in the job's directory and the worst possible
    value for an optimiser (infinite; NaN would end an optuna study). Only an interruption or a termination of the
    process still ends the sweep. Outside of a sweep errors pass through to ``run``.
    """

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        if not HydraConfig.initialized():
            return function(*arguments, **named)
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        folder = Path(HydraConfig.get().runtime.output_dir)
        if sweep:
            (folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt in the same directory
        try:
            return function(*arguments, **named)
        except (Exception, SystemExit) as error:
            if not sweep:
                _remove_empty(folder)
                raise PastHydra() from error
            _write_error(error, folder)
            if _ended(error) is not None:
                raise
            return _worst(HydraConfig.get().sweeper.get("direction"))

    return guarded


def _remove_empty(folder: Path) -> None:
    """Take back the directory that Hydra made for a run that was refused, and what it made to hold it."""
    here = Path.cwd()
    for place in (folder, *(parent for parent in folder.parents if parent != here and parent.is_relative_to(here))):
        try:
            place.rmdir()
        except OSError:  # something is in it
            return


def _write_error(error: BaseException, folder: Path) -> None:
    """One sentence, an empty line, the traceback."""
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    summary = f"{kind}{one_line(error) or 'no message'}"
    trace = "".join(traceback.format_exception(error))
    (folder / ERROR_FILE).write_text(f"{summary}\n\n{trace}", encoding="utf-8")
    log.error("This job failed, the sweep goes on: %s (%s)", summary, folder / ERROR_FILE)


def _worst(direction: Any) -> Any:
    """The value no optimiser prefers: infinite, negative where the sweeper maximises; one for each direction."""
    if OmegaConf.is_list(direction):
        return tuple(_worst(one) for one in direction)
    return float("-inf") if "maximize" in str(direction).lower() else float("inf")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _ended(error: BaseException) -> int | None:
    """The exit code if the process was told from outside to end; a trainer turns both signals into ``SystemExit``."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        if any(kind.__name__ == "SIGTERMException" for kind in type(error).__mro__):
            return TERMINATED
        if any(isinstance(link, KeyboardInterrupt) for link in _chain(error)):
            return INTERRUPTED
    return None


def _report(error: BaseException, full: bool, folder: Path, name: str) -> int:
    """Tell the user on standard error and give the exit code."""
    code = _ended(error)
    if code is None and isinstance(error, SystemExit):
        return _exit_code(error)
    if isinstance(error, BrokenPipeError) and _reader_has_left():
        return 1
    if code is None:
        said = sentence(error, Composed(folder, name, sys.argv[1:]))
        line, code = (f"error: {said}", REFUSED) if said else ("", 1)
    else:
        line = "interrupted" if code == INTERRUPTED else "terminated"
    if full or not line:
        traceback.print_exception(error)
    else:
        print(line, file=sys.stderr)
    return code


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _reader_has_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more (``| head``); what is left to say is dropped."""
    try:
        print(flush=True)  # an empty line, since a write is the only way to know
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more as it ends
        return True
    return False


def _refuse_unknown_flags() -> None:
    """Hydra's own parser would answer with its usage, many lines long."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        hint = nearest(unknown, flags) if unknown.startswith("-") else ""
        raise InputError(f"{one_line(message)}: no such use of a flag.{hint}")

    parser.error = refuse  # type: ignore[method-assign]  # argparse offers no other way to word its errors
    if {"--version"}.isdisjoint(sys.argv):
        parser.parse_args()
