"""Launch a command as a Hydra application: configs are checked first, and errors are reported in one sentence.

Exit codes: 0 success, 1 an internal error or failed jobs of a sweep, 2 invalid input, 130 interrupted, 143 terminated,
129 hung up.
Only internal errors print a traceback. This module imports neither torch nor lightning, so that ``--help`` is fast.
"""

import argparse
import copy
import json
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # Hydra offers its flags nowhere else
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from seqmodels.cli.messages import CommandLine, one_line, sentence
from seqmodels.cli.secrets import is_secret
from seqmodels.config.check import check
from seqmodels.config.compose import VERSION_BASE, packaged_folder
from seqmodels.config.targets import nearest
from seqmodels.errors import InputError
from seqmodels.signals import Interrupted, handled_by, raise_at_once

FULL_ERROR = "HYDRA_FULL_ERROR"
REFUSED = 2


def run_dir(ckpt_path: str | None, new: str) -> str:
    """The run directory: that of the checkpoint if it lies in one (the run continues there), else ``new``."""
    folder = run_of(ckpt_path)
    return new if folder is None else str(folder)


def run_of(ckpt_path: str | None) -> Path | None:
    """The run directory that ``ckpt_path`` names or lies in."""
    path = Path(ckpt_path or "")
    folder = path if path.is_dir() else path.parent.parent
    is_checkpoint = path.is_dir() or (path.parent.name == "checkpoints" and path.is_file())
    return folder if ckpt_path and is_checkpoint and (folder / "config.yaml").is_file() else None


def refuse_used(folder: Path, ckpt_path: str | None) -> None:
    """Raise InputError if the folder holds a run that would be overwritten; a run may continue in its own directory."""
    used = [name for name in ("metrics.json", "checkpoints") if (folder / name).exists()]
    own = run_of(ckpt_path)
    if not used or ckpt_path == "auto" or (own is not None and own.resolve() == folder.resolve()):
        return
    place = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    raise InputError(
        f"{place} already holds a run ({used[0]}), which would be overwritten; continue it with ckpt_path={place},"
        " choose another directory, or remove this one."
    )


LONGEST_NAME = 120  # characters; file systems allow 255 bytes


def plain_path(name: str) -> str:
    """A path without special characters of a shell or of Hydra: ``a-[load, wind]`` becomes ``a-load-wind``.

    Brackets and quotes are removed, since a dash in their place would look like the sign of a number. Of a long name
    the end is kept, because there stand ``model`` and ``seed``, after all keys of ``data``.
    """
    plain = re.sub(r"[^A-Za-z0-9_.+/-]+", "-", re.sub(r"[][(){}'\"]", "", name))
    return plain if len(plain) <= LONGEST_NAME else plain[-LONGEST_NAME:].lstrip("-_/.+")


OmegaConf.register_new_resolver("run_dir", run_dir, replace=True)
OmegaConf.register_new_resolver("plain_path", plain_path, replace=True)


class PastHydra(BaseException):
    """Carries its cause past Hydra, which turns errors of callbacks into warnings and comments on those of jobs."""


class Job(NamedTuple):
    """The job of Hydra that a command runs in."""

    directory: Path  # the run directory
    model: str  # the choice of the group model, such as "lstm"
    overrides: Sequence[str]  # as the user wrote them
    program: str  # the words before the overrides: "seqmodels train"

    def command(self) -> str:
        """The command line of the user, quoted for a shell, with secrets masked."""
        return shell_line(self.program, self.overrides)

    @property
    def chosen(self) -> dict[str, str]:
        """The overrides by key, with secrets masked, without those that only say where a run lies."""
        pairs = (mask_override(one).lstrip("+~").partition("=")[::2] for one in self.overrides)
        return {key: value for key, value in pairs if key != "ckpt_path" and not key.startswith("hydra")}

    def resume(self, checkpoint: Path) -> str:
        """The command line of the user, changed to continue from a checkpoint."""
        left_out = ("ckpt_path=", "resume_schedule=")
        kept = [override for override in self.overrides if not override.lstrip("+").startswith(left_out)]
        return shell_line(self.program, [*kept, f"ckpt_path={quote(str(checkpoint))}"])

    def train(self, without: Sequence[str] = (), more: Sequence[str] = ()) -> str:
        """The training command with these overrides, except those that begin with ``without``, and with ``more``."""
        kept = [override for override in self.overrides if not override.lstrip("+").startswith(tuple(without))]
        return shell_line("seqmodels train", [*kept, *more])


def shell_line(program: str, overrides: Sequence[str]) -> str:
    """A command line quoted for a shell, with secrets masked."""
    return f"{program} {shlex.join(map(mask_override, overrides))}".rstrip()


def quote(value: str) -> str:
    """The value of an override, quoted for Hydra unless it consists of plain characters."""
    return value if re.fullmatch(r"[A-Za-z0-9_./+-]+", value) else json.dumps(value, ensure_ascii=False)


def mask_override(override: str) -> str:
    """The override, with *** for its value if that is a secret."""
    key, equals, _ = override.partition("=")
    return f"{key}=***" if equals and is_secret(key) else override


Task = Callable[..., Any]  # called with the composed config and the Job


def launch(task: Task, config: str, program: str, arguments: Sequence[str], folder: Path | None = None) -> NoReturn:
    """Run ``task`` as a Hydra application and end the process with an exit code.

    ``config`` names the primary config in ``folder``, by default the packaged folder. The full traceback is always
    printed if the user sets ``HYDRA_FULL_ERROR=1``.
    """
    folder = folder or packaged_folder()
    full = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # makes Hydra raise its errors instead of printing them
    sys.argv = [program.split()[-1 if program.endswith(".py") else 0], *arguments]
    try:
        _put_flags_last()
        _refuse_shadowed(folder)
        guarded = _guard(task, shell_line(program, _config_flags()))
        with handled_by(raise_at_once):
            hydra.main(version_base=VERSION_BASE, config_path=str(folder), config_name=config)(guarded)()
        sys.stdout.flush()  # here, where a closed pipe can still be handled
    except BaseException as caught:  # the outermost frame: every error gets an exit code
        error = caught.__cause__ if isinstance(caught, PastHydra) and caught.__cause__ else caught
        code = _report(error, full, folder, config)
        _end_sweep(program, arguments)
        sys.exit(code)
    sys.exit(0)


def _guard(task: Task, program: str) -> Callable[[DictConfig], Any]:
    """Wrap the task so that its errors get past Hydra, or are recorded if it is a job of a sweep."""

    def guarded(config: DictConfig) -> Any:
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        model = hydra_config.runtime.choices.get("model") or ""
        job = Job(folder, model, tuple(hydra_config.overrides.task), program)
        if hydra_config.mode == RunMode.MULTIRUN:
            from seqmodels.cli.sweep import run_job

            return run_job(task, config, job)
        try:
            refuse_used(folder, config.get("ckpt_path"))
            return task(config, job)
        except (Exception, SystemExit) as error:
            _remove_empty(folder)
            raise PastHydra() from error
        except Interrupted:
            _remove_empty(folder)
            raise

    return guarded


def _config_flags() -> list[str]:
    """The flags that say where configs are, which a repetition of the command needs too."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for long, short in (("--config-dir", "-cd"), ("--config-name", "-cn"), ("--config-path", "-cp")):
        parser.add_argument(long, short)
    given = vars(parser.parse_known_args()[0])
    return [part for name, value in given.items() if value for part in (f"--{name.replace('_', '-')}", value)]


def _refuse_shadowed(folder: Path) -> None:
    """Raise InputError for a file of the user's config folder that a packaged config of the same name would hide."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    own = parser.parse_known_args()[0].config_dir
    if own is None or not Path(own).is_dir() or Path(own).samefile(folder):
        return
    for file in sorted(Path(own).rglob("*.yaml")):
        place = file.relative_to(own)
        if (folder / place).is_file():
            raise InputError(
                f"{file} has the name of a packaged config, which would be used instead; rename it, for example to"
                f" my_{place.name}."
            )


def _remove_empty(folder: Path) -> None:
    """Remove the directory that Hydra created for a run that could not start, and its parents if empty."""
    here = Path.cwd()
    for place in (folder, *(parent for parent in folder.parents if parent != here and parent.is_relative_to(here))):
        try:
            place.rmdir()
        except OSError:  # not empty
            return


def _report(error: BaseException, full: bool, folder: Path, name: str) -> int:
    """Print the error to standard error and return the exit code."""
    if isinstance(error, SystemExit):
        return _exit_code(error)
    if isinstance(error, BrokenPipeError) and _reader_has_left():
        return 1
    if isinstance(error, KeyboardInterrupt):  # raised by a library, or before the handlers were there
        error = Interrupted(signal.SIGINT)
    if isinstance(error, Interrupted):
        line, code = str(error), error.exit_code
    else:
        said = sentence(error, CommandLine(folder, name, sys.argv[1:]))
        line, code = (f"error: {said}", REFUSED) if said else ("", 1)
    if full or not line:
        traceback.print_exception(error)
    else:
        print(line, file=sys.stderr)
    return code


def _end_sweep(program: str, arguments: Sequence[str]) -> None:
    """Print the progress of an interrupted sweep and the command that continues it."""
    sweep = sys.modules.get("seqmodels.cli.sweep")  # imported by Hydra when a sweep begins
    if sweep is not None and (root := sweep.SweepSummary.end()) is not None:
        given = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")]
        print(f"To continue: {shell_line(program, [*given, f'hydra.sweep.dir={root}'])}")


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _reader_has_left() -> bool:
    """True if standard output is a pipe closed by its reader (``| head``); further output is then discarded."""
    try:
        print(flush=True)  # an empty line, since only a write can tell
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes again at exit
        return True
    return False


def _put_flags_last() -> None:
    """Allow flags anywhere between the overrides, which Hydra reads only in one piece.

    Raises InputError for an unknown flag; Hydra's own parser would print its long usage text.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        hint = nearest(unknown, flags) if unknown.startswith("-") else ""
        raise InputError(f"{one_line(message)}: no such use of a flag.{hint}")

    parser.error = refuse  # type: ignore[method-assign]  # argparse offers no other way to word its errors
    if "--version" not in sys.argv:
        overrides = parser.parse_intermixed_args().overrides
        flags = list(sys.argv[1:])
        for override in overrides:
            flags.remove(override)
        sys.argv[1:] = [*overrides, *flags]


class Preflight(Callback):
    """Check of keys, types and options before the first job, so that a mistake leaves no directory behind."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the one config."""
        _carry(lambda: _check(config, _known_keys(config)))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check each swept value once, with the other swept keys at their first values."""
        _carry(lambda: _check_sweep(config))


def _carry(check_all: Callable[[], None]) -> None:
    try:
        check_all()
    except Exception as error:
        raise PastHydra() from error


def _check_sweep(config: DictConfig) -> None:
    loader = GlobalHydra.instance().config_loader()
    known = _known_keys(config)
    for overrides in _variants(config):
        _check(loader.load_sweep_config(config, overrides), known)


def _known_keys(config: DictConfig) -> set[str]:
    """Top-level keys of the config without overrides, and the groups it selects from."""
    loader = GlobalHydra.instance().config_loader()
    default = loader.load_configuration(config.hydra.job.config_name, overrides=[], run_mode=RunMode.MULTIRUN)
    groups = {str(choice).split("/")[0].split("@")[0] for choice in default.hydra.runtime.choices}
    return {str(key) for key in default} | groups


def _check(config: DictConfig, known: set[str]) -> None:
    """Check with Hydra's own keys present, so that ``${hydra:...}`` resolves as it will in the job."""
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
    """Lists of overrides that together contain every value of every swept key; intervals have no listed values."""
    given = [f"{key}={value}" for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()]
    given += config.hydra.overrides.task
    fixed: list[str] = []
    swept: list[list[str]] = []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    last = {override.get_key_element(): override for override in parser.parse_overrides(given)}  # as the sweeper does
    for override in last.values():
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
