"""Who may import whom, read from the syntax trees of all source files: the arrows of the architecture."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("seqmodels", "datamodules")
COMMANDS = ("train",)
CONTRACT = {"seqmodels.window", "seqmodels.errors"}
GROUND = CONTRACT | {
    "seqmodels.backbones.base",
    "seqmodels.dropout",
    "seqmodels.initialisation",
    "seqmodels.kernels.build",
    "seqmodels.kernels.calls",
    "seqmodels.kernels.convolution",
    "seqmodels.kernels.recurrent",
    "seqmodels.kernels.scan",
    "seqmodels.naive",
}
NOUNS = ("seqmodels.backbones", "seqmodels.readouts", "seqmodels.heads", "seqmodels.scalers")
CONCRETE = ("datamodules", *NOUNS, "seqmodels.baselines", "seqmodels.classical",
            "seqmodels.forecaster", "seqmodels.ensemble", "seqmodels.features")  # fmt: skip
# The contract of series, the DataModule for annotations, and the encoder of new rows
SERIES = {"datamodules.series", "datamodules.base", "datamodules.encoder", "datamodules.labelled",
          "datamodules.hidden"}  # fmt: skip
UPPER = tuple(f"seqmodels.{wing}" for wing in ("training", "inference", "report", "description", "leaks", "cli"))
LIGHTNING = ("lightning", "pytorch_lightning", "lightning_fabric")
LIGHTNING_USERS = ("seqmodels.training", "seqmodels.cli.assemble", "datamodules.base")
TORCH_ONLY = (
    *GROUND,
    *NOUNS,
    "seqmodels.baselines",
    "seqmodels.forecaster",
    "seqmodels.ensemble",
    "seqmodels.imputed",
    "seqmodels.features",
)


def inside(module: str, *packages: str) -> bool:
    """True if the module is one of the packages or lies in one of them."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def module_of(file: str) -> str:
    """The dotted name of a file given relative to the root."""
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def from_import(node: ast.ImportFrom, file: str) -> Iterator[str]:
    """Modules of a ``from ... import``: what is imported counts itself where it is a module."""
    base = node.module or ""
    if node.level:
        package = Path(file).parts[: -node.level]
        base = ".".join((*package, *([base] if base else [])))
    for alias in node.names:
        yield f"{base}.{alias.name}" if inside(base, *PACKAGES) and is_module(f"{base}.{alias.name}") else base


def imports(file: str, text: str) -> set[str]:
    """Dotted names of all modules that the text imports, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text, file)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(from_import(node, file))
    return found


def forbidden(module: str, imported: str) -> str | None:
    """The rule that the import breaks, or None."""
    if module == "seqmodels":
        return None  # the public face, which imports nothing before it is asked for
    ours = inside(imported, *PACKAGES)
    if inside(imported, "datamodules") and not inside(module, "datamodules"):
        if imported not in SERIES or not inside(module, *UPPER):
            return "of datamodules, the upper floors import series, base and encoder, all others nothing"
    if module in COMMANDS and inside(imported, *CONCRETE):
        return "commands import no concrete model and no concrete data"
    if inside(module, "datamodules") and inside(imported, "seqmodels") and imported not in CONTRACT:
        return "datamodules know the contract only"
    if module in CONTRACT and ours and imported != "seqmodels.errors":
        return "the contract knows nothing of the project"
    own = next((noun for noun in NOUNS if inside(module, noun)), None)
    if own and ours and imported not in GROUND and not inside(imported, own):
        return "backbones, readouts, heads and scalers do not know each other, nor what is built from them"
    if inside(imported, *LIGHTNING) and inside(module, *PACKAGES) and not inside(module, *LIGHTNING_USERS):
        return "lightning stays in seqmodels/training, cli/assemble.py and datamodules/base.py"
    top = imported.partition(".")[0]
    if module == "seqmodels.heads.distributions" and top == "scipy":
        return None  # distribution functions that torch lacks
    if inside(module, *TORCH_ONLY) and not ours and top != "torch" and top not in sys.stdlib_module_names:
        return "contract and models need torch and no other library"
    return None


def breaches(file: str, text: str) -> list[str]:
    """One line per forbidden import of a file."""
    found = ((name, forbidden(module_of(file), name)) for name in sorted(imports(file, text)))
    return [f"{file} imports {name}: {rule}." for name, rule in found if rule]


def test_every_file_keeps_the_arrows() -> None:
    on_disk = sum(
        name.endswith(".py") for package in PACKAGES for _, _, names in os.walk(ROOT / package) for name in names
    )
    files = [
        *(f"{command}.py" for command in COMMANDS),
        *(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")),
    ]
    found = [line for file in files for line in breaches(file, (ROOT / file).read_text(encoding="utf-8"))]
    assert found == []
    assert len(set(files)) - len(COMMANDS) == on_disk > 0


@pytest.mark.parametrize(
    ("file", "text", "rule"),
    [
        ("datamodules/tables/reader.py", "import seqmodels.training.module", "contract only"),
        ("datamodules/tables/reader.py", "from seqmodels.backbones import base", "contract only"),
        ("datamodules/tables/reader.py", "import seqmodels", "contract only"),
        ("datamodules/tables/reader.py", "def read():\n    from seqmodels.heads import Point", "contract only"),
        ("datamodules/tables/reader.py", "import lightning.pytorch as pl", "lightning stays"),
        ("seqmodels/window.py", "from .backbones.base import Backbone", "knows nothing"),
        ("seqmodels/window.py", "import numpy as np", "torch and no other"),
        ("seqmodels/training/module.py", "from datamodules.split import split_spans", "upper floors"),
        ("seqmodels/forecaster.py", "from datamodules.series import SeriesSet", "upper floors"),
        ("seqmodels/forecaster.py", "from lightning.pytorch import LightningModule", "lightning stays"),
        ("seqmodels/forecaster.py", "import hydra", "torch and no other"),
        ("seqmodels/backbones/lstm.py", "from ..heads import Point", "do not know each other"),
        ("seqmodels/backbones/lstm.py", "from seqmodels.forecaster import Forecaster", "do not know each other"),
        ("train.py", "import datamodules.base", "upper floors"),
        ("train.py", "from seqmodels.backbones.wavenet import WaveNet", "no concrete model"),
        ("train.py", "from seqmodels import forecaster", "no concrete model"),
    ],
)
def test_a_breach_is_found(file: str, text: str, rule: str) -> None:
    (line,) = breaches(file, text)
    assert file in line and rule in line


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "datamodules/tables/reader.py",
            "import polars\nfrom .series import SeriesSet\nfrom seqmodels.window import Window",
        ),
        ("datamodules/base.py", "import lightning.pytorch as pl"),
        ("seqmodels/report/summary.py", "from datamodules.series import SeriesSet"),
        ("seqmodels/training/callbacks/figures.py", "import lightning\nimport rich"),
        ("seqmodels/backbones/conv.py", "import math\nimport torch\nfrom seqmodels.backbones.rnn import Rnn"),
        ("train.py", "import lightning\nfrom seqmodels import config"),
    ],
)
def test_what_is_allowed_passes(file: str, text: str) -> None:
    assert breaches(file, text) == []
