"""What the terminal shows while a model trains: one live line, or a few plain ones where nobody watches."""

import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.live import Live
from rich.text import Text
from torch import Tensor

from seqmodels.report.formatting import format_number

BAR = 12  # characters
REDRAW_SECONDS = 0.2
PLAIN_LINES = 20  # about as many for a run of any length


class ProgressLine(pl.callbacks.ProgressBar):
    """One line that is redrawn at most five times a second, and one that stays when training ends.

    Where the output is no terminal: a line per epoch, thinned to about 20. Losses are summed on the device; only a
    redraw waits for them. Sanity check, validation and test are silent.
    """

    def __init__(self, console: Console | None = None):
        super().__init__()
        self.console = console
        self.enabled = True
        self.live: Live | None = None

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def print(self, *arguments: Any, **options: Any) -> None:
        """Print above the live line."""
        (self.console or Console()).print(*arguments, **options)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.console = self.console or Console()
        self.begun = self.drawn = time.perf_counter()
        self.batches = self.windows = self.training_windows = 0
        self.done_before = trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.batch_idx + 1
        self.training_seconds = 0.0
        self.printed_epoch, self.loss = -1, float("nan")
        self.best, self.best_epoch = earlier_best(trainer, module)
        if self.enabled and self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.loss_sum: Tensor | float = 0.0
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
        if self.live is not None and time.perf_counter() - self.drawn > REDRAW_SECONDS:
            self._redraw(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.training_seconds += time.perf_counter() - self.resumed

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.resumed = time.perf_counter()
        value = latest(trainer, str(module.monitor))
        if value is not None and (self.best is None or improves(value, self.best, trainer)):
            self.best, self.best_epoch = value, trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.enabled:
            return
        self._sum_up(trainer)
        self.training_seconds += time.perf_counter() - self.resumed
        self.resumed = time.perf_counter()
        if self.live is None and is_due(trainer.current_epoch, trainer.max_epochs):
            self._print_line(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.close()
        epoch = trainer.current_epoch - 1
        if self.enabled and self.printed_epoch < epoch:
            self._print_line(trainer, module, epoch)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.close()

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back: no live line, visible cursor."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _sum_up(self, trainer: pl.Trainer) -> None:
        """Wait for the device, once: the mean loss of this epoch so far."""
        if self.epoch_batches:
            self.loss = float(self.loss_sum) / self.epoch_batches * trainer.accumulate_grad_batches

    def _redraw(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert self.live is not None
        self._sum_up(trainer)
        self.live.update(self._line(trainer, module), refresh=True)
        self.drawn = time.perf_counter()

    def _line(self, trainer: pl.Trainer, module: pl.LightningModule) -> Text:
        """Where training is, how long it takes, what it has reached: what a narrow terminal cuts off comes last."""
        total, done = trainer.num_training_batches, trainer.fit_loop.batch_idx + 1
        filled = int(BAR * done / total)
        fields = [f" {done}/{total}", self._remaining(trainer), *self._numbers(trainer, module)]
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"epoch {of(trainer.current_epoch + 1, trainer.max_epochs)} ")
        line.append("\u2501" * filled, style="green").append("\u2500" * (BAR - filled), style="dim")
        return line.append("  ".join(field for field in fields if field))

    def _print_line(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int | None = None) -> None:
        epoch = trainer.current_epoch if epoch is None else epoch
        self.printed_epoch = epoch
        passed = clock(time.perf_counter() - self.begun)
        fields = [f"epoch {of(epoch + 1, trainer.max_epochs)}", *self._numbers(trainer, module), passed]
        assert self.console is not None
        self.console.print("  ".join(fields), highlight=False, markup=False, soft_wrap=True)

    def _numbers(self, trainer: pl.Trainer, module: pl.LightningModule) -> list[str]:
        fields = [f"loss/train {format_number(self.loss)}"]
        validation = latest(trainer, "loss/validation")
        if validation is not None:
            fields.append(f"loss/validation {format_number(validation)}")
        if self.best is not None:
            since = f" (epoch {self.best_epoch + 1})" if self.best_epoch is not None else ""
            fields.append(f"best {module.monitor} {format_number(self.best)}{since}")
        return [*fields, f"{self._speed():,.0f} windows/s"]

    def _speed(self) -> float:
        """Training windows per second, validation time excluded."""
        return self.windows / max(1e-9, self.training_seconds + time.perf_counter() - self.resumed)

    def _remaining(self, trainer: pl.Trainer) -> str:
        """Time left at the pace of this run so far, validation included; empty where the end is unknown."""
        if not trainer.max_epochs or trainer.max_epochs < 0:
            return ""
        now = trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.batch_idx + 1
        missing = trainer.max_epochs * trainer.num_training_batches - now
        pace = (time.perf_counter() - self.begun) / max(1, now - self.done_before)
        return f"{clock(missing * pace)} left"


def earlier_best(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[float | None, int | None]:
    """The best monitored value of the run that is resumed, where its checkpoints tell; its epoch is not known."""
    keeper = trainer.checkpoint_callback
    score = getattr(keeper, "best_model_score", None)
    if score is None or getattr(keeper, "monitor", None) != module.monitor:
        return None, None
    return float(score), None


def improves(value: float, best: float, trainer: pl.Trainer) -> bool:
    """Better in the sense of the checkpoint callback; less is better where there is none."""
    return value > best if getattr(trainer.checkpoint_callback, "mode", "min") == "max" else value < best


def latest(trainer: pl.Trainer, name: str) -> float | None:
    """The last value of a metric, None before the first."""
    value = trainer.callback_metrics.get(name)
    return None if value is None else float(value)


def is_due(epoch: int, epochs: int | None) -> bool:
    """Whether a plain line is printed: the first epoch, then about 20; where the end is unknown, ever more rarely."""
    count = epoch + 1
    if epochs is None or epochs < 0:
        every = max(1, 10 ** (len(str(count)) - 1) // 2)
    else:
        every = -(-epochs // PLAIN_LINES)
    return count == 1 or count % every == 0 or count == epochs


def of(number: int, total: int | None) -> str:
    """``3/20``, or ``3`` where the total is unknown."""
    return f"{number}/{total}" if total is not None and total > 0 else str(number)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
