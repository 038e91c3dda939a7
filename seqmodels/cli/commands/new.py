"""``seqmodels new``: copy a packaged config into ./conf, to be edited and used with ``--config-dir conf``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from seqmodels.config.compose import packaged_folder
from seqmodels.config.targets import nearest
from seqmodels.errors import InputError

NEW_USAGE = """Copy a packaged config into ./conf, to be edited.

usage: seqmodels new GROUP/NAME [NEW_NAME]

Examples:
  seqmodels new model/backbone/lstm small_lstm        then: seqmodels train --config-dir conf model/backbone=small_lstm
  seqmodels new experiment/waves/seq_to_seq           writes conf/experiment/waves/my_seq_to_seq.yaml"""


def new(arguments: Sequence[str]) -> int:
    """Copy the named config and return the exit code."""
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(NEW_USAGE)
        return 0
    try:
        print(copy_config(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def copy_config(arguments: Sequence[str]) -> str:
    """Write the copy and return the text to print; raises InputError for an unknown config or an existing file."""
    if len(arguments) > 2:
        raise InputError(f"seqmodels new takes a config and a name, but {len(arguments)} arguments were given.")
    name = arguments[0].removeprefix("conf/").removesuffix(".yaml").strip("/")
    folder = packaged_folder()
    known = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*/*.yaml"))]
    if name not in known:
        raise InputError(f"there is no packaged config {name}.{nearest(name, known)}")
    group, _, option = name.rpartition("/")
    given = arguments[1].removesuffix(".yaml") if len(arguments) == 2 else f"my_{option}"
    if not given.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"{given!r} is not a valid config name; use letters, digits, _ and -.")
    if f"{group}/{given}" in known:
        raise InputError(f"{group}/{given} is the name of a packaged config, which would hide the copy.")
    target = Path("conf", group, f"{given}.yaml")
    if target.exists():
        raise InputError(f"{target} already exists; choose another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((folder / f"{name}.yaml").read_bytes())
    chosen = f"experiment={group.removeprefix('experiment').strip('/')}/{given}".replace("=/", "=")
    use = chosen if group.startswith("experiment") else f"{group}={given}"
    return f"Written: {target}\nTo use it: seqmodels train --config-dir conf {use}"
