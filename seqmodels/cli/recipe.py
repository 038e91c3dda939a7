"""Values that a config leaves to the data, each with its reason: patch, scaler, length, which weights to keep."""

import math

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from datamodules.base import WindowDataModule
from seqmodels.correction import suitable_reference
from seqmodels.forecaster import Forecaster, feature_origins
from seqmodels.report.output import pluralise
from seqmodels.scalers.affine import choose_scaler, suitable_scaler
from seqmodels.window import AbstractForecaster

FEWEST_EPOCHS, MOST_EPOCHS = 5, 500  # passes over the training windows; if they are fewer, an epoch is a part of one
PARTS = 10  # epochs of a run with fewer passes
FEW_VALIDATE = 100  # windows; fewer would choose an epoch by chance
AUTO = f"{choose_scaler.__module__}.{choose_scaler.__qualname__}"


def settle(config: DictConfig, data: WindowDataModule, model: AbstractForecaster) -> Table:
    """Replace ``auto`` in the config by the chosen values, and return a line for each choice.

    ``model=auto`` thus leaves an ordinary config in the run directory. Only a model whose patches are chosen also gets
    its scaler written out; others keep ``choose_scaler``, as before.
    """
    lines = Table.grid(padding=(0, 2))
    if config.data.get("batch_size") == "auto" and data.lanes is None:
        config.data.batch_size = data.train_dataloader().batch_size
        windows = pluralise(data.windows["train"], "training window")
        lines.add_row("batch", f"{config.data.batch_size} windows, as there are {windows}")
    if config.data.get("jitter") == "auto":
        config.data.jitter = data.augmentation.jitter
        lines.add_row("jitter", f"{config.data.jitter} seasonal errors of noise on the past of training windows")
    front = config.model.get("backbone")
    if isinstance(model, Forecaster) and OmegaConf.is_dict(front) and front.get("kernel") == "auto":
        _settle_patch(front, model, lines)
        if config.model.scaler.get("_target_") == AUTO:
            scaler = suitable_scaler(model.spec, corrected=model.reference is not None)
            config.model.scaler = scaler.node()
            lines.add_row("scaler", f"{model.scaler}: {scaler.reason}")
    readout = config.model.get("readout")
    if isinstance(model, Forecaster) and OmegaConf.is_dict(readout) and readout.get("corrects") == "auto":
        readout.corrects = model.readout.corrects
        lines.add_row("corrects", f"{readout.corrects}: {suitable_reference(model.spec, model.readout)[1]}")
    _settle_keeper((config.get("callbacks") or {}).get("checkpoint"), config.monitor, data.windows["validation"], lines)
    stopping = (config.get("callbacks") or {}).get("early_stopping")
    if stopping is not None and config.get("patience_steps"):
        batches = max(1, count_batches(config, len(data.train_dataloader())))
        stopping.patience = max(stopping.patience, math.ceil(config.patience_steps / batches))
        reason = f"epochs without a better validation end the training, at least {config.patience_steps} steps"
        lines.add_row("patience", f"{stopping.patience} {reason} (patience_steps)")
    return lines


def _settle_keeper(keeper: DictConfig | None, monitor: str, windows: int, lines: Table) -> None:
    """Write which weights are kept: those that validate best, or the last ones where few windows validate."""
    if keeper is None or keeper.get("monitor") != "auto":
        return
    few = windows < FEW_VALIDATE
    keeper.monitor, keeper.mode = ("step", "max") if few else (monitor, "min")
    reason = "the last ones, as the best epoch would be one by chance" if few else f"those with the best {monitor}"
    lines.add_row("weights", f"{reason}: {pluralise(windows, 'window')} validate")


def _settle_patch(front: DictConfig, model: Forecaster, lines: Table) -> None:
    """Write the steps of a patch into the node of a convolution."""
    steps, spec = getattr(model.backbone, "kernel", 1), model.spec
    front.kernel = steps
    front.stride = steps if front.stride is None else front.stride
    seasonal = 1 < spec.season <= spec.past_steps
    long = "a part of the season, of which few fit into the window" if seasonal else "no season fits into the window"
    reason = "one season" if seasonal and steps == spec.season else long if steps > 1 else "the window is short"
    read = len(feature_origins(model.backbone).of(spec.past_steps))
    lines.add_row("patch", f"{pluralise(steps, 'step')}, as {reason}: the model reads {read:,} of them")


def count_batches(config: DictConfig, batches: int) -> int:
    """Training batches of an epoch of at most ``batches``, as ``trainer.limit_train_batches`` limits them."""
    limit = config.trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def count_epochs(config: DictConfig, batches: int) -> int | None:
    """``trainer.max_epochs``; if neither it nor ``max_steps`` is set, the number that gives ``optimizer_steps``."""
    if config.trainer.max_epochs is not None or config.trainer.max_steps != -1:
        return config.trainer.max_epochs
    steps = max(1, math.ceil(count_batches(config, batches) / config.trainer.accumulate_grad_batches))
    return min(MOST_EPOCHS, max(1, round(config.optimizer_steps / steps)))


def plan_epochs(config: DictConfig, data: WindowDataModule) -> int | None:
    """Number of epochs, see ``count_epochs``.

    If the steps are fewer than FEWEST_EPOCHS passes over the training windows, ``data.epoch_windows`` is set, in the
    config too, so that there are PARTS epochs, and a validation after each. Not where the windows come in a fixed
    order, or where the user limited the epochs.
    """
    loader, trainer = data.train_dataloader(), config.trainer
    epochs = count_epochs(config, len(loader))
    if trainer.max_epochs is not None or epochs is None or epochs >= FEWEST_EPOCHS:
        return epochs
    whole = "epoch_windows" not in config.data  # a source whose epochs are not cut
    limited = whole or trainer.limit_train_batches != 1.0 or data.epoch_windows is not None
    if limited or data.lanes is not None or not data.shuffle:
        return epochs
    steps = math.ceil(config.optimizer_steps / PARTS)
    windows = steps * trainer.accumulate_grad_batches * loader.batch_size
    if windows >= len(loader.sampler.sampler):
        return epochs
    data.cut_epochs(windows)
    config.data.epoch_windows = windows
    return count_epochs(config, len(data.train_dataloader()))


def describe_length(config: DictConfig, data: WindowDataModule, epochs: int) -> str:
    """The length of training that follows from ``optimizer_steps``, in one line."""
    loader = data.train_dataloader()
    batches = count_batches(config, len(loader))
    steps = epochs * math.ceil(batches / config.trainer.accumulate_grad_batches)
    passes = epochs * batches * loader.batch_size / max(1, data.windows["train"])
    time = config.trainer.get("max_time")
    limit = "" if time is None else f", at most {time} (trainer.max_time)"
    return (
        f"Training for {pluralise(steps, 'step')} in {pluralise(epochs, 'epoch')}, {passes:.1f} times through the"
        f" training windows (optimizer_steps){limit}."
    )
