"""The command line: a table of commands, each imported only when it runs, so that ``--help`` is fast."""

import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn


class Command(NamedTuple):
    """A line of the table: the function, the config that it composes ("" if none), and a summary for the help."""

    function: str  # "module:name" below seqmodels.cli.commands
    config: str
    summary: str
    positional: str = ""  # key of an argument that may be given without its key, before all others
    sweeps: bool = False  # several such arguments may be given, and without any each job of a sweep runs

    def run(self, *arguments: Any) -> Any:
        """Import the function and call it."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(f"seqmodels.cli.commands.{module}"), name)(*arguments)


COMMANDS = {
    "train": Command("train:train", "train", "train a model, test its best weights, write a run directory"),
    "forecast": Command(
        "forecast:forecast", "forecast", "forecast the steps after the last row, with a trained model", positional="run"
    ),
    "evaluate": Command(
        "evaluate:evaluate", "evaluate", "measure a trained model at many origins of a table", positional="run"
    ),
    "compare": Command(
        "compare:compare",
        "compare",
        "train several models and seeds, or take runs, and rank them on the same test windows",
        positional="runs",
        sweeps=True,
    ),
    "predict": Command(
        "predict:predict", "predict", "label sequences, or each of their steps, with a trained model", positional="run"
    ),
    "generate": Command(
        "generate:generate", "generate", "draw sequences of symbols from a trained model", positional="run"
    ),
    "fill": Command("fill:fill", "fill", "fill the gaps of a table, with a model of model=fill", positional="run"),
    "describe": Command("describe:describe", "describe", "look at data before training, and get a window suggested"),
    "check": Command("check:check", "check", "prove that nothing of the future leaks into training or inputs"),
    "find-lr": Command("find_lr:find_lr", "find_lr", "suggest a learning rate by training with rising ones"),
    "convert": Command("convert:convert", "convert", "turn a table of any size into a store, read in constant memory"),
    "new": Command("new:new", "", "copy a packaged config into ./conf, to be edited"),
}
WITH_MODEL = ("train", "check", "find_lr")  # configs that name one
USAGE = """Train sequence models on time series.

usage: seqmodels COMMAND [group=choice ...] [key=value ...] [flags]

commands:
{commands}

seqmodels COMMAND --help   groups, keys and flags of a command
seqmodels --version        the version
Tab completion: eval "$(seqmodels -sc install=bash)", or zsh or fish in place of bash."""


def main(arguments: Sequence[str] | None = None, program: str = "") -> NoReturn:
    """Run one command and end the process with its exit code.

    ``arguments`` are by default those of the process. ``program`` replaces "seqmodels COMMAND" in recorded command
    lines, as "python train.py" does.
    """
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in ("-h", "--help", "help"):
        _answer(USAGE.format(commands="\n".join(f"  {key:9} {one.summary}" for key, one in COMMANDS.items())))
    if name in ("-V", "--version"):
        _answer(f"seqmodels {package_version()}")
    if name in ("-sc", "--shell-completion"):
        name = _find_completed_command(rest)
        rest = ["-sc", *rest]
    if name not in COMMANDS:
        _refuse_command(name)
    command = COMMANDS[name]
    if not command.config:
        sys.exit(command.run(rest))
    from seqmodels.cli.launch import launch

    chosen = _choose_model(command, _name_positional(command, rest))
    launch(command.run, command.config, program or f"seqmodels {name}", chosen)


def _name_positional(command: Command, arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, the first one, or several, with its key if the command takes it without."""
    count = next((place for place, one in enumerate(arguments) if _has_key(one)), len(arguments))
    count = count if command.sweeps else min(count, 1)
    if not command.positional or not count:
        names = any(one.lstrip("+").startswith(f"{command.positional}=") for one in arguments)
        sweeps = command.sweeps and not names and not {"-m", "--multirun", "--help", "--cfg", "-sc"} & {*arguments}
        return [*arguments, "-m"] if sweeps else arguments
    quoted = ["'" + one.replace("\\", "\\\\").replace("'", "\\'") + "'" for one in arguments[:count]]
    value = f"[{','.join(quoted)}]" if command.sweeps else quoted[0]
    return [f"{command.positional}={value}", *arguments[count:]]


def _has_key(argument: str) -> bool:
    """True for a flag, an override, and an empty argument."""
    return not argument or argument.startswith("-") or re.match(r"[+~]*[\w./@]+=", argument) is not None


def _choose_model(command: Command, arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, with ``model=auto`` for a table of the user, unless they name a model.

    Sequences get what ``sequence_model`` says.
    """
    values = dict(argument.lstrip("+~").partition("=")[::2] for argument in arguments)
    keys = values.keys()
    given = [re.match(r"data=(csv|parquet|store|sequences)\b", argument) for argument in arguments]
    own = next((one[1] for one in given if one), "")
    if not own or command.config not in WITH_MODEL or keys & {"model", "experiment", "ckpt_path", "-sc", "-cn"}:
        return arguments
    data = {key.removeprefix("data."): value for key, value in values.items() if key.startswith("data.")}
    return [*arguments, f"model={sequence_model(data) if own == 'sequences' else 'auto'}"]


def sequence_model(data: Mapping[str, Any]) -> str:
    """The model for sequences with these settings of the data: of whole ones, or of each of their steps."""
    archive = str(data.get("path", "")).lower().endswith(".ts")
    follows = data.get("predict", "auto") == "auto" and "target" in data and "label" not in data and not archive
    return "symbols" if follows or data.get("predict") in ("step", "next") else "classifier"


def package_version() -> str:
    """The version that is installed, "0+unknown" in a checkout that is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("seqmodels")
    except PackageNotFoundError:
        return "0+unknown"


def _answer(text: str) -> NoReturn:
    """Print the text and leave the process, quietly where nobody reads it any more (``| head``)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more as it ends
        sys.exit(1)
    sys.exit(0)


def _refuse_command(name: str) -> NoReturn:
    from seqmodels.config.targets import nearest

    if name.startswith("-"):
        hint = f" Flags come after the command: seqmodels train {name} ..."
    else:
        hint = f" Did you mean seqmodels train {name} ...?" if "=" in name else nearest(name, COMMANDS)
    print(f"error: {name} is not a command.{hint}", file=sys.stderr)
    sys.exit(2)


def _find_completed_command(query: Sequence[str]) -> str:
    """The command whose arguments are to be completed; its name is removed from the line that Hydra sees.

    If the name itself is still being typed, print its completions and end the process. To install completion, any
    command will do.
    """
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 2 or not any(one.startswith("query=") for one in query):
        return next(iter(COMMANDS))
    if len(words) == 2:
        print("\n".join(name for name in COMMANDS if name.startswith(words[1])))
        sys.exit(0)
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", "0")) - len(words[1]) - 1)
    return words[1]
