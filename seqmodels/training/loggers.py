"""TensorBoard with one event file per run and an explanation at each curve."""

from collections.abc import Mapping

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR
from torch.utils.tensorboard.summary import scalar

EXPLANATIONS = {
    "validation/": "In the data's own units, over the validation windows, at the end of an epoch.",
    "validation/mse": "In the squared units of the data, over the validation windows, at the end of an epoch.",
    "validation/mase": "In units of the seasonal error, over the validation windows, at the end of an epoch.",
    "validation/skill": "1 - MAE / MAE of the seasonal naive forecast: 0 if the model is no better, at most 1.",
    "validation_by_step/": "In the data's own units, of the forecasts that many steps ahead.",
    "with_best_weights/": "Of the result table: the weights that were kept.",
    "optimizer/gradient_norm": "Of all gradients together, before clipping.",
    "optimizer/update_ratio": "Norm of the change of the weights in one step, divided by the norm of the weights.",
}


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, whose file stays open from the first value to ``close``, and which writes nothing else.

    ``explanations``: texts shown at the curves, by their names or by the beginnings of these. They are Markdown.
    """

    explanations: Mapping[str, str] = EXPLANATIONS

    def __init__(
        self,
        save_dir: str,
        name: str = "",
        version: str = "",
        default_hp_metric: bool = False,
        flush_secs: int = 10,
    ):
        super().__init__(save_dir, name, version, default_hp_metric=default_hp_metric, flush_secs=flush_secs)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one point of each curve."""
        assert self.experiment.file_writer is not None
        for name, value in metrics.items():
            summary = scalar(name, float(value))
            metadata = summary.value[0].metadata
            metadata.plugin_data.plugin_name, metadata.data_class = "scalars", DATA_CLASS_SCALAR
            metadata.summary_description = self._explain(name)
            self.experiment.file_writer.add_summary(summary, step)

    def _explain(self, name: str) -> str:
        fitting = [beginning for beginning in self.explanations if name.startswith(beginning)]
        return self.explanations[max(fitting, key=len)] if fitting else ""

    @rank_zero_only
    def save(self) -> None:
        """Flush; Lightning's would also write an empty ``hparams.yaml``."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush; Lightning's closes the file after fitting, so that what comes later would open another one."""
        self.experiment.flush()

    @rank_zero_only
    def close(self) -> None:
        """Close the file."""
        self.experiment.close()
