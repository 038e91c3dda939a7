"""The page on packages of the user: its files and commands as they stand, only shorter, and what it promises."""

import importlib
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import yaml
from command_line import ROOT, Ended, forked, python

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.accelerator=cpu", "callbacks.figures=null")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


COMMANDS = "".join(blocks("bash")).splitlines()
FILES = [re.match(r"# (\S+)\n", block) for block in (*blocks("python"), *blocks("yaml"))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of the page; blocks of the same file follow one another."""
    folder = tmp_path_factory.mktemp("extending")
    for found in FILES:
        if found is not None:
            file = folder / found[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(found.string)
    (folder / "mypackage/__init__.py").touch()
    return folder


def run(place: Path, line: str, *more: str) -> Ended:
    _, command, *arguments = shlex.split(line)
    few = ("data.series=100",) if "data=" not in line else ()
    if command == "describe":  # with no directory of its own on the path, as the installed program is
        return python(place, "-P", "-m", "seqmodels", command, *arguments, *few, *SHORT, *more)
    return forked(place, *arguments, *few, *SHORT, *more, command=command)


def test_the_page_has_an_example_of_everything() -> None:
    assert len(COMMANDS) == 5 and sum(found is not None for found in FILES) == 8
    assert all(line.startswith("seqmodels ") and "allow=[mypackage]" in line for line in COMMANDS)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run_and_say_what_they_allow(line: str, place: Path) -> None:
    name = f"run{COMMANDS.index(line)}"
    done = run(place, line, f"hydra.run.dir={name}")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("allow=mypackage: classes of this package may be built, from ")
    assert str(place / "mypackage") in done.out.splitlines()[0]
    assert yaml.safe_load((place / name / "config.yaml").read_text())["allow"] == ["mypackage"]
    if "callbacks=" in line:
        assert (place / "epochs.txt").read_text() == "1\n"


def test_without_leave_nothing_of_the_package_is_imported(place: Path) -> None:
    (place / "trap").mkdir()
    (place / "trap/__init__.py").write_text("open('sprung', 'w')")
    (place / "conf/model/backbone/trap.yaml").write_text("_target_: trap.Net\n_partial_: true\n")
    done = run(place, "seqmodels train --config-dir conf model=custom model/backbone=trap")
    assert done.code == 2 and done.out == "" and not (place / "sprung").exists()
    assert "give allow=[trap]" in done.err and done.err.count("\n") == 1
    done = run(place, "seqmodels train --config-dir conf model=gru allow=[nowhere]")
    assert done.code == 2 and f"no package nowhere, neither in the current directory {place}" in done.err


def test_a_run_with_own_classes_is_resumed_and_loaded_with_leave_only(place: Path, monkeypatch) -> None:
    from seqmodels import InputError, load

    line, resume = COMMANDS[0], ("ckpt_path=own/checkpoints/last.ckpt", "scheduler=constant", "trainer.max_epochs=2")
    assert run(place, line, "hydra.run.dir=own", "scheduler=constant").code == 0
    done = run(place, line.replace("allow=[mypackage] ", ""), *resume)
    assert done.code == 2 and "give allow=[mypackage]" in done.err
    done = run(place, line, *resume)
    assert done.code == 0 and "Resuming from own/checkpoints/last.ckpt, after" in done.out
    path = place / "own/checkpoints/best.ckpt"
    with pytest.raises(InputError, match=r"best.ckpt: model.backbone._target_=mypackage.parts.Smooth: only .*allow=\["):
        load(path)
    monkeypatch.chdir(place)
    model = load(path, allow=["mypackage"])
    assert type(model.model.backbone).__name__ == "Smooth" and model.model.backbone.size == 8


def test_python_runs_as_it_stands(place: Path) -> None:
    (code,) = [block for block in blocks("python") if not block.startswith("# mypackage")]
    short = "trainer={'max_epochs': 1, 'limit_train_batches': 2, 'accelerator': 'cpu'}, callbacks__figures=None"
    done = python(
        place,
        "-c",
        code.replace("    horizon=3,\n", f"    horizon=3,\n    {short},\n") + "\nprint(model.model.backbone.size)",
    )
    assert (done.code, done.err) == (0, "") and done.out.splitlines()[-1] == "8"


def test_the_backbone_of_the_page_keeps_the_laws(place: Path, monkeypatch) -> None:
    """A recurrent backbone is one by what it does, whatever its name."""
    import test_laws
    import zoo

    monkeypatch.syspath_prepend(str(place))
    smooth = importlib.import_module("mypackage.parts").Smooth
    monkeypatch.setitem(zoo.BACKBONES, "smooth", partial(smooth, width=5))
    test_laws.test_the_receptive_field_is_what_the_backbone_says("smooth")
    test_laws.test_law_3_step_equals_forward_in_constant_memory("smooth")
    test_laws.test_law_3_reading_in_pieces_equals_reading_at_once("smooth", (7, 1, 12))
    for readout in ("seq_to_seq", "iterated", "encoder_decoder"):
        test_laws.test_law_1_no_forecast_depends_on_what_comes_after_its_origin("smooth", readout, "standard", "plain")
