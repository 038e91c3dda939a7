"""The README's own commands and code, run as they stand, only shorter."""

import hashlib
import re
import shlex

import numpy as np
import pytest
from command_line import ROOT, python
from data import REAL

README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHERS = {"make train", "make test", "source .venv/bin/activate", "tensorboard --logdir runs"}
SHOWN = {"train": "naive", "find-lr": "Suggested", "describe": "description.html", "check": "clean",
         "convert": "data=store", "--help": "commands:", "new": "conf/model/backbone/my_lstm.yaml",
         "forecast": "Written: ", "evaluate": "Written: ", "compare": "leaderboard.html"}  # fmt: skip
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.accelerator=cpu"]


def commands() -> list[str]:
    """Every line of the bash blocks, without comments, continued lines joined."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).strip() for line in blocks.splitlines() if line.strip()]


RUNS = [command for command in commands() if command.startswith(("python ", "seqmodels "))]


def shorter(command: str) -> list[str]:
    """The same command on fewer waves and for fewer steps."""
    few = [] if "data=" in command else ["data.series=100"]
    _, name, *arguments = shlex.split(command)
    if name in ("--help", "new", "forecast", "evaluate"):
        return ["-m", "seqmodels", name, *arguments]
    script = [str(ROOT / name)] if name.endswith(".py") else ["-m", "seqmodels", name]
    short = ["rates.steps=20"] if name == "find-lr" else SHORT
    return [*script, *arguments, *few, *short]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """An empty directory with the file that the README speaks of."""
    directory = tmp_path_factory.mktemp("readme")
    days = np.arange("2016-01-01", "2021-12-01", dtype="datetime64[D]")
    rides = 500_000 + 200_000 * (np.arange(len(days)) % 7 < 5) + np.random.default_rng(0).integers(0, 50_000, len(days))
    rows = "\n".join(f"{day},{value}" for day, value in zip(days, rides, strict=True))
    (directory / "rides.csv").write_text(f"service_date,rail_boardings\n{rows}\n")
    return directory


def test_every_command_is_known():
    assert len(RUNS) == 16
    assert set(commands()) - set(RUNS) == OTHERS
    assert len(README.splitlines()) <= 120
    assert not [line for line in README.splitlines() if line.isupper()], "something was to be filled in"


@pytest.mark.parametrize("command", RUNS)
def test_commands_run(command, workplace):
    if "latest" in command and not list(workplace.glob("runs/*_csv_*")):
        python(workplace, *shorter(next(one for one in RUNS if "train data=csv" in one)))
    done = python(workplace, *shorter(command))
    wanted = SHOWN[shlex.split(command)[1].removesuffix(".py")]
    assert (done.code, done.err) == (0, "") and wanted in done.out
    if " -m " in command:
        assert len(list(workplace.glob("runs/sweep_*/summary.csv"))) == 1
        assert len(list(workplace.glob("runs/sweep_*/*/checkpoints/best.ckpt"))) == 9


def test_code_runs_as_it_stands(workplace):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    settings = "trainer={'max_epochs': 1, 'limit_train_batches': 3, 'accelerator': 'cpu'}"
    shorter_code = code.replace("horizon=14)", f"horizon=14, {settings})")
    assert shorter_code != code
    done = python(workplace, "-c", shorter_code + "\nprint(type(model).__name__, model.spec.horizon)\n")
    assert (done.code, done.err) == (0, "") and done.out.splitlines()[-1] == "TrainedModel 14"
    assert "seasonal naive" in done.out


def test_files_that_are_linked_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


DATA = (ROOT / "docs/data.md").read_text(encoding="utf-8")
CHECKSUMS = {name: checksum for checksum, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", DATA, flags=re.MULTILINE)}


def test_every_file_of_an_experiment_has_a_source_and_a_checksum() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "conf/experiment").rglob("*.yaml")]
    commands = [
        path
        for text in texts
        for command in re.findall(r"^# Command: (.*)", text, re.MULTILINE)
        for path in re.findall(r"data\.(?:path|test_path|truth)=(\S+)", command)
    ]
    files = {name for command in commands for name in command.strip("[]").split(",")}
    assert files == set(CHECKSUMS) and len(files) == 22
    rows = [line for line in DATA.splitlines() if line.startswith("| `")]
    assert all("https://" in row for row in rows)
    assert all(any(f"`{name}`" in row for row in rows) for name in files)


@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksums_are_those_of_the_data(name: str) -> None:
    found = list(REAL.rglob(name))
    if not found:
        pytest.skip(f"needs the real data {name}")
    assert hashlib.sha256(found[0].read_bytes()).hexdigest() == CHECKSUMS[name]
