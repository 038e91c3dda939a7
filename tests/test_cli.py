"""Output of a command: terminal, run directory, TensorBoard and checkpoint."""

import csv
import platform
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from command_line import TRAIN, Ended, files_in, forked, metrics, only_run, python
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SMALL = ("data.series=200", "data.past_steps=20", "data.horizon=3", "trainer.max_epochs=1")  # 5 optimizer steps
STEPS = 5
FILES = [
    "checkpoints/best.ckpt", "checkpoints/last.ckpt", "command.txt", "config.yaml", "environment.json", "events",
    "figures/error_by_step.png", "figures/forecast_test.png", "figures/forecast_validation.png",
    "metrics.csv", "metrics.json", "test_windows.parquet",
]  # fmt: skip
NAIVE = {10: 0.2569741, 1: 0.0202114}  # mean squared error on the 2,000 validation waves, by horizon


class Done(NamedTuple):
    """A finished run shared by several tests."""

    ended: Ended
    directory: Path


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A small run of the default model in a separate interpreter, outside the repository."""
    place = tmp_path_factory.mktemp("default") / "work"
    place.mkdir()
    ended = python(place, str(TRAIN), *SMALL)
    assert ended.code == 0, ended.err
    return Done(ended, only_run(place))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty working directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def events(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0, "images": 0}).Reload()


def steps(found: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in found.Scalars(tag)]


def without_timestamps(names: list[str]) -> list[str]:
    return [re.sub(r"^events\.out\.tfevents\..*", "events", name) for name in names]


def rows(out: str) -> list[list[str]]:
    """Rows of the result table: stages of one word, and forecasts with a name and five numbers."""
    lines = out[re.search(r"MAE +RMSE", out).start() :].splitlines()[1:]
    return [line.split() for line in lines[: next(i for i, line in enumerate(lines) if "windows" in line)]]


def test_the_output_has_no_warnings_and_ends_with_the_table(default: Done) -> None:
    code, out, err = default.ended
    assert (code, err) == (0, "")
    assert [word for word in ("Tip", "litlogger", "warn(", "Warning", "\x1b") if word in out] == []
    assert f"Everything about this run is in runs/{default.directory.name}" in out
    measured = ["wavenet", "naive", "ridge"]
    assert [line[0] for line in rows(out)] == ["validation", *measured, "test", *measured]


def test_the_run_directory_holds_exactly_the_documented_files(default: Done) -> None:
    assert without_timestamps(files_in(default.directory)) == FILES
    for picture in (default.directory / "figures").iterdir():
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 10_000
    assert "past_steps: 20" in (default.directory / "config.yaml").read_text()


def test_files_hold_the_numbers_of_the_table(default: Done) -> None:
    shown = [line for line in rows(default.ended.out) if len(line) > 1]
    written = metrics(default.directory)["rows"]
    assert [row["row"] for row in written] == [name for name, *_ in shown]
    for row, (_, *numbers) in zip(written, shown, strict=True):
        measures = [row[name] for name in ("mae", "rmse", "mse", "mase", "wql", "skill")]
        assert [number == "-" for number in numbers] == [value is None for value in measures]
        known = [value for value in measures if value is not None]
        assert [float(number) for number in numbers if number != "-"] == pytest.approx(known, rel=6e-4)
    with (default.directory / "metrics.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [float(row["mae"]) for row in table] == [row["mae"] for row in written]
    assert [row["windows"] for row in table] == ["40"] * 3 + ["20"] * 3


def test_the_written_command_repeats_the_run(default: Done, place: Path) -> None:
    program, script, *arguments = shlex.split((default.directory / "command.txt").read_text())
    assert (program, script, tuple(arguments)) == ("python", "train.py", SMALL)
    assert forked(place, *arguments).code == 0
    repeated, before = metrics(only_run(place)), metrics(default.directory)
    assert repeated["rows"] == before["rows"] and repeated["monitor"] == before["monitor"]


def test_all_curves_share_the_axis_of_optimizer_steps(default: Done) -> None:
    found = events(default.directory)
    for tag in ("loss/train", "loss/validation", "optimizer/learning_rate", "optimizer/gradient_norm",
                "speed/windows_per_second", "validation/mase", "validation_by_step/mae_01"):  # fmt: skip
        assert (tag, steps(found, tag)) == (tag, [STEPS])
    for picture in ("forecast/validation", "forecast/test", "forecast/error_by_step"):
        assert found.Images(picture)[0].step == STEPS
    assert b"past_steps: 20" in found.Tensors("config/yaml/text_summary")[0].tensor_proto.string_val[0]
    plugins = [found.summary_metadata[tag].plugin_data.plugin_name for tag in found.summary_metadata]
    assert plugins.count("hparams") == 3  # experiment, start and end of one session
    written = {row["stage"]: row["mae"] for row in metrics(default.directory)["rows"] if row["row"] == "wavenet"}
    for stage, value in written.items():
        assert found.Scalars(f"with_best_weights/{stage}_mae")[0].value == pytest.approx(value)


def test_the_checkpoint_needs_neither_lightning_nor_data(default: Done, place: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('lightning', 'pytorch_lightning', 'datamodules', 'hydra'): sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(TRAIN.parent)!r})\n"
        "from seqmodels.checkpoint import load\n"
        f"model = load({str(default.directory / 'checkpoints' / 'best.ckpt')!r})\n"
        "forecast = model(model.spec.zeros(2)).forecast\n"
        "print(tuple(forecast.shape), bool(forecast.isfinite().all()))"
    )
    assert python(place, "-c", code) == (0, "(2, 20, 3, 1, 1) True\n", "")


@pytest.mark.parametrize("horizon", NAIVE)
def test_the_naive_forecast_of_the_waves_has_the_known_error(place: Path, horizon: int) -> None:
    ended = forked(place, "model=naive", f"data.horizon={horizon}")
    assert (ended.code, ended.err) == (0, "")
    validation, test = metrics(only_run(place))["rows"]
    assert validation["mse"] == pytest.approx(NAIVE[horizon], abs=1e-7) and validation["windows"] == 2000
    assert [line[0] for line in rows(ended.out)] == ["validation", "naive", "test", "naive"]
    assert not (only_run(place) / "checkpoints").exists()


def test_other_baselines_run_without_training(place: Path) -> None:
    for model in ("seasonal_naive", "moving_average"):
        ended = forked(place, f"model={model}", "data=trend_season", "data.season=7", f"hydra.run.dir={model}")
        assert (ended.code, ended.err) == (0, ""), model
        others = ["naive"] if model == "seasonal_naive" else ["naive", "seasonal"]
        assert [line[0] for line in rows(ended.out)] == ["validation", model, *others]
        assert "epoch" not in ended.out and metrics(place / model)["steps"] == 0


@pytest.mark.parametrize(
    ("overrides", "checkpoints", "logs"),
    [
        (("logger=none", "callbacks.checkpoint=null", "trainer=cpu"), FILES[1:2], []),
        (("logger=csv", "debug=limit"), FILES[:2], ["logs/hparams.yaml", "logs/metrics.csv"]),
        (("debug=fast",), [], []),
    ],
)
def test_other_loggers_and_short_runs(
    place: Path, overrides: tuple[str, ...], checkpoints: list[str], logs: list[str]
) -> None:
    ended = forked(place, *SMALL[:3], *([] if "debug" in overrides[-1] else SMALL[3:]), *overrides)
    assert (ended.code, ended.err) == (0, "")
    texts, figures, results = FILES[2:5], FILES[6:9], FILES[9:]
    assert without_timestamps(files_in(only_run(place))) == [*checkpoints, *texts, *figures, *logs, *results]


def resumed(place: Path, epochs: int, *more: str) -> Ended:
    """Continue the run in ``place``/parts."""
    return forked(place, *CONSTANT, f"trainer.max_epochs={epochs}", "ckpt_path=parts/checkpoints/last.ckpt", *more)


CONSTANT = (*SMALL[:3], "scheduler=constant", "callbacks.checkpoint.mode=max")  # so that the first epoch is "the best"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs in ``whole``, and one of a single epoch, to be resumed, in ``parts``."""
    place = tmp_path_factory.mktemp("parts") / "work"
    place.mkdir()
    for name, epochs in (("whole", 3), ("parts", 1)):
        assert forked(place, *CONSTANT, f"trainer.max_epochs={epochs}", f"hydra.run.dir={name}").code == 0
    return place


def test_a_resumed_run_equals_an_uninterrupted_one(parts: Path) -> None:
    best = (parts / "parts/checkpoints/best.ckpt").read_bytes()
    ended = resumed(parts, 3)
    assert (ended.code, ended.err) == (0, "") and " 2/3 " in ended.out and " 1/3 " not in ended.out
    assert sorted(path.name for path in parts.iterdir()) == ["parts", "whole"]
    whole, both = (torch.load(parts / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(weight, both["state_dict"][name]) for name, weight in whole["state_dict"].items())
    assert (both["epoch"], both["global_step"]) == (2, 3 * STEPS)
    assert (parts / "parts/checkpoints/best.ckpt").read_bytes() == best, "a worse epoch replaced the best"
    assert metrics(parts / "parts")["rows"] == metrics(parts / "whole")["rows"]
    for tag in ("loss/train", "loss/validation"):
        curves = [[(e.step, e.value) for e in events(parts / name).Scalars(tag)] for name in ("whole", "parts")]
        assert curves[0] == curves[1] and len(curves[0]) == 3
    assert len((parts / "parts/command.txt").read_text().splitlines()) == 2

    ended = resumed(parts, 3)
    assert (ended.code, ended.err) == (0, "") and "Nothing is left to train" in ended.out
    assert "loss/train" not in ended.out
    assert (parts / "parts/checkpoints/best.ckpt").read_bytes() == best
    assert steps(events(parts / "parts"), "loss/train") == [STEPS, 2 * STEPS, 3 * STEPS]
    assert metrics(parts / "parts")["rows"] == metrics(parts / "whole")["rows"]


def test_a_run_whose_directory_was_moved_keeps_its_best_checkpoint(parts: Path, place: Path) -> None:
    shutil.copytree(parts / "whole", place / "parts")
    shutil.move(parts / "whole/checkpoints", parts / "gone")  # the old place must not be needed
    best = (place / "parts/checkpoints/best.ckpt").read_bytes()
    ended = resumed(place, 4)
    shutil.move(parts / "gone", parts / "whole/checkpoints")
    assert (ended.code, ended.err) == (0, "") and "epoch 1 of 4: parts/checkpoints/best.ckpt" in ended.out
    assert (place / "parts/checkpoints/best.ckpt").read_bytes() == best


def test_training_beyond_the_planned_schedule_is_an_error(default: Done, place: Path) -> None:
    shutil.copytree(default.directory, place / "run")
    ended = forked(place, *SMALL[:3], "trainer.max_epochs=3", "ckpt_path=run/checkpoints/last.ckpt")
    assert (
        ended.code == 2
        and ended.err.startswith("error: ckpt_path=run/checkpoints/last.ckpt: ")
        and ended.err.count("\n") == 1
    )
    assert "planned for 5 optimizer steps" in ended.err and "has 15" in ended.err


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 has AVX2")
def test_mixed_precision_without_a_bfloat16_lstm_warns_once(place: Path) -> None:
    overrides = (
        "-m",
        "processes=1",
        "seed=0,1",
        "model=lstm",
        "trainer.precision=bf16-mixed",
        *SMALL,
        "hydra.sweep.dir=sweep",
    )
    ended = python(place, str(TRAIN), *overrides, ONEDNN_MAX_CPU_ISA="AVX2")
    assert (ended.code, ended.err) == (0, "")
    (warning,) = [line for line in ended.out.splitlines() if "warning" in line]
    assert warning.startswith("warning: trainer.precision is bf16-mixed; ") and "float32" in warning
    jobs = [path.parent for path in sorted(place.glob("sweep/*/metrics.json"))]
    errors = [row["mae"] for job in jobs for row in metrics(job)["rows"] if row["row"] == "lstm"]
    assert len(errors) == 4 and all(0 < error < 1 for error in errors)


@pytest.mark.parametrize("flags", [("--help",), ("--cfg", "job"), ("model=gru", "--cfg", "job", "--package", "model")])
def test_help_and_other_queries_import_no_torch(place: Path, flags: tuple[str, ...]) -> None:
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'lightning', 'polars', 'matplotlib'): sys.modules[name] = None\n"
        f"sys.argv[0] = {str(TRAIN)!r}\n"
        f"sys.path.insert(0, {str(TRAIN.parent)!r})\n"
        f"runpy.run_path({str(TRAIN)!r}, run_name='__main__')"
    )
    ended = python(place, "-c", code, *flags)
    assert (ended.code, ended.err) == (0, "")
    assert ("Gru" if "model=gru" in flags else "WaveNet") in ended.out and files_in(place) == []
