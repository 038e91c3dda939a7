"""Errors of the command line: one line for invalid input, a traceback for internal errors, and exit codes."""

import json
import math
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from seqmodels.cli.launch import Job, _remove_empty, plain_path, run_dir
from seqmodels.cli.messages import CommandLine, sentence
from seqmodels.cli.sweep import worst_value

ROOT = Path(__file__).parents[1]
SCRIPT = """
import json, pathlib, signal, sys, time
from seqmodels.cli.launch import launch
from seqmodels.errors import InputError


def main(config, job):
    (job.directory / "config.yaml").write_text(f"act: {config.act}, seed: {config.seed}")
    if config.act == "input":
        raise InputError("the column x is not in the file.")
    if config.act == "fault":
        raise RuntimeError("broken")
    if config.act == "import":
        import package_that_is_absent.inner
    if config.act == "exit":
        sys.exit(7)
    if config.act == "interrupt":
        raise KeyboardInterrupt
    if config.act in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.raise_signal(getattr(signal, config.act))
    if config.act == "pipe":
        raise BrokenPipeError("of a worker")
    if config.act == "talk":
        print("word " * 10_000)
    if config.act == "wait":
        print("waiting", flush=True)
        time.sleep(30)
    value = {"monitor": {"name": "mae", "value": config.seed / 10}, "parameters": 3, "seconds": 0.5}
    (job.directory / "metrics.json").write_text(json.dumps(value))
    return 0.5


if __name__ == "__main__":
    launch(main, "train", "python train.py", sys.argv[1:], folder=pathlib.Path(__file__).parent / "conf")
"""
PARTS = """
from torch.optim.lr_scheduler import LRScheduler

from datamodules.base import WindowDataModule
from seqmodels.heads.point import Point
from seqmodels.window import AbstractForecaster


class Linear(AbstractForecaster):
    def __init__(self, in_features: int, out_features: int, bias: bool = True, inner: dict[str, int] | None = None,
                 head: Point | None = None): ...

    def forward(self, inputs, state=None): ...

    def loss(self, inputs, targets, state=None, mask=None, forecast=False): ...


class Waves(WindowDataModule):
    def __init__(self, in_features: int, out_features: int): ...

    def read(self): ...


class Table(Waves):
    def __init__(self, file: str | None = None, time: str | None = None, target: str | None = None): ...


class Schedule(LRScheduler):
    def __init__(self, in_features: int, out_features: int): ...
"""
FILES = {
    "train.yaml": """
defaults: [{data: waves}, {model: wavenet}, {scheduler: null}, {override hydra/job_logging: none},
           {override hydra/hydra_logging: none}, _self_]
seed: 1
act: none
allow: [launched]
path: null
must: 1
hydra:
  callbacks:
    preflight: {_target_: seqmodels.cli.launch.Preflight}
    summary: {_target_: seqmodels.cli.sweep.SweepSummary}
  run: {dir: out/run}
  sweep: {dir: out/sweep}
""",
    "data/waves.yaml": "{_target_: launched.Waves, in_features: 3, out_features: '${model.in_features}'}",
    "data/csv.yaml": "{_target_: launched.Table, file: null, time: null, target: null}",
    "data/store.yaml": "{_target_: launched.Table, file: null}",
    "model/wavenet.yaml": "{_target_: launched.Linear, in_features: 3, out_features: 2, bias: true}",
    "model/lstm.yaml": "{_target_: launched.Linear, in_features: 3, out_features: 5}",
    "model/gru.yaml": "{defaults: [{head: point}], _target_: launched.Linear, in_features: 3, out_features: 2, "
    "inner: {size: 1}}",
    "model/head/point.yaml": "{_target_: seqmodels.heads.point.Point}",
    "model/broken.yaml": "a: [1",
    "scheduler/cosine.yaml": "{_target_: launched.Schedule, _partial_: true, in_features: 3, out_features: 2}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "launched.py").write_text(PARTS)
    for name, text in FILES.items():
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the script in this process, as ``python train.py ...`` would; returns exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, full: str = "") -> tuple[int, str, str]:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full)
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(folder / "train.py"), run_name="__main__")
        GlobalHydra.instance().clear()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


BAD = [
    (["mdel=lstm"], ["mdel=lstm", "Nearest: model"]),
    (["model=wavnet"], ["model=wavnet", "Nearest: wavenet", "lstm"]),
    (["model.in_feature=4"], ["model.in_feature=4", "Nearest: model.in_features"]),
    (["model/bakbone=x"], ["model/bakbone=x", "Nearest: model/head"]),
    (["model=gru", "model/head=pont"], ["model/head=pont", "Nearest: point"]),
    (["model/head=point"], ["model/head=point", "Nearest: model"]),
    (["path=epoch=3-step=10.ckpt"], ["path=epoch=3-step=10.ckpt", "'path=\"epoch=3-step=10.ckpt\"'"]),
    (["seed=1,2"], ["seed=1,2", "-m", "seed=[1,2]"]),
    (["+seed=3"], ["+seed=3", "leave out the +"]),
    (["~sed"], ["sed", "Nearest: seed"]),
    (["model=3"], ["model=3", "Nearest:", "wavenet"]),
    (["model=broken"], ["broken.yaml"]),
    (["seed"], ["seed", "key=value"]),
    (["--mutirun", "seed=1"], ["--mutirun", "Nearest: --multirun"]),
    (["--config-name", "trian"], ["trian"]),
    (["hydra.job.chdirr=true"], ["hydra.job.chdirr", "Nearest: hydra.job.chdir"]),
    (["-m", "model=wavenet,wavnet", "seed=1,2"], ["model=wavnet", "Nearest: wavenet"]),
    (["++model.in_featurs=4"], ["model.in_featurs", "Linear", "Nearest: in_features"]),
    (["model.out_features=five"], ["model.out_features=five", "expected int"]),
    (["-m", "model.in_features=2,five"], ["data.out_features=five (from ${model.in_features})", "expected int"]),
    (["path=${modle.in_features}"], ["path", "modle.in_features"]),
    (["model.inner.size=3"], ["model=wavenet has no key inner.size", "choose model=gru, which has it"]),
    (["data.file=x.csv"], ["data=waves has no key file", "choose data=csv (or store), which has it"]),
    (["data.file=x.csv", "data.time=date"], ["data=waves has no key file", "choose data=csv, which has it"]),
    (["file=x.csv"], ["data=waves has no key file", "choose data=csv (or store)", "and write data.file=..."]),
    (["-m", "hydra/sweeper=optuna", "seed=1,2"], ["hydra/sweeper=optuna needs a plugin", "pip install '.[sweep]'"]),
    (["-m", "hydra/launcher=joblib"], ["hydra/launcher=joblib needs a plugin", "pip install hydra-joblib-launcher"]),
    (["-m", "hydra/launcher=submitit_slurm"], ["pip install hydra-submitit-launcher"]),
    (["-m", "hydra/sweeper/sampler=tpe"], ["hydra/sweeper/sampler=tpe", "such as hydra/sweeper=optuna"]),
    (["-m", "hydra.sweeper.n_trials=5"], ["hydra.sweeper.n_trials=5", "such as hydra/sweeper=optuna"]),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_invalid_input_is_one_line_and_leaves_no_files(command, folder: Path, arguments, expected) -> None:
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("error: ") and [part for part in expected if part not in err] == []
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_a_valid_command_exits_with_0(command, folder: Path) -> None:
    assert command("model.in_features=4", "scheduler=cosine") == (0, "", "")
    assert (folder / "out/run/metrics.json").exists()


def test_the_quoting_suggested_by_the_error_is_valid(command) -> None:
    code, out, _ = command('path="epoch=3-step=10.ckpt"', "--cfg", "job", "--package", "path")
    assert (code, out.strip()) == (0, "epoch=3-step=10.ckpt")


MEANT = {
    "act=CO(GT)": "CO(GT)",
    "act=Date (UTC)": "Date (UTC)",
    "act=epoch=3-step=10": "epoch=3-step=10",
    "act=it's (new)": "it's (new)",
    "act=[CO(GT)]": ["CO(GT)"],
    "act=[x, y z, NO2(GT)]": ["x", "y z", "NO2(GT)"],
    "act=[b (x, y),c]": ["b (x, y)", "c"],
    "act=[Größe,°C]": ["Größe", "°C"],
    'act=[a"b,Temp [C]]': ['a"b', "Temp [C]"],
    "act={CO(GT): [-200]}": {"CO(GT)": [-200]},
}


@pytest.mark.parametrize("override", MEANT)
def test_the_suggested_quoting_gives_the_names_that_were_meant(override: str, folder: Path) -> None:
    with pytest.raises(OverrideParseException) as caught:
        OverridesParser.create().parse_overrides([override])
    message = sentence(caught.value, CommandLine(folder, "config", [override]))
    assert message and message.startswith(f"{override} cannot be read;")
    (suggested,) = shlex.split(message.partition("for the shell: ")[2].removesuffix("."))
    assert OverridesParser.create().parse_override(suggested).value() == MEANT[override]


@pytest.mark.parametrize("override", ["act=[a,", "act={a: (1)", "act={°C: 1}"])
def test_a_value_that_no_quotes_mend_gets_another_way_out(override: str, folder: Path) -> None:
    with pytest.raises(OverrideParseException) as caught:
        OverridesParser.create().parse_overrides([override])
    message = sentence(caught.value, CommandLine(folder, "config", [override])) or ""
    assert "at its end; an argument with spaces" in message or message.endswith("write it into a config file.")


def test_input_error_of_a_job_is_one_line(command) -> None:
    assert command("act=input") == (2, "", "error: the column x is not in the file.\n")


def test_a_missing_package_is_named_in_one_line(command) -> None:
    missing = "error: a package is missing: pip install 'package_that_is_absent'.\n"
    assert command("act=import") == (2, "", missing)


@pytest.mark.parametrize("arguments", [
    ("-m", "act=none", "seed=1,2"), ("act=none", "-m", "seed=1,2"), ("act=none", "seed=1,2", "--multirun"),
])  # fmt: skip
def test_flags_may_stand_between_overrides(command, folder: Path, arguments: tuple[str, ...]) -> None:
    assert command(*arguments)[0] == 0
    assert (folder / "out/sweep/1/metrics.json").exists()


def test_a_flag_keeps_its_value_between_overrides(command) -> None:
    assert command("seed=4", "--cfg", "job", "act=talk", "--package", "seed")[:2] == (0, "4\n")


def test_an_internal_error_shows_the_traceback(command) -> None:
    code, _, err = command("act=fault")
    assert code == 1 and err.startswith("Traceback") and err.endswith("RuntimeError: broken\n")


def test_exit_codes_of_signals_and_jobs(command) -> None:
    assert command("act=exit") == (7, "", "")
    assert command("act=interrupt") == (130, "", "interrupted\n")
    assert command("act=SIGINT") == (130, "", "interrupted\n")
    assert command("act=SIGTERM") == (143, "", "terminated\n")
    assert command("act=SIGHUP") == (129, "", "hung up\n")


def test_a_failed_job_returns_the_worst_value_for_an_optimiser() -> None:
    assert (worst_value(None), worst_value("minimize"), worst_value("maximize")) == (math.inf, math.inf, -math.inf)
    assert worst_value(OmegaConf.create(["minimize", "maximize"])) == (math.inf, -math.inf)


def test_the_user_can_ask_for_the_traceback(command) -> None:
    code, _, err = command("mdel=lstm", full="1")
    assert code == 2 and "Traceback" in err and "ConfigCompositionException" in err


def test_failing_jobs_do_not_stop_a_sweep(command, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    code, out, _ = command("-m", "act=exit,fault,input,none,import")
    assert code == 1 and "4 of 5 jobs failed" in out
    for reason in ("0: SystemExit: 7", "1: RuntimeError: broken", "2: the column x is not in the file."):
        assert f"  out/sweep/{reason}\n" in out
    assert "  out/sweep/4: a package is missing: pip install 'package_that_is_absent'.\n" in out
    first = [(folder / f"out/sweep/{job}/error.txt").read_text().splitlines()[0] for job in range(3)]
    assert first == ["SystemExit: 7", "RuntimeError: broken", "the column x is not in the file."]
    assert "Traceback" in (folder / "out/sweep/1/error.txt").read_text()
    assert caplog.text.count("the sweep goes on") == 4
    assert (folder / "out/sweep/3/metrics.json").exists()
    assert (folder / "out/sweep/summary.csv").read_text().splitlines()[1] == "none,mae,0.1,3,0.5,3,"


def test_a_second_attempt_removes_the_error_of_the_first(command, folder: Path) -> None:
    assert command("-m", "act=fault")[0] == 1
    assert command("-m", "act=none")[0] == 0
    assert not (folder / "out/sweep/0/error.txt").exists()


@pytest.mark.parametrize(("act", "expected"), [("interrupt", 130), ("SIGTERM", 143)])
def test_an_interruption_ends_the_sweep_with_a_summary(command, folder: Path, act: str, expected: int, caplog) -> None:
    code, out, err = command("-m", f"act=none,fault,{act},none", "hydra.sweep.dir=out/first")
    assert code == expected and not (folder / "out/first/3").exists()
    assert "1 of 3 jobs failed" in out and "1 of 3 jobs not finished: out/first/2\n" in out
    assert f"To continue: python train.py -m act=none,fault,{act},none hydra.sweep.dir=out/first\n" in out
    assert not (folder / "out/first/2/error.txt").exists() and "SystemExit" not in caplog.text


def test_an_error_before_the_first_job_has_no_summary(command) -> None:
    assert command("-m", "act=none", "mdel=lstm")[1] == ""
    assert "To continue" not in command("act=interrupt")[1]


def test_a_job_can_be_gone_on_with_by_its_own_command() -> None:
    overrides = ("model=gru", "+ckpt_path=old.ckpt", "data.target=[a b]", "logger.api_key=x")
    job = Job(Path("runs/a"), "gru", overrides, "seqmodels train --config-dir 'my conf'")
    assert job.resume(Path("runs/a=b/last.ckpt")) == (
        "seqmodels train --config-dir 'my conf' model=gru 'data.target=[a b]' 'logger.api_key=***'"
        """ 'ckpt_path="runs/a=b/last.ckpt"'"""
    )


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_help_and_config_load_no_torch(folder: Path) -> None:
    code = (
        "import runpy, sys, json\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted({'torch', 'lightning', 'polars'} & set(sys.modules))), file=sys.stderr)"
    )
    for flags in (["--help"], ["mdel=lstm"]):
        command = [sys.executable, "-c", code, *flags]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
        assert json.loads(done.stderr.splitlines()[-1]) == []


def test_ctrl_c_is_one_line(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "train.py", "act=wait", "~hydra.callbacks.preflight"],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "interrupted\n")


@pytest.mark.parametrize("argument", ["--help", "act=talk"])
def test_a_closed_output_pipe_ends_the_command_silently(folder: Path, argument: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as ``| head`` does
    command = [sys.executable, "train.py", argument, "~hydra.callbacks.preflight"]
    done = subprocess.run(command, cwd=folder, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_another_broken_pipe_is_an_internal_error(command) -> None:
    code, _, err = command("act=pipe")
    assert code == 1 and err.endswith("BrokenPipeError: of a worker\n")


NAMES = {
    "data.target-[load]_model-gru": "data.target-load_model-gru",
    "data.lags-[24, 48]_seed--1": "data.lags-24-48_seed--1",
    "+a-{b:1}_c-'d e'_model/head-point": "+a-b-1_c-d-e_model/head-point",
    'a-choice(x,"y")_data.zone-Europe/Zürich': "a-choicex-y_data.zone-Europe/Z-rich",
    "optimizer.lr-1e-3": "optimizer.lr-1e-3",
    "data.target-[" + "load," * 99 + "]_model-gru_seed-1": "ad-" + "load-" * 20 + "_model-gru_seed-1",
    "": "",
}


@pytest.mark.parametrize(("name", "plain"), NAMES.items())
def test_the_path_of_a_job_is_a_valid_value_of_an_override(command, name: str, plain: str) -> None:
    assert plain_path(name) == plain
    path = f"runs/sweep_2024-01-31_10-00-00-1/2_{plain}/checkpoints/last.ckpt"
    assert command(f"path={path}", "--cfg", "job", "--package", "path")[:2] == (0, f"{path}\n")


def test_a_run_continues_in_the_directory_of_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run/config.yaml", "run/checkpoints/last.ckpt", "other/checkpoints/last.ckpt", "run/last.ckpt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert run_dir("run/checkpoints/last.ckpt", "new") == "run"
    assert run_dir(str(tmp_path / "run/checkpoints/last.ckpt"), "new") == str(tmp_path / "run")
    for elsewhere in (None, "run/checkpoints/best.ckpt", "other/checkpoints/last.ckpt", "run/last.ckpt", "last"):
        assert run_dir(elsewhere, "new") == "new"


def test_only_empty_directories_are_removed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/full").mkdir(parents=True)
    (tmp_path / "runs/full/file").touch()
    (tmp_path / "deep/er/empty").mkdir(parents=True)
    for folder in ("runs/full", "deep/er/empty"):
        _remove_empty(tmp_path / folder)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"] and (tmp_path / "runs/full/file").exists()
