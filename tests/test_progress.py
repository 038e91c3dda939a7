"""Progress of training in a terminal and in a file, and the state in which it leaves the terminal."""

import io
import re
import signal

import lightning.pytorch as pl
import pytest
from rich.console import Console
from small_runs import Recorder, fit, fit_waves, small_module, small_waves

from seqmodels.training.callbacks.progress import ProgressLine, is_due
from seqmodels.training.callbacks.scalars import ScalarLogger

SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"


def printed(terminal: bool, callbacks: list | None = None, width: int = 120, **trainer) -> str:
    """All output of a fit."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, color_system=None, _environ={"TERM": "xterm"})
    try:
        fit_waves(*(callbacks or []), ProgressLine(console), **trainer)
    except RuntimeError:
        assert callbacks
    return file.getvalue()


def visible(text: str) -> list[str]:
    """Lines without control sequences."""
    return [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)) if line.strip()]


def test_a_file_has_one_line_per_epoch() -> None:
    lines = printed(False).splitlines()
    pattern = (
        r"epoch {}/3  loss/train [\d.]+  loss/validation [\d.]+  best validation/mase [\d.]+ \(epoch \d\)"
        r"  [\d,]+ windows/s  0:\d\d"
    )
    assert len(lines) == 3
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(pattern.format(number), line)


@pytest.mark.parametrize("callbacks", [[], [ScalarLogger(every_n_steps=2)]])
def test_the_training_loss_is_the_mean_over_the_epoch(callbacks: list) -> None:
    recorder = Recorder()
    text = printed(False, [recorder, *callbacks], max_epochs=1)
    assert float(re.findall(r"loss/train ([\d.]+)", text)[0]) == pytest.approx(sum(recorder.losses) / 5, rel=1e-3)


def test_long_runs_have_about_twenty_lines() -> None:
    for epochs in (1, 7, 20, 21, 150, 500):
        due = [epoch for epoch in range(epochs) if is_due(epoch, epochs)]
        assert due[0] == 0 and due[-1] == epochs - 1
        assert min(epochs, 11) <= len(due) <= 22
    assert sum(is_due(epoch, -1) for epoch in range(1000)) < 60


def test_a_run_that_stops_early_prints_its_last_epoch() -> None:
    class StopInSecond(pl.Callback):
        def on_train_epoch_end(self, trainer, module) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    lines = printed(False, [StopInSecond()], max_epochs=100).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/100", "epoch 2/100"]


def test_a_terminal_has_a_live_line_and_a_final_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.training.callbacks.progress.REDRAW_SECONDS", 0.0)
    text = printed(True)
    lines = visible(text)
    assert re.match(r"epoch 2/3 ━+─+ 2/5  0:\d\d left  loss/train [\d.]+  loss/validation [\d.]+  best val", lines[6])
    assert re.match(r"epoch 3/3  loss/train", lines[-1])
    assert len(lines) >= 15
    assert HIDE in text and text.rindex(SHOW) > text.rindex(HIDE)


def test_a_narrow_terminal_cuts_off_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.training.callbacks.progress.REDRAW_SECONDS", 0.0)
    lines = visible(printed(True, width=60))[:-1]
    assert all(line.startswith("epoch ") for line in lines[:14])
    assert max(map(len, lines[:14])) <= 60


def test_redraws_are_at_most_five_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, redraws = [0.0], []
    monkeypatch.setattr("seqmodels.training.callbacks.progress.time.perf_counter", lambda: now[0])

    class Clock(pl.Callback):
        def on_train_batch_start(self, *arguments) -> None:
            now[0] += 0.07

    class Redraws(ProgressLine):
        def _redraw(self, trainer, module) -> None:
            super()._redraw(trainer, module)
            redraws.append(now[0])

    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    data = small_waves(series=2000)
    fit(small_module(data), data, [Clock(), Redraws(console)], max_epochs=1)  # 44 batches, 3.08 seconds
    assert redraws == pytest.approx([0.21 * number for number in range(1, 15)])


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_exception_restores_the_terminal(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.training.callbacks.progress.REDRAW_SECONDS", 0.0)

    class Fail(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            if index == 3:
                raise error

    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    handler = signal.getsignal(signal.SIGINT)
    bar = ProgressLine(console)
    try:
        with pytest.raises((RuntimeError, SystemExit)):
            fit_waves(Fail(), bar)
    finally:
        signal.signal(signal.SIGINT, handler)  # lightning ignores it from the first Ctrl-C on
    text = file.getvalue()
    assert bar.live is None
    assert HIDE in text and text.rindex(SHOW) > text.rindex(HIDE)


def test_validation_test_and_a_disabled_bar_are_silent() -> None:
    file = io.StringIO()
    data = small_waves()
    module, bar = small_module(data), ProgressLine(Console(file=file, force_terminal=False))
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = pl.Trainer(callbacks=[bar], **settings)
    trainer.validate(module, data, verbose=False)
    trainer.test(module, data, verbose=False)
    bar.disable()
    fit_waves(bar, max_epochs=1)
    assert file.getvalue() == ""
