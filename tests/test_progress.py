"""Progress of training in a terminal and in a file, and the state in which it leaves the terminal."""

import io
import re
import signal

import lightning.pytorch as pl
import pytest
import torch
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


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_a_file_has_one_row_per_epoch() -> None:
    header, *rows = printed(False).splitlines()
    assert cells(header) == [
        "epoch", "loss/train", "loss/validation", "validation/mase", "best", "windows/s", "time"
    ]  # fmt: skip
    assert len(rows) == 3 and {len(line) for line in rows} == {len(header)} and len(header) <= 80
    for number, row in enumerate(rows, start=1):
        assert re.fullmatch(rf"{number}/3( +[\d.]+){{3}} +\*? +[\d,]+ +0:\d\d", row.strip())


def test_the_asterisk_marks_the_best_value_so_far() -> None:
    class Values(pl.Callback):
        """Replaces the monitored value, before the progress reads it."""

        def on_validation_end(self, trainer, module) -> None:
            if not trainer.sanity_checking:
                value = [0.7, 0.8, 0.5, 0.6][trainer.current_epoch]
                metric = trainer._results["on_validation_epoch_end.validation/mase"]
                metric.value, metric._computed = torch.tensor(value), torch.tensor(value)

    rows = printed(False, [Values()], max_epochs=4).splitlines()[1:]
    shown = [(cells(row)[3], "*" in row) for row in rows]
    assert shown == [("0.7", True), ("0.8", False), ("0.5", True), ("0.6", False)]


def test_an_epoch_without_validation_shows_no_old_values() -> None:
    rows = printed(False, check_val_every_n_epoch=2, max_epochs=4).splitlines()[1:]
    assert [cells(row)[2:4] == ["-", "-"] for row in rows] == [True, False, True, False]


def test_a_loss_that_is_monitored_has_one_column() -> None:
    file = io.StringIO()
    data = small_waves()
    fit(small_module(data, monitor="loss/validation"), data, [ProgressLine(Console(file=file, width=80))], max_epochs=1)
    assert cells(file.getvalue().splitlines()[0])[1:4] == ["loss/train", "loss/validation", "best"]


@pytest.mark.parametrize("callbacks", [[], [ScalarLogger(every_n_steps=2)]])
def test_the_training_loss_is_the_mean_over_the_epoch(callbacks: list) -> None:
    recorder = Recorder()
    text = printed(False, [recorder, *callbacks], max_epochs=1)
    assert float(cells(text.splitlines()[1])[1]) == pytest.approx(sum(recorder.losses) / 5, rel=1e-3)


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
    assert [cells(line)[0] for line in lines] == ["epoch", "1/100", "2/100"]


def test_a_terminal_keeps_the_rows_above_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmodels.training.callbacks.progress.REDRAW_SECONDS", 0.0)
    text = printed(True)
    lines = visible(text)
    live = [line for line in lines if line.startswith("epoch ")]
    pattern = r"epoch 2/3 ━+─+ 2/5  0:\d\d left  loss [\d.]+  best mase [\d.]+ \(epoch 1\)  [\d,]+ windows/s"
    assert any(re.fullmatch(pattern, line) for line in live) and len(live) >= 15
    assert [cells(line)[0] for line in lines if "loss/train" in line or "/3 " in line[:8] and "━" not in line] == [
        "epoch", "1/3", "2/3", "3/3"
    ]  # fmt: skip
    assert HIDE in text and text.rindex(SHOW) > text.rindex(HIDE)


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_the_live_line_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is left out, never cut off."""
    monkeypatch.setattr("seqmodels.training.callbacks.progress.REDRAW_SECONDS", 0.0)
    live = [line for line in visible(printed(True, width=width)) if "━" in line or "─" in line]
    assert len(live) >= 15 and max(map(len, live)) <= width
    assert all(re.search(r"(left|loss [\d.]+|best mase [\d.]+ \(epoch \d\)|windows/s)$", line) for line in live)
    assert any("best mase" in line for line in live) == (width >= 80)


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
