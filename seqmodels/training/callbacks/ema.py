"""Exponential moving average of the weights, on the model's device and with checked settings."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging

from seqmodels.errors import require_fraction


class AveragedWeights(EMAWeightAveraging):
    """Averages the weights over optimizer steps k: average(k) = decay average(k - 1) + (1 - decay) weights(k).

    The average is validated, kept and tested. It begins with the weights after the first optimizer step.
    Checkpoints hold it as the model's weights, and beside it the trained weights to resume from. Buffers are not
    averaged: they are constants, or running statistics.

    Raises InputError unless ``decay`` lies in [0, 1).

    Checkpoints hold the state under the name of this class: do not rename it.
    """

    def __init__(self, decay: float = 0.99):
        require_fraction("callbacks.ema", decay=decay)
        super().__init__(use_buffers=False, decay=decay)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the device from the strategy, since the model is moved to it only after this hook."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the average in place until ``on_validation_end``, where figures are drawn."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
