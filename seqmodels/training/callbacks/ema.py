"""Averaged weights: Lightning's exponential moving average, on the model's device and with checked settings."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging

from seqmodels.errors import require_fraction


class AveragedWeights(EMAWeightAveraging):
    """Validates, keeps and tests average(k) = decay average(k - 1) + (1 - decay) weights(k), over optimizer steps k.

    The average begins with the weights after the first optimizer step. Checkpoints hold the average as the model's
    weights and, to resume from, the trained weights beside it.

    Buffers are not averaged: they are constants, or running statistics that are averages already.

    Raises InputError unless ``decay`` lies in [0, 1).
    """

    def __init__(self, decay: float = 0.99):
        require_fraction("callbacks.ema", decay=decay)
        super().__init__(use_buffers=False, decay=decay)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The model reaches its device only after this hook, so the device is taken from the strategy."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The average stays until ``on_validation_end``, where pictures are drawn, is over."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
