"""Progress of training: a table of the epochs, and below it, in a terminal, a live line."""

import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.live import Live
from rich.text import Text
from torch import Tensor

from seqmodels.report.output import format_duration, format_number

BAR_WIDTH = 12  # characters
REDRAW_SECONDS = 0.2
ROWS = 20  # about as many for a run of any length
COLUMN_WIDTHS = {"epoch": 7, "time": 7}  # of the others: the length of their names


class ProgressLine(pl.callbacks.ProgressBar):
    """A table with one row per epoch, thinned to about 20; in a terminal also a line redrawn five times a second.

    Rows fit 80 columns; an asterisk marks the best monitored value so far. Losses are summed on the device, and only a
    row or a redraw waits for them. Nothing is shown for the sanity check, validation and test.
    """

    def __init__(self, console: Console | None = None):
        super().__init__()
        self.console = console or Console()
        self.enabled = True
        self.live: Live | None = None

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def print(self, *arguments: Any, **options: Any) -> None:
        """Print above the live line."""
        self.console.print(*arguments, **options)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = self.last_redraw = time.perf_counter()
        self.windows = self.epoch_batches = 0  # a run resumed within an epoch does not start one
        self.loss_sum: Tensor | float = 0.0
        self.resumed = self.started
        self.first_batch = batches_done(trainer)
        self.training_seconds = 0.0
        self.printed_epoch, self.loss, self.validated = -1, float("nan"), False
        self.best, self.best_epoch = best_before_resuming(trainer, module), 0
        if self.enabled and self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.loss_sum = 0.0
        self.epoch_batches = 0
        self.resumed = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if not self.enabled:
            return
        self.loss_sum = self.loss_sum + outputs["loss"].detach()
        self.epoch_batches += 1
        self.windows += len(batch.origin)
        if self.live is not None and time.perf_counter() - self.last_redraw > REDRAW_SECONDS:
            self._redraw(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.training_seconds += time.perf_counter() - self.resumed

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.resumed = time.perf_counter()
        self.validated = True
        value = last_metric(trainer, str(module.monitor))
        if value is not None and (self.best is None or is_better(value, self.best, trainer)):
            self.best, self.best_epoch = value, trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.enabled:
            return
        self._average_loss(trainer)
        self.training_seconds += time.perf_counter() - self.resumed
        self.resumed = time.perf_counter()
        if is_due(trainer.current_epoch, trainer.max_epochs):
            self._print_row(trainer, module, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.close()
        epoch = trainer.current_epoch - 1
        if self.enabled and self.printed_epoch < epoch:
            self._print_row(trainer, module, epoch)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.close()

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self.close()

    def close(self) -> None:
        """Remove the live line and show the cursor again."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _average_loss(self, trainer: pl.Trainer) -> None:
        """Set ``loss`` to the mean of this epoch so far; waits for the device."""
        if self.epoch_batches:
            self.loss = float(self.loss_sum) / self.epoch_batches * trainer.accumulate_grad_batches

    def _redraw(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert self.live is not None
        self._average_loss(trainer)
        self.live.update(self._live_line(trainer, module), refresh=True)
        self.last_redraw = time.perf_counter()

    def _live_line(self, trainer: pl.Trainer, module: pl.LightningModule) -> Text:
        """Position, remaining time, and as many figures as the width of the terminal allows."""
        total, done = trainer.num_training_batches, trainer.fit_loop.batch_idx + 1
        filled = int(BAR_WIDTH * done / total)
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{format_epoch(trainer.current_epoch, trainer.max_epochs)} ")
        line.append("\u2501" * filled, style="green").append("\u2500" * (BAR_WIDTH - filled), style="dim")
        line.append(f" {done}/{total}")
        for field in (self._time_left(trainer), *self._figures(trainer, module)):
            if field and len(line) + 2 + len(field) <= self.console.width:
                line.append(f"  {field}")
        return line

    def _figures(self, trainer: pl.Trainer, module: pl.LightningModule) -> list[str]:
        """Figures of the live line, the most important first."""
        fields = [f"loss {format_number(self.loss)}"]
        if self.best is not None:
            since = f" (epoch {self.best_epoch})" if self.best_epoch else ""
            fields.append(f"best {str(module.monitor).rpartition('/')[2]} {format_number(self.best)}{since}")
        return [*fields, f"{self._speed():,.0f} windows/s"]

    def _speed(self) -> float:
        return self.windows / max(1e-9, self.training_seconds + time.perf_counter() - self.resumed)

    def _print_row(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        """Print one row of the table, the first with its header."""
        validated = ["loss/validation"] + [str(module.monitor)] * (module.monitor != "loss/validation")
        values = [last_metric(trainer, name) if self.validated else None for name in validated]
        marked = "*" if self.validated and self.best_epoch == epoch + 1 else ""
        cells = {"epoch": format_epoch(epoch, trainer.max_epochs).removeprefix("epoch "),
                 "loss/train": format_number(self.loss)}  # fmt: skip
        cells |= {
            name: "-" if value is None else format_number(value) for name, value in zip(validated, values, strict=True)
        }
        cells |= {"best": marked, "windows/s": f"{self._speed():,.0f}"}
        cells["time"] = format_duration(time.perf_counter() - self.started)
        header = [name.rjust(COLUMN_WIDTHS.get(name, 0)) for name in cells]
        if self.printed_epoch < 0:
            self._print_cells(header)
        self._print_cells([cell.rjust(len(name)) for cell, name in zip(cells.values(), header, strict=True)])
        self.printed_epoch, self.validated = epoch, False

    def _print_cells(self, cells: list[str]) -> None:
        self.console.print("  ".join(cells), highlight=False, markup=False, soft_wrap=True)

    def _time_left(self, trainer: pl.Trainer) -> str:
        """Time left at the pace of this run so far, validation included; empty if the number of epochs is unknown."""
        if not trainer.max_epochs or trainer.max_epochs < 0:
            return ""
        done = batches_done(trainer)
        pace = (time.perf_counter() - self.started) / max(1, done - self.first_batch)
        return f"{format_duration((trainer.max_epochs * trainer.num_training_batches - done) * pace)} left"


def batches_done(trainer: pl.Trainer) -> float:
    """Training batches since the first epoch, including those before resuming."""
    return trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.batch_idx + 1


def best_before_resuming(trainer: pl.Trainer, module: pl.LightningModule) -> float | None:
    """The best monitored value in the checkpoint callback of a resumed run, None if it has none."""
    checkpoint = trainer.checkpoint_callback
    score = getattr(checkpoint, "best_model_score", None)
    return None if score is None or getattr(checkpoint, "monitor", None) != module.monitor else float(score)


def is_better(value: float, best: float, trainer: pl.Trainer) -> bool:
    """True if the checkpoint callback would prefer ``value``; if it asks for no measure, less is better."""
    keeper = trainer.checkpoint_callback
    largest = getattr(keeper, "mode", "min") == "max" and getattr(keeper, "monitor", None) != "step"
    return value > best if largest else value < best


def last_metric(trainer: pl.Trainer, name: str) -> float | None:
    """The last value of a metric, None before the first."""
    value = trainer.callback_metrics.get(name)
    return None if value is None else float(value)


def is_due(epoch: int, epochs: int | None) -> bool:
    """True if a plain line is printed: for the first and last epoch and about 20 in all.

    If the number of epochs is unknown, the lines become rarer and rarer.
    """
    count = epoch + 1
    if epochs is None or epochs < 0:
        every = max(1, 10 ** (len(str(count)) - 1) // 2)
    else:
        every = -(-epochs // ROWS)
    return count == 1 or count % every == 0 or count == epochs


def format_epoch(epoch: int, epochs: int | None) -> str:
    """``epoch 3/20``, or ``epoch 3`` if the number of epochs is unknown; ``epoch`` counts from 0."""
    return f"epoch {epoch + 1}" + (f"/{epochs}" if epochs is not None and epochs > 0 else "")
