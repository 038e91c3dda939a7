"""The command ``seqmodels``: table of commands, help, completion, and copies of packaged configs."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from command_line import ROOT, Ended, environment, files_in, forked, python

from seqmodels.cli.main import COMMANDS, main

SMALL = ["data.series=200", "data.past_steps=20", "data.horizon=3", "trainer.max_epochs=1"]


def seqmodels(place: Path, *arguments: str, **variables: str) -> Ended:
    """``python -m seqmodels`` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "seqmodels", *arguments],
        cwd=place, env={**environment(), **variables}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def test_every_command_has_a_function_and_a_config() -> None:
    for name, command in COMMANDS.items():
        module, _, function = command.function.partition(":")
        assert callable(getattr(import_module(f"seqmodels.cli.commands.{module}"), function)), name
        assert not command.config or (ROOT / "conf" / f"{command.config}.yaml").is_file()
    files = {path.stem for path in (ROOT / "seqmodels/cli/commands").glob("[a-z]*.py")}
    assert files == {command.function.partition(":")[0] for command in COMMANDS.values()}


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_all_commands(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and max(map(len, lines)) <= 100
    listed = [line.split()[0] for line in lines[lines.index("commands:") + 1 :] if line.startswith("  ")]
    assert listed == list(COMMANDS)


def test_a_reader_that_leaves_ends_the_help_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as ``| head`` does
    command = [sys.executable, "-m", "seqmodels", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_imports_no_library(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'hydra', 'omegaconf', 'polars', 'rich', 'numpy'): sys.modules[name] = None\n"
        "from seqmodels.cli.main import main\n"
        "main(['--help'])"
    )
    assert python(tmp_path, "-c", code).code == 0


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    ended = seqmodels(tmp_path, "--version")
    assert ended.code == 0 and ended.out.startswith("seqmodels ") and ended.out.split()[1][0].isdigit()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian",), "error: trian is not a command. Nearest: train"),
        (("model=lstm",), "error: model=lstm is not a command. Did you mean seqmodels train model=lstm ...?"),
        (("--hepl",), "error: --hepl is not a command."),
    ],
)
def test_an_unknown_command_is_an_error_of_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1) and err.startswith(words)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seqmodels tr", ["train"]),
        ("seqmodels con", ["convert"]),
        ("seqmodels train model=wave", ["model=wavenet", "model=wavenet_gated"]),
        ("seqmodels find-lr rates.hi", ["rates.highest="]),
    ],
)
def test_completion_of_commands_groups_and_keys(tmp_path: Path, line: str, expected: list[str]) -> None:
    ended = seqmodels(tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert (ended.code, ended.err) == (0, "") and ended.out.split() == expected


def test_completion_is_installed_for_the_command(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        ended = seqmodels(tmp_path, "-sc", f"install={shell}")
        assert ended.code == 0 and "seqmodels" in ended.out, ended.err


def test_new_writes_a_copy_that_can_be_edited_and_used(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    ended = seqmodels(place, "new", "model/backbone/lstm", "small_lstm")
    copy = place / "conf/model/backbone/small_lstm.yaml"
    assert ended.code == 0 and "--config-dir conf model/backbone=small_lstm" in ended.out
    assert copy.read_text() == (ROOT / "conf/model/backbone/lstm.yaml").read_text()
    copy.write_text(copy.read_text().replace("hidden: 20", "hidden: 3"))
    own = ["--config-dir", "conf", "model=custom", "model/backbone=small_lstm"]
    ended = forked(place, *own, *SMALL, "hydra.run.dir=run")
    assert (ended.code, ended.err) == (0, "") and "hidden: 3" in (place / "run/config.yaml").read_text()


def test_new_copies_an_experiment_under_a_new_name(tmp_path: Path) -> None:
    ended = seqmodels(tmp_path, "new", "experiment/waves/seq_to_seq")
    assert ended.code == 0 and "experiment=waves/my_seq_to_seq" in ended.out
    assert files_in(tmp_path) == ["conf/experiment/waves/my_seq_to_seq.yaml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model/lsmt",), "there is no packaged config model/lsmt. Nearest: model/lstm"),
        (("model/lstm", "gru"), "model/gru is the name of a packaged config"),
        (("model/lstm", "../gru"), "'../gru' is not a valid config name"),
        (("model/lstm", "a", "b"), "3 arguments were given"),
        (("model/gru", "taken"), "conf/model/taken.yaml already exists"),
    ],
)
def test_new_rejects_invalid_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "conf/model/taken.yaml"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["new", *arguments])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.startswith("error: ") and words in err
    assert files_in(tmp_path) == ["conf/model/taken.yaml"] and taken.read_text() == "mine"


def test_a_config_with_the_name_of_a_packaged_one_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "work"
    (place / "mine/model").mkdir(parents=True)
    (place / "mine/model/lstm.yaml").write_text("defaults: [custom]\n")
    ended = forked(place, "--config-dir", "mine", *SMALL)
    assert ended.code == 2 and "mine/model/lstm.yaml has the name of a packaged config" in ended.err
    assert "my_lstm.yaml" in ended.err and ended.err.count("\n") == 1


def test_the_environment_names_the_revision_of_a_checkout() -> None:
    from seqmodels.cli.environment import git_revision

    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert len((git_revision() or "").removesuffix("-dirty")) == 40


@pytest.mark.parametrize(
    ("command", "arguments", "model"),
    [
        ("train", ["data=csv", "data.horizon=7"], "auto"),
        ("find-lr", ["data=parquet"], "auto"),
        ("check", ["-m", "data=store"], "auto"),
        ("train", ["data=csv", "model=lstm"], None),
        ("train", ["model/readout=iterated", "data=csv"], "auto"),
        ("train", ["data=csv", "experiment=ridership/rnn"], None),
        ("train", ["data=csv", "ckpt_path=runs/1"], None),
        ("train", ["data=waves"], None),
        ("describe", ["data=csv"], None),
        ("train", ["data=sequences", "data.label=kind"], "classifier"),
    ],
)
def test_a_table_of_ones_own_is_modelled_by_auto_unless_a_model_is_named(
    command: str, arguments: list[str], model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("seqmodels.cli.launch.launch", lambda *received: seen.append(received[-1]))
    main([command, *arguments])
    assert seen == [[*arguments, f"model={model}"] if model else arguments]
