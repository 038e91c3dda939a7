"""The table of capabilities: 68 rows, each with a command that composes and a test that exists."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict, read_write

from seqmodels.cli.main import COMMANDS
from seqmodels.config.check import check
from seqmodels.config.compose import compose

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "capabilities.md"
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| `(.+?)` \| `(.+?)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_has_all_capabilities_in_order():
    assert [int(row[0]) for row in ROWS] == list(range(1, 69))
    assert len({row[1] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_command_composes_and_its_test_exists(row):
    program, command, *overrides = shlex.split(row[2])
    assert program == "seqmodels" and command in COMMANDS
    if command == "new":
        option = f"{overrides[0]}.yaml"
        assert (TESTS.parent / "conf" / option).is_file()
    else:
        swept = "-m" in overrides
        given = [one.split(",")[0] if swept else one for one in overrides if one != "-m"]
        name = COMMANDS[command].config
        config = compose(name, given)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.runtime.output_dir = "."
        HydraConfig.instance().set_config(config)
        try:
            check(config, [*compose(name, []), "debug", "experiment"])
        finally:
            HydraConfig.instance().cfg = None
    file, _, function = row[3].partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
